//! The broker of a single server: what is published is delivered here, at once, on the caller's thread.

use std::sync::Arc;
use std::time::Duration;

use codes::error::{Code, Error};
use protocol::frame::Message;

use super::{Broker, BrokerCounts, BrokerStats, Confirmations, Counting, Fanout, RawChannels};
use crate::events::broker_status::State;
use crate::outcome::{Answer, ConnectionCount, Delivery, Reply, Status};
use crate::registry::Registry;
use crate::registry::delivery::{deliver, relay};
use crate::registry::recipients::{Channel, RelayTarget, Topic};
use crate::time_of_day::unix_ms;
use crate::worker::handle::Handle;

/// See the module.
#[derive(Debug)]
pub struct MemoryBroker {
    registry: Arc<Registry>,
    outbox_limit: usize,
    since: u64,
}

impl MemoryBroker {
    /// A broker that delivers to the connections in `registry`.
    pub fn new(registry: Arc<Registry>, outbox_limit: usize) -> Self {
        MemoryBroker { registry, outbox_limit, since: unix_ms() }
    }
}

impl Fanout<Handle> for MemoryBroker {
    fn publish(&self, channel: Channel<'_>, message: Message<'_>, _strict: bool) -> Result<Reply, Error> {
        Ok(served(deliver(&self.registry, channel, message, self.outbox_limit)))
    }

    fn relay(&self, to: RelayTarget<'_>, message: Message<'_>, producer: &Arc<Handle>) -> Result<(), Error> {
        relay(&self.registry, to, message, producer, self.outbox_limit);
        Ok(())
    }

    fn disconnect_user(&self, user: &str, code: u16, reason: &str, _strict: bool) -> Result<Reply, Error> {
        Ok(served(self.registry.disconnect_user(user, code, reason)))
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
fn served(local: u32) -> Reply {
    let nodes = Some(u32::from(local > 0));
    Reply::Now(Answer::Delivery(Delivery { status: Status::Published, nodes, local }))
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
