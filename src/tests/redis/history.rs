//! Topics with a history on a real Redis: positions, and the repair of what was missed.

mod faults;

use std::time::Duration;

use codes::error::Code;
use history::follower::Missed;
use history::log::Bounds;
use history::meta::Reason;
use history::pattern::Pattern;
use history::position::Position;
use protocol::frame::Message;

use crate::broker::PublishOptions;
use crate::broker::history::HistoryConfig;
use crate::engine::config::Config;
use crate::events::Event;
use crate::outcome::{Answer, Delivery, HistoryPage, Status};
use crate::registry::recipients::{Channel, Topic, TopicName};
use crate::tests::client::Client;
use crate::tests::harness::{Server, eventually};
use crate::tests::redis_rig::{RedisServer, Tap, with_redis};

const SIZE: u32 = 50;

/// A configuration whose users and rooms have a history; the rooms `noise:…` have none.
fn kept(url: &str, size: u32) -> Config {
    let bounds = Some(Bounds { size, ttl_ms: 60_000 });
    let rooms = vec![(Pattern::parse("noise:*").unwrap(), None), (Pattern::all(), bounds)];
    Config { history: HistoryConfig { users: bounds, rooms, trust_failover: false }, ..with_redis(url) }
}

fn on(url: &str) -> Server {
    Server::start_up(kept(url, SIZE))
}

fn position(delivery: Delivery) -> Position {
    assert_eq!(delivery.status, Status::Published);
    delivery.position.unwrap()
}

/// Publishes these numbers to a user.
fn count(server: &Server, user: &str, numbers: std::ops::Range<u32>) -> Vec<Position> {
    numbers.map(|number| position(server.tell(user, &number.to_string()))).collect()
}

/// Publishes with an idempotency key.
fn keyed(server: &Server, channel: Channel<'_>, key: &str, text: &str) -> Answer {
    let options = PublishOptions { idempotency_key: Some(key), ..PublishOptions::default() };
    server.settled(server.engine.publish(channel, Message::Text(text), options)).unwrap()
}

fn expect_numbers(client: &mut Client, numbers: std::ops::Range<u32>) {
    for number in numbers {
        assert_eq!(client.next_text(), number.to_string());
    }
}

fn missed(server: &Server) -> (TopicName, Missed) {
    server.event("a miss", |event| match event {
        Event::Missed { topic, missed } => Some((topic.clone(), *missed)),
        _ => None,
    })
}

fn expect_nothing_missed(server: &Server) {
    let found = server.event_within(Duration::ZERO, |event| match event {
        Event::Missed { topic, missed } => Some((topic.clone(), *missed)),
        _ => None,
    });
    assert_eq!(found, None);
}

fn page(server: &Server, topic: Topic<'_>, after: Option<Position>, limit: u32) -> HistoryPage {
    match server.settled(server.engine.history(topic, after, limit)) {
        Ok(Answer::History(page)) => *page,
        other => panic!("{other:?}"),
    }
}

fn texts(page: &HistoryPage) -> Vec<String> {
    page.messages.iter().map(|message| String::from_utf8(message.payload.to_vec()).unwrap()).collect()
}

#[test]
fn messages_of_a_topic_have_places_in_one_order_and_reach_every_server() {
    let redis = RedisServer::start();
    let [one, two] = [(); 2].map(|()| on(&redis.url()));
    let mut clients = [one.connect_as("ada"), two.connect_as("ada")];
    let mut last = 0;
    for round in 1..=10 {
        for server in [&one, &two] {
            let place = position(server.tell("ada", "hello"));
            last += 1;
            assert_eq!(place.offset, last, "{round}");
        }
    }
    for client in &mut clients {
        (0..20).for_each(|_| client.expect_text("hello"));
    }
    let delivery = one.tell("ada", "counted");
    assert_eq!((delivery.nodes, delivery.local), (Some(2), 1));
    let binary = one.engine.publish(Channel::User("ada"), Message::Binary(b"\0\xff"), false);
    assert_eq!(position(one.delivery(binary)).offset, 22);
    clients[1].expect_text("counted");
    clients[1].expect(0x82, b"\0\xff");
    // Neither what is published without, nor to everyone, nor to a room that the option leaves out.
    let fleeting = PublishOptions { is_fleeting: true, ..PublishOptions::default() };
    let noise = Channel::Room("noise:cursors");
    for (channel, options) in
        [(Channel::User("ada"), fleeting), (Channel::Everyone, false.into()), (noise, false.into())]
    {
        let delivery = one.delivery(one.engine.publish(channel, Message::Text("x"), options));
        assert_eq!((delivery.status, delivery.position), (Status::Published, None));
    }
    assert_eq!(position(one.tell("ada", "after")).offset, 23);
    assert_eq!(redis.ask::<u64>(&["XLEN", "actory:history:log:user:ada"]), 23);
    expect_nothing_missed(&two);
}

