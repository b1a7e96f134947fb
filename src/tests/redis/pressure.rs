//! More than Redis takes: the queue is bounded, handshakes don't wait long, and a shutdown waits for nobody.

use std::time::{Duration, Instant};

use codes::error::Code;
use protocol::frame::Message;

use crate::broker::redis::RedisConfig;
use crate::engine::config::Config;
use crate::events::Event;
use crate::events::broker_status::State;
use crate::outcome::{Delivery, Reply, Status};
use crate::registry::recipients::Channel;
use crate::tests::harness::{Request, Server, eventually};
use crate::tests::redis_rig::{RedisServer, Tap, with, with_redis};

/// The least that `redis.pendingBytes` may be.
const PENDING: usize = 64 << 10;

fn narrow(redis: &RedisServer) -> Config {
    with(RedisConfig { pending_bytes: PENDING, ..with_redis(&redis.url()).redis })
}

#[test]
fn a_flood_from_redis_for_many_leaves_others_their_turns() {
    let redis = RedisServer::start();
    let server = Server::start_up(Config { threads: 1, ..with_redis(&redis.url()) });
    let mut crowd: Vec<_> = (0..200).map(|n| server.open(Request::of(&format!("{n}"), &["crowd"]))).collect();
    let mut other = server.connect_as("ada");
    let mut flood = redis::pipe();
    for _ in 0..10_000 {
        flood.cmd("PUBLISH").arg("actory:room:crowd").arg("t1").ignore();
    }
    let received = || server.engine.stats().broker.counts.received;
    let before = received();
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    connection.send_packed_command(&flood.get_packed_pipeline()).unwrap();
    eventually("it to come", || received() > before);
    let mut trips = 0;
    while received() < before + 10_000 {
        other.expect_alive();
        trips += 1;
    }
    assert!(trips >= 4, "{trips} round trips meanwhile");
    for client in &mut crowd {
        (0..10_000).for_each(|_| client.expect_text("1"));
    }
}

#[test]
fn what_waits_for_a_redis_that_stands_still_is_bounded_and_goes_when_it_moves() {
    let redis = RedisServer::start();
    let server = Server::start_up(narrow(&redis));
    let mut ada = server.connect_as("ada");
    let mut bob = server.connect_as("bob");
    redis.stop();
    let text = "x".repeat(1000);
    let publish = || server.engine.publish(Channel::User("ada"), Message::Text(&text), false);
    let mut tickets = Vec::new();
    let refused = loop {
        match publish() {
            Ok(Reply::Later(ticket)) => tickets.push(ticket),
            Ok(now) => panic!("{now:?}"),
            Err(error) => break error,
        }
        assert!(server.engine.stats().broker.counts.pending_bytes < (PENDING + 2000) as u64);
    };
    assert_eq!(refused.kind, Code::BrokerOverloaded);
    assert!((50..100).contains(&tickets.len()), "{}", tickets.len());
    // The same for everything else that asks Redis.
    for reply in [
        publish(),
        server.engine.publish_raw("news", b"x"),
        server.engine.is_online("eve"),
        server.engine.count(None),
        server.engine.disconnect_user("eve", 4002, "", false),
    ] {
        assert_eq!(reply.unwrap_err().kind, Code::BrokerOverloaded);
    }
    // A client is not told: its messages wait.
    bob.text("1");
    redis.resume();
    for ticket in tickets {
        let sent = server.delivery(Ok(Reply::Later(ticket)));
        assert_eq!(sent, Delivery { status: Status::Published, nodes: Some(1), local: 1, position: None });
        ada.expect_text(&text);
    }
    bob.expect_text("1");
    bob.text("2");
    bob.expect_text("2");
    let counts = server.engine.stats().broker.counts;
    assert_eq!((counts.pending, counts.pending_bytes, counts.gaps), (0, 0, 0));
}

#[test]
fn what_waited_for_a_redis_that_is_given_up_is_accounted_for() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let config = RedisConfig { command_timeout: Duration::from_millis(500), ..with_redis(&tap.url()).redis };
    let mut config = with(config);
    // Messages that are served here at the end come at once.
    config.limits.outbox_bytes = 64 << 20;
    let server = Server::start_up(config);
    let mut ada = server.connect_as("ada");
    tap.stall();
    // More than the kernel and the tap hold, so that some of it is never written.
    let text = "x".repeat(500_000);
    let publish = |n: usize| {
        server.engine.publish(Channel::User("ada"), Message::Text(&format!("{n:03}{text}")), false)
    };
    let replies: Vec<_> = (0..60).map(publish).collect();
    let sent: Vec<Status> = replies.into_iter().map(|reply| server.delivery(reply).status).collect();
    let written = sent.iter().take_while(|status| **status == Status::Uncertain).count();
    assert!((1..60).contains(&written), "{sent:?}");
    assert!(sent[written..].iter().all(|status| *status == Status::Local), "{sent:?}");
    // Messages that never left are served here, in their order.
    for n in written..60 {
        assert!(ada.next_text().starts_with(&format!("{n:03}x")));
    }
    assert_eq!(server.engine.stats().broker.counts.pending_bytes, 0);
}

