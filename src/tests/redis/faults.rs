//! Faults of Redis, one at a time: outcomes of publishes never claim more than is known, no connection drops,
//! and gaps are told.

use std::time::{Duration, Instant};

use protocol::frame::Message;

use crate::broker::redis::RedisConfig;
use crate::engine::config::Config;
use crate::events::broker_status::State;
use crate::outcome::{Answer, Status};
use crate::registry::recipients::Channel;
use crate::tests::client::Client;
use crate::tests::harness::{Server, eventually};
use crate::tests::redis_rig::{RedisServer, Tap, TlsRedis, traffic, with, with_redis};

/// Messages flow again so soon after Redis is back.
const BACK: Duration = Duration::from_secs(1);

/// A configuration that gives up on a silent Redis sooner than the default does.
fn hasty(url: &str) -> Config {
    let redis = with_redis(url).redis;
    with(RedisConfig {
        connect_timeout: Duration::from_millis(500),
        command_timeout: Duration::from_millis(500),
        probe_interval: Duration::from_millis(200),
        ..redis
    })
}

fn two(config: impl Fn() -> Config) -> (Server, Server) {
    (Server::start_up(config()), Server::start_up(config()))
}

/// Waits until a server's broker is down, and says why.
fn expect_down(server: &Server) -> &'static str {
    server.broker("the broker to be down", |status| status.state == State::Down).error.unwrap().code()
}

/// Waits until a lost link is back, and says what it has missed.
fn expect_gap(server: &Server) -> (u64, u64) {
    let status = server.broker("a gap", |status| status.gap.is_some());
    assert_eq!(status.state, State::Up);
    let (since, until) = status.gap.unwrap();
    assert!(0 < since && since <= until);
    (since, until)
}

#[test]
fn a_killed_redis_leaves_local_delivery_and_is_found_again_when_it_is_back_and_empty() {
    let mut redis = RedisServer::start();
    let (one, two) = two(|| with_redis(&redis.url()));
    let mut gaps = Vec::new();
    let traffic = traffic::during(&one, &two, || {
        redis.kill();
        assert_eq!(expect_down(&one), "ERR_BROKER_CONNECT");
        expect_down(&two);
        let mut ada = one.connect_as("ada");
        assert_eq!(one.tell("ada", "alone").status, Status::Local);
        ada.expect_text("alone");
        assert_eq!(one.engine.stats().broker.counts.unconfirmed, 1);
        redis.restart();
        let back = Instant::now();
        expect_gap(&one);
        gaps.push(expect_gap(&two));
        assert!(back.elapsed() < BACK, "{:?}", back.elapsed());
        // A connection accepted without a subscription has one now.
        assert_eq!(two.tell("ada", "together").nodes, Some(1));
        ada.expect_text("together");
    });
    traffic.expect_true(&gaps);
    assert!(traffic.count(Status::Local) > 0);
    assert_eq!(one.engine.stats().broker.counts.gaps, 1);
}

#[test]
fn a_redis_that_stands_still_is_found_out_within_five_seconds() {
    let redis = RedisServer::start();
    let (one, two) = two(|| with_redis(&redis.url()));
    let mut gaps = Vec::new();
    let traffic = traffic::during(&one, &two, || {
        redis.stop();
        let stopped = Instant::now();
        let late = one.broker("answers to be late", |status| status.state == State::Degraded);
        assert_eq!(late.error.unwrap().code(), "ERR_BROKER_TIMEOUT");
        assert_eq!(expect_down(&one), "ERR_BROKER_TIMEOUT");
        expect_down(&two);
        assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
        redis.resume();
        let back = Instant::now();
        expect_gap(&one);
        gaps.push(expect_gap(&two));
        assert!(back.elapsed() < BACK, "{:?}", back.elapsed());
    });
    traffic.expect_true(&gaps);
    assert!(traffic.count(Status::Uncertain) > 0);
    assert!(traffic.count(Status::Local) > 0);
}

#[test]
fn a_short_stand_still_costs_nothing_but_time() {
    let redis = RedisServer::start();
    let (one, two) = two(|| with_redis(&redis.url()));
    let traffic = traffic::during(&one, &two, || {
        redis.stop();
        one.broker("answers to be late", |status| status.state == State::Degraded);
        let ready = one.engine.ready();
        redis.resume();
        assert_eq!(one.settled(ready), Ok(Answer::Done));
        assert_eq!(one.engine.stats().broker.state, State::Up);
    });
    traffic.expect_untouched();
    assert_eq!(one.engine.stats().broker.counts.gaps, 0);
}

