//! The time of day, for gaps: it goes on while the machine sleeps, as a monotonic clock may not, and is not set back, as
//! the time of day may be.

use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::time_of_day::unix_ms;

/// Of how many milliseconds a change may be slewing, which needs nothing.
const SLEWED: i64 = 100;

static CLOCK: LazyLock<(Instant, Mutex<Clock>)> = LazyLock::new(|| (Instant::now(), Mutex::default()));

/// Now, in milliseconds.
pub(crate) fn now() -> u64 {
    let (begin, clock) = &*CLOCK;
    let mut clock = clock.lock();
    let before = begin.elapsed();
    let unix = unix_ms();
    clock.read(unix, [before, begin.elapsed()])
}

/// This time and now, in Unix milliseconds as the time of day is set now.
pub(crate) fn until_now(since: u64) -> (u64, u64) {
    let until = now();
    let set_back = CLOCK.1.lock().set_back;
    (since.saturating_sub(set_back), until.saturating_sub(set_back))
}

/// See the module.
#[derive(Debug, Default)]
struct Clock {
    /// The time of day is ahead of the monotonic clock by this, or a little more.
    ahead: Option<i64>,
    /// By how much the time of day was set back, altogether.
    set_back: u64,
    last: u64,
}

impl Clock {
    /// The time, when it is `unix` by the time of day, at some point between two readings of the monotonic clock.
    fn read(&mut self, unix: u64, between: [Duration; 2]) -> u64 {
        let [most, least] = between.map(|elapsed| unix as i64 - elapsed.as_millis() as i64);
        let back = self.ahead.replace(least).map_or(0, |ahead| ahead - most);
        if back > SLEWED {
            self.set_back += back as u64;
        }
        self.last = self.last.max(unix + self.set_back);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_whatever_is_done_to_the_time_of_day() {
        let mut clock = Clock::default();
        let mut at = |unix: u64, elapsed: u64| {
            let time = clock.read(unix, [Duration::from_millis(elapsed); 2]);
            (time, time - clock.set_back)
        };
        assert_eq!(at(1_000_000, 0), (1_000_000, 1_000_000));
        assert_eq!(at(1_000_500, 500), (1_000_500, 1_000_500));
        // An hour of sleep, or forwards.
        assert_eq!(at(4_600_600, 600), (4_600_600, 4_600_600));
        // A minute back, after a second: the time before it is a second ago.
        assert_eq!(at(4_541_600, 1600), (4_601_600, 4_541_600));
        assert_eq!(at(4_542_600, 2600), (4_602_600, 4_542_600));
        // Slewed.
        assert_eq!(at(4_542_590, 2600).0, 4_602_600);
        assert_eq!(at(4_542_650, 2660).0, 4_602_650);
    }

    #[test]
    fn a_reading_that_was_interrupted_is_not_taken_for_a_change() {
        let mut clock = Clock::default();
        let ms = Duration::from_millis;
        clock.read(10_000, [ms(0), ms(0)]);
        clock.read(12_000, [ms(0), ms(2000)]);
        assert_eq!(clock.read(12_001, [ms(2000), ms(2001)]), 12_001);
        assert_eq!(clock.set_back, 0);
    }
}