#[test]
fn a_handshake_waits_a_second_for_a_redis_that_stands_still() {
    let redis = RedisServer::start();
    let server = Server::on(&redis.url());
    redis.stop();
    let begun = Instant::now();
    let clients: Vec<_> =
        (0..50).map(|n| server.request(Request::of(&format!("user-{n}"), &["den"])).0).collect();
    for mut client in clients {
        client.response().expect_101();
    }
    assert!((900..2500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert_eq!(server.engine.stats().broker.counts.unconfirmed, 50);
    redis.resume();
    eventually("the room to be subscribed", || redis.subscribers("actory:room:den") == 1);
}

/// Shuts down, and sees that every ticket is settled before the end, which comes in time.
fn expect_end(server: &Server, replies: Vec<Reply>, within: Duration) {
    let begun = Instant::now();
    server.engine.shutdown(Duration::ZERO, 1001, "");
    for reply in replies {
        let _ = server.settled(Ok(reply));
    }
    server.expect_closed();
    assert!(begun.elapsed() < within, "{:?}", begun.elapsed());
    assert_eq!(server.engine.stats().broker.counts.pending, 0);
}

fn questions(server: &Server) -> Vec<Reply> {
    let engine = &server.engine;
    let all = [
        engine.ready(),
        engine.publish(Channel::User("ada"), Message::Text("x"), false),
        engine.publish(Channel::Everyone, Message::Text("x"), true),
        engine.publish_raw("news", b"x"),
        engine.is_online("bob"),
        engine.count(None),
        engine.disconnect_user("bob", 4002, "", false),
    ];
    all.into_iter().flatten().collect()
}

#[test]
fn a_shutdown_waits_for_answers_that_come() {
    let redis = RedisServer::start();
    let server = Server::on(&redis.url());
    redis.run(&["CLIENT", "PAUSE", "300", "ALL"]);
    let sent = server.engine.publish(Channel::User("ada"), Message::Text("x"), true);
    server.engine.shutdown(Duration::ZERO, 1001, "");
    assert_eq!(server.delivery(sent).status, Status::Published);
    server.expect_closed();
    assert_eq!(redis.subscribers("actory:all"), 0);
}

#[test]
fn a_shutdown_waits_for_no_redis() {
    let mut redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let start = |url: &str| {
        let mut config = with_redis(url);
        config.limits.close_timeout = Duration::from_millis(300);
        Server::start(config)
    };
    // In the order in which they disturb each other least: while Redis works, is cut, stands still, comes and goes.
    let works = start(&redis.url());
    works.expect_up();
    let replies = questions(&works);
    expect_end(&works, replies, Duration::from_secs(2));

    let stalled = start(&tap.url());
    stalled.expect_up();
    let mut ada = stalled.connect_as("ada");
    tap.stall();
    let replies = questions(&stalled);
    // A handshake that waits for its subscription.
    let (_client, ticket) = stalled.request(Request::of("late", &[]));
    ticket.unwrap();
    expect_end(&stalled, replies, Duration::from_secs(4));
    ada.expect_close(1001);

    let connecting = start(&tap.url());
    let replies = questions(&connecting);
    expect_end(&connecting, replies, Duration::from_secs(2));

    redis.kill();
    let refused = start(&redis.url());
    refused.broker("the broker to be down", |status| status.state == State::Down);
    let replies = questions(&refused);
    expect_end(&refused, replies, Duration::from_secs(2));

    let at_once = start(&redis.url());
    let replies = questions(&at_once);
    expect_end(&at_once, replies, Duration::from_secs(2));
}

#[test]
fn shutdowns_at_any_moment_of_a_links_life_end() {
    let redis = RedisServer::start();
    for n in 0..40 {
        let server = Server::start(with_redis(&redis.url()));
        std::thread::park_timeout(Duration::from_micros(n * 200));
        let replies = questions(&server);
        if n % 2 == 0 {
            redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
        expect_end(&server, replies, Duration::from_secs(9));
        assert!(
            server
                .event_within(Duration::ZERO, |event| matches!(event, Event::Closed).then_some(()))
                .is_none(),
            "the end comes once"
        );
    }
}
