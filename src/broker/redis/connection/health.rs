//! The health of a link.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use codes::error::Error;
use parking_lot::Mutex;
use tokio::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Health {
    inner: Mutex<Reading>,
    /// The time at which the last message was published that is proven to have arrived.
    proven: AtomicU64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    phase: LinkPhase,
    pub error: Option<Error>,
    /// The time since which it has been down, if it ever was tried.
    down: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LinkPhase {
    #[default]
    Down,
    /// Connected, not yet subscribed to everything.
    Subscribing,
    Up,
    /// The same, and an answer is late.
    Late,
}

impl Reading {
    /// True if it is up, and no answer late.
    pub(crate) fn is_well(&self) -> bool {
        self.phase == LinkPhase::Up
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.phase, LinkPhase::Up | LinkPhase::Late)
    }
}

impl Health {
    /// A reading of it.
    pub(crate) fn read(&self) -> Reading {
        self.inner.lock().clone()
    }

    /// It has a connection, and begins to subscribe to everything.
    pub(crate) fn begin_subscribing(&self) {
        self.inner.lock().phase = LinkPhase::Subscribing;
    }

    /// It works.
    pub(crate) fn go_up(&self) {
        *self.inner.lock() = Reading { phase: LinkPhase::Up, ..Reading::default() };
    }

    /// It is slow to answer. A link that is not up stays as it is.
    pub(crate) fn fall_behind(&self, error: Error) {
        self.change_if_up(LinkPhase::Late, Some(error));
    }

    /// It is no longer slow. A link that is not up stays as it is.
    pub(crate) fn catch_up(&self) {
        self.change_if_up(LinkPhase::Up, None);
    }

    fn change_if_up(&self, phase: LinkPhase, error: Option<Error>) {
        let mut inner = self.inner.lock();
        if inner.is_up() {
            (inner.phase, inner.error) = (phase, error);
        }
    }

    /// It has failed, or has failed to come up. True if it was subscribed to anything, or never to all.
    pub(crate) fn go_down(&self, error: Error) -> bool {
        let mut inner = self.inner.lock();
        inner.error = Some(error);
        inner.down.get_or_insert_with(Instant::now);
        std::mem::take(&mut inner.phase) != LinkPhase::Down || self.proven() == 0
    }

    /// True if it can be published over.
    pub(crate) fn is_up(&self) -> bool {
        self.inner.lock().is_up()
    }

    /// True if it has just gone down.
    pub(crate) fn is_down_for_less_than(&self, time: Duration) -> bool {
        self.inner.lock().down.is_some_and(|since| since.elapsed() < time)
    }

    /// True if subscriptions over it can be expected to be confirmed soon: it is on, or is being made and has not failed.
    pub(crate) fn is_hopeful(&self) -> bool {
        let inner = self.inner.lock();
        inner.phase != LinkPhase::Down || inner.error.is_none()
    }

    /// Everything that was published before this time and came over the link has arrived.
    pub(crate) fn prove(&self, time: u64) {
        self.proven.store(time, Ordering::Relaxed);
    }

    /// See [`Health::prove`]; 0 before the first time.
    pub(crate) fn proven(&self) -> u64 {
        self.proven.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use codes::error::Code;

    use super::*;

    #[test]
    fn only_a_link_that_is_up_falls_behind_and_catches_up() {
        let health = Health::default();
        let error = |text: &str| Error::new(Code::BrokerTimeout, text);
        let reading = || {
            let reading = health.read();
            (reading.is_up(), reading.is_well(), reading.error.map(|error| error.message))
        };
        let away = (false, false, Some("away".to_owned()));
        health.go_down(error("away"));
        for begins in [false, true] {
            if begins {
                health.begin_subscribing();
            }
            health.catch_up();
            assert_eq!(reading(), away);
            health.fall_behind(error("late"));
            assert_eq!(reading(), away);
        }
        health.go_up();
        health.fall_behind(error("late"));
        assert_eq!(reading(), (true, false, Some("late".to_owned())));
        health.catch_up();
        assert_eq!(reading(), (true, true, None));
    }
}
