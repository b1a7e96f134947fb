//! The handle of a connection: what everyone but itself holds of it.
//!
//! Anyone may push frames and ask for things; only the worker that owns the connection reads and writes, and only its
//! turn ends it. A push has the worker write soon, once for however many pushes follow before it gets to it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Wake;

use parking_lot::Mutex;
use protocol::endpoint::{CloseRequest, Commands};
use protocol::frame::{self, Opcode};
use subprotocol::server_message::Body;

use super::Worker;
use super::account::Account;
use super::client_session::ClientSession;
use super::group::Group;
use super::inbox::Inbox;
use super::intake::Window;
use super::outgoing::{Encoding, Frames};
use super::receipts::Correspondent;
use super::rooms::Rooms;
use super::scheduler::{Scheduler, bytes, charge};
use super::token::Token;
use super::writer::{Push, Writer};
use flags::{ENDING, GREETED, LEFT, OPEN, SEEN};

mod flags;
mod peer;
mod reading;
#[cfg(test)]
mod tests;

pub(crate) use peer::Peer;

/// Number of a connection, never used twice by its engine.
pub(crate) type ConnectionId = u64;

/// The cost of a text for one connection beside its bytes, as [`charge`] counts: a lock and a copy.
const TEXT: u64 = 2;

/// The result of pushing a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It will be written, unless the connection ends first.
    Queued,
    /// The connection is closing or gone.
    Closed,
    /// The send queue is full: the connection is being closed as a slow consumer.
    Full,
}

/// Shared state of one connection. In this order, so that what every message touches shares two cache lines.
#[derive(Debug)]
#[repr(C)]
pub struct Handle {
    flags: AtomicU32,
    /// Something arrived since the last ping.
    alive: AtomicBool,
    /// It will have a turn. The worker's own.
    woken: AtomicBool,
    /// Of the messages that it gets.
    encoding: Encoding,
    /// Its number in its worker's table.
    token: AtomicUsize,
    inbox: Arc<Inbox>,
    /// The worker's own.
    account: Account,
    writer: Writer,
    /// See [`ConnectionId`].
    pub id: ConnectionId,
    /// Set once, when the connection is registered: saves the relay a lookup per message.
    user_group: OnceLock<Arc<Group>>,
    /// One more than its number among the connections that have events waiting for JavaScript; 0: it has none.
    flow: AtomicUsize,
    /// Number of the turn in which JavaScript last took messages of it.
    last_turn: AtomicU64,
    /// Since when a ping is unanswered, in the worker's milliseconds; 0: none is.
    awaiting_since: AtomicU64,
    /// The relayed messages that Redis has not answered.
    window: Window,
    /// The user it belongs to.
    pub user: Arc<str>,
    /// See [`Peer`].
    pub peer: Peer,
    session: Option<Box<ClientSession>>,
    closing: Mutex<Option<Box<CloseRequest>>>,
    rooms: Mutex<Rooms>,
}

impl Correspondent for Handle {
    fn tell(self: Arc<Self>, body: &Body, outbox_limit: usize) {
        let message = body.as_message();
        charge(TEXT + bytes(message.payload().len()));
        self.push(&Frames::one(message), outbox_limit);
    }

    fn number(&self) -> u64 {
        self.id
    }
}

impl Handle {
    /// A handle of a connection that is about to be registered.
    pub fn new(id: ConnectionId, user: Arc<str>, peer: Peer, inbox: Arc<Inbox>) -> Self {
        inbox.open.fetch_add(1, Ordering::Relaxed);
        let encoding = match &*peer.protocol {
            subprotocol::NAME => Encoding::Enveloped,
            _ => Encoding::default(),
        };
        Handle {
            id,
            user,
            peer,
            session: None,
            inbox,
            flags: AtomicU32::new(OPEN),
            writer: Writer::new(),
            woken: AtomicBool::new(false),
            encoding,
            token: AtomicUsize::new(usize::MAX),
            account: Account::default(),
            user_group: OnceLock::new(),
            window: Window::default(),
            flow: AtomicUsize::new(0),
            last_turn: AtomicU64::new(0),
            closing: Mutex::default(),
            rooms: Mutex::default(),
            alive: AtomicBool::new(true),
            awaiting_since: AtomicU64::new(0),
        }
    }

    /// Queues a message, or a few. `limit` is the send queue's size: see [`Writer::push`].
    pub(crate) fn push(self: &Arc<Self>, frames: &Frames<'_>, limit: usize) -> Pushed {
        if self.flags.load(Ordering::Relaxed) & OPEN == 0 {
            return Pushed::Closed;
        }
        match self.writer.push(frames, limit, &self.inbox.memory) {
            Push::Queued { wake, press } => {
                if wake {
                    self.inbox.flush(self);
                }
                if press {
                    self.inbox.uncork();
                }
                Pushed::Queued
            }
            Push::Shut => Pushed::Closed,
            Push::Full => {
                self.declare_slow();
                Pushed::Full
            }
        }
    }

