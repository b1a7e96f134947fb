//! Reports of what may happen ever so often: a client that floods a channel must not flood the embedder.

use std::time::{Duration, Instant};

use codes::error::{Code, Error, shorten};
use parking_lot::Mutex;

/// See the module.
#[derive(Debug)]
pub(super) struct RateLimitedLog {
    /// Reports are made once in so long.
    every: Duration,
    since: Mutex<Since>,
}

#[derive(Debug, Default)]
struct Since {
    reported: Option<Instant>,
    times: u64,
}

impl RateLimitedLog {
    pub(super) fn new(every: Duration) -> RateLimitedLog {
        RateLimitedLog { every, since: Mutex::default() }
    }

    /// It has happened. If a report is due: how often, since the last one.
    pub(super) fn note(&self, now: Instant) -> Option<u64> {
        let mut since = self.since.lock();
        since.times += 1;
        if since.reported.is_some_and(|at| now.duration_since(at) < self.every) {
            return None;
        }
        since.reported = Some(now);
        Some(std::mem::take(&mut since.times))
    }
}

/// Messages from Redis are skipped: a log of them.
pub(super) fn skipped() -> RateLimitedLog {
    RateLimitedLog::new(Duration::from_secs(1))
}

/// The report that so many messages from Redis were skipped.
pub(super) fn report_skipped(times: u64, why: &str) -> Error {
    let text = match times {
        1 => format!("a message from Redis was skipped: {why}"),
        times => format!("{times} messages from Redis were skipped; of the last one: {why}"),
    };
    tracing::warn!(reason = shorten(&text, 200), "messages skipped");
    Error::new(Code::BadMessage, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_makes_one_report_a_second_that_says_how_many() {
        let (skipped, begin) = (skipped(), Instant::now());
        let reports: Vec<_> = (0..2500u64)
            .filter_map(|n| skipped.note(begin + Duration::from_millis(n)))
            .map(|times| report_skipped(times, "why").message)
            .collect();
        assert_eq!(reports.len(), 3);
        assert!(reports[0].starts_with("a message"), "{reports:?}");
        assert!(reports[1..].iter().all(|report| report.starts_with("1000 messages")), "{reports:?}");
    }
}
