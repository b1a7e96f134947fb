//! The cost of a client that was refused, or was not let in yet: descriptors, memory and time, all of them bounded.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use auth::jwt::{JwtOptions, Key, Verifier};
use codes::error::Code;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use socket2::{Domain, Socket, Type};

use super::client::Client;
#[cfg(target_os = "linux")]
use super::harness::allow_threads;
use super::harness::{Request, Server, alone, config, eventually};
use crate::engine::config::{Auth, Config, Relay};
use crate::engine::denial;
use crate::events::{Event, Interest};
use crate::worker::bridge::Signal;

/// Longer than a test waits.
const LONG: Duration = Duration::from_secs(120);
/// As many refused clients linger at most.
const LINGERERS: usize = 64;

fn patient(config: Config) -> Config {
    let mut config = Config { auth: Auth::Callback, ..config };
    config.limits.close_timeout = LONG;
    config.limits.handshake_timeout = LONG;
    config
}

fn handshakes(server: &Server) -> usize {
    server.engine.stats().handshakes
}

fn invalid() -> Request {
    Request::default().without("Host")
}

#[test]
fn a_refused_client_that_stays_is_closed_whatever_the_close_timeout() {
    let server = Server::start(patient(config()));
    let (mut client, _) = server.request(invalid());
    client.response().expect_refusal(400, "ERR_BAD_HOST");
    client.expect_end();
    server.expect_empty();
}

#[test]
fn refused_clients_that_stay_are_bounded_and_each_gets_its_answer() {
    let server = Server::start(patient(config()));
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..4 * LINGERERS {
        clients.push(server.request(invalid()).0);
        assert!(handshakes(&server) <= LINGERERS);
    }
    for client in &mut clients {
        client.response().expect_refusal(400, "ERR_BAD_HOST");
        client.expect_end();
    }
    server.expect_empty();
}

#[test]
fn a_full_server_closes_refused_clients_on_the_spot() {
    let mut config = patient(config());
    config.limits.max_connections = 4;
    let server = Server::start(config);
    let _seated: Vec<_> = (0..4).map(|_| server.request(Request::default())).collect();
    for (request, status, code) in
        [(Request::default(), 503, "ERR_TOO_MANY_CONNECTIONS"), (invalid(), 400, "ERR_BAD_HOST")]
    {
        let (mut client, ticket) = server.request(Request { report: true, ..request });
        assert_eq!(handshakes(&server), 4);
        client.response().expect_refusal(status, code);
        client.expect_end();
        assert_eq!(server.refused(ticket.unwrap().number).0, code);
    }
}

#[test]
fn clients_that_the_embedder_refuses_free_their_seats_and_are_bounded() {
    let mut config = patient(config());
    config.limits.max_connections = 8;
    let server = Server::start(config);
    // A quarter of the seats may linger. Nobody who was refused keeps a seat, or the last ones would not get one.
    let mut clients = Vec::new();
    for _ in 0..40 {
        let (client, ticket) = server.request(Request::default());
        let ticket = ticket.unwrap();
        assert!(ticket.ask);
        assert!(server.engine.settle(ticket.number, Err(denial(Code::Unauthorized))));
        eventually("the seat to be free", || handshakes(&server) <= 2);
        clients.push(client);
    }
    for client in &mut clients {
        client.response().expect_refusal(401, "ERR_UNAUTHORIZED");
    }
}

#[test]
fn a_handshake_under_way_takes_a_seat_over_a_bridge_too() {
    let mut config = patient(config());
    config.limits.max_connections = 1;
    let server = Server::start(config);
    let (_bridge, ticket) = server.bridge(&Request::default());
    assert!(ticket.ask);
    let (mut client, _) = server.request(Request::default());
    client.response().expect_refusal(503, "ERR_TOO_MANY_CONNECTIONS");
}

#[test]
fn node_is_told_at_once_to_close_a_bridge_of_a_refused_client_that_takes_nothing() {
    let mut config = patient(config());
    config.limits.max_connections = 4;
    let server = Server::start(config);
    let mut seated = Vec::new();
    // While there is room, and when the server is full.
    for _ in 0..2 {
        let (bridge, _) = server.bridge(&invalid());
        server.event("the end", |event| match event {
            Event::Bridge { id, signal: Signal::End { abort: false, refused: true } }
                if *id == bridge.id() =>
            {
                Some(())
            }
            _ => None,
        });
        let answer = bridge.take().unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400 "));
        seated = (0..4).map(|_| server.bridge(&Request::default())).collect();
    }
    drop(seated);
}