#[test]
fn a_room_that_is_joined_while_answers_are_late_has_a_gap() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let server = Server::on(&tap.url());
    let mut ada = server.connect_as("ada");
    // Without haste it has none.
    server.engine.join(ada.id(), &"quick".into()).unwrap();
    eventually("it to be subscribed", || redis.subscribers("actory:room:quick") == 1);
    // The confirmation is here, too: messages come behind it.
    redis.run(&["PUBLISH", "actory:room:quick", "t1"]);
    ada.expect_text("1");
    tap.stall();
    let held = tap.held();
    let begun = traffic::unix_ms();
    server.engine.join(ada.id(), &"den".into()).unwrap();
    let joined = traffic::unix_ms();
    eventually("it to be asked for", || tap.held() > held);
    server.broker("answers to be late", |status| status.state == State::Degraded);
    tap.open();
    let (since, until) = expect_gap(&server);
    assert!((begun..=joined).contains(&since) && until > joined, "{begun} {joined} {since} {until}");
}

#[test]
fn a_throttled_redis_delays_and_loses_nothing() {
    let redis = RedisServer::start();
    let (one, two) = two(|| with_redis(&redis.url()));
    let traffic = traffic::during(&one, &two, || {
        redis.run(&["CLIENT", "PAUSE", "300", "ALL"]);
        let paused = Instant::now();
        assert_eq!(one.tell("nobody", "hello").nodes, Some(0));
        assert!(paused.elapsed() > Duration::from_millis(200));
    });
    traffic.expect_untouched();
}

#[test]
fn a_redis_throttled_beyond_patience_is_down_until_it_answers() {
    let redis = RedisServer::start();
    let (one, two) = two(|| hasty(&redis.url()));
    let mut gaps = Vec::new();
    let traffic = traffic::during(&one, &two, || {
        redis.run(&["CLIENT", "PAUSE", "1500", "ALL"]);
        assert_eq!(expect_down(&one), "ERR_BROKER_TIMEOUT");
        expect_gap(&one);
        gaps.push(expect_gap(&two));
    });
    traffic.expect_true(&gaps);
    assert!(traffic.count(Status::Local) > 0);
}

#[test]
fn killed_subscribers_come_back_and_tell_their_gap() {
    let redis = RedisServer::start();
    let (one, two) = two(|| with_redis(&redis.url()));
    let mut gaps = Vec::new();
    let traffic = traffic::during(&one, &two, || {
        for _ in 0..5 {
            redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            expect_gap(&one);
            gaps.push(expect_gap(&two));
        }
    });
    traffic.expect_true(&gaps);
    // From the last probe, which is at most a second old, to the end of the way back.
    assert!(gaps.iter().all(|(since, until)| until - since < 3000), "{gaps:?}");
    assert_eq!(one.engine.stats().broker.counts.gaps, 5);
}

#[test]
fn killed_normal_clients_are_none_of_ours() {
    let redis = RedisServer::start();
    let (one, two) = two(|| with_redis(&redis.url()));
    let traffic = traffic::during(&one, &two, || {
        redis.run(&["CLIENT", "KILL", "TYPE", "normal"]);
        one.delivery(one.engine.publish(Channel::Everyone, Message::Text("7777777"), false));
    });
    // The broadcast lies somewhere between the numbers.
    assert_eq!(traffic.count(Status::Published), traffic.sent.len());
    for got in [&traffic.here, &traffic.there] {
        let numbers = got.iter().copied().filter(|number| *number != 7_777_777);
        assert!(numbers.eq(0..traffic.sent.len()));
        assert_eq!(got.len(), traffic.sent.len() + 1);
    }
}

