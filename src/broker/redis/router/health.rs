//! How the links are, and what the embedder is told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use codes::error::{Error, excerpt};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{SubscriptionRouter, count};
use crate::broker::redis::clock;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::failure::closed;
use crate::events::broker_status::{BrokerStatus, State};
use crate::time_of_day::unix_ms;

/// Of one link.
#[derive(Debug, Default)]
pub(crate) struct Health {
    inner: Mutex<Inner>,
    /// When what is proven to have arrived was published.
    proven: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    phase: Phase,
    /// An answer is late.
    lagging: bool,
    error: Option<Error>,
    /// Since when it has been down, if it ever was tried.
    down: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Down,
    /// Connected, not yet subscribed to everything.
    Subscribing,
    Up,
}

impl Health {
    /// True if it can be published over.
    pub(crate) fn is_up(&self) -> bool {
        self.inner.lock().phase == Phase::Up
    }

    /// True if it has just gone down.
    pub(crate) fn is_down_for_less_than(&self, time: Duration) -> bool {
        self.inner.lock().down.is_some_and(|since| since.elapsed() < time)
    }

    /// True if subscriptions over it can be expected to be confirmed soon: it is on, or is being made and has not failed.
    pub(crate) fn is_hopeful(&self) -> bool {
        let inner = self.inner.lock();
        inner.phase != Phase::Down || inner.error.is_none()
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

/// Of all links together: the state that was last told, and who waits for it to be up.
#[derive(Debug, Default)]
pub(crate) struct HealthReporter {
    told: Mutex<Reported>,
}

#[derive(Debug)]
struct Reported {
    status: BrokerStatus,
    /// Why there is no link at all.
    trouble: Option<Error>,
    waiting: Vec<u64>,
}

impl Default for Reported {
    fn default() -> Self {
        let now = unix_ms();
        // Without an error: the first one is told, whatever it is.
        let status = BrokerStatus { state: State::Down, since: now, error: None, gap: None };
        Reported { status, trouble: None, waiting: Vec::new() }
    }
}

impl SubscriptionRouter {
    /// The state that was last told.
    pub(crate) fn status(&self) -> BrokerStatus {
        self.reporter.told.lock().status.clone()
    }

    /// True if every link works; otherwise the ticket is settled when that is so, or with the next failure.
    pub(crate) fn await_ready(&self, ticket: u64) -> bool {
        {
            let mut told = self.reporter.told.lock();
            if told.status.state == State::Up {
                return true;
            }
            told.waiting.push(ticket);
        }
        // A close that came meanwhile may have overlooked it.
        if self.is_closed() {
            self.fail_waiting(&closed());
        }
        false
    }

    /// An attempt to find out where Redis is failed.
    pub(crate) fn lost_track(&self, error: Error) {
        self.reporter.told.lock().trouble = Some(error.clone());
        if self.links().is_empty() {
            self.lose_all();
        }
        self.report(None);
        self.fail_waiting(&error);
    }

    /// True if the last attempt to find out where Redis is failed.
    pub(crate) fn is_in_trouble(&self) -> bool {
        self.reporter.told.lock().trouble.is_some()
    }

    /// It is known where Redis is.
    pub(crate) fn found_track(&self) {
        self.reporter.told.lock().trouble = None;
    }

    /// Whoever waits for the links to be up waits in vain.
    pub(crate) fn fail_waiting(&self, error: &Error) {
        let waiting = std::mem::take(&mut self.reporter.told.lock().waiting);
        if !waiting.is_empty() {
            self.sink.ready(waiting, Err(error.clone()));
        }
    }

    /// A link has a connection and subscribes.
    pub(crate) fn link_subscribing(&self, link: &Link) {
        link.health.inner.lock().phase = Phase::Subscribing;
    }

    /// A link works. [`SubscriptionRouter::unpark`] is to follow.
    pub(crate) fn link_up(&self, link: &Link) {
        *link.health.inner.lock() = Inner { phase: Phase::Up, ..Inner::default() };
        self.report(self.end_gap());
    }

    /// Tells of a gap if subscriptions that were lost are all there again.
    pub(crate) fn report_regained(&self) {
        let gap = self.end_gap();
        if gap.is_some() {
            self.report(gap);
        }
    }

    /// A link is slow to answer, or is no longer.
    pub(crate) fn link_lagging(&self, link: &Link, error: Option<Error>) {
        {
            let mut inner = link.health.inner.lock();
            inner.lagging = error.is_some();
            inner.error = error;
        }
        self.report(self.end_gap());
    }

    /// A link has failed, or has failed to come up.
    pub(crate) fn link_down(&self, link: &Arc<Link>, error: Error) {
        let was = {
            let mut inner = link.health.inner.lock();
            let phase = std::mem::replace(&mut inner.phase, Phase::Down);
            inner.lagging = false;
            inner.error = Some(error.clone());
            inner.down.get_or_insert_with(Instant::now);
            phase
        };
        if was != Phase::Down || link.health.proven() == 0 {
            // Also before the first time up: whoever was accepted while there was nothing to subscribe to has a gap.
            self.unconfirm(link, self.proven(link));
        }
        self.report(None);
        self.fail_waiting(&error);
    }

    /// Works out the state from the links, and tells it if it has changed or there is a gap to tell of, from this time on.
    pub(crate) fn report(&self, gap: Option<u64>) {
        if self.is_closed() {
            return;
        }
        let links = self.links();
        let mut told = self.reporter.told.lock();
        let (mut up, mut well, mut total, mut untried) = (0, 0, 0, 0);
        let mut error = None;
        for link in links.iter().filter(|link| !link.is_retired()) {
            let inner = link.health.inner.lock();
            total += 1;
            up += u32::from(inner.phase == Phase::Up);
            well += u32::from(inner.phase == Phase::Up && !inner.lagging);
            untried += u32::from(inner.phase != Phase::Up && inner.error.is_none());
            error = error.or_else(|| inner.error.clone());
        }
        let state = match (up, well) {
            (0, _) => State::Down,
            // The first of several to connect: the others are about to.
            _ if untried > 0 && told.status.state == State::Down => State::Down,
            (_, well) if well == total && told.trouble.is_none() => State::Up,
            _ => State::Degraded,
        };
        let known = || told.trouble.clone().or_else(|| told.status.error.clone());
        let error = if state == State::Up { None } else { error.or_else(known) };
        let same = state == told.status.state
            && error.as_ref().map(|e| e.kind) == told.status.error.as_ref().map(|e| e.kind);
        let since = if state == told.status.state { told.status.since } else { unix_ms() };
        told.status = BrokerStatus { state, since, error, gap: None };
        if !same || gap.is_some() {
            if gap.is_some() {
                count(&self.counts.gaps);
            }
            let gap = gap.map(clock::until_now);
            match &told.status.error {
                None => info!(node = self.node, ?state, ?gap, "broker status"),
                Some(error) => {
                    let (code, reason) = (error.code(), excerpt(&error.message, 200));
                    warn!(node = self.node, ?state, ?gap, code, reason, "broker status");
                }
            }
            // Reported under the lock, so that states are told in their order.
            self.sink.status(BrokerStatus { gap, ..told.status.clone() });
        }
        if state == State::Up && !told.waiting.is_empty() {
            let waiting = std::mem::take(&mut told.waiting);
            self.sink.ready(waiting, Ok(()));
        }
    }
}
