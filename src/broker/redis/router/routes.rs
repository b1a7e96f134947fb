//! The links that partitions go over, and the publishes that wait while that changes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use history::position::Place;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::partition::{Moving, Parked, Partition};
use super::partitions::Partitions;
use super::slots::{PARTITIONS, partition_of};
use super::subscriptions::{NEWS, Subscriptions};
use crate::broker::redis::asker::{Asker, HistoryQuestion};
use crate::broker::redis::connection::command::{self, Asked};
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::connection::pipeline::NotAdded;
use crate::broker::redis::connection::reply::CommandOutcome;
use crate::broker::redis::connection::script::{self, Keep, TopicKeys};
use crate::broker::redis::sink::Sink;
use crate::broker::redis::wire::resp;
use crate::worker::quota::Quota;
use crate::worker::scheduler::{Budget, charge};

/// Parked publishes that others may wait for until they go, or are given up.
const FEW: usize = 100;
/// The cost of one of them, as [`charge`] counts.
const PARKED: u64 = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Routes {
    partitions: Arc<Partitions>,
    sink: Arc<dyn Sink>,
    /// Bytes that wait for Redis, of all links together.
    pub quota: Arc<Quota>,
    /// The longest wait of a publish for its partition to be found.
    patience: Duration,
    /// Publishes of each partition without an answer. Outside of its lock: a link that closes counts them down.
    in_flight: Box<[AtomicU32]>,
    /// Publishes that wait for their partition to be found.
    parked: AtomicUsize,
}

impl Routes {
    pub(crate) fn new(
        partitions: Arc<Partitions>,
        sink: Arc<dyn Sink>,
        quota: Arc<Quota>,
        patience: Duration,
    ) -> Routes {
        let in_flight = (0..2 * PARTITIONS).map(|_| AtomicU32::new(0)).collect();
        Routes { partitions, sink, quota, patience, in_flight, parked: AtomicUsize::new(0) }
    }

    /// Adds a publish. `name` and `payload` are given in pieces.
    ///
    /// # Errors
    /// See [`NotAdded`].
    pub(crate) fn publish(&self, name: [&str; 2], payload: &[&[u8]], asker: Asker) -> Result<(), NotAdded> {
        let partition = self.partitions.partition(name);
        let tag = self.partitions.tag(partition);
        let [kind, id] = name.map(str::as_bytes);
        self.add(&mut self.partitions.all[partition].lock(), partition, asker, |out| {
            let channel = [self.partitions.prefix.as_bytes(), tag.as_bytes(), kind, id];
            command::publish(out, !tag.is_empty(), &channel, payload);
        })
    }

    /// Adds a publish that gives the message its position. `name` and `payload` are given in pieces.
    ///
    /// # Errors
    /// See [`NotAdded`].
    pub(crate) fn publish_kept(
        &self,
        name: [&str; 2],
        payload: &[&[u8]],
        keep: Keep<'_>,
        asker: Asker,
    ) -> Result<(), NotAdded> {
        let partition = self.partitions.partition(name);
        let tag = self.partitions.tag(partition);
        let topic = TopicKeys { prefix: &self.partitions.prefix, tag, name };
        self.add(&mut self.partitions.all[partition].lock(), partition, asker, |out| {
            script::publish(out, topic, payload, keep);
        })
    }

    /// Asks for messages of a topic. The session asks for few at once: their answers come between messages that others wait for.
    ///
    /// # Errors
    /// See [`NotAdded`].
    pub(crate) fn read(&self, question: Box<HistoryQuestion>) -> Result<(), NotAdded> {
        let index = self.partitions.home(&question.name);
        let guard = self.partitions.all[index].lock();
        let link = guard.link.as_ref().filter(|link| link.health.is_up() && !self.partitions.is_closed());
        let Some(link) = link else { return Err(NotAdded::Down(Asker::History(question))) };
        self.in_flight[index].fetch_add(1, Ordering::AcqRel);
        if let Err(question) = link.ask_history(index, question) {
            self.landed(index);
            return Err(NotAdded::Full(Asker::History(question)));
        }
        link.pipeline.nudge();
        Ok(())
    }

    /// Adds a publish on a channel that is not ours: no prefix, no hash tag.
    ///
    /// # Errors
    /// See [`NotAdded`].
    pub(crate) fn publish_raw(&self, channel: &str, payload: &[u8], asker: Asker) -> Result<(), NotAdded> {
        let partition = partition_of(channel) + PARTITIONS;
        self.add(&mut self.partitions.all[partition].lock(), partition, asker, |out| {
            command::publish(out, false, &[channel.as_bytes()], &[payload]);
        })
    }

