//! Messages that take long to come.

use std::time::{Duration, Instant};

use super::client::{CLOSE, Got, PING, PONG, TEXT, frame};
use super::harness::{PATIENCE, Server, config, eventually};
use crate::engine::config::{Auth, Config, Relay};
use crate::events::{Event, Interest};

/// A server whose messages may take so long, with one worker and no pings.
fn impatient(message_timeout: Duration) -> Server {
    let mut config = Config { relay: Relay::User, threads: 1, ..config() };
    config.limits.message_timeout = message_timeout;
    Server::start(config)
}

#[test]
fn a_message_that_is_begun_and_never_ended_ends_its_connection() {
    let server = impatient(Duration::from_millis(200));
    let fragment = frame(0x01, b"begun");
    let cut = frame(TEXT, b"12345678")[..9].to_vec();
    let head = frame(TEXT, b"1")[..1].to_vec();
    let ping = frame(PING, b"12345678")[..9].to_vec();
    for bytes in [fragment, cut, head, ping] {
        let begin = Instant::now();
        let mut client = server.connect();
        client.send(&[frame(TEXT, b"1"), bytes].concat());
        client.expect_text("1");
        let reason = client.expect_close(1008);
        assert!(reason.contains("limits.messageTimeoutMs"), "{reason}");
        assert!(begin.elapsed() >= Duration::from_millis(200), "too soon");
        client.expect_end();
        client.finish();
        assert_eq!(server.ended(client.id()), (1008, reason));
    }
    server.expect_empty();
}

#[test]
fn the_shortest_timeout_holds_with_the_default_heartbeat() {
    let mut config = Config { threads: 1, heartbeat: Config::new(Auth::Anonymous).heartbeat, ..config() };
    config.limits.message_timeout = Duration::from_millis(100);
    let server = Server::start(config);
    let mut client = server.connect();
    client.send(&frame(0x01, b"begun"));
    client.expect_close(1008);
    assert_eq!(server.ended(client.id()).0, 1008);
}

#[test]
fn pings_and_empty_fragments_give_a_message_no_more_time() {
    let server = impatient(Duration::from_millis(200));
    let mut client = server.connect();
    client.send(&frame(0x01, b"begun"));
    let (ping, empty) = (frame(PING, b""), frame(0x00, b""));
    let begin = Instant::now();
    let code = loop {
        assert!(begin.elapsed() < PATIENCE);
        client.try_send(&[&ping[..], &empty].concat());
        match client.next() {
            Got::Frame(PONG, _) => {}
            Got::Frame(CLOSE, payload) => break u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 1008);
}

#[test]
fn a_slow_message_that_comes_on_and_short_ones_are_never_overdue() {
    let timeout = Duration::from_secs(1);
    let server = impatient(timeout);
    let mut slow = server.connect();
    let mut quick = server.connect();
    // 20 KiB a second, where 8 give it a second more.
    let text = format!("\"{}\"", "x".repeat(64 * 1024 - 2));
    let bytes = frame(TEXT, text.as_bytes());
    let begin = Instant::now();
    for (number, part) in bytes.chunks(bytes.len() / 16).enumerate() {
        slow.send(part);
        // Always in the middle of some message when it is looked at, but not of the same one.
        let digits = format!("{number}");
        let (first, second) = (frame(0x01, b" "), frame(0x80, digits.as_bytes()));
        quick.send(&first);
        std::thread::park_timeout((timeout / 5 * (number as u32 + 1)).saturating_sub(begin.elapsed()));
        quick.send(&second);
        quick.expect_text(&format!(" {digits}"));
    }
    assert!(begin.elapsed() >= 3 * timeout);
    slow.expect_text(&text);
}

#[test]
fn a_message_that_we_do_not_read_on_is_not_overdue() {
    let timeout = Duration::from_secs(1);
    let mut config = Config { relay: Relay::Off, threads: 1, ..config() };
    config.limits.message_timeout = timeout;
    config.limits.event_bytes = 64 << 10;
    let server = Server::start(config);
    server.engine.set_interest(Interest::ALL);
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send(&[frame(0x01, b"be"), frame(PING, b"")].concat());
    client.expect(PONG, b"");
    // The queue to JavaScript holds twice its limit of what another client says, so nobody is read any more.
    other.text(&"x".repeat(200_000));
    eventually("the queue to be full", || server.engine.stats().event_bytes >= 200_000);
    client.send(&[frame(0x80, b"gun"), frame(PING, b"")].concat());
    assert_eq!(client.next_within(timeout * 3), None, "neither read nor closed");
    for len in [200_000, 5] {
        let text = server.event("the message", |event| match event {
            Event::Text { text, .. } => Some(text.len()),
            _ => None,
        });
        assert_eq!(text, len);
    }
    client.expect(PONG, b"");
}