    /// Queues a text as it is, whatever its client speaks. `limit` as in [`Handle::push`].
    pub(crate) fn push_text(self: &Arc<Self>, text: &str, limit: usize) {
        charge(TEXT + bytes(text.len()));
        self.push(&Frames::text(text), limit);
    }

    /// The same with a session.
    pub(crate) fn in_session(self, session: ClientSession) -> Self {
        Handle { session: Some(Box::new(session)), ..self }
    }

    /// The session of its client, if that speaks the subprotocol.
    pub(crate) fn session(&self) -> Option<&ClientSession> {
        self.session.as_deref()
    }

    /// The encoding of the messages that it gets.
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    #[cfg(test)]
    pub(crate) fn with_encoding(self, encoding: Encoding) -> Self {
        Handle { encoding, ..self }
    }

    /// Queues encoded control frames, past the limit: a client that provokes many is found slow.
    pub fn push_control(self: &Arc<Self>, frames: &[u8]) {
        if self.writer.push_control(frames, &self.inbox.memory) {
            self.inbox.flush(self);
        }
    }

    /// Queues a ping of the embedder's. False if it is closing or gone, or too much waits.
    pub fn ping(self: &Arc<Self>, payload: &[u8], limit: usize) -> bool {
        let (ping, len) = frame::encode_control(Opcode::Ping, payload);
        let Some(wakes) = self.writer.push_ping(&ping[..len], &self.inbox.memory) else { return false };
        if wakes {
            self.inbox.flush(self);
        }
        !self.bound_control(limit)
    }

    /// Finds it slow if its send queue, of `limit` bytes, [overflows](Writer::overflows) with control frames. Answers whether.
    pub(super) fn bound_control(self: &Arc<Self>, limit: usize) -> bool {
        let is_too_much = self.writer.overflows(limit);
        if is_too_much {
            self.declare_slow();
        }
        is_too_much
    }

    /// The inbox of the worker that owns the connection.
    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Gives it a turn. For the worker that owns it, which is the calling thread.
    pub(super) fn wake_here(&self) {
        super::with(|worker| self.wake_on(worker));
    }

    /// The same for who has that worker.
    pub(super) fn wake_on(&self, worker: &Worker) {
        // Only its worker reads and writes this.
        if !self.woken.load(Ordering::Relaxed) {
            self.woken.store(true, Ordering::Relaxed);
            // In its own turn it waits until that is over: see `turn_ends`.
            if !worker.runs(self) {
                worker.scheduler.wake(self.token(), &self.account);
            }
        }
    }

