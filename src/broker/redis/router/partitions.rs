//! All partitions, and which name falls into which.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::partition::Partition;
use super::slots::{PARTITIONS, TAGS, partition_of};
use crate::broker::redis::connection::command::RedisChannel;
use crate::broker::redis::envelope::{CONTROL_CHANNEL, FORMAT_CHANNEL};

/// The channel that all servers listen on, the guide's too. They know no shards.
pub(crate) const SHARED: &str = "messages";

/// See the module.
#[derive(Debug)]
pub(crate) struct Partitions {
    /// First those with a hash tag, then as many without.
    pub all: Box<[Mutex<Partition>]>,
    /// All channels begin with it.
    pub prefix: String,
    /// Set when a server has said whether it belongs to a cluster.
    sharded: OnceLock<bool>,
    /// The number of times in a row that a cluster had servers that can't read positions; `u8::MAX`: it was not asked yet.
    old_servers: AtomicU8,
    /// Notified when links and partitions should be looked at again.
    pub stale: Notify,
    closed: AtomicBool,
}

impl Partitions {
    /// Partitions without links.
    pub(crate) fn new(prefix: String) -> Partitions {
        Partitions {
            all: (0..2 * PARTITIONS).map(|_| Mutex::default()).collect(),
            prefix,
            sharded: OnceLock::new(),
            old_servers: AtomicU8::new(u8::MAX),
            stale: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// True once everything is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nothing is added any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// True if the Redis is a cluster; false until that is known.
    pub(crate) fn is_sharded(&self) -> bool {
        self.sharded.get().copied().unwrap_or(false)
    }

    /// Sets what [`Partitions::is_sharded`] answers.
    pub(crate) fn set_sharded(&self, sharded: bool) {
        let _ = self.sharded.set(sharded);
    }

    /// A cluster has servers that can't read positions, or has none.
    pub(crate) fn note_old_servers(&self, has_some: bool) {
        let before = self.old_servers.load(Ordering::Acquire);
        let now = match (has_some, before) {
            (false, _) => 0,
            // The first answer counts.
            (true, u8::MAX) => 2,
            // A server that subscribes anew, for its slots have moved, may look like one for a moment.
            (true, before) => (before + 1).min(2),
        };
        self.old_servers.store(now, Ordering::Release);
    }

    /// True if a cluster has servers that can't read positions. One Redis alone is asked with each message.
    pub(crate) fn has_old_servers(&self) -> bool {
        self.old_servers.load(Ordering::Acquire) == 2
    }

    /// True if channels are the embedder's, and named by it; ours have a prefix.
    pub(crate) fn has_foreign_channels(&self) -> bool {
        self.prefix.is_empty()
    }

    /// The partition of a name that is given in pieces: a kind, if it has one, and what is told apart by it.
    pub(crate) fn partition(&self, [kind, id]: [&str; 2]) -> usize {
        let name = if id.is_empty() { kind } else { id };
        let name = if kind == FORMAT_CHANNEL { CONTROL_CHANNEL } else { name };
        // Without a prefix all channels are the embedder's.
        let plain = self.prefix.is_empty() || kind == SHARED;
        partition_of(name) + if plain { PARTITIONS } else { 0 }
    }

    /// The partition of a name.
    pub(crate) fn home(&self, name: &str) -> usize {
        let kind =
            ["user:", "room:"].into_iter().find(|kind| !self.prefix.is_empty() && name.starts_with(kind));
        let (kind, id) = name.split_at(kind.map_or(0, str::len));
        self.partition(if kind.is_empty() { [id, ""] } else { [kind, id] })
    }

    pub(crate) fn tag(&self, partition: usize) -> &'static str {
        TAGS.get(partition).filter(|_| self.is_sharded()).map_or("", |tag| tag.text.as_str())
    }

    /// A channel as it is on the wire.
    pub(crate) fn channel(&self, partition: usize, name: &str) -> RedisChannel {
        let tag = self.tag(partition);
        RedisChannel { name: [&self.prefix, tag, name].concat().into(), sharded: !tag.is_empty() }
    }

    /// The name of a channel on the wire, without prefix and hash tag.
    pub(crate) fn name<'a>(&self, channel: &'a [u8]) -> Option<&'a str> {
        let name = std::str::from_utf8(channel).ok()?.strip_prefix(self.prefix.as_str())?;
        if self.is_sharded()
            && !self.prefix.is_empty()
            && let Some(rest) = name.strip_prefix('{')
            && let Some((_, name)) = rest.split_once("}:")
        {
            return Some(name);
        }
        Some(name)
    }
}