/// A server whose link doesn't read is cut off by Redis while `flood` is published.
fn overrun(setting: [&str; 2]) {
    let redis = RedisServer::start();
    redis.run(&["CONFIG", "SET", setting[0], setting[1]]);
    let tap = Tap::before(redis.address());
    let one = Server::on(&redis.url());
    let two = Server::start_up(with_redis(&tap.url()));
    let mut gaps = Vec::new();
    let traffic = traffic::during(&one, &two, || {
        let mut bob = two.connect_as("bob");
        let clients = |redis: &RedisServer| redis.subscribers("actory:all");
        assert_eq!(clients(&redis), 2);
        tap.stall();
        // Of no kind that is delivered: it is the link that is overrun, not a client.
        let flood = "?".repeat(1 << 20);
        eventually("Redis to cut the link off", || {
            // It may cut this connection off first.
            let _ = redis.try_ask::<u64>(&["PUBLISH", "actory:user:bob", &flood]);
            clients(&redis) == 1
        });
        // The held-back bytes arrive, and then the end.
        tap.open();
        gaps.push(expect_gap(&two));
        assert_eq!(one.tell("bob", "back").nodes, Some(1));
        bob.expect_text("back");
    });
    traffic.expect_true(&gaps);
    assert_eq!(one.engine.stats().broker.counts.gaps, 0);
    assert_eq!(two.engine.stats().broker.counts.gaps, 1);
}

#[test]
fn a_link_that_overran_its_output_buffer_comes_back_and_tells_its_gap() {
    overrun(["client-output-buffer-limit", "pubsub 1mb 0 0"]);
}

#[test]
fn a_link_that_redis_evicted_for_memory_comes_back_and_tells_its_gap() {
    // The one who floods takes some of it too.
    overrun(["maxmemory-clients", "8mb"]);
}

#[test]
fn a_link_that_looks_healthy_and_delivers_nothing_is_found_within_five_seconds() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let one = Server::on(&redis.url());
    let two = Server::on(&tap.url());
    let mut gaps = Vec::new();
    let traffic = traffic::during(&one, &two, || {
        tap.stall();
        let stalled = Instant::now();
        two.broker("it to be degraded", |status| status.state == State::Degraded);
        assert_eq!(expect_down(&two), "ERR_BROKER_TIMEOUT");
        assert!(stalled.elapsed() < Duration::from_secs(5), "{:?}", stalled.elapsed());
        tap.open();
        let back = Instant::now();
        gaps.push(expect_gap(&two));
        assert!(back.elapsed() < BACK, "{:?}", back.elapsed());
    });
    traffic.expect_true(&gaps);
    assert_eq!(traffic.count(Status::Published), traffic.sent.len());
}

#[test]
fn a_cut_network_is_noticed_at_once_and_mended_by_itself() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let one = Server::on(&tap.url());
    let two = Server::on(&redis.url());
    let traffic = traffic::during(&one, &two, || {
        for _ in 0..3 {
            tap.cut();
            expect_down(&one);
            eventually("the remote one to be unsubscribed", || redis.subscribers("actory:all") == 1);
            tap.open();
            expect_gap(&one);
        }
    });
    traffic.expect_true(&[]);
    assert!(traffic.count(Status::Local) > 0);
}

#[test]
fn what_was_given_up_does_not_come_after_what_was_said_since() {
    let redis = RedisServer::start();
    let one = Server::start_up(hasty(&redis.url()));
    let two = Server::on(&redis.url());
    let mut ada = two.connect_as("ada");
    redis.stop();
    // Several times what Redis reads in one go.
    let text = |n: usize| format!("{n:05}{}", "x".repeat(100));
    let publish = |n| one.engine.publish(Channel::User("ada"), Message::Text(&text(n)), false);
    let replies: Vec<_> = (0..5000).map(publish).collect();
    expect_down(&one);
    redis.resume();
    expect_gap(&one);
    assert_eq!(one.tell("ada", "99999").status, Status::Published);
    assert!(replies.into_iter().all(|reply| one.delivery(reply).status != Status::Published));
    // The other's link was late, and is as it was.
    let mut got = Vec::new();
    while got.last().is_none_or(|last| *last != "99999") {
        got.push(ada.next_text()[..5].to_owned());
    }
    println!("{} came before, of which {:?}", got.len() - 1, got.get(got.len().saturating_sub(2)));
    let after = ada.next_within(Duration::from_millis(300));
    assert_eq!(after, None);
}

#[test]
fn tls_and_unix_sockets_are_no_less_mended() {
    let mut redis = TlsRedis::start();
    let one = Server::start_up(with(redis.config()));
    let two = Server::on(&redis.server.unix_url());
    let mut gaps = Vec::new();
    let traffic = traffic::during(&one, &two, || {
        for _ in 0..3 {
            redis.server.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            expect_gap(&one);
            gaps.push(expect_gap(&two));
        }
        redis.server.restart();
        expect_gap(&one);
        gaps.push(expect_gap(&two));
    });
    traffic.expect_true(&gaps);
}

