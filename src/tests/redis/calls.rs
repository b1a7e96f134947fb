//! Calls to all servers together: who is where, how many there are, and to see somebody out.

use std::time::{Duration, Instant};

use codes::error::{Code, Error};
use protocol::frame::Message;

use crate::broker::redis::RedisConfig;
use crate::engine::config::{Config, Relay};
use crate::outcome::{Answer, ConnectionCount, Delivery, Status};
use crate::registry::recipients::Channel;
use crate::tests::harness::{GLANCE, PATIENCE, Request, Server, eventually};
use crate::tests::redis_rig::{Listener, RedisServer, Tap, with, with_redis};

fn online(server: &Server, user: &str) -> Result<u64, Error> {
    match server.settled(server.engine.is_online(user)) {
        Ok(Answer::Number(number)) => Ok(number),
        Err(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn census(server: &Server, user: Option<&str>) -> ConnectionCount {
    match server.settled(server.engine.count(user)) {
        Ok(Answer::ConnectionCount(census)) => census,
        other => panic!("{other:?}"),
    }
}

/// A configuration that drops subscriptions soon after their last member.
fn short_grace(redis: &RedisServer, grace: Duration) -> Config {
    with(RedisConfig { grace, ..with_redis(&redis.url()).redis })
}

#[test]
fn a_user_is_seen_out_on_all_servers() {
    let mut redis = RedisServer::start();
    let (one, two) = (Server::on(&redis.url()), Server::on(&redis.url()));
    let (mut a, mut b, mut c) = (one.connect_as("ada"), two.connect_as("ada"), two.connect_as("ada"));
    let mut bob = two.connect_as("bob");
    one.tell("ada", "last words");
    let out = one.delivery(one.engine.disconnect_user("ada", 4002, "out", false));
    assert_eq!(out, Delivery { status: Status::Published, nodes: Some(2), local: 1, position: None });
    for client in [&mut a, &mut b, &mut c] {
        client.expect_text("last words");
        assert_eq!(client.expect_close(4002), "out");
    }
    bob.expect_alive();
    // Alone, one's own connections are what can be closed.
    redis.kill();
    two.broker("the broker to be down", |status| status.error.is_some());
    let out = two.delivery(two.engine.disconnect_user("bob", 4002, "", false));
    assert_eq!(out, Delivery { status: Status::Local, nodes: None, local: 1, position: None });
    bob.expect_close(4002);
}

#[test]
fn nobody_is_seen_out_before_what_was_published_for_them() {
    const LAST_WORDS: usize = 50;
    let redis = RedisServer::start();
    let start = || Server::start_up(with(RedisConfig { connections: 4, ..with_redis(&redis.url()).redis }));
    let (one, two) = (start(), start());
    for round in 0..20 {
        let user = format!("user-{round}");
        let mut client = two.connect_as(&user);
        let told: Vec<_> = (0..LAST_WORDS)
            .map(|_| one.engine.publish(Channel::User(&user), Message::Text("last words"), false))
            .collect();
        let out = one.engine.disconnect_user(&user, 4002, "out", false);
        for reply in told.into_iter().chain([out]) {
            assert_eq!(one.delivery(reply).nodes, Some(1));
        }
        for _ in 0..LAST_WORDS {
            client.expect_text("last words");
        }
        client.expect_close(4002);
    }
}

#[test]
fn a_server_that_has_told_its_last_connection_still_reaches_the_others() {
    let redis = RedisServer::start();
    let mut config = with_redis(&redis.url());
    config.limits.close_timeout = PATIENCE;
    let (one, two) = (Server::start_up(config), Server::on(&redis.url()));
    let mut ada = two.connect_as("ada");
    let mut mute = one.connect_as("bob");
    one.engine.shutdown(Duration::from_millis(1), 1012, "");
    mute.expect_close(1012);
    one.tell("ada", "before it is gone");
    ada.expect_text("before it is gone");
    mute.close(1012, "");
    one.expect_closed();
    let late = one.engine.publish(Channel::User("ada"), Message::Text("too late"), false);
    assert_eq!(late.unwrap_err().kind, Code::Closed);
    ada.expect_alive();
}

#[test]
fn whether_a_user_is_online_is_known_everywhere() {
    let mut redis = RedisServer::start();
    let grace = Duration::from_millis(100);
    let (one, two) = (Server::on(&redis.url()), Server::start_up(short_grace(&redis, grace)));
    assert_eq!(online(&one, "ada"), Ok(0));
    let ada = two.connect_as("ada");
    assert_eq!(online(&one, "ada"), Ok(1));
    assert_eq!(online(&two, "ada"), Ok(1));
    drop(ada);
    eventually("ada to be gone for everybody", || online(&one, "ada") == Ok(0));
    let _bob = one.connect_as("bob");
    redis.kill();
    one.broker("the broker to be down", |status| status.error.is_some());
    assert_eq!(online(&one, "bob"), Ok(1), "who is here needs no asking");
    assert_eq!(online(&one, "ada").unwrap_err().kind, Code::BrokerUnavailable);
}

#[test]
fn connections_are_counted_over_all_servers() {
    let redis = RedisServer::start();
    let servers = [(); 3].map(|()| Server::on(&redis.url()));
    let _clients: Vec<_> = servers.iter().flat_map(|one| [one.connect_as("ada"), one.connect()]).collect();
    let all = ConnectionCount { connections: 6, servers: 3, complete: true };
    assert_eq!(census(&servers[0], None), all);
    assert_eq!(census(&servers[1], Some("ada")), ConnectionCount { connections: 3, ..all });
    assert_eq!(census(&servers[2], Some("nobody")), ConnectionCount { connections: 0, ..all });
    let counts: Vec<_> = (0..100).map(|_| servers[0].engine.count(None)).collect();
    for reply in counts {
        assert_eq!(servers[0].settled(reply), Ok(Answer::ConnectionCount(all)));
    }
}

#[test]
fn a_count_says_when_somebody_did_not_answer() {
    let redis = RedisServer::start();
    let server = Server::on(&redis.url());
    let _ada = server.connect_as("ada");
    let _mute = Listener::on(&redis, &["actory:control"]);
    let begun = Instant::now();
    assert_eq!(census(&server, None), ConnectionCount { connections: 1, servers: 1, complete: false });
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_count_whose_link_breaks_knows_who_is_here() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let server = Server::on(&tap.url());
    let _ada = server.connect_as("ada");
    let here = ConnectionCount { connections: 1, servers: 1, complete: false };
    tap.stall();
    let reply = server.engine.count(None);
    tap.cut();
    assert_eq!(server.settled(reply), Ok(Answer::ConnectionCount(here)));
    server.broker("the broker to be down", |status| status.error.is_some());
    assert_eq!(census(&server, Some("ada")), here);
}

#[test]
fn a_strict_publish_reaches_all_or_says_that_it_did_not() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let server = Server::on(&tap.url());
    let mut ada = server.connect_as("ada");
    let strictly = |text| server.engine.publish(Channel::User("ada"), Message::Text(text), true);
    assert_eq!(server.delivery(strictly("one")).status, Status::Published);
    tap.stall();
    let held = tap.held();
    let under_way = strictly("two");
    eventually("it to be on its way", || tap.held() > held);
    let held = tap.held();
    let lax = server.engine.publish(Channel::User("ada"), Message::Text("three"), false);
    eventually("it to be on its way", || tap.held() > held);
    tap.cut();
    assert_eq!(server.settled(under_way).unwrap_err().kind, Code::Uncertain);
    assert_eq!(server.delivery(lax).status, Status::Uncertain);
    server.broker("the broker to be down", |status| status.error.is_some());
    // At once, or, while what was under way is still being settled, a moment later.
    let refused = match strictly("four") {
        Err(error) => Err(error),
        reply => server.settled(reply),
    };
    assert_eq!(refused.unwrap_err().kind, Code::BrokerUnavailable);
    assert_eq!(server.tell("ada", "five").status, Status::Local);
    ada.expect_text("one");
    ada.expect_text("five");
    let counts = server.engine.stats().broker.counts;
    assert_eq!((counts.published, counts.uncertain, counts.local), (1, 2, 1));
}

#[test]
fn a_client_is_told_what_became_of_a_relayed_message() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let server = Server::on(&tap.url());
    let mut ada = server.connect_as("ada");
    ada.text("1");
    ada.expect_text("1");
    tap.stall();
    ada.text("2");
    eventually("the message to be on its way", || {
        server.engine.stats().broker.counts.pending > 0 && tap.held() > 0
    });
    tap.cut();
    ada.expect_error("ERR_UNCERTAIN");
    server.broker("the broker to be down", |status| status.error.is_some());
    ada.text("3");
    ada.expect_text("3");
    ada.expect_error("ERR_BROKER_UNAVAILABLE");
    tap.open();
    server.expect_up();
    ada.text("4");
    ada.expect_text("4");
}

#[test]
fn rooms_span_servers_and_change_while_connections_live() {
    let redis = RedisServer::start();
    let config = || Config { relay: Relay::Rooms, ..short_grace(&redis, Duration::from_millis(100)) };
    let (one, two) = (Server::start_up(config()), Server::start_up(config()));
    let mut ada = one.open(Request::of("ada", &["den"]));
    let mut bob = two.connect_as("bob");
    two.engine.join(bob.id(), &"den".into()).unwrap();
    eventually("the room to be subscribed twice", || redis.subscribers("actory:room:den") == 2);
    ada.text("1");
    ada.expect_text("1");
    bob.expect_text("1");
    two.engine.leave(bob.id(), "den");
    eventually("the room to be left", || redis.subscribers("actory:room:den") == 1);
    ada.text("2");
    ada.expect_text("2");
    bob.expect_silence(GLANCE);
    // A server's own publishes come after its own subscriptions, without anybody waiting.
    one.engine.join(ada.id(), &"attic".into()).unwrap();
    let sent = one.delivery(one.engine.publish(Channel::Room("attic"), Message::Text("3"), false));
    assert_eq!(sent.nodes, Some(1));
    ada.expect_text("3");
}

#[test]
fn a_subscription_outlives_its_last_member_by_the_grace_and_not_much_more() {
    let redis = RedisServer::start();
    let server = Server::start_up(short_grace(&redis, Duration::from_secs(1)));
    let subscribed = || redis.subscribers("actory:user:ada") == 1;
    let before = server.engine.stats().broker.counts.subscriptions;
    drop(server.connect_as("ada"));
    server.expect_empty();
    let left = Instant::now();
    // A user back in time finds it as it was.
    std::thread::park_timeout(Duration::from_millis(300));
    assert!(subscribed());
    let ada = server.connect_as("ada");
    std::thread::park_timeout(Duration::from_millis(1500).saturating_sub(left.elapsed()));
    assert!(subscribed(), "somebody is there");
    drop(ada);
    server.expect_empty();
    let left = Instant::now();
    eventually("the subscription to be dropped", || !subscribed());
    assert!(left.elapsed() > Duration::from_millis(900), "{:?}", left.elapsed());
    assert!(left.elapsed() < Duration::from_secs(3), "{:?}", left.elapsed());
    assert_eq!(server.engine.stats().broker.counts.subscriptions, before);
}

#[test]
fn rooms_that_are_joined_and_left_without_end_do_not_pile_up_as_subscriptions() {
    const UNUSED: u64 = 16 * 1024;
    let redis = RedisServer::start();
    let server = Server::start_up(short_grace(&redis, Duration::from_secs(3600)));
    let ada = server.connect_as("ada");
    let join = |room: &str| server.engine.join(ada.id(), &room.into()).unwrap();
    let subscriptions = || server.engine.stats().broker.counts.subscriptions;
    let before = subscriptions();
    join("left and joined again");
    server.engine.leave(ada.id(), "left and joined again");
    join("left and joined again");
    for n in 0..20_000 {
        let room = format!("room {n}");
        join(&room);
        server.engine.leave(ada.id(), &room);
    }
    eventually("the oldest to be dropped", || subscriptions() <= before + 1 + UNUSED);
    assert!(subscriptions() >= before + UNUSED, "no more than needed");
    let is_subscribed = |room: &str| redis.subscribers(&format!("actory:room:{room}")) == 1;
    eventually("Redis to know", || !is_subscribed("room 0"));
    assert!(is_subscribed("room 19999") && is_subscribed("left and joined again"));
}

#[test]
fn coming_and_going_without_a_grace_leaves_what_is_needed_and_nothing_else() {
    let redis = RedisServer::start();
    let server = Server::start_up(short_grace(&redis, Duration::ZERO));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..100 {
                    let mut client = server.connect_as("ada");
                    let text = format!("{thread}/{round}");
                    assert!(server.tell("ada", &text).nodes == Some(1), "{text}");
                    while client.next_text() != text {}
                    if round % 2 == 0 {
                        client.reset();
                    }
                }
            });
        }
    });
    server.expect_empty();
    eventually("nothing to be subscribed", || redis.subscribers("actory:user:ada") == 0);
    let mut ada = server.connect_as("ada");
    assert_eq!(server.tell("ada", "still here").nodes, Some(1));
    ada.expect_text("still here");
}
