//! A topic's messages, in memory: gives positions and keeps the last messages.
//!
//! The memory broker's store, and what the script that does the same on Redis is compared with.

use std::collections::{HashMap, VecDeque};

use crate::meta::{MAX_TERMS, Meta};
use crate::position::{Epoch, Position, Term};

/// How much of a topic is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages. At least 1.
    pub size: u32,
    /// How long after the last one all of them are kept, in milliseconds.
    pub ttl_ms: u64,
}

/// Least time for which the topic's offset outlives its messages: a day. As long as it is known, a message that was missed is
/// told from none.
const META_MS: u64 = 24 * 60 * 60 * 1000;
/// Least time for which an idempotency key is known.
const KEY_MS: u64 = 5 * 60 * 1000;
/// Most idempotency keys of a topic. The oldest are forgotten before their time.
const MAX_KEYS: usize = 65_536;

impl Bounds {
    /// How long the topic's epoch and offset are kept after its last message, in milliseconds.
    pub fn meta_ms(self) -> u64 {
        self.ttl_ms.saturating_mul(8).max(META_MS)
    }

    /// How long an idempotency key is kept, in milliseconds.
    pub fn key_ms(self) -> u64 {
        self.ttl_ms.max(KEY_MS)
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is new, and to be handed on.
    New(Position),
    /// A message with its idempotency key has this position.
    Known(Position),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Log<T> {
    meta: Meta,
    /// The time of the last message, in Unix milliseconds.
    last: u64,
    bounds: Bounds,
    /// The last messages; the last one has the offset `meta.offset`.
    messages: VecDeque<T>,
    /// The positions that idempotency keys got.
    keys: HashMap<Box<str>, Position>,
    /// The same keys, the oldest first, and until when each is kept.
    expiries: VecDeque<(u64, Box<str>)>,
}

impl<T> Log<T> {
    /// A topic without messages. `epoch`: a name that it never had before.
    pub fn new(epoch: Epoch, term: Term, bounds: Bounds) -> Log<T> {
        let meta = Meta { epoch, offset: 0, terms: vec![(term, 1)] };
        Log {
            meta,
            last: 0,
            bounds,
            messages: VecDeque::new(),
            keys: HashMap::new(),
            expiries: VecDeque::new(),
        }
    }

    /// Gives a message the next position, and keeps it. `now`: Unix milliseconds.
    pub fn append(
        &mut self,
        term: Term,
        bounds: Bounds,
        now: u64,
        key: Option<&str>,
        message: T,
    ) -> Appended {
        self.expire(now);
        if let Some(position) = key.and_then(|key| self.keys.get(key)) {
            return Appended::Known(*position);
        }
        self.bounds = bounds;
        self.meta.offset += 1;
        self.last = now;
        if self.meta.terms[0].0 != term {
            self.meta.terms.insert(0, (term, self.meta.offset));
            self.meta.terms.truncate(MAX_TERMS);
        }
        self.messages.push_back(message);
        while self.messages.len() > bounds.size as usize {
            self.messages.pop_front();
        }
        let position = self.meta.last();
        if let Some(key) = key {
            self.keys.insert(key.into(), position);
            self.expiries.push_back((now.saturating_add(bounds.key_ms()), key.into()));
        }
        Appended::New(position)
    }

    /// Drops what is too old. `now`: Unix milliseconds.
    pub fn expire(&mut self, now: u64) {
        if now >= self.last.saturating_add(self.bounds.ttl_ms) {
            self.messages = VecDeque::new();
        }
        let is_old = |(until, _): &(u64, Box<str>)| now >= *until;
        while self.expiries.len() > MAX_KEYS || self.expiries.front().is_some_and(is_old) {
            let Some((_, key)) = self.expiries.pop_front() else { return };
            self.keys.remove(&key);
        }
    }

    /// True if nothing of it is worth keeping any more.
    pub fn is_over(&self, now: u64) -> bool {
        now >= self.last.saturating_add(self.bounds.meta_ms()) && self.keys.is_empty()
    }

    /// See [`Meta`].
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The kept messages from this offset on, with their offsets.
    pub fn read(&self, from: u64) -> impl Iterator<Item = (u64, &T)> {
        let first = self.meta.offset + 1 - self.messages.len() as u64;
        let skip = from.saturating_sub(first) as usize;
        (first..).zip(&self.messages).skip(skip)
    }
}
