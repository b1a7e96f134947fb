//! The memory of all send queues whose clients are behind and of all unfinished messages, and the order in which they go when it
//! is too much.
//!
//! A send queue counts from the moment in which the kernel refuses its bytes until it is empty. Bytes that were not offered
//! to a client yet count for nobody: the next write takes them. Large frames lie in many send queues at once and count once.
//! A message counts with its buffer, once that is larger than [`GRAIN`], until it was dealt with, and one whose way to many
//! rooms takes several turns until the last has had it.

use std::cmp::Reverse;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle as Runtime;
use tokio::sync::Notify;

use super::connections;
use super::handle::Handle;
use super::progress::Progress;

/// Bytes by which one send queue may have grown since it was last counted, and of a message that counts for nothing: counting
/// is a locked instruction.
pub(super) const GRAIN: usize = 4 * 1024;
/// One part in so many of the limit is freed beyond what has to be, so that the next message doesn't exceed it again.
const SPARE: usize = 8;
/// At most one in so many of those who hold something goes at a time. Frames that only the slowest hold are freed with
/// them, and how many those are shows afterwards.
const SHARE: usize = 8;
/// Time between two looks at connections that were told to go and still have to.
const PAUSE: Duration = Duration::from_millis(5);

/// Counts the bytes that an engine's connections hold: send queues for clients that are behind, and unfinished messages.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    /// All of them.
    used: AtomicUsize,
    /// Those of unfinished messages.
    unfinished: AtomicUsize,
    exceeded: Notify,
}

impl Memory {
    /// Nothing is held. `limit` is `limits.memoryBytes`.
    pub fn new(limit: usize) -> Arc<Self> {
        let (used, unfinished) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Memory { limit, used, unfinished, exceeded: Notify::new() })
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes held now, up to [`GRAIN`] less for each client that is behind, and for each message that is unfinished.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Those of unfinished messages.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// A send queue that was counted with `counted` bytes holds `bytes` by now.
    pub(super) fn recount(&self, counted: &mut u32, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let before = std::mem::replace(counted, bytes);
        if bytes > before {
            self.add((bytes - before) as usize);
        } else if bytes < before {
            self.subtract((before - bytes) as usize);
        }
    }

    fn add(&self, bytes: usize) {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit {
            self.exceeded.notify_one();
        }
    }

    fn subtract(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that are to be freed.
    fn excess(&self) -> usize {
        let used = self.used();
        if used <= self.limit { 0 } else { used - (self.limit - self.limit / SPARE) }
    }
}

/// A frame that is encoded once and lies in the send queues of all its recipients.
#[derive(Debug)]
pub(crate) struct SharedFrame {
    bytes: Vec<u8>,
    /// The count that it is in, once the first client that is behind holds it.
    counted_in: OnceLock<Arc<Memory>>,
}

impl SharedFrame {
    /// `bytes` are the whole frame.
    pub(crate) fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(SharedFrame { bytes, counted_in: OnceLock::new() })
    }

    /// A client that is behind holds it: counts it, unless it is counted already.
    pub(super) fn count_in(&self, memory: &Arc<Memory>) {
        if self.counted_in.get().is_none() && self.counted_in.set(memory.clone()).is_ok() {
            memory.add(self.bytes.len());
        }
    }
}

impl Deref for SharedFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for SharedFrame {
    fn drop(&mut self) {
        if let Some(memory) = self.counted_in.get() {
            memory.subtract(self.bytes.len());
        }
    }
}

/// The count of one unfinished message: to be dropped when its buffer is let go of.
#[derive(Debug)]
pub(crate) struct Count {
    memory: Arc<Memory>,
    bytes: usize,
    progress: Progress,
}

impl Count {
    /// Nothing is counted.
    pub(crate) fn new(memory: &Arc<Memory>) -> Self {
        Count { memory: memory.clone(), bytes: 0, progress: Progress::now() }
    }

    /// The message's buffer has grown to `bytes`.
    pub(crate) fn grow(&mut self, bytes: usize) {
        let more = bytes - std::mem::replace(&mut self.bytes, bytes);
        self.memory.unfinished.fetch_add(more, Ordering::Relaxed);
        self.memory.add(more);
    }

