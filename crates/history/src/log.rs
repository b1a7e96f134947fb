//! A topic's messages, in memory: gives positions and keeps the last messages.
//!
//! The memory broker's store, and what the script that does the same on Redis is compared with.

use std::collections::{HashMap, VecDeque};

use crate::meta::{MAX_TERMS, Meta};
use crate::position::{Epoch, Position, Term};

/// The bounds of what is kept of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages. At least 1.
    pub size: u32,
    /// Milliseconds for which all of them are kept after the last one.
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
    /// Milliseconds for which the topic's epoch and offset are kept after its last message.
    pub fn meta_ms(self) -> u64 {
        self.ttl_ms.saturating_mul(8).max(META_MS)
    }

    /// Milliseconds for which an idempotency key is kept.
    pub fn key_ms(self) -> u64 {
        self.ttl_ms.max(KEY_MS)
    }
}

/// The outcome of an append.
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
        // One that it had before is that of a publisher which has not noticed yet that the store's is another.
        if self.meta.terms.iter().all(|(known, _)| *known != term) {
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
        if self.keys.is_empty() && self.keys.capacity() > 0 {
            (self.keys, self.expiries) = Default::default();
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::tests::names::{at, epoch, meta, term};

    const BOUNDS: Bounds = Bounds { size: 3, ttl_ms: 1000 };

    fn log() -> Log<u64> {
        Log::new(epoch('e'), term('a'), BOUNDS)
    }

    fn append(log: &mut Log<u64>, now: u64, key: Option<&str>, message: u64) -> Appended {
        log.append(term('a'), BOUNDS, now, key, message)
    }

    fn kept(log: &Log<u64>, from: u64) -> Vec<(u64, u64)> {
        log.read(from).map(|(offset, message)| (offset, *message)).collect()
    }

    #[test]
    fn the_last_messages_are_kept_exactly() {
        let mut log = log();
        assert_eq!(kept(&log, 1), []);
        for n in 1..=5 {
            assert_eq!(append(&mut log, 0, None, 10 * n), Appended::New(Position { offset: n, ..at("ea1") }));
        }
        assert_eq!(kept(&log, 0), [(3, 30), (4, 40), (5, 50)]);
        assert_eq!(kept(&log, 3), kept(&log, 0));
        assert_eq!(kept(&log, 5), [(5, 50)]);
        assert_eq!((kept(&log, 6), kept(&log, u64::MAX)), (vec![], vec![]));
        // Another server may have other bounds.
        log.append(term('a'), Bounds { size: 1, ..BOUNDS }, 0, None, 60);
        assert_eq!(kept(&log, 1), [(6, 60)]);
    }

    #[test]
    fn messages_end_their_time_after_the_last_one_and_the_offset_lives_on() {
        let mut log = log();
        append(&mut log, 5000, None, 10);
        append(&mut log, 5999, None, 20);
        log.expire(6998);
        assert_eq!(kept(&log, 1).len(), 2);
        log.expire(6999);
        assert_eq!((kept(&log, 1), log.meta()), (vec![], &meta("e 2 a@1")));
        assert_eq!(append(&mut log, 7000, None, 30), Appended::New(at("ea3")));
        assert_eq!(kept(&log, 1), [(3, 30)]);
    }

    #[test]
    fn a_topic_is_over_a_day_or_eight_times_its_messages_time_after_the_last_one() {
        const DAY: u64 = 86_400_000;
        for (ttl_ms, meta_ms) in [(1000, DAY), (DAY / 8, DAY), (DAY, 8 * DAY), (u64::MAX, u64::MAX)] {
            assert_eq!(Bounds { size: 1, ttl_ms }.meta_ms(), meta_ms);
        }
        let mut log = log();
        append(&mut log, 5000, Some("key"), 10);
        log.expire(5000 + DAY - 1);
        assert!(!log.is_over(5000 + DAY - 1));
        assert!(log.is_over(5000 + DAY));
    }

    #[test]
    fn a_key_answers_with_its_position_for_five_minutes_or_as_long_as_messages_live() {
        const MINUTES: u64 = 60_000;
        assert_eq!(BOUNDS.key_ms(), 5 * MINUTES);
        assert_eq!(Bounds { ttl_ms: 6 * MINUTES, ..BOUNDS }.key_ms(), 6 * MINUTES);
        let mut log = log();
        assert_eq!(append(&mut log, 0, Some("k"), 10), Appended::New(at("ea1")));
        // Its message is gone, the key is not.
        for n in 0..5 {
            append(&mut log, 0, None, n);
        }
        log.append(term('b'), BOUNDS, 1, None, 70);
        assert_eq!(append(&mut log, 5 * MINUTES - 1, Some("k"), 11), Appended::Known(at("ea1")));
        assert_eq!(log.meta().offset, 7, "a known one takes no offset");
        // Under the present term: the one that the publisher names is over.
        assert_eq!(append(&mut log, 5 * MINUTES - 1, Some("K"), 11), Appended::New(at("eb8")));
        assert_eq!(append(&mut log, 5 * MINUTES, Some("k"), 12), Appended::New(at("eb9")));
        assert_eq!(append(&mut log, 5 * MINUTES, Some("k"), 13), Appended::Known(at("eb9")));
    }

    #[test]
    fn the_oldest_keys_make_room() {
        let mut log = log();
        let keys = MAX_KEYS as u64 + 10;
        for n in 0..keys {
            append(&mut log, 0, Some(&n.to_string()), n);
        }
        log.expire(0);
        assert_eq!((log.keys.len(), log.expiries.len()), (MAX_KEYS, MAX_KEYS));
        assert_eq!(append(&mut log, 0, Some("10"), 0), Appended::Known(at("ea11")));
        let mut later = log.clone();
        later.expire(BOUNDS.key_ms());
        assert_eq!((later.keys.capacity(), later.expiries.capacity()), (0, 0), "their memory is free");
        assert_eq!(
            append(&mut log, 0, Some("9"), 0),
            Appended::New(Position { offset: keys + 1, ..at("ea1") })
        );
    }

    #[test]
    fn each_new_term_is_noted_and_the_oldest_forgotten() {
        let mut log = log();
        for (n, letter) in ('a'..='j').enumerate() {
            let next = Position { term: term(letter), offset: 2 * n as u64 + 1, ..at("ea1") };
            assert_eq!(log.append(term(letter), BOUNDS, 0, None, 0), Appended::New(next));
            log.append(term(letter), BOUNDS, 0, None, 0);
        }
        assert_eq!(log.meta(), &meta("e 20 j@19 i@17 h@15 g@13 f@11 e@9 d@7 c@5"));
        assert_eq!(log.meta().to_string().parse(), Ok(log.meta().clone()));
    }
}
