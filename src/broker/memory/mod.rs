//! The broker of a single server: it delivers messages at once, on the caller's thread.

mod logs;

use std::sync::Arc;
use std::time::Duration;

use ::history::position::{Place, Position};
use codes::error::{Code, Error};
use protocol::frame::Message;
use tokio::sync::oneshot;

use self::logs::Logs;
use super::history::HistoryConfig;
use super::page_request::PageRequest;
use super::{
    Broker, BrokerCounts, BrokerStats, Confirmations, Counting, Fanout, History, PublishOptions, RawChannels,
};
use crate::events::broker_status::State;
use crate::outcome::{Answer, ConnectionCount, Delivery, HistoryPage, Reply, Status};
use crate::registry::Registry;
use crate::registry::delivery::{deliver, relay};
use crate::registry::recipients::{Channel, RelayTarget, Topic};
use crate::time_of_day::unix_ms;
use crate::worker::handle::Handle;
use crate::worker::receipts::Receipt;

/// See the module.
#[derive(Debug)]
pub struct MemoryBroker {
    registry: Arc<Registry>,
    outbox_limit: usize,
    history: HistoryConfig,
    logs: Arc<Logs>,
    since: u64,
}

impl MemoryBroker {
    /// A broker that delivers to the connections in `registry`.
    pub fn new(registry: Arc<Registry>, outbox_limit: usize, history: HistoryConfig) -> Self {
        MemoryBroker { registry, outbox_limit, history, logs: Arc::new(Logs::new()), since: unix_ms() }
    }

    /// Drops what histories keep no more, from time to time, for as long as the broker is there.
    pub(crate) fn sweeper(&self) -> impl Future<Output = ()> + Send + 'static {
        logs::sweep(Arc::downgrade(&self.logs))
    }

    /// Keeps and delivers a message, if its topic has a history. Answers its place, and how many connections got it; `None`
    /// for that if a message with the same key was published before.
    fn log(
        &self,
        channel: Channel<'_>,
        message: Message<'_>,
        key: Option<&str>,
        deliver: impl Fn(Option<Position>) -> u32,
    ) -> Option<(Position, Option<u32>)> {
        let topic = channel.topic()?;
        let bounds = self.history.bounds_of(topic)?;
        self.logs.publish(topic, bounds, key, message, |position| deliver(Some(position)))
    }
}

impl Fanout<Handle> for MemoryBroker {
    fn publish(
        &self,
        channel: Channel<'_>,
        message: Message<'_>,
        options: PublishOptions<'_>,
    ) -> Result<Reply, Error> {
        let deliver = |position| deliver(&self.registry, channel, message, position, self.outbox_limit);
        options.check(&self.history, channel)?;
        if !options.is_fleeting
            && let Some((position, local)) = self.log(channel, message, options.idempotency_key, deliver)
        {
            return Ok(match local {
                Some(local) => served(local, Some(position)),
                None => Reply::Now(Answer::Repeated(Some(position))),
            });
        }
        Ok(served(deliver(None), None))
    }

    fn relay(
        &self,
        to: RelayTarget<'_>,
        message: Message<'_>,
        producer: &Arc<Handle>,
        receipt: Option<&Receipt>,
    ) -> Result<(), Error> {
        let key = receipt.filter(|_| self.history.is_on()).and_then(Receipt::idempotency_key);
        let relay = |position| relay(&self.registry, to, message, position, producer, self.outbox_limit);
        if !self.history.is_on() || self.log(to.channel(producer), message, key.as_deref(), relay).is_none() {
            relay(None);
        }
        Ok(())
    }

    fn disconnect_user(&self, user: &str, code: u16, reason: &str, _strict: bool) -> Result<Reply, Error> {
        Ok(served(self.registry.disconnect_user(user, code, reason), None))
    }

    fn is_alone(&self) -> bool {
        true
    }

    fn subscribe(&self, _topics: &[Topic<'_>]) -> Option<Confirmations> {
        None
    }

    fn note_unconfirmed(&self, _topics: &[Topic<'_>]) {}

    fn unsubscribe(&self, _topic: Topic<'_>) {}
}

/// The reply for a message, or a close, that so many connections here got.
fn served(local: u32, position: Option<Position>) -> Reply {
    let nodes = Some(u32::from(local > 0));
    Reply::Now(Answer::Delivery(Delivery { status: Status::Published, nodes, local, position }))
}

impl Counting for MemoryBroker {
    fn is_online(&self, user: &str) -> Result<Reply, Error> {
        Ok(Reply::Now(Answer::Number(self.registry.user(user).is_some().into())))
    }

    fn count(&self, user: Option<&str>) -> Result<Reply, Error> {
        let connections = self.registry.count(user);
        Ok(Reply::Now(Answer::ConnectionCount(ConnectionCount { connections, servers: 1, complete: true })))
    }
}

impl RawChannels for MemoryBroker {
    fn publish_raw(&self, _channel: &str, _payload: &[u8]) -> Result<Reply, Error> {
        let message = "there is no Redis: neither the option redis.url nor REDIS_URL says where it is, or redis is false";
        Err(Error::new(Code::BrokerUnavailable, message))
    }
}

impl History for MemoryBroker {
    fn read(&self, topic: Topic<'_>, request: PageRequest) -> Result<Reply, Error> {
        self.history.check(topic)?;
        Ok(Reply::Now(Answer::History(Box::new(self.logs.read(topic, request)))))
    }

    fn page(&self, topic: Topic<'_>, request: PageRequest) -> oneshot::Receiver<Result<HistoryPage, Error>> {
        let (answer, page) = oneshot::channel();
        let _ = answer.send(self.history.check(topic).map(|_| self.logs.read(topic, request)));
        page
    }

    fn place(&self, topic: Topic<'_>) -> Place {
        match self.history.bounds_of(topic) {
            Some(_) => self.logs.last(topic).into(),
            None => Place::Unknown,
        }
    }
}

impl Broker<Handle> for MemoryBroker {
    fn ready(&self) -> Reply {
        Reply::Now(Answer::Done)
    }

    fn stats(&self) -> BrokerStats {
        BrokerStats {
            kind: "memory",
            state: State::Up,
            since: self.since,
            code: None,
            reason: None,
            counts: BrokerCounts::default(),
        }
    }

    fn close(&self, _patience: Duration) {}
}
