//! Beginnings and ends: of connections, many times, and of the engine.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::frame::Message;

use super::client::{CLOSE, Client, Got, TEXT, close_payload, frame};
use super::harness::{GLANCE, PATIENCE, Request, Server, alone, config, eventually, identity, published};
use crate::engine::config::{Auth, Config, Relay};
use crate::events::{Event, Interest};
use crate::outcome::{Answer, Reply};
use crate::registry::recipients::Channel;

mod shutdown;

fn count(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}

fn descriptors() -> usize {
    count("/proc/self/fd")
}

fn threads() -> usize {
    count("/proc/self/task")
}

/// Resident memory in KiB.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn with_close_timeout(timeout: Duration) -> Config {
    let mut config = config();
    config.limits.close_timeout = timeout;
    config
}

/// Connects and leaves, each time in another way.
fn come_and_go(server: &Server, count: usize) {
    for n in 0..count {
        let user = format!("user {}", n % 97);
        let mut client = server.open(Request::of(&user, &["lobby", &format!("room {}", n % 13)]));
        let id = client.id();
        client.text("1");
        match n % 6 {
            0 => {
                client.close(1000, "");
                client.expect_close(1000);
            }
            1 => client.finish(),
            2 => client.reset(),
            3 => {
                client.handle().close(4002, "");
                client.expect_close(4002);
                client.close(4002, "");
            }
            4 => {
                client.send(&[0xFF; 20]);
                client.expect_close(1002);
                client.finish();
            }
            _ => drop(client),
        }
        server.ended(id);
    }
}

#[test]
fn ten_thousand_connects_and_disconnects_leave_the_process_as_it_was() {
    alone("tests::lifecycle::ten_thousand_connects_and_disconnects_leave_the_process_as_it_was", || {
        let server = Server::start(config());
        let threads_before = threads();
        let round = |count: usize| {
            std::thread::scope(|scope| {
                (0..4).for_each(|_| drop(scope.spawn(|| come_and_go(&server, count / 4))));
            });
            server.expect_empty();
        };
        round(2000);
        let before = (descriptors(), resident());
        round(10_000);
        let stats = server.engine.stats();
        let closed = stats.closed.by_code.values().chain(stats.closed_by_peer.by_code.values());
        assert_eq!((stats.opened, closed.sum::<u64>()), (12_000, 12_000));
        assert_eq!(stats.event_bytes, 0);
        eventually("all descriptors to be closed", || descriptors() == before.0);
        eventually("the tests' own threads to be gone", || threads() == threads_before);
        let grown = resident().saturating_sub(before.1);
        assert!(grown < 4096, "{grown} KiB more");
    });
}

#[test]
fn a_fault_in_one_connections_turn_is_the_end_of_that_connection_and_of_no_other() {
    alone(
        "tests::lifecycle::a_fault_in_one_connections_turn_is_the_end_of_that_connection_and_of_no_other",
        || {
            let server = Server::start(Config { threads: 1, ..config() });
            let mut others: Vec<Client> = (0..10).map(|n| server.connect_as(&format!("{n}"))).collect();
            for _ in 0..3 {
                let mut client = server.connect_as("ada");
                server.engine.set_interest(Interest::ALL);
                server.fault(|| client.text("[1]"));
                client.expect_end();
                assert_eq!(server.ended(client.id()).0, 1006);
                for other in &mut others {
                    other.text("[2]");
                    other.expect_text("[2]");
                }
                assert_eq!(server.engine.stats().connections, others.len());
            }
            drop(others);
            server.expect_empty();
        },
    );
}

#[test]
fn an_engine_that_is_dropped_takes_its_threads_and_sockets_with_it() {
    alone("tests::lifecycle::an_engine_that_is_dropped_takes_its_threads_and_sockets_with_it", || {
        let before = (descriptors(), threads());
        for shut_down in [false, true] {
            let server = Server::start(Config { auth: Auth::Callback, ..config() });
            let mut open: Vec<Client> = (0..20).map(|_| server.connect_as("ada")).collect();
            let waiting: Vec<_> = (0..20).map(|_| server.request(Request::default())).collect();
            assert!(threads() > before.1 && descriptors() > before.0 + 80);
            if shut_down {
                server.engine.shutdown(PATIENCE, 1001, "");
            }
            drop(server);
            for client in &mut open {
                assert!(matches!(client.next(), Got::End | Got::Reset | Got::Frame(0x88, _)));
            }
            drop((open, waiting));
            eventually("the threads to end", || threads() == before.1);
            assert_eq!(descriptors(), before.0);
        }
    });
}

