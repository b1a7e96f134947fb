//! Which link each partition goes over, and what becomes of publishes while that changes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::SubscriptionRouter;
use super::partition::{Moving, Parked, Partition};
use super::slots::PARTITIONS;
use super::subscriptions::NEWS;
use crate::broker::redis::connection::command::Pending;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::connection::pipeline::NotAdded;
use crate::worker::scheduler::{Budget, charge};

/// Parked publishes that others may wait for until they go, or are given up.
const FEW: usize = 100;
/// The cost of one of them, as [`charge`] counts.
const PARKED: u64 = 8;

impl SubscriptionRouter {
    /// The links.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.links.lock().clone()
    }

    /// A link is missing.
    pub(crate) fn is_ailing(&self) -> bool {
        self.links.lock().iter().any(|link| !link.health.is_up() && !link.is_retired())
    }

    /// Takes a link in.
    pub(crate) fn add_link(&self, link: Arc<Link>) {
        self.links.lock().push(link);
    }

    /// Forgets a link that is over.
    pub(crate) fn remove_link(&self, link: &Arc<Link>) {
        self.links.lock().retain(|other| !Arc::ptr_eq(other, link));
    }

    /// Gives a partition to a link. Answers the confirmations that it waits for, if it was elsewhere or its
    /// subscriptions were dropped.
    pub(crate) fn assign(&self, index: usize, link: Option<Arc<Link>>) -> Vec<oneshot::Receiver<()>> {
        let mut guard = self.partitions[index].lock();
        let same = match (&guard.link, &link) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        let revoked = std::mem::replace(&mut guard.revoked, false);
        if guard.link.is_none() && link.is_none() {
            // A cluster that has no master for it, from the beginning.
            guard.lost_since.get_or_insert(self.began);
        }
        if same && !revoked {
            return Vec::new();
        }
        let old = std::mem::replace(&mut guard.link, link);
        if let Some(old) = &old {
            let since = self.proven(old).saturating_sub(NEWS);
            guard.lost_since.get_or_insert(since);
        }
        let mut awaited = Vec::new();
        for topic in guard.topics.values_mut() {
            topic.confirmed = false;
            awaited.push(topic.task());
        }
        let Partition { topics, link, .. } = &mut *guard;
        if let Some(link) = link {
            for (name, topic) in topics {
                topic.go_over(link, index, self.channel(index, name));
            }
            // A link that is not on yet subscribes to everything when it is.
        }
        if let Some(old) = old.as_ref().filter(|_| !same) {
            for name in guard.topics.keys() {
                old.pipeline.unsubscribe(index, self.channel(index, name));
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
        self.partitions[index].lock().link.clone()
    }

    /// A publish was refused because its partition lies elsewhere: it waits, and what is added after it too.
    pub(crate) fn park(&self, pending: Pending, bytes: &[u8], link: &Link) {
        let index = usize::from(pending.partition);
        let now = Instant::now();
        let since = pending.since.unwrap_or(now);
        let parked = Parked { bytes: bytes.to_vec(), command: pending.command, since };
        self.enter(bytes);
        {
            let mut guard = self.partitions[index].lock();
            if self.is_closed() {
                drop(guard);
                self.in_flight[index].fetch_sub(1, Ordering::AcqRel);
                return self.give_up(parked);
            }
            let moving = guard.moving.get_or_insert_default();
            moving.refuser = Some((link.number, now));
            moving.goes = None;
            moving.refused.push_back(parked);
        }
        // Only now: what waits must not leave before this one waits too.
        self.in_flight[index].fetch_sub(1, Ordering::AcqRel);
        self.stale.notify_one();
    }

    /// A message of this partition was taken, so those that were refused before it have lost their place: sent again they
    /// would come behind it.
    pub(crate) fn give_up_overtaken(&self, index: usize) {
        if !self.has_parked() {
            return;
        }
        let overtaken: VecDeque<Parked> = {
            let mut guard = self.partitions[index].lock();
            let Some(moving) = &mut guard.moving else { return };
            let (overtaken, others) =
                std::mem::take(&mut moving.refused).into_iter().partition(Parked::is_message);
            moving.refused = others;
            overtaken
        };
        overtaken.into_iter().for_each(|parked| self.give_up(parked));
    }

    /// True if a partition's publishes wait for it to be found.
    pub(crate) fn is_parked(&self, index: usize) -> bool {
        self.partitions[index].lock().moving.is_some()
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
        let mut guard = self.partitions[index].lock();
        let Partition { link, moving, .. } = &mut *guard;
        let Some(waiting) = moving else { return false };
        // Publishes that are still under way over the old link must not be overtaken.
        let free = || self.in_flight[index].load(Ordering::Acquire) == 0;
        let link =
            link.as_ref().filter(|link| waiting.may_go_over(link) && (waiting.goes_over(link) || free()));
        if link.is_none() && !waiting.has_expired(self.config.command_timeout) {
            return false;
        }
        waiting.goes = link.map(|link| link.number);
        waiting.given_up = link.is_none();
        for _ in 0..FEW {
            let Some(Parked { bytes, command, since }) = waiting.next() else {
                *moving = None;
                return false;
            };
            charge(PARKED);
            let Some(link) = link else {
                self.give_up(Parked { bytes, command, since });
                continue;
            };
            self.in_flight[index].fetch_add(1, Ordering::AcqRel);
            let added = link.pipeline.add(index, command, Some(since), |out| out.extend_from_slice(&bytes));
            if let Err(NotAdded::Down(command) | NotAdded::Full(command)) = added {
                self.in_flight[index].fetch_sub(1, Ordering::AcqRel);
                self.give_up(Parked { bytes, command, since });
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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use parking_lot::Mutex;

    use super::*;
    use crate::broker::redis::asker::Asker;
    use crate::broker::redis::config::{RedisConfig, Server};
    use crate::broker::redis::connection::command::Command;
    use crate::broker::redis::router::{Counts, Runner};
    use crate::broker::redis::sink::{Outcome, Sink};
    use crate::events::broker_status::BrokerStatus;
    use crate::registry::gathered::Gathered;
    use crate::worker::heartbeat::Heartbeat;
    use crate::worker::limits::Limits;
    use crate::worker::memory::Memory;
    use crate::worker::quota::Quota;
    use crate::worker::thread::WorkerThread;
    use codes::error::Error;

    /// Remembers which publishes came to what.
    #[derive(Debug, Default)]
    struct Settled(Mutex<Vec<(u64, bool)>>);

    impl Sink for Settled {
        fn message(&self, _: &str, _: &[u8], _: &mut Gathered) {}
        fn ignored(&self, _: &str) {}
        fn settle(&self, asker: Asker, outcome: Outcome<'_>) {
            let Asker::Number { ticket } = asker else { return };
            self.0.lock().push((ticket, matches!(outcome, Outcome::Unsent(Some(_)))));
        }
        fn status(&self, _: BrokerStatus) {}
        fn ready(&self, _: Vec<u64>, _: Result<(), Error>) {}
        fn in_use(&self, _: &str) -> bool {
            true
        }
        fn largest(&self) -> usize {
            1 << 20
        }
    }

    #[test]
    fn all_publishes_that_wait_for_their_partitions_share_one_bound_and_leave_in_order() {
        let mut worker =
            WorkerThread::start(0, 0, Heartbeat::default(), Limits::default(), Memory::new(usize::MAX))
                .unwrap();
        let config = RedisConfig {
            pending_bytes: 1 << 20,
            ..RedisConfig::new(vec![Server::parse("redis://127.0.0.1:1").unwrap()])
        };
        let sink = Arc::new(Settled::default());
        let workers = std::slice::from_ref(&worker);
        let counts = Arc::<Counts>::default();
        let quota = Arc::new(Quota::new(config.pending_bytes));
        let router = SubscriptionRouter::new(
            config.clone(),
            "app:".into(),
            "node".into(),
            sink.clone(),
            counts,
            quota,
            workers,
        );
        router.set_sharded(true);
        let runner = Runner { runtime: worker.runtime.clone(), inbox: worker.inbox.clone() };
        let link = |number| Link::new(number, config.servers[0].clone(), &runner, router.quota.clone());
        let (old, new) = (link(0), link(1));
        for link in [&old, &new] {
            link.pipeline.begin();
            link.pipeline.open();
        }
        let index = router.home("user:ada");
        router.assign(index, Some(old.clone()));
        let mut ticket = 0;
        let mut publish = || {
            ticket += 1;
            router.publish(["user:", "ada"], &[&[b'x'; 1000]], Asker::Number { ticket }).map(|()| ticket)
        };
        publish().unwrap();
        // The slot moves while one is under way.
        router.assign(index, Some(new.clone()));
        let mut waiting = Vec::new();
        let full = loop {
            match publish() {
                Ok(ticket) => waiting.push(ticket),
                Err(error) => break error,
            }
        };
        assert!(matches!(full, NotAdded::Full(_)));
        assert!((950..1100).contains(&waiting.len()), "{} of 1,048 bytes fill 1 MiB", waiting.len());
        let counts = router.read_counts();
        assert!(counts.pending_bytes > 1 << 20, "{counts:?}");
        assert_eq!(counts.pending, waiting.len() as u64 + 1, "and the one under way");
        // That one is answered, and the new link is up: they may go.
        old.pipeline.close(|_| router.landed(index));
        router.link_up(&new);
        worker.runtime.block_on(router.unpark());
        assert_eq!((router.is_parked(index), sink.0.lock().len()), (false, 0));
        let mut left = Vec::new();
        new.pipeline.close(|batch| {
            left.extend(batch.pending.into_iter().map(|pending| match pending.command {
                Command::Ask(Asker::Number { ticket }) => ticket,
                other => panic!("{other:?}"),
            }));
        });
        assert_eq!(left, waiting);
        // Publishes that wait when all is over are told that they never left.
        left.iter().for_each(|_| router.landed(index));
        router.park(
            Pending {
                len: 0,
                command: Command::Ask(Asker::Number { ticket: 7 }),
                partition: index as u16,
                since: None,
            },
            b"*3\r\n$8\r\nSPUBLISH\r\n$12\r\napp:user:ada\r\n$1\r\nx\r\n",
            &old,
        );
        router.close();
        assert_eq!(*sink.0.lock(), [(7, true)]);
        assert_eq!(router.read_counts().pending_bytes, 0);
        worker.stop();
    }
}