/// Writes until the other side takes no more for a while. Answers the number of bytes that went out.
fn flood(mut socket: Socket) -> usize {
    socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    while sent < 64 << 20 {
        match socket.write(&[b'x'; 64 * 1024]) {
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    sent
}

/// The kernel's buffer of a Unix-domain socket, and some.
const KEPT: usize = 2 << 20;

#[test]
fn little_is_read_of_what_a_refused_client_goes_on_to_send() {
    let server = Server::start(patient(config()));
    let (client, node) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    let more = client.try_clone().unwrap();
    let (_client, ticket) = server.hand_over(client, node, invalid());
    ticket.unwrap();
    assert!(flood(more) < KEPT);
}

#[test]
fn little_is_read_after_a_violation_and_the_close_frame_arrives_all_the_same() {
    let mut config = config();
    config.limits.close_timeout = LONG;
    let server = Server::start(config);
    // The end waits for nobody.
    server.engine.set_interest(Interest(0));
    let (client, node) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    let more = client.try_clone().unwrap();
    let (mut client, _) = server.hand_over(client, node, Request::default());
    client.response().expect_101();
    // No mask.
    client.send(&[0x81, 0x01, b'1']);
    assert!(flood(more) < KEPT);
    client.expect_close(1002);
    client.expect_end();
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_handshake_under_way_keeps_nothing_of_a_long_head() {
    alone("tests::door::a_handshake_under_way_keeps_nothing_of_a_long_head", || {
        let server = Server::start(patient(config()));
        let mut request = Request::default();
        request.headers.extend((0..1900).map(|n| format!("x{}: {n}", n % 10)));
        let hold = |count| (0..count).map(|_| server.bridge(&request)).collect::<Vec<_>>();
        let warm = hold(100);
        let before = resident_kib();
        let held = hold(1000);
        let each = resident_kib().saturating_sub(before) * 1024 / held.len();
        assert!(each < 6000, "{each} bytes");
        drop(warm);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_bridge_holds_what_it_was_fed_and_nothing_for_each_chunk() {
    alone("tests::door::a_bridge_holds_what_it_was_fed_and_nothing_for_each_chunk", || {
        let server = Server::start(patient(config()));
        let bridges: Vec<_> = (0..50).map(|_| server.bridge(&Request::default()).0).collect();
        let before = resident_kib();
        for bridge in &bridges {
            let fed = (0..64 * 1024).take_while(|_| bridge.feed(b"x")).count();
            assert_eq!(fed, 64 * 1024 - 1);
        }
        let each = resident_kib().saturating_sub(before) / bridges.len();
        assert!(each < 256, "{each} KiB");
    });
}

const PUBLIC: &[u8] = include_bytes!("../../crates/auth/src/testdata/p384_public.pem");
const PRIVATE: &[u8] = include_bytes!("../../crates/auth/src/testdata/p384_private.pem");

/// One worker, and tokens that take long to verify. Messages are told in the order in which the worker takes them in.
fn dear() -> Server {
    let verifier = Verifier::new(Key::PublicPem(PUBLIC.into()), JwtOptions::default()).unwrap();
    let server = Server::start(Config {
        auth: Auth::Jwt(Arc::new(verifier)),
        threads: 1,
        relay: Relay::Off,
        ..config()
    });
    server.engine.set_interest(Interest::ALL);
    server
}

fn token() -> String {
    let key = EncodingKey::from_ec_der(&pem::parse(PRIVATE).unwrap().into_contents());
    encode(
        &Header::new(Algorithm::ES384),
        &serde_json::json!({ "sub": "ada", "exp": 4_000_000_000u64 }),
        &key,
    )
    .unwrap()
}

fn bearer(token: &str, peer: &'static str) -> Request {
    Request { report: true, peer, ..Request::default().with(&format!("Authorization: Bearer {token}")) }
}

/// A token of the right form whose signature is another's.
fn junk(peer: &'static str) -> Request {
    let token = token();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    bearer(&format!("{}A.{signature}", &signed[..signed.len() - 1]), peer)
}

/// The number of upgrades refused before the event that is looked for.
fn refused_before(server: &Server, mut is_it: impl FnMut(&Event) -> bool) -> usize {
    let mut refused = 0;
    server.event("the event", |event| {
        refused += usize::from(matches!(event, Event::Refused { .. }));
        is_it(event).then_some(refused)
    })
}

#[test]
fn a_message_waits_for_no_verification() {
    let server = dear();
    let mut bystander = server.connect_as("ada");
    let junk = junk("10.0.0.1");
    let mut waiting = Vec::new();
    server.while_held(|| {
        waiting.extend((0..200).map(|_| server.bridge(&junk)));
        bystander.text("1");
    });
    let refused = refused_before(&server, |event| matches!(event, Event::Text { .. }));
    assert!(refused <= 5, "{refused} tokens were verified before");
}

#[test]
#[cfg(target_os = "linux")]
fn a_system_that_gives_no_thread_costs_the_tokens_that_come_meanwhile_and_no_others() {
    let test =
        "tests::door::a_system_that_gives_no_thread_costs_the_tokens_that_come_meanwhile_and_no_others";
    alone(test, || {
        let server = dear();
        let mut bystander = server.connect_as("ada");
        let token = token();
        let ask = || server.request(bearer(&token, "10.0.0.1")).0.response();
        allow_threads(Some(0));
        for _ in 0..3 {
            ask().expect_refusal(503, "ERR_TOO_MANY_HANDSHAKES");
        }
        bystander.expect_alive();
        allow_threads(None);
        for _ in 0..3 {
            ask().expect_101();
        }
    });
}

/// The niceness of the threads that verify tokens.
#[cfg(target_os = "linux")]
fn niceness() -> Vec<i32> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    // One that ends meanwhile has none.
    let stats =
        threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).ok());
    let verifiers = stats.filter(|stat| stat.contains("(actory-ws-token)"));
    // Field 19 of proc_pid_stat(5), of which the second is the name.
    let nice = |stat: String| stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse();
    verifiers.map(|stat| nice(stat).unwrap()).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn the_thread_that_verifies_tokens_stands_back_and_ends_with_its_worker() {
    alone("tests::door::the_thread_that_verifies_tokens_stands_back_and_ends_with_its_worker", || {
        let server = dear();
        assert!(niceness().is_empty());
        let token = token();
        for _ in 0..2 {
            server.request(bearer(&token, "10.0.0.1")).0.response().expect_101();
        }
        // More where the tests themselves stand back.
        assert!(matches!(niceness()[..], [10..=19]), "{:?}", niceness());
        drop(server);
        eventually("it to end", || niceness().is_empty());
    });
}

#[test]
fn a_flood_of_tokens_from_one_address_does_not_delay_a_handshake_from_another() {
    let server = dear();
    let (junk, good) = (junk("10.0.0.1"), bearer(&token(), "10.0.0.2"));
    let mut waiting = Vec::new();
    server.while_held(|| {
        waiting.extend((0..200).map(|_| server.bridge(&junk)));
        waiting.push(server.bridge(&good));
    });
    let number = waiting[200].1.number;
    let is_it = |event: &Event| matches!(event, Event::Upgraded { ticket, .. } if *ticket == number);
    let refused = refused_before(&server, is_it);
    assert!(refused <= 20, "{refused} tokens were verified before");
}

#[test]
fn tokens_that_wait_are_bounded_and_the_rest_is_told_to_come_back() {
    let server = dear();
    let junk = junk("10.0.0.1");
    let mut waiting = Vec::new();
    server.while_held(|| waiting.extend((0..1200).map(|_| server.bridge(&junk))));
    eventually("all to be refused", || server.engine.stats().refused.values().sum::<u64>() == 1200);
    let refused = server.engine.stats().refused;
    let turned_away = refused.get("ERR_TOO_MANY_HANDSHAKES").copied().unwrap_or(0);
    assert!((100..=176).contains(&turned_away), "{refused:?}");
    let answers = waiting.iter().filter_map(|(bridge, _)| bridge.take());
    let told = answers.filter(|answer| {
        let answer = String::from_utf8_lossy(answer);
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 1\r\n")
    });
    assert_eq!(told.count() as u64, turned_away);
}
