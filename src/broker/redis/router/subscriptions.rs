//! Subscriptions: those that are wanted, those that are confirmed, and since when one may have been missing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use codes::error::{Code, Error, quote};
use history::position::Place;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::partition::{Partition, Subscription, Waiter};
use super::partitions::Partitions;
use crate::broker::history::HistoryConfig;
use crate::broker::redis::clock;
use crate::broker::redis::connection::command::RedisChannel;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::envelope::{CONTROL_CHANNEL, FORMAT_CHANNEL};
use crate::broker::redis::sink::Sink;
use crate::worker::scheduler::{Budget, charge};

/// Of a takeover everybody knows within so many milliseconds: the master that it was taken from, in a cluster, and all
/// servers of ours, behind Sentinels. Until then both masters are published to.
pub(crate) const NEWS: u64 = 1000;

/// Subscriptions that nobody needs any more may be so many. Beyond that the oldest are dropped before their time: a client that
/// comes and goes, or joins and leaves, can't pile up more.
const UNUSED: usize = 16 * 1024;

/// The cost of a subscription whose time has come, as [`charge`] counts.
const EXPIRY: u64 = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    pub(super) partitions: Arc<Partitions>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) history: HistoryConfig,
    /// Keeps one so long that nobody needs.
    grace: Duration,
    /// Those that nobody needs, and until when.
    expiries: Mutex<VecDeque<(Instant, Box<str>)>>,
    /// Those that control messages wait in, one entry for each, in the order in which they came.
    pub(super) holding: Mutex<VecDeque<(Instant, Box<str>)>>,
    /// Its beginning. Times are of [`clock`].
    pub began: u64,
    /// Up to then the Sentinels named the master that the links are connected to.
    agreed: AtomicU64,
    /// Up to then others may publish to a master that was replaced.
    stragglers: AtomicU64,
}

impl Subscriptions {
    pub(crate) fn new(
        partitions: Arc<Partitions>,
        sink: Arc<dyn Sink>,
        grace: Duration,
        history: HistoryConfig,
    ) -> Subscriptions {
        Subscriptions {
            partitions,
            sink,
            history,
            grace,
            expiries: Mutex::default(),
            holding: Mutex::default(),
            began: clock::now(),
            agreed: AtomicU64::new(u64::MAX),
            stragglers: AtomicU64::new(0),
        }
    }

    /// The number of them.
    pub(crate) fn len(&self) -> u64 {
        self.partitions.all.iter().map(|partition| partition.lock().topics.len() as u64).sum()
    }

    /// Subscribes to a channel for as long as the process lives.
    pub(crate) fn pin(&self, name: &str) {
        let partition = self.partitions.home(name);
        let mut guard = self.partitions.all[partition].lock();
        let mut topic = Subscription::default();
        if let Some(link) = &guard.link {
            topic.go_over(link, partition, self.partitions.channel(partition, name));
        }
        guard.topics.insert(name.into(), topic);
    }

    /// Subscribes to a channel, if that is not done yet. Some: what to wait for. Err: nothing can be expected soon, and
    /// until the link is back messages may pass by.
    /// `is_hopeful`: there may soon be a link, if there is none.
    pub(crate) fn subscribe(
        &self,
        name: &str,
        is_hopeful: impl FnOnce() -> bool,
    ) -> Result<Option<oneshot::Receiver<Place>>, ()> {
        let partition = self.partitions.home(name);
        let mut guard = self.partitions.all[partition].lock();
        let Partition { topics, link, .. } = &mut *guard;
        let now = clock::now();
        let mut fresh = false;
        let topic = topics.entry_ref(name).or_insert_with(|| {
            fresh = true;
            Subscription { asked: Some(now), ..Subscription::default() }
        });
        if topic.confirmed {
            return Ok(None);
        }
        if fresh && let Some(link) = link {
            topic.go_over(link, partition, self.partitions.channel(partition, name));
        }
        let hopeful = match link {
            Some(link) => link.health.is_hopeful(),
            None => is_hopeful(),
        };
        if hopeful {
            return Ok(Some(topic.task()));
        }
        guard.begin_gap(now);
        Err(())
    }

    /// Subscribes to an ordinary channel, now or when there is a link. True if that is done already; otherwise the ticket
    /// is settled when it is, however long that takes.
    pub(crate) fn cover_for(&self, name: &str, ticket: u64) -> bool {
        let partition = self.partitions.home(name);
        let mut guard = self.partitions.all[partition].lock();
        let Partition { topics, link, .. } = &mut *guard;
        let fresh = !topics.contains_key(name);
        let topic = topics.entry_ref(name).or_default();
        if topic.confirmed {
            return true;
        }
        topic.waiters.push(Waiter::Ticket(ticket));
        if fresh && let Some(link) = link {
            topic.go_over(link, partition, self.partitions.channel(partition, name));
        }
        false
    }

