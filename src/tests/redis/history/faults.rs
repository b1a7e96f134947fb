//! Histories beside other faults: of Redis, of other servers, of callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use super::*;
use crate::broker::redis::RedisConfig;
use crate::events::broker_status::State;
use crate::tests::harness::{PATIENCE, Request};

/// The number of times that a command was given.
fn calls(redis: &RedisServer, command: &str) -> Option<u64> {
    let info = redis.ask::<String>(&["INFO", "commandstats"]);
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")))?;
    line.split(',').next()?.parse().ok()
}

#[test]
fn keys_and_rooms_may_have_colons_without_being_taken_for_each_other() {
    let redis = RedisServer::start();
    let server = on(&redis.url());
    let keyed = |room, key| keyed(&server, Channel::Room(room), key, "x");
    for (room, key) in
        [("chat", "1:order"), ("chat:1", "order"), ("chat:1:order", "x"), ("chat", "1:order:x")]
    {
        assert!(matches!(keyed(room, key), Answer::Delivery(_)), "{room} {key}");
        assert!(matches!(keyed(room, key), Answer::Repeated(Some(_))), "{room} {key}");
    }
}

#[test]
fn a_redis_that_gets_its_first_replica_goes_on_under_its_term() {
    let redis = RedisServer::with(&["repl-diskless-sync-delay 0"]);
    let hasty = |url: &str| {
        let config = kept(url, SIZE);
        Config { redis: RedisConfig { probe_interval: Duration::from_millis(100), ..config.redis }, ..config }
    };
    let [one, two] = [(); 2].map(|()| Server::start_up(hasty(&redis.url())));
    let mut ada = two.connect_as("ada");
    let before = count(&one, "ada", 0..1);
    let port = redis.address().port();
    let replica = RedisServer::with(&[&format!("replicaof 127.0.0.1 {port}")]);
    let mut sent = 1;
    // Until it is there, and both servers have asked for the term again since.
    let is_there = || replica.ask::<String>(&["INFO", "replication"]).contains("master_link_status:up");
    let asked = || calls(&redis, "info").unwrap_or(0);
    let mut until = None;
    while until.is_none_or(|until| asked() < until) {
        let place = position([&one, &two][sent as usize % 2].tell("ada", &sent.to_string()));
        assert_eq!((place.term, place.offset), (before[0].term, u64::from(sent) + 1));
        sent += 1;
        if until.is_none() && is_there() {
            // Each look asks for one itself.
            until = Some(asked() + 20);
        }
    }
    expect_numbers(&mut ada, 0..sent);
    for server in [&one, &two] {
        expect_nothing_missed(server);
        assert_eq!(server.engine.stats().broker.state, State::Up);
    }
}

