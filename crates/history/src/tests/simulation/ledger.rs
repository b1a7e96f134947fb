use crate::position::Position;

/// A message that the store took.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) topic: usize,
    /// The number of a message for its publisher: the same for a retry.
    pub(super) logical: u32,
    /// None: an old server was there.
    pub(super) position: Option<Position>,
    /// When.
    pub(super) at: u64,
    /// The message before it in the store that took it.
    pub(super) parent: Option<u32>,
    pub(super) is_acknowledged: bool,
    /// The store was no longer the master that counts.
    pub(super) is_stray: bool,
    /// The servers that had heard of the topic from that store, as bits.
    pub(super) followed: u8,
}

/// All messages, by their number.
#[derive(Default)]
pub(super) struct Ledger(pub(super) Vec<Sent>);

impl Ledger {
    pub(super) fn next(&self) -> u32 {
        self.0.len() as u32
    }

    pub(super) fn sent(&self, id: u32) -> &Sent {
        &self.0[id as usize]
    }

    /// True if a message is among those that a store has whose last one is `tip`.
    pub(super) fn is_within(&self, id: u32, tip: Option<u32>) -> bool {
        let mut at = tip;
        while let Some(found) = at.filter(|at| *at > id) {
            at = self.sent(found).parent;
        }
        at == Some(id)
    }
}
