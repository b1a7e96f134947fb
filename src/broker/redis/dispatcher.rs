//! Takes what comes back from Redis: messages to connections here, and answers to whoever asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use auth::MAX_ID_BYTES;
use codes::close;
use codes::error::{Code, Error};
use hashbrown::HashMap;
use history::follower::Missed;
use history::position::Position;
use parking_lot::Mutex;
use protocol::frame::{MAX_REASON, Message};
use subprotocol::server_message;

use super::asker::{Asker, HistoryQuestion, PageReader};
use super::connection::pipeline::NotAdded;
use super::connection::reply::CommandOutcome;
use super::envelope::{self, ControlMessage};
use super::failure::{lost, only_local, uncertain};
use super::rate_limited_log::{RateLimitedLog, report_skipped, skipped};
use super::router::SubscriptionRouter;
use super::router::counts::{Counts, count};
use super::router::followers::topic_of;
use super::router::partitions::SHARED;
use super::sink::Sink;
use crate::events::broker_status::BrokerStatus;
use crate::events::{Event, Events};
use crate::outcome::{Answer, ConnectionCount, Delivery, HistoryPage, Status};
use crate::registry::Registry;
use crate::registry::delivery::{deliver, notify};
use crate::registry::gathered::Gathered;
use crate::registry::recipients::Channel;
use crate::worker::intake::Intake;
use crate::worker::refusal::Refused;

/// Longest wait for the answers of other servers to a count.
pub(super) const COUNT_PATIENCE: Duration = Duration::from_secs(1);

/// A server of before is reported once in so long.
const OLD_SERVER: Duration = Duration::from_secs(60);

/// A count under way.
#[derive(Debug)]
struct Tally {
    connections: u64,
    answers: u64,
    expected: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Dispatcher {
    pub registry: Arc<Registry>,
    events: Arc<Events>,
    pub outbox_limit: usize,
    node: String,
    intake: Arc<Intake>,
    router: OnceLock<Weak<SubscriptionRouter>>,
    /// Shared with the router.
    pub counts: Arc<Counts>,
    last_ticket: AtomicU64,
    tallies: Mutex<HashMap<u64, Tally>>,
    skipped: RateLimitedLog,
    without_history: RateLimitedLog,
    trust_failover: bool,
}

impl Dispatcher {
    /// One that still needs its router.
    pub(super) fn new(
        registry: Arc<Registry>,
        events: Arc<Events>,
        outbox_limit: usize,
        node: String,
        intake: Arc<Intake>,
        trust_failover: bool,
    ) -> Arc<Dispatcher> {
        Arc::new(Dispatcher {
            registry,
            events,
            outbox_limit,
            node,
            intake,
            router: OnceLock::new(),
            counts: Arc::default(),
            last_ticket: AtomicU64::new(0),
            tallies: Mutex::default(),
            skipped: skipped(),
            without_history: RateLimitedLog::new(OLD_SERVER),
            trust_failover,
        })
    }

    /// Gives it the router whose sink it is.
    pub(super) fn attach(&self, router: &Arc<SubscriptionRouter>) {
        let _ = self.router.set(Arc::downgrade(router));
    }

    fn router(&self) -> Option<Arc<SubscriptionRouter>> {
        self.router.get().and_then(Weak::upgrade)
    }

