//! The heartbeat: who is pinged when, and who is overdue.
//!
//! A wheel of slots turns once per interval. A connection belongs to the slot of its number in the worker's slab,
//! so the pings spread evenly over the interval however many connections came at once, and no connection
//! has a timer of its own. One hand pings, a second one that trails it by the timeout looks for silence.
//! Pure: time comes in as milliseconds since the worker began.

use std::time::Duration;

/// Slots of a long interval. 30 s / 256: a hand moves every 117 ms.
const MAX_SLOTS: u64 = 256;
const MIN_SLOTS: u64 = 10;
/// Aim for a hand that moves about this often.
const TICK_MS: u64 = 50;
/// No hand needs to move more often: it passes several slots at once.
const MIN_TICK_MS: u64 = 10;

/// When peers are asked for a sign of life. Costs one ping and one pong (14 bytes and their packets) per interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Time between two pings. Default 30 s; 100 ms to 1 h.
    pub interval: Duration,
    /// Longest silence after a ping before the connection is ended; any traffic counts. Default 10 s; 100 ms to 1 h.
    pub timeout: Duration,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat { interval: Duration::from_secs(30), timeout: Duration::from_secs(10) }
    }
}

/// A hand's way since it was last moved: slots to visit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Visit {
    first: u64,
    count: u64,
}

impl Visit {
    /// The slots in turn, each with the millisecond at which the hand was due there. A ping's answer is
    /// awaited from that time, not from when a busy worker got to it, or the deadline hand could come too early
    /// by a hair and see the connection only a whole turn later.
    pub(crate) fn slots(&self, wheel: &Wheel) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (slots, interval) = (wheel.slots, wheel.interval_ms);
        (self.first..self.first + self.count).map(move |position| {
            let due = (u128::from(position) * u128::from(interval)).div_ceil(u128::from(slots));
            ((position % slots) as usize, due as u64)
        })
    }
}

/// The work that a turn of the wheel asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Slots whose connections are pinged.
    pub ping: Visit,
    /// Slots whose connections are looked at for silence.
    pub check: Visit,
    /// The worker itself stood still for long (a suspended machine): answers may lie unread, so every
    /// clock begins anew instead.
    pub stalled: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: u64,
    interval_ms: u64,
    timeout_ms: u64,
    last_ms: u64,
}

impl Wheel {
    /// A wheel that begins to turn at `now_ms`.
    pub(crate) fn new(interval: Duration, timeout: Duration, now_ms: u64) -> Self {
        let interval_ms = (interval.as_millis() as u64).max(1);
        Wheel {
            slots: (interval_ms / TICK_MS).clamp(MIN_SLOTS, MAX_SLOTS),
            interval_ms,
            timeout_ms: timeout.as_millis() as u64,
            last_ms: now_ms,
        }
    }

    /// Number of slots; a connection with slab number n belongs to slot n modulo this.
    pub(crate) fn slots(&self) -> usize {
        self.slots as usize
    }

    /// The longest time between two calls of [`Wheel::turn`].
    pub(crate) fn tick(&self) -> Duration {
        Duration::from_millis((self.interval_ms / self.slots).max(MIN_TICK_MS))
    }

    /// Milliseconds that a ping may stay unanswered.
    pub(crate) fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    fn position(&self, ms: u64) -> u64 {
        (u128::from(ms) * u128::from(self.slots) / u128::from(self.interval_ms)) as u64
    }

    fn visit(&self, from_ms: u64, to_ms: u64) -> Visit {
        let (from, to) = (self.position(from_ms), self.position(to_ms));
        let count = (to - from).min(self.slots);
        Visit { first: to - count + 1, count }
    }

    /// Moves the hands to `now_ms`.
    pub(crate) fn turn(&mut self, now_ms: u64) -> Due {
        let now_ms = now_ms.max(self.last_ms);
        let stalled = now_ms - self.last_ms > (self.timeout_ms / 2).max(4 * self.tick().as_millis() as u64);
        let turn = Due {
            ping: self.visit(self.last_ms, now_ms),
            check: self
                .visit(self.last_ms.saturating_sub(self.timeout_ms), now_ms.saturating_sub(self.timeout_ms)),
            stalled,
        };
        self.last_ms = now_ms;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(interval: u64, timeout: u64) -> Wheel {
        Wheel::new(Duration::from_millis(interval), Duration::from_millis(timeout), 0)
    }

    #[test]
    fn every_slot_is_pinged_once_per_interval_and_no_two_in_a_burst() {
        for interval in [100, 1000, 30_000, 3_600_000] {
            let mut wheel = wheel(interval, 10_000);
            let mut pings = vec![0; wheel.slots()];
            let mut most = 0;
            for ms in (1..=3 * interval).step_by(interval as usize / 500 + 1) {
                let turn = wheel.turn(ms);
                let slots: Vec<usize> = turn.ping.slots(&wheel).map(|(slot, _)| slot).collect();
                most = most.max(slots.len());
                slots.iter().for_each(|slot| pings[*slot] += 1);
            }
            assert!(pings.iter().all(|n| (2..=3).contains(n)), "{interval}: {pings:?}");
            assert!(most <= 1 + wheel.slots() / 100, "{interval}: {most}");
        }
    }

    #[test]
    fn a_slot_is_checked_one_timeout_after_it_was_pinged() {
        for (interval, timeout) in [(1000, 400), (1000, 2500), (30_000, 10_000)] {
            let mut wheel = wheel(interval, timeout);
            let (mut pinged, mut checked) = (None, None);
            for ms in 1..interval + timeout + interval {
                let turn = wheel.turn(ms);
                if turn.ping.slots(&wheel).any(|(slot, _)| slot == 3) {
                    pinged.get_or_insert(ms);
                }
                if turn.check.slots(&wheel).any(|(slot, _)| slot == 3) && ms > timeout {
                    checked.get_or_insert(ms);
                }
            }
            assert_eq!(checked, pinged.map(|ms| ms + timeout), "{interval} {timeout}");
        }
    }

    #[test]
    fn after_a_long_standstill_each_slot_is_visited_once_and_the_stall_is_told() {
        let mut wheel = wheel(1000, 500);
        assert!(!wheel.turn(100).stalled);
        let turn = wheel.turn(1_000_000);
        assert!(turn.stalled);
        let mut slots: Vec<usize> = turn.ping.slots(&wheel).map(|(slot, _)| slot).collect();
        slots.sort_unstable();
        assert_eq!(slots, (0..wheel.slots()).collect::<Vec<_>>());
    }

    #[test]
    fn time_that_goes_back_moves_nothing() {
        let mut wheel = wheel(1000, 500);
        wheel.turn(900);
        let turn = wheel.turn(100);
        assert_eq!(turn.ping.slots(&wheel).count() + turn.check.slots(&wheel).count(), 0);
    }
}
