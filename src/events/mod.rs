//! Events on their way to the embedder (JavaScript, or a test).
//!
//! One bounded queue. The embedder is told once that there is something and then drains batches until the queue
//! is empty. Only kinds of events that someone listens for are queued. A connection's events come in their order; beyond
//! that connections are served in [turn](self::flows), and what concerns none of them waits for none of them. A connection
//! whose messages are not taken fast enough is no longer read, so that TCP pushes back on the client: memory is bounded and
//! nothing is dropped. One that says little goes on being read: its messages may have to reach others, by the relay.

pub mod broker_status;
mod flows;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use codes::close::ClosedBy;
use codes::error::Error;
use history::follower::Missed;
use parking_lot::Mutex;
use protocol::frame::Message;
use subprotocol::server_message::Body;

use self::flows::{Flows, TakenEvents};
use crate::events::broker_status::BrokerStatus;
use crate::outcome::Answer;
use crate::registry::recipients::TopicName;
use crate::worker::bridge::{BridgeId, Carrier, Signal};
use crate::worker::handle::{ConnectionId, Handle};
use crate::worker::receipts::Receipt;
use crate::worker::send_queue::Dropped;

/// Refusals that wait for the embedder at most, each of a few hundred bytes or of what the limits of a request are.
const MAX_REFUSALS: usize = 1000;

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
    /// Pongs, but for the answers to the heartbeat.
    pub const PONG: Interest = Interest(32);
    /// Connections for which nothing waits any more.
    pub const DRAIN: Interest = Interest(64);
    /// Requests of clients that speak the subprotocol.
    pub const REQUEST: Interest = Interest(128);
    /// Each of them, by the name of JavaScript's event.
    pub const NAMED: &[(&str, Interest)] = &[
        ("connection", Self::CONNECTION),
        ("message", Self::MESSAGE),
        ("disconnect", Self::DISCONNECT),
        ("slow", Self::SLOW),
        ("refused", Self::REFUSED),
        ("pong", Self::PONG),
        ("drain", Self::DRAIN),
        ("request", Self::REQUEST),
    ];
    /// Everything.
    pub const ALL: Interest = Interest(255);
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A connection opened; `ticket` is the upgrade's that it came from.
    Open { handle: Arc<Handle>, ticket: u64 },
    /// A text message.
    Text { handle: Arc<Handle>, text: String },
    /// A binary message.
    Binary { handle: Arc<Handle>, bytes: Vec<u8> },
    /// A message whose client wants to hear of it, or a request.
    Asked { handle: Arc<Handle>, asked: Box<Asked> },
    /// A pong.
    Pong { handle: Arc<Handle>, bytes: Vec<u8> },
    /// Something waited for a connection's client, and all of it is written.
    Drain { handle: Arc<Handle> },
    /// A connection ended. The last of its events.
    Close { handle: Arc<Handle>, code: u16, reason: Box<str>, by: ClosedBy },
    /// A connection's send queue overflowed; it is being closed.
    Slow { handle: Arc<Handle>, dropped: Dropped },
    /// An upgrade whose result was asked for succeeded.
    Upgraded { handle: Arc<Handle>, ticket: u64 },
    /// An upgrade whose result was asked for was refused.
    Refused { ticket: u64, code: String, message: String },
    /// An upgrade was refused.
    Refusal(Box<RefusedUpgrade>),
    /// There is something to do for a bridge.
    Bridge { id: BridgeId, signal: Signal },
    /// The answer to what had to be asked of other servers, see [`crate::outcome::Reply::Later`].
    Settled { ticket: u64, result: Result<Answer, Error> },
    /// The broker's state changed.
    Broker(BrokerStatus),
    /// Messages of a topic with a history did not arrive here, or may not have.
    Missed { topic: TopicName, missed: Missed },
    /// A message on a channel that was subscribed to by name.
    Channel { channel: String, payload: String },
    /// A subscription by name, which was confirmed once, has ended.
    Forbidden { channel: String, error: Error },
    /// Something went wrong that concerns no call.
    Problem(Error),
    /// The engine has shut down. Nothing follows.
    Closed,
}

/// The embedder's part in a message that is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedKind {
    /// It takes it.
    Message,
    /// It answers with data.
    Request,
    /// It says whether the connection may join the room that the message is the name of.
    Join,
    /// It takes the connection out of the room that the message is the name of, after what it thinks about.
    Leave,
}

