//! The engine: sockets in, messages out. It knows nothing of Node.
//!
//! [`Engine`] is the façade. A socket comes in through [`Engine::upgrade`] and runs from then on on a worker
//! thread; its events come out of [`Engine::drain`].

pub mod authorize;
pub mod config;
mod conversation;
mod json;
mod membership;
mod renewal;
mod request;
mod resume;
mod router;
mod sessions;
mod shared;
mod shutdown;
pub mod stats;
mod upgrade;
mod verification;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use codes::error::{Code, Error};
use history::position::Position;
use parking_lot::Mutex;
use protocol::frame::Message;
use tokio::sync::watch;

use crate::broker::page_request::PageRequest;
use crate::broker::redis::RedisBroker;
use crate::broker::{Broker, MemoryBroker, PublishOptions};
use crate::events::{Event, Events, Interest};
use crate::outcome::Reply;
use crate::random_name::random_name;
use crate::registry::recipients::{Channel, Topic};
use crate::registry::{Registry, delivery};
use crate::worker;
use crate::worker::handle::{ConnectionId, Handle, Pushed};
use crate::worker::inbox::Inbox;
use crate::worker::limiter::Limiter;
use crate::worker::memory;
use crate::worker::memory::Memory;
use crate::worker::outgoing::{Outgoing, Stamps};
use crate::worker::receipts::Receipt;
use crate::worker::thread::WorkerThread;
use config::{Config, Relay};
use conversation::Conversations;
use resume::Resumes;
use shared::Shared;
use stats::{SharedCounters, Stats};

pub use crate::worker::send_queue::Dropped;
pub use crate::worker::socket::Taken;
pub use upgrade::{Admission, Answer, Ticket, Upgrade, denial};

/// The embedder's answer to a client's message.
#[derive(Clone, Copy, Debug)]
pub enum Answered<'a> {
    /// It is taken.
    Taken,
    /// It is answered with data.
    Reply(Message<'a>),
    /// It is refused, with a code that may be the embedder's own.
    Refused { code: &'a str, message: &'a str },
    /// Its connection has ended before anybody took it.
    Dropped,
}

/// A running engine. Dropping it ends everything at once; [`Engine::shutdown`] does it politely.
#[derive(Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Tells this process' engines apart, never 0.
    number: usize,
    shared: Arc<Shared>,
    workers: Mutex<Vec<WorkerThread>>,
    inboxes: Vec<Arc<Inbox>>,
    next_worker: AtomicUsize,
    last_ticket: AtomicU64,
    /// [`Engine::shutdown`] was called: no more upgrades.
    shutting_down: AtomicBool,
    /// Nothing is sent or asked any more. Behind `shutting_down` by the drain: pages and clients are served during it.
    over: AtomicBool,
}

