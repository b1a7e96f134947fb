//! The broker of many servers: messages go through Redis Pub/Sub to every server that has their recipients.
//!
//! | channel, behind the prefix | payload | subscribed |
//! |---|---|---|
//! | `messages` | `{"userId":"…","data":…}` | always; published to with [`Routing::Shared`] |
//! | `user:<id>`, `room:<name>` | `t` or `b`, and the frame's payload; the same behind `h` and a position; `x`, and [`envelope::ControlMessage`] | while a member is connected here |
//! | `all` | the same | always |
//! | `control` | [`envelope::ControlMessage`] | always |
//! | `format:2` | nothing | always: it says that this server can read positions |
//! | `node:<name>` | the same, for one server | always |
//! | `probe:<name>:<link>` | anything | by the link itself |
//!
//! In a Redis Cluster all but `messages` carry a hash tag and go over sharded Pub/Sub.

mod asker;
mod claim;
pub(crate) mod clock;
mod config;
mod connection;
mod dispatcher;
mod envelope;
mod failure;
mod pubsub;
mod rate_limited_log;
pub(crate) mod router;
mod sink;
mod topology;
mod wire;

use std::sync::Arc;
use std::time::Duration;

pub use pubsub::PubSub;

pub use config::{Address, MAX_PREFIX_BYTES, MAX_URLS, RedisConfig, Routing, Server, TlsOptions};

use super::history::{Epochs, HistoryConfig};
use super::page_request::PageRequest;
use super::{Broker, BrokerStats, Confirmations, Counting, Fanout, History, PublishOptions, RawChannels};
use crate::events::Events;
use crate::outcome::{Answer, ConnectionCount, Delivery, HistoryPage, Reply, Status};
use crate::random_name::random_name;
use crate::registry::Registry;
use crate::registry::delivery::{self, deliver};
use crate::registry::recipients::{Channel, RelayTarget, Topic};
use crate::worker::handle::Handle;
use crate::worker::intake::{self, Intake};
use crate::worker::quota::Quota;
use crate::worker::receipts::Receipt;
use crate::worker::scheduler::charge;
use crate::worker::thread::WorkerThread;
use ::history::log::Bounds;
use ::history::position::Place;
use asker::{Asker, HistoryQuestion, PageReader};
use claim::Claim;
use codes::error::Error;
use connection::pipeline::NotAdded;
use connection::script::{CommonArguments, Keep};
use dispatcher::Dispatcher;
use envelope::{CONTROL_CHANNEL, ControlMessage, FORMAT_CHANNEL};
use failure::overloaded;
use protocol::frame::Message;
use router::SubscriptionRouter;
use router::counts::count;
use router::partitions::SHARED;
use tokio::sync::oneshot;

/// The cost of a relayed message, as [`charge`] counts, beside its payload.
const RELAY: u64 = 4;

/// See the module.
#[derive(Debug)]
pub struct RedisBroker {
    router: Arc<SubscriptionRouter>,
    dispatcher: Arc<Dispatcher>,
    intake: Arc<Intake>,
    routing: Routing,
    epochs: Epochs,
    /// Of all bounds that the option `history` has.
    kept: Box<[CommonArguments]>,
    _claim: Claim,
}

impl RedisBroker {
    /// Begins to connect, on these workers. A Redis that can't be reached is no error here: see [`Broker::ready`].
    pub fn start(
        config: &RedisConfig,
        outbox_limit: usize,
        registry: &Arc<Registry>,
        events: &Arc<Events>,
        history: &HistoryConfig,
        workers: &[WorkerThread],
    ) -> RedisBroker {
        let config = RedisConfig { history: history.clone(), ..config.clone() };
        let node: String = random_name().chars().take(12).collect();
        let quota = Arc::new(Quota::new(config.pending_bytes));
        let intake = Arc::new(Intake::new(quota.clone()));
        let dispatcher = Dispatcher::new(
            registry.clone(),
            events.clone(),
            outbox_limit,
            node.clone(),
            intake.clone(),
            history.trust_failover,
        );
        let claim = Claim::on(&config.prefix);
        let prefix = format!("{}:", config.prefix);
        let kept = history.bounds().map(|bounds| CommonArguments::new(bounds, &prefix)).collect();
        let router = Arc::new(SubscriptionRouter::new(
            config,
            prefix,
            node.clone(),
            dispatcher.clone(),
            dispatcher.counts.clone(),
            quota,
            workers,
        ));
        dispatcher.attach(&router);
        for name in [SHARED, "all", FORMAT_CHANNEL, CONTROL_CHANNEL, &format!("node:{node}")] {
            router.subscriptions.pin(name);
        }
        router.next_worker().spawn(topology::supervise(router.clone()));
        RedisBroker {
            routing: router.config.routing,
            router,
            dispatcher,
            intake,
            epochs: Epochs::new(),
            kept,
            _claim: claim,
        }
    }

