//! The use that a connection made lately of its worker or of Redis, so that connections which used little go first.
//!
//! A leaky bucket: work fills it, time empties it. A connection is quiet while the bucket holds no more than a burst.
//! RFC 8290, section 4.1, separates new flows from old ones for the same purpose.

use std::sync::atomic::{AtomicU32, Ordering};

/// The use that a quiet connection may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Units that leave the bucket per millisecond.
    pub leak: u32,
    /// Units that it may have used at once.
    pub burst: u32,
}

/// Of its worker, as [`charge`](super::scheduler::charge) counts: a third of a per cent of a core, and at once about ten small
/// messages, each read and answered by itself.
pub(super) const WORK: Rate = Rate { leak: 64, burst: 512 };

impl Rate {
    /// The bucket's size. A flood is forgotten a second after its end.
    fn most(self) -> u32 {
        self.leak.saturating_mul(1000).saturating_add(self.burst)
    }
}

/// See the module. Written by the connection's worker alone.
#[derive(Debug, Default)]
pub(super) struct Account {
    debt: AtomicU32,
    /// When `debt` was right, in the worker's milliseconds.
    at: AtomicU32,
}

impl Account {
    fn debt(&self, now: u32, rate: Rate) -> u32 {
        let passed = now.wrapping_sub(self.at.load(Ordering::Relaxed));
        self.debt.load(Ordering::Relaxed).saturating_sub(passed.saturating_mul(rate.leak))
    }

    /// Adds work.
    pub(super) fn charge(&self, units: u64, now: u32, rate: Rate) {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        self.debt.store(self.debt(now, rate).saturating_add(units).min(rate.most()), Ordering::Relaxed);
        self.at.store(now, Ordering::Relaxed);
    }

    /// True if the connection used little lately.
    pub(super) fn is_quiet(&self, now: u32, rate: Rate) -> bool {
        self.debt(now, rate) <= rate.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_quiet_until_it_has_used_more_than_a_burst() {
        let account = Account::default();
        assert!(account.is_quiet(0, WORK));
        account.charge(u64::from(WORK.burst), 0, WORK);
        assert!(account.is_quiet(0, WORK));
        account.charge(1, 0, WORK);
        assert!(!account.is_quiet(0, WORK));
    }

    #[test]
    fn work_that_fits_the_leak_keeps_a_connection_quiet_for_ever() {
        let account = Account::default();
        for now in 0..100_000 {
            account.charge(u64::from(WORK.leak), now, WORK);
            assert!(account.is_quiet(now, WORK), "{now}");
        }
    }

    #[test]
    fn the_longest_flood_is_forgotten_after_a_second() {
        let account = Account::default();
        for _ in 0..1000 {
            account.charge(u64::MAX, 7, WORK);
        }
        assert!(!account.is_quiet(7 + 999, WORK));
        assert!(account.is_quiet(7 + 1000, WORK));
    }

    #[test]
    fn the_clock_may_wrap() {
        let account = Account::default();
        account.charge(u64::from(WORK.burst + WORK.leak), u32::MAX, WORK);
        assert!(!account.is_quiet(u32::MAX, WORK));
        assert!(account.is_quiet(0, WORK), "a millisecond later");
    }
}
