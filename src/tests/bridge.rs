//! Connections whose bytes the embedder carries: the same engine behind another kind of socket.

use std::sync::Arc;
use std::time::Duration;

use codes::error::Code;
use protocol::frame::HEARTBEAT;
use protocol::frame::Message;

use super::client::{BINARY, CLOSE, PING, PONG, TEXT, close_payload, frame};
use super::harness::{GLANCE, Request, Server, config, eventually, identity};
use crate::engine::config::{Auth, Config, Relay};
use crate::engine::denial;
use crate::events::{Event, Interest};
use crate::worker::bridge::{Bridge, BridgeId, Signal};
use crate::worker::handle::Handle;
use crate::worker::heartbeat::Heartbeat;

/// Node's work for a bridge: it carries bytes when it is told to.
struct Carrier<'a> {
    server: &'a Server,
    bridge: Arc<Bridge>,
    /// Bytes that came out, not yet looked at.
    out: Vec<u8>,
}

impl<'a> Carrier<'a> {
    /// An upgrade over a bridge; the carrier and the ticket's number.
    fn request(server: &'a Server, request: &Request) -> (Self, u64) {
        let (bridge, ticket) = server.bridge(request);
        (Carrier { server, bridge, out: Vec::new() }, ticket.number)
    }

    /// An open connection.
    fn open(server: &'a Server, user: &str) -> (Self, Arc<Handle>) {
        let (mut carrier, number) = Carrier::request(server, &Request::of(user, &[]));
        carrier.expect_head("HTTP/1.1 101 ");
        let handle = server.event("the connection to open", |event| match event {
            Event::Open { handle, ticket } if *ticket == number => Some(handle.clone()),
            _ => None,
        });
        (carrier, handle)
    }

    /// Waits to be told that there are bytes, and takes all there are. Questions are answered meanwhile.
    fn take(&mut self) {
        self.answering("bytes for the socket", |event, id| {
            matches!(event, Event::Bridge { id: of, signal: Signal::Readable } if *of == id).then_some(())
        });
        self.take_what_is_there();
    }

    /// Waits for an event as a loop does that turns.
    fn answering<T>(&self, what: &str, mut pick: impl FnMut(&Event, BridgeId) -> Option<T>) -> T {
        let id = self.bridge.id();
        loop {
            let picked = self.server.event(what, |event| match event {
                Event::Bridge { id: of, signal: Signal::Question } if *of == id => Some(None),
                event => pick(event, id).map(Some),
            });
            match picked {
                Some(picked) => return picked,
                None => self.bridge.answer(),
            }
        }
    }

    fn take_what_is_there(&mut self) {
        while let Some(bytes) = self.bridge.take() {
            assert!(self.bridge.take().is_none(), "the next only after the first was passed on");
            self.out.extend(bytes);
            self.bridge.ack();
        }
    }

    fn expect(&mut self, first: u8, payload: &[u8]) {
        let frame = super::client::unmasked(first, payload);
        while self.out.len() < frame.len() {
            self.take();
        }
        assert_eq!(self.out[..frame.len()], frame);
        self.out.drain(..frame.len());
    }

    /// An HTTP answer that begins like this; the rest of it.
    fn expect_head(&mut self, begin: &str) -> String {
        let end = loop {
            match self.out.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.take(),
            }
        };
        let head = String::from_utf8(self.out.drain(..end).collect()).unwrap();
        assert!(head.starts_with(begin), "{head}");
        head
    }

    /// Waits for the engine to be done with the socket; whether it is to be destroyed.
    fn expect_end(&mut self) -> bool {
        self.take_what_is_there();
        self.wait_for_end()
    }

    fn wait_for_end(&self) -> bool {
        self.answering("the bridge's end", |event, id| match event {
            Event::Bridge { id: of, signal: Signal::End { abort, .. } } if *of == id => Some(*abort),
            _ => None,
        })
    }

    fn expect_drain(&self) {
        let id = self.bridge.id();
        self.server.event("the bridge to take more", |event| {
            matches!(event, Event::Bridge { id: of, signal: Signal::Drain } if *of == id).then_some(())
        });
    }
}

#[test]
fn a_bridge_carries_a_connection_like_a_socket_does() {
    let server = Server::start(config());
    let (mut carrier, handle) = Carrier::open(&server, "ada");
    let mut other = server.connect_as("ada");
    let long = format!("\"{}\"", "x".repeat(100_000));
    for text in ["1", &long] {
        // Whole, and a few bytes at a time.
        let bytes = frame(TEXT, text.as_bytes());
        for size in [bytes.len(), 7000, 3] {
            for chunk in bytes.chunks(size).take(if size == 3 { 40_000 } else { usize::MAX }) {
                if !carrier.bridge.feed(chunk) {
                    carrier.expect_drain();
                }
            }
            carrier.expect(TEXT, text.as_bytes());
            other.expect_text(text);
        }
    }
    carrier.bridge.feed(&frame(PING, b"p"));
    carrier.expect(PONG, b"p");
    carrier.bridge.feed(&frame(BINARY, b""));
    carrier.take();
    carrier.out.clear();
    carrier.bridge.feed(&frame(CLOSE, &close_payload(1000, "bye")));
    carrier.expect(CLOSE, &close_payload(1000, "bye"));
    assert!(!carrier.expect_end());
    assert_eq!(server.ended(handle.id), (1000, "bye".into()));
    assert!(carrier.bridge.feed(b"more"), "nobody has to pause for a connection that is gone");
    assert!(carrier.bridge.take().is_none());
    drop(other);
    server.expect_empty();
}

