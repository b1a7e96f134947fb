//! Subscriptions to topics that have a history: messages handed on, and those to be read because they were missed.
//!
//! A topic's messages, and the answers to what its [`Follower`] asks, come over one link. Those of another, which had the
//! topic before, count for nothing.

use std::sync::Arc;
use std::time::Duration;

use history::follower::{Ask, Follower, Missed, Outlet, Verdict};
use history::meta::{Meta, Reason};
use history::position::{Place, Position};
use tokio::time::Instant;

use super::partition::{Partition, Subscription};
use super::subscriptions::Subscriptions;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::connection::script::LogPart;
use crate::broker::redis::sink::Sink;
use crate::registry::gathered::Gathered;
use crate::registry::recipients::Topic;

/// Control messages that wait for one topic. Others are obeyed at once.
const MOST_HELD: usize = 16;
/// A control message waits so long, for a client must not decide when it is disconnected.
const HELD_FOR: Duration = Duration::from_secs(1);

/// Hands on what a follower lets go.
struct ToSink<'a> {
    sink: &'a dyn Sink,
    name: &'a str,
    gathered: &'a mut Gathered,
}

impl Outlet for ToSink<'_> {
    fn deliver(&mut self, position: Position, payload: &[u8]) {
        if payload.len() > self.sink.largest_message() {
            return self.missed(too_large(position));
        }
        self.sink.repaired(self.name, payload, position, self.gathered);
    }

    fn missed(&mut self, missed: Missed) {
        // Before those that come after it.
        self.sink.deliver(self.gathered);
        self.sink.missed(self.name, missed);
    }
}

/// A message that no connection here can take.
fn too_large(position: Position) -> Missed {
    let before = Position { offset: position.offset.saturating_sub(1), ..position };
    let after = Some(before).filter(|before| before.offset > 0);
    Missed { reason: Reason::Unreadable, after, to: Some(position) }
}

/// The topic of a channel's name.
pub(crate) fn topic_of(name: &str) -> Option<Topic<'_>> {
    let user = name.strip_prefix("user:").map(Topic::User);
    user.or_else(|| name.strip_prefix("room:").map(Topic::Room))
}

impl Subscriptions {
    /// True if any topic has a history.
    pub(crate) fn has_histories(&self) -> bool {
        self.history.is_on()
    }

    /// Messages that are kept of a topic.
    pub(crate) fn size_of(&self, name: &str) -> u32 {
        topic_of(name).and_then(|topic| self.history.bounds_of(topic)).map_or(1, |bounds| bounds.size)
    }

    /// The server of a link listens on a channel. True if it is a topic with a history: then [`Subscriptions::on_meta`] is to come.
    pub(super) fn follow(&self, name: &str, topic: &mut Subscription, link: &Link) -> bool {
        let is_kept = topic_of(name).is_some_and(|topic| self.history.bounds_of(topic).is_some());
        if is_kept {
            topic.listening = true;
            let new = || Box::new(Follower::new(self.history.trust_failover));
            let ask = topic.follower.get_or_insert_with(new).on_subscribed(link.term());
            link.ask(self.partitions.home(name), name, ask);
        }
        is_kept
    }

    /// A message came over a link.
    pub(crate) fn on_message(
        &self,
        name: &str,
        position: Position,
        payload: &[u8],
        link: &Arc<Link>,
        gathered: &mut Gathered,
    ) {
        let partition = self.partitions.home(name);
        let mut guard = self.partitions.all[partition].lock();
        if !guard.is_of(link) {
            return;
        }
        let follower = guard.topics.get_mut(name).and_then(|topic| topic.follower.as_mut());
        let is_kept = follower.is_some();
        // Other servers may keep what this one doesn't.
        let verdict = follower.map_or(Verdict::Deliver, |follower| follower.on_message(position, payload));
        match verdict {
            Verdict::Deliver if is_kept && payload.len() > self.sink.largest_message() => {
                ToSink { sink: &*self.sink, name, gathered }.missed(too_large(position));
            }
            Verdict::Deliver => {
                // In a cluster another link, on another thread, may be given the topic, and must not overtake.
                let guard = self.partitions.is_sharded().then_some(guard);
                self.sink.message(name, payload, is_kept.then_some(position), gathered);
                if guard.is_some() {
                    self.sink.deliver(gathered);
                }
            }
            Verdict::Wait(Some(ask)) => link.ask(partition, name, ask),
            Verdict::Wait(None) | Verdict::Drop => {}
        }
    }

    /// A control message came on a topic's channel. True if it waits for the messages that were published before it.
    pub(crate) fn hold(&self, name: &str, control: &[u8], link: &Arc<Link>) -> bool {
        let mut guard = self.partitions.all[self.partitions.home(name)].lock();
        let is_ours = guard.is_of(link);
        let Some(topic) = guard.topics.get_mut(name).filter(|_| is_ours) else { return false };
        let is_behind = topic.follower.as_ref().is_some_and(|follower| !follower.is_settled());
        let waits = is_behind && topic.held.len() < MOST_HELD;
        if waits {
            let now = Instant::now();
            topic.held.push((now, control.into()));
            self.holding.lock().push_back((now, name.into()));
        }
        waits
    }