#[test]
fn what_is_published_while_a_link_is_cut_arrives_once_and_in_order() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let (one, two) = (on(&redis.url()), on(&tap.url()));
    let mut ada = two.connect_as("ada");
    let mut silent = two.connect_as("bob");
    count(&one, "ada", 0..5);
    expect_numbers(&mut ada, 0..5);
    for round in 0..3 {
        let from = 5 + round * 30;
        tap.cut();
        two.broker("the link to be lost", |status| status.state == crate::events::broker_status::State::Down);
        count(&one, "ada", from..from + 20);
        if round == 0 {
            // Of a topic that had no message so far.
            count(&one, "bob", 0..3);
        }
        tap.open();
        two.expect_up();
        count(&one, "ada", from + 20..from + 30);
        expect_numbers(&mut ada, from..from + 30);
    }
    expect_numbers(&mut silent, 0..3);
    ada.expect_silence(Duration::from_millis(20));
    expect_nothing_missed(&two);
    let counts = two.engine.stats().broker.counts;
    assert!((63..=93).contains(&counts.repaired), "{}", counts.repaired);
    assert_eq!(counts.missed, 0);
}

#[test]
fn scripts_that_redis_has_forgotten_are_loaded_again_and_nothing_loses_its_place() {
    let redis = RedisServer::start();
    let server = on(&redis.url());
    let mut ada = server.connect_as("ada");
    let mut sent = Vec::new();
    for number in 0..300 {
        if number % 50 == 0 {
            redis.run(&["SCRIPT", "FLUSH", "SYNC"]);
        }
        let text = number.to_string();
        sent.push(server.engine.publish(Channel::User("ada"), Message::Text(&text), false));
    }
    let offsets: Vec<u64> = sent.into_iter().map(|sent| position(server.delivery(sent)).offset).collect();
    assert_eq!(offsets, (1..=300).collect::<Vec<_>>());
    expect_numbers(&mut ada, 0..300);
}

#[test]
fn a_history_that_was_too_short_says_so_and_goes_on_with_what_is_left() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let (one, two) = (Server::start_up(kept(&redis.url(), 5)), Server::start_up(kept(&tap.url(), 5)));
    let mut ada = two.connect_as("ada");
    let first = count(&one, "ada", 0..3);
    expect_numbers(&mut ada, 0..3);
    tap.cut();
    let sent = count(&one, "ada", 3..23);
    tap.open();
    expect_numbers(&mut ada, 18..23);
    let (topic, missed) = missed(&two);
    assert_eq!(topic, TopicName::User("ada".into()));
    let expected = Missed { reason: Reason::Trimmed, after: Some(first[2]), to: Some(sent[14]) };
    assert_eq!(missed, expected);
    count(&one, "ada", 23..25);
    expect_numbers(&mut ada, 23..25);
    expect_nothing_missed(&two);
}

