//! Everything that goes over Redis, in one place: which channels are subscribed, over which link each goes, and how the
//! links are.
//!
//! Names (users, rooms, channels) fall into [`PARTITIONS`] partitions, and each partition belongs to one link: that
//! keeps a channel's messages in order. With a single Redis the links share the partitions; in a Redis Cluster a
//! partition is a hash tag, and its link is one to the master that owns the tag's slot. Channels that are not ours, and
//! the guide's, carry no tag: any master of a cluster serves them. They have as many partitions of their own, which do
//! not move with the slots.

pub(crate) mod health;
pub(crate) mod partition;
mod routes;
pub(crate) mod slots;
mod subscriptions;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::runtime;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::BrokerCounts;
use crate::broker::redis::asker::Asker;
use crate::broker::redis::clock;
use crate::broker::redis::config::RedisConfig;
use crate::broker::redis::connection::command::{self, Channel, Command, Pending};
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::connection::pipeline::NotAdded;
use crate::broker::redis::connection::reply::Settled;
use crate::broker::redis::failure::closed;
use crate::broker::redis::sink::{Outcome, Sink};
use crate::broker::redis::wire::resp;
use crate::broker::redis::wire::tls::Tls;
use crate::registry::gathered::Gathered;
use crate::worker::inbox::Inbox;
use crate::worker::quota::Quota;
use crate::worker::thread::WorkerThread;
use health::HealthReporter;
use partition::{Parked, Partition};
use slots::{PARTITIONS, TAGS, partition_of};

/// The channel that all servers listen on, the guide's too. They know no shards.
pub(crate) const SHARED: &str = "messages";

/// Where links run.
#[derive(Clone, Debug)]
pub(crate) struct Runner {
    pub runtime: runtime::Handle,
    pub inbox: Arc<Inbox>,
}

