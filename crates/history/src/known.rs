//! The knowledge that a follower has of its topic.

use crate::position::{Position, Term};
use crate::seen::Seen;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It has not heard of the topic.
    Nothing,
    /// The same, and the store refused to say.
    Refused,
    /// The topic had no messages, under this term of the store. The last one handed on before.
    Empty(Option<Term>, Option<Seen>),
    /// These were handed on.
    Up(Seen),
}

impl Known {
    /// The last message that was handed on.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Known::Up(seen) | Known::Empty(_, Some(seen)) => Some(seen.position()),
            _ => None,
        }
    }

    /// Its progress.
    pub(crate) fn into_seen(self) -> Option<Seen> {
        match self {
            Known::Up(seen) | Known::Empty(_, Some(seen)) => Some(seen),
            _ => None,
        }
    }
}
