//! When something that a connection holds last moved on, so that what stands still gives way to what moves: see [`super::memory`].

use super::scheduler;

/// Milliseconds after which what has not moved is stuck.
const STUCK: u32 = 1000;

/// A point in time, in the milliseconds of the worker that makes it. Only there it has a meaning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress(u32);

impl Progress {
    /// Something moves.
    pub(crate) fn now() -> Progress {
        Progress(scheduler::now())
    }

    /// True if nothing has moved for [`STUCK`], as of the worker's last look at the clock.
    pub(crate) fn is_stuck(self) -> bool {
        scheduler::now().wrapping_sub(self.0) >= STUCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Worker;

    #[test]
    fn what_has_not_moved_for_a_second_is_stuck() {
        let worker = Worker::of_test();
        let _is_worker = worker.enter();
        scheduler::let_pass(u32::MAX - scheduler::now());
        let progress = Progress::now();
        assert!(!progress.is_stuck());
        scheduler::let_pass(STUCK - 1);
        assert!(!progress.is_stuck(), "the clock has wrapped");
        scheduler::let_pass(1);
        assert!(progress.is_stuck());
        assert!(!Progress::now().is_stuck());
    }
}
