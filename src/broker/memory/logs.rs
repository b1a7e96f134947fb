//! The histories of a single server's topics.

use std::hash::{BuildHasher, RandomState};
use std::sync::Weak;
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use history::log::{Appended, Bounds, Log};
use history::position::{Position, Term};
use parking_lot::Mutex;
use protocol::frame::Message;

use crate::broker::history::{Epochs, no_page, page, resume};
use crate::broker::page_request::PageRequest;
use crate::outcome::{HistoryPage, KeptMessage};
use crate::registry::recipients::{Topic, TopicName};
use crate::time_of_day::unix_ms;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

/// Parts that have a lock each.
const SHARDS: usize = 64;
/// Between two looks for messages that are too old.
const SWEEP: Duration = Duration::from_secs(5);

/// The kind and the bytes of a message.
type Kept = (bool, Box<[u8]>);
type Shard = HashMap<TopicName, Log<Kept>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Logs {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    epochs: Epochs,
    term: Option<Term>,
}

impl Logs {
    pub(super) fn new() -> Logs {
        let epochs = Epochs::new();
        Logs {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            term: Term::new(&epochs.next()),
            epochs,
        }
    }

    fn shard(&self, topic: Topic<'_>) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(topic) as usize % SHARDS]
    }

    /// Gives a message its place, keeps it, and has it delivered before the topic's next one. Answers the place, and what
    /// `deliver` does; `None` for that if a message with the same key was published before.
    pub(super) fn publish<T>(
        &self,
        topic: Topic<'_>,
        bounds: Bounds,
        key: Option<&str>,
        message: Message<'_>,
        deliver: impl FnOnce(Position) -> T,
    ) -> Option<(Position, Option<T>)> {
        let term = self.term?;
        let mut shard = self.shard(topic).lock();
        let log = match shard.entry_ref(&topic) {
            EntryRef::Occupied(log) => log.into_mut(),
            EntryRef::Vacant(place) => place.insert(Log::new(self.epochs.next_epoch()?, term, bounds)),
        };
        let kept = (matches!(message, Message::Text(_)), message.payload().into());
        Some(match log.append(term, bounds, unix_ms(), key, kept) {
            Appended::New(position) => (position, Some(deliver(position))),
            Appended::Known(position) => (position, None),
        })
    }

    /// Reads messages of a topic, at least one.
    pub(super) fn read(&self, topic: Topic<'_>, request: PageRequest) -> HistoryPage {
        let PageRequest { after, limit, bytes: most_bytes } = request;
        let mut shard = self.shard(topic).lock();
        let Some(log) = shard.get_mut(&topic) else { return no_page(after) };
        log.expire(unix_ms());
        let meta = log.meta();
        // Its term never changes.
        let resume = resume(meta, after, false);
        let mut rest = log.read(resume.from).peekable();
        let mut bytes = 0;
        let mut messages: Vec<KeptMessage> = Vec::new();
        while messages.len() < limit.max(1) as usize
            && bytes < most_bytes
            && let Some((offset, (is_text, payload))) = rest.next()
        {
            bytes += payload.len();
            let (position, is_text, payload) = (meta.at(offset), *is_text, payload.clone());
            messages.push(KeptMessage { position, is_text, payload });
        }
        let ends = messages.first().zip(messages.last());
        let found = ends.map(|(first, last)| (first.position.offset, last.position.offset));
        page(meta, after, resume, found, messages, rest.peek().is_some())
    }

    /// The position of a topic's last message, be it kept or not.
    pub(super) fn last(&self, topic: Topic<'_>) -> Option<Position> {
        let shard = self.shard(topic).lock();
        shard.get(&topic).map(|log| log.meta().last()).filter(|last| last.offset > 0)
    }

    /// Drops what is too old in a part. `now`: Unix milliseconds.
    fn sweep(&self, shard: usize, now: u64) {
        let mut shard = self.shards[shard].lock();
        shard.retain(|_, log| {
            log.expire(now);
            !log.is_over(now)
        });
        if shard.len() * 8 < shard.capacity() {
            let len = shard.len();
            shard.shrink_to(len * 2);
        }
    }
}

/// Drops what is too old, from time to time, for as long as there is somebody to keep it for.
pub(crate) async fn sweep(logs: Weak<Logs>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(logs) = logs.upgrade() else { return };
        for shard in 0..SHARDS {
            logs.sweep(shard, unix_ms());
            tokio::task::yield_now().await;
        }
    }
}