    /// The message came closer to its end.
    pub(crate) fn move_on(&mut self) {
        self.progress = Progress::now();
    }

    /// Bytes that are counted, if the message has not moved on for a while.
    pub(super) fn stuck(&self) -> usize {
        if self.progress.is_stuck() { self.bytes } else { 0 }
    }

    /// Bytes that are counted.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.memory.unfinished.fetch_sub(self.bytes, Ordering::Relaxed);
        self.memory.subtract(self.bytes);
    }
}

/// A connection that holds memory.
#[derive(Debug)]
pub(super) struct Holder {
    pub handle: Arc<Handle>,
    /// Bytes that wait for its client, if that is behind, and those of its unfinished message.
    pub bytes: usize,
    /// The latter.
    pub unfinished: usize,
    /// Those of `bytes` that are stuck: of which the client took none, or of a message that did not move on.
    pub stuck: usize,
}

/// Ends the connections that hold most, those first of which it is [stuck](Progress), whenever all together hold too much. Runs for as long as its engine has workers,
/// whose `runtimes` it asks.
pub(crate) async fn guard(memory: Arc<Memory>, runtimes: Vec<Runtime>) {
    loop {
        memory.exceeded.notified().await;
        while memory.excess() > 0 {
            let evicted = evict_some(&memory, &runtimes).await;
            if evicted.is_empty() {
                break;
            }
            while evicted.iter().any(|handle| handle.is_to_be_evicted()) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Tells those who hold most that is stuck to go, and then those who hold most, no more than needed.
async fn evict_some(memory: &Memory, runtimes: &[Runtime]) -> Vec<Arc<Handle>> {
    let mut holders = Vec::new();
    for runtime in runtimes {
        // A worker that was stopped has none.
        holders.extend(runtime.spawn(connections::holders()).await.unwrap_or_default());
    }
    let most = holders.len().div_ceil(SHARE);
    let most_first = |holder: &Holder| Reverse((holder.stuck, holder.bytes));
    if most < holders.len() {
        holders.select_nth_unstable_by_key(most, most_first);
        holders.truncate(most);
    }
    holders.sort_unstable_by_key(most_first);
    let excess = memory.excess();
    let mut freed = 0;
    let needed = holders.into_iter().take_while(|holder| {
        let goes = freed < excess;
        if goes {
            freed += holder.handle.writer().own() + holder.unfinished;
            let (id, remote) = (holder.handle.id, holder.handle.peer.remote());
            tracing::info!(id, remote, held_bytes = holder.bytes, "evicted for memory");
            holder.handle.evict();
        }
        goes
    });
    needed.map(|holder| holder.handle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_frame_counts_once_and_until_the_last_outbox_lets_go_of_it() {
        let memory = Memory::new(usize::MAX);
        let frame = SharedFrame::new(vec![0; 5000]);
        assert_eq!(memory.used(), 0, "nobody is behind");
        let other = frame.clone();
        frame.count_in(&memory);
        other.count_in(&memory);
        assert_eq!(memory.used(), 5000);
        drop(frame);
        assert_eq!(memory.used(), 5000);
        drop(other);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn an_unfinished_message_counts_as_it_grows_and_until_it_is_let_go_of() {
        let memory = Memory::new(usize::MAX);
        let mut count = Count::new(&memory);
        for bytes in [5000, 8192, 8192, 20_000] {
            count.grow(bytes);
            assert_eq!((count.bytes(), memory.used(), memory.unfinished()), (bytes, bytes, bytes));
        }
        drop(count);
        assert_eq!((memory.used(), memory.unfinished()), (0, 0));
    }

    #[test]
    fn what_an_outbox_counts_for_follows_what_it_holds() {
        let memory = Memory::new(1000);
        let mut counted = 0;
        for bytes in [10, 500, 20, 1000, 0] {
            memory.recount(&mut counted, bytes);
            assert_eq!((memory.used(), memory.excess()), (bytes, 0));
        }
        memory.recount(&mut counted, 1001);
        assert_eq!(memory.excess(), 126, "one byte too much frees an eighth more");
    }
}