    /// Somebody listens who didn't wait for the confirmation: until it is there, messages may pass by.
    pub(crate) fn note_unconfirmed(&self, name: &str) {
        let mut guard = self.partitions.all[self.partitions.home(name)].lock();
        if guard.topics.get(name).is_some_and(|topic| !topic.confirmed) {
            guard.begin_gap(clock::now());
        }
    }

    /// Drops a subscription at once.
    pub(crate) fn drop_topic(&self, name: &str) {
        let partition = self.partitions.home(name);
        let topic = {
            let mut guard = self.partitions.all[partition].lock();
            let Some(topic) = guard.topics.remove(name) else { return };
            if let Some(link) = &guard.link {
                link.pipeline.unsubscribe(partition, self.partitions.channel(partition, name));
            }
            topic
        };
        let why = "the subscription was dropped before it was confirmed";
        self.answer(topic.waiters, &Err(Error::new(Code::Closed, why)));
    }

    /// The login may not listen on a channel, which was asked for with this take.
    ///
    /// # Errors
    /// It is one of ours, which all begin alike: it is the login that is wrong.
    pub(crate) fn forbidden(&self, channel: &str, take: u64, error: Error) -> Result<(), Error> {
        if !self.partitions.has_foreign_channels() {
            return Err(error);
        }
        let text = format!("the login may not listen on channel {}: {}", quote(channel), error.message);
        let error = Error::new(error.kind, text);
        let mut guard = self.partitions.all[self.partitions.home(channel)].lock();
        // It may have been dropped since, and asked for again.
        if guard.topics.get(channel).is_none_or(|topic| take < topic.take) {
            return Ok(());
        }
        let Some(topic) = guard.topics.remove(channel) else { return Ok(()) };
        if topic.heard {
            // Under the lock, so that it is told before whatever becomes of a later subscription.
            self.sink.forbidden(channel, error.clone());
        }
        drop(guard);
        self.answer(topic.waiters, &Err(error));
        Ok(())
    }

    pub(crate) fn answer(&self, waiters: Vec<Waiter>, outcome: &Result<Place, Error>) {
        for waiter in waiters {
            match (waiter, outcome) {
                (Waiter::Ticket(ticket), outcome) => self.sink.ready(vec![ticket], outcome.clone().map(drop)),
                // The others see that nobody is left to tell them.
                (Waiter::Task(confirm), Ok(place)) => drop(confirm.send(*place)),
                (Waiter::Task(_), Err(_)) => {}
            }
        }
    }

    /// Drops a subscription, some time from now, if nobody is interested then.
    pub(crate) fn unsubscribe(&self, name: &str) {
        let expires = Instant::now() + self.grace;
        let mut guard = self.partitions.all[self.partitions.home(name)].lock();
        let Some(topic) = guard.topics.get_mut(name) else { return };
        // One entry in the queue per subscription, however often its members come and go.
        if topic.expires.replace(expires).is_none() {
            self.expiries.lock().push_back((expires, name.into()));
        }
    }

    /// Drops the subscriptions whose time has come, and those beyond [`UNUSED`], and applies control messages that have waited
    /// long enough. A turn's work at a time.
    pub(crate) async fn expire(&self, now: Instant) {
        self.release_held(now);
        let mut budget = Budget::begin();
        while self.expire_next(now) {
            charge(EXPIRY);
            if budget.is_spent() {
                yield_now().await;
                budget = Budget::begin();
            }
        }
    }

    /// False if there is none.
    fn expire_next(&self, now: Instant) -> bool {
        let (name, early) = {
            let mut expiries = self.expiries.lock();
            let early = expiries.len() > UNUSED;
            if !early && expiries.front().is_none_or(|(at, _)| *at > now) {
                return false;
            }
            let Some((_, name)) = expiries.pop_front() else { return false };
            (name, early)
        };
        let partition = self.partitions.home(&name);
        let mut guard = self.partitions.all[partition].lock();
        let Some(topic) = guard.topics.get_mut(&name) else { return true };
        // Under the lock: a recipient that becomes interested now finds no topic, and subscribes anew.
        if self.sink.in_use(&name) {
            topic.expires = None;
            return true;
        }
        // Its last member has left again since, and the grace is for that.
        if let Some(later) = topic.expires.filter(|expires| !early && *expires > now) {
            self.expiries.lock().push_back((later, name));
            return true;
        }
        guard.topics.remove(&name);
        if guard.topics.capacity() > 64 && guard.topics.len() < guard.topics.capacity() / 8 {
            let len = guard.topics.len();
            guard.topics.shrink_to(len * 2);
        }
        if let Some(link) = &guard.link {
            link.pipeline.unsubscribe(partition, self.partitions.channel(partition, &name));
        }
        true
    }

