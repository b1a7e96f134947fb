//! Messages that wait for those before them.

use std::collections::VecDeque;

use crate::position::Position;

/// Most bytes and messages that wait. Those beyond are read from the store as well.
pub(crate) const MAX_WAITING: (usize, usize) = (256 << 10, 1024);
/// Bytes of a message that waits, beside its payload.
pub(crate) const WAITING: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    messages: VecDeque<(Position, Box<[u8]>)>,
    bytes: usize,
    /// So many of the first are older than the answer that the store gives, or will give next.
    answered: usize,
    /// Some were too many: the store has them.
    pub(crate) overflowed: bool,
}

impl Waiting {
    /// Keeps a message, unless there are too many.
    pub(crate) fn push(&mut self, position: Position, payload: &[u8]) {
        let bytes = self.bytes + payload.len() + WAITING;
        self.overflowed |= bytes > MAX_WAITING.0 || self.messages.len() >= MAX_WAITING.1;
        if !self.overflowed {
            self.bytes = bytes;
            self.messages.push_back((position, payload.into()));
        }
    }

    /// The store knows of all of them when it answers.
    pub(crate) fn answer(&mut self) {
        self.answered = self.messages.len();
    }

    /// The first message, and whether it is older than the answer.
    pub(crate) fn first(&self) -> Option<(Position, bool)> {
        self.messages.front().map(|(position, _)| (*position, self.answered > 0))
    }

    /// Takes the first message.
    pub(crate) fn pop(&mut self) -> Option<(Position, Box<[u8]>)> {
        let (position, payload) = self.messages.pop_front()?;
        self.bytes -= payload.len() + WAITING;
        self.answered = self.answered.saturating_sub(1);
        Some((position, payload))
    }
}
