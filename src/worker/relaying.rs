//! A message on its way to the rooms of its sender, which takes several turns.

use std::sync::Arc;

use super::memory::Count;
use super::receipts::Receipt;
use super::refusal::Refused;

/// See the module.
#[derive(Debug)]
pub(crate) struct Relaying {
    pub text: Box<str>,
    pub count: Count,
    pub rooms: Arc<[Arc<str>]>,
    /// Rooms that have had it.
    pub done: usize,
    pub outcome: Result<(), Refused>,
    pub receipt: Option<Receipt>,
}

impl Relaying {
    /// Bytes that are counted: see [`super::memory`].
    pub(crate) fn counted(&self) -> usize {
        self.count.bytes()
    }

    /// The same, if it was relayed to no further room for a while.
    pub(crate) fn stuck(&self) -> usize {
        self.count.stuck()
    }
}
