//! Clients that do not read: their memory stays bounded, they are closed, and nobody else waits for them.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::frame::Message;
use socket2::{Domain, Socket, Type};

use super::client::{CLOSE, Client, Got, PING, frame};
use super::harness::{GLANCE, Request, Server, SetOnDrop, config, eventually};
use super::memory::cork;
use crate::engine::Dropped;
use crate::engine::config::{Config, Relay};
use crate::events::Event;
use crate::registry::recipients::Channel;

const GIB: usize = 1 << 30;
/// Longest round trip of a bystander that is no delay yet, on a machine that is busy with other tests.
const NO_DELAY: Duration = Duration::from_secs(8);

/// One worker, so that everybody shares it.
fn server(relay: Relay, close_timeout: Duration) -> Server {
    let mut config = Config { relay, threads: 1, ..config() };
    config.limits.close_timeout = close_timeout;
    Server::start(config)
}

/// A message of `len` bytes that begins with its number.
fn numbered(number: usize, len: usize) -> String {
    format!("{number:0>10}{}", "x".repeat(len - 10))
}

/// Sends messages of `len` bytes, a gibibyte in all if they were taken. Answers how many were, and sees that
/// never more waits than the limit and one message, or eight times as much before the kernel takes no more.
fn send_a_gibibyte(server: &Server, client: &Client, len: usize) -> usize {
    let limit = 8 * server.engine.config().limits.outbox_bytes + len + 16;
    let mut taken = 0;
    for number in 0..GIB / len {
        let message = numbered(taken, len);
        let queued = server.engine.send(client.id(), Message::Text(&message)).unwrap();
        let buffered = client.handle().buffered();
        assert!(buffered <= limit, "{buffered} bytes wait");
        taken += usize::from(queued);
        // All that follow are refused alike.
        if number + 1 - taken > 20_000 {
            break;
        }
    }
    taken
}

/// Goes back and forth while `work` runs; the longest trip.
fn bystander<T>(client: &mut Client, work: impl FnOnce() -> T) -> (T, Duration) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let trips = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Acquire) {
                let begin = Instant::now();
                client.expect_alive();
                longest = longest.max(begin.elapsed());
            }
            longest
        });
        let result = {
            let _done = SetOnDrop(&done);
            work()
        };
        (result, trips.join().unwrap())
    })
}

fn slow(server: &Server) -> Dropped {
    server.event("the slow client to be told of", |event| match event {
        Event::Slow { dropped, .. } => Some(*dropped),
        _ => None,
    })
}

#[test]
fn a_client_that_never_reads_a_gibibyte_is_cut_off_and_nobody_else_waits() {
    for len in [64 * 1024, 200] {
        let server = server(Relay::Off, Duration::from_millis(300));
        let mut other = server.connect();
        let client = server.connect();
        let (taken, longest) = bystander(&mut other, || {
            let taken = send_a_gibibyte(&server, &client, len);
            assert_eq!(server.ended(client.id()).0, 4004);
            taken
        });
        assert!(longest < NO_DELAY, "{longest:?}");
        let dropped = slow(&server);
        assert!(
            dropped.messages > 0 && dropped.bytes as usize >= len * dropped.messages as usize,
            "{dropped:?}"
        );
        assert_eq!(server.engine.len(), 1, "only the bystander is left");
        // All that was taken, and the one message for which there was no room, is either written or counted as dropped.
        let messages = server.engine.stats().messages;
        assert_eq!(messages.sent + messages.dropped, taken as u64 + 1);
        assert!(messages.dropped >= dropped.messages);
        // By a reset if the close frame could not be sent.
        let mut client = client;
        let mut told = false;
        let end = loop {
            match client.next() {
                Got::Frame(first, _) => told |= first == CLOSE,
                end => break end,
            }
        };
        assert_eq!(end, if told { Got::End } else { Got::Reset });
        drop((client, other));
        server.expect_empty();
    }
}

#[test]
fn a_slow_client_that_reads_at_last_gets_whole_frames_in_order_and_the_reason() {
    for len in [64 * 1024, 5000, 200] {
        let server = server(Relay::Off, Duration::from_secs(60));
        let mut client = server.connect();
        let taken = send_a_gibibyte(&server, &client, len);
        eventually("the connection to be no member any more", || server.engine.is_empty());
        let dropped = slow(&server);
        let mut got = 0;
        loop {
            match client.next() {
                Got::Frame(0x81, text) => {
                    assert_eq!(String::from_utf8(text).unwrap(), numbered(got, len));
                    got += 1;
                }
                Got::Frame(0x88, payload) => {
                    assert_eq!(payload, super::client::close_payload(4004, "too slow"));
                    break;
                }
                other => panic!("{other:?} after {got} messages"),
            }
        }
        assert_eq!(got + dropped.messages as usize, taken + 1);
        client.close(4004, "");
        client.expect_end();
        assert_eq!(server.ended(client.id()), (4004, "too slow".into()));
        assert_eq!(server.engine.stats().messages.dropped, dropped.messages);
        assert_eq!(server.engine.stats().messages.sent, got as u64);
        server.expect_empty();
    }
}

