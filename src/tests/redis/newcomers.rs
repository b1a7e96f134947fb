//! Clients that connect while Redis is away or slow are let in, get everything once it answers, and miss nothing in silence.

use protocol::frame::Message;

use crate::events::broker_status::State;
use crate::outcome::Status;
use crate::registry::recipients::Channel;
use crate::tests::harness::{Request, Server};
use crate::tests::redis_rig::RedisServer;
use crate::tests::redis_rig::traffic::unix_ms;

#[test]
fn who_came_while_redis_was_away_is_in_all_rooms_when_it_is_back() {
    let mut redis = RedisServer::start();
    let [one, two] = [(); 2].map(|()| Server::on(&redis.url()));
    redis.kill();
    one.broker("the broker to be down", |status| status.state == State::Down);
    let mut ada = one.open(Request::of("ada", &["tea", "cake"]));
    redis.restart();
    one.broker("a gap", |status| status.gap.is_some());
    two.broker("a gap", |status| status.gap.is_some());
    for channel in [Channel::User("ada"), Channel::Room("tea"), Channel::Room("cake")] {
        let delivery = two.delivery(two.engine.publish(channel, Message::Text("hello"), false));
        assert_eq!((delivery.status, delivery.nodes), (Status::Published, Some(1)), "{channel:?}");
        ada.expect_text("hello");
    }
}

#[test]
fn what_may_have_passed_somebody_by_who_was_let_in_unconfirmed_is_a_gap() {
    let redis = RedisServer::start();
    let server = Server::on(&redis.url());
    let before = unix_ms();
    redis.stop();
    let mut ada = server.open(Request::of("ada", &["tea"]));
    let open = unix_ms();
    assert_eq!(server.engine.stats().broker.counts.unconfirmed, 1);
    redis.resume();
    let status = server.broker("a gap", |status| status.gap.is_some());
    let (since, until) = status.gap.unwrap();
    assert_eq!(status.state, State::Up);
    assert!(before < since && since <= open && open <= until, "{before} {since} {open} {until}");
    // Counted although the link itself was never lost.
    assert_eq!(server.engine.stats().broker.counts.gaps, 1);
    assert_eq!(server.tell("ada", "hello").nodes, Some(1));
    ada.expect_text("hello");
}

#[test]
fn somebody_who_waited_for_the_confirmation_has_no_gap() {
    let redis = RedisServer::start();
    let server = Server::on(&redis.url());
    redis.run(&["CLIENT", "PAUSE", "300", "ALL"]);
    let mut ada = server.connect_as("ada");
    assert_eq!(server.tell("ada", "hello").nodes, Some(1));
    ada.expect_text("hello");
    assert_eq!(server.engine.stats().broker.counts.unconfirmed, 0);
}
