//! Inboxes: other threads reach a worker by them. They post to its [queue](RemoteQueue), and the worker takes it out.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::runtime;

use super::Worker;
use super::counters::WorkerCounters;
use super::handle::Handle;
use super::intake::Intake;
use super::limits::Limits;
use super::memory::Memory;
use super::remote_queue::RemoteQueue;
use super::token::Token;

/// The way in which other threads reach a worker.
#[derive(Debug)]
pub struct Inbox {
    /// Number of the engine that the worker belongs to.
    engine: usize,
    posted: RemoteQueue<Mail>,
    /// See [`WorkerCounters`].
    pub counters: WorkerCounters,
    /// The number of the worker's connections that are [open](Handle::is_open).
    pub(crate) open: AtomicUsize,
    /// The count of the send queues of its engine.
    pub(super) memory: Arc<Memory>,
    /// Those of its connections.
    pub(super) limits: Limits,
    /// The judge of when its connections are read. None if nobody relays, or no one waits for a broker.
    intake: OnceLock<Arc<Intake>>,
    runtime: Mutex<Option<runtime::Handle>>,
}

#[derive(Debug, Default)]
struct Mail {
    /// Connections that are to have a turn.
    wakes: Vec<Arc<Handle>>,
    /// Connections that have something to write.
    flushes: Vec<Token>,
    /// Other tasks of the worker that are to run.
    tasks: Vec<Waker>,
}

impl Inbox {
    /// An inbox of a worker of the engine with this number.
    pub(super) fn new(engine: usize, memory: Arc<Memory>, limits: Limits) -> Self {
        Inbox {
            engine,
            posted: RemoteQueue::default(),
            counters: WorkerCounters::default(),
            open: AtomicUsize::new(0),
            memory,
            limits,
            intake: OnceLock::new(),
            runtime: Mutex::default(),
        }
    }

    /// One with all defaults, whose memory has no limit.
    #[cfg(test)]
    pub(crate) fn of_test(engine: usize) -> Self {
        Inbox::new(engine, Memory::new(usize::MAX), Limits::default())
    }

    /// Before it has connections.
    pub(crate) fn set_intake(&self, intake: Arc<Intake>) {
        let _ = self.intake.set(intake);
    }

    /// Spawns a task on the worker, unless that has ended.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &*self.runtime.lock() {
            runtime.spawn(task);
        }
    }

    /// Sets the worker's runtime. None: it has ended. An inbox that is kept then keeps none of its descriptors.
    pub(super) fn set_runtime(&self, runtime: Option<runtime::Handle>) {
        *self.runtime.lock() = runtime;
    }

    /// See [`Inbox::set_intake`].
    pub(crate) fn intake(&self) -> Option<&Arc<Intake>> {
        self.intake.get()
    }

    /// Calls with its worker, if that is the calling thread.
    fn here(&self, call: impl FnOnce(&Worker)) -> bool {
        super::with(|worker| {
            let is_here = std::ptr::eq(&*worker.inbox, self);
            if is_here {
                call(worker);
            }
            is_here
        })
        .unwrap_or(false)
    }

    /// Gives a connection a turn, from any thread.
    pub(super) fn wake(&self, handle: &Arc<Handle>) {
        if !self.here(|worker| handle.wake_on(worker)) {
            self.post(|mail| mail.wakes.push(handle.clone()));
        }
    }

    /// Wakes another task of the worker, from any thread.
    pub(crate) fn wake_task(&self, waker: Waker) {
        if self.here(|_| ()) {
            waker.wake();
        } else {
            self.post(|mail| mail.tasks.push(waker));
        }
    }

    /// Has a connection's send queue written, from any thread.
    pub(super) fn flush(&self, handle: &Handle) {
        // One that has its turn looks at it last.
        let flush = |worker: &Worker| {
            if !worker.runs(handle) {
                worker.scheduler.flush(handle.token(), handle.account());
            }
        };
        if !self.here(flush) {
            self.post(|mail| mail.flushes.push(handle.token()));
        }
    }

    fn post(&self, put: impl FnOnce(&mut Mail)) {
        self.posted.post(put, || super::corked(self.engine));
    }

    /// Wakes the worker if mail was held back.
    pub(super) fn uncork(&self) {
        self.posted.let_out();
    }

    /// The worker is to end.
    pub(super) fn stop(&self) {
        self.posted.stop();
    }

    /// For the worker: hands out what was posted. Ready when it is to end.
    pub(super) fn poll(&self, cx: &mut Context<'_>, worker: &Worker) -> Poll<()> {
        let Some(Mail { wakes, flushes, tasks }) = self.posted.take(cx.waker()) else {
            return Poll::Ready(());
        };
        worker.scheduler.look_at_clock();
        tasks.into_iter().for_each(Waker::wake);
        wakes.iter().for_each(|handle| handle.wake_on(worker));
        worker.connections.flush_soon(flushes, &worker.scheduler);
        Poll::Pending
    }
}