    /// It will have a turn. For the worker that owns it.
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }

    /// Its turn comes: whatever wakes it from here on gives it another one.
    pub(super) fn turn_comes(&self) {
        self.woken.store(false, Ordering::Relaxed);
    }

    /// Its turn is over. If it has more to do, it gets another one.
    pub(super) fn turn_ends(&self, scheduler: &Scheduler) {
        if self.woken.load(Ordering::Relaxed) {
            scheduler.wake_again(self.token());
        }
    }

    /// The use that it made of its worker lately.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Commands give it a turn, which a push does not.
    fn command(self: &Arc<Self>, command: u32) {
        if self.flags.fetch_or(command, Ordering::AcqRel) & command == 0 {
            self.inbox.wake(self);
        }
    }

    /// The same for a command that ends it: it is no longer open.
    fn command_end(self: &Arc<Self>, command: u32) {
        self.count_out(self.flags.fetch_or(ENDING, Ordering::AcqRel));
        self.command(command);
    }

    /// Its flags changed so that it is no longer open, and were `before`.
    fn count_out(&self, before: u32) {
        if before & (OPEN | ENDING) == OPEN {
            self.inbox.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Asks for a close. The first request counts; after it no more messages are taken.
    pub fn close(self: &Arc<Self>, code: u16, reason: &str) {
        self.closing.lock().get_or_insert_with(|| Box::new(CloseRequest { code, reason: reason.into() }));
        self.writer.shut();
        self.command_end(Commands::CLOSE);
    }

    /// Ends it at once, without a close handshake, whether or not it is closing already. Waiting frames are dropped.
    pub fn terminate(self: &Arc<Self>) {
        self.writer.shut();
        self.command_end(Commands::TERMINATE);
    }

    /// True until a close is asked for or begins.
    pub fn is_open(&self) -> bool {
        self.flags.load(Ordering::Acquire) & (OPEN | ENDING) == OPEN
    }

    /// The same as [`Handle::buffered`]; if there are any, the embedder is told when all are written.
    pub fn watch_buffered(&self) -> usize {
        self.writer.watch()
    }

    /// Bytes not yet handed to the kernel.
    pub fn buffered(&self) -> usize {
        self.writer.queued()
    }

    /// Notes that JavaScript holds an object for the connection, so that its end is told.
    pub fn mark_seen(&self) {
        if !self.is_seen() {
            self.flags.fetch_or(SEEN, Ordering::AcqRel);
        }
    }

    /// See [`Handle::mark_seen`].
    pub fn is_seen(&self) -> bool {
        self.flags.load(Ordering::Acquire) & SEEN != 0
    }

    /// Notes that the application has dealt with its beginning.
    pub(crate) fn mark_greeted(&self) {
        self.flags.fetch_or(GREETED, Ordering::AcqRel);
    }

    /// See [`Handle::mark_greeted`].
    pub(crate) fn is_greeted(&self) -> bool {
        self.flags.load(Ordering::Acquire) & GREETED != 0
    }

    /// The connections of its user. Set by the registry, when the connection is registered.
    pub(crate) fn user_group(&self) -> &OnceLock<Arc<Group>> {
        &self.user_group
    }

    /// The rooms it is in. Changed by the registry only.
    pub(crate) fn rooms(&self) -> &Mutex<Rooms> {
        &self.rooms
    }

    // For the connection itself.

    /// The commands that it is yet to carry out.
    pub(crate) fn commands(&self) -> Commands {
        Commands(self.flags.load(Ordering::Acquire) & Commands::MASK)
    }

    /// See [`Connections::look_ahead`](super::connections::Connections::look_ahead).
    pub(super) fn glance(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Forgets commands that were carried out.
    pub(super) fn done(&self, commands: Commands) {
        self.flags.fetch_and(!commands.0, Ordering::AcqRel);
    }

    /// Stops taking messages. True the first time.
    pub(crate) fn shut(&self) -> bool {
        let before = self.flags.fetch_and(!OPEN, Ordering::AcqRel);
        self.count_out(before);
        let first = before & OPEN != 0;
        if first {
            self.writer.shut();
        }
        first
    }

    /// See [`Commands::CLOSE`].
    pub(super) fn take_close(&self) -> Option<Box<CloseRequest>> {
        self.closing.lock().take()
    }

    /// The writing side.
    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Its number in its worker's table.
    pub(super) fn token(&self) -> Token {
        self.token.load(Ordering::Relaxed)
    }

    /// Sets its number in its worker's table, before anyone else knows the handle.
    pub(super) fn set_token(&self, token: usize) {
        self.token.store(token, Ordering::Relaxed);
    }

    /// The socket failed under a write that was not its own.
    pub(super) fn declare_lost(self: &Arc<Self>) {
        self.command(Commands::LOST);
    }

    /// Its client left before it had its place in the table.
    #[cfg(unix)]
    pub(super) fn note_left(&self) {
        self.flags.fetch_or(LEFT, Ordering::AcqRel);
    }

    /// See [`Handle::note_left`].
    pub(super) fn has_left(&self) -> bool {
        self.flags.load(Ordering::Acquire) & LEFT != 0
    }

    /// See [`Window`].
    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// Its number among the connections that have events waiting for JavaScript. Like what follows, for the queue alone,
    /// under its lock.
    pub(crate) fn flow(&self) -> Option<usize> {
        self.flow.load(Ordering::Relaxed).checked_sub(1)
    }

    /// See [`Handle::flow`].
    pub(crate) fn set_flow(&self, flow: Option<usize>) {
        self.flow.store(flow.map_or(0, |flow| flow + 1), Ordering::Relaxed);
    }

    /// Number of the turn in which JavaScript last took messages of it; 0: it never did.
    pub(crate) fn last_turn(&self) -> u64 {
        self.last_turn.load(Ordering::Relaxed)
    }

    /// See [`Handle::last_turn`].
    pub(crate) fn set_last_turn(&self, turn: u64) {
        self.last_turn.store(turn, Ordering::Relaxed);
    }

    /// Lets a connection that waits for the embedder go on to its end.
    pub(crate) fn declare_settled(self: &Arc<Self>) {
        self.command(Commands::SETTLED);
    }

    /// Ends the connection as a slow consumer.
    pub(super) fn declare_slow(self: &Arc<Self>) {
        self.command_end(Commands::SLOW);
    }

    /// Ends the connection unless its next read completes the message.
    pub(super) fn declare_overdue(self: &Arc<Self>) {
        self.command(Commands::OVERDUE);
    }

    /// Ends the connection because of what all hold together, unless it holds nothing by then.
    pub fn evict(self: &Arc<Self>) {
        self.command(Commands::EVICT);
    }

    /// True if that has yet to be done.
    pub(super) fn is_to_be_evicted(&self) -> bool {
        self.flags.load(Ordering::Acquire) & Commands::EVICT != 0 && self.token() != usize::MAX
    }

    /// Ends the connection with the heartbeat's code.
    pub(super) fn declare_dead(self: &Arc<Self>) {
        self.command(Commands::DEAD);
    }
}

/// The wakers of a connection, beside its poller: its deadline, its bridge. From any thread.
impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.inbox.wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.inbox.wake(self);
    }
}
