//! The pace: the amount that a client may relay and still go before others.
//!
//! A little is little beside what the others relay. A crowd of which each waits for an answer before it sends on may keep
//! Redis busy as well as a few that flood, and only those that relay less than it should go first. The bound is found as TCP
//! finds its rate (RFC 5681): it is lowered while more goes first than Redis answers quickly, and rises slowly otherwise. Each
//! time that it is lowered an epoch begins, and only messages let go first since then may lower it again: those before
//! show nothing of what the last time has brought, however long they wait for their answers.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Instant;

use crate::worker::account::Rate;

/// Accounts count these parts of a unit.
const PARTS: u32 = 1024;
/// The bytes that a client may relay at once.
const BURST: u32 = 8 * PARTS;
/// The bounds of what it may relay in a millisecond: as much as a quiet connection has time for, and 16 units a second.
const MOST: u32 = 4 * PARTS;
const LEAST: u32 = PARTS / 64;
/// Milliseconds in which it is lowered once. A thousand clients that begin may all go first, for the first that they send.
const PAUSE: u32 = 16;
/// Milliseconds in which the bound rises by a 256th: it doubles in one and a half seconds.
const RISE: u32 = 8;

/// See the module.
#[derive(Debug)]
pub struct Pace {
    /// Parts of a unit that a client may relay in a millisecond.
    bound: AtomicU32,
    /// When it last changed, in milliseconds since `begun`. They wrap.
    at: AtomicU32,
    /// When it was last lowered.
    lowered: AtomicU32,
    /// The number of times that it was lowered. It wraps.
    epoch: AtomicU8,
    begun: Instant,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            bound: AtomicU32::new(MOST),
            at: AtomicU32::new(0),
            lowered: AtomicU32::new(0),
            epoch: AtomicU8::new(0),
            begun: Instant::now(),
        }
    }
}

impl Pace {
    /// The cost of a message in an account of this rate.
    pub fn parts(cost: u32) -> u64 {
        u64::from(cost) * u64::from(PARTS)
    }

    /// The accounts of clients that go first.
    pub(super) fn rate(&self) -> Rate {
        Rate { leak: self.bound.load(Ordering::Relaxed), burst: BURST }
    }

    /// True if clients relay so much together that it is bound to be less than they have time for.
    pub fn is_low(&self) -> bool {
        self.bound.load(Ordering::Relaxed) < MOST
    }

    /// See the module.
    pub fn epoch(&self) -> u8 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Lowers the bound if what was let go first in this epoch `is_too_much`, and lets it rise otherwise.
    pub fn adapt(&self, is_too_much: impl FnOnce(u8) -> bool) {
        let is_too_much = is_too_much(self.epoch());
        if is_too_much || self.is_low() {
            let now = self.begun.elapsed().as_millis() as u32;
            if is_too_much { self.lower(now) } else { self.rise(now) }
        }
    }

    pub(super) fn lower(&self, now: u32) {
        if now.wrapping_sub(self.lowered.load(Ordering::Relaxed)) < PAUSE {
            return;
        }
        self.lowered.store(now, Ordering::Relaxed);
        self.at.store(now, Ordering::Relaxed);
        let bound = self.bound.load(Ordering::Relaxed);
        self.bound.store((bound / 4 * 3).max(LEAST), Ordering::Relaxed);
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rise(&self, now: u32) {
        let passed = now.wrapping_sub(self.at.load(Ordering::Relaxed));
        if passed >= RISE {
            let bound = self.bound.load(Ordering::Relaxed);
            let more = (passed / RISE).saturating_mul(1 + bound / 256);
            self.bound.store(bound.saturating_add(more).min(MOST), Ordering::Relaxed);
            self.at.store(now, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_lowered_once_in_a_pause_and_an_epoch_begins_each_time() {
        let pace = Pace::default();
        let seen: Vec<_> = (PAUSE..3 * PAUSE)
            .map(|now| {
                pace.lower(now);
                (pace.rate().leak, pace.epoch())
            })
            .collect();
        let pause = PAUSE as usize;
        assert_eq!(seen[..pause], vec![(MOST / 4 * 3, 1); pause]);
        assert_eq!(seen[pause..], vec![(MOST / 16 * 9, 2); pause]);
        (3..100).for_each(|times| pace.lower(times * PAUSE));
        assert_eq!(pace.rate().leak, LEAST);
    }

    #[test]
    fn only_what_went_first_in_this_epoch_lowers_the_bound() {
        let pace = Pace::default();
        std::thread::sleep(std::time::Duration::from_millis(u64::from(PAUSE)));
        pace.adapt(|epoch| epoch == 1);
        assert!(!pace.is_low());
        pace.adapt(|epoch| epoch == 0);
        assert!(pace.is_low());
        assert_eq!(pace.epoch(), 1);
    }

    #[test]
    fn the_bound_doubles_in_one_and_a_half_seconds_also_if_nobody_asks_meanwhile() {
        for step in [1, 8, 100] {
            let pace = Pace::default();
            (1..4).for_each(|times| pace.lower(times * PAUSE));
            let (begin, mut now) = (pace.rate().leak, 3 * PAUSE);
            while pace.rate().leak < 2 * begin {
                now += step;
                pace.rise(now);
            }
            assert!((1300..2200).contains(&(now - 3 * PAUSE)), "{step}: {now}");
        }
        let pace = Pace::default();
        let hour = 3_600_000;
        pace.lower(hour);
        pace.rise(hour + RISE - 1);
        assert_eq!(pace.rate().leak, MOST / 4 * 3, "time in which it was not low is not made up for");
        pace.rise(2 * hour);
        assert!(!pace.is_low());
    }
}