impl Engine {
    /// Starts the worker threads. `notify` is called, from any thread, when [`Engine::drain`] has something;
    /// not again until a drain has found nothing.
    ///
    /// # Errors
    /// `ERR_INTERNAL` with what the system says when it gives no threads or descriptors. The config has to be valid.
    pub fn start(config: Config, notify: Box<dyn Fn() + Send + Sync>) -> Result<Engine, Error> {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let node: String = random_name().chars().take(8).collect();
        // All that is told of an engine is told in it, on whatever thread.
        let span = tracing::error_span!("engine", name = node);
        let _entered = span.enter();
        let registry = Arc::new(Registry::default());
        let limits = config.limits;
        let memory = Memory::new(limits.memory_bytes);
        let workers: Vec<WorkerThread> = (0..config.threads)
            .map(|index| {
                WorkerThread::start(number, span.clone(), index, config.heartbeat, limits, memory.clone())
            })
            .collect::<io::Result<_>>()
            .map_err(|error| Error::new(Code::Internal, format!("can't start worker threads: {error}")))?;
        if let Some(first) = workers.first() {
            let runtimes = workers.iter().map(|worker| worker.runtime.clone()).collect();
            first.runtime.spawn(memory::guard(memory.clone(), runtimes));
        }
        let events = Arc::new(Events::new(notify, limits.event_bytes, limits.event_bytes_per_connection));
        let broker: Arc<dyn Broker<Handle>> = match &config.redis {
            redis if redis.is_on() => {
                let broker = RedisBroker::start(
                    redis,
                    limits.outbox_bytes,
                    &registry,
                    &events,
                    &config.history,
                    &workers,
                );
                // Messages that are not relayed wait for nobody.
                if config.relay != Relay::Off {
                    workers.iter().for_each(|worker| worker.inbox.set_intake(broker.intake().clone()));
                }
                Arc::new(broker)
            }
            _ => {
                let broker = MemoryBroker::new(registry.clone(), limits.outbox_bytes, config.history.clone());
                if let (Some(first), true) = (workers.first(), config.history.is_on()) {
                    first.runtime.spawn(broker.sweeper());
                }
                Arc::new(broker)
            }
        };
        let resumes = Resumes::new(broker.clone(), config.history.clone(), limits.outbox_bytes);
        let conversations = Conversations::new(resumes, events.clone(), limits.outbox_bytes);
        let shared = Shared {
            node: node.clone(),
            conversations,
            asked: Mutex::default(),
            registry,
            events,
            broker,
            counters: SharedCounters::default(),
            span: span.clone(),
            limiter: Limiter::new(config.limits.max_connections),
            memory,
            asking: Mutex::default(),
            closing: watch::Sender::new(false),
            last_id: AtomicU64::new(0),
            config,
        };
        let inner = Inner {
            number,
            shared: Arc::new(shared),
            inboxes: workers.iter().map(|worker| worker.inbox.clone()).collect(),
            workers: Mutex::new(workers),
            next_worker: AtomicUsize::new(0),
            last_ticket: AtomicU64::new(0),
            shutting_down: AtomicBool::new(false),
            over: AtomicBool::new(false),
        };
        let Config { threads, relay, redis, .. } = &inner.shared.config;
        tracing::info!(threads, ?relay, redis = redis.is_on(), "engine started");
        Ok(Engine { inner: Arc::new(inner) })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.shared().config
    }

    /// A connection's public id: unique over servers.
    pub fn public_id(&self, id: ConnectionId) -> String {
        self.shared().public_id(id)
    }

    /// Sets which kinds of events are queued.
    pub fn set_interest(&self, interest: Interest) {
        self.shared().events.set_interest(interest);
    }

    /// Takes at most `max` events. Wake-ups that this thread causes from here on wait for [`Engine::flush`].
    /// An empty answer means that there were none.
    pub fn drain(&self, max: usize) -> VecDeque<Event> {
        // The embedder has dealt with what it took before.
        self.shared().events.settle();
        worker::cork(self.inner.number);
        let events = self.shared().events.drain(max);
        if events.is_empty() {
            self.flush();
        }
        events
    }

    /// Lets go what was sent since [`Engine::drain`].
    pub fn flush(&self) {
        worker::uncork(self.inner.number, self.inner.inboxes.iter());
    }

