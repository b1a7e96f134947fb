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
    /// How many of them take a place.
    seated: AtomicUsize,
    lock: Mutex<()>,
    empty: Condvar,
}

/// One who counts until dropped.
#[derive(Debug)]
pub struct Live {
    inner: Arc<Inner>,
    seated: bool,
}

impl Census {
    /// Counts one more, who takes a place, unless `limit` are taken already.
    pub fn enter(&self, limit: usize) -> Option<Live> {
        let step = |seated| (seated < limit).then_some(seated + 1);
        self.0.seated.fetch_update(Ordering::AcqRel, Ordering::Acquire, step).ok()?;
        let mut live = self.pass();
        live.seated = true;
        Some(live)
    }

    /// Counts one more, who takes no place: a client that is only told why it was refused.
    pub fn pass(&self) -> Live {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        Live { inner: self.0.clone(), seated: false }
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

impl Live {
    /// Gives the place to whoever comes, and counts on.
    pub fn stand_up(&mut self) {
        if std::mem::take(&mut self.seated) {
            self.inner.seated.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stand_up();
        if self.inner.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            drop(self.inner.lock.lock());
            self.inner.empty.notify_all();
        }
    }
}
