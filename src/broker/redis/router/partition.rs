//! A share of the channels: which are subscribed, the link that they go over, and what waits while that is another one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use history::follower::Follower;
use history::position::Place;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::broker::redis::asker::Asker;
use crate::broker::redis::clock;
use crate::broker::redis::connection::command::RedisChannel;
use crate::broker::redis::connection::link::Link;

/// A confirmation that took longer, in milliseconds, is told of as a gap: not everybody has waited for it.
const SOON: u64 = 1000;
/// Between two attempts to publish over a link that says that a slot lies elsewhere, and is said to have it.
const PERSISTENCE: Duration = Duration::from_millis(200);

/// One who waits for a subscription to be confirmed.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// A task, for as long as the link lives.
    Task(oneshot::Sender<Place>),
    /// The embedder, for as long as it takes.
    Ticket(u64),
}

/// A subscription.
#[derive(Debug, Default)]
pub(crate) struct Subscription {
    /// Nothing is missed unnoticed.
    pub confirmed: bool,
    /// Redis has confirmed it, and how far the topic is may still have to be found out.
    pub listening: bool,
    /// It was confirmed before, perhaps over an earlier link.
    pub heard: bool,
    /// With which take of its link's pipeline it goes out, or went: see `Pipeline::subscribe`.
    pub take: u64,
    /// Since when it is wanted, until it is confirmed for the first time.
    pub asked: Option<u64>,
    pub waiters: Vec<Waiter>,
    /// The progress of what was handed on, if the topic has a history.
    pub follower: Option<Box<Follower>>,
    /// Control messages that came while messages before them may still have to be read, and when each came.
    pub held: Vec<(Instant, Box<[u8]>)>,
    /// When it is dropped if nobody is interested then; it is in the router's queue for that.
    pub expires: Option<Instant>,
}

impl Subscription {
    /// Something to wait for.
    pub(crate) fn task(&mut self) -> oneshot::Receiver<Place> {
        let (confirm, confirmed) = oneshot::channel();
        self.waiters.push(Waiter::Task(confirm));
        confirmed
    }

    /// It is to be subscribed over this link, with its next take.
    pub(crate) fn go_over(&mut self, link: &Link, partition: usize, channel: RedisChannel) {
        self.take = link.pipeline.subscribe(partition, channel);
    }

    /// It may not be there any more.
    pub(crate) fn invalidate(&mut self) {
        self.confirmed = false;
        self.listening = false;
    }

    /// Its link is down.
    pub(crate) fn unconfirm(&mut self) {
        self.invalidate();
        self.waiters.retain(|waiter| matches!(waiter, Waiter::Ticket(_)));
    }
}

/// A publish that waits for its partition to arrive at another link.
#[derive(Debug)]
pub(crate) struct Parked {
    pub bytes: Vec<u8>,
    pub asker: Asker,
    /// Since when it waits.
    pub since: Instant,
}

/// Publishes that wait while a partition goes from one link to another.
#[derive(Debug, Default)]
pub(crate) struct Moving {
    /// Refused by the link that had the partition; they come before what was added since.
    pub refused: VecDeque<Parked>,
    pub added: VecDeque<Parked>,
    /// That link, and when it last refused one.
    pub refuser: Option<(usize, Instant)>,
    /// The link that the first ones have gone over, so that the others may follow.
    pub goes: Option<usize>,
    /// The first ones were given up, so that the others have to be.
    pub given_up: bool,
}

impl Moving {
    /// True if a link may be tried: not at once the one that has just refused.
    pub(crate) fn may_go_over(&self, link: &Link) -> bool {
        link.health.is_up()
            && !link.is_retired()
            && self.refuser.is_none_or(|(number, at)| number != link.number || at.elapsed() > PERSISTENCE)
    }

    /// True if the first ones have gone over this link.
    pub(crate) fn goes_over(&self, link: &Link) -> bool {
        self.goes == Some(link.number)
    }

    /// True if those that wait are to be given up: the first one has waited too long, or was given up.
    pub(crate) fn has_expired(&self, patience: Duration) -> bool {
        let first = self.refused.front().or(self.added.front());
        self.given_up || first.is_some_and(|parked| parked.since.elapsed() > patience)
    }
}

/// Everything that waits, in its order.
impl Iterator for Moving {
    type Item = Parked;

    fn next(&mut self) -> Option<Parked> {
        self.refused.pop_front().or_else(|| self.added.pop_front())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub topics: HashMap<Box<str>, Subscription>,
    pub link: Option<Arc<Link>>,
    pub moving: Option<Moving>,
    /// The link's server has dropped the subscriptions: its slot went elsewhere.
    pub revoked: bool,
    /// Messages since this time may not have arrived. Until it has a link that is up
    /// and all subscriptions are confirmed.
    pub lost_since: Option<u64>,
}

impl Partition {
    pub(crate) fn is_of(&self, link: &Arc<Link>) -> bool {
        self.link.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, link))
    }

    /// A subscription is there, and what was published before it is known. Answers who has waited for that.
    pub(crate) fn confirm(&mut self, name: &str) -> Vec<Waiter> {
        let Some(topic) = self.topics.get_mut(name) else { return Vec::new() };
        topic.confirmed = true;
        topic.heard = true;
        let waiters = std::mem::take(&mut topic.waiters);
        let asked = topic.asked.take();
        if let Some(asked) = asked.filter(|asked| clock::now().saturating_sub(*asked) > SOON) {
            self.begin_gap(asked);
        }
        waiters
    }

    /// Messages since then may not have arrived.
    pub(crate) fn begin_gap(&mut self, since: u64) {
        self.lost_since = Some(self.lost_since.map_or(since, |known| known.min(since)));
    }
}
