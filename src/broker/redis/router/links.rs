//! The links, how they are together, and what the embedder is told of it.

use std::sync::Arc;

use codes::error::{Error, shorten};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::counts::{Counts, count};
use crate::broker::redis::clock;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::sink::Sink;
use crate::events::broker_status::{BrokerStatus, State};
use crate::time_of_day::unix_ms;

/// All links: how they are together, as was last told, and who waits for that to be up.
#[derive(Debug)]
pub(crate) struct Links {
    links: Mutex<Vec<Arc<Link>>>,
    told: Mutex<Reported>,
    sink: Arc<dyn Sink>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Reported {
    status: BrokerStatus,
    /// The reason for which there is no link at all.
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

impl Links {
    pub(crate) fn new(sink: Arc<dyn Sink>, counts: Arc<Counts>) -> Links {
        Links { links: Mutex::default(), told: Mutex::default(), sink, counts }
    }

    /// The links.
    pub(crate) fn all(&self) -> Vec<Arc<Link>> {
        self.links.lock().clone()
    }

    /// A link is missing.
    pub(crate) fn is_ailing(&self) -> bool {
        self.links.lock().iter().any(|link| !link.health.is_up() && !link.is_retired())
    }

    /// Takes a link in.
    pub(crate) fn add(&self, link: Arc<Link>) {
        self.links.lock().push(link);
    }

    /// Forgets a link that is over.
    pub(crate) fn remove(&self, link: &Arc<Link>) {
        self.links.lock().retain(|other| !Arc::ptr_eq(other, link));
    }

    /// The state that was last told.
    pub(crate) fn status(&self) -> BrokerStatus {
        self.told.lock().status.clone()
    }

    /// True if every link works; otherwise the ticket is settled when that is so, or with the next failure.
    pub(crate) fn await_ready(&self, ticket: u64) -> bool {
        let mut told = self.told.lock();
        let is_up = told.status.state == State::Up;
        if !is_up {
            told.waiting.push(ticket);
        }
        is_up
    }

    /// True if the last attempt to find out where Redis is failed.
    pub(crate) fn is_in_trouble(&self) -> bool {
        self.told.lock().trouble.is_some()
    }

    /// It is known where Redis is, or not, for this reason.
    pub(crate) fn set_trouble(&self, trouble: Option<Error>) {
        self.told.lock().trouble = trouble;
    }

    /// All that wait for the links to be up wait in vain.
    pub(crate) fn fail_waiting(&self, error: &Error) {
        let waiting = std::mem::take(&mut self.told.lock().waiting);
        if !waiting.is_empty() {
            self.sink.ready(waiting, Err(error.clone()));
        }
    }

    /// Works out the state from the links, and tells it if it has changed or there is a gap to tell of, from this time on.
    pub(crate) fn report(&self, gap: Option<u64>) {
        let links = self.all();
        let mut told = self.told.lock();
        let (mut up, mut well, mut total, mut untried) = (0, 0, 0, 0);
        let mut error = None;
        for link in links.iter().filter(|link| !link.is_retired()) {
            let health = link.health.read();
            total += 1;
            up += u32::from(health.is_up());
            well += u32::from(health.is_well());
            untried += u32::from(!health.is_up() && health.error.is_none());
            error = error.or(health.error);
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
            let (gap_since, gap_until) = gap.unzip();
            match &told.status.error {
                None => info!(?state, gap_since, gap_until, "broker status"),
                Some(error) => {
                    let (code, reason) = (error.code(), shorten(&error.message, 200));
                    warn!(?state, gap_since, gap_until, code, reason, "broker status");
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
