//! The engine tells an operator what happens, and no secret.

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Once};

use auth::jwt::{JwtOptions, Key, Verifier};
use codes::error::{Code, quote, shorten};
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::client::{CLOSE, close_payload};
use super::harness::{Request, Server, config, eventually};
use super::redis_rig::{RedisServer, with_redis};
use crate::engine::config::{Auth, Config};
use crate::events::broker_status::State;
use crate::worker::heartbeat::Heartbeat;

/// The lines of all engines of this process, those of other tests too.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The text of each of their spans, by its id.
static SPANS: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    /// Ids of the spans that this thread is in.
    static IN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Collector;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("actory_websocket::")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} {}", event.metadata().level(), event.metadata().target()));
        event.record(&mut line);
        let span = IN.with_borrow(|spans| spans.last().map(|id| SPANS.lock()[*id as usize - 1].clone()));
        LINES.lock().push(line.0 + &span.unwrap_or_default());
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut line = Line(format!(" {}", attributes.metadata().name()));
        attributes.record(&mut line);
        let mut spans = SPANS.lock();
        spans.push(line.0);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, id: &Id) {
        IN.with_borrow_mut(|spans| spans.push(id.into_u64()));
    }

    fn exit(&self, _: &Id) {
        IN.with_borrow_mut(|spans| spans.pop());
    }
}

fn collect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Collector).unwrap());
}

/// Waits for a line with all of these, and answers it.
fn line(parts: &[&str]) -> String {
    let find = || LINES.lock().iter().find(|line| parts.iter().all(|part| line.contains(part))).cloned();
    eventually(&format!("a line with {parts:?}"), || find().is_some());
    find().unwrap()
}

/// The engine's name in its lines, on whatever thread.
fn engine_of(server: &Server) -> String {
    format!("engine name=\"{}\"", server.engine.public_id(1).rsplit_once('-').unwrap().0)
}

fn expect_no_secret() {
    let lines = LINES.lock();
    let told: Vec<_> = lines.iter().filter(|line| line.contains("hunter")).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_refusal_is_told_by_its_code_and_address_and_by_nothing_that_lets_somebody_in() {
    collect();
    let verifier = Verifier::new(Key::Secret(vec![7; 32]), JwtOptions::default()).unwrap();
    let server = Server::start(Config { auth: Auth::Jwt(Arc::new(verifier)), ..config() });
    let request = Request {
        line: "GET /api/websocket?token=hunter1&hunter2".into(),
        peer: "198.51.100.7",
        ..Request::default()
    };
    let request = request.with("Authorization: Bearer hunter3").with("Cookie: token=hunter4");
    let (mut client, _) = server.request(request);
    client.response().expect_refusal(401, "ERR_TOKEN_INVALID");
    line(&["INFO actory_websocket::engine", "upgrade refused", "ERR_TOKEN_INVALID", "198.51.100.7"]);
    expect_no_secret();
}

#[test]
fn a_connection_is_told_of_from_its_beginning_to_its_end() {
    collect();
    let server = Server::start(config());
    let request = Request { line: "GET /?token=hunter5".into(), peer: "198.51.100.8", ..Request::default() };
    let mut client = server.open(request.with("Cookie: session=hunter6"));
    line(&["DEBUG actory_websocket::engine", "connection opened", "198.51.100.8"]);
    client.send(&super::client::frame(CLOSE, &close_payload(4321, "hunter7\n")));
    line(&["DEBUG actory_websocket::engine", "connection ended", "code=4321", "by=\"peer\""]);
    expect_no_secret();
}

#[test]
fn a_peer_that_is_silent_and_one_that_is_slow_are_told_of() {
    collect();
    let times = std::time::Duration::from_millis(100);
    let heartbeat = Heartbeat { interval: times, timeout: times };
    let silent = Server::start(Config { heartbeat, ..config() });
    // Numbers that no other test has.
    let numbers_from = |server: &Server, first| while server.engine.shared().next_id() < first {};
    numbers_from(&silent, 65_001);
    let client = silent.connect();
    line(&["DEBUG actory_websocket::worker", "no answer to ping", &format!("id={}", client.id())]);
    let mut narrow = config();
    narrow.limits.outbox_bytes = 123_456;
    let slow = Server::start(narrow);
    numbers_from(&slow, 65_002);
    let client = slow.connect();
    let message = "x".repeat(100_000);
    eventually("the client to be too slow", || {
        !slow.engine.send(client.id(), protocol::frame::Message::Text(&message)).unwrap()
    });
    line(&["INFO actory_websocket::worker", "slow consumer", &format!("id={}", client.id())]);
}

#[test]
fn an_engine_is_told_of_from_its_start_to_its_last_step() {
    collect();
    let server = Server::start(Config { threads: 3, ..config() });
    let engine = engine_of(&server);
    line(&["INFO actory_websocket::engine", "engine started", "threads=3", &engine]);
    server.engine.shutdown(std::time::Duration::ZERO, 1001, "hunter8");
    for step in ["shutdown begins", "connections closed", "broker closed", "engine stopped"] {
        line(&["actory_websocket::engine::shutdown", step, &engine]);
    }
    expect_no_secret();
}

#[test]
fn the_broker_tells_of_its_state_and_its_prefix_and_not_of_its_password() {
    collect();
    let redis = RedisServer::with(&["requirepass hunter9"]);
    let at = |login: &str| {
        let mut config = with_redis(&redis.url().replace("//", &format!("//:{login}@")));
        config.redis.prefix = "told".into();
        config
    };
    let address = redis.address().to_string();
    let stranger = Server::start(at("hunter10"));
    stranger.broker("the refusal", |status| {
        status.error.as_ref().is_some_and(|error| error.kind == Code::BrokerAuth)
    });
    line(&["WARN actory_websocket::broker", "broker status", "Down", "ERR_BROKER_AUTH", &address]);
    line(&["INFO actory_websocket::broker", "prefix claimed", "told"]);
    let server = Server::start(at("hunter9"));
    server.broker("it to be up", |status| status.state == State::Up);
    line(&["INFO actory_websocket::broker", "Redis found", "Standalone", &address]);
    redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    server.broker("the gap", |status| status.gap.is_some());
    line(&["DEBUG actory_websocket::broker", "link down", "ERR_BROKER_CONNECT"]);
    line(&["INFO actory_websocket::broker", "broker status", "Up", "gap_since="]);
    drop((stranger, server));
    line(&["INFO actory_websocket::broker", "prefix given up", "told"]);
    expect_no_secret();
}

#[test]
fn what_others_say_is_short_and_on_one_line() {
    assert_eq!(quote("-ERR a\nb\u{1b}[31m"), "'-ERR a\\nb\\u{1b}[31m'");
    assert_eq!(shorten(&"ä".repeat(300), 200).chars().count(), 201);
}
