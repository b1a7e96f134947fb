//! Servers of this version beside those of others, as far as one process can show it: a frozen copy of version 0.1 reads
//! and writes all that goes over a real Redis. `__test__/versions/` runs the versions themselves.

pub(crate) mod golden;
pub(crate) mod v0_1;

use history::pattern::Pattern;
use protocol::frame::Message;

use self::golden::{Meaning, PLAIN, POSITIONED, envelopes};
use super::harness::{Request, Server};
use super::redis_rig::{Listener, RedisServer, with, with_redis};
use crate::broker::history::{DEFAULT_BOUNDS, HistoryConfig};
use crate::broker::redis::{RedisConfig, Routing};
use crate::engine::config::{Config, Relay};
use crate::outcome::{Answer, ConnectionCount, Reply};
use crate::registry::recipients::Channel;
use crate::tests::client::{BINARY, TEXT};
use crate::tests::harness::eventually;

const ADA: Channel<'_> = Channel::User("ada");
const LOBBY: Channel<'_> = Channel::Room("lobby");
/// The name of a server of version 0.1.
const OLD: &str = "old";

impl Listener {
    /// The meaning of the next message for a server of version 0.1, and the kind of its channel.
    fn meaning(&mut self) -> (String, Meaning) {
        let (channel, payload) = self.next();
        let name = channel.strip_prefix("actory:").unwrap();
        let text = String::from_utf8_lossy(&payload);
        let read = v0_1::message(name, &payload, OLD);
        let meaning = read.unwrap_or_else(|| panic!("{name} is unknown to it"));
        (name.to_owned(), meaning.unwrap_or_else(|why| panic!("{name}: {text:?}: {why}")))
    }
}

/// Subscribes to all that a server of version 0.1 does which has a member of each group.
fn listen_as_0_1(redis: &RedisServer) -> Listener {
    let names = ["user:ada", "room:lobby", "messages", "all", "control", "node:old"];
    let channels = names.map(|name| format!("actory:{name}"));
    Listener::on(redis, &channels.each_ref().map(String::as_str))
}

fn config_of(redis: &RedisServer, routing: Routing, relay: Relay) -> Config {
    Config { relay, ..with(RedisConfig { routing, ..with_redis(&redis.url()).redis }) }
}

#[test]
fn whatever_a_server_publishes_without_a_history_version_0_1_understands() {
    for routing in [Routing::User, Routing::Shared] {
        let redis = RedisServer::start();
        let server = Server::start_up(config_of(&redis, routing, Relay::User));
        let mut ada = server.open(Request::of("ada", &["lobby"]));
        let mut old = listen_as_0_1(&redis);
        let mut expect = |channel: &str, meaning| assert_eq!(old.meaning(), (channel.to_owned(), meaning));
        let to_user = |text: &str| match routing {
            Routing::User => ("user:ada", Meaning::Text(text.into())),
            Routing::Shared => ("messages", Meaning::Shared { user: "ada".into(), text: text.into() }),
        };
        let publish = |channel, message| server.delivery(server.engine.publish(channel, message, false));
        for text in ["{\"a\": 1}", "no JSON", "\"a string\"", "x{}"] {
            publish(ADA, Message::Text(text));
            let (channel, meaning) = to_user(text);
            expect(channel, meaning);
        }
        ada.text("{\"relayed\":1}");
        let (channel, meaning) = to_user("{\"relayed\":1}");
        expect(channel, meaning);
        if routing == Routing::User {
            publish(ADA, Message::Binary(&[0, 255]));
            expect("user:ada", Meaning::Binary(vec![0, 255]));
        }
        publish(LOBBY, Message::Text("to the lobby"));
        expect("room:lobby", Meaning::Text("to the lobby".into()));
        publish(LOBBY, Message::Binary(b"t"));
        expect("room:lobby", Meaning::Binary(b"t".into()));
        publish(Channel::Everyone, Message::Text("to all"));
        expect("all", Meaning::Text("to all".into()));
        publish(Channel::Everyone, Message::Binary(b""));
        expect("all", Meaning::Binary(Vec::new()));
        for user in [None, Some("ada")] {
            let Ok(Reply::Later(id)) = server.engine.count(user) else { panic!("answered at once") };
            let (channel, meaning) = old.meaning();
            let Meaning::Count { id: asked, node, user: about } = meaning else { panic!("{meaning:?}") };
            assert_eq!((channel.as_str(), asked, about.as_deref()), ("control", id, user));
            assert_eq!(redis.subscribers(&format!("actory:node:{node}")), 1, "it is where it is answered");
        }
        let count = v0_1::write_control(&v0_1::Control::Count { id: 7, node: OLD.into(), user_id: None });
        redis.run(&["PUBLISH", "actory:control", &count]);
        let asked = Meaning::Count { id: 7, node: OLD.into(), user: None };
        assert_eq!(old.meaning(), ("control".into(), asked));
        assert_eq!(old.meaning(), ("node:old".into(), Meaning::Counted { id: 7, connections: 1 }));
        server.delivery(server.engine.disconnect_user("ada", 4002, "out", false));
        let (channel, meaning) = old.meaning();
        assert_eq!(channel, if routing == Routing::User { "user:ada" } else { "control" });
        assert_eq!(meaning, Meaning::Disconnect { user: "ada".into(), code: 4002, reason: "out".into() });
        assert_eq!(ada.expect_close(4002), "out");
    }
}

