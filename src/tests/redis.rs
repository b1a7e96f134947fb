//! Servers that share a Redis.

mod calls;
mod fairness;
mod faults;
mod history;
mod misbehaviour;
mod newcomers;
mod pressure;
mod pubsub;
mod scale;
mod start;
mod wire;

use protocol::frame::Message;

use super::harness::Server;
use super::redis_rig::RedisServer;
use crate::events::broker_status::State;
use crate::outcome::{Delivery, Status};
use crate::registry::recipients::Channel;

#[test]
fn a_user_is_reached_on_every_server() {
    let redis = RedisServer::start();
    let (one, two) = (Server::on(&redis.url()), Server::on(&redis.url()));
    let mut a = one.connect_as("ada");
    let mut b = two.connect_as("ada");
    let sent = one.delivery(one.engine.publish(Channel::User("ada"), Message::Text("hello"), false));
    assert_eq!(sent, Delivery { status: Status::Published, nodes: Some(2), local: 1, position: None });
    a.expect_text("hello");
    b.expect_text("hello");
    a.text("{\"relayed\":1}");
    a.expect_text("{\"relayed\":1}");
    b.expect_text("{\"relayed\":1}");
    assert_eq!(one.engine.stats().broker.state, State::Up);
}