#[test]
fn of_one_caller_no_message_is_passed_by_a_later_one_while_scripts_are_forgotten_and_loaded_by_others() {
    let redis = RedisServer::start();
    let [one, two] = [(); 2].map(|()| Server::start_up(kept(&redis.url(), 100_000)));
    let (is_over, flushes) = (AtomicBool::new(false), AtomicU32::new(0));
    let send = |server: &Server| {
        let began = Instant::now();
        let mut offsets = Vec::new();
        // Of those that wait while another server's message gets through, all lose their place: they reach this server alone, and
        // their promise says so. How many do is chance.
        while offsets.len() < 500 || flushes.load(Ordering::Relaxed) < 5 {
            assert!(began.elapsed() < PATIENCE, "{} have a place, {flushes:?} flushes", offsets.len());
            let texts = (0..500).map(|number: u32| number.to_string());
            let sent: Vec<_> = texts
                .map(|text| server.engine.publish(Channel::User("ada"), Message::Text(&text), false))
                .collect();
            let positions = sent.into_iter().filter_map(|sent| server.delivery(sent).position);
            offsets.extend(positions.map(|position| position.offset));
        }
        assert!(offsets.is_sorted(), "{offsets:?}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut taken = 0;
            while !is_over.load(Ordering::Relaxed) {
                // Somebody has to find a script now and then.
                let now = redis.ask::<u64>(&["XLEN", "actory:history:log:user:ada"]);
                if now > taken {
                    taken = now;
                    redis.run(&["SCRIPT", "FLUSH", "SYNC"]);
                    flushes.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let sending = [scope.spawn(|| send(&one)), scope.spawn(|| send(&two))];
        let outcomes = sending.map(|sending| sending.join());
        is_over.store(true, Ordering::Relaxed);
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    });
}

#[test]
fn a_message_that_is_too_large_for_a_server_is_missed_there_and_those_behind_it_come() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let mut narrow = kept(&tap.url(), SIZE);
    narrow.limits.outbox_bytes = 64 << 10;
    narrow.limits.max_payload = 32 << 10;
    let (one, two) = (on(&redis.url()), Server::start_up(narrow));
    let mut ada = two.connect_as("ada");
    count(&one, "ada", 0..1);
    expect_numbers(&mut ada, 0..1);
    let mut next = 1;
    // Just too large for its connections, and too large to be read from Redis at all; live, and from the history alone.
    for (size, is_cut) in [(65_537, false), (900_000, false), (65_537, true), (900_000, true)] {
        if is_cut {
            tap.cut();
        }
        let large = position(one.tell("ada", &"x".repeat(size)));
        count(&one, "ada", next..next + 2);
        tap.open();
        expect_numbers(&mut ada, next..next + 2);
        next += 2;
        let (_, found) = missed(&two);
        assert_eq!((found.reason, found.to), (Reason::Unreadable, Some(large)), "{size} {is_cut}");
    }
    // The largest that is taken.
    position(one.tell("ada", &"x".repeat(32 << 10)));
    assert_eq!(ada.next_text().len(), 32 << 10);
    expect_nothing_missed(&two);
    // Its links were lost once each, and not again and again.
    assert!(two.engine.stats().broker.counts.gaps <= 8);
}

#[test]
fn a_thousand_large_pages_at_once_leave_the_link_alone() {
    let redis = RedisServer::start();
    let server = on(&redis.url());
    for _ in 0..3 {
        server.tell("ada", &"x".repeat(100_000));
    }
    let asked: Vec<_> = (0..1001).map(|_| server.engine.history(Topic::User("ada"), None, 100)).collect();
    let mut refused = 0;
    for asked in asked {
        match server.settled(asked) {
            Ok(Answer::History(page)) => assert_eq!(page.messages.len(), 3),
            Err(error) if error.kind == Code::BrokerOverloaded => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused <= 1, "{refused}");
    let stats = server.engine.stats().broker;
    assert_eq!((stats.state, stats.counts.gaps, stats.counts.pending), (State::Up, 0, 0));
}

#[test]
fn a_user_is_disconnected_after_the_messages_that_were_published_before_also_if_they_are_repaired() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let (one, two) = (on(&redis.url()), on(&tap.url()));
    for _ in 0..5 {
        let mut ada = two.connect_as("ada");
        tap.cut();
        two.broker("the link to be lost", |status| status.state == State::Down);
        count(&one, "ada", 0..40);
        tap.open();
        two.expect_up();
        count(&one, "ada", 40..45);
        one.delivery(one.engine.disconnect_user("ada", 4002, "bye", false));
        expect_numbers(&mut ada, 0..45);
        assert_eq!(ada.expect_close(4002), "bye");
    }
    expect_nothing_missed(&two);
}

/// Messages of a kilobyte: more than a client's outbox and the kernel take in.
const MANY: u32 = 3000;

/// A configuration with small outboxes, so that much has to be read for a client that is slow.
fn narrow(url: &str) -> Config {
    let mut config = kept(url, MANY);
    config.limits.outbox_bytes = 128 << 10;
    config.limits.max_payload = 64 << 10;
    config
}

fn kilobyte(number: u32) -> String {
    format!("{number:01000}")
}

/// Reads a message now and then, until the connection is closed or this is over. The sleep is the client's pace, which is tried.
fn trickle(mut client: Client, is_over: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) && client.handle().is_open() {
            client.next_within(Duration::from_millis(60));
            std::thread::sleep(Duration::from_millis(60));
        }
    })
}

#[test]
fn a_member_that_hardly_reads_does_not_keep_a_rooms_repair_from_the_others() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let (one, two) = (Server::start_up(narrow(&redis.url())), Server::start_up(narrow(&tap.url())));
    let [mut ada, slow] = ["ada", "slow"].map(|user| two.open(Request::of(user, &["tea"])));
    let (handle, is_over) = (slow.handle().clone(), Arc::new(AtomicBool::new(false)));
    let trickle = trickle(slow, is_over.clone());
    tap.cut();
    for number in 0..MANY {
        let publish = one.engine.publish(Channel::Room("tea"), Message::Text(&kilobyte(number)), false);
        position(one.delivery(publish));
    }
    tap.open();
    for number in 0..MANY {
        assert_eq!(ada.next_text(), kilobyte(number));
    }
    assert!(!handle.is_open(), "it was found too slow");
    is_over.store(true, Ordering::Relaxed);
    trickle.join().unwrap();
    expect_nothing_missed(&two);
}