#[test]
fn what_a_client_relays_to_its_rooms_version_0_1_understands() {
    let redis = RedisServer::start();
    let server = Server::start_up(config_of(&redis, Routing::User, Relay::Rooms));
    let mut ada = server.open(Request::of("ada", &["lobby"]));
    let mut old = listen_as_0_1(&redis);
    ada.text("[1]");
    assert_eq!(old.meaning(), ("room:lobby".into(), Meaning::Text("[1]".into())));
}

#[test]
fn a_server_does_whatever_version_0_1_tells_it() {
    let redis = RedisServer::start();
    let server = Server::on(&redis.url());
    for envelope in envelopes(PLAIN) {
        let user = match &envelope.means {
            Meaning::Shared { user, .. } => user,
            _ => "ada",
        };
        let (channel, payload) = (format!("actory:{}", envelope.channel), envelope.bytes());
        let publish = || {
            let sent = redis::cmd("PUBLISH").arg(&channel).arg(&payload).to_owned();
            redis.send::<u64>(&sent)
        };
        let mut client = server.open(Request::of(user, &["lobby"]));
        match &envelope.means {
            Meaning::Text(text) | Meaning::Shared { text, .. } => {
                assert_eq!(publish(), 1);
                client.expect(TEXT, text.as_bytes());
            }
            Meaning::Binary(bytes) => {
                assert_eq!(publish(), 1);
                client.expect(BINARY, bytes);
            }
            Meaning::Disconnect { code, reason, .. } => {
                assert_eq!(publish(), 1);
                assert_eq!(client.expect_close(*code), *reason);
            }
            Meaning::Count { id, node, .. } => {
                let mut old = Listener::on(&redis, &[&format!("actory:node:{node}")]);
                assert_eq!(publish(), 1);
                let (_, answer) = old.next();
                let counted = v0_1::Control::Counted { id: *id, connections: 1 };
                assert_eq!(v0_1::read_control(&answer), Ok(counted));
            }
            // Asked for under a name and a number that aren't those in the file.
            Meaning::Counted { connections, .. } => count_with_0_1(&redis, &server, *connections),
            Meaning::Positioned(..) => panic!("{envelope:?}"),
        }
        let id = client.id();
        drop(client);
        server.ended(id);
    }
    assert_eq!(server.engine.stats().broker.counts.ignored, 0);
}

/// Has a server count connections beside one of version 0.1 that has so many.
fn count_with_0_1(redis: &RedisServer, server: &Server, connections: u64) {
    let mut old = Listener::on(redis, &["actory:control"]);
    let reply = server.engine.count(None);
    let (_, question) = old.next();
    let Ok(v0_1::Control::Count { id, node, .. }) = v0_1::read_control(&question) else {
        panic!("{question:?}")
    };
    let answer = v0_1::write_control(&v0_1::Control::Counted { id, connections });
    redis.run(&["PUBLISH", &format!("actory:node:{node}"), &answer]);
    let sum = ConnectionCount { connections: connections + 1, servers: 2, complete: true };
    assert_eq!(server.settled(reply), Ok(Answer::ConnectionCount(sum)));
}

/// A configuration whose users and rooms have a history.
fn with_history(redis: &RedisServer) -> Config {
    let (bounds, all) = (Some(DEFAULT_BOUNDS), Pattern::parse("**").unwrap());
    let history = HistoryConfig { users: bounds, rooms: vec![(all, bounds)], trust_failover: false };
    Config { history, ..with_redis(&redis.url()) }
}

#[test]
fn what_is_published_with_a_position_is_golden_but_for_the_position() {
    let redis = RedisServer::start();
    let server = Server::start_up(with_history(&redis));
    // Not where servers of before are counted.
    let mut listener = Listener::on(&redis, &["actory:user:ada", "actory:room:lobby"]);
    for envelope in envelopes(POSITIONED) {
        let Meaning::Positioned(golden, inner) = &envelope.means else { panic!("{envelope:?}") };
        let message = match &**inner {
            Meaning::Text(text) => Message::Text(text),
            Meaning::Binary(bytes) => Message::Binary(bytes),
            other => panic!("{other:?}"),
        };
        let channel = if envelope.channel == "user:ada" { ADA } else { LOBBY };
        let position = server.delivery(server.engine.publish(channel, message, false)).position.unwrap();
        let (channel, payload) = listener.next();
        assert_eq!(channel, format!("actory:{}", envelope.channel));
        let bytes = envelope.bytes();
        let rest = bytes.strip_prefix(format!("h{golden}").as_bytes()).unwrap();
        assert_eq!(payload, [format!("h{position}").as_bytes(), rest].concat());
    }
}

#[test]
fn with_a_history_no_server_publishes_a_position_while_one_of_version_0_1_is_there() {
    let redis = RedisServer::start();
    let with_history = with_history(&redis);
    let (one, two) = (Server::start_up(with_history.clone()), Server::start_up(with_history));
    let mut ada = two.connect_as("ada");
    let mut tell = |text: &str| {
        let delivery = one.tell("ada", text);
        ada.expect_text(text);
        delivery
    };
    assert!(tell("alone").position.is_some());
    for _ in 0..2 {
        let mut old = listen_as_0_1(&redis);
        let delivery = tell("together");
        assert_eq!((delivery.position, delivery.nodes), (None, Some(2)));
        assert_eq!(old.meaning(), ("user:ada".into(), Meaning::Text("together".into())));
        drop(old);
        eventually("it to be gone", || redis.subscribers("actory:control") == 2);
        assert!(tell("alone again").position.is_some());
    }
}
