//! Worker threads. Each runs a single-threaded runtime and owns the connections that were given to it.
//!
//! One runtime per thread, first in, first out, so that a busy connection can't starve another: tokio's shared
//! scheduler looks at its global queue only now and then, and its tail latency shows that. What other threads
//! push to a worker's connections goes through its mailbox, which wakes it once per batch.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use slab::Slab;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, MissedTickBehavior};

use super::close;
use super::frame;
use super::handle::Handle;
use super::heartbeat::Wheel;
use super::outbox::Outbox;
use super::socket::Socket;
use super::stats::WorkerCounters;
use super::writer::Flushed;

/// Polls of tasks between two looks at the sockets. Higher than tokio's 61, so that a fan-out to many
/// connections isn't interrupted by an `epoll_wait` every few microseconds.
const EVENT_INTERVAL: u32 = 256;
/// Connections that are written between two looks at the sockets, see [`Pacer`].
const PORTION: usize = 64;
/// Entries that an idle list keeps room for.
const KEPT: usize = 1024;

/// What a task may do in one turn before others get theirs, in units of about 50 ns: see [`spend`].
pub(super) const TURN: u64 = 8192;

/// Notes work that the running task does, in the same units: a push to a connection is one.
pub(super) fn spend(units: u64) {
    SPENT.set(SPENT.get().wrapping_add(units));
}

/// A task's turn, from now on.
pub(super) struct Turn(u64);

impl Turn {
    pub(super) fn begin() -> Turn {
        Turn(SPENT.get())
    }

    /// Others have waited long enough.
    pub(super) fn is_over(&self) -> bool {
        SPENT.get().wrapping_sub(self.0) >= TURN
    }
}

/// Has the task go on after the sockets were looked at and what they woke has run. Were it just woken, the runtime
/// would come back to it many times before it looks, and one client's flood would keep everybody else's unread.
pub(super) fn yield_turn(cx: &mut Context<'_>) {
    let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
}

/// Milliseconds since 1970. For token expiry only.
pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// How other threads reach a worker.
#[derive(Debug)]
pub struct Mailbox {
    id: usize,
    /// Number of the engine that the worker belongs to.
    engine: usize,
    state: Mutex<Mail>,
    /// See [`WorkerCounters`].
    pub counters: WorkerCounters,
}

#[derive(Debug, Default)]
struct Mail {
    /// Connections whose tasks are to run.
    wakes: Vec<Arc<Handle>>,
    /// Connections that have something to write.
    flushes: Vec<Key>,
    /// Other tasks of the worker that are to run.
    tasks: Vec<Waker>,
    /// The worker was woken and has not yet taken its mail.
    woken: bool,
    stop: bool,
    waker: Option<Waker>,
}

thread_local! {
    /// The mailbox of the worker that this thread is; 0: it is none.
    static HERE: Cell<usize> = const { Cell::new(0) };
    /// The engine whose workers this thread does not wake for now; 0: it wakes all.
    static CORKED: Cell<usize> = const { Cell::new(0) };
    /// What all tasks of this thread have done, see [`spend`].
    static SPENT: Cell<u64> = const { Cell::new(0) };
    static PACER: RefCell<Pacer> = RefCell::new(Pacer::default());
    static LOCAL: RefCell<Local> = RefCell::new(Local::default());
}