    /// A number for an answer that comes later.
    pub(super) fn ticket(&self) -> u64 {
        self.last_ticket.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn settled(&self, ticket: u64, result: Result<Answer, Error>) {
        self.events.push(Event::Settled { ticket, result });
    }

    // Counting connections on all servers.

    /// Answers to this ticket are added up from here on. There are so many connections here.
    pub(super) fn begin_count(&self, ticket: u64, here: u64) {
        self.tallies.lock().insert(ticket, Tally { connections: here, answers: 1, expected: None });
    }

    /// There will be no answers.
    pub(super) fn forget_count(&self, ticket: u64) {
        self.tallies.lock().remove(&ticket);
    }

    /// Servers that have not answered by now are left out.
    pub(super) fn end_count(&self, ticket: u64) {
        if let Some(tally) = self.tallies.lock().remove(&ticket) {
            self.tell_count(ticket, &tally, false);
        }
    }

    /// Nobody answers any more.
    pub(super) fn end_counts(&self) {
        let tallies = std::mem::take(&mut *self.tallies.lock());
        for (ticket, tally) in tallies {
            self.tell_count(ticket, &tally, false);
        }
    }

    fn tell_count(&self, ticket: u64, tally: &Tally, complete: bool) {
        let servers = u32::try_from(tally.answers).unwrap_or(u32::MAX);
        let census = ConnectionCount { connections: tally.connections, servers, complete };
        self.settled(ticket, Ok(Answer::ConnectionCount(census)));
    }

    fn tally(&self, ticket: u64, change: impl FnOnce(&mut Tally)) {
        let mut tallies = self.tallies.lock();
        let Some(tally) = tallies.get_mut(&ticket) else { return };
        change(tally);
        if tally.expected.is_some_and(|expected| tally.answers >= expected)
            && let Some(tally) = tallies.remove(&ticket)
        {
            drop(tallies);
            self.tell_count(ticket, &tally, true);
        }
    }

    // Messages.

    fn take_frame(
        &self,
        channel: Channel<'_>,
        payload: &[u8],
        position: Option<Position>,
        gathered: &mut Gathered,
    ) {
        match envelope::read_frame(payload) {
            Ok(message) => self.take(channel, message, position, gathered),
            Err(why) => self.ignored(why),
        }
    }

    fn take(
        &self,
        channel: Channel<'_>,
        message: Message<'_>,
        position: Option<Position>,
        gathered: &mut Gathered,
    ) {
        if message.payload().len() > self.outbox_limit {
            self.ignored("a message is larger than an outbox");
            return;
        }
        let Some(topic) = channel.topic() else {
            deliver(&self.registry, channel, message, position, self.outbox_limit);
            return;
        };
        if let Some(group) = self.registry.group(topic) {
            gathered.add(topic, group, message, position, self.outbox_limit);
        }
    }

    fn take_shared(&self, payload: &[u8], gathered: &mut Gathered) {
        match envelope::read_shared(payload) {
            Ok((user, _)) if user.is_empty() || user.len() > MAX_ID_BYTES => {
                self.ignored("a message on the shared channel has an impossible userId");
            }
            Ok((user, text)) => self.take(Channel::User(&user), Message::Text(&text), None, gathered),
            Err(why) => self.ignored(why),
        }
    }

    /// Does what a control message says. On a user's channel it may close that user's connections, and nothing else: who
    /// may publish there may not do more.
    fn apply(&self, payload: &[u8], of: Option<&str>) {
        match envelope::read_control(payload) {
            Ok(control) if of.is_some_and(|user| !control.closes(user)) => {
                self.ignored("a control message on a user's channel is about something else");
            }
            Ok(ControlMessage::Disconnect { user_id, code, reason }) => {
                if close::is_sendable(code) && reason.len() <= MAX_REASON {
                    self.registry.disconnect_user(&user_id, code, &reason);
                } else {
                    self.ignored("a control message has an impossible close code or reason");
                }
            }
            // This server has counted itself.
            Ok(ControlMessage::Count { node, .. }) if node == self.node => {}
            Ok(ControlMessage::Count { id, node, user_id }) => {
                if let Some(router) = self.router() {
                    let connections = self.registry.count(user_id.as_deref());
                    let answer = envelope::write_control(&ControlMessage::Counted { id, connections });
                    let name = format!("node:{node}");
                    // If it can't be sent, the count is incomplete, and says so.
                    let _ = router.routes.publish([&name, ""], &[answer.as_bytes()], Asker::Nobody);
                }
            }
            Ok(ControlMessage::Counted { id, connections }) => self.tally(id, |tally| {
                tally.answers += 1;
                tally.connections = tally.connections.saturating_add(connections);
            }),
            Err(why) => self.ignored(why),
        }
    }

    /// A message that should have had a position has none: a server is there that could not read it.
    fn note_old_server(&self) {
        if let Some(times) = self.without_history.note(Instant::now()) {
            let text = format!(
                "{times} messages were published without history: a server from before histories is there, which \
                 can't read positions, or somebody subscribes to the channel control"
            );
            tracing::warn!(times, "messages published without history");
            self.events.push(Event::Problem(Error::new(Code::NoHistory, text)));
        }
    }

    /// Serves connections here with what never left.
    fn serve_here(&self, publish: Option<(&str, &[u8])>) {
        count(&self.counts.local);
        if let Some((name, payload)) = publish {
            let mut gathered = Gathered::default();
            self.message(name, payload, None, &mut gathered);
            self.deliver(&mut gathered);
        }
    }

    fn settle_publish(
        outcome: CommandOutcome,
        strict: bool,
        local: u32,
        shared: bool,
    ) -> Result<Answer, Error> {
        let of = |status| Delivery { status, nodes: None, local, position: None };
        Ok(Answer::Delivery(match outcome {
            CommandOutcome::Repeated(position) => return Ok(Answer::Repeated(position)),
            CommandOutcome::Uncertain if !strict => of(Status::Uncertain),
            CommandOutcome::Unsent if !strict => of(Status::Local),
            settled => {
                let position = match settled {
                    CommandOutcome::Placed { position, .. } => Some(position),
                    _ => None,
                };
                let nodes = u32::try_from(settled.number()?).unwrap_or(u32::MAX);
                let nodes = if shared { None } else { Some(nodes) };
                Delivery { nodes, position, ..of(Status::Published) }
            }
        }))
    }

    /// Messages of a topic are here, or won't come. Asks again where others were needed.
    fn settle_history(&self, question: Box<HistoryQuestion>, outcome: CommandOutcome) {
        match outcome {
            CommandOutcome::Log(part) => match question.answer(*part, self.trust_failover) {
                Ok((page, reader)) => self.answer_page(reader, Ok(page)),
                Err(question) => {
                    let refused = match self.router() {
                        Some(router) => router.routes.read(question).err().and_then(NotAdded::into_question),
                        None => Some(question),
                    };
                    if let Some(question) = refused {
                        self.answer_page(question.reader, Err(lost()));
                    }
                }
            },
            other => {
                let error = other.number().err().unwrap_or_else(uncertain);
                self.answer_page(question.reader, Err(error));
            }
        }
    }

    /// Tells clients that speak the subprotocol of a gap, a part of them at a time: this server may have any number.
    fn tell_gap(&self) {
        let Some(router) = self.router() else { return };
        let (registry, limit) = (self.registry.clone(), self.outbox_limit);
        router.next_worker().spawn(async move {
            let told = server_message::missed(None, "gap", None);
            for group in registry.everyone() {
                notify(group, &told, limit);
                tokio::task::yield_now().await;
            }
        });
    }

    fn answer_page(&self, reader: PageReader, page: Result<HistoryPage, Error>) {
        match reader {
            PageReader::Embedder(ticket) => {
                self.settled(ticket, page.map(|page| Answer::History(Box::new(page))));
            }
            PageReader::Client(reader) => drop(reader.send(page)),
        }
    }
}

impl Sink for Dispatcher {
    fn message(&self, name: &str, payload: &[u8], position: Option<Position>, gathered: &mut Gathered) {
        if let Some(user) = name.strip_prefix("user:") {
            match payload.strip_prefix(envelope::CONTROL) {
                Some(control) => {
                    // After the messages that were published before it.
                    self.deliver(gathered);
                    self.apply(control, Some(user));
                }
                None => self.take_frame(Channel::User(user), payload, position, gathered),
            }
        } else if let Some(room) = name.strip_prefix("room:") {
            self.take_frame(Channel::Room(room), payload, position, gathered);
        } else if name == "all" {
            self.take_frame(Channel::Everyone, payload, position, gathered);
        } else if name == SHARED {
            self.take_shared(payload, gathered);
        } else if name == "control" || name.strip_prefix("node:") == Some(&self.node) {
            self.deliver(gathered);
            self.apply(payload, None);
        }
    }

