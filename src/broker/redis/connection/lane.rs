//! Commands that wait to be written, in the order in which they were added.

use std::collections::VecDeque;

use super::batch::Batch;

/// Bytes that others may wait for until they are given up.
pub(crate) const LITTLE: usize = 64 << 10;

/// So much goes out, or is given up, in one piece. By default [`PORTION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    pub commands: usize,
    pub bytes: usize,
}

/// Others wait for so much where nothing has to be quick.
pub(crate) const PORTION: Portion = Portion { commands: 512, bytes: 256 << 10 };

impl Default for Portion {
    fn default() -> Portion {
        PORTION
    }
}

impl Portion {
    /// True if so much is a portion, or more.
    pub(crate) fn is_reached(&self, commands: usize, bytes: usize) -> bool {
        commands >= self.commands || bytes >= self.bytes
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct CommandLane {
    /// Batches that are closed, oldest first.
    closed: VecDeque<Batch>,
    /// The batch that is added to.
    batch: Batch,
    /// An empty batch whose room is used again.
    spare: Batch,
}

impl CommandLane {
    /// The batch that is added to next. It is closed once it has a portion.
    pub(crate) fn open(&mut self, portion: Portion) -> &mut Batch {
        if portion.is_reached(self.batch.pending.len(), self.batch.bytes.len()) {
            let spare = std::mem::take(&mut self.spare);
            self.closed.push_back(std::mem::replace(&mut self.batch, spare));
        }
        &mut self.batch
    }

    /// The oldest batch; an empty one if there is none.
    pub(crate) fn pop(&mut self, spare: Batch) -> Batch {
        match self.closed.pop_front() {
            Some(batch) => {
                self.spare = spare;
                batch
            }
            None => std::mem::replace(&mut self.batch, spare),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.batch.pending.is_empty()
    }

    /// True if more is left than others may wait for.
    pub(crate) fn has_much(&self) -> bool {
        !self.closed.is_empty() || self.batch.bytes.len() > LITTLE
    }

    pub(crate) fn into_batches(self) -> impl Iterator<Item = Batch> {
        self.closed.into_iter().chain([self.batch]).filter(|batch| !batch.pending.is_empty())
    }
}
