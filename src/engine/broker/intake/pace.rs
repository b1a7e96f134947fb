//! How much a client may relay and still go before others.
//!
//! How much is little depends on what the others relay. A crowd of which each waits for an answer before it sends on may keep
//! Redis busy as well as a few that flood, and only those that relay less than it should go first. The bound is found as TCP
//! finds its rate (RFC 5681): it is halved while more goes first than Redis answers quickly, and rises slowly otherwise.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::engine::account::Rate;

/// Accounts count these parts of a unit.
const PARTS: u32 = 1024;
/// What a client may relay at once.
const BURST: u32 = 8 * PARTS;
/// The bounds of what it may relay in a millisecond: as much as a quiet connection has time for, and 16 units a second.
const MOST: u32 = 4 * PARTS;
const LEAST: u32 = PARTS / 64;
/// Milliseconds in which too much that goes first halves the bound once: until it shows what the last time has brought.
const HALVING: u32 = 2;
/// Milliseconds in which the bound otherwise rises by a 256th: it doubles in one and a half seconds.
const RISE: u32 = 8;

/// See the module.
#[derive(Debug)]
pub struct Pace {
    /// Parts of a unit that a client may relay in a millisecond.
    bound: AtomicU32,
    /// When it last changed, in milliseconds since `epoch`. They wrap.
    at: AtomicU32,
    epoch: Instant,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { bound: AtomicU32::new(MOST), at: AtomicU32::new(0), epoch: Instant::now() }
    }
}

impl Pace {
    /// What a message costs in an account of this rate.
    pub fn parts(cost: u32) -> u64 {
        u64::from(cost) * u64::from(PARTS)
    }

    /// The accounts of clients that go first.
    pub fn rate(&self) -> Rate {
        Rate { leak: self.bound.load(Ordering::Relaxed), burst: BURST }
    }

    /// True if clients relay so much together that it is bound to be less than they have time for.
    pub fn is_low(&self) -> bool {
        self.bound.load(Ordering::Relaxed) < MOST
    }

    /// What goes first and is unanswered is too much just now, or is not.
    pub fn adapt(&self, is_too_much: bool) {
        if is_too_much || self.is_low() {
            self.adapt_at(is_too_much, self.epoch.elapsed().as_millis() as u32);
        }
    }

    pub(super) fn adapt_at(&self, is_too_much: bool, now: u32) {
        let bound = self.bound.load(Ordering::Relaxed);
        let passed = now.wrapping_sub(self.at.load(Ordering::Relaxed));
        let next = match is_too_much {
            true if passed >= HALVING => bound / 2,
            false if passed >= RISE => bound.saturating_add((passed / RISE).saturating_mul(1 + bound / 256)),
            _ => return,
        };
        self.bound.store(next.clamp(LEAST, MOST), Ordering::Relaxed);
        self.at.store(now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_halves_while_too_much_goes_first_and_no_quicker_than_that_shows() {
        let pace = Pace::default();
        let mut bounds = Vec::new();
        for now in 10..16 {
            pace.adapt_at(true, now);
            pace.adapt_at(true, now);
            bounds.push(pace.rate().leak);
        }
        assert_eq!(bounds, [MOST / 2, MOST / 2, MOST / 4, MOST / 4, MOST / 8, MOST / 8]);
        (16..100).for_each(|now| pace.adapt_at(true, now));
        assert_eq!(pace.rate().leak, LEAST);
    }

    #[test]
    fn the_bound_doubles_in_one_and_a_half_seconds_also_if_nobody_asks_meanwhile() {
        for step in [1, 8, 100] {
            let pace = Pace::default();
            pace.adapt_at(true, HALVING);
            let mut now = HALVING;
            while pace.is_low() {
                now += step;
                pace.adapt_at(false, now);
            }
            assert!((1300..2100).contains(&now), "{step}: {now}");
        }
        let pace = Pace::default();
        pace.adapt_at(true, HALVING);
        pace.adapt_at(false, u32::MAX / 2);
        assert_eq!(pace.rate().leak, MOST);
    }
}