    /// The common arguments of messages for a channel that has a history.
    fn kept_of(&self, channel: Channel<'_>) -> Option<&CommonArguments> {
        let bounds = self.router.config.history.bounds_of(channel.topic()?)?;
        self.kept.iter().find(|common| common.bounds == bounds)
    }

    /// Hands a message to the pipeline of its channel. `kept`: what is kept of it.
    ///
    /// # Errors
    /// `ERR_BROKER_OVERLOADED`, `ERR_NOT_REPRESENTABLE`.
    fn send(
        &self,
        channel: Channel<'_>,
        message: Message<'_>,
        kept: Option<(&CommonArguments, Option<&str>)>,
        asker: Asker,
    ) -> Result<Sent, Error> {
        let (kind, id) = match channel {
            Channel::User(user) => ("user:", user),
            Channel::Room(room) => ("room:", room),
            Channel::Everyone => ("all", ""),
        };
        let routes = &self.router.routes;
        if kind == "user:" && self.routing == Routing::Shared {
            let payload = envelope::write_shared(id, message)?;
            return sent(routes.publish([SHARED, ""], &[payload.as_bytes()], asker));
        }
        let payload = [envelope::frame_kind(message), message.payload()];
        sent(match kept {
            Some((common, idempotency_key)) => {
                let has_old = self.router.partitions.has_old_servers();
                let keep = Keep { common, idempotency_key, epoch: &self.epochs.next(), has_old };
                routes.publish_kept([kind, id], &payload, keep, asker)
            }
            None => routes.publish([kind, id], &payload, asker),
        })
    }

    /// The reply to a question, if it was added.
    fn later(&self, ticket: u64, added: Result<(), NotAdded>) -> Result<Reply, Error> {
        match sent(added)? {
            Sent::Added => Ok(Reply::Later(ticket)),
            Sent::Away => Err(self.away()),
        }
    }

    /// Does what Redis is away for on this server alone, unless it is `strict`.
    fn serve_here(&self, strict: bool, serve: impl FnOnce() -> u32) -> Result<Reply, Error> {
        if strict {
            return Err(self.away());
        }
        count(&self.router.counts.local);
        Ok(Reply::Now(Answer::Delivery(Delivery {
            status: Status::Local,
            nodes: None,
            local: serve(),
            position: None,
        })))
    }

    fn away(&self) -> Error {
        failure::away(self.router.links.status().error.as_ref())
    }

    /// Decides when a connection's next message is taken in.
    pub fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    fn control(&self, control: &ControlMessage, asker: Asker) -> Result<(), NotAdded> {
        let payload = envelope::write_control(control);
        self.router.routes.publish([CONTROL_CHANNEL, ""], &[payload.as_bytes()], asker)
    }
}

/// The channel of a group, without prefix and hash tag.
fn name_of(topic: Topic<'_>) -> String {
    match topic {
        Topic::User(user) => format!("user:{user}"),
        Topic::Room(room) => format!("room:{room}"),
    }
}

/// The outcome of a command.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// It is on its way.
    Added,
    /// Redis is away.
    Away,
}

/// Says whether a command is on its way.
///
/// # Errors
/// `ERR_BROKER_OVERLOADED`
fn sent(added: Result<(), NotAdded>) -> Result<Sent, Error> {
    match added {
        Ok(()) => Ok(Sent::Added),
        Err(NotAdded::Down(_)) => Ok(Sent::Away),
        Err(NotAdded::Full(_)) => Err(overloaded()),
    }
}

