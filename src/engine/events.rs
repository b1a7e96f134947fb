//! Events on their way to the embedder (JavaScript, or a test).
//!
//! One bounded queue. The embedder is told once that there is something and then drains batches until the queue
//! is empty. Only kinds of events that someone listens for are queued. A connection whose messages are not taken
//! fast enough is no longer read, so that TCP pushes back on the client: memory is bounded and nothing is dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::bridge::BridgeId;
use super::broker::{Answer, BrokerStatus};
use super::close::ClosedBy;
use super::error::Error;
use super::frame::Message;
use super::handle::Handle;
use super::outbox::Dropped;

/// Refusals that wait for the embedder at most, each of a few hundred bytes or of what the limits of a request are.
const MAX_REFUSALS: usize = 1000;
/// What a queued message counts beyond its payload, so that a flood of empty ones is bounded too.
const MESSAGE_OVERHEAD: usize = 64;

/// Kinds of events that can be left out when nobody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(pub u8);

impl Interest {
    /// Connections that opened.
    pub const CONNECTION: Interest = Interest(1);
    /// Messages.
    pub const MESSAGE: Interest = Interest(2);
    /// Connections that ended.
    pub const DISCONNECT: Interest = Interest(4);
    /// Connections that are closed as slow consumers.
    pub const SLOW: Interest = Interest(8);
    /// Upgrades that were refused.
    pub const REFUSED: Interest = Interest(16);
    /// Everything.
    pub const ALL: Interest = Interest(31);
}

/// Something that happened.
#[allow(missing_docs, reason = "the fields are named for what they are")]
#[derive(Debug)]
pub enum Event {
    /// A connection opened; `ticket` is the upgrade's that it came from.
    Open { handle: Arc<Handle>, ticket: u64 },
    /// A text message.
    Text { handle: Arc<Handle>, text: String },
    /// A binary message.
    Binary { handle: Arc<Handle>, bytes: Vec<u8> },
    /// A connection ended.
    Close { handle: Arc<Handle>, code: u16, reason: Box<str>, by: ClosedBy },
    /// A connection's outbox overflowed; it is being closed.
    Slow { handle: Arc<Handle>, dropped: Dropped },
    /// An upgrade whose result was asked for succeeded.
    Upgraded { handle: Arc<Handle>, ticket: u64 },
    /// An upgrade whose result was asked for was refused.
    Refused { ticket: u64, code: &'static str, message: String },
    /// An upgrade was refused.
    Refusal(Box<Refusal>),
    /// A bridge has bytes for its socket.
    BridgeReadable { id: BridgeId },
    /// A bridge takes bytes from its socket again.
    BridgeDrain { id: BridgeId },
    /// A bridge wants to know whether the embedder's loop turns.
    BridgeQuestion { id: BridgeId },
    /// A bridge is done with its socket.
    BridgeEnd { id: BridgeId, abort: bool },
    /// The answer to what had to be asked of other servers, see [`super::broker::Reply::Later`].
    Settled { ticket: u64, result: Result<Answer, Error> },
    /// The broker's state changed.
    Broker(BrokerStatus),
    /// A message on a channel that was subscribed to by name.
    Channel { channel: String, payload: String },
    /// A subscription by name, which was confirmed once, has ended.
    Forbidden { channel: String, error: Error },
    /// Something went wrong that concerns no call.
    Problem(Error),
    /// The engine has shut down. Nothing follows.
    Closed,
}

/// An upgrade that was refused, and why. For whoever looks for what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Code of the error.
    pub code: &'static str,
    /// What the client is told.
    pub message: String,
    /// The request's target, without a token that it carries.
    pub url: String,
    /// The client's address.
    pub remote: String,
    /// Its header `Origin`.
    pub origin: Option<String>,
}

impl Event {
    fn message(&self) -> Option<(&Arc<Handle>, usize)> {
        match self {
            Event::Text { handle, text } => Some((handle, text.len() + MESSAGE_OVERHEAD)),
            Event::Binary { handle, bytes } => Some((handle, bytes.len() + MESSAGE_OVERHEAD)),
            _ => None,
        }
    }
}

/// See the module.
pub struct Events {
    queue: Mutex<Queue>,
    interest: AtomicU8,
    /// Bytes of messages in the queue.
    bytes: AtomicUsize,
    limit: usize,
    limit_per_connection: usize,
    notify: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    /// The embedder knows that there are events, and has not yet found the queue empty.
    notified: bool,
    /// The whole queue was full and has not yet shrunk to half: nobody is read that adds to it.
    congested: bool,
    /// Refusals in the queue.
    refusals: usize,
    /// Connections that wait for that, each once.
    waiting: Vec<Arc<Handle>>,
    /// How many events were ever queued, taken, and dealt with: what the embedder sent in return is in the outboxes.
    pushed: u64,
    taken: u64,
    settled: u64,
    /// Connections that wait until so many events are dealt with, in that order.
    settling: VecDeque<(u64, Arc<Handle>)>,
}

