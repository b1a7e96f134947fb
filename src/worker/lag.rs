//! The lag of turns: the time for which connections that were woken wait for theirs.

/// Milliseconds after which a turn comes late.
const LATE: u32 = 50;

/// See the module. Looks at one connection of a queue at a time.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// The number of those that have their turns before it, and when it was woken, in the worker's milliseconds.
    watched: Option<(usize, u32)>,
    /// The wait of the last one.
    last: u32,
}

impl Lag {
    /// A connection was woken, with so many before it.
    pub(super) fn woken(&mut self, before: usize, now: u32) {
        self.watched.get_or_insert((before, now));
    }

    /// The first of those that wait has its turn.
    pub(super) fn served(&mut self, now: u32) {
        match &mut self.watched {
            Some((0, woken)) => {
                self.last = now.wrapping_sub(*woken);
                self.watched = None;
            }
            Some((before, _)) => *before -= 1,
            None => {}
        }
    }

    pub(super) fn is_late(&self, now: u32) -> bool {
        let waits = self.watched.map_or(0, |(_, woken)| now.wrapping_sub(woken));
        self.last.max(waits) >= LATE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_late_while_one_waits_for_long_and_until_one_waits_no_more() {
        let mut lag = Lag::default();
        lag.woken(1, 100);
        lag.woken(2, 130);
        assert!(!lag.is_late(149));
        assert!(lag.is_late(150));
        lag.served(150);
        lag.served(170);
        assert!(lag.is_late(170), "it waited for 70 ms");
        lag.woken(0, 171);
        assert!(lag.is_late(171), "nothing says as yet that it is better");
        lag.served(172);
        assert!(!lag.is_late(172));
    }

    #[test]
    fn a_burst_that_has_just_come_is_not_late_however_large() {
        let mut lag = Lag::default();
        (0..100_000).for_each(|before| lag.woken(before, u32::MAX));
        assert!(!lag.is_late(10), "the clock wraps");
    }
}
