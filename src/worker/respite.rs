//! A worker's rests from its busy connections, while it waits for a core.
//!
//! With more threads to run than cores, the system lets each wait for a time slice of some milliseconds now
//! and then. It does so with a worker that serves floods without a pause, and quiet connections wait with it. A thread that
//! sleeps now and then is run soon after it is woken. So while rounds take longer than the CPU time that they use, busy
//! connections wait after each millisecond of theirs: for a millisecond, and for twice as long if that was not enough. Quiet ones
//! are served meanwhile. Nobody rests where cores are free.

use std::time::{Duration, Instant};

/// Time of busy connections between two rests.
const BETWEEN: Duration = Duration::from_millis(1);
/// Milliseconds that a rest takes at most. One is the least that tokio's timer knows.
const MOST: u32 = 8;
/// Of their time, in per cent, rounds have a core at least, or the worker waits for one.
const CORE: u32 = 85;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Respite {
    /// The time that rounds with busy connections took since the last rest, and how much of that they had a core.
    took: Duration,
    ran: Duration,
    /// Milliseconds of the next rest.
    length: u32,
    until: Option<Instant>,
}

impl Respite {
    /// Until when busy connections wait.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The rest is over.
    pub(super) fn end(&mut self) {
        self.until = None;
    }

    /// A round with busy connections took so long, of which it had a core for `ran`. It is time for a rest, perhaps.
    pub(super) fn note(&mut self, took: Duration, ran: Duration) {
        self.took += took;
        self.ran += ran;
        if self.took < BETWEEN {
            return;
        }
        let waits = self.ran * 100 < self.took * CORE;
        self.length = if waits { (self.length * 2).clamp(1, MOST) } else { self.length / 2 };
        (self.took, self.ran) = (Duration::ZERO, Duration::ZERO);
        if self.length > 0 {
            self.until = Some(Instant::now() + Duration::from_millis(self.length.into()));
        }
    }
}

/// Measures one round.
#[derive(Debug)]
pub(super) struct Round {
    began: Instant,
    cpu: Duration,
}

impl Round {
    /// It begins now.
    pub(super) fn begin() -> Round {
        Round { began: Instant::now(), cpu: cpu_time() }
    }

    /// The time that it took, and how much of that it had a core.
    pub(super) fn end(&self) -> (Duration, Duration) {
        let took = self.began.elapsed();
        let ran = if cfg!(unix) { cpu_time().saturating_sub(self.cpu) } else { took };
        (took, ran)
    }
}

/// CPU time of this thread (clock_gettime(2), `CLOCK_THREAD_CPUTIME_ID`).
fn cpu_time() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    #[cfg(not(unix))]
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a round of a millisecond with a core for so many per cent of it: milliseconds of rest.
    fn rest(respite: &mut Respite, percent: u32) -> Option<u32> {
        let before = Instant::now();
        respite.note(BETWEEN, BETWEEN * percent / 100);
        let until = respite.until()?;
        respite.end();
        assert!(until >= before + Duration::from_millis(respite.length.into()));
        Some(respite.length)
    }

    #[test]
    fn busy_connections_rest_while_their_worker_waits_for_a_core_and_longer_the_longer_that_lasts() {
        let mut respite = Respite::default();
        assert_eq!(rest(&mut respite, 100), None);
        assert_eq!(rest(&mut respite, CORE), None);
        let rests: Vec<_> = (0..5).map(|_| rest(&mut respite, CORE - 1)).collect();
        assert_eq!(rests, [1, 2, 4, 8, 8].map(Some));
        let rests: Vec<_> = (0..5).map(|_| rest(&mut respite, 100)).collect();
        assert_eq!(rests, [Some(4), Some(2), Some(1), None, None]);
    }

    #[test]
    fn short_rounds_count_together() {
        let mut respite = Respite::default();
        for _ in 0..9 {
            respite.note(BETWEEN / 10, Duration::ZERO);
            assert_eq!(respite.until(), None);
        }
        respite.note(BETWEEN / 10, Duration::ZERO);
        assert!(respite.until().is_some());
    }

    #[test]
    #[cfg(unix)]
    fn a_round_that_sleeps_has_no_core_and_one_that_computes_has() {
        let round = Round::begin();
        std::thread::park_timeout(Duration::from_millis(20));
        let (took, ran) = round.end();
        assert!(ran * 2 < took, "{ran:?} of {took:?}");
        let round = Round::begin();
        while round.end().1 < Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        let (took, ran) = round.end();
        assert!(ran <= took + Duration::from_millis(1), "{ran:?} of {took:?}");
    }
}