    /// Asks how many subscribers a channel has, for the embedder's `ticket`.
    ///
    /// # Errors
    /// See [`NotAdded`].
    pub(crate) fn count_subscribers(&self, name: &str, ticket: u64) -> Result<(), NotAdded> {
        let partition = self.partitions.home(name);
        let channel = self.partitions.channel(partition, name);
        // Both go the same way.
        let mut guard = self.partitions.all[partition].lock();
        if channel.sharded {
            // A node that the slot is not on counts none. It says where the slot is only if asked to publish.
            let nobody = self.partitions.channel(partition, "nobody");
            self.add(&mut guard, partition, Asker::Nobody, |out| {
                command::publish(out, true, &[nobody.name.as_bytes()], &[]);
            })?;
        }
        self.add(&mut guard, partition, Asker::Subscribers { ticket }, |out| {
            command::count_subscribers(out, &channel);
        })
    }

    fn add(
        &self,
        partition: &mut Partition,
        index: usize,
        asker: Asker,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NotAdded> {
        if self.partitions.is_closed() {
            return Err(NotAdded::Down(asker));
        }
        if let Some(moving) = &mut partition.moving {
            if self.quota.is_used_up(asker.is_client()) {
                return Err(NotAdded::Full(asker));
            }
            let mut bytes = Vec::new();
            encode(&mut bytes);
            self.enter(&bytes);
            moving.added.push_back(Parked { bytes, asker, since: Instant::now() });
            return Ok(());
        }
        let Some(link) = &partition.link else { return Err(NotAdded::Down(asker)) };
        // Before it can be answered.
        self.in_flight[index].fetch_add(1, Ordering::AcqRel);
        let added = link.pipeline.add(index, asker, None, encode);
        if added.is_err() {
            self.landed(index);
        }
        added
    }

    /// A publish or question of a partition is no longer under way.
    fn landed(&self, partition: usize) {
        self.in_flight[partition].fetch_sub(1, Ordering::AcqRel);
    }

    /// A publish or question is answered, or won't be. `bytes` is the command.
    pub(crate) fn settle(
        &self,
        Asked { asker, partition, .. }: Asked,
        bytes: &[u8],
        outcome: CommandOutcome,
    ) {
        let is_taken = matches!(outcome, CommandOutcome::Number(_) | CommandOutcome::Placed { .. });
        if is_taken && asker.is_message() {
            self.give_up_overtaken(partition, asker.is_kept());
        }
        self.landed(partition);
        self.tell(asker, bytes, outcome);
    }

    fn tell(&self, asker: Asker, bytes: &[u8], outcome: CommandOutcome) {
        let is_unsent = matches!(outcome, CommandOutcome::Unsent);
        let publish = match &asker {
            _ if !is_unsent => None,
            asker if asker.is_kept() => script::read_publish(bytes),
            _ => resp::read_publish(bytes),
        };
        let publish = publish.and_then(|(channel, payload)| Some((self.partitions.name(channel)?, payload)));
        self.sink.settle(asker, outcome, publish);
    }

    /// A publish begins to wait for its partition to be found.
    fn enter(&self, bytes: &[u8]) {
        self.parked.fetch_add(1, Ordering::AcqRel);
        self.quota.take(bytes.len());
    }

    /// A publish no longer waits for that.
    fn leave(&self, bytes: &[u8]) {
        self.parked.fetch_sub(1, Ordering::AcqRel);
        self.quota.give_back(bytes.len());
    }

    /// True if any publish waits for that.
    pub(crate) fn has_parked(&self) -> bool {
        self.parked.load(Ordering::Acquire) > 0
    }

    /// A publish that waited for its partition to be found won't leave.
    pub(crate) fn give_up(&self, Parked { bytes, asker, .. }: Parked) {
        self.leave(&bytes);
        self.tell(asker, &bytes, CommandOutcome::Unsent);
    }

    /// Gives a partition to a link. Answers the confirmations that it waits for, if it was elsewhere or its
    /// subscriptions were dropped.
    pub(crate) fn assign(
        &self,
        index: usize,
        link: Option<Arc<Link>>,
        subscriptions: &Subscriptions,
    ) -> Vec<oneshot::Receiver<Place>> {
        let mut guard = self.partitions.all[index].lock();
        let same = guard.link.as_ref().map(Arc::as_ptr) == link.as_ref().map(Arc::as_ptr);
        let revoked = std::mem::replace(&mut guard.revoked, false);
        if guard.link.is_none() && link.is_none() {
            // A cluster that has no master for it, from the beginning.
            guard.lost_since.get_or_insert(subscriptions.began);
        }
        if same && !revoked {
            return Vec::new();
        }
        let old = std::mem::replace(&mut guard.link, link);
        if let Some(old) = &old {
            let since = subscriptions.proven(old).saturating_sub(NEWS);
            guard.lost_since.get_or_insert(since);
        }
        let mut awaited = Vec::new();
        for topic in guard.topics.values_mut() {
            topic.invalidate();
            awaited.push(topic.task());
        }
        let Partition { topics, link, .. } = &mut *guard;
        if let Some(link) = link {
            for (name, topic) in topics {
                topic.go_over(link, index, self.partitions.channel(index, name));
            }
            // A link that is not on yet subscribes to everything when it is.
        }
        if let Some(old) = old.as_ref().filter(|_| !same) {
            for name in guard.topics.keys() {
                old.pipeline.unsubscribe(index, self.partitions.channel(index, name));
            }
            // All that was published over the old link has to be answered before the new one may publish.
            if self.in_flight[index].load(Ordering::Acquire) > 0 && guard.moving.is_none() {
                guard.moving = Some(Moving::default());
            }
        }
        awaited
    }

    /// The link of a partition.
    pub(crate) fn link_of(&self, index: usize) -> Option<Arc<Link>> {
        self.partitions.all[index].lock().link.clone()
    }

    /// A publish was refused because its partition lies elsewhere: it waits, and so do those that are added after it.
    pub(crate) fn park(&self, Asked { asker, partition: index, since }: Asked, bytes: &[u8], link: &Link) {
        let now = Instant::now();
        let parked = Parked { bytes: bytes.to_vec(), asker, since: since.unwrap_or(now) };
        self.enter(bytes);
        {
            let mut guard = self.partitions.all[index].lock();
            if self.partitions.is_closed() {
                drop(guard);
                self.landed(index);
                return self.give_up(parked);
            }
            let moving = guard.moving.get_or_insert_default();
            moving.refuser = Some((link.number, now));
            moving.goes = None;
            moving.refused.push_back(parked);
        }
        // Only now: no other that waits may leave before this one waits too.
        self.landed(index);
        self.partitions.stale.notify_one();
    }

    /// A message of this partition was taken, so those that were refused before it have lost their place: sent again they
    /// would come behind it. Between messages with a place in a history and others there is no order to lose: a server that is no
    /// master any more takes the latter and refuses the former.
    fn give_up_overtaken(&self, index: usize, is_kept: bool) {
        if !self.has_parked() {
            return;
        }
        let overtaken: VecDeque<Parked> = {
            let mut guard = self.partitions.all[index].lock();
            let Some(moving) = &mut guard.moving else { return };
            let (overtaken, others) = std::mem::take(&mut moving.refused)
                .into_iter()
                .partition(|Parked { asker, .. }| asker.is_message() && asker.is_kept() == is_kept);
            moving.refused = others;
            overtaken
        };
        overtaken.into_iter().for_each(|parked| self.give_up(parked));
    }

    /// True if a partition's publishes wait for it to be found.
    pub(crate) fn is_parked(&self, index: usize) -> bool {
        self.partitions.all[index].lock().moving.is_some()
    }

    /// Lets parked publishes go that have a link again; those that waited too long are given up. A turn's work at a time.
    pub(crate) async fn unpark(&self) {
        let mut budget = Budget::begin();
        for index in 0..2 * PARTITIONS {
            while self.unpark_few(index) {
                if budget.is_spent() {
                    yield_now().await;
                    budget = Budget::begin();
                }
            }
        }
        self.sink.relieved();
    }

    /// The same for a few of a partition. Publishes that come meanwhile wait behind them. True if there are more.
    fn unpark_few(&self, index: usize) -> bool {
        let mut guard = self.partitions.all[index].lock();
        let Partition { link, moving, .. } = &mut *guard;
        let Some(waiting) = moving else { return false };
        // Publishes that are still under way over the old link must not be overtaken.
        let free = || self.in_flight[index].load(Ordering::Acquire) == 0;
        let link =
            link.as_ref().filter(|link| waiting.may_go_over(link) && (waiting.goes_over(link) || free()));
        if link.is_none() && !waiting.has_expired(self.patience) {
            return false;
        }
        waiting.goes = link.map(|link| link.number);
        waiting.given_up = link.is_none();
        for _ in 0..FEW {
            let Some(Parked { bytes, asker, since }) = waiting.next() else {
                *moving = None;
                return false;
            };
            charge(PARKED);
            let Some(link) = link else {
                self.give_up(Parked { bytes, asker, since });
                continue;
            };
            self.in_flight[index].fetch_add(1, Ordering::AcqRel);
            let added = link.pipeline.add(index, asker, Some(since), |out| out.extend_from_slice(&bytes));
            if let Err(NotAdded::Down(asker) | NotAdded::Full(asker)) = added {
                self.landed(index);
                self.give_up(Parked { bytes, asker, since });
            } else {
                self.leave(&bytes);
            }
        }
        true
    }

    /// Partitions are between two links.
    pub(crate) fn is_moving(&self) -> bool {
        (0..2 * PARTITIONS).any(|index| self.is_parked(index))
    }

    /// Publishes without an answer: under way, or parked.
    pub(crate) fn pending(&self) -> u64 {
        let parked = || self.parked.load(Ordering::SeqCst) as u64;
        let before = parked();
        let under_way = self.in_flight.iter().map(|count| u64::from(count.load(Ordering::SeqCst)));
        let under_way: u64 = under_way.sum();
        // One that goes from one to the other meanwhile is counted there first, so that it is seen at least once.
        under_way + before.max(parked())
    }
}

#[cfg(test)]
mod tests;