    /// Publishes a message through the broker. With `true` for options, nobody gets it unless every server can.
    ///
    /// # Errors
    /// `ERR_TOO_LARGE` for what no send queue could take, `ERR_CLOSED` after a shutdown's drain; see
    /// [`Fanout::publish`](crate::broker::Fanout::publish).
    pub fn publish<'a>(
        &self,
        channel: Channel<'_>,
        message: Message<'_>,
        options: impl Into<PublishOptions<'a>>,
    ) -> Result<Reply, Error> {
        self.check_open()?;
        self.check_size(message)?;
        self.shared().broker.publish(channel, message, options.into())
    }

    /// Reads a topic's history.
    ///
    /// # Errors
    /// `ERR_CLOSED` after a shutdown's drain; see [`History::read`](crate::broker::History::read).
    pub fn history(&self, topic: Topic<'_>, after: Option<Position>, limit: u32) -> Result<Reply, Error> {
        self.check_open()?;
        self.shared().broker.read(topic, PageRequest::new(after, limit))
    }

    /// Publishes a payload on a channel of the embedder's own.
    ///
    /// # Errors
    /// `ERR_CLOSED` after a shutdown's drain; see [`RawChannels::publish_raw`](crate::broker::RawChannels::publish_raw).
    pub fn publish_raw(&self, channel: &str, payload: &[u8]) -> Result<Reply, Error> {
        self.check_open()?;
        self.shared().broker.publish_raw(channel, payload)
    }

    /// Delivers to connections of this server only, past the broker. Answers into how many send queues; none after a
    /// shutdown's drain.
    ///
    /// # Errors
    /// `ERR_TOO_LARGE` for what no send queue could take.
    pub fn deliver_local(&self, channel: Channel<'_>, message: Message<'_>) -> Result<u32, Error> {
        if self.is_over() {
            return Ok(0);
        }
        let limit = self.check_size(message)?;
        Ok(delivery::deliver(&self.shared().registry, channel, message, None, limit))
    }

    /// Queues a message to one connection. Answers whether it was queued.
    ///
    /// # Errors
    /// `ERR_TOO_LARGE` for what no send queue could take.
    pub fn send(&self, id: ConnectionId, message: Message<'_>) -> Result<bool, Error> {
        let limit = self.check_size(message)?;
        let Some(handle) = self.get(id) else { return Ok(false) };
        let message = Outgoing::new(message, Stamps::default());
        Ok(handle.push(message.frames(handle.encoding()), limit) == Pushed::Queued)
    }

    /// The embedder has a message that is to be answered. Answers the ticket for that.
    pub fn hold(&self, receipt: Receipt) -> u64 {
        let ticket = self.shared().next_id();
        self.shared().asked.lock().insert(ticket, receipt);
        ticket
    }

    /// The embedder has dealt with the message of this ticket: taken it, answered it with data, or neither. Once; later it is nothing.
    ///
    /// # Errors
    /// `ERR_TOO_LARGE` for data that no send queue could take: the client gets an error.
    pub fn answer(&self, ticket: u64, answer: Answered<'_>) -> Result<(), Error> {
        let Some(receipt) = self.shared().asked.lock().remove(&ticket) else { return Ok(()) };
        match answer {
            Answered::Taken => receipt.take(),
            Answered::Refused { code, message } => receipt.refuse(code, message),
            Answered::Reply(message) => {
                if let Err(error) = self.check_size(message) {
                    receipt.refuse(error.code(), &error.message);
                    return Err(error);
                }
                receipt.reply(message);
            }
            Answered::Dropped => drop(receipt),
        }
        Ok(())
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_over() { Err(closed()) } else { Ok(()) }
    }

    fn is_over(&self) -> bool {
        self.inner.over.load(Ordering::Acquire)
    }

    fn check_size(&self, message: Message<'_>) -> Result<usize, Error> {
        let limit = self.shared().config.limits.outbox_bytes;
        let size = message.payload().len();
        if size > limit {
            let text = format!("a message of {size} bytes is larger than limits.outboxBytes ({limit})");
            return Err(Error::new(Code::TooLarge, text));
        }
        Ok(limit)
    }

    /// Pings the client of a connection with up to 125 bytes. Answers whether that was queued.
    pub fn ping(&self, id: ConnectionId, payload: &[u8]) -> bool {
        let limit = self.shared().config.limits.outbox_bytes;
        self.get(id).is_some_and(|handle| handle.ping(payload, limit))
    }

    /// Looks a connection up that the embedder has heard of, and that may be closing.
    pub fn find(&self, id: ConnectionId) -> Option<Arc<Handle>> {
        self.shared().registry.find(id)
    }

    /// Looks a connection up.
    pub fn get(&self, id: ConnectionId) -> Option<Arc<Handle>> {
        self.shared().registry.get(id)
    }

    /// Puts a connection into a room.
    ///
    /// # Errors
    /// `ERR_TOO_MANY_ROOMS` if it is in `limits.roomsPerConnection` others.
    pub fn join(&self, id: ConnectionId, room: &Arc<str>) -> Result<(), Error> {
        self.get(id).map_or(Ok(()), |handle| self.shared().join(&handle, room))
    }

    /// The embedder has dealt with a connection's beginning: rooms that it resumes and is not in by now, it won't be in.
    pub fn greeted(&self, id: ConnectionId) {
        if let Some(handle) = self.get(id) {
            handle.mark_greeted();
            self.shared().conversations.resumes.call(&handle);
        }
    }

    /// Takes a connection out of a room.
    pub fn leave(&self, id: ConnectionId, room: &str) {
        if let Some(handle) = self.get(id) {
            self.shared().leave(&handle, room);
        }
    }

    /// The rooms a connection is in.
    pub fn rooms_of(&self, id: ConnectionId) -> Vec<Arc<str>> {
        self.get(id).map_or_else(Vec::new, |handle| self.shared().registry.rooms_of(&handle))
    }

    /// The open connections here that a channel names.
    pub fn members(&self, channel: Channel<'_>) -> Vec<Arc<Handle>> {
        let registry = &self.shared().registry;
        let mut members = match channel {
            Channel::User(user) => registry.user(user).map_or_else(Vec::new, |group| group.snapshot()),
            Channel::Room(room) => registry.room(room).map_or_else(Vec::new, |group| group.snapshot()),
            Channel::Everyone => registry.everyone().iter().flat_map(|group| group.snapshot()).collect(),
        };
        // One that has ended may have yet to leave some of many rooms.
        members.retain(|handle| handle.is_open());
        members
    }

    /// Closes all connections of a user, on all servers.
    ///
    /// # Errors
    /// `ERR_CLOSED` after a shutdown's drain; see [`Fanout::disconnect_user`](crate::broker::Fanout::disconnect_user).
    pub fn disconnect_user(&self, user: &str, code: u16, reason: &str, strict: bool) -> Result<Reply, Error> {
        self.check_open()?;
        self.shared().broker.disconnect_user(user, code, reason, strict)
    }

    /// On how many servers a user is connected, at most.
    ///
    /// # Errors
    /// `ERR_CLOSED` after a shutdown's drain; see [`Counting::is_online`](crate::broker::Counting::is_online).
    pub fn is_online(&self, user: &str) -> Result<Reply, Error> {
        self.check_open()?;
        self.shared().broker.is_online(user)
    }

    /// Counts a user's connections, or all, on all servers.
    ///
    /// # Errors
    /// `ERR_CLOSED` after a shutdown's drain; see [`Counting::count`](crate::broker::Counting::count).
    pub fn count(&self, user: Option<&str>) -> Result<Reply, Error> {
        self.check_open()?;
        self.shared().broker.count(user)
    }

    /// Answers when the broker is up.
    ///
    /// # Errors
    /// `ERR_CLOSED` after a shutdown's drain; the ticket fails with what keeps the broker from being up.
    pub fn ready(&self) -> Result<Reply, Error> {
        self.check_open()?;
        Ok(self.shared().broker.ready())
    }

    /// Names of the users that are connected here.
    pub fn users(&self) -> Vec<Arc<str>> {
        self.shared().registry.users()
    }

    /// Number of open connections.
    pub fn len(&self) -> usize {
        self.inner.inboxes.iter().map(|inbox| inbox.open.load(Ordering::Relaxed)).sum()
    }

    /// True if nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of users with a connection here.
    pub fn user_count(&self) -> usize {
        self.shared().registry.user_count()
    }

    /// A reading of all counters.
    pub fn stats(&self) -> Stats {
        let shared = self.shared();
        let counters = self.inner.inboxes.iter().map(|inbox| &inbox.counters);
        let mut stats = Stats::collect(counters, &shared.counters, shared.broker.stats());
        stats.connections = self.len();
        stats.users = shared.registry.user_count();
        stats.rooms = shared.registry.room_count();
        stats.handshakes = shared.limiter.count().saturating_sub(stats.connections);
        stats.threads = self.inner.workers.lock().len();
        stats.event_bytes = shared.events.pending_bytes();
        stats.unfinished_bytes = shared.memory.unfinished();
        stats.outbox_bytes = shared.memory.used().saturating_sub(stats.unfinished_bytes);
        stats.memory_limit_bytes = shared.memory.limit();
        stats
    }
}

fn closed() -> Error {
    Error::new(Code::Closed, "the WebSocketManager is closed")
}