    fn deliver(&self, gathered: &mut Gathered) {
        gathered.deliver(self.outbox_limit);
    }

    fn ignored(&self, why: &str) {
        count(&self.counts.ignored);
        if let Some(times) = self.skipped.note(Instant::now()) {
            self.events.push(Event::Problem(report_skipped(times, why)));
        }
    }

    fn settle(&self, asker: Asker, outcome: CommandOutcome, publish: Option<(&str, &[u8])>) {
        if asker.is_kept() && matches!(outcome, CommandOutcome::Number(_)) {
            self.note_old_server();
        }
        match outcome {
            CommandOutcome::Number(_) | CommandOutcome::Placed { .. } if asker.is_message() => {
                count(&self.counts.published);
            }
            CommandOutcome::Uncertain if asker.is_message() => count(&self.counts.uncertain),
            // Before `Intake::end` lets the client's next message in, which must not overtake this one.
            CommandOutcome::Unsent if asker.may_be_served_here() => self.serve_here(publish),
            _ => {}
        }
        match asker {
            Asker::Sender { sender, cost, first, receipt, .. } => {
                self.intake.end(&sender, cost, first);
                let error = match outcome {
                    CommandOutcome::Number(_)
                    | CommandOutcome::Placed { .. }
                    | CommandOutcome::Repeated(_)
                    | CommandOutcome::Log(_) => {
                        if let Some(receipt) = receipt {
                            receipt.take();
                        }
                        return;
                    }
                    // A client gets neither Redis' words nor its address.
                    CommandOutcome::Refused(error) => Error::new(error.kind, "Redis refused the message"),
                    CommandOutcome::Uncertain => uncertain(),
                    CommandOutcome::Unsent => only_local(),
                };
                let receipt = receipt.map(|receipt| *receipt);
                Refused::from(error).tell(&sender, receipt, self.outbox_limit);
            }
            Asker::Publish { ticket, strict, local, shared, .. } => {
                let delivery = Dispatcher::settle_publish(outcome, strict, local, shared);
                self.settled(ticket, delivery);
            }
            Asker::Receivers { ticket } | Asker::Subscribers { ticket } => {
                self.settled(ticket, outcome.number().map(Answer::Number));
            }
            Asker::Count { ticket } => match outcome {
                CommandOutcome::Number(number) => self.tally(ticket, |tally| tally.expected = Some(number)),
                _ => self.end_count(ticket),
            },
            Asker::History(question) => self.settle_history(question, outcome),
            Asker::Nobody => {}
        }
    }

