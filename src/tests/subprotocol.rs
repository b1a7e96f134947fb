//! Clients that speak `actory.v1`: envelopes, resumption, and news of their topics.

use std::time::{Duration, Instant};

use history::log::Bounds;
use history::pattern::Pattern;
use protocol::frame::Message;
use serde_json::{Value, json};

use super::client::Client;
use super::harness::{GLANCE, PATIENCE, Request, Server, config, eventually};
use super::redis_rig::{RedisServer, Tap, with_redis};
use crate::broker::PublishOptions;
use crate::broker::history::HistoryConfig;
use crate::engine::Answered;
use crate::engine::config::{Config, Relay};
use crate::events::{AskedKind, Event, Interest};
use crate::registry::recipients::Channel;

const SIZE: u32 = 20;

/// Users and rooms have a history; the rooms `noise:…` have none.
fn kept(config: Config, size: u32) -> Config {
    let bounds = Some(Bounds { size, ttl_ms: 60_000 });
    let rooms = vec![(Pattern::parse("noise:*").unwrap(), None), (Pattern::all(), bounds)];
    Config { history: HistoryConfig { users: bounds, rooms, trust_failover: false }, ..config }
}

fn alone() -> Server {
    Server::start(kept(config(), SIZE))
}

fn request(user: &str, rooms: &[&str]) -> Request {
    Request::of(user, rooms).with("Sec-WebSocket-Protocol: actory.v1")
}

fn next(client: &mut Client) -> Value {
    serde_json::from_str(&client.next_text()).unwrap()
}

/// A connection, and its `hello`.
fn open(server: &Server, user: &str, rooms: &[&str]) -> (Client, Value) {
    let mut client = server.open(request(user, rooms));
    let hello = next(&mut client);
    assert_eq!((&hello["type"], &hello["userId"]), (&json!("hello"), &json!(user)));
    (client, hello)
}

/// One that the application has dealt with.
fn greeted(server: &Server, user: &str, rooms: &[&str]) -> (Client, Value) {
    let (client, hello) = open(server, user, rooms);
    server.engine.greeted(client.id());
    (client, hello)
}

fn publish(server: &Server, channel: Channel<'_>, text: &str) -> Value {
    let delivery = server.delivery(server.engine.publish(channel, Message::Text(text), false));
    delivery.position.map_or(Value::Null, |position| position.to_string().into())
}

/// Publishes these numbers to a user. Answers their positions.
fn count(server: &Server, user: &str, numbers: std::ops::Range<u32>) -> Vec<Value> {
    numbers.map(|number| publish(server, Channel::User(user), &number.to_string())).collect()
}

fn resume(client: &mut Client, topics: &[(&str, Option<&Value>)]) {
    let topic = |(topic, position): &(&str, Option<&Value>)| match position {
        Some(position) => json!({ "topic": topic, "position": position }),
        None => json!({ "topic": topic }),
    };
    let topics: Vec<Value> = topics.iter().map(topic).collect();
    client.text(&json!({ "type": "resume", "topics": topics }).to_string());
}

/// The next message is the answer to a resumption.
fn expect_resumed(client: &mut Client, topic: &str, reason: Option<&str>) -> Value {
    let resumed = next(client);
    let lost = (resumed["recovered"].clone(), resumed["reason"].as_str());
    assert_eq!((&resumed["type"], &resumed["topic"]), (&json!("resumed"), &json!(topic)), "{resumed}");
    assert_eq!(lost, (json!(reason.is_none()), reason), "{resumed}");
    resumed
}

/// The next messages are these, which were missed.
fn expect_replayed(client: &mut Client, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let message = next(client);
        assert_eq!((&message["data"], &message["replayed"]), (&json!(number), &json!(true)), "{message}");
    }
}

