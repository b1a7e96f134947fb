//! How much may wait for Redis.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of publishes that are not answered, on all links and on their way between links.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    /// At `limit` bytes it is used up.
    pub fn new(limit: usize) -> Budget {
        Budget { used: AtomicUsize::new(0), limit }
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

    pub fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