/// Counters that several threads write.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub published: AtomicU64,
    pub local: AtomicU64,
    pub uncertain: AtomicU64,
    pub received: AtomicU64,
    pub ignored: AtomicU64,
    pub gaps: AtomicU64,
    pub unconfirmed: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SubscriptionRouter {
    pub config: RedisConfig,
    pub tls: Tls,
    /// What all channels begin with.
    pub(crate) prefix: String,
    /// Random name of this server.
    pub node: String,
    /// Set when a server has said whether it belongs to a cluster.
    sharded: OnceLock<bool>,
    /// First those with a hash tag, then as many without.
    pub(crate) partitions: Box<[Mutex<Partition>]>,
    /// Publishes of each partition without an answer. Outside of its lock: a link that closes counts them down.
    pub(crate) in_flight: Box<[AtomicU32]>,
    /// Bytes that wait for Redis, of all links together.
    pub quota: Arc<Quota>,
    /// Publishes that wait for their partition to be found.
    parked: AtomicUsize,
    pub(crate) links: Mutex<Vec<Arc<Link>>>,
    pub(crate) expiries: Mutex<VecDeque<(Instant, Box<str>)>>,
    pub reporter: HealthReporter,
    pub counts: Arc<Counts>,
    pub sink: Arc<dyn Sink>,
    runners: Vec<Runner>,
    next_place: AtomicU32,
    /// When it began. Times are of [`clock`].
    pub(crate) began: u64,
    /// Up to then the Sentinels named the master that the links are connected to.
    pub(crate) agreed: AtomicU64,
    /// Up to then others may publish to a master that was replaced.
    pub(crate) stragglers: AtomicU64,
    closed: AtomicBool,
    /// The topology should be looked at again.
    pub stale: Notify,
    over: Notify,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl SubscriptionRouter {
    /// A router without links. For the thread that [`Tls::of`] is for.
    pub(crate) fn new(
        config: RedisConfig,
        prefix: String,
        node: String,
        sink: Arc<dyn Sink>,
        counts: Arc<Counts>,
        quota: Arc<Quota>,
        workers: &[WorkerThread],
    ) -> SubscriptionRouter {
        let runners = workers
            .iter()
            .map(|worker| Runner { runtime: worker.runtime.clone(), inbox: worker.inbox.clone() })
            .collect();
        SubscriptionRouter {
            tls: Tls::of(&config),
            prefix,
            node,
            sharded: OnceLock::new(),
            partitions: (0..2 * PARTITIONS).map(|_| Mutex::default()).collect(),
            in_flight: (0..2 * PARTITIONS).map(|_| AtomicU32::new(0)).collect(),
            quota,
            parked: AtomicUsize::new(0),
            links: Mutex::default(),
            expiries: Mutex::default(),
            reporter: HealthReporter::default(),
            counts,
            sink,
            runners,
            next_place: AtomicU32::new(0),
            began: clock::now(),
            agreed: AtomicU64::new(u64::MAX),
            stragglers: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            stale: Notify::new(),
            over: Notify::new(),
            config,
        }
    }

    /// True if the Redis is a cluster; false until that is known.
    pub(crate) fn is_sharded(&self) -> bool {
        self.sharded.get().copied().unwrap_or(false)
    }

    /// Sets what [`SubscriptionRouter::is_sharded`] answers.
    pub(crate) fn set_sharded(&self, sharded: bool) {
        let _ = self.sharded.set(sharded);
    }

    /// True if channels are the embedder's, and named by it; ours have a prefix.
    pub(crate) fn has_foreign_channels(&self) -> bool {
        self.prefix.is_empty()
    }

    /// The next place for a link.
    pub(crate) fn runner(&self) -> Runner {
        let next = self.next_place.fetch_add(1, Ordering::Relaxed) as usize;
        self.runners[next % self.runners.len()].clone()
    }

    /// True once everything is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The partition of a name that is given in pieces: a kind, if it has one, and what is told apart by it.
    fn partition(&self, [kind, id]: [&str; 2]) -> usize {
        let name = if id.is_empty() { kind } else { id };
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

    fn tag(&self, partition: usize) -> &'static str {
        TAGS.get(partition).filter(|_| self.is_sharded()).map_or("", |tag| tag.text.as_str())
    }

    /// A channel as it is on the wire.
    pub(crate) fn channel(&self, partition: usize, name: &str) -> Channel {
        let tag = self.tag(partition);
        Channel { name: [&self.prefix, tag, name].concat().into(), sharded: !tag.is_empty() }
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

    // Publishing.

    /// Adds a publish. `name` and `payload` are given in pieces.
    ///
    /// # Errors
    /// See [`NotAdded`].
    pub(crate) fn publish(&self, name: [&str; 2], payload: &[&[u8]], asker: Asker) -> Result<(), NotAdded> {
        let partition = self.partition(name);
        let tag = self.tag(partition);
        let [kind, id] = name.map(str::as_bytes);
        self.add(partition, Command::Ask(asker), |out| {
            let channel = [self.prefix.as_bytes(), tag.as_bytes(), kind, id];
            command::publish(out, !tag.is_empty(), &channel, payload);
        })
    }

    /// Adds a publish on a channel that is not ours: no prefix, no hash tag.
    ///
    /// # Errors
    /// See [`NotAdded`].
    pub(crate) fn publish_raw(&self, channel: &str, payload: &[u8], asker: Asker) -> Result<(), NotAdded> {
        self.add(partition_of(channel) + PARTITIONS, Command::Ask(asker), |out| {
            command::publish(out, false, &[channel.as_bytes()], &[payload]);
        })
    }

    /// Asks how many subscribers a channel has.
    ///
    /// # Errors
    /// See [`NotAdded`].
    pub(crate) fn count_subscribers(&self, name: &str, asker: Asker) -> Result<(), NotAdded> {
        let partition = self.home(name);
        let channel = self.channel(partition, name);
        // Both go the same way.
        let mut guard = self.partitions[partition].lock();
        if channel.sharded {
            // A node that the slot is not on counts none. It says where the slot is only if asked to publish.
            let nobody = self.channel(partition, "nobody");
            self.add_to(&mut guard, partition, Command::Ask(Asker::Nobody), |out| {
                command::publish(out, true, &[nobody.name.as_bytes()], &[]);
            })?;
        }
        self.add_to(&mut guard, partition, Command::Ask(asker), |out| {
            command::count_subscribers(out, &channel);
        })
    }

    fn add(&self, index: usize, command: Command, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), NotAdded> {
        self.add_to(&mut self.partitions[index].lock(), index, command, encode)
    }

    fn add_to(
        &self,
        partition: &mut Partition,
        index: usize,
        command: Command,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NotAdded> {
        if self.is_closed() {
            return Err(NotAdded::Down(command));
        }
        if let Some(moving) = &mut partition.moving {
            if self.quota.is_used_up(command.asker().is_some_and(Asker::is_client)) {
                return Err(NotAdded::Full(command));
            }
            let mut bytes = Vec::new();
            encode(&mut bytes);
            self.enter(&bytes);
            moving.added.push_back(Parked { bytes, command, since: Instant::now() });
            return Ok(());
        }
        let Some(link) = &partition.link else { return Err(NotAdded::Down(command)) };
        // Before it can be answered.
        self.in_flight[index].fetch_add(1, Ordering::AcqRel);
        let added = link.pipeline.add(index, command, None, encode);
        if added.is_err() {
            self.landed(index);
        }
        added
    }

    pub(crate) fn landed(&self, partition: usize) {
        self.in_flight[partition].fetch_sub(1, Ordering::AcqRel);
    }

    /// A publish or question is answered, or won't be. `bytes` is the command.
    pub(crate) fn settle(&self, pending: Pending, bytes: &[u8], outcome: Settled) {
        let partition = usize::from(pending.partition);
        let Command::Ask(asker) = pending.command else { return };
        if matches!(outcome, Settled::Number(_)) && asker.is_message() {
            self.give_up_overtaken(partition);
        }
        self.landed(partition);
        self.tell(asker, bytes, outcome);
    }

    pub(crate) fn tell(&self, asker: Asker, bytes: &[u8], outcome: Settled) {
        let outcome = match outcome {
            Settled::Number(number) => Outcome::Number(number),
            Settled::Refused(error) => Outcome::Refused(error),
            Settled::Uncertain => Outcome::Uncertain,
            Settled::Unsent => {
                let publish = resp::read_publish(bytes);
                Outcome::Unsent(publish.and_then(|(channel, payload)| Some((self.name(channel)?, payload))))
            }
        };
        self.sink.settle(asker, outcome);
    }

    /// A publish begins to wait for its partition to be found.
    pub(crate) fn enter(&self, bytes: &[u8]) {
        self.parked.fetch_add(1, Ordering::AcqRel);
        self.quota.take(bytes.len());
    }

    /// A publish no longer waits for that.
    pub(crate) fn leave(&self, bytes: &[u8]) {
        self.parked.fetch_sub(1, Ordering::AcqRel);
        self.quota.give_back(bytes.len());
    }

    /// True if any publish waits for that.
    pub(crate) fn has_parked(&self) -> bool {
        self.parked.load(Ordering::Acquire) > 0
    }

    /// A publish that waited for its partition to be found won't leave.
    pub(crate) fn give_up(&self, Parked { bytes, command, .. }: Parked) {
        self.leave(&bytes);
        if let Command::Ask(asker) = command {
            self.tell(asker, &bytes, Settled::Unsent);
        }
    }

    // Receiving.

    /// A message came over a link.
    pub(crate) fn message(&self, channel: &[u8], payload: &[u8], link: &Arc<Link>, gathered: &mut Gathered) {
        count(&self.counts.received);
        match self.name(channel) {
            // Late messages of a slot's old master would overtake, or repeat, what came from the new one.
            Some(name) if self.is_sharded() && !self.partitions[self.home(name)].lock().is_of(link) => {}
            Some(name) => self.sink.message(name, payload, gathered),
            None => self.sink.ignored("a channel's name is not UTF-8"),
        }
    }

    /// The embedder takes messages again.
    pub(crate) fn resume(&self) {
        self.links.lock().iter().for_each(|link| link.pipeline.nudge());
    }

    /// Completes when the router is closed.
    pub(crate) async fn closing(&self) {
        while !self.is_closed() {
            self.over.notified().await;
        }
    }

    /// Ends all links, and answers whoever waits for one.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.stale.notify_one();
        self.over.notify_one();
        self.links.lock().iter().for_each(|link| link.retire());
        self.fail_waiting(&closed());
        for partition in &self.partitions {
            let (waiters, moving) = {
                let mut guard = partition.lock();
                let topics = guard.topics.values_mut();
                let waiters: Vec<_> = topics.flat_map(|topic| std::mem::take(&mut topic.waiters)).collect();
                (waiters, guard.moving.take())
            };
            self.answer(waiters, &Err(closed()));
            for parked in moving.into_iter().flatten() {
                self.give_up(parked);
            }
        }
    }

    /// Publishes without an answer: under way, or parked.
    fn pending(&self) -> u64 {
        let parked = || self.parked.load(Ordering::SeqCst) as u64;
        let before = parked();
        let under_way = self.in_flight.iter().map(|count| u64::from(count.load(Ordering::SeqCst)));
        let under_way: u64 = under_way.sum();
        // One that goes from one to the other meanwhile is counted there first, so that it is seen at least once.
        under_way + before.max(parked())
    }

    /// A reading of the counters.
    pub(crate) fn read_counts(&self) -> BrokerCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        BrokerCounts {
            subscriptions: self.partitions.iter().map(|partition| partition.lock().topics.len() as u64).sum(),
            pending: self.pending(),
            pending_bytes: self.quota.used() as u64,
            published: get(&counts.published),
            local: get(&counts.local),
            uncertain: get(&counts.uncertain),
            received: get(&counts.received),
            ignored: get(&counts.ignored),
            gaps: get(&counts.gaps),
            unconfirmed: get(&counts.unconfirmed),
        }
    }
}
