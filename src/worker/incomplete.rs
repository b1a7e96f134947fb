//! Unfinished messages, and their count: what an [`Assembler`] holds in [`Memory`].

use std::sync::Arc;

use protocol::assembler::Assembler;

use super::memory::{Count, GRAIN, Memory};

/// None until the buffer is large enough to count.
pub(super) type Kept = Option<Count>;

/// Counts the buffer, if it has grown to so many `bytes`, and notes that it moves on. Beyond [`GRAIN`] the buffer doubles, so that
/// it is rarely counted.
pub(super) fn count_in(bytes: usize, kept: &mut Kept, memory: &Arc<Memory>) {
    if bytes > GRAIN.max(kept.as_ref().map_or(0, Count::bytes)) {
        kept.get_or_insert_with(|| Count::new(memory)).grow(bytes);
    }
    if let Some(count) = kept {
        count.move_on();
    }
}

fn count(assembler: &Assembler<Kept>) -> Option<&Count> {
    assembler.kept()?.as_ref()
}

/// Bytes that are counted.
pub(super) fn counted(assembler: &Assembler<Kept>) -> usize {
    count(assembler).map_or(0, Count::bytes)
}

/// The same, if none came for a while.
pub(super) fn stuck(assembler: &Assembler<Kept>) -> usize {
    count(assembler).map_or(0, Count::stuck)
}