#[test]
fn a_close_from_our_side_crosses_the_bridge() {
    let server = Server::start(config());
    let (mut carrier, handle) = Carrier::open(&server, "ada");
    handle.close(4002, "out");
    carrier.expect(CLOSE, &close_payload(4002, "out"));
    carrier.bridge.feed(&frame(CLOSE, &close_payload(4002, "")));
    assert!(!carrier.expect_end());
    assert_eq!(server.ended(handle.id).0, 4002);
}

#[test]
fn a_source_is_paused_while_the_embedder_is_behind_and_resumed_after() {
    let mut config = Config { relay: Relay::Off, ..config() };
    config.limits.event_bytes_per_connection = 16 * 1024;
    let server = Server::start(config);
    let (carrier, _) = Carrier::open(&server, "ada");
    server.engine.set_interest(Interest::ALL);
    const COUNT: usize = 2000;
    let mut number = 0;
    let mut fed = 0;
    let mut pauses = 0;
    let told = |number: &mut usize| {
        server.event("a message", |event| match event {
            Event::Text { text, .. } => {
                assert_eq!(text.split(' ').next(), Some(&*number.to_string()));
                Some(())
            }
            _ => None,
        });
        *number += 1;
    };
    while fed < COUNT {
        let text = format!("{fed} {}", "x".repeat(1000));
        fed += 1;
        if !carrier.bridge.feed(&frame(TEXT, text.as_bytes())) {
            pauses += 1;
            assert!(server.engine.stats().event_bytes < 200 * 1024);
            // Nothing more comes out than what was queued, until that is drained.
            while fed - number > 20 {
                told(&mut number);
            }
            carrier.expect_drain();
        }
    }
    assert!(pauses > 5, "{pauses}");
    while number < COUNT {
        told(&mut number);
    }
}

#[test]
fn a_socket_that_takes_nothing_makes_the_connection_slow() {
    let mut config = Config { relay: Relay::Off, ..config() };
    config.limits.close_timeout = Duration::from_millis(100);
    let server = Server::start(config);
    let limit = server.engine.config().limits.outbox_bytes;
    for takes_at_last in [false, true] {
        let (mut carrier, handle) = Carrier::open(&server, "ada");
        let message = "x".repeat(10_000);
        let mut queued = 0;
        while server.engine.send(handle.id, Message::Text(&message)) == Ok(true) {
            queued += 1;
            assert!(handle.buffered() <= 8 * limit + message.len());
        }
        assert!(queued > limit / 11_000, "{queued}");
        if takes_at_last {
            // Whole frames, then the reason.
            let mut got = 0;
            while carrier.out.len() < 4 || carrier.out[0] == TEXT {
                if carrier.out.len() < 10_004 {
                    carrier.take();
                } else {
                    carrier.expect(TEXT, message.as_bytes());
                    got += 1;
                }
            }
            carrier.expect(CLOSE, &close_payload(4004, "too slow"));
            assert!(got <= queued, "what overflowed was never queued");
            carrier.bridge.abort();
            carrier.expect_end();
        } else {
            assert!(carrier.server.ended(handle.id).0 == 4004);
            assert!(carrier.wait_for_end(), "the socket is to be destroyed, with what it has not passed on");
        }
    }
    server.expect_empty();
}

#[test]
fn the_end_and_the_failure_of_a_socket_end_the_connection() {
    let server = Server::start(config());
    for fail in [false, true] {
        let (mut carrier, handle) = Carrier::open(&server, "ada");
        if fail {
            carrier.bridge.abort();
        } else {
            carrier.bridge.feed(&frame(TEXT, b"1"));
            carrier.bridge.end();
            carrier.expect(TEXT, b"1");
        }
        carrier.expect_end();
        assert_eq!(server.ended(handle.id).0, 1006);
        server.expect_empty();
    }
}

#[test]
fn a_silent_client_is_told_over_the_bridge_and_one_whose_bytes_nobody_carries_is_given_up() {
    let interval = Duration::from_millis(100);
    let mut config = Config { heartbeat: Heartbeat { interval, timeout: interval }, ..config() };
    config.limits.close_timeout = Duration::from_millis(300);
    let server = Server::start(config);
    for carried in [true, false] {
        let (mut carrier, handle) = Carrier::open(&server, "ada");
        if carried {
            while carrier.out.first() != Some(&CLOSE) {
                carrier.take();
                while carrier.out.first() == Some(&PING) {
                    carrier.out.drain(..2 + HEARTBEAT.len());
                }
            }
            carrier.expect(CLOSE, &close_payload(4003, "no answer to ping"));
            assert!(!carrier.expect_end());
        } else {
            assert!(carrier.wait_for_end(), "nothing was taken");
        }
        assert_eq!(server.ended(handle.id).0, 4003);
    }
}

