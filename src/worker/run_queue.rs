//! Connections that wait for a worker: those that used little lately go first.
//!
//! Two queues, each first in, first out, as RFC 8290 has for flows. The quiet ones can't lock the busy ones out: after
//! some work for quiet ones it is a busy one's turn.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use super::lag::Lag;
use super::token::Token;

/// Work for quiet connections, as [`charge`](super::scheduler::charge) counts, after which a busy one that waits has its turn.
const QUIET_WORK: u64 = 16 * 1024;
/// Busy turns in a row, without a quiet one in between, after which the busy ones are alone.
const IN_A_ROW: u32 = 1024;
/// Entries that an idle queue keeps room for.
const KEPT: usize = 1024;

/// One of the two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Quiet,
    Busy,
}

/// See the module. Also holds the task that serves it, while that has nothing to do.
#[derive(Debug, Default)]
pub(super) struct RunQueue {
    quiet: VecDeque<Token>,
    busy: VecDeque<Token>,
    /// Of the quiet ones.
    lag: Lag,
    /// Work that was done for quiet ones since a busy one had its turn.
    quiet_work: u64,
    /// Busy turns until the busy ones are alone.
    mixed: u32,
    idle: Option<Waker>,
    /// It has nothing to do but for quiet ones.
    rests: bool,
}

impl RunQueue {
    pub(super) fn push(&mut self, token: Token, lane: Lane, now: u32) {
        match lane {
            Lane::Quiet => {
                self.lag.woken(self.quiet.len(), now);
                self.quiet.push_back(token);
            }
            Lane::Busy => self.busy.push_back(token),
        }
        let wakes = lane == Lane::Quiet || !self.rests;
        if let Some(waker) = self.idle.take_if(|_| wakes) {
            waker.wake();
        }
    }

    /// Puts back what was taken from a lane and not served.
    pub(super) fn put_back(&mut self, tokens: impl DoubleEndedIterator<Item = Token>, lane: Lane) {
        let queue = match lane {
            Lane::Quiet => &mut self.quiet,
            Lane::Busy => &mut self.busy,
        };
        tokens.rev().for_each(|token| queue.push_front(token));
    }

    pub(super) fn len(&self) -> usize {
        self.quiet.len() + self.busy.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.quiet.is_empty() && self.busy.is_empty()
    }

    /// The lane of the connection that is next.
    pub(super) fn next_lane(&self) -> Lane {
        let quiet_first = self.busy.is_empty() || self.quiet_work < QUIET_WORK;
        if quiet_first && !self.quiet.is_empty() { Lane::Quiet } else { Lane::Busy }
    }

    pub(super) fn pop(&mut self, now: u32) -> Option<Token> {
        match self.next_lane() {
            Lane::Quiet => {
                if !self.busy.is_empty() {
                    self.mixed = IN_A_ROW;
                }
                self.lag.served(now);
                self.quiet.pop_front()
            }
            Lane::Busy => {
                self.quiet_work = 0;
                self.mixed = self.mixed.saturating_sub(1);
                self.busy.pop_front()
            }
        }
    }

    /// True if even quiet ones wait for long.
    pub(super) fn is_late(&self, now: u32) -> bool {
        self.lag.is_late(now)
    }

    /// Notes work that was done for a quiet connection. It counts only while a busy one waits.
    pub(super) fn note_quiet_work(&mut self, units: u64) {
        if !self.busy.is_empty() {
            self.quiet_work = self.quiet_work.saturating_add(units);
        }
    }

    /// True if quiet ones came between busy ones lately.
    pub(super) fn is_mixed(&self) -> bool {
        self.mixed > 0
    }

    /// Those that are next, as far as that is known.
    pub(super) fn ahead(&self) -> impl Iterator<Item = &Token> {
        self.quiet.iter().chain(&self.busy)
    }

    /// The number of those that wait. If none do, the next [`RunQueue::push`] wakes.
    pub(super) fn poll_len(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        self.rests = false;
        if self.is_empty() {
            self.idle = Some(cx.waker().clone());
            self.quiet.shrink_to(KEPT);
            self.busy.shrink_to(KEPT);
            return Poll::Pending;
        }
        Poll::Ready(self.len())
    }

