//! The promise to numbered messages of a topic with a history, after something happened.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use history::follower::Missed;
use history::log::Bounds;
use history::pattern::Pattern;
use history::position::Position;

use super::traffic::Traffic;
use super::{RedisServer, with};
use crate::broker::history::HistoryConfig;
use crate::broker::redis::RedisConfig;
use crate::engine::config::Config;
use crate::events::Event;
use crate::outcome::Status;
use crate::tests::harness::{Server, eventually};

/// More than any of these tests sends.
const KEPT: Bounds = Bounds { size: 100_000, ttl_ms: 600_000 };

/// A configuration in which everything is kept of all users and rooms.
pub(crate) fn keeping(redis: RedisConfig) -> Config {
    let rooms = vec![(Pattern::all(), Some(KEPT))];
    let history = HistoryConfig { users: Some(KEPT), rooms, trust_failover: false };
    Config { history, ..with(redis) }
}

/// Waits until a Redis, master or replica, has a topic with its messages, and nothing else.
pub(crate) fn await_kept(redis: &RedisServer) {
    const META_AND_LOG: u64 = 2;
    eventually("messages to be kept", || redis.ask::<u64>(&["DBSIZE"]) == META_AND_LOG);
}

/// The gaps in histories that a server has told of since it was last asked, without waiting.
pub(crate) fn misses(server: &Server) -> Vec<Missed> {
    let next = || {
        server.event_within(Duration::ZERO, |event| match event {
            Event::Missed { missed, .. } => Some(*missed),
            _ => None,
        })
    };
    std::iter::from_fn(next).collect()
}

impl Traffic {
    /// Every acknowledged message has come to both servers once and in its order, but for what lies in the gaps that these have told.
    pub(crate) fn expect_kept(&self, missed_here: &[Missed], missed_there: &[Missed]) {
        let places: HashSet<Position> = self.sent.iter().filter_map(|sent| sent.delivery.position).collect();
        assert_eq!(places.len(), self.count(Status::Published), "each has a place of its own");
        for (got, missed) in [(&self.here, missed_here), (&self.there, missed_there)] {
            let came: HashSet<usize> = got.iter().copied().collect();
            let mut seen = HashSet::new();
            let again: Vec<String> = got
                .iter()
                .enumerate()
                .filter(|(_, number)| !seen.insert(**number))
                .map(|(at, number)| {
                    let place = self.sent[*number].delivery.position.map(|place| place.to_string());
                    format!("{at}: {number} {place:?}")
                })
                .collect();
            assert_eq!(came.len(), got.len(), "twice: {again:?}, missed {missed:?}, order {got:?}");
            let mut last = HashMap::new();
            for number in got {
                let Some(place) = self.sent[*number].delivery.position else { continue };
                let before = last.insert((place.epoch, place.term), place.offset);
                assert!(before < Some(place.offset), "{number}: {place} came after {before:?}");
            }
            for (number, sent) in self.sent.iter().enumerate() {
                let Some(place) = sent.delivery.position else { continue };
                let is_told = || missed.iter().any(|missed| is_behind(missed, place));
                assert!(came.contains(&number) || is_told(), "{number}: {place} is missing: {missed:?}");
            }
        }
    }
}

/// True if a gap may have this place in it: Redis has lost what followed in the order of the last message that came.
fn is_behind(missed: &Missed, place: Position) -> bool {
    let is_of = |end: &Position| (end.epoch, end.term) == (place.epoch, place.term);
    match (missed.after.filter(is_of), missed.to.filter(is_of)) {
        (Some(after), _) => place.offset > after.offset,
        (None, Some(to)) => place.offset <= to.offset,
        (None, None) => false,
    }
}