/// A message that is to be answered.
#[derive(Debug)]
pub struct Asked {
    /// The embedder's part.
    pub kind: AskedKind,
    /// The message.
    pub data: Body,
    /// Its name, which is the same each time that it is sent.
    pub message_id: String,
    /// To be held by [`Engine::hold`](crate::engine::Engine::hold).
    pub receipt: Receipt,
}

/// An upgrade that was refused, and why. For whoever looks for what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedUpgrade {
    /// Code of the error, or the embedder's own.
    pub code: String,
    /// The message for the client.
    pub message: String,
    /// The request's target, without a token that it carries.
    pub url: String,
    /// The client's address.
    pub remote: String,
    /// Its header `Origin`.
    pub origin: Option<String>,
}

impl Event {
    /// The connection whose order the event keeps.
    pub fn connection(&self) -> Option<&Arc<Handle>> {
        match self {
            Event::Open { handle, .. }
            | Event::Text { handle, .. }
            | Event::Binary { handle, .. }
            | Event::Asked { handle, .. }
            | Event::Pong { handle, .. }
            | Event::Drain { handle }
            | Event::Close { handle, .. }
            | Event::Slow { handle, .. }
            | Event::Upgraded { handle, .. } => Some(handle),
            _ => None,
        }
    }
}

/// See the module.
pub struct Events {
    queue: Mutex<Queue>,
    interest: AtomicU8,
    /// [`Flows::bytes`], to be read without the queue's lock.
    bytes: AtomicUsize,
    limit: usize,
    /// Locked once for each time that the embedder is woken. Nothing once it has [`Event::Closed`]: the means to wake it are
    /// let go of then, for a test runner counts that as an open handle.
    notify: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

struct Queue {
    /// Events of connections.
    flows: Flows,
    /// All others but [`Event::Closed`], in the order in which they came.
    others: VecDeque<Event>,
    /// [`Event::Closed`] was queued, which comes last.
    closed: bool,
    /// The embedder knows that there are events, and has not yet found the queue empty.
    notified: bool,
    /// Refusals in the queue.
    refusals: usize,
    /// Connections that wait to add a message, none of theirs being in the queue: in this order, each once.
    line: VecDeque<Arc<Handle>>,
    /// Number of the last turn whose events the embedder has dealt with: its messages in return are in the send queues.
    settled: u64,
    /// Connections whose beginning is among those events.
    opened: Vec<ConnectionId>,
    /// Connections that wait until the batch which the embedder has is dealt with.
    settling: Vec<Arc<Handle>>,
}

impl Queue {
    /// Moves events into a batch. Those of no connection go first, for somebody may wait for them; a quarter of the batch is
    /// for connections all the same. It is no more, because a listener's calls make answers of messages: with half of each,
    /// one call per message would keep for ever whatever line of answers there is.
    fn take(&mut self, max: usize) -> (VecDeque<Event>, TakenEvents) {
        let mut batch = VecDeque::with_capacity(max.min(self.others.len() + self.flows.len()));
        let room = if self.flows.len() == 0 { max } else { max - max / 4 };
        batch.extend(self.others.drain(..self.others.len().min(room)));
        if self.refusals > 0 {
            self.refusals -= batch.iter().filter(|event| matches!(event, Event::Refusal(_))).count();
        }
        let taken = self.flows.take(max, &mut batch);
        if self.closed && batch.len() < max && self.others.len() + self.flows.len() == 0 {
            self.closed = false;
            batch.push_back(Event::Closed);
        }
        (batch, taken)
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Events {
    /// `notify` is called from any thread when the queue stops being empty, and must not call back into this: its lock is held
    /// then. Limits are in bytes. Twice `limit` are not exceeded
    /// by more than a message of each worker.
    pub fn new(notify: Box<dyn Fn() + Send + Sync>, limit: usize, limit_per_connection: usize) -> Self {
        Events {
            queue: Mutex::new(Queue {
                flows: Flows::new(limit, limit_per_connection),
                others: VecDeque::new(),
                closed: false,
                notified: false,
                refusals: 0,
                line: VecDeque::new(),
                settled: 0,
                opened: Vec::new(),
                settling: Vec::new(),
            }),
            interest: AtomicU8::new(0),
            bytes: AtomicUsize::new(0),
            limit,
            notify: Mutex::new(Some(notify)),
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
            if event.connection().is_some() {
                queue.flows.push(event);
                self.bytes.store(queue.flows.bytes(), Ordering::Relaxed);
            } else if matches!(event, Event::Closed) {
                queue.closed = true;
            } else {
                queue.others.push_back(event);
            }
            !std::mem::replace(&mut queue.notified, true)
        };
        if notify && let Some(notify) = &*self.notify.lock() {
            notify();
        }
    }

    /// Queues a refusal, if someone listens. Strangers can cause any number: those for which there is no room are left out.
    pub(super) fn push_refusal(&self, refusal: impl FnOnce() -> RefusedUpgrade) {
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

    /// Queues a message that is to be answered, whatever the interest. Copies the payload.
    pub(super) fn push_asked(
        &self,
        handle: &Arc<Handle>,
        message: Message<'_>,
        kind: AskedKind,
        receipt: Receipt,
    ) {
        handle.mark_seen();
        let asked = Asked {
            kind,
            data: match message {
                Message::Text(text) => Body::Text(text.into()),
                Message::Binary(bytes) => Body::Binary(bytes.into()),
            },
            message_id: receipt.message_id(),
            receipt,
        };
        self.push(Event::Asked { handle: handle.clone(), asked: Box::new(asked) });
    }

    /// Queues a pong, if someone listens. It counts as a message, for a client may send any number.
    pub(super) fn push_pong(&self, handle: &Arc<Handle>, payload: &[u8]) {
        if self.wants(Interest::PONG) {
            handle.mark_seen();
            self.push(Event::Pong { handle: handle.clone(), bytes: payload.into() });
        }
    }

    /// Queues that nothing waits for an open connection's client any more, if someone listens.
    pub(super) fn push_drain(&self, handle: &Arc<Handle>) {
        if self.wants(Interest::DRAIN) && handle.is_open() {
            handle.mark_seen();
            self.push(Event::Drain { handle: handle.clone() });
        }
    }

    /// True if the connection should not be read for now, because of what waits of all connections. It is then woken when it
    /// may. Because of what waits of itself it is [paused](Handle::is_paused) as that comes.
    pub(super) fn must_pause(&self, handle: &Arc<Handle>) -> bool {
        if self.bytes.load(Ordering::Relaxed) < self.limit {
            return false;
        }
        let mut queue = self.queue.lock();
        if queue.flows.has_room(handle) {
            return false;
        }
        handle.set_paused(true);
        // Else it is relieved when its own are taken.
        if queue.flows.bytes_of(handle) == 0 {
            queue.line.push_back(handle.clone());
        }
        true
    }

    /// Takes at most `max` events. An empty answer means that the queue was empty, and that the next event
    /// notifies again.
    pub fn drain(&self, max: usize) -> VecDeque<Event> {
        let (batch, resumed) = {
            let mut queue = self.queue.lock();
            let (batch, TakenEvents { mut relieved, awaiting, opened }) = queue.take(max);
            queue.opened.extend(opened);
            queue.notified = !batch.is_empty();
            queue.settling.extend(awaiting);
            let bytes = queue.flows.bytes();
            self.bytes.store(bytes, Ordering::Relaxed);
            // As many as have left make room for; all once there is plenty, for those who were called may say nothing.
            let called = match queue.line.len() {
                all if bytes < self.limit => all,
                all => all.min(batch.iter().filter(|event| event.connection().is_some()).count()),
            };
            relieved.extend(queue.line.drain(..called));
            (batch, relieved)
        };
        for handle in resumed {
            handle.resume();
        }
        if matches!(batch.back(), Some(Event::Closed)) {
            *self.notify.lock() = None;
        }
        batch
    }

    /// The embedder has dealt with all that it took.
    pub fn settle(&self) {
        let settled = {
            let mut queue = self.queue.lock();
            queue.settled = queue.flows.turn();
            queue.opened.clear();
            std::mem::take(&mut queue.settling)
        };
        for handle in settled {
            handle.declare_settled();
        }
    }

    /// True if the embedder has yet to deal with events of the connection, to which it may have something to say. It is woken when
    /// that is done. Not locked for one that the embedder has heard nothing of.
    pub(super) fn must_settle(&self, handle: &Arc<Handle>) -> bool {
        if !handle.is_seen() {
            return false;
        }
        let mut queue = self.queue.lock();
        if queue.flows.await_last(handle) {
            return true;
        }
        let is_out = handle.last_turn() > queue.settled || queue.opened.contains(&handle.id);
        if is_out {
            queue.settling.push(handle.clone());
        }
        is_out
    }

    /// Bytes of messages that wait.
    pub fn pending_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Carrier for Events {
    fn signal(&self, id: BridgeId, signal: Signal) {
        self.push(Event::Bridge { id, signal });
    }
}

#[cfg(test)]
mod tests;
