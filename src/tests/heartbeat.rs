//! The heartbeat on real sockets: who lives stays, who is silent goes.

use std::io::Read;
use std::time::{Duration, Instant};

use protocol::frame::HEARTBEAT;

use super::client::{Client, Got, PING, PONG, TEXT, frame};
use super::harness::{PATIENCE, Request, Server, config, eventually, full_pair};
use crate::engine::config::{Config, Relay};
use crate::events::{Event, Interest};
use crate::worker::heartbeat::Heartbeat;

const INTERVAL: Duration = Duration::from_millis(100);

fn server_with(interval: Duration, timeout: Duration, change: impl FnOnce(&mut Config)) -> Server {
    let heartbeat = Heartbeat { interval, timeout };
    let mut config = Config { relay: Relay::Off, threads: 1, heartbeat, ..config() };
    change(&mut config);
    Server::start(config)
}

fn server(timeout: Duration) -> Server {
    server_with(INTERVAL, timeout, |_| {})
}

/// Waits for so many pings, and does something after each.
fn pings(client: &mut Client, count: usize, mut after: impl FnMut(&mut Client)) {
    for _ in 0..count {
        client.expect(PING, HEARTBEAT);
        after(client);
    }
}

#[test]
fn a_client_that_answers_stays() {
    let server = server(Duration::from_secs(2));
    let mut client = server.connect();
    let begin = Instant::now();
    pings(&mut client, 25, |client| client.send(&frame(PONG, b"")));
    assert!(begin.elapsed() > INTERVAL * 20, "one ping per interval");
    assert!(client.handle().is_open());
    assert!((25..40).contains(&server.engine.stats().pings));
}

#[test]
fn any_traffic_is_a_sign_of_life() {
    let timeout = Duration::from_secs(1);
    let server = server(timeout);
    for signs in [frame(TEXT, b"1"), frame(TEXT, b"12")[..3].to_vec()] {
        let mut client = server.connect();
        // Pongs aside: whole messages, or a long one that comes a few bytes at a time.
        let whole = frame(0x82, &[0; 1000]);
        let mut trickle = whole.chunks(10);
        let is_trickle = signs.len() == 3;
        let begin = Instant::now();
        while begin.elapsed() < 2 * timeout {
            pings(&mut client, 1, |client| {
                client.send(if is_trickle { trickle.next().unwrap() } else { &signs });
            });
        }
        assert!(client.handle().is_open());
    }
}

#[test]
fn a_client_that_is_silent_is_told_and_ended_in_time() {
    for timeout in [100, 350] {
        let timeout = Duration::from_millis(timeout);
        let server = server(timeout);
        for _ in 0..3 {
            let begin = Instant::now();
            let mut client = server.connect();
            assert_eq!(client.expect_close(4003), "no answer to ping");
            let after = begin.elapsed();
            client.expect_end();
            assert!(after >= timeout, "{after:?} is too soon");
            assert!(after < INTERVAL * 2 + timeout + Duration::from_secs(5), "{after:?} is too late");
            assert_eq!(server.ended(client.id()).0, 4003);
        }
        server.expect_empty();
    }
}

#[test]
fn a_client_that_falls_silent_later_is_ended_too() {
    let server = server(Duration::from_millis(500));
    let mut client = server.connect();
    pings(&mut client, 5, |client| client.send(&frame(PONG, b"")));
    client.expect_close(4003);
    assert_eq!(server.ended(client.id()).0, 4003);
}

#[test]
fn a_client_that_vanished_is_ended_even_with_messages_on_their_way() {
    let server = server(Duration::from_secs(3));
    let idle = server.connect();
    let busy = server.connect();
    server.clog(&busy);
    assert_eq!(server.ended(idle.id()).0, 4003);
    assert_eq!(server.ended(busy.id()).0, 4003);
    server.expect_empty();
    let messages = server.engine.stats().messages;
    assert!(messages.dropped >= 5, "{messages:?}");
}

#[test]
fn a_client_that_we_do_not_read_is_not_taken_for_dead() {
    let server = server_with(INTERVAL, INTERVAL, |config| config.limits.event_bytes_per_connection = 1024);
    let mut client = server.connect();
    server.engine.set_interest(Interest::ALL);
    client.text(&"x".repeat(2000));
    eventually("the connection to be paused", || server.engine.stats().event_bytes > 2000);
    // Nothing is read any more, and nothing is said either; nobody can know.
    std::thread::park_timeout(INTERVAL * 8);
    assert!(client.handle().is_open());
    assert!(server.engine.stats().pings >= 4);
    let text = server.event("the message", |event| match event {
        Event::Text { text, .. } => Some(text.len()),
        _ => None,
    });
    assert_eq!(text, 2000);
    // From here on its silence counts.
    client.expect_close(4003);
}

