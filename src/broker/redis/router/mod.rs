//! Everything that goes over Redis, in one place: which channels are subscribed, over which link each goes, and how the
//! links are.
//!
//! Names (users, rooms, channels) fall into [`PARTITIONS`](slots::PARTITIONS) partitions, and each partition belongs to one link:
//! that keeps a channel's messages in order. With a single Redis the links share the partitions; in a Redis Cluster a
//! partition is a hash tag, and its link is one to the master that owns the tag's slot. Channels that are not ours, and
//! the guide's, carry no tag: any master of a cluster serves them. They have as many partitions of their own, which do
//! not move with the slots.
//!
//! Locks have an order. A partition's is the first. One of these may be taken behind it: its link's pipeline's, the queue of
//! expiries', or that of the links' common state ([`links`]). A link's health comes next, and the sink's own locks, with the
//! registry's and the groups', are the last. A pipeline that gives up its rest tells the sink under its lock; no partition's is
//! taken there, for only a publish that was answered looks for others that it overtook.

pub(crate) mod counts;
pub(crate) mod followers;
mod links;
pub(crate) mod partition;
pub(crate) mod partitions;
pub(crate) mod routes;
pub(crate) mod slots;
pub(crate) mod subscriptions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use codes::error::Error;
use history::position::Place;
use tokio::sync::{Notify, oneshot};

use crate::broker::BrokerCounts;
use crate::broker::redis::config::RedisConfig;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::envelope;
use crate::broker::redis::failure::closed;
use crate::broker::redis::sink::Sink;
use crate::broker::redis::wire::tls::Tls;
use crate::registry::gathered::Gathered;
use crate::worker::inbox::Inbox;
use crate::worker::quota::Quota;
use crate::worker::thread::WorkerThread;
use counts::{Counts, count};
use links::Links;
use partitions::Partitions;
use routes::Routes;
use subscriptions::Subscriptions;

