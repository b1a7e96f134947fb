//! From the hand-over to the 101 or the refusal.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use auth::jwt::{JwtOptions, Key, Verifier};
use codes::error::Code;
use http::Origins;
use http::{HeaderLines, Own, Refusal};
use jsonwebtoken::{EncodingKey, Header, encode};
use socket2::{Domain, Socket, Type};

use super::client::{BINARY, CLOSE, Got, PING, PONG, TEXT, close_payload, frame};
use super::harness::{GLANCE, KEY, Request, Server, config, eventually, full_pair, identity};
use crate::engine::config::{Auth, Config, RejectWith, Relay};
use crate::engine::{Admission, denial};
use crate::events::Event;

mod embedder;

const SECRET: &[u8] = b"a secret of thirty-two bytes, or so";

fn jwt() -> Config {
    let verifier = Verifier::new(Key::Secret(SECRET.into()), JwtOptions::default()).unwrap();
    Config { auth: Auth::Jwt(Arc::new(verifier)), ..config() }
}

fn token(user: &str, expires_in: i64) -> String {
    let exp = now_ms() as i64 / 1000 + expires_in;
    let claims = serde_json::json!({ "sub": user, "exp": exp });
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn now_ms() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64
}

/// The embedder decides, and has so long for it.
fn callback(timeout: Duration) -> Config {
    let mut config = Config { auth: Auth::Callback, ..config() };
    config.limits.handshake_timeout = timeout;
    config
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_valid_request_gets_a_101_and_the_connection_works() {
    let server = Server::start(config());
    let (mut client, ticket) = server.request(Request { report: true, ..Request::default() });
    let response = client.response();
    response.expect_101();
    assert_eq!(response.header("Upgrade"), Some("websocket"));
    assert_eq!(response.header("Connection"), Some("Upgrade"));
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
    assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
    let number = ticket.unwrap().number;
    let upgraded = server.event("the report", |event| match event {
        Event::Upgraded { handle, ticket } => Some((handle.clone(), *ticket)),
        _ => None,
    });
    assert_eq!(upgraded.1, number);
    client.text("1");
    client.expect_text("1");
    assert_eq!((server.engine.len(), server.engine.user_count()), (1, 1));
    assert_eq!(server.engine.stats().opened, 1);
}

#[test]
fn the_first_wanted_subprotocol_that_was_offered_is_agreed_on() {
    let server = Server::start(Config { protocols: vec!["chat.v2".into(), "chat".into()], ..config() });
    let request = Request::default().with("Sec-WebSocket-Protocol: chat, chat.v2, other");
    let (mut client, _) = server.request(request);
    assert_eq!(client.response().header("Sec-WebSocket-Protocol"), Some("chat.v2"));
    let protocol = server.event("the connection", |event| match event {
        Event::Open { handle, .. } => Some(handle.peer.protocol.clone()),
        _ => None,
    });
    assert_eq!(&*protocol, "chat.v2");
}

#[test]
fn a_token_makes_the_user_and_is_never_echoed() {
    let server = Server::start(jwt());
    let token = token("ada", 60);
    let with_header = Request::default().with(&format!("Authorization: Bearer {token}"));
    let with_protocol = Request::default().with(&format!("Sec-WebSocket-Protocol: bearer, {token}"));
    for (request, protocol) in [(with_header, None), (with_protocol, Some("bearer"))] {
        let (mut client, ticket) = server.request(request);
        let response = client.response();
        response.expect_101();
        assert_eq!(response.header("Sec-WebSocket-Protocol"), protocol);
        assert!(!ticket.unwrap().ask);
        let handle = server.event("the connection", |event| match event {
            Event::Open { handle, .. } => Some(handle.clone()),
            _ => None,
        });
        assert_eq!(&*handle.user, "ada");
        assert!(handle.peer.data.as_deref().is_some_and(|claims| claims.contains("\"exp\"")));
    }
}

#[test]
fn every_refusal_arrives_as_an_http_answer_and_is_counted_and_reported() {
    let with_limits = |url, headers| {
        let mut config = config();
        config.limits.max_url_bytes = url;
        config.limits.max_header_bytes = headers;
        config
    };
    let origin = || Request::default().with("Origin: https://evil.example");
    let bad_token = || Request::default().with("Authorization: Bearer x.y.z");
    let expired = || Request::default().with(&format!("Authorization: Bearer {}", token("ada", -60)));
    let key = |key: &str| {
        Request::default().without("Sec-WebSocket-Key").with(&format!("Sec-WebSocket-Key: {key}"))
    };
    let cases = [
        (
            config(),
            Request { line: "POST /api/websocket".into(), ..Request::default() },
            405,
            "ERR_BAD_METHOD",
        ),
        (config(), Request::default().without("Host"), 400, "ERR_BAD_HOST"),
        (config(), Request::default().without("Upgrade"), 400, "ERR_BAD_UPGRADE"),
        (config(), Request::default().without("Connection"), 400, "ERR_BAD_CONNECTION"),
        (config(), Request::default().without("Sec-WebSocket-Version"), 426, "ERR_BAD_VERSION"),
        (config(), key("c2hvcnQ="), 400, "ERR_BAD_KEY"),
        (config(), key(&format!("{KEY}, {KEY}")), 400, "ERR_BAD_KEY"),
        (config(), Request::default().with("Sec-WebSocket-Protocol: a, a"), 400, "ERR_BAD_PROTOCOL"),
        (config(), origin(), 403, "ERR_ORIGIN_REFUSED"),
        (
            with_limits(16, 16384),
            Request { line: "GET /api/websocket/long".into(), ..Request::default() },
            414,
            "ERR_URL_TOO_LONG",
        ),
        (
            with_limits(8192, 256),
            Request::default().with(&format!("X: {}", "x".repeat(256))),
            431,
            "ERR_HEADERS_TOO_LARGE",
        ),
        (jwt(), Request::default(), 401, "ERR_TOKEN_MISSING"),
        (jwt(), bad_token(), 401, "ERR_TOKEN_INVALID"),
        (jwt(), expired(), 401, "ERR_TOKEN_EXPIRED"),
    ];
    for (config, request, status, code) in cases {
        let server = Server::start(config);
        let (mut client, ticket) = server.request(Request { report: true, ..request });
        let response = client.response();
        response.expect_refusal(status, code);
        match status {
            401 => assert_eq!(response.header("WWW-Authenticate"), Some("Bearer")),
            405 => assert_eq!(response.header("Allow"), Some("GET")),
            426 => assert_eq!(response.header("Sec-WebSocket-Version"), Some("13")),
            _ => {}
        }
        client.expect_end();
        assert_eq!(server.refused(ticket.unwrap().number).0, code);
        assert_eq!(server.engine.stats().refused.get(code), Some(&1));
        drop(client);
        server.expect_empty();
    }
}

#[test]
fn a_page_that_is_not_permitted_is_refused_even_with_an_identity() {
    let server = Server::start(Config { origins: Origins::SameHost, ..config() });
    let request = Request::of("ada", &[]).with("Origin: https://evil.example");
    server.request(request).0.response().expect_refusal(403, "ERR_ORIGIN_REFUSED");
}

#[test]
fn refusals_become_close_codes_where_the_config_says_so() {
    let close = |config| Server::start(Config { reject_with: RejectWith::Close, ..config });
    let origin = Request::default().with("Origin: https://evil.example");
    let expired = Request::default().with(&format!("Authorization: Bearer {}", token("ada", -60)));
    let cases = [
        (close(jwt()), Request::default(), 4401),
        (close(jwt()), expired, 4001),
        (close(config()), origin, 4403),
    ];
    for (server, request, code) in cases {
        let (mut client, _) = server.request(request);
        client.response().expect_101();
        client.expect_close(code);
        client.expect_end();
        drop(client);
        server.expect_empty();
        assert_eq!(server.engine.stats().opened, 0);
    }
    // A request that no script sends is refused by HTTP all the same.
    let server = close(config());
    let (mut client, _) = server.request(Request::default().without("Sec-WebSocket-Key"));
    client.response().expect_refusal(400, "ERR_BAD_KEY");
}

#[test]
fn a_connection_keeps_of_its_request_what_was_asked_for() {
    let server = Server::start(Config { keep_headers: Some(vec!["x-tag".into()]), ..config() });
    for known in [true, false] {
        let request = if known { Request::of("ada", &[]) } else { Request::default() };
        let mut request = request.with("X-Tag: a").with("X-Other: b");
        request.line.push_str("?room=1");
        server.request(request).0.response().expect_101();
        let handle = server.event("the connection", |event| match event {
            Event::Open { handle, .. } => Some(handle.clone()),
            _ => None,
        });
        assert_eq!(handle.peer.request(), Some("/api/websocket?room=1\nx-tag\na"));
    }
}

#[test]
fn frames_that_node_read_with_the_head_are_not_lost_however_they_are_cut() {
    let server = Server::start(config());
    let long = format!("\"{}\"", "ä".repeat(100));
    let early =
        [frame(TEXT, b"1"), frame(TEXT, long.as_bytes()), frame(BINARY, b"2"), frame(TEXT, b"3")].concat();
    for taken in 0..=early.len() {
        let (mut client, _) = server.request(Request { early: early.clone(), taken, ..Request::default() });
        client.response().expect_101();
        client.expect_text("1");
        client.expect_text(&long);
        client.expect_error("ERR_BINARY_NOT_RELAYED");
        client.expect_text("3");
    }
}

#[test]
fn a_close_frame_that_came_with_the_head_is_answered() {
    let server = Server::start(config());
    let early = frame(CLOSE, &close_payload(1000, "bye"));
    let taken = early.len();
    let (mut client, _) = server.request(Request { early, taken, ..Request::default() });
    client.response().expect_101();
    assert_eq!(client.next(), Got::Frame(CLOSE, close_payload(1000, "bye")));
    client.expect_end();
    server.expect_empty();
}

#[test]
fn a_full_server_says_so_and_has_room_again_when_someone_leaves() {
    let mut config = config();
    config.limits.max_connections = 2;
    let server = Server::start(config);
    let first = server.connect();
    let _second = server.connect();
    for _ in 0..3 {
        let (mut client, _) = server.request(Request::default());
        client.response().expect_refusal(503, "ERR_TOO_MANY_CONNECTIONS");
        client.expect_end();
    }
    drop(first);
    eventually("room for one", || server.engine.stats().connections + server.engine.stats().handshakes == 1);
    server.connect();
}

#[test]
fn clients_that_were_refused_and_stay_take_nobodys_place() {
    let mut config = jwt();
    config.limits.max_connections = 2;
    let server = Server::start(config);
    let mut refused = Vec::new();
    for _ in 0..5 {
        let (mut client, _) = server.request(Request::default());
        client.response().expect_refusal(401, "ERR_TOKEN_MISSING");
        refused.push(client);
        eventually("the descriptor to be closed", || server.engine.stats().handshakes == 0);
        let good = Request::default().with(&format!("Authorization: Bearer {}", token("ada", 60)));
        let (mut welcome, _) = server.request(good);
        welcome.response().expect_101();
        welcome.close(1000, "");
        welcome.expect_close(1000);
        server.expect_empty();
    }
}

#[test]
fn a_client_that_takes_not_even_the_101_is_given_up_at_the_deadline() {
    let mut config = config();
    config.limits.handshake_timeout = Duration::from_millis(100);
    config.limits.close_timeout = Duration::from_millis(100);
    let server = Server::start(config);
    for request in [Request::default(), Request::default().without("Host")] {
        let (client, node, _) = full_pair();
        let (client, ticket) = server.hand_over(client, node, Request { report: true, ..request });
        server.refused(ticket.unwrap().number);
        server.expect_empty();
        drop(client);
    }
}

#[test]
fn a_refused_client_that_never_stops_talking_keeps_nobody_waiting_and_is_cut_off() {
    let mut config = config();
    config.limits.close_timeout = Duration::from_millis(200);
    let server = Server::start(Config { threads: 1, relay: Relay::User, ..config });
    let mut bystander = server.connect();
    let (client, node) = server.pair();
    // More than one, so that there is always something to read.
    let flooders = [(); 4].map(|()| client.try_clone().unwrap());
    let (_client, ticket) = server.hand_over(client.into(), node.into(), Request::default().without("Host"));
    ticket.unwrap();
    std::thread::scope(|scope| {
        let floods = flooders
            .each_ref()
            .map(|mut socket| scope.spawn(move || while socket.write(&[b'x'; 64 * 1024]).is_ok() {}));
        while !floods.iter().all(|flood| flood.is_finished()) {
            bystander.text("[1]");
            bystander.expect_text("[1]");
        }
    });
}

#[test]
fn a_unix_socket_is_as_good_as_tcp() {
    let server = Server::start(config());
    let (client, node) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    let (mut client, _) = server.hand_over(client, node, Request::default());
    client.response().expect_101();
    client.text("1");
    client.expect_text("1");
    client.close(1000, "");
    client.expect_close(1000);
    client.expect_end();
    server.expect_empty();
}

#[test]
fn what_is_no_stream_socket_is_not_taken() {
    use crate::engine::Taken;
    use std::os::fd::AsRawFd;
    let file = std::fs::File::open("Cargo.toml").unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for descriptor in [-1, i32::MIN, i32::MAX, file.as_raw_fd(), datagrams.as_raw_fd()] {
        assert!(Taken::duplicate(descriptor).is_err(), "{descriptor}");
    }
}