#[test]
fn a_redis_that_was_emptied_or_restarted_begins_a_new_epoch_or_term_and_whoever_was_cut_off_is_told() {
    for (reason, with_data) in [(Reason::Emptied, false), (Reason::Failover, true)] {
        let persistence: &[&str] = if with_data { &["appendonly yes", "appendfsync always"] } else { &[] };
        let mut redis = RedisServer::with(persistence);
        let [one, two] = [(); 2].map(|()| on(&redis.url()));
        let mut ada = two.connect_as("ada");
        let before = count(&one, "ada", 0..4);
        expect_numbers(&mut ada, 0..4);
        redis.kill();
        redis.restart();
        one.expect_up();
        two.expect_up();
        let (_, missed) = missed(&two);
        assert_eq!((missed.reason, missed.after), (reason, Some(before[3])));
        let after = count(&one, "ada", 4..6);
        assert_eq!(after[0].epoch == before[0].epoch, with_data);
        assert_ne!(after[0].term, before[0].term);
        assert_eq!(after[0].offset, if with_data { 5 } else { 1 });
        expect_numbers(&mut ada, 4..6);
    }
}

#[test]
fn a_topic_that_was_flushed_under_an_unbroken_link_goes_on_from_its_beginning() {
    let redis = RedisServer::start();
    let [one, two] = [(); 2].map(|()| on(&redis.url()));
    let mut ada = two.connect_as("ada");
    let before = count(&one, "ada", 0..4);
    redis.run(&["FLUSHALL"]);
    let after = count(&one, "ada", 4..8);
    expect_numbers(&mut ada, 0..8);
    assert_ne!(before[0].epoch, after[0].epoch);
    assert_eq!(after[0].offset, 1);
    expect_nothing_missed(&two);
}

#[test]
fn a_redis_that_can_not_store_the_message_rejects_the_call_and_nobody_gets_it() {
    let redis = RedisServer::start();
    let server = on(&redis.url());
    let mut ada = server.connect_as("ada");
    count(&server, "ada", 0..1);
    for (option, refusing, taking) in [("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")] {
        redis.run(&["CONFIG", "SET", option, refusing]);
        let refused = server.engine.publish(Channel::User("ada"), Message::Text("refused"), false);
        let error = server.settled(refused).unwrap_err();
        assert_eq!(error.kind, Code::BrokerFull, "{option}: {}", error.message);
        redis.run(&["CONFIG", "SET", option, taking]);
    }
    assert_eq!(count(&server, "ada", 1..2)[0].offset, 2);
    expect_numbers(&mut ada, 0..2);
}

#[test]
fn of_messages_with_one_idempotency_key_the_first_is_published_and_the_others_get_its_place() {
    let redis = RedisServer::start();
    let [one, two] = [(); 2].map(|()| on(&redis.url()));
    let mut ada = two.connect_as("ada");
    let keyed = |server, key, text| keyed(server, Channel::User("ada"), key, text);
    let Answer::Delivery(delivery) = keyed(&one, "order 1", "0") else { panic!("it is the first") };
    let first = position(delivery);
    for server in [&one, &two, &one] {
        assert_eq!(keyed(server, "order 1", "again"), Answer::Repeated(Some(first)));
    }
    let Answer::Delivery(delivery) = keyed(&two, "order 2", "1") else { panic!("it is another one") };
    assert_eq!(position(delivery).offset, 2);
    expect_numbers(&mut ada, 0..2);
    ada.expect_silence(Duration::from_millis(20));
    let options = PublishOptions { idempotency_key: Some("k"), ..PublishOptions::default() };
    let nowhere = one.engine.publish(Channel::Room("noise:1"), Message::Text("x"), options);
    assert_eq!(nowhere.unwrap_err().kind, Code::NoHistory);
}

