//! Which link each partition goes over, and what becomes of publishes while that changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::hub::{Hub, Settled, count};
use super::link::Link;
use super::partition::{Moving, Parked};
use super::pipeline::{NotAdded, Pending};
use super::slots::PARTITIONS;
use super::subscriptions::NEWS;

impl Hub {
    /// The links.
    pub fn links(&self) -> Vec<Arc<Link>> {
        self.links.lock().clone()
    }

    /// A link is missing.
    pub fn is_ailing(&self) -> bool {
        self.links.lock().iter().any(|link| !link.health.is_up() && !link.is_retired())
    }

    /// Takes a link in.
    pub fn add_link(&self, link: Arc<Link>) {
        self.links.lock().push(link);
    }

    /// Forgets a link that is over.
    pub fn remove_link(&self, link: &Arc<Link>) {
        self.links.lock().retain(|other| !Arc::ptr_eq(other, link));
    }

    /// Gives a partition to a link. Answers the confirmations that it waits for, if it was elsewhere or its
    /// subscriptions were dropped.
    pub fn assign(&self, index: usize, link: Option<Arc<Link>>) -> Vec<oneshot::Receiver<()>> {
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
        if let Some(link) = &guard.link {
            for name in guard.topics.keys() {
                link.pipeline.subscribe(index, self.channel(index, name));
            }
            // A link that is not on yet subscribes to everything when it is.
        }
        if let Some(old) = old.as_ref().filter(|_| !same) {
            for name in guard.topics.keys() {
                old.pipeline.unsubscribe(index, self.channel(index, name));
            }
            // What was published over the old link has to be answered before the new one may publish.
            if self.in_flight[index].load(Ordering::Acquire) > 0 && guard.moving.is_none() {
                guard.moving = Some(Moving::default());
            }
        }
        awaited
    }

    /// The link of a partition.
    pub fn link_of(&self, index: usize) -> Option<Arc<Link>> {
        self.partitions[index].lock().link.clone()
    }

    /// A publish was refused because its partition lies elsewhere: it waits, and what is added after it too.
    pub fn park(&self, pending: Pending, bytes: &[u8], link: &Link) {
        let index = usize::from(pending.partition);
        {
            let mut guard = self.partitions[index].lock();
            let now = Instant::now();
            let moving = guard.moving.get_or_insert_default();
            moving.refuser = Some((link.number, now));
            let since = pending.since.unwrap_or(now);
            moving.refused.push(Parked { bytes: bytes.to_vec(), asker: pending.asker, since });
        }
        self.landed(usize::from(pending.partition));
        self.stale.notify_one();
    }

    /// Whether a partition's publishes wait for it to be found.
    pub fn is_parked(&self, index: usize) -> bool {
        self.partitions[index].lock().moving.is_some()
    }

    /// Lets parked publishes go that have a link again; those that waited too long are given up.
    pub fn unpark(&self) {
        for (index, partition) in self.partitions.iter().enumerate() {
            let mut guard = partition.lock();
            let Some(moving) = &guard.moving else { continue };
            let expired = moving.oldest().is_some_and(|since| since.elapsed() > self.config.command_timeout);
            // What is still under way over the old link must not be overtaken.
            let ready = self.in_flight[index].load(Ordering::Acquire) == 0
                && guard.link.as_ref().is_some_and(|link| moving.may_go_over(link));
            if !(expired || ready) {
                continue;
            }
            let Some(moving) = guard.moving.take() else { continue };
            for Parked { bytes, asker, since } in moving.into_parked() {
                self.in_flight[index].fetch_add(1, Ordering::AcqRel);
                count(&self.counts.pending);
                let added = match &guard.link {
                    Some(link) if ready => {
                        link.pipeline.add(index, asker, Some(since), |out| out.extend_from_slice(&bytes))
                    }
                    _ => Err(NotAdded::Down(asker)),
                };
                if let Err(NotAdded::Down(asker) | NotAdded::Full(asker)) = added {
                    self.landed(index);
                    self.tell(asker, &bytes, Settled::Unsent);
                }
            }
        }
    }

    /// Publishes wait for their partition to be found.
    pub fn is_moving(&self) -> bool {
        (0..PARTITIONS).any(|index| self.is_parked(index))
    }
}