    /// The number of quiet ones that wait. If none do, the next [`RunQueue::push`] of one wakes.
    pub(super) fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        self.rests = true;
        if self.quiet.is_empty() {
            self.idle = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(self.quiet.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wakes {
        fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn waker() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes::default());
        (wakes.clone(), wakes.into())
    }

    /// Serves the queue, at a cost of `work` for each quiet one; answers in which order.
    fn serve(queue: &mut RunQueue, work: u64) -> Vec<Token> {
        let mut served = Vec::new();
        loop {
            let lane = queue.next_lane();
            let Some(token) = queue.pop(0) else { return served };
            if lane == Lane::Quiet {
                queue.note_quiet_work(work);
            }
            served.push(token);
        }
    }

    #[test]
    fn quiet_ones_go_first_and_each_lane_keeps_its_order() {
        let mut queue = RunQueue::default();
        for (token, lane) in [(1, Lane::Busy), (2, Lane::Quiet), (3, Lane::Busy), (4, Lane::Quiet)] {
            queue.push(token, lane, 0);
        }
        assert_eq!(serve(&mut queue, 1), [2, 4, 1, 3]);
    }

    #[test]
    fn those_that_are_put_back_wait_behind_quiet_ones_and_before_those_of_their_lane() {
        let mut queue = RunQueue::default();
        (1..=5).for_each(|token| queue.push(token, Lane::Busy, 0));
        let mut taken: Vec<Token> = (0..4).filter_map(|_| queue.pop(0)).collect();
        queue.put_back(taken.drain(1..), Lane::Busy);
        queue.push(6, Lane::Quiet, 0);
        assert_eq!((taken, serve(&mut queue, 1)), (vec![1], vec![6, 2, 3, 4, 5]));
    }

    #[test]
    fn many_quiet_ones_do_not_lock_a_busy_one_out() {
        let mut queue = RunQueue::default();
        queue.push(1000, Lane::Busy, 0);
        queue.push(1001, Lane::Busy, 0);
        (0..10).for_each(|token| queue.push(token, Lane::Quiet, 0));
        let served = serve(&mut queue, QUIET_WORK / 4);
        assert_eq!(served, [0, 1, 2, 3, 1000, 4, 5, 6, 7, 1001, 8, 9]);
    }

    #[test]
    fn busy_ones_are_alone_after_many_turns_without_a_quiet_one() {
        let mut queue = RunQueue::default();
        queue.push(0, Lane::Quiet, 0);
        queue.pop(0);
        assert!(!queue.is_mixed(), "quiet ones were alone");
        (0..=IN_A_ROW).for_each(|n| queue.push(n as Token, Lane::Busy, 0));
        queue.push(0, Lane::Quiet, 0);
        for _ in 0..IN_A_ROW {
            queue.pop(0);
            assert!(queue.is_mixed());
        }
        queue.pop(0);
        assert!(!queue.is_mixed());
    }

    #[test]
    fn who_rests_is_woken_for_quiet_ones_alone() {
        let (wakes, waker) = waker();
        let mut cx = Context::from_waker(&waker);
        let mut queue = RunQueue::default();
        assert!(queue.poll_quiet(&mut cx).is_pending());
        queue.push(1, Lane::Busy, 0);
        assert_eq!(Arc::strong_count(&wakes), 3, "it is still to be woken");
        queue.push(2, Lane::Quiet, 0);
        assert_eq!((Arc::strong_count(&wakes), wakes.count()), (2, 1));
        assert_eq!(queue.poll_quiet(&mut cx), Poll::Ready(1));
        assert_eq!(queue.pop(0), Some(2));
        assert!(queue.poll_quiet(&mut cx).is_pending());
        // The rest is over.
        assert_eq!(queue.poll_len(&mut cx), Poll::Ready(1));
        assert_eq!(queue.pop(0), Some(1));
        assert!(queue.poll_len(&mut cx).is_pending());
        queue.push(3, Lane::Busy, 0);
        assert_eq!(wakes.count(), 2);
    }

    #[test]
    fn a_burst_does_not_keep_its_room() {
        let mut queue = RunQueue::default();
        (0..100_000)
            .for_each(|token| queue.push(token, if token % 2 == 0 { Lane::Quiet } else { Lane::Busy }, 0));
        assert_eq!(serve(&mut queue, 1).len(), 100_000);
        assert!(queue.poll_len(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(queue.quiet.capacity() + queue.busy.capacity() < 4 * KEPT);
    }
}