#[test]
fn what_clients_relay_comes_back_or_its_sender_is_told() {
    const MESSAGES: usize = 3000;
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let server = Server::start_up(hasty(&tap.url()));
    let mut ada = server.connect_as("ada");
    let mut reader = Client::new(ada.socket.try_clone().unwrap());
    let reading = std::thread::spawn(move || {
        let (mut back, mut local, mut uncertain) = (Vec::new(), 0, 0);
        while back.len() + uncertain < MESSAGES || local < 1 {
            let text = reader.next_text();
            match text.parse::<usize>() {
                Ok(number) => back.push(number),
                Err(_) if text.contains("ERR_UNCERTAIN") => uncertain += 1,
                Err(_) if text.contains("ERR_BROKER_UNAVAILABLE") => local += 1,
                Err(_) => panic!("{text}"),
            }
        }
        (back, local, uncertain)
    });
    for number in 0..MESSAGES {
        ada.text(&number.to_string());
        match number {
            500 => tap.sever(),
            1000 => {
                // So that what comes now lies in the tap.
                eventually("the link to be back", || server.engine.stats().broker.state == State::Up);
                tap.stall();
            }
            1200 => {
                expect_down(&server);
                tap.cut();
            }
            1500 => tap.open(),
            2000 => redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"]),
            _ => std::thread::park_timeout(Duration::from_micros(300)),
        }
    }
    let (back, local, uncertain) = reading.join().unwrap();
    println!("{} came back, {local} of them from here only, {uncertain} uncertain", back.len());
    assert!(back.is_sorted_by(|a, b| a < b), "twice, or out of order");
    // One client's messages go behind others, and about a portion of those is under way.
    assert!(uncertain >= 16, "what lay in the tap: {uncertain}");
    server.expect_up();
    ada.expect_alive();
}

#[test]
fn any_faults_in_any_order_leave_nothing_unaccounted_for() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    any_faults(redis, &tap, |redis| [redis.url(), tap.url()]);
}

#[test]
fn any_faults_of_who_publishes_leave_nothing_unaccounted_for() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    any_faults(redis, &tap, |redis| [tap.url(), redis.url()]);
}

fn any_faults(mut redis: RedisServer, tap: &Tap, urls: impl Fn(&RedisServer) -> [String; 2]) {
    let config = |url: &str| {
        let mut config = hasty(url);
        config.redis.connections = 2;
        config
    };
    let [one, two] = urls(&redis).map(|url| Server::start_up(config(&url)));
    two.broker_events();
    let mut gaps = Vec::new();
    let traffic = traffic::during(&one, &two, || {
        let mut random = [0; 16];
        getrandom::fill(&mut random).unwrap();
        // For whoever has to find out what went wrong.
        println!("faults: {random:?}");
        for byte in random {
            let while_it_lasts = Duration::from_millis(u64::from(byte >> 3) * 30);
            match byte % 8 {
                0 => redis.restart(),
                1 => redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"]),
                2 => {
                    redis.stop();
                    std::thread::park_timeout(while_it_lasts);
                    redis.resume();
                }
                3 => redis.run(&["CLIENT", "PAUSE", &while_it_lasts.as_millis().to_string(), "ALL"]),
                4 => {
                    tap.cut();
                    std::thread::park_timeout(while_it_lasts);
                    tap.open();
                }
                5 => {
                    tap.stall();
                    std::thread::park_timeout(while_it_lasts);
                    tap.open();
                }
                6 => tap.sever(),
                _ => std::thread::park_timeout(while_it_lasts),
            }
        }
        eventually("both to be back", || {
            [&one, &two].iter().all(|server| {
                server.engine.stats().broker.state == State::Up
                    && redis.subscribers("actory:user:traveller") == 2
            })
        });
        gaps.extend(two.broker_events().into_iter().filter_map(|status| status.gap));
    });
    gaps.extend(two.broker_events().into_iter().filter_map(|status| status.gap));
    traffic.expect_true(&gaps);
    let outcomes = [Status::Published, Status::Local, Status::Uncertain].map(|status| traffic.count(status));
    println!("{outcomes:?}, {} came there, {} gaps", traffic.there.len(), gaps.len());
}