impl Queue {
    fn wait(&mut self, handle: &Arc<Handle>) {
        if !handle.set_waiting(true) {
            self.waiting.push(handle.clone());
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Events {
    /// `notify` is called from any thread when the queue stops being empty; limits are in bytes.
    pub fn new(notify: Box<dyn Fn() + Send + Sync>, limit: usize, limit_per_connection: usize) -> Self {
        Events {
            queue: Mutex::default(),
            interest: AtomicU8::new(0),
            bytes: AtomicUsize::new(0),
            limit,
            limit_per_connection,
            notify,
        }
    }

    /// Sets the kinds of events that are queued from now on.
    pub fn set_interest(&self, interest: Interest) {
        self.interest.store(interest.0, Ordering::Release);
    }

    /// True if someone listens for this kind.
    pub fn wants(&self, kind: Interest) -> bool {
        self.interest.load(Ordering::Acquire) & kind.0 != 0
    }

    /// Queues an event, whatever the interest.
    pub fn push(&self, event: Event) {
        let notify = {
            let mut queue = self.queue.lock();
            queue.pushed += 1;
            if let Some((handle, size)) = event.message() {
                handle.set_last_event(queue.pushed);
                self.account(handle, size as isize);
            }
            queue.events.push_back(event);
            !std::mem::replace(&mut queue.notified, true)
        };
        if notify {
            (self.notify)();
        }
    }

    /// Notes bytes of a connection's messages that came or went; answers how many it has. To be called under the queue's
    /// lock: nobody else writes, so that no locked instruction is needed.
    fn account(&self, handle: &Handle, bytes: isize) -> usize {
        let add = |counter: &AtomicUsize| {
            let sum = counter.load(Ordering::Relaxed).wrapping_add_signed(bytes);
            counter.store(sum, Ordering::Relaxed);
            sum
        };
        add(&self.bytes);
        add(handle.pending_events())
    }

    /// Queues a refusal, if someone listens. Strangers can cause any number: those for which there is no room are left out.
    pub(super) fn push_refusal(&self, refusal: impl FnOnce() -> Refusal) {
        if !self.wants(Interest::REFUSED) || self.queue.lock().refusals >= MAX_REFUSALS {
            return;
        }
        let refusal = Event::Refusal(Box::new(refusal()));
        self.queue.lock().refusals += 1;
        self.push(refusal);
    }

    /// Queues a message, if someone listens. Copies the payload.
    pub fn push_message(&self, handle: &Arc<Handle>, message: Message<'_>) {
        if !self.wants(Interest::MESSAGE) {
            return;
        }
        let event = match message {
            Message::Text(text) => Event::Text { handle: handle.clone(), text: text.into() },
            Message::Binary(bytes) => Event::Binary { handle: handle.clone(), bytes: bytes.into() },
        };
        handle.mark_seen();
        self.push(event);
    }

    /// True if the connection should not be read for now. It is then woken when it may.
    pub(super) fn must_pause(&self, handle: &Arc<Handle>) -> bool {
        let own = || handle.pending_events().load(Ordering::Relaxed) >= self.limit_per_connection;
        let all = || self.bytes.load(Ordering::Relaxed) > self.limit / 2;
        if !own() && !all() {
            return false;
        }
        let mut queue = self.queue.lock();
        queue.congested |= self.bytes.load(Ordering::Relaxed) >= self.limit;
        handle.set_paused(true);
        // Looked at again under the lock that drains take: a drain in between would have woken nobody.
        if own() {
            return true;
        }
        if queue.congested {
            queue.wait(handle);
            return true;
        }
        handle.set_paused(false);
        false
    }

    /// Takes at most `max` events. An empty answer means that the queue was empty, and that the next event
    /// notifies again.
    pub fn drain(&self, max: usize) -> VecDeque<Event> {
        let mut resumed = Vec::new();
        let batch = {
            let mut queue = self.queue.lock();
            let batch = if queue.events.is_empty() {
                queue.notified = false;
                VecDeque::new()
            } else if queue.events.len() <= max {
                // As many may come again.
                let room = VecDeque::with_capacity(queue.events.len());
                std::mem::replace(&mut queue.events, room)
            } else {
                queue.events.drain(..max).collect()
            };
            queue.taken += batch.len() as u64;
            if queue.refusals > 0 {
                queue.refusals -= batch.iter().filter(|event| matches!(event, Event::Refusal(_))).count();
            }
            for (handle, size) in batch.iter().filter_map(Event::message) {
                let left = self.account(handle, -(size as isize));
                if left <= self.limit_per_connection / 2 && handle.is_paused() {
                    if queue.congested {
                        queue.wait(handle);
                    } else {
                        resumed.push(handle.clone());
                    }
                }
            }
            if self.bytes.load(Ordering::Relaxed) <= self.limit / 2 {
                queue.congested = false;
                for handle in queue.waiting.drain(..) {
                    handle.set_waiting(false);
                    resumed.push(handle);
                }
            }
            batch
        };
        for handle in resumed {
            handle.resume();
        }
        batch
    }

    /// The embedder has dealt with all that it took.
    pub fn settle(&self) {
        let mut settled = Vec::new();
        {
            let mut queue = self.queue.lock();
            queue.settled = queue.taken;
            while queue.settling.front().is_some_and(|(count, _)| *count <= queue.settled) {
                settled.extend(queue.settling.pop_front().map(|(_, handle)| handle));
            }
        }
        for handle in settled {
            handle.declare_settled();
        }
    }

    /// True if the embedder has yet to deal with messages of the connection. It is woken when that is done.
    pub(super) fn must_settle(&self, handle: &Arc<Handle>) -> bool {
        let mut queue = self.queue.lock();
        let count = handle.last_event();
        let wait = count > queue.settled;
        if wait {
            // In order of the counts, which differ by what other connections queued meanwhile.
            let at = queue.settling.partition_point(|(other, _)| *other <= count);
            queue.settling.insert(at, (count, handle.clone()));
        }
        wait
    }

    /// Bytes of messages that wait.
    pub fn pending_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}
