//! The flags of a handle: how its connection stands. The lower eight bits are its [`Commands`](protocol::endpoint::Commands).

/// Registered, and messages are taken for it.
pub(super) const OPEN: u32 = 1 << 8;
/// Not read for now: JavaScript is behind with its messages.
pub(super) const PAUSED: u32 = 1 << 9;
/// JavaScript has an object for it, so its end has to be told.
pub(super) const SEEN: u32 = 1 << 10;
/// Not read for now: it stands in the line of [`Intake`](crate::worker::intake::Intake).
pub(super) const HELD: u32 = 1 << 11;
/// Called from that line, and not yet back.
pub(super) const CALLED: u32 = 1 << 12;
/// Not read for now: the application has paused it.
pub(super) const HALTED: u32 = 1 << 13;
/// It was asked to close, or found slow, and will: from here on it is no longer among the open ones. Never taken back.
pub(super) const ENDING: u32 = 1 << 14;
/// Its client left before it had its place in the table.
pub(super) const LEFT: u32 = 1 << 15;
/// The application has dealt with its beginning, and so has put it into rooms if it wants to.
pub(super) const GREETED: u32 = 1 << 16;

const _: () = assert!(
    (OPEN | PAUSED | SEEN | HELD | CALLED | HALTED | ENDING | LEFT | GREETED)
        & protocol::endpoint::Commands::MASK
        == 0
);
