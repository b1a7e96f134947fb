//! How many handshakes and connections there are, and waiting until there are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// The count. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Census(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    count: AtomicUsize,
    lock: Mutex<()>,
    empty: Condvar,
}

/// One who counts until dropped.
#[derive(Debug)]
pub struct Live(Arc<Inner>);

impl Census {
    /// Counts one more, unless there are `limit` already.
    pub fn enter(&self, limit: usize) -> Option<Live> {
        let entered = self
            .0
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < limit).then_some(count + 1));
        entered.ok().map(|_| Live(self.0.clone()))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// Blocks the calling thread until there are none, or until the deadline. True if there are none.
    pub fn wait_until_empty(&self, deadline: Instant) -> bool {
        let mut guard = self.0.lock.lock();
        while self.count() > 0 {
            if self.0.empty.wait_until(&mut guard, deadline).timed_out() {
                return self.count() == 0;
            }
        }
        true
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            drop(self.0.lock.lock());
            self.0.empty.notify_all();
        }
    }
}