#[test]
fn nothing_holds_on_to_a_connection_that_is_gone() {
    let server = Server::start(config());
    let mut handles = Vec::new();
    for _ in 0..50 {
        let mut client = server.open(Request::of("ada", &["lobby"]));
        handles.push(Arc::downgrade(client.handle()));
        client.text("1");
        client.close(1000, "");
        client.expect_close(1000);
        server.ended(client.id());
    }
    eventually("the handles to be free", || handles.iter().all(|handle| handle.strong_count() == 0));
}

#[test]
fn who_holds_on_to_a_connection_that_is_gone_can_do_no_harm() {
    let server = Server::start(config());
    let mut client = server.connect_as("ada");
    let handle = client.handle().clone();
    client.close(1000, "");
    client.expect_close(1000);
    server.ended(client.id());
    handle.close(4002, "again");
    server.engine.join(handle.id, &"lobby".into()).unwrap();
    assert_eq!(server.engine.send(handle.id, Message::Text("1")), Ok(false));
    assert_eq!(server.engine.rooms_of(handle.id).len(), 0);
    // One of another engine, whose threads have ended while it was open.
    let other = Server::start(config());
    let open = other.connect_as("ada");
    let orphan = open.handle().clone();
    drop((other, open));
    assert!(!orphan.is_open());
    orphan.close(4002, "again");
    let weak = Arc::downgrade(&orphan);
    drop(orphan);
    assert_eq!(weak.strong_count(), 0, "nobody is left to keep it");
    server.connect().expect_alive();
}

#[test]
fn a_reset_ends_the_connection() {
    let server = Server::start(config());
    let mut client = server.connect_as("ada");
    client.text("1");
    client.expect_text("1");
    let id = client.id();
    client.reset();
    assert_eq!(server.ended(id), (1006, String::new()));
    server.expect_empty();
}

#[test]
fn a_client_that_ends_its_direction_without_a_close_frame_gets_its_answers_and_is_gone() {
    let server = Server::start(config());
    for _ in 0..50 {
        let mut client = server.connect_as("ada");
        client.text("1");
        client.finish();
        client.expect_text("1");
        client.expect_end();
        assert_eq!(server.ended(client.id()), (1006, String::new()));
    }
    server.expect_empty();
}

#[test]
fn clients_that_leave_at_once_are_all_heard_also_where_they_held_all_seats() {
    const SEATS: usize = 40;
    const SENT: usize = 20;
    let mut config = Config { threads: 1, ..config() };
    // One is for the client that holds the worker.
    config.limits.max_connections = SEATS + 1;
    let server = Server::start(config);
    for round in 1..=5 {
        let mut clients: Vec<Client> = (0..SEATS).map(|_| server.connect()).collect();
        let last = [frame(TEXT, b"1").repeat(SENT), frame(CLOSE, &close_payload(1000, ""))].concat();
        // None has its turn before all have left.
        server.while_held(|| {
            for client in &mut clients {
                client.send(&last);
                client.finish();
            }
        });
        let heard = round * SEATS * SENT;
        eventually("all to be heard", || server.engine.stats().messages.received == heard as u64);
        // One that is no longer open may have yet to be counted.
        server.expect_empty();
        assert_eq!(server.engine.stats().closed_by_peer.by_code[&1000], (round * SEATS) as u64);
        server.drop_events();
    }
}

#[test]
fn a_connection_whose_token_expires_is_closed() {
    let server = Server::start(config());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let expiring = |at: u64| {
        let mut request = Request::of("ada", &[]);
        request.identity.as_mut().unwrap().expires_at = Some(at);
        server.open(request)
    };
    let mut forever = expiring(u64::MAX);
    for at in [0, now, now + 300] {
        let mut client = expiring(at);
        assert_eq!(client.expect_close(4001), "token expired");
        let late = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        assert!(late >= at, "not before its time");
        client.close(4001, "");
        client.expect_end();
        assert_eq!(server.ended(client.id()).0, 4001);
    }
    forever.expect_alive();
    // One that leaves in time leaves no expiry behind that could hit another.
    for _ in 0..20 {
        let mut client = expiring(now + 2000);
        client.close(1000, "");
        client.expect_close(1000);
        server.ended(client.id());
    }
    forever.expect_alive();
}