#[test]
fn a_history_is_read_in_pages_after_a_position() {
    let redis = RedisServer::start();
    let server = Server::start_up(kept(&redis.url(), 10));
    let ada = Topic::User("ada");
    assert_eq!(
        page(&server, ada, None, 5),
        HistoryPage { messages: vec![], position: None, lost: None, has_more: false }
    );
    let places = count(&server, "ada", 0..25);
    let oldest = page(&server, ada, None, 4);
    assert_eq!(
        (texts(&oldest), oldest.has_more),
        (vec!["15".into(), "16".into(), "17".into(), "18".into()], true)
    );
    assert_eq!(oldest.position, Some(places[18]));
    let next = page(&server, ada, oldest.position, 6);
    assert_eq!((next.messages.len(), next.has_more, next.lost), (6, false, None));
    assert_eq!(next.position, Some(places[24]));
    let trimmed = page(&server, ada, Some(places[3]), 100);
    assert_eq!((trimmed.messages.len(), trimmed.lost), (10, Some(Reason::Trimmed)));
    let none = page(&server, ada, Some(places[24]), 100);
    assert_eq!((none.messages.len(), none.position, none.lost), (0, Some(places[24]), None));
    redis.run(&["FLUSHALL"]);
    assert_eq!(page(&server, ada, Some(places[24]), 100).lost, Some(Reason::Emptied));
    let places = count(&server, "ada", 0..1);
    assert_eq!(page(&server, ada, None, 1).position, Some(places[0]));
    let nothing = server.engine.history(Topic::Room("noise:1"), None, 1);
    assert_eq!(nothing.unwrap_err().kind, Code::NoHistory);
}

#[test]
fn messages_of_all_sizes_are_repaired() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let (one, two) = (on(&redis.url()), on(&tap.url()));
    let mut ada = two.connect_as("ada");
    let sizes = [1, 100_000, 300_000, 1, 400_000, 70_000, 200_000, 5];
    one.tell("ada", "first");
    ada.expect_text("first");
    tap.cut();
    for size in sizes {
        position(one.tell("ada", &"x".repeat(size)));
    }
    tap.open();
    for size in sizes {
        assert_eq!(ada.next_text().len(), size);
    }
    expect_nothing_missed(&two);
}

#[test]
fn while_a_server_of_before_listens_messages_have_no_place_and_it_can_read_them_all() {
    let redis = RedisServer::start();
    let server = on(&redis.url());
    let mut ada = server.connect_as("ada");
    let first = count(&server, "ada", 0..2);
    // As version 0.1 subscribes.
    let mut old = crate::tests::redis_rig::Listener::on(&redis, &["actory:control", "actory:user:ada"]);
    for number in 2..5 {
        assert_eq!(server.tell("ada", &number.to_string()).position, None);
        old.expect("actory:user:ada", &format!("t{number}"));
    }
    server.event("a notice", |event| match event {
        Event::Problem(error) if error.kind == Code::NoHistory => Some(()),
        _ => None,
    });
    drop(old);
    eventually("it to be gone", || redis.subscribers("actory:control") == 1);
    let later = count(&server, "ada", 5..7);
    assert_ne!(later[0].epoch, first[0].epoch);
    assert_eq!(later[0].offset, 1);
    expect_numbers(&mut ada, 0..7);
    expect_nothing_missed(&server);
    assert_eq!(page(&server, Topic::User("ada"), Some(first[1]), 10).lost, Some(Reason::Emptied));
}

#[test]
fn a_master_that_is_a_replica_for_a_moment_takes_what_waited_for_it_under_a_new_term() {
    let (redis, other) = (RedisServer::start(), RedisServer::with(&["repl-diskless-sync-delay 0"]));
    let [one, two] = [(); 2].map(|()| on(&redis.url()));
    let mut ada = two.connect_as("ada");
    let before = count(&one, "ada", 0..3);
    expect_numbers(&mut ada, 0..3);
    let port = other.address().port().to_string();
    redis.run(&["REPLICAOF", "127.0.0.1", &port]);
    // Refused by the replica, and not lost: it waits for a master.
    let waiting = one.engine.publish(Channel::User("ada"), Message::Text("3"), false);
    eventually("its data to be the other's", || redis.ask::<u64>(&["DBSIZE"]) == 0);
    redis.run(&["REPLICAOF", "NO", "ONE"]);
    let after = position(one.delivery(waiting));
    assert_ne!((after.epoch, after.term), (before[2].epoch, before[2].term));
    assert_ne!(after.term, before[2].term);
    expect_numbers(&mut ada, 3..4);
    // The other server's link never broke: it has missed nothing, and learns of the new term with its next probe.
    let place = position(two.tell("ada", "4"));
    assert_eq!((place.epoch, place.offset), (after.epoch, 2));
    ada.expect_text("4");
}
