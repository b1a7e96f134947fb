//! Pub/Sub on channels of the embedder's own, by the same links as the broker's: `RedisPubSub`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use codes::error::{Code, Error, quote};
use hashbrown::HashSet;
use history::position::Position;
use parking_lot::Mutex;

use super::asker::Asker;
use super::claim;
use super::config::RedisConfig;
use super::connection::pipeline::NotAdded;
use super::connection::reply::CommandOutcome;
use super::failure::{away, overloaded};
use super::rate_limited_log::{RateLimitedLog, report_skipped, skipped};
use super::router::SubscriptionRouter;
use super::router::counts::Counts;
use super::sink::Sink;
use super::topology;
use crate::events::broker_status::BrokerStatus;
use crate::events::{Event, Events};
use crate::outcome::{Answer, Reply};
use crate::random_name::random_name;
use crate::registry::gathered::Gathered;
use crate::worker::heartbeat::Heartbeat;
use crate::worker::limits::Limits;
use crate::worker::memory::Memory;
use crate::worker::quota::Quota;
use crate::worker::thread::WorkerThread;

/// Bytes of messages that wait for the embedder before nothing more is read.
const MAX_WAITING: usize = 32 << 20;
/// Largest message.
const MAX_MESSAGE: usize = 64 << 20;
/// No engine has this number.
const NO_ENGINE: usize = usize::MAX;

/// Subscriptions by name, and what came on them.
#[derive(Debug)]
pub struct PubSub {
    router: Arc<SubscriptionRouter>,
    listener: Arc<Listener>,
    last_ticket: AtomicU64,
    worker: Mutex<Option<WorkerThread>>,
}

#[derive(Debug)]
struct Listener {
    events: Events,
    channels: Mutex<HashSet<String>>,
    waiting: AtomicUsize,
    stalled: AtomicBool,
    skipped: RateLimitedLog,
}

impl PubSub {
    /// Begins to connect. `notify` is called, from any thread, when [`PubSub::drain`] has something; not again until a
    /// drain has found nothing.
    ///
    /// # Errors
    /// `ERR_INTERNAL` with what the system says when it gives no thread.
    pub fn start(config: RedisConfig, notify: Box<dyn Fn() + Send + Sync>) -> Result<PubSub, Error> {
        let node = random_name();
        let worker = WorkerThread::start(
            NO_ENGINE,
            tracing::error_span!("pubsub", name = node),
            0,
            Heartbeat::default(),
            Limits::default(),
            Memory::new(usize::MAX),
        )
        .map_err(|error| Error::new(Code::Internal, format!("can't start a thread: {error}")))?;
        let listener = Arc::new(Listener {
            events: Events::new(notify, usize::MAX, usize::MAX),
            channels: Mutex::default(),
            waiting: AtomicUsize::new(0),
            stalled: AtomicBool::new(false),
            skipped: skipped(),
        });
        let counts = Arc::<Counts>::default();
        let quota = Arc::new(Quota::new(config.pending_bytes));
        let workers = std::slice::from_ref(&worker);
        let router =
            SubscriptionRouter::new(config, String::new(), node, listener.clone(), counts, quota, workers);
        let router = Arc::new(router);
        worker.runtime.spawn(topology::supervise(router.clone()));
        Ok(PubSub { router, listener, last_ticket: AtomicU64::new(0), worker: Mutex::new(Some(worker)) })
    }