#[test]
fn a_client_that_is_read_only_now_and_then_is_not_taken_for_dead() {
    let server = server_with(INTERVAL, INTERVAL, |config| {
        config.limits.event_bytes_per_connection = 1024;
        config.limits.read_buffer_bytes = 4096;
        config.limits.close_timeout = INTERVAL;
    });
    let mut client = server.connect();
    server.engine.set_interest(Interest::ALL);
    let mut writer = Client::new(client.socket.try_clone().unwrap());
    std::thread::scope(|scope| {
        // There is always something to read, if only somebody would.
        scope.spawn(move || while writer.try_send(&frame(TEXT, &[b'x'; 1000]).repeat(100)) {});
        let begin = Instant::now();
        while begin.elapsed() < INTERVAL * 15 {
            std::thread::park_timeout(Duration::from_millis(35));
            server.engine.drain(256);
            server.engine.flush();
            assert!(client.handle().is_open());
        }
        client.handle().close(1000, "");
        let deadline = Instant::now() + PATIENCE;
        while !matches!(client.next(), Got::End | Got::Reset) {
            assert!(Instant::now() < deadline);
        }
    });
}

#[test]
fn a_client_whose_messages_keep_us_busy_is_not_taken_for_dead() {
    const ROOMS: usize = 500;
    const MESSAGES: usize = 1000;
    let server = server_with(INTERVAL, INTERVAL, |config| {
        config.relay = Relay::Rooms;
        config.limits.outbox_bytes = 1 << 30;
        config.limits.close_timeout = INTERVAL;
    });
    let rooms: Vec<String> = (0..ROOMS).map(|n| format!("room {n}")).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let mut client = server.open(Request::of("ada", &rooms));
    // All of it comes in one read, and nothing after it: its work takes much longer than a client has for an answer.
    client.send(&frame(TEXT, b"1").repeat(MESSAGES));
    let mut texts = 0;
    while texts < ROOMS * MESSAGES {
        match client.next() {
            Got::Frame(TEXT, _) => texts += 1,
            Got::Frame(PING, _) => {}
            other => panic!("{other:?} after {texts} texts"),
        }
    }
    // From here on its silence counts.
    client.expect_close(4003);
}

#[test]
fn a_client_that_waits_for_its_101_is_not_pinged_before_it() {
    let server = server(Duration::from_millis(500));
    // The 101 has to wait behind an answer to an earlier request.
    let (client, node, ahead) = full_pair();
    let (mut client, ticket) = server.hand_over(client, node, Request::default());
    let number = ticket.unwrap().number;
    // Twice the time that a client has for an answer.
    let mut other = server.connect();
    pings(&mut other, 10, |other| other.send(&frame(PONG, b"")));

    client.socket.read_exact(&mut vec![0; ahead]).unwrap();
    client.response().expect_101();
    let handle = server.event("the connection to open", |event| match event {
        Event::Open { handle, ticket } if *ticket == number => Some(handle.clone()),
        _ => None,
    });
    pings(&mut client, 5, |client| client.send(&frame(PONG, b"")));
    assert!(handle.is_open());
}

#[test]
fn the_pings_of_clients_that_came_at_once_are_spread_over_the_interval() {
    let interval = Duration::from_secs(1);
    let server = server_with(interval, Duration::from_secs(10), |_| {});
    let mut clients: Vec<Client> = (0..40).map(|_| server.connect()).collect();
    let mut times: Vec<Instant> = std::thread::scope(|scope| {
        let pinged = |client: &mut Client| {
            client.expect(PING, HEARTBEAT);
            Instant::now()
        };
        let all: Vec<_> = clients.iter_mut().map(|client| scope.spawn(move || pinged(client))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    times.sort_unstable();
    let spread = times[39] - times[0];
    assert!(spread > interval / 2, "{spread:?}");
}

#[test]
fn a_worker_that_was_empty_for_a_while_beats_again() {
    let server = server(Duration::from_secs(5));
    for _ in 0..3 {
        let mut client = server.connect();
        pings(&mut client, 1, |_| {});
        client.close(1000, "");
        client.expect_close(1000);
        drop(client);
        server.expect_empty();
        // Longer than it takes the sweeper to see that nobody is there.
        std::thread::park_timeout(INTERVAL / 2);
    }
}
