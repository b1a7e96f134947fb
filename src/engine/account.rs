//! What a connection has used of its worker lately, so that connections which used little go first.
//!
//! A leaky bucket: work fills it, time empties it. A connection is quiet while the bucket holds no more than a burst.
//! RFC 8290, section 4.1, separates new flows from old ones for the same purpose.

use std::sync::atomic::{AtomicU32, Ordering};

/// Units that leave the bucket per millisecond, as [`spend`](super::turns::spend) counts: a third of a per cent of a core.
const LEAK: u32 = 64;
/// Units that a quiet connection may have used at once: about ten small messages, each read and answered by itself.
const BURST: u32 = 512;
/// The bucket's size. A flood is forgotten a second after its end.
const MOST: u32 = BURST + 1000 * LEAK;

/// See the module. Written by the connection's worker alone.
#[derive(Debug, Default)]
pub(super) struct Account {
    debt: AtomicU32,
    /// When `debt` was right, in the worker's milliseconds.
    at: AtomicU32,
}

impl Account {
    fn debt(&self, now: u32) -> u32 {
        let passed = now.wrapping_sub(self.at.load(Ordering::Relaxed));
        self.debt.load(Ordering::Relaxed).saturating_sub(passed.saturating_mul(LEAK))
    }

    /// Adds work.
    pub(super) fn charge(&self, units: u64, now: u32) {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        self.debt.store(self.debt(now).saturating_add(units).min(MOST), Ordering::Relaxed);
        self.at.store(now, Ordering::Relaxed);
    }

    /// Whether the connection used little lately.
    pub(super) fn is_quiet(&self, now: u32) -> bool {
        self.debt(now) <= BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_quiet_until_it_has_used_more_than_a_burst() {
        let account = Account::default();
        assert!(account.is_quiet(0));
        account.charge(u64::from(BURST), 0);
        assert!(account.is_quiet(0));
        account.charge(1, 0);
        assert!(!account.is_quiet(0));
    }

    #[test]
    fn work_that_fits_the_leak_keeps_a_connection_quiet_for_ever() {
        let account = Account::default();
        for now in 0..100_000 {
            account.charge(u64::from(LEAK), now);
            assert!(account.is_quiet(now), "{now}");
        }
    }

    #[test]
    fn the_longest_flood_is_forgotten_after_a_second() {
        let account = Account::default();
        for _ in 0..1000 {
            account.charge(u64::MAX, 7);
        }
        assert!(!account.is_quiet(7 + 999));
        assert!(account.is_quiet(7 + 1000));
    }

    #[test]
    fn the_clock_may_wrap() {
        let account = Account::default();
        account.charge(u64::from(BURST + LEAK), u32::MAX);
        assert!(!account.is_quiet(u32::MAX));
        assert!(account.is_quiet(0), "a millisecond later");
    }
}