    fn ticket(&self) -> u64 {
        self.last_ticket.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Answers when every link is up; the ticket fails with the next failure before that.
    pub fn ready(&self) -> Reply {
        let ticket = self.ticket();
        if self.router.await_ready(ticket) { Reply::Now(Answer::Done) } else { Reply::Later(ticket) }
    }

    /// Publishes. The answer is how many subscribers were handed the message.
    ///
    /// # Errors
    /// `ERR_ARG_OUT_OF_RANGE` for a manager's own channel, `ERR_BROKER_UNAVAILABLE`, `ERR_BROKER_OVERLOADED`, `ERR_CLOSED`.
    pub fn publish(&self, channel: &str, payload: &[u8]) -> Result<Reply, Error> {
        self.check_open()?;
        claim::check(channel, &self.router.config.prefix)?;
        let ticket = self.ticket();
        match self.router.routes.publish_raw(channel, payload, Asker::Receivers { ticket }) {
            Ok(()) => Ok(Reply::Later(ticket)),
            Err(NotAdded::Full(_)) => Err(overloaded()),
            Err(NotAdded::Down(_)) => Err(away(self.router.links.status().error.as_ref())),
        }
    }

    /// Subscribes to a channel, for good: also while Redis is away, and after it. The answer comes when the
    /// subscription is confirmed for the first time.
    ///
    /// # Errors
    /// `ERR_ARG_OUT_OF_RANGE` for a manager's own channel, `ERR_CLOSED`.
    pub fn subscribe(&self, channel: &str) -> Result<Reply, Error> {
        self.check_open()?;
        claim::check(channel, &self.router.config.prefix)?;
        self.listener.channels.lock().insert(channel.to_owned());
        let ticket = self.ticket();
        if self.router.subscriptions.cover_for(channel, ticket) {
            return Ok(Reply::Now(Answer::Done));
        }
        // A close that came meanwhile may have overlooked it.
        if self.router.is_closed() {
            self.router.subscriptions.drop_topic(channel);
        }
        Ok(Reply::Later(ticket))
    }

    /// Drops a subscription. Messages that are under way may still come.
    pub fn unsubscribe(&self, channel: &str) {
        self.listener.channels.lock().remove(channel);
        self.router.subscriptions.drop_topic(channel);
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.router.is_closed() {
            Err(Error::new(Code::Closed, "the RedisPubSub is closed"))
        } else {
            Ok(())
        }
    }

    /// Takes at most `max` events. An empty answer means that there were none.
    pub fn drain(&self, max: usize) -> VecDeque<Event> {
        let events = self.listener.events.drain(max);
        let bytes: usize = events.iter().map(size).sum();
        if bytes > 0 {
            let left = self.listener.waiting.fetch_sub(bytes, Ordering::AcqRel) - bytes;
            if left <= MAX_WAITING / 2 && self.listener.stalled.swap(false, Ordering::AcqRel) {
                self.router.resume();
            }
        }
        events
    }

    /// The state of the links.
    pub fn status(&self) -> BrokerStatus {
        self.router.links.status()
    }

    /// Waits for answers that are due, at most so long, and ends everything. [`Event::Closed`] comes last.
    pub fn close(self: &Arc<Self>, patience: Duration) {
        if self.router.is_closed() {
            return;
        }
        let pubsub = self.clone();
        let work = move || {
            pubsub.router.await_answers(patience);
            pubsub.abort();
            pubsub.listener.events.push(Event::Closed);
        };
        if std::thread::Builder::new().name("actory-redis-close".into()).spawn(work).is_err() {
            self.abort();
            self.listener.events.push(Event::Closed);
        }
    }

    /// Ends everything at once. Blocks until the thread has ended.
    pub fn abort(&self) {
        self.router.close();
        if let Some(mut worker) = self.worker.lock().take() {
            worker.stop();
        }
    }
}

impl Drop for PubSub {
    fn drop(&mut self) {
        self.abort();
    }
}

/// An event's bytes towards [`MAX_WAITING`].
fn size(event: &Event) -> usize {
    match event {
        Event::Channel { channel, payload } => channel.len() + payload.len() + 64,
        _ => 0,
    }
}

impl Sink for Listener {
    fn message(&self, name: &str, payload: &[u8], _: Option<Position>, _: &mut Gathered) {
        if !self.channels.lock().contains(name) {
            return;
        }
        let Ok(payload) = std::str::from_utf8(payload) else {
            return self.ignored(&format!("on channel {}, what is not UTF-8 is not JSON", quote(name)));
        };
        let event = Event::Channel { channel: name.to_owned(), payload: payload.to_owned() };
        if self.waiting.fetch_add(size(&event), Ordering::AcqRel) > MAX_WAITING {
            self.stalled.store(true, Ordering::Release);
        }
        self.events.push(event);
    }

    fn ignored(&self, why: &str) {
        if let Some(times) = self.skipped.note(Instant::now()) {
            self.events.push(Event::Problem(report_skipped(times, why)));
        }
    }

    fn settle(&self, asker: Asker, outcome: CommandOutcome, _: Option<(&str, &[u8])>) {
        let Asker::Receivers { ticket } = asker else { return };
        self.events.push(Event::Settled { ticket, result: outcome.number().map(Answer::Number) });
    }

    fn status(&self, status: BrokerStatus) {
        self.events.push(Event::Broker(status));
    }

    fn ready(&self, tickets: Vec<u64>, outcome: Result<(), Error>) {
        for ticket in tickets {
            let result = outcome.clone().map(|()| Answer::Done);
            self.events.push(Event::Settled { ticket, result });
        }
    }

    fn forbidden(&self, name: &str, error: Error) {
        self.events.push(Event::Forbidden { channel: name.to_owned(), error });
    }

    fn in_use(&self, name: &str) -> bool {
        self.channels.lock().contains(name)
    }

    fn largest(&self) -> usize {
        MAX_MESSAGE
    }

    fn is_congested(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }
}
