//! Somebody else on the Redis, who listens as any client may.

use redis::{Client, Connection, Value};

use super::RedisServer;
use crate::tests::harness::PATIENCE;

/// A connection that is subscribed.
pub(crate) struct Listener(Connection);

impl Listener {
    /// Subscribes to these channels.
    pub(crate) fn on(redis: &RedisServer, channels: &[&str]) -> Listener {
        let mut connection = Client::open(redis.url()).unwrap().get_connection().unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let subscribe = redis::cmd("SUBSCRIBE").arg(channels).get_packed_command();
        connection.send_packed_command(&subscribe).unwrap();
        for _ in channels {
            connection.recv_response().unwrap();
        }
        Listener(connection)
    }

    /// Channel and payload of the next message.
    pub(crate) fn next(&mut self) -> (String, Vec<u8>) {
        let message: Value = self.0.recv_response().unwrap();
        let (_, channel, payload): (String, String, Vec<u8>) = redis::from_redis_value(message).unwrap();
        (channel, payload)
    }

    /// The next message, as text.
    pub(crate) fn expect(&mut self, channel: &str, payload: &str) {
        let (got, bytes) = self.next();
        assert_eq!((got.as_str(), String::from_utf8_lossy(&bytes).as_ref()), (channel, payload));
    }
}
