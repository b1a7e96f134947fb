//! The traffic over Redis: channels and payloads that others read and write, the guide's servers among them.

use std::time::{Duration, Instant};

use codes::error::Code;
use protocol::frame::Message;

use crate::broker::redis::{RedisConfig, Routing};
use crate::engine::config::Config;
use crate::events::Event;
use crate::outcome::{Delivery, Status};
use crate::registry::recipients::Channel;
use crate::tests::client::BINARY;
use crate::tests::harness::{GLANCE, Request, Server};
use crate::tests::redis_rig::{Listener, RedisServer, with, with_redis};

const EVERYBODY: Channel<'_> = Channel::Everyone;

fn shared(redis: &RedisServer) -> Config {
    with(RedisConfig { routing: Routing::Shared, ..with_redis(&redis.url()).redis })
}

#[test]
fn channels_and_payloads_are_as_documented() {
    let redis = RedisServer::start();
    let server = Server::on(&redis.url());
    let mut listener = Listener::on(&redis, &["actory:user:ada", "actory:room:den", "actory:all"]);
    let publish = |channel, message| server.delivery(server.engine.publish(channel, message, false));
    publish(Channel::User("ada"), Message::Text("{\"a\": 1}"));
    publish(Channel::User("ada"), Message::Binary(&[0, 255, b'\r', b'\n']));
    publish(Channel::Room("den"), Message::Text(""));
    publish(EVERYBODY, Message::Text("grüße"));
    listener.expect("actory:user:ada", "t{\"a\": 1}");
    assert_eq!(listener.next(), ("actory:user:ada".into(), b"b\0\xff\r\n".to_vec()));
    listener.expect("actory:room:den", "t");
    listener.expect("actory:all", "tgrüße");
}

#[test]
fn whoever_publishes_in_this_form_reaches_users_rooms_and_everyone() {
    let redis = RedisServer::start();
    let server = Server::on(&redis.url());
    let mut ada = server.open(Request::of("ada", &["den"]));
    for (channel, payload) in [
        ("actory:user:ada", "tone"),
        ("actory:room:den", "ttwo"),
        ("actory:all", "tthree"),
        ("actory:user:ada", "b\0"),
    ] {
        assert_eq!(redis.ask::<u64>(&["PUBLISH", channel, payload]), 1);
    }
    ada.expect_text("one");
    ada.expect_text("two");
    ada.expect_text("three");
    ada.expect(BINARY, &[0]);
}

#[test]
fn apps_with_different_prefixes_share_a_redis_and_nothing_else() {
    let redis = RedisServer::start();
    let [one, two] = ["one", "two:é"].map(|prefix| {
        let redis = RedisConfig { prefix: prefix.into(), ..with_redis(&redis.url()).redis };
        Server::start_up(with(redis))
    });
    let (mut here, mut there) = (one.connect_as("ada"), two.connect_as("ada"));
    assert_eq!(one.tell("ada", "hello").nodes, Some(1));
    assert_eq!(one.delivery(one.engine.publish(EVERYBODY, Message::Text("all"), false)).nodes, Some(1));
    here.expect_text("hello");
    here.expect_text("all");
    assert_eq!(two.tell("ada", "there").nodes, Some(1));
    there.expect_text("there");
    assert_eq!(redis.subscribers("two:é:user:ada"), 1);
}

#[test]
fn any_name_is_a_channel_of_its_own() {
    let redis = RedisServer::start();
    let servers = [Server::on(&redis.url()), Server::start_up(shared(&redis))];
    let long = "ü".repeat(128);
    for name in
        ["a\r\nb", "{1}:x", "room:den", "user:user:", "*", "\0", "all", "messages", " ", "\u{1F600}", &long]
    {
        for (from, to) in [(&servers[0], &servers[1]), (&servers[1], &servers[0])] {
            let mut client = to.open(Request::of(name, &[name]));
            from.tell(name, "\"to the user\"");
            client.expect_text("\"to the user\"");
            let sent =
                from.delivery(from.engine.publish(Channel::Room(name), Message::Text("to the room"), false));
            assert_eq!(sent.status, Status::Published);
            client.expect_text("to the room");
        }
    }
}

