//! The phases of a session, and the ways in which answers come to it.

use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionPhase {
    /// It subscribes to everything.
    Subscribing,
    /// The same, and asked for some once more since the last probe.
    SubscribingAgain,
    /// It takes publishes.
    Open,
    /// The same, and an answer is late.
    Late,
}

impl SessionPhase {
    /// Goes from one phase to another. False if it is not in the first.
    pub(super) fn go(&mut self, from: SessionPhase, to: SessionPhase) -> bool {
        let goes = *self == from;
        if goes {
            *self = to;
        }
        goes
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerFlow {
    /// Some came since the last tick.
    Coming,
    /// None came since then.
    Awaited(Instant),
    /// They lie unread because of us: the embedder is behind.
    Unread,
}