    /// The place behind which all messages of a topic are handed on from now on.
    pub(crate) fn place(&self, name: &str) -> Place {
        let guard = self.partitions.all[self.partitions.home(name)].lock();
        let topic = guard.topics.get(name).filter(|topic| topic.confirmed);
        let follower = topic.and_then(|topic| topic.follower.as_ref());
        follower.map_or(Place::Unknown, |follower| follower.position().into())
    }

    /// Applies the control messages that have waited for [`HELD_FOR`].
    pub(super) fn release_held(&self, now: Instant) {
        while let Some(name) = self.next_to_release(now) {
            let mut guard = self.partitions.all[self.partitions.home(&name)].lock();
            let Some(topic) = guard.topics.get_mut(&*name) else { continue };
            let mut gathered = Gathered::default();
            while topic.held.first().is_some_and(|(since, _)| now.duration_since(*since) >= HELD_FOR) {
                let (_, control) = topic.held.remove(0);
                self.sink.message(&name, &control, None, &mut gathered);
            }
            self.sink.deliver(&mut gathered);
        }
    }

    fn next_to_release(&self, now: Instant) -> Option<Box<str>> {
        let mut holding = self.holding.lock();
        holding.front().filter(|(since, _)| now.duration_since(*since) >= HELD_FOR)?;
        holding.pop_front().map(|(_, name)| name)
    }

    /// The server of a link says how far a topic is.
    pub(crate) fn on_meta(&self, name: &str, meta: Option<&Meta>, link: &Arc<Link>, gathered: &mut Gathered) {
        self.with_follower(name, link, gathered, |follower, outlet| follower.on_meta(meta, outlet));
    }

    /// The server of a link gives messages of a topic, which it was asked for from this offset on.
    pub(crate) fn on_log(
        &self,
        name: &str,
        from: u64,
        part: &LogPart,
        link: &Arc<Link>,
        gathered: &mut Gathered,
    ) {
        let messages = part.messages.iter().map(|(offset, message)| (*offset, message.as_deref()));
        self.with_follower(name, link, gathered, |follower, outlet| {
            if !follower.is_reading(from) {
                return None;
            }
            follower.on_messages(part.meta.as_ref(), messages, part.is_all, outlet)
        });
    }

    /// The server of a link refuses to say.
    pub(crate) fn on_refused(&self, name: &str, link: &Arc<Link>, gathered: &mut Gathered) {
        self.with_follower(name, link, gathered, |follower, outlet| follower.on_refused(outlet));
    }

    fn with_follower(
        &self,
        name: &str,
        link: &Arc<Link>,
        gathered: &mut Gathered,
        answer: impl FnOnce(&mut Follower, &mut ToSink<'_>) -> Option<Ask>,
    ) {
        let partition = self.partitions.home(name);
        let mut guard = self.partitions.all[partition].lock();
        if !guard.is_of(link) {
            return;
        }
        let Partition { topics, .. } = &mut *guard;
        let Some(topic) = topics.get_mut(name) else { return };
        let Some(follower) = topic.follower.as_mut() else { return };
        let mut outlet = ToSink { sink: &*self.sink, name, gathered };
        if let Some(ask) = answer(follower, &mut outlet) {
            link.ask(partition, name, ask);
        }
        if follower.is_settled() {
            for (_, control) in std::mem::take(&mut topic.held) {
                self.sink.message(name, &control, None, outlet.gathered);
            }
        }
        if follower.is_placed() && topic.listening && !topic.confirmed {
            let place = Place::from(follower.position());
            let waiters = guard.confirm(name);
            drop(guard);
            self.answer(waiters, &Ok(place));
        }
    }

    /// Topics of a partition may have messages that did not come: each asks how far it is.
    pub(crate) fn recheck(&self, partition: usize, link: &Arc<Link>) {
        let mut guard = self.partitions.all[partition].lock();
        if guard.is_of(link) {
            for (name, topic) in &mut guard.topics {
                let follower = topic.follower.as_mut().filter(|_| topic.confirmed);
                if let Some(ask) = follower.and_then(|follower| follower.recheck()) {
                    link.ask(partition, name, ask);
                }
            }
        }
    }

    /// True if a topic's follower still has this question, and this link is the one to ask over.
    pub(crate) fn is_asking(&self, name: &str, link: &Arc<Link>) -> bool {
        let guard = self.partitions.all[self.partitions.home(name)].lock();
        let topic = guard.topics.get(name).filter(|_| guard.is_of(link));
        topic.and_then(|topic| topic.follower.as_ref()).is_some_and(|follower| !follower.is_settled())
    }
}
