//! An inbox: events on their way from an engine to the tests that wait for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::is_worker;
use crate::events::Event;

/// Counts how often it was rung, so that nobody who listens late misses it.
#[derive(Default)]
pub(super) struct Bell {
    rings: Mutex<usize>,
    changed: Condvar,
    /// The next one who rings from a worker panics.
    pub(super) broken: AtomicBool,
    /// Workers that ring wait here while a test has it.
    pub(super) gate: Mutex<()>,
    /// Their number.
    pub(super) held: AtomicUsize,
}

impl Bell {
    fn ring(&self) {
        if is_worker() && self.broken.swap(false, Ordering::SeqCst) {
            panic!("a fault, as the test asked for");
        }
        if is_worker() {
            self.held.fetch_add(1, Ordering::SeqCst);
            drop(self.gate.lock());
            self.held.fetch_sub(1, Ordering::SeqCst);
        }
        *self.rings.lock() += 1;
        self.changed.notify_all();
    }

    pub(super) fn rings(&self) -> usize {
        *self.rings.lock()
    }

    /// Waits for a ring after so many. False if the deadline came first.
    fn wait(&self, heard: usize, deadline: Instant) -> bool {
        let mut rings = self.rings.lock();
        while *rings == heard {
            if self.changed.wait_until(&mut rings, deadline).timed_out() {
                return false;
            }
        }
        true
    }
}

/// Events that were drained and not yet asked for, each with its number.
#[derive(Default)]
struct Seen {
    events: VecDeque<(usize, Event)>,
    drained: usize,
}

/// Events on their way to who waits for one.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(super) bell: Arc<Bell>,
    seen: Mutex<Seen>,
}

impl Inbox {
    /// The function to call when there are events.
    pub(crate) fn notify(&self) -> Box<dyn Fn() + Send + Sync> {
        let bell = self.bell.clone();
        Box::new(move || bell.ring())
    }

    /// Forgets what nobody has asked for.
    pub(super) fn forget(&self) {
        self.seen.lock().events.clear();
    }

    /// Waits for an event, and takes it. Events before it are kept for who asks later. `drain` takes what there is.
    pub(crate) fn event_within<T>(
        &self,
        drain: impl Fn() -> VecDeque<Event>,
        patience: Duration,
        mut pick: impl FnMut(&Event) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut looked_at = 0;
        loop {
            let heard = self.bell.rings();
            {
                let mut seen = self.seen.lock();
                let begin = seen.events.partition_point(|(number, _)| *number < looked_at);
                for at in begin..seen.events.len() {
                    if let Some(found) = pick(&seen.events[at].1) {
                        seen.events.remove(at);
                        return Some(found);
                    }
                }
                looked_at = seen.drained;
                let batch = drain();
                if !batch.is_empty() {
                    seen.drained += batch.len();
                    seen.events.extend((looked_at..).zip(batch));
                    // Others wait for what was taken here.
                    self.bell.ring();
                    continue;
                }
            }
            if !self.bell.wait(heard, deadline) {
                return None;
            }
        }
    }
}