/// See the module. Its parts share the partitions; matters of several of them are here.
#[derive(Debug)]
pub(crate) struct SubscriptionRouter {
    pub config: RedisConfig,
    pub tls: Tls,
    /// Random name of this server.
    pub node: String,
    pub partitions: Arc<Partitions>,
    pub subscriptions: Subscriptions,
    pub routes: Routes,
    pub links: Links,
    pub counts: Arc<Counts>,
    pub sink: Arc<dyn Sink>,
    /// Of the workers that links run on.
    inboxes: Vec<Arc<Inbox>>,
    next_inbox: AtomicU32,
    over: Notify,
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
        let inboxes = workers.iter().map(|worker| worker.inbox.clone()).collect();
        let partitions = Arc::new(Partitions::new(prefix));
        SubscriptionRouter {
            tls: Tls::of(&config),
            subscriptions: Subscriptions::new(
                partitions.clone(),
                sink.clone(),
                config.grace,
                config.history.clone(),
            ),
            routes: Routes::new(partitions.clone(), sink.clone(), quota, config.command_timeout),
            links: Links::new(sink.clone(), counts.clone()),
            node,
            partitions,
            counts,
            sink,
            inboxes,
            next_inbox: AtomicU32::new(0),
            over: Notify::new(),
            config,
        }
    }

    /// The worker that the next link is to run on.
    pub(crate) fn next_worker(&self) -> &Arc<Inbox> {
        let next = self.next_inbox.fetch_add(1, Ordering::Relaxed) as usize;
        &self.inboxes[next % self.inboxes.len()]
    }

    /// True once everything is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.partitions.is_closed()
    }

    /// See [`Subscriptions::subscribe`].
    pub(crate) fn subscribe(&self, name: &str) -> Result<Option<oneshot::Receiver<Place>>, ()> {
        self.subscriptions.subscribe(name, || !self.links.is_in_trouble())
    }

    /// See [`Routes::assign`].
    pub(crate) fn assign(&self, index: usize, link: Option<Arc<Link>>) -> Vec<oneshot::Receiver<Place>> {
        self.routes.assign(index, link, &self.subscriptions)
    }

    /// See [`Links::await_ready`].
    pub(crate) fn await_ready(&self, ticket: u64) -> bool {
        let is_ready = self.links.await_ready(ticket);
        // A close that came meanwhile may have overlooked it.
        if !is_ready && self.is_closed() {
            self.links.fail_waiting(&closed());
        }
        is_ready
    }

    /// A message came over a link.
    pub(crate) fn message(&self, channel: &[u8], payload: &[u8], link: &Arc<Link>, gathered: &mut Gathered) {
        count(&self.counts.received);
        match self.partitions.name(channel) {
            // Late messages of a slot's old master would overtake, or repeat, what came from the new one.
            Some(name)
                if self.partitions.is_sharded()
                    && !self.partitions.all[self.partitions.home(name)].lock().is_of(link) => {}
            Some(name) => match envelope::read_position(payload) {
                Some((position, message)) if !self.partitions.has_foreign_channels() => {
                    self.subscriptions.on_message(name, position, message, link, gathered);
                }
                None if payload.starts_with(envelope::CONTROL)
                    && self.subscriptions.has_histories()
                    && self.subscriptions.hold(name, payload, link) => {}
                _ => self.sink.message(name, payload, None, gathered),
            },
            None => self.sink.ignored("a channel's name is not UTF-8"),
        }
    }

    /// The embedder takes messages again.
    pub(crate) fn resume(&self) {
        self.links.all().iter().for_each(|link| link.pipeline.nudge());
    }

    /// Completes when the router is closed.
    pub(crate) async fn closing(&self) {
        while !self.is_closed() {
            self.over.notified().await;
        }
    }

    /// Waits for answers that are due, at most so long. Blocks.
    pub(crate) fn await_answers(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.routes.pending() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends all links, and answers whoever waits for one.
    pub(crate) fn close(&self) {
        self.partitions.close();
        self.partitions.stale.notify_one();
        self.over.notify_one();
        self.links.all().iter().for_each(|link| link.retire());
        self.links.fail_waiting(&closed());
        for partition in &self.partitions.all {
            let (waiters, moving) = {
                let mut guard = partition.lock();
                let topics = guard.topics.values_mut();
                let waiters: Vec<_> = topics.flat_map(|topic| std::mem::take(&mut topic.waiters)).collect();
                (waiters, guard.moving.take())
            };
            self.subscriptions.answer(waiters, &Err(closed()));
            for parked in moving.into_iter().flatten() {
                self.routes.give_up(parked);
            }
        }
    }

    /// A reading of the counters.
    pub(crate) fn read_counts(&self) -> BrokerCounts {
        BrokerCounts {
            subscriptions: self.subscriptions.len(),
            pending: self.routes.pending(),
            pending_bytes: self.routes.quota.used() as u64,
            ..self.counts.read()
        }
    }

    /// An attempt to find out where Redis is failed.
    pub(crate) fn lost_track(&self, error: Error) {
        self.links.set_trouble(Some(error.clone()));
        if self.links.all().is_empty() {
            self.subscriptions.begin_all_gaps();
        }
        self.report(None);
        self.links.fail_waiting(&error);
    }

    /// A link works. [`Routes::unpark`] is to follow.
    pub(crate) fn link_up(&self, link: &Link) {
        link.health.go_up();
        self.report(self.subscriptions.end_gap());
    }

    /// A link is slow to answer.
    pub(crate) fn link_late(&self, link: &Link, error: Error) {
        link.health.fall_behind(error);
        self.report(self.subscriptions.end_gap());
    }

    /// A link is no longer slow to answer.
    pub(crate) fn link_caught_up(&self, link: &Link) {
        link.health.catch_up();
        self.report(self.subscriptions.end_gap());
    }

    /// A link has failed, or has failed to come up.
    pub(crate) fn link_down(&self, link: &Arc<Link>, error: Error) {
        if link.health.go_down(error.clone()) {
            // Also before the first time up: a connection that was accepted while there was nothing to subscribe to has a gap.
            self.subscriptions.unconfirm(link);
        }
        self.report(None);
        self.links.fail_waiting(&error);
    }

    /// Tells of a gap if subscriptions that were lost are all there again.
    pub(crate) fn report_regained(&self) {
        let gap = self.subscriptions.end_gap();
        if gap.is_some() {
            self.report(gap);
        }
    }

    /// See [`Links::report`].
    pub(crate) fn report(&self, gap: Option<u64>) {
        if !self.is_closed() {
            self.links.report(gap);
        }
    }
}