    fn repaired(&self, name: &str, payload: &[u8], position: Position, gathered: &mut Gathered) {
        count(&self.counts.repaired);
        self.message(name, payload, Some(position), gathered);
    }

    fn portion(&self) -> usize {
        self.outbox_limit / 8
    }

    fn has_room(&self, name: &str) -> bool {
        let mut has_room = true;
        if let Some(group) = topic_of(name).and_then(|topic| self.registry.group(topic)) {
            group.for_each(|handle| has_room &= handle.buffered() <= self.outbox_limit / 2);
        }
        has_room
    }

    fn missed(&self, name: &str, missed: Missed) {
        count(&self.counts.missed);
        if let Some(topic) = topic_of(name) {
            if let Some(group) = self.registry.group(topic) {
                let stream = Some(topic.channel().stream());
                let told = server_message::missed(stream, missed.reason.as_str(), missed.to);
                notify(&group, &told, self.outbox_limit);
            }
            self.events.push(Event::Missed { topic: topic.into(), missed });
        }
    }

    fn intake(&self) -> Option<&Intake> {
        Some(&self.intake)
    }

    fn relieved(&self) {
        self.intake.call();
    }

    fn status(&self, status: BrokerStatus) {
        if status.gap.is_some() && self.registry.has_enveloped() {
            self.tell_gap();
        }
        self.events.push(Event::Broker(status));
    }

    fn ready(&self, tickets: Vec<u64>, outcome: Result<(), Error>) {
        for ticket in tickets {
            self.settled(ticket, outcome.clone().map(|()| Answer::Done));
        }
    }

    fn in_use(&self, name: &str) -> bool {
        topic_of(name).is_none_or(|topic| self.registry.has(topic))
    }

    fn largest_message(&self) -> usize {
        envelope::KIND_BYTES + self.outbox_limit
    }

    fn largest(&self) -> usize {
        envelope::largest(self.outbox_limit)
    }
}
