//! Counters that several threads write.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::BrokerCounts;

/// See the module, and [`BrokerCounts`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub published: AtomicU64,
    pub local: AtomicU64,
    pub uncertain: AtomicU64,
    pub received: AtomicU64,
    pub ignored: AtomicU64,
    pub gaps: AtomicU64,
    pub unconfirmed: AtomicU64,
    pub repaired: AtomicU64,
    pub missed: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    pub(super) fn read(&self) -> BrokerCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BrokerCounts {
            published: get(&self.published),
            local: get(&self.local),
            uncertain: get(&self.uncertain),
            received: get(&self.received),
            ignored: get(&self.ignored),
            gaps: get(&self.gaps),
            unconfirmed: get(&self.unconfirmed),
            repaired: get(&self.repaired),
            missed: get(&self.missed),
            ..BrokerCounts::default()
        }
    }
}