    /// The channels of a partition, if it is this link's, which is about to subscribe to them anew, before its first take.
    pub(crate) fn channels_of(&self, link: &Arc<Link>, index: usize) -> Vec<(u16, RedisChannel)> {
        let mut guard = self.partitions.all[index].lock();
        if !guard.is_of(link) {
            return Vec::new();
        }
        let channels = guard.topics.iter_mut().map(|(name, topic)| {
            topic.invalidate();
            topic.take = 0;
            let is_first = [FORMAT_CHANNEL, CONTROL_CHANNEL].contains(&&**name);
            (is_first, (index as u16, self.partitions.channel(index, name)))
        });
        let mut channels: Vec<_> = channels.collect();
        // In one command: who listens on the one and not on the other looks like a server of before, or hides one.
        channels.sort_by_key(|(is_first, _)| !is_first);
        channels.into_iter().map(|(_, channel)| channel).collect()
    }

    /// A channel that the link can publish to itself on, and its partition.
    pub(crate) fn probe_channel(&self, link: &Arc<Link>, node: &str) -> Option<(u16, RedisChannel)> {
        let owned = self.partitions.all.iter().position(|partition| partition.lock().is_of(link))?;
        let name = format!("probe:{node}:{}", link.number);
        Some((owned as u16, self.partitions.channel(owned, &name)))
    }

    /// A subscription over a link that went out with this take is confirmed.
    pub(crate) fn confirmed(&self, channel: &[u8], link: &Arc<Link>, take: u64) {
        let Some(name) = self.partitions.name(channel) else { return };
        let waiters = {
            let mut guard = self.partitions.all[self.partitions.home(name)].lock();
            // A link that it was taken from may still confirm what it was asked before.
            if !guard.is_of(link) {
                return;
            }
            let Some(topic) = guard.topics.get_mut(name) else { return };
            // Of an earlier subscription that was dropped since: Redis may drop it before it comes to this one.
            if take < topic.take {
                return;
            }
            if self.follow(name, topic, link) {
                // It counts as confirmed once it is known how far the topic is: from then on nothing is missed unnoticed.
                return;
            }
            guard.confirm(name)
        };
        self.answer(waiters, &Ok(Place::Unknown));
    }

    /// The server of a link has ended a subscription, or does not take one.
    pub(crate) fn revoked(&self, partition: usize, link: &Arc<Link>) {
        let mut guard = self.partitions.all[partition].lock();
        if !guard.is_of(link) {
            return;
        }
        guard.topics.values_mut().for_each(Subscription::invalidate);
        guard.revoked = true;
        guard.begin_gap(self.proven(link).saturating_sub(NEWS));
        self.partitions.stale.notify_one();
    }

    /// The partition of a subscription that has ended, if it was wanted.
    pub(crate) fn wanted(&self, channel: &[u8]) -> Option<usize> {
        let name = self.partitions.name(channel)?;
        let partition = self.partitions.home(name);
        self.partitions.all[partition].lock().topics.contains_key(name).then_some(partition)
    }

    /// A link is down: no subscription over it is confirmed any more, and messages that were published since it was last
    /// proven may not have arrived.
    pub(crate) fn unconfirm(&self, link: &Arc<Link>) {
        self.begin_gaps(self.proven(link), |partition| partition.is_of(link));
    }

    /// There has not been a Redis yet: nothing that was published since the beginning has arrived.
    pub(crate) fn begin_all_gaps(&self) {
        self.begin_gaps(self.began, |_| true);
    }

    fn begin_gaps(&self, since: u64, is_lost: impl Fn(&Partition) -> bool) {
        for partition in &self.partitions.all {
            let mut guard = partition.lock();
            if is_lost(&guard) {
                guard.begin_gap(since);
                guard.topics.values_mut().for_each(Subscription::unconfirm);
            }
        }
    }

    /// Up to this time no Sentinel named another master.
    pub(crate) fn set_agreed(&self, time: u64) {
        self.agreed.store(time, Ordering::Release);
    }

    /// Another server is the master: the last to notice may still publish to the old one for a while.
    pub(crate) fn expect_stragglers(&self) {
        self.stragglers.store(clock::now() + NEWS, Ordering::Release);
    }

    /// Messages that were published before this time have arrived, if they were to come over this link.
    pub(crate) fn proven(&self, link: &Link) -> u64 {
        link.proven().min(self.agreed.load(Ordering::Acquire))
    }

    /// Of the partitions that are subscribed again, links and all: since when messages may have been lost.
    pub(crate) fn end_gap(&self) -> Option<u64> {
        if clock::now() < self.stragglers.load(Ordering::Acquire) {
            return None;
        }
        let mut gap: Option<u64> = None;
        for partition in &self.partitions.all {
            let mut guard = partition.lock();
            let Some(since) = guard.lost_since else { continue };
            if guard.link.as_ref().is_some_and(|link| link.health.is_up())
                && !guard.revoked
                && guard.topics.values().all(|topic| topic.confirmed)
            {
                guard.lost_since = None;
                if !guard.topics.is_empty() {
                    gap = Some(gap.map_or(since, |gap| gap.min(since)));
                }
            }
        }
        gap
    }
}
