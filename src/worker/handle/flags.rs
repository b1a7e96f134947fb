//! The flags of a handle: how its connection stands, and what it is asked to do.

/// Registered, and messages are taken for it.
pub(super) const OPEN: u32 = 1;
/// The outbox overflowed.
pub(super) const SLOW: u32 = 1 << 1;
/// Not read for now: JavaScript is behind with its messages.
pub(super) const PAUSED: u32 = 1 << 2;
/// JavaScript has an object for it, so its end has to be told.
pub(super) const SEEN: u32 = 1 << 3;
/// A close was asked for: see `closing`.
pub(super) const CLOSE: u32 = 1 << 4;
/// The heartbeat got no answer.
pub(super) const DEAD: u32 = 1 << 5;
/// A write failed.
pub(super) const LOST: u32 = 1 << 6;
/// The embedder has dealt with what the peer said last.
pub(super) const SETTLED: u32 = 1 << 7;
/// Its unfinished message takes too long.
pub(super) const OVERDUE: u32 = 1 << 8;
/// Not read for now: it stands in the line of [`Intake`](crate::worker::intake::Intake).
pub(super) const HELD: u32 = 1 << 9;
/// Called from that line, and not yet back.
pub(super) const CALLED: u32 = 1 << 10;
/// All connections together hold too much, and this one is among those that hold most.
pub(super) const EVICT: u32 = 1 << 11;
/// Not read for now: the application has paused it.
pub(super) const HALTED: u32 = 1 << 12;
/// It is to go at once, without a close handshake.
pub(super) const TERMINATE: u32 = 1 << 13;
/// It was asked to close, or found slow, and will: from here on it is no longer among the open ones. Never taken back.
pub(super) const ENDING: u32 = 1 << 14;
/// Its client left before it had its place in the table.
pub(super) const LEFT: u32 = 1 << 15;
/// All that a connection is asked to do.
pub(super) const COMMANDS: u32 = SLOW | CLOSE | DEAD | LOST | SETTLED | OVERDUE | EVICT | TERMINATE;

/// What a connection is asked to do, taken all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commands(pub(super) u32);

impl Commands {
    /// Nothing is asked.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// The outbox overflowed: drop what waits, close with 4004.
    pub(crate) fn slow(self) -> bool {
        self.0 & SLOW != 0
    }
    /// All connections together hold too much: close with 4004 as if its outbox had overflowed, or with 1013 if its unfinished
    /// message is more than that, and what it holds for long goes too.
    pub(crate) fn evict(self) -> bool {
        self.0 & EVICT != 0
    }
    /// Close with the request in [`Handle::take_close`](super::Handle::take_close).
    pub(crate) fn close(self) -> bool {
        self.0 & CLOSE != 0
    }
    /// Go, without a close handshake.
    pub(crate) fn terminate(self) -> bool {
        self.0 & TERMINATE != 0
    }
    /// What came before the peer's last is dealt with.
    pub(crate) fn settled(self) -> bool {
        self.0 & SETTLED != 0
    }
    /// The socket failed.
    pub(crate) fn lost(self) -> bool {
        self.0 & LOST != 0
    }
    /// The unfinished message takes too long: close with 1008, if it is still unfinished after a read.
    pub(crate) fn overdue(self) -> bool {
        self.0 & OVERDUE != 0
    }
    /// The peer is silent: close with 4003.
    pub(crate) fn dead(self) -> bool {
        self.0 & DEAD != 0
    }
}
