//! Messages from Redis that were skipped, reported now and then: whoever floods a channel must not flood the embedder.

use std::time::{Duration, Instant};

use codes::error::{Code, Error, shorten};
use parking_lot::Mutex;

/// Skipped messages are reported once in so long.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RateLimitedLog(Mutex<SkipCount>);

#[derive(Debug, Default)]
struct SkipCount {
    reported: Option<Instant>,
    since: u64,
}

impl RateLimitedLog {
    /// A message was skipped. The report, if one is due.
    pub(super) fn note(&self, why: &str, now: Instant) -> Option<Error> {
        let mut inner = self.0.lock();
        inner.since += 1;
        if inner.reported.is_some_and(|at| now.duration_since(at) < REPORT_EVERY) {
            return None;
        }
        inner.reported = Some(now);
        let text = match std::mem::take(&mut inner.since) {
            1 => format!("a message from Redis was skipped: {why}"),
            count => format!("{count} messages from Redis were skipped; of the last one: {why}"),
        };
        tracing::warn!(reason = shorten(&text, 200), "messages skipped");
        Some(Error::new(Code::BadMessage, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_makes_one_report_a_second_that_says_how_many() {
        let (skipped, begin) = (RateLimitedLog::default(), Instant::now());
        let reports: Vec<_> = (0..2500u64)
            .filter_map(|n| skipped.note("why", begin + Duration::from_millis(n)))
            .map(|error| error.message)
            .collect();
        assert_eq!(reports.len(), 3);
        assert!(reports[0].starts_with("a message"), "{reports:?}");
        assert!(reports[1..].iter().all(|report| report.starts_with("1000 messages")), "{reports:?}");
    }
}