#[test]
fn a_device_that_never_reads_delays_neither_the_sender_nor_the_other_devices() {
    let server = server(Relay::User, Duration::from_millis(100));
    let mut sender = server.connect_as("ada");
    let mut good = server.connect_as("ada");
    let bad = server.connect_as("ada");
    let text = format!("\"{}\"", "x".repeat(64 * 1024));
    let mut longest = Duration::ZERO;
    while bad.handle().is_open() {
        let begin = Instant::now();
        sender.text(&text);
        sender.expect_text(&text);
        good.expect_text(&text);
        longest = longest.max(begin.elapsed());
    }
    assert!(longest < NO_DELAY, "{longest:?}");
    assert_eq!(server.ended(bad.id()).0, 4004);
    sender.text("1");
    sender.expect_text("1");
    good.expect_text("1");
    assert_eq!(server.engine.members(Channel::User("ada")).len(), 2);
}

#[test]
fn a_client_that_floods_with_what_must_be_answered_and_reads_nothing_is_cut_off() {
    let pings = frame(PING, &[b'p'; 125]).repeat(100);
    let junk = frame(0x81, b"no JSON").repeat(500);
    for flood in [pings, junk] {
        let server = server(Relay::User, Duration::from_millis(200));
        let limits = server.engine.config().limits;
        let mut other = server.connect();
        let mut client = server.connect();
        let handle = client.handle().clone();
        let ((), longest) = bystander(&mut other, || {
            let mut most = 0;
            while client.try_send(&flood) {
                most = most.max(handle.buffered());
            }
            // The messages of one read may be answered before the limit is looked at.
            assert!(most <= limits.outbox_bytes + 20 * limits.read_buffer_bytes, "{most} bytes wait");
        });
        assert!(longest < NO_DELAY, "{longest:?}");
        assert_eq!(server.ended(client.id()).0, 4004);
        drop((client, other));
        server.expect_empty();
    }
}

#[test]
fn a_client_that_sends_more_than_can_be_handled_delays_nobody() {
    let server = server(Relay::Off, Duration::from_secs(1));
    let mut other = server.connect();
    let mut client = server.connect();
    // Small messages are the most work for their bytes.
    let flood = frame(0x81, b"1").repeat(10_000);
    let ((), longest) = bystander(&mut other, || {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(1) {
            client.send(&flood);
        }
    });
    assert!(longest < NO_DELAY, "{longest:?}");
}

#[test]
#[cfg(any(target_os = "android", target_os = "linux"))]
fn what_a_client_does_not_read_waits_in_its_outbox_and_not_in_the_kernel() {
    const WINDOW: usize = 64 << 10;
    let mut config = Config { relay: Relay::Off, ..config() };
    config.limits.outbox_bytes = 16 << 20;
    let server = Server::start(config);
    // The kernel chooses the client's window otherwise.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(WINDOW).unwrap();
    socket.connect(&listener.local_addr().unwrap().into()).unwrap();
    let node = listener.accept().unwrap().0;
    let (client, _) = server.hand_over(socket, node.into(), Request::default());
    let id = server.event("the connection to open", |event| match event {
        Event::Open { handle, .. } => Some(handle.id),
        _ => None,
    });
    let message = "x".repeat(500);
    for _ in 0..16_000 {
        assert_eq!(server.engine.send(id, Message::Text(&message)), Ok(true));
    }
    let sent = || server.engine.stats().bytes.sent;
    let mut taken = 0;
    eventually("the kernel to take no more", || {
        std::thread::park_timeout(GLANCE);
        let before = std::mem::replace(&mut taken, sent());
        before == taken && taken > WINDOW as u64
    });
    // The window may be twice its size, for the kernel's own use of it.
    assert!(taken < 2 * WINDOW as u64 + 512 * 1024, "the kernel holds {taken} bytes");
    drop(client);
}

#[test]
fn a_client_that_reads_now_and_then_is_not_slow() {
    let server = server(Relay::Off, Duration::from_secs(60));
    let mut client = server.connect();
    let message = "x".repeat(10_000);
    for _ in 0..300 {
        // Far more at a time than the kernel keeps for one connection would be slow; this fits the outbox.
        for _ in 0..50 {
            assert_eq!(server.engine.send(client.id(), Message::Text(&message)), Ok(true));
        }
        (0..50).for_each(|_| client.expect_text(&message));
    }
    eventually("the outbox to be empty", || client.handle().buffered() == 0);
    client.expect_alive();
}