#[test]
fn messages_of_the_guides_servers_reach_users_of_either_routing() {
    let redis = RedisServer::start();
    let servers = [Server::on(&redis.url()), Server::start_up(shared(&redis))];
    let mut clients = servers.each_ref().map(|server| (server.connect_as("ada"), server.connect_as("7")));
    for payload in [
        r#"{"userId":"ada","data":{"a": [1, 2]}}"#,
        // The guide's servers send JSON.stringify(data): quotes and all.
        r#"{"data":"hello","userId":"ada"}"#,
        r#"{"userId":"ada","data":null,"more":[]}"#,
        r#"{"userId":7,"data":true}"#,
    ] {
        assert_eq!(redis.ask::<u64>(&["PUBLISH", "actory:messages", payload]), 2);
    }
    for (ada, seven) in &mut clients {
        ada.expect_text(r#"{"a": [1, 2]}"#);
        ada.expect_text(r#""hello""#);
        ada.expect_text("null");
        seven.expect_text("true");
    }
}

#[test]
fn shared_routing_speaks_the_guides_format_and_reaches_everybody_once() {
    let redis = RedisServer::start();
    let servers =
        [Server::start_up(shared(&redis)), Server::start_up(shared(&redis)), Server::on(&redis.url())];
    let user = "a\"dä\\";
    let mut clients = servers.each_ref().map(|server| server.connect_as(user));
    let mut listener = Listener::on(&redis, &["actory:messages"]);
    let sent = servers[0].tell(user, r#"{"n": 1}"#);
    assert_eq!(sent, Delivery { status: Status::Published, nodes: None, local: 1, position: None });
    servers[0].tell(user, "not JSON: \"\u{1}");
    let text = |value: &str| serde_json::Value::from(value);
    listener.expect("actory:messages", &format!(r#"{{"userId":{},"data":{{"n": 1}}}}"#, text(user)));
    let odd = format!(r#"{{"userId":{},"data":{},"text":true}}"#, text(user), text("not JSON: \"\u{1}"));
    listener.expect("actory:messages", &odd);
    let refused = servers[0].engine.publish(Channel::User(user), Message::Binary(b"x"), false);
    assert_eq!(refused.unwrap_err().kind, Code::NotRepresentable);
    // Rooms and broadcasts are unknown to the guide's servers, and go their own way.
    servers[0].delivery(servers[0].engine.publish(EVERYBODY, Message::Binary(b"all"), false));
    clients[1].text("{\"relayed\":1}");
    for client in &mut clients {
        client.expect_text(r#"{"n": 1}"#);
        client.expect_text("not JSON: \"\u{1}");
        client.expect(BINARY, b"all");
        client.expect_text("{\"relayed\":1}");
        client.expect_silence(GLANCE);
    }
}

#[test]
fn the_largest_message_crosses_whatever_its_form_on_the_way() {
    let redis = RedisServer::start();
    // Each becomes six characters of JSON.
    let text = "\u{1}".repeat(1 << 20);
    for config in [with_redis(&redis.url()), shared(&redis)] {
        let server = Server::start_up(config);
        assert_eq!(server.engine.config().limits.outbox_bytes, text.len());
        let mut ada = server.connect_as("ada");
        assert_eq!(server.tell("ada", &text).status, Status::Published);
        ada.expect_text(&text);
        assert_eq!(server.engine.stats().broker.counts.ignored, 0);
    }
}

#[test]
fn what_is_malformed_is_counted_reported_now_and_then_and_skipped() {
    let redis = RedisServer::start();
    let server = Server::on(&redis.url());
    let mut ada = server.connect_as("ada");
    let mut bob = server.connect_as("bob");
    let oversized = format!("t{}", "x".repeat((1 << 20) + 1));
    let enormous = format!("t{}", "x".repeat(20 << 20));
    let long_id = format!(r#"{{"userId":"{}","data":1}}"#, "x".repeat(257));
    let deep = format!(r#"{{"userId":"ada","data":{}}}"#, "[".repeat(100_000));
    let bad = [
        ("user:ada", ""),
        ("user:ada", "x"),
        ("user:ada", "{\"v\":1}"),
        ("user:ada", &oversized),
        ("user:ada", &enormous),
        ("all", "?"),
        ("messages", "{"),
        ("messages", "[]"),
        ("messages", "7"),
        ("messages", r#"{"userId":"","data":1}"#),
        ("messages", r#"{"userId":{},"data":1}"#),
        ("messages", r#"{"userId":"ada"}"#),
        ("messages", &long_id),
        ("messages", &deep),
        ("user:ada", "x"),
        ("user:ada", "x{}"),
        ("user:ada", r#"x{"v":2,"op":"disconnect","userId":"ada","code":4002,"reason":""}"#),
        // On a user's channel only that user can be closed.
        ("user:ada", r#"x{"v":1,"op":"disconnect","userId":"bob","code":4002,"reason":""}"#),
        ("user:ada", r#"x{"v":1,"op":"count","id":1,"node":"n","userId":null}"#),
        ("control", "{}"),
        ("control", r#"{"v":2,"op":"disconnect","userId":"ada","code":4002,"reason":""}"#),
        ("control", r#"{"v":1,"op":"explode"}"#),
        ("control", r#"{"v":1,"op":"disconnect","userId":"ada","code":1,"reason":""}"#),
        ("control", r#"{"v":1,"op":"disconnect","userId":"ada","code":99999,"reason":""}"#),
        ("control", r#"{"v":1,"op":"counted","id":-1,"connections":1}"#),
    ];
    let begun = Instant::now();
    for (channel, payload) in bad {
        redis.run(&["PUBLISH", &format!("actory:{channel}"), payload]);
    }
    redis.run(&["PUBLISH", "actory:user:ada", "tgood"]);
    ada.expect_text("good");
    redis.run(&["PUBLISH", "actory:user:bob", "tgood"]);
    bob.expect_text("good");
    let counts = server.engine.stats().broker.counts;
    assert_eq!(counts.ignored, bad.len() as u64);
    let reports = std::iter::from_fn(|| {
        server.event_within(Duration::ZERO, |event| match event {
            Event::Problem(error) => Some(error.kind),
            _ => None,
        })
    });
    let reports: Vec<_> = reports.collect();
    assert!(reports.iter().all(|kind| *kind == Code::BadMessage));
    assert!((1..=1 + begun.elapsed().as_secs() as usize).contains(&reports.len()), "{reports:?}");
    assert_eq!(counts.gaps, 0, "the link lives");
}