#[test]
fn a_client_can_not_put_off_its_disconnection_by_reading_slowly_during_a_repair() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let (one, two) = (Server::start_up(narrow(&redis.url())), Server::start_up(narrow(&tap.url())));
    let eve = two.connect_as("eve");
    let (handle, is_over) = (eve.handle().clone(), Arc::new(AtomicBool::new(false)));
    let trickle = trickle(eve, is_over.clone());
    tap.cut();
    for number in 0..MANY {
        position(one.tell("eve", &kilobyte(number)));
    }
    tap.open();
    eventually("the repair to begin", || two.engine.stats().broker.counts.repaired > 0);
    let delivery = one.delivery(one.engine.disconnect_user("eve", 4777, "", true));
    assert_eq!(delivery.nodes, Some(1), "hers");
    eventually("her connection to be closed", || !handle.is_open());
    let code = two.event("her end", |event| match event {
        Event::Close { code, .. } => Some(*code),
        _ => None,
    });
    assert_eq!(code, 4777);
    is_over.store(true, Ordering::Relaxed);
    trickle.join().unwrap();
}

#[test]
fn a_repair_waits_for_a_client_that_reads_slowly_and_does_not_close_it() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let (one, two) = (Server::start_up(narrow(&redis.url())), Server::start_up(narrow(&tap.url())));
    let mut ada = two.connect_as("ada");
    tap.cut();
    for number in 0..MANY {
        position(one.tell("ada", &kilobyte(number)));
    }
    tap.open();
    for number in 0..MANY {
        assert_eq!(ada.next_text(), kilobyte(number));
        // The client's pace, which is what is tried: slower than the repair.
        if number % 50 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    expect_nothing_missed(&two);
}

#[test]
fn whoever_writes_to_the_keys_of_a_topic_disturbs_that_topic_and_no_other() {
    let redis = RedisServer::start();
    let server = on(&redis.url());
    let meta = "actory:history:meta:user:ada";
    let log = "actory:history:log:user:ada";
    let mut bob = server.connect_as("bob");
    for (number, damage) in [
        &["HSET", meta, "epoch", "x"][..],
        &["HSET", meta, "terms", "x"],
        &["HSET", meta, "head", "boo"],
        &["HDEL", meta, "offset"],
        &["SET", meta, "x"],
        &["SET", log, "x"],
        &["XADD", log, "9-0", "e", "x", "f", "y"],
    ]
    .into_iter()
    .enumerate()
    {
        redis.run(&["DEL", meta, log]);
        server.tell("ada", "0");
        if damage[0] == "SET" {
            redis.run(&["DEL", damage[1]]);
        }
        redis.run(damage);
        let _ada = server.connect_as("ada");
        let settled = server.settled(server.engine.publish(Channel::User("ada"), Message::Text("1"), false));
        let read = server.settled(server.engine.history(Topic::User("ada"), None, 10));
        let text = number.to_string();
        assert_eq!(position(server.tell("bob", &text)).offset, number as u64 + 1, "{damage:?}");
        bob.expect_text(&text);
        // Its own calls are answered, one way or the other.
        drop((settled, read));
    }
    let stats = server.engine.stats().broker;
    assert_eq!((stats.state, stats.counts.gaps, stats.counts.pending), (State::Up, 0, 0));
}

#[test]
fn entries_that_no_meta_knows_of_are_not_asked_for_without_end() {
    let redis = RedisServer::start();
    let server = Server::start_up(kept(&redis.url(), 5000));
    let mut ada = server.connect_as("ada");
    count(&server, "ada", 0..3);
    expect_numbers(&mut ada, 0..3);
    for id in 100..900 {
        redis.run(&["XADD", "actory:history:log:user:ada", &format!("{id}-0"), "d", "tx"]);
    }
    // A hole: the next message makes the follower read.
    redis.run(&["HSET", "actory:history:meta:user:ada", "offset", "10"]);
    redis.run(&["PUBLISH", "actory:user:ada", "tplain"]);
    ada.expect_text("plain");
    let before = calls(&redis, "evalsha").unwrap();
    let page = page(&server, Topic::User("ada"), None, 1000);
    assert!(!page.has_more || !page.messages.is_empty());
    server.event("the miss that the probe finds", |event| match event {
        Event::Missed { missed, .. } => Some(missed.reason),
        _ => None,
    });
    let after = calls(&redis, "evalsha").unwrap();
    assert!(after < before + 20, "{before} {after}");
}

#[test]
fn a_lost_link_makes_one_gap_with_histories_too() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let mut config = kept(&tap.url(), SIZE);
    config.redis.connections = 1;
    let server = Server::start_up(config);
    let clients: Vec<Client> = (0..20).map(|user| server.connect_as(&format!("user {user}"))).collect();
    for round in 1..=5 {
        tap.cut();
        server.broker("the link to be lost", |status| status.state == State::Down);
        tap.open();
        server.broker("a gap", |status| status.gap.is_some());
        // All other news comes before the answer to this.
        server.tell("user 0", "x");
        assert_eq!(server.gaps(), []);
        assert_eq!(server.engine.stats().broker.counts.gaps, round);
    }
    drop(clients);
}