impl Fanout<Handle> for RedisBroker {
    fn publish(
        &self,
        channel: Channel<'_>,
        message: Message<'_>,
        options: PublishOptions<'_>,
    ) -> Result<Reply, Error> {
        options.check(&self.router.config.history, channel)?;
        // Sent again, what only connections here got would reach them twice.
        let strict = options.is_strict || options.idempotency_key.is_some();
        let kept = self.kept_of(channel).filter(|_| !options.is_fleeting);
        let local = delivery::count(&self.dispatcher.registry, channel);
        let ticket = self.dispatcher.ticket();
        let shared = matches!(channel, Channel::User(_)) && self.routing == Routing::Shared;
        let asker = Asker::Publish { ticket, strict, local, shared, kept: kept.is_some() };
        let kept = kept.map(|common| (common, options.idempotency_key));
        if self.send(channel, message, kept, asker)? == Sent::Added {
            return Ok(Reply::Later(ticket));
        }
        let Dispatcher { registry, outbox_limit, .. } = &*self.dispatcher;
        self.serve_here(strict, || deliver(registry, channel, message, None, *outbox_limit))
    }

    fn relay(
        &self,
        to: RelayTarget<'_>,
        message: Message<'_>,
        sender: &Arc<Handle>,
        receipt: Option<&Receipt>,
    ) -> Result<(), Error> {
        let cost = intake::cost(message.payload().len());
        charge(RELAY + u64::from(cost));
        // Before it can be answered.
        let first = self.intake.begin(sender, cost);
        let channel = to.channel(sender);
        let kept = self.kept_of(channel);
        let epoch = self.intake.pace().epoch();
        let key = receipt.filter(|_| kept.is_some()).and_then(Receipt::idempotency_key);
        let receipt = receipt.map(|receipt| Box::new(receipt.another()));
        let asker =
            Asker::Sender { sender: sender.clone(), cost, first, epoch, kept: kept.is_some(), receipt };
        let sent = self.send(channel, message, kept.map(|common| (common, key.as_deref())), asker);
        if matches!(sent, Ok(Sent::Added)) {
            return Ok(());
        }
        self.intake.end(sender, cost, first);
        sent?;
        count(&self.router.counts.local);
        let Dispatcher { registry, outbox_limit, .. } = &*self.dispatcher;
        delivery::relay(registry, to, message, None, sender, *outbox_limit);
        Err(failure::only_local())
    }

    fn disconnect_user(&self, user: &str, code: u16, reason: &str, strict: bool) -> Result<Reply, Error> {
        let local = delivery::count(&self.dispatcher.registry, Channel::User(user));
        let ticket = self.dispatcher.ticket();
        // Connections here are closed when it comes back. It goes the way of the user's messages, so that it comes after those
        // that were published before it; under `shared` it would have to be hidden from older servers there, and does not.
        let control =
            ControlMessage::Disconnect { user_id: user.to_owned(), code, reason: reason.to_owned() };
        let asker = Asker::Publish { ticket, strict, local, shared: false, kept: false };
        let added = match self.routing {
            Routing::User => {
                let payload = envelope::write_control(&control);
                self.router.routes.publish(["user:", user], &[envelope::CONTROL, payload.as_bytes()], asker)
            }
            Routing::Shared => self.control(&control, asker),
        };
        if sent(added)? == Sent::Added {
            return Ok(Reply::Later(ticket));
        }
        self.serve_here(strict, || self.dispatcher.registry.disconnect_user(user, code, reason))
    }

    fn is_alone(&self) -> bool {
        false
    }