#[test]
fn what_was_not_offered_to_a_client_does_not_make_it_slow() {
    let mut config = Config { relay: Relay::Off, threads: 1, ..config() };
    config.limits.outbox_bytes = 16 << 10;
    let server = Server::start(config);
    // Sent while the workers are not woken, as a listener does, and at any other time.
    for corked in [true, false] {
        let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        if corked {
            cork(&server);
        }
        for number in 0..100 {
            let text = numbered(number, 500);
            for client in &clients {
                assert_eq!(server.engine.send(client.id(), Message::Text(&text)), Ok(true), "{number}");
            }
        }
        server.engine.flush();
        for client in &mut clients {
            (0..100).for_each(|number| client.expect_text(&numbered(number, 500)));
            client.expect_alive();
        }
    }
}

#[test]
fn what_is_sent_at_once_waits_for_the_client_up_to_eight_times_the_limit() {
    let mut config = Config { relay: Relay::Off, threads: 1, ..config() };
    config.limits.outbox_bytes = 1 << 20;
    let server = Server::start(config);
    let client = server.connect();
    cork(&server);
    // In one piece, so that nothing is offered in between.
    let pieces = (0..60)
        .map(|_| "x".repeat(1 << 20))
        .take_while(|text| server.engine.send(client.id(), Message::Text(text)).unwrap());
    let taken = pieces.count();
    server.engine.flush();
    // And what the kernel takes meanwhile.
    assert!((1..=24).contains(&taken), "{taken}");
    assert_eq!(server.ended(client.id()).0, 4004);
}

#[test]
fn a_flood_for_many_leaves_others_their_turns() {
    let server = server(Relay::Rooms, Duration::from_secs(1));
    let mut sender = server.open(Request::of("eve", &["crowd"]));
    let mut crowd: Vec<Client> =
        (0..200).map(|n| server.open(Request::of(&format!("{n}"), &["crowd"]))).collect();
    let mut other = server.open(Request::of("ada", &[]));
    // One read brings two million deliveries.
    let flood = frame(0x81, b"1").repeat(9000);
    sender.send(&flood);
    let relayed = || server.engine.stats().messages.relayed;
    eventually("it to be handled", || relayed() > 0);
    let mut trips = 0;
    while relayed() < 9000 {
        other.expect_alive();
        trips += 1;
    }
    assert!(trips >= 5, "{trips} round trips meanwhile");
    for client in &mut crowd {
        (0..9000).for_each(|_| client.expect_text("1"));
    }
}

#[test]
fn the_largest_message_fits_an_empty_outbox_and_a_second_is_too_much() {
    let mut config = Config { relay: Relay::Off, threads: 1, ..config() };
    config.limits.outbox_bytes = 32 << 20;
    let server = Server::start(config);
    let mut client = server.open(Request::default());
    let message = "x".repeat(32 << 20);
    assert_eq!(server.engine.send(client.id(), Message::Text(&message)), Ok(true));
    let handle = client.handle().clone();
    eventually("the kernel to take no more", || handle.buffered() < message.len());
    assert_eq!(server.engine.send(client.id(), Message::Text(&message)), Ok(false));
    slow(&server);
    // Its first byte may be out already; then it is finished.
    let written = server.engine.stats().bytes.sent > 200;
    if written {
        client.expect_text(&message);
    }
    client.expect_close(4004);
}

#[test]
fn a_stream_that_never_pauses_to_a_client_that_keeps_up_starves_nobody() {
    let server = server(Relay::Off, Duration::from_secs(1));
    let mut other = server.connect();
    let mut fast = server.connect();
    let (id, handle) = (fast.id(), fast.handle().clone());
    let message = "x".repeat(500);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // As fast as it goes, but never so much that the client were slow.
            while !done.load(Ordering::Acquire) {
                if handle.buffered() < 200_000 {
                    assert_eq!(server.engine.send(id, Message::Text(&message)), Ok(true));
                }
            }
            handle.close(1000, "");
        });
        let reader = scope.spawn(move || fast.expect_close(1000));
        let stop = SetOnDrop(&done);
        let ((), longest) = bystander(&mut other, || {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(500) {
                std::thread::park_timeout(Duration::from_millis(10));
            }
        });
        assert!(longest < NO_DELAY, "{longest:?}");
        drop(stop);
        reader.join().unwrap();
    });
}