#[test]
fn messages_come_in_envelopes_with_topic_and_position_and_to_plain_clients_as_they_are() {
    let server = alone();
    let (mut ada, hello) = greeted(&server, "ada", &["tea", "noise:1"]);
    let topics = json!([
        { "topic": "user", "position": null },
        { "topic": "room:tea", "position": null },
        { "topic": "room:noise:1" },
    ]);
    assert_eq!((&hello["topics"], &hello["heartbeatMs"]), (&topics, &json!(3_600_000)));
    assert_eq!(hello["connectionId"], json!(server.engine.public_id(ada.id())));
    let mut plain = server.open(Request::of("ada", &["tea"]));
    let position = publish(&server, Channel::Room("tea"), "{\"n\":1}");
    assert!(position.is_string());
    plain.expect_text("{\"n\":1}");
    let message = json!({ "type": "message", "topic": "room:tea", "position": position, "data": { "n": 1 } });
    assert_eq!(next(&mut ada), message);
    publish(&server, Channel::Room("noise:1"), "no json");
    assert_eq!(next(&mut ada), json!({ "type": "message", "topic": "room:noise:1", "text": "no json" }));
    publish(&server, Channel::Everyone, "2");
    assert_eq!(next(&mut ada), json!({ "type": "message", "topic": "all", "data": 2 }));
    server.engine.send(ada.id(), Message::Text("3")).unwrap();
    assert_eq!(next(&mut ada), json!({ "type": "message", "data": 3 }));
    server.engine.send(ada.id(), Message::Binary(&[1, 2])).unwrap();
    ada.expect(0x82, b"\x00\x12{\"type\":\"message\"}\x01\x02");
    let large = format!("\"{}\"", "x".repeat(100_000));
    server.delivery(server.engine.publish(
        Channel::User("ada"),
        Message::Text(&large),
        PublishOptions { is_fleeting: true, ..PublishOptions::default() },
    ));
    assert_eq!(next(&mut ada)["data"].as_str().map(str::len), Some(100_000));
    // A group that is large enough to get its messages together.
    let (mut crowd, _): (Vec<Client>, Vec<Value>) = (0..9).map(|_| greeted(&server, "bob", &[])).unzip();
    let places = count(&server, "bob", 0..3);
    for client in &mut crowd {
        for (number, position) in places.iter().enumerate() {
            let message = json!({ "type": "message", "topic": "user", "position": position, "data": number });
            assert_eq!(next(client), message);
        }
    }
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed_in_order_and_then_what_comes() {
    let server = alone();
    let (mut ada, hello) = greeted(&server, "ada", &["tea"]);
    let first = count(&server, "ada", 0..1).remove(0);
    assert_eq!(next(&mut ada)["position"], first);
    drop(ada);
    count(&server, "ada", 1..6);
    publish(&server, Channel::Room("tea"), "7");
    let (mut ada, _) = greeted(&server, "ada", &["tea"]);
    let room = hello["topics"][1]["position"].clone();
    resume(&mut ada, &[("user", Some(&first)), ("room:tea", Some(&room))]);
    expect_replayed(&mut ada, 1..6);
    let last = expect_resumed(&mut ada, "user", None)["position"].clone();
    expect_replayed(&mut ada, 7..8);
    expect_resumed(&mut ada, "room:tea", None);
    let newest = count(&server, "ada", 6..7).remove(0);
    assert_eq!(next(&mut ada), json!({ "type": "message", "topic": "user", "position": newest, "data": 6 }));
    resume(&mut ada, &[("user", Some(&last)), ("user", Some(&newest))]);
    expect_replayed(&mut ada, 6..7);
    expect_resumed(&mut ada, "user", None);
    assert_eq!(expect_resumed(&mut ada, "user", None)["position"], newest);
}

#[test]
fn a_long_absence_is_made_up_for_in_pages() {
    const MESSAGES: u32 = 1000;
    let server = Server::start(kept(config(), MESSAGES));
    count(&server, "ada", 0..MESSAGES);
    let (mut ada, _) = greeted(&server, "ada", &[]);
    let (mut position, mut got, mut pages) = (Value::Null, 0, 0);
    loop {
        resume(&mut ada, &[("user", Some(&position))]);
        let more = loop {
            let message = next(&mut ada);
            if message["type"] == "resumed" {
                assert_eq!(message["recovered"], json!(true));
                position = message["position"].clone();
                break message["more"] == json!(true);
            }
            assert_eq!(message["data"], json!(got));
            got += 1;
        };
        pages += 1;
        if !more {
            break;
        }
    }
    assert_eq!((got, pages), (MESSAGES, 10));
}

#[test]
fn a_client_is_told_why_its_topic_can_not_be_recovered() {
    let server = alone();
    let first = count(&server, "ada", 0..1).remove(0);
    let (mut ada, _) = greeted(&server, "ada", &["noise:1", "new"]);
    count(&server, "ada", 1..SIZE + 5);
    for number in 1..SIZE + 5 {
        assert_eq!(next(&mut ada)["data"], json!(number));
    }
    resume(
        &mut ada,
        &[
            ("user", Some(&first)),
            ("user", None),
            ("room:noise:1", None),
            ("room:other", Some(&Value::Null)),
            ("all", Some(&Value::Null)),
            ("room:new", Some(&Value::Null)),
            ("room:new", Some(&first)),
        ],
    );
    expect_replayed(&mut ada, 5..SIZE + 5);
    expect_resumed(&mut ada, "user", Some("trimmed"));
    assert_eq!(expect_resumed(&mut ada, "user", Some("no-position")).get("position"), None);
    expect_resumed(&mut ada, "room:noise:1", Some("no-history"));
    assert_eq!(expect_resumed(&mut ada, "room:other", Some("not-member")).get("position"), None);
    expect_resumed(&mut ada, "all", Some("no-history"));
    assert_eq!(expect_resumed(&mut ada, "room:new", None)["position"], Value::Null);
    expect_resumed(&mut ada, "room:new", Some("emptied"));
    resume(&mut ada, &[("user", Some(&Value::Null))]);
    expect_replayed(&mut ada, 5..SIZE + 5);
    expect_resumed(&mut ada, "user", Some("trimmed"));
}

#[test]
fn a_room_waits_for_the_application_to_deal_with_the_connection() {
    let server = alone();
    publish(&server, Channel::Room("tea"), "1");
    let (mut ada, hello) = open(&server, "ada", &[]);
    assert_eq!(hello["topics"].as_array().map(Vec::len), Some(1));
    resume(&mut ada, &[("user", Some(&Value::Null)), ("room:tea", Some(&Value::Null)), ("room:no", None)]);
    expect_resumed(&mut ada, "user", None);
    ada.expect_silence(Duration::from_millis(50));
    server.engine.join(ada.id(), &"tea".into()).unwrap();
    server.engine.greeted(ada.id());
    assert_eq!(next(&mut ada)["type"], json!("joined"));
    expect_replayed(&mut ada, 1..2);
    expect_resumed(&mut ada, "room:tea", None);
    expect_resumed(&mut ada, "room:no", Some("not-member"));
    server.engine.leave(ada.id(), "tea");
    assert_eq!(next(&mut ada), json!({ "type": "left", "topic": "room:tea" }));
}

#[test]
fn what_a_client_sends_reaches_the_application_and_the_relay_as_from_a_plain_one() {
    let server = Server::start(Config { relay: Relay::User, ..config() });
    let (mut ada, _) = greeted(&server, "ada", &[]);
    let mut plain = server.open(Request::of("ada", &[]));
    ada.text(r#"{"type":"send","data":{"n": 1}}"#);
    plain.expect_text(r#"{"n": 1}"#);
    assert_eq!(next(&mut ada), json!({ "type": "message", "topic": "user", "data": { "n": 1 } }));
    plain.text("2");
    assert_eq!(next(&mut ada)["data"], json!(2));
    plain.expect_text("2");
    ada.binary(b"\x00\x0f{\"type\":\"send\"}xy");
    let error = next(&mut ada);
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("ERR_BINARY_NOT_RELAYED")));
    for (text, code, id) in [
        ("x", "ERR_INVALID_MESSAGE", None),
        (r#"{"type":"send","id":"a"}"#, "ERR_INVALID_MESSAGE", Some("a")),
        (r#"{"type":"dance","id":"b"}"#, "ERR_UNKNOWN_TYPE", Some("b")),
    ] {
        ada.text(text);
        let error = next(&mut ada);
        assert_eq!((error["code"].as_str(), error["id"].as_str()), (Some(code), id), "{error}");
    }
    ada.text(r#"{"type":"ping","more":1}"#);
    assert_eq!(next(&mut ada)["type"], json!("pong"));
}

#[test]
fn a_client_that_asks_for_ever_more_is_refused_and_bounded() {
    let server = alone();
    let (mut ada, _) = open(&server, "ada", &[]);
    let topics: Vec<(&str, Option<&Value>)> = vec![("room:none", None); 600];
    resume(&mut ada, &topics);
    resume(&mut ada, &topics);
    assert_eq!(next(&mut ada)["code"], json!("ERR_INVALID_MESSAGE"));
    server.engine.greeted(ada.id());
    (0..600).for_each(|_| drop(expect_resumed(&mut ada, "room:none", Some("not-member"))));
}

#[test]
fn a_client_resumes_on_another_server_and_hears_what_that_server_has_missed() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let on = |url: &str| Server::start_up(kept(with_redis(url), SIZE));
    let (one, two) = (on(&redis.url()), on(&tap.url()));
    let (mut ada, hello) = greeted(&one, "ada", &[]);
    assert_eq!(hello["topics"][0], json!({ "topic": "user", "position": null }));
    let first = count(&one, "ada", 0..1).remove(0);
    assert_eq!(next(&mut ada)["position"], first);
    drop(ada);
    count(&one, "ada", 1..5);
    let (mut ada, hello) = greeted(&two, "ada", &[]);
    let known = hello["topics"][0]["position"].clone();
    assert!(known.as_str().is_some_and(|known| known.ends_with(".5")), "{hello}");
    resume(&mut ada, &[("user", Some(&first))]);
    expect_replayed(&mut ada, 1..5);
    assert_eq!(expect_resumed(&mut ada, "user", None)["position"], known);
    count(&two, "ada", 5..6);
    assert_eq!(next(&mut ada)["data"], json!(5));
    // The server's own gap: all but what fits the history is lost.
    tap.cut();
    count(&one, "ada", 6..8 + SIZE);
    tap.open();
    let told = loop {
        let told = next(&mut ada);
        // Topics without a history have a gap of their own.
        if told.get("topic").is_some() {
            break told;
        }
        assert_eq!((&told["type"], &told["reason"]), (&json!("missed"), &json!("gap")));
    };
    assert_eq!((&told["type"], &told["reason"]), (&json!("missed"), &json!("trimmed")), "{told}");
    for number in 8..8 + SIZE {
        let message = loop {
            let message = next(&mut ada);
            if message["reason"] != json!("gap") {
                break message;
            }
        };
        assert_eq!(message["data"], json!(number));
    }
}

#[test]
fn a_resumption_while_redis_is_away_is_to_be_asked_for_again() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let server = Server::start_up(kept(with_redis(&tap.url()), SIZE));
    let first = count(&server, "ada", 0..2).remove(0);
    let (mut ada, _) = greeted(&server, "ada", &[]);
    tap.cut();
    server.broker("the link to be lost", |status| status.error.is_some());
    resume(&mut ada, &[("user", Some(&first))]);
    expect_resumed(&mut ada, "user", Some("unavailable"));
    tap.open();
    server.expect_up();
    eventually("the topic to be recovered", || {
        resume(&mut ada, &[("user", Some(&first))]);
        loop {
            let message = next(&mut ada);
            if message["type"] == json!("resumed") {
                break message["recovered"] == json!(true);
            }
        }
    });
}

#[test]
fn a_room_is_not_read_before_its_messages_are_sure_to_come() {
    let redis = RedisServer::start();
    let server = Server::start_up(kept(with_redis(&redis.url()), SIZE));
    publish(&server, Channel::Room("tea"), "0");
    let (mut ada, _) = greeted(&server, "ada", &[]);
    redis.stop();
    server.engine.join(ada.id(), &"tea".into()).unwrap();
    resume(&mut ada, &[("room:tea", Some(&Value::Null))]);
    // Both wait for the same confirmation.
    let mut told =
        [next(&mut ada), next(&mut ada)].map(|told| (told["type"].clone(), told["reason"].clone()));
    told.sort_by_key(|(kind, _)| kind.to_string());
    assert_eq!(told, [(json!("joined"), Value::Null), (json!("resumed"), json!("unavailable"))]);
    redis.resume();
    let mut got = Vec::new();
    eventually("the room to be recovered", || {
        resume(&mut ada, &[("room:tea", Some(&Value::Null))]);
        loop {
            let message = next(&mut ada);
            match message["type"].as_str() {
                Some("message") => got.push(message["data"].clone()),
                Some("resumed") => break message["recovered"] == json!(true),
                _ => {}
            }
        }
    });
    assert_eq!(got, [json!(0)]);
}

#[test]
fn a_page_waits_for_a_client_that_is_behind_and_does_not_find_it_slow() {
    const OUTBOX: usize = 128 << 10;
    let mut config = kept(config(), SIZE);
    config.limits.outbox_bytes = OUTBOX;
    config.limits.max_payload = 64 << 10;
    let server = Server::start(config);
    publish(&server, Channel::User("ada"), &format!("\"{}\"", "x".repeat(100 << 10)));
    let (mut ada, _) = greeted(&server, "ada", &[]);
    let (small, mut sent) = (format!("\"{}\"", "y".repeat(10 << 10)), 0);
    // More than a page leaves of the outbox, and less than half of it.
    while ada.handle().buffered() < OUTBOX * 3 / 8 {
        assert_eq!(server.engine.send(ada.id(), Message::Text(&small)), Ok(true));
        sent += 1;
    }
    resume(&mut ada, &[("user", Some(&Value::Null))]);
    // The server had time to send it.
    std::thread::park_timeout(GLANCE);
    assert!(ada.handle().is_open());
    for _ in 0..sent {
        assert_eq!(next(&mut ada)["data"].as_str().map(str::len), Some(10 << 10));
    }
    assert_eq!(next(&mut ada)["data"].as_str().map(str::len), Some(100 << 10));
    expect_resumed(&mut ada, "user", None);
    ada.expect_alive();
}

/// The next message that is to be answered, and the ticket under which it is.
fn asked(server: &Server) -> (AskedKind, String, String, u64) {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let batch = server.engine.drain(16);
        server.engine.flush();
        for event in batch {
            if let Event::Asked { asked, .. } = event {
                let text = String::from_utf8_lossy(asked.data.as_message().payload()).into_owned();
                return (asked.kind, text, asked.message_id, server.engine.hold(asked.receipt));
            }
        }
        std::thread::yield_now();
    }
    panic!("nothing is to be answered");
}

#[test]
fn a_message_with_an_id_is_answered_when_the_embedder_has_taken_it_and_the_relay_too() {
    let redis = RedisServer::start();
    let server = Server::start_up(Config { relay: Relay::User, ..kept(with_redis(&redis.url()), SIZE) });
    server.engine.set_interest(Interest::ALL);
    let (mut ada, _) = greeted(&server, "ada", &[]);
    ada.text(r#"{"type":"send","id":"a","data":[1]}"#);
    let (kind, text, name, ticket) = asked(&server);
    assert_eq!((kind, &*text, name.len()), (AskedKind::Message, "[1]", 22));
    assert_eq!(next(&mut ada)["data"], json!([1]), "it is relayed");
    ada.expect_silence(GLANCE);
    server.engine.answer(ticket, Answered::Taken).unwrap();
    assert_eq!(next(&mut ada), json!({ "type": "ack", "id": "a" }));
    ada.text(r#"{"type":"request","id":"b","data":2}"#);
    let (kind, text, _, ticket) = asked(&server);
    assert_eq!((kind, &*text), (AskedKind::Request, "2"));
    server.engine.answer(ticket, Answered::Reply(Message::Text("3"))).unwrap();
    assert_eq!(next(&mut ada), json!({ "type": "reply", "id": "b", "data": 3 }));
}

#[test]
fn a_session_goes_on_with_the_connection_that_offers_its_name_and_for_nobody_else() {
    let server = Server::start(Config { relay: Relay::Off, ..config() });
    server.engine.set_interest(Interest::ALL);
    let offering = |user: &str, session: &Value| {
        let protocols = format!("Sec-WebSocket-Protocol: actory.v1, session.{}", session.as_str().unwrap());
        let mut client = server.open(Request::of(user, &[]).with(&protocols));
        let hello = next(&mut client);
        assert_eq!(&hello["session"], session);
        client
    };
    let (mut ada, hello) = greeted(&server, "ada", &[]);
    let session = &hello["session"];
    let send = r#"{"type":"send","id":"a","data":1}"#;
    let ack = json!({ "type": "ack", "id": "a" });
    ada.text(send);
    let (_, _, name, ticket) = asked(&server);
    // Another connection of the session is told, also if the first is still there.
    let mut back = offering("ada", session);
    back.text(send);
    back.text(r#"{"type":"ping"}"#);
    assert_eq!(next(&mut back)["type"], json!("pong"));
    server.engine.answer(ticket, Answered::Taken).unwrap();
    assert_eq!(next(&mut back), ack);
    drop((ada, back));
    let mut late = offering("ada", session);
    late.text(send);
    assert_eq!(next(&mut late), ack);
    let mut bob = offering("bob", session);
    bob.text(send);
    let (_, _, another, ticket) = asked(&server);
    assert_ne!(another, name);
    server.engine.answer(ticket, Answered::Refused { code: "MINE", message: "no" }).unwrap();
    let refusal = json!({ "type": "error", "code": "MINE", "message": "no", "id": "a" });
    assert_eq!(next(&mut bob), refusal);
    late.text(send);
    assert_eq!(next(&mut late), ack);
}

#[test]
fn a_message_that_nobody_takes_is_refused() {
    let server = Server::start(Config { relay: Relay::Off, ..config() });
    let (mut ada, _) = open(&server, "ada", &[]);
    server.engine.set_interest(Interest(0));
    for kind in ["send", "request"] {
        ada.text(&format!(r#"{{"type":"{kind}","id":"é","data":1}}"#));
        let told = next(&mut ada);
        assert_eq!((&told["code"], &told["id"]), (&json!("ERR_NO_LISTENER"), &json!("é")), "{told}");
    }
    // One without an id wants no answer.
    ada.text(r#"{"type":"send","data":1}"#);
    ada.expect_silence(GLANCE);
}
