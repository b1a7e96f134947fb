//! The quota of what may wait for Redis.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of publishes that are not answered, on all links and on their way between links.
#[derive(Debug)]
pub struct Quota {
    used: AtomicUsize,
    limit: usize,
    /// Links whose backlogs are being given up.
    giving_up: AtomicUsize,
}

impl Quota {
    /// At `limit` bytes it is used up.
    pub fn new(limit: usize) -> Quota {
        Quota { used: AtomicUsize::new(0), limit, giving_up: AtomicUsize::new(0) }
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// True if no more is taken in. Of what clients send that is earlier: the last quarter is the application's.
    pub fn is_used_up(&self, for_client: bool) -> bool {
        self.used() >= if for_client { self.limit / 4 * 3 } else { self.limit }
    }

    /// True if clients' next messages wait. Those that are let in at once, by several workers, have a quarter to fit in.
    pub fn is_short_for_clients(&self) -> bool {
        self.used() >= self.limit / 2
    }

    /// A link's backlog is given up from here on, until [`Quota::end_giving_up`].
    pub fn begin_giving_up(&self) {
        self.giving_up.fetch_add(1, Ordering::SeqCst);
    }

    /// See [`Quota::begin_giving_up`].
    pub fn end_giving_up(&self) {
        self.giving_up.fetch_sub(1, Ordering::SeqCst);
    }

    /// True if a link's backlog is being given up. A client that waits for an answer of it adds nothing meanwhile: it would
    /// as fast as it is given up, and the embedder's publishes come behind all of it.
    pub fn is_giving_up(&self) -> bool {
        self.giving_up.load(Ordering::SeqCst) > 0
    }

    pub fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
