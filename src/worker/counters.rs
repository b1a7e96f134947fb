//! The counters of a worker: it is the only writer, and a reader adds them up.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writing thread: a plain load and store, no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the owning thread may.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Reads, from any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Messages read.
    pub messages_in: Counter,
    /// Payload bytes of them.
    pub bytes_in: Counter,
    /// Messages wholly handed to the kernel.
    pub messages_out: Counter,
    /// Bytes handed to the kernel, frame heads and control frames included.
    pub bytes_out: Counter,
    /// Messages that were queued and then dropped, because their connection was slow or ended.
    pub messages_dropped: Counter,
    /// Messages that came after we had begun to close the connection, and were ignored.
    pub messages_after_close: Counter,
    /// Messages that a relay passed on.
    pub messages_relayed: Counter,
    /// Messages that a relay refused with an error frame.
    pub messages_not_relayed: Counter,
    /// Pings sent by the heartbeat.
    pub pings: Counter,
    /// Connections opened.
    pub opened: Counter,
}