impl Mailbox {
    /// A mailbox of a worker of the engine with this number.
    pub(super) fn new(engine: usize) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        Mailbox {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            engine,
            state: Mutex::default(),
            counters: WorkerCounters::default(),
        }
    }

    /// Wakes a connection's task, from any thread.
    pub(super) fn wake(&self, handle: &Arc<Handle>) {
        if HERE.get() == self.id {
            handle.wake_here();
        } else {
            self.post(|mail| mail.wakes.push(handle.clone()));
        }
    }

    /// Wakes another task of the worker, from any thread.
    pub(super) fn wake_task(&self, waker: Waker) {
        if HERE.get() == self.id {
            waker.wake();
        } else {
            self.post(|mail| mail.tasks.push(waker));
        }
    }

    /// Has a connection's outbox written, from any thread.
    pub(super) fn flush(&self, key: Key) {
        if HERE.get() == self.id {
            PACER.with_borrow_mut(|pacer| pacer.add(std::iter::once(key)));
        } else {
            self.post(|mail| mail.flushes.push(key));
        }
    }

    fn post(&self, put: impl FnOnce(&mut Mail)) {
        let waker = {
            let mut mail = self.state.lock();
            if mail.stop {
                // Nobody reads it any more: what it holds would be kept for ever.
                return;
            }
            put(&mut mail);
            if mail.woken || CORKED.get() == self.engine {
                return;
            }
            mail.woken = true;
            mail.waker.clone()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Wakes the worker if mail was held back.
    pub(super) fn uncork(&self) {
        let waker = {
            let mut mail = self.state.lock();
            let none = mail.wakes.is_empty() && mail.flushes.is_empty() && mail.tasks.is_empty();
            if none || std::mem::replace(&mut mail.woken, true) {
                return;
            }
            mail.waker.clone()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn stop(&self) {
        let stopped = Mail { stop: true, woken: true, ..Mail::default() };
        // What nobody will read any more is let go of here, outside the lock.
        let unread = std::mem::replace(&mut *self.state.lock(), stopped);
        unread.waker.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (wakes, flushes, tasks) = {
            let mut mail = self.state.lock();
            if mail.stop {
                return Poll::Ready(());
            }
            if !mail.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                mail.waker = Some(cx.waker().clone());
            }
            mail.woken = false;
            (
                std::mem::take(&mut mail.wakes),
                std::mem::take(&mut mail.flushes),
                std::mem::take(&mut mail.tasks),
            )
        };
        tasks.into_iter().for_each(Waker::wake);
        wakes.iter().for_each(|handle| handle.wake_here());
        PACER.with_borrow_mut(|pacer| pacer.add(flushes.into_iter()));
        Poll::Pending
    }
}

/// Writes what was pushed to connections in portions, with a look at the sockets between them.
///
/// A fan-out to thousands would otherwise be one long stretch, and what arrives meanwhile would wait
/// behind it. This way the next message is read while most of the previous one's recipients still wait, and both
/// go out to them in one write: the busier, the fewer writes. No task runs for it: a fan-out touches
/// no more of a connection than its outbox and its socket.
#[derive(Default)]
struct Pacer {
    waiting: VecDeque<Key>,
    idle: Option<Waker>,
}

impl Pacer {
    fn add(&mut self, keys: impl Iterator<Item = Key>) {
        self.waiting.extend(keys);
        if !self.waiting.is_empty()
            && let Some(waker) = self.idle.take()
        {
            waker.wake();
        }
    }

    /// Takes a portion; empty if nothing waits, and then the next [`Pacer::add`] wakes.
    fn portion(&mut self, portion: &mut Vec<Key>, waker: &Waker) {
        portion.extend(self.waiting.drain(..self.waiting.len().min(PORTION)));
        if portion.is_empty() {
            self.idle = Some(waker.clone());
            self.waiting.shrink_to(KEPT);
        }
    }
}

async fn pace() {
    let (mut portion, mut outboxes) = (Vec::with_capacity(PORTION), Vec::with_capacity(PORTION));
    loop {
        std::future::poll_fn(|cx| {
            PACER.with_borrow_mut(|pacer| pacer.portion(&mut portion, cx.waker()));
            if portion.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        LOCAL.with_borrow(|local| local.flush(&mut portion, &mut outboxes));
        if PACER.with_borrow(|pacer| !pacer.waiting.is_empty()) {
            // Goes on after the sockets were looked at and what they woke has run.
            tokio::task::yield_now().await;
        }
    }
}

/// Holds back the wake-ups that this thread causes at an engine's workers, so that a batch of sends becomes one
/// wake-up per worker. Other engines' workers are woken as ever: nobody would let out what was held back for them.
pub(super) fn cork(engine: usize) {
    CORKED.set(engine);
}

/// Ends [`cork`] and lets out what was held back.
pub(super) fn uncork<'a>(engine: usize, mailboxes: impl Iterator<Item = &'a Arc<Mailbox>>) {
    if CORKED.get() == engine {
        CORKED.set(0);
    }
    // Also if another engine's cork has come in between.
    mailboxes.for_each(|mailbox| mailbox.uncork());
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    /// See [`Mailbox`].
    pub mailbox: Arc<Mailbox>,
    /// Spawns tasks on the worker.
    pub runtime: tokio::runtime::Handle,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread.
    ///
    /// # Errors
    /// What the system says when it gives no thread, or no epoll descriptor.
    pub fn start(engine: usize, index: usize, heartbeat: (Duration, Duration)) -> io::Result<Worker> {
        let mailbox = Arc::new(Mailbox::new(engine));
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().event_interval(EVENT_INTERVAL).build()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name(format!("actory-ws-{index}")).spawn({
            let mailbox = mailbox.clone();
            move || run(&mailbox, runtime, heartbeat)
        })?;
        Ok(Worker { mailbox, runtime: handle, thread: Some(thread) })
    }

    /// Ends the thread, and with it every task on it, and waits for it. Called twice, does nothing more.
    pub fn stop(&mut self) {
        self.mailbox.stop();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(mailbox: &Arc<Mailbox>, runtime: Runtime, (interval, timeout): (Duration, Duration)) {
    HERE.set(mailbox.id);
    LOCAL.with_borrow_mut(|local| {
        local.heartbeat = Some((interval, timeout));
        local.mailbox = Some(mailbox.clone());
    });
    runtime.spawn(pace());
    runtime.block_on(std::future::poll_fn(|cx| mailbox.poll(cx)));
    // Tasks are dropped here, on their own thread, where their slab still is. In the background goes only a lookup of a
    // Redis server's name, which nothing can interrupt.
    runtime.shutdown_background();
}

/// What belongs to the worker's thread alone.
#[derive(Default)]
struct Local {
    connections: Slab<(Arc<Handle>, Arc<Socket>)>,
    /// When which connection's token expires, in Unix milliseconds.
    expiries: BTreeSet<(u64, usize)>,
    heartbeat: Option<(Duration, Duration)>,
    mailbox: Option<Arc<Mailbox>>,
    sweeping: bool,
}

/// Number of a connection in its worker's slab.
pub(super) type Key = usize;

/// Puts a connection under the care of this worker's sweeper: heartbeat and token expiry.
pub(super) fn adopt(handle: &Arc<Handle>, socket: &Arc<Socket>, expires_at: Option<u64>) -> Key {
    LOCAL.with_borrow_mut(|local| {
        let key = local.connections.insert((handle.clone(), socket.clone()));
        handle.set_key(key);
        if let Some(at) = expires_at {
            local.expiries.insert((at, key));
        }
        if let Some(heartbeat) = local.heartbeat
            && !std::mem::replace(&mut local.sweeping, true)
        {
            tokio::spawn(sweep(heartbeat));
        }
        key
    })
}

/// Ends the care.
pub(super) fn release(key: Key, expires_at: Option<u64>) {
    LOCAL.with_borrow_mut(|local| {
        local.connections.try_remove(key);
        if let Some(at) = expires_at {
            local.expiries.remove(&(at, key));
        }
        if local.connections.is_empty() && local.connections.capacity() > 1024 {
            local.connections = Slab::new();
        }
    });
}

/// Runs while the worker has connections.
async fn sweep((interval, timeout): (Duration, Duration)) {
    let epoch = Instant::now();
    let mut wheel = Wheel::new(interval, timeout, 0);
    let mut tick = tokio::time::interval(wheel.tick().min(Duration::from_millis(100)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let now = tick.tick().await.saturating_duration_since(epoch).as_millis() as u64;
        let now = now.max(epoch.elapsed().as_millis() as u64);
        let goes_on = LOCAL.with_borrow_mut(|local| {
            local.turn(&mut wheel, now);
            local.expire();
            local.sweeping = !local.connections.is_empty();
            local.sweeping
        });
        if !goes_on {
            return;
        }
    }
}

/// A time as the heartbeat counts it for a connection: without those in which nobody could have heard from the peer.
fn clock(socket: &Socket, now: u64) -> u64 {
    now.saturating_sub(socket.stood_still())
}

impl Local {
    /// Writes what others pushed to connections. A number may be of one that has ended, or of its successor
    /// with nothing to write: both do no harm.
    ///
    /// All outboxes are taken first: what has to come from memory for that comes for many at once, where a system call
    /// between two of them would have each wait for its own.
    fn flush(&self, keys: &mut Vec<Key>, outboxes: &mut Vec<(Key, Result<Box<Outbox>, Flushed>)>) {
        let Some(mailbox) = &self.mailbox else { return };
        let waiting =
            keys.drain(..).filter_map(|key| Some((key, self.connections.get(key)?.0.writer().take())));
        outboxes.extend(waiting);
        for (key, outbox) in outboxes.drain(..) {
            let Some((handle, socket)) = self.connections.get(key) else { continue };
            let flushed = match outbox {
                Ok(outbox) => handle.writer().write(outbox, socket, &mailbox.counters),
                Err(flushed) => flushed,
            };
            match flushed {
                Flushed::Done => {}
                Flushed::Blocked => handle.wake_here(),
                Flushed::More => mailbox.flush(key),
                Flushed::Lost => handle.declare_lost(),
            }
        }
    }

    fn slot<'a>(
        &'a self,
        wheel: &Wheel,
        slot: usize,
    ) -> impl Iterator<Item = &'a (Arc<Handle>, Arc<Socket>)> + use<'a> {
        let step = wheel.slots();
        (slot..self.connections.capacity()).step_by(step).filter_map(|key| self.connections.get(key))
    }

    fn turn(&self, wheel: &mut Wheel, now: u64) {
        let turn = wheel.turn(now);
        if turn.stalled {
            for (_, (handle, socket)) in &self.connections {
                handle.restart_clock(clock(socket, now));
            }
        } else {
            for (slot, _) in turn.check.slots(wheel) {
                for (handle, socket) in self.slot(wheel, slot) {
                    if handle.is_overdue(clock(socket, now), wheel.timeout_ms()) {
                        socket.suspect(handle);
                    }
                }
            }
        }
        for (slot, due) in turn.ping.slots(wheel) {
            // Before it has begun, a client could not answer: its ping would go out behind the 101.
            let pinged = |(handle, _): &&(Arc<Handle>, _)| handle.is_open() && handle.has_begun();
            for (handle, socket) in self.slot(wheel, slot).filter(pinged) {
                handle.on_ping(clock(socket, due));
                handle.push_control(&frame::PING);
                socket.expect_pong();
                if let Some(mailbox) = &self.mailbox {
                    mailbox.counters.pings.add(1);
                }
            }
        }
    }

    fn expire(&mut self) {
        if self.expiries.is_empty() {
            return;
        }
        let now = unix_ms();
        while let Some(&(at, key)) = self.expiries.first()
            && at <= now
        {
            self.expiries.pop_first();
            if let Some((handle, _)) = self.connections.get(key) {
                handle.close(close::TOKEN_EXPIRED, "token expired");
            }
        }
    }
}