#[test]
fn a_client_whose_bytes_are_not_carried_for_a_while_is_not_taken_for_dead_and_its_silence_counts_after() {
    let heartbeat = Heartbeat { interval: Duration::from_millis(100), timeout: Duration::from_millis(500) };
    let server = Server::start(Config { threads: 1, heartbeat, ..config() });
    // The loop stands still before a ping is taken, and after one was but its answer not yet fed.
    for taken in [0, 1] {
        let (mut carrier, handle) = Carrier::open(&server, "ada");
        for _ in 0..taken {
            carrier.expect(PING, HEARTBEAT);
        }
        let mut other = server.connect();
        for _ in 0..15 {
            other.expect(PING, HEARTBEAT);
            other.send(&frame(PONG, b""));
        }
        assert!(handle.is_open());
        // It turns again; the client's answers come.
        for _ in 0..10 {
            carrier.bridge.feed(&frame(PONG, b""));
            carrier.expect(PING, HEARTBEAT);
        }
        assert!(handle.is_open());
        // From here on its silence counts.
        while carrier.out.first() != Some(&CLOSE) {
            carrier.take();
            while carrier.out.first() == Some(&PING) {
                carrier.out.drain(..2 + HEARTBEAT.len());
            }
        }
        carrier.expect(CLOSE, &close_payload(4003, "no answer to ping"));
        assert_eq!(server.ended(handle.id).0, 4003);
    }
}

#[test]
fn a_failure_while_everything_is_full_is_noticed() {
    let mut config = Config { relay: Relay::Off, ..config() };
    config.limits.event_bytes_per_connection = 1024;
    let server = Server::start(config);
    let (carrier, handle) = Carrier::open(&server, "ada");
    server.engine.set_interest(Interest::ALL);
    while carrier.bridge.feed(&frame(TEXT, &[b'x'; 2000])) {}
    while handle.buffered() < 500_000 {
        assert_eq!(server.engine.send(handle.id, Message::Text(&"x".repeat(10_000))), Ok(true));
    }
    carrier.bridge.abort();
    assert_eq!(server.ended(handle.id).0, 1006);
    server.expect_empty();
}

#[test]
fn refusals_and_the_embedders_answer_cross_the_bridge() {
    let server = Server::start(Config { auth: Auth::Callback, ..config() });
    let (mut carrier, number) = Carrier::request(&server, &Request::default());
    // Early frames wait.
    carrier.bridge.feed(&frame(TEXT, b"1"));
    assert!(server.engine.settle(number, Ok(identity("ada", &[]).into())));
    carrier.expect_head("HTTP/1.1 101 ");
    carrier.expect(TEXT, b"1");

    let (mut refused, number) = Carrier::request(&server, &Request::default());
    assert!(server.engine.settle(number, Err(denial(Code::Unauthorized))));
    refused.expect_head("HTTP/1.1 401 ");
    assert!(!refused.expect_end());

    let (left, number) = Carrier::request(&server, &Request { report: true, ..Request::default() });
    left.bridge.abort();
    assert_eq!(server.refused(number).0, "ERR_HANDOVER");
    assert!(!server.engine.settle(number, Ok(identity("ada", &[]).into())));
    left.wait_for_end();

    // Node keeps its socket open until it is told.
    let (ended, number) = Carrier::request(&server, &Request { report: true, ..Request::default() });
    ended.bridge.end();
    assert_eq!(server.refused(number).0, "ERR_HANDOVER");
    ended.wait_for_end();

    let (stuck, number) = Carrier::request(&server, &Request::default());
    assert!(server.engine.settle(number, Err(denial(Code::Unauthorized))));
    assert!(
        !stuck.wait_for_end(),
        "Node closes it within a moment, whether the client takes the answer or not"
    );
    eventually("the handshakes to end", || server.engine.stats().handshakes == 0);
}

#[test]
fn a_shutdown_ends_bridges_that_answer_and_bridges_that_do_not() {
    let mut config = config();
    config.limits.close_timeout = Duration::from_millis(100);
    let server = Server::start(config);
    let (mut good, _) = Carrier::open(&server, "ada");
    let (mut bad, _) = Carrier::open(&server, "bob");
    server.engine.shutdown(Duration::ZERO, 1001, "");
    good.expect(CLOSE, &close_payload(1001, ""));
    good.bridge.feed(&frame(CLOSE, &close_payload(1001, "")));
    good.expect_end();
    bad.expect(CLOSE, &close_payload(1001, ""));
    bad.expect_end();
    server.expect_closed();
    assert!(server.event_within(GLANCE, |_| Some(())).is_none_or(|()| true));
}
