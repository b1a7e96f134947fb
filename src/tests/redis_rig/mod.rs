//! Real Redis servers that a test starts and breaks, and what goes between them and us.

mod cluster;
pub(crate) mod fake;
pub(crate) mod kept;
mod listener;
pub(crate) mod sentinel;
mod server;
mod tap;
mod tls;
pub(crate) mod traffic;

pub(crate) use cluster::{MASTERS, RedisCluster};
pub(crate) use fake::FakeRedis;
pub(crate) use listener::Listener;
pub(crate) use server::{RedisServer, private_dir};
pub(crate) use tap::Tap;
pub(crate) use tls::{KEY, TlsRedis, openssl};

use std::time::Duration;

use codes::error::Error;
use protocol::frame::Message;

use super::harness::{Server, config};
use crate::broker::redis::{RedisConfig, Server as RedisAt};
use crate::engine::config::Config;
use crate::events::Event;
use crate::events::broker_status::{BrokerStatus, State};
use crate::outcome::{Answer, Delivery, Reply};
use crate::registry::recipients::Channel;

/// A configuration for tests whose broker is the Redis at `url`.
pub(crate) fn with_redis(url: &str) -> Config {
    with(RedisConfig::new(vec![RedisAt::parse(url).unwrap()]))
}

/// The same with other options for Redis.
pub(crate) fn with(redis: RedisConfig) -> Config {
    Config { redis, ..config() }
}

impl Server {
    /// A server that waits until its broker is up.
    pub(crate) fn start_up(config: Config) -> Server {
        let server = Server::start(config);
        server.expect_up();
        server
    }

    /// A server on the Redis at `url`, whose broker is up.
    pub(crate) fn on(url: &str) -> Server {
        Server::start_up(with_redis(url))
    }

    /// Waits until the broker is up, however many attempts that takes.
    pub(crate) fn expect_up(&self) {
        self.broker("the broker to be up", |status| status.state == State::Up);
    }

    /// Waits for the broker to tell of this, unless it has told and was not asked. Its words before are dropped.
    pub(crate) fn broker(&self, what: &str, mut pick: impl FnMut(&BrokerStatus) -> bool) -> BrokerStatus {
        loop {
            let status = self.event(what, |event| match event {
                Event::Broker(status) => Some(status.clone()),
                _ => None,
            });
            if pick(&status) {
                return status;
            }
        }
    }

    /// The broker's news since it was last asked, without waiting.
    pub(crate) fn broker_events(&self) -> Vec<BrokerStatus> {
        let next = || {
            self.event_within(Duration::ZERO, |event| match event {
                Event::Broker(status) => Some(status.clone()),
                _ => None,
            })
        };
        std::iter::from_fn(next).collect()
    }

    /// The gaps that the broker told of since it was last asked, without waiting.
    pub(crate) fn gaps(&self) -> Vec<(u64, u64)> {
        self.broker_events().iter().filter_map(|status| status.gap).collect()
    }

    /// The answer to a question to the broker.
    pub(crate) fn settled(&self, reply: Result<Reply, Error>) -> Result<Answer, Error> {
        match reply? {
            Reply::Now(answer) => Ok(answer),
            Reply::Later(number) => self.event("an answer", |event| match event {
                Event::Settled { ticket, result } if *ticket == number => Some(result.clone()),
                _ => None,
            }),
        }
    }

    /// The outcome of a publish that must not fail.
    pub(crate) fn delivery(&self, reply: Result<Reply, Error>) -> Delivery {
        match self.settled(reply) {
            Ok(Answer::Delivery(delivery)) => delivery,
            other => panic!("{other:?}"),
        }
    }

    /// Publishes a text for a user, and says what became of it.
    pub(crate) fn tell(&self, user: &str, text: &str) -> Delivery {
        self.delivery(self.engine.publish(Channel::User(user), Message::Text(text), false))
    }
}