    fn subscribe(&self, topics: &[Topic<'_>]) -> Option<Confirmations> {
        let mut covered = Confirmations::default();
        for (index, topic) in topics.iter().enumerate() {
            match self.router.subscribe(&name_of(*topic)) {
                Ok(Some(confirmed)) => covered.confirmations.push((index, confirmed)),
                Ok(None) => {}
                // Nothing to wait for: the link asks for it when it is back.
                Err(()) => covered.incomplete = true,
            }
        }
        Some(covered).filter(|covered| covered.incomplete || !covered.confirmations.is_empty())
    }

    fn note_unconfirmed(&self, topics: &[Topic<'_>]) {
        count(&self.router.counts.unconfirmed);
        topics.iter().for_each(|topic| self.router.subscriptions.note_unconfirmed(&name_of(*topic)));
    }

    fn unsubscribe(&self, topic: Topic<'_>) {
        self.router.subscriptions.unsubscribe(&name_of(topic));
    }
}

impl Counting for RedisBroker {
    fn is_online(&self, user: &str) -> Result<Reply, Error> {
        if self.dispatcher.registry.has(Topic::User(user)) {
            return Ok(Reply::Now(Answer::Number(1)));
        }
        let ticket = self.dispatcher.ticket();
        self.later(ticket, self.router.routes.count_subscribers(&format!("user:{user}"), ticket))
    }

    fn count(&self, user: Option<&str>) -> Result<Reply, Error> {
        let ticket = self.dispatcher.ticket();
        let connections = self.dispatcher.registry.count(user);
        self.dispatcher.begin_count(ticket, connections);
        let user_id = user.map(str::to_owned);
        let control = ControlMessage::Count { id: ticket, node: self.router.node.clone(), user_id };
        let sent = sent(self.control(&control, Asker::Count { ticket }));
        if !matches!(sent, Ok(Sent::Added)) {
            self.dispatcher.forget_count(ticket);
            let census = ConnectionCount { connections, servers: 1, complete: false };
            return sent.map(|_| Reply::Now(Answer::ConnectionCount(census)));
        }
        let dispatcher = self.dispatcher.clone();
        self.router.next_worker().spawn(async move {
            tokio::time::sleep(dispatcher::COUNT_PATIENCE).await;
            dispatcher.end_count(ticket);
        });
        Ok(Reply::Later(ticket))
    }
}

impl RawChannels for RedisBroker {
    fn publish_raw(&self, channel: &str, payload: &[u8]) -> Result<Reply, Error> {
        claim::check(channel, &self.router.config.prefix)?;
        let ticket = self.dispatcher.ticket();
        self.later(ticket, self.router.routes.publish_raw(channel, payload, Asker::Receivers { ticket }))
    }
}

impl History for RedisBroker {
    fn read(&self, topic: Topic<'_>, request: PageRequest) -> Result<Reply, Error> {
        let Bounds { size, .. } = self.router.config.history.check(topic)?;
        let ticket = self.dispatcher.ticket();
        let question = HistoryQuestion::new(name_of(topic), request, size, PageReader::Embedder(ticket));
        self.later(ticket, self.router.routes.read(question))
    }

    fn page(&self, topic: Topic<'_>, request: PageRequest) -> oneshot::Receiver<Result<HistoryPage, Error>> {
        let (answer, page) = oneshot::channel();
        match self.router.config.history.check(topic) {
            Ok(Bounds { size, .. }) => {
                let reader = PageReader::Client(answer);
                // One that is not added is dropped, and so is the sender.
                let _ = self.router.routes.read(HistoryQuestion::new(name_of(topic), request, size, reader));
            }
            Err(error) => drop(answer.send(Err(error))),
        }
        page
    }

    fn place(&self, topic: Topic<'_>) -> Place {
        self.router.subscriptions.place(&name_of(topic))
    }
}

impl Broker<Handle> for RedisBroker {
    fn ready(&self) -> Reply {
        let ticket = self.dispatcher.ticket();
        if self.router.await_ready(ticket) { Reply::Now(Answer::Done) } else { Reply::Later(ticket) }
    }

    fn stats(&self) -> BrokerStats {
        let status = self.router.links.status();
        BrokerStats {
            kind: "redis",
            state: status.state,
            since: status.since,
            code: status.error.as_ref().map(Error::code),
            reason: status.error.map(|error| error.message),
            counts: self.router.read_counts(),
        }
    }

    fn close(&self, patience: Duration) {
        self.router.await_answers(patience);
        self.router.close();
        self.dispatcher.end_counts();
    }
}
