//! The input of a connection that is not complete, and its count: what an [`Assembler`] holds in [`Memory`].

use std::cell::RefCell;
use std::sync::Arc;

use protocol::assembler::{Assembled, Assembler, Spares, Step};

use super::memory::{Count, GRAIN, Memory};

thread_local! {
    static SPARES: RefCell<Spares<Kept>> = const { RefCell::new(Spares::NONE) };
}

/// None until the buffer is large enough to count.
type Kept = Option<Count>;

/// See the module.
#[derive(Debug)]
pub(super) struct Incomplete(Assembler<Kept>);

impl Incomplete {
    /// Nothing.
    pub(super) const NONE: Self = Incomplete(Assembler::IDLE);

    /// The assembler, to be asked.
    pub(super) fn assembler(&self) -> &Assembler<Kept> {
        &self.0
    }

    /// See [`Assembler::take`].
    #[inline]
    pub(super) fn next(&mut self, bytes: &mut [u8], max_payload: usize) -> Step<Kept> {
        match self.0.whole(bytes, max_payload) {
            Some(whole) => Step::Whole(whole),
            None => SPARES.with_borrow_mut(|spares| self.0.take(bytes, max_payload, spares)),
        }
    }

    /// Counts the buffer, if it has grown, and notes that it moves on: to be called when bytes were taken. Beyond [`GRAIN`] the
    /// buffer doubles, so that it is rarely counted.
    pub(super) fn count_in(&mut self, memory: &Arc<Memory>) {
        let Some((bytes, count)) = self.0.unfinished() else { return };
        if bytes > GRAIN.max(count.as_ref().map_or(0, Count::bytes)) {
            count.get_or_insert_with(|| Count::new(memory)).grow(bytes);
        }
        if let Some(count) = count {
            count.move_on();
        }
    }

    fn count(&self) -> Option<&Count> {
        self.0.kept()?.as_ref()
    }

    /// Bytes that are counted.
    pub(super) fn counted(&self) -> usize {
        self.count().map_or(0, Count::bytes)
    }

    /// The same, if none came for a while.
    pub(super) fn stuck(&self) -> usize {
        self.count().map_or(0, Count::stuck)
    }

    /// Forgets it.
    pub(super) fn clear(&mut self) {
        SPARES.with_borrow_mut(|spares| self.0.clear(spares));
    }
}

/// Gives the buffer of a message back that was dealt with.
pub(super) fn recycle(assembled: Assembled<Kept>) {
    SPARES.with_borrow_mut(|spares| assembled.recycle(spares));
}
