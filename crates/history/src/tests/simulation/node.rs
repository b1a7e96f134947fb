use std::collections::VecDeque;

use crate::log::{Appended, Bounds, Log};
use crate::meta::{MAX_TERMS, Meta};
use crate::position::{Epoch, Position, Term};

use super::plan::KEY_MS;
use super::witness::Stamp;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    Replica,
    Down,
}

/// The data: the same on a replica.
#[derive(Clone)]
pub(super) enum Effect {
    Append {
        topic: usize,
        term: Term,
        epoch: Epoch,
        now: u64,
        key: Option<u32>,
        id: u32,
    },
    /// An old server is there: a message without position.
    End {
        topic: usize,
        now: u64,
        key: Option<u32>,
        id: u32,
    },
    Flush,
}

/// A topic as the store has it, and as it should be.
#[derive(Clone)]
pub(super) struct Topic {
    log: Log<u32>,
    pub(super) epoch: Epoch,
    /// All messages of the epoch.
    pub(super) ids: Vec<u32>,
    last: u64,
    /// The terms that the store knows, the newest last, and how many there were.
    known_terms: VecDeque<Term>,
    terms: usize,
    /// So many of them passed their time.
    expired: u64,
}

/// An idempotency key that the store should know: its topic, since when, its message.
#[derive(Clone, Copy)]
pub(super) struct Key {
    topic: usize,
    key: u32,
    since: u64,
    pub(super) id: u32,
    /// No log has it: it came without position, or its log is gone.
    is_apart: bool,
}

#[derive(Clone)]
pub(super) struct Stored {
    pub(super) topics: Vec<Option<Topic>>,
    pub(super) keys: Vec<Key>,
}

/// A server of the store.
pub(super) struct Node {
    pub(super) role: Role,
    pub(super) term: Term,
    pub(super) stored: Stored,
    pub(super) saved: Stored,
    /// The data went elsewhere, and it is a master still.
    pub(super) is_idle: bool,
    /// Old servers that subscribe here.
    pub(super) olds: usize,
    /// Writes that its replica does not have yet.
    pub(super) behind: VecDeque<Effect>,
}

impl Topic {
    fn expired(&self, now: u64, bounds: Bounds) -> u64 {
        if now >= self.last + bounds.ttl_ms { self.ids.len() as u64 } else { self.expired }
    }
}

impl Stored {
    pub(super) fn new(topics: usize) -> Stored {
        Stored { topics: vec![None; topics], keys: Vec::new() }
    }

    pub(super) fn key(&self, topic: usize, key: u32, now: u64) -> Option<Key> {
        let known = self.keys.iter().find(|known| known.topic == topic && known.key == key).copied();
        known.filter(|known| now < known.since + KEY_MS)
    }

    /// Drops what is too old. Answers how many topics were forgotten.
    pub(super) fn expire(&mut self, now: u64) -> u64 {
        let mut forgotten = 0;
        self.keys.retain(|key| now < key.since + KEY_MS);
        for topic in &mut self.topics {
            if let Some(known) = topic {
                known.log.expire(now);
                if known.log.is_over(now) {
                    *topic = None;
                    forgotten += 1;
                }
            }
        }
        forgotten
    }

    /// Answers what an append says.
    pub(super) fn apply(&mut self, effect: &Effect, bounds: Bounds) -> Option<Appended> {
        match *effect {
            Effect::Append { topic, term, epoch, now, key, id } => {
                self.expire(now);
                if let Some(known) = key.and_then(|key| self.key(topic, key, now))
                    && known.is_apart
                {
                    return None;
                }
                let text = key.map(|key| format!("k{key}"));
                let slot = &mut self.topics[topic];
                let known = slot.get_or_insert_with(|| Topic {
                    log: Log::new(epoch, term, bounds),
                    epoch,
                    ids: Vec::new(),
                    last: now,
                    known_terms: VecDeque::new(),
                    terms: 0,
                    expired: 0,
                });
                let appended = known.log.append(term, bounds, now, text.as_deref(), id);
                if let Appended::New(_) = appended {
                    known.expired = known.expired(now, bounds);
                    known.ids.push(id);
                    // One that it knows is that of a master which it has come back to: the newest goes on.
                    if !known.known_terms.contains(&term) {
                        known.known_terms.push_back(term);
                        let forgotten = known.known_terms.len().saturating_sub(MAX_TERMS);
                        known.known_terms.drain(..forgotten);
                        known.terms += 1;
                    }
                    known.last = now;
                    self.keys.extend(key.map(|key| Key { topic, key, since: now, id, is_apart: false }));
                }
                Some(appended)
            }
            Effect::End { topic, now, key, id } => {
                self.expire(now);
                self.topics[topic] = None;
                let apart = self.keys.iter_mut().filter(|key| key.topic == topic);
                apart.for_each(|key| key.is_apart = true);
                self.keys.extend(key.map(|key| Key { topic, key, since: now, id, is_apart: true }));
                None
            }
            Effect::Flush => {
                *self = Stored::new(self.topics.len());
                None
            }
        }
    }

    pub(super) fn meta(&self, topic: usize) -> Option<&Meta> {
        self.topics[topic].as_ref().map(|topic| topic.log.meta())
    }

    pub(super) fn read(&self, topic: usize, from: u64, most: usize) -> (Vec<(u64, u32)>, bool) {
        let Some(topic) = &self.topics[topic] else { return (Vec::new(), true) };
        let mut rest = topic.log.read(from).map(|(offset, id)| (offset, *id));
        let page = rest.by_ref().take(most).collect();
        (page, rest.next().is_none())
    }

    pub(super) fn stamp(&self, topic: usize, next: u32, now: u64, bounds: Bounds) -> Stamp {
        let Some(topic) = &self.topics[topic] else {
            return Stamp { next, epoch: None, tip: None, kept: 1, terms: 0 };
        };
        let count = topic.ids.len() as u64;
        let kept = count.saturating_sub(bounds.size.into()).max(topic.expired(now, bounds)) + 1;
        Stamp { next, epoch: Some(topic.epoch), tip: topic.ids.last().copied(), kept, terms: topic.terms }
    }

    /// The offset at which a topic should be.
    pub(super) fn end(&self, topic: usize) -> Option<(Epoch, u64)> {
        self.topics[topic].as_ref().map(|topic| (topic.epoch, topic.ids.len() as u64))
    }
}

/// The offset that a position should have: one more than there were messages.
pub(super) fn is_place_of(position: Position, topic: &Topic) -> bool {
    let term = topic.known_terms.back().copied();
    let place = term.map(|term| Position { epoch: topic.epoch, term, offset: topic.ids.len() as u64 });
    place == Some(position)
}
