//! The exact number of allocations: per message, and per connection. In a process with one worker, whose other thread, the
//! test, asks for none meanwhile but inside of the engine's own calls.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;

use http::RequestHead;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use super::client::{CLOSE, Client, PING, TEXT, close_payload, frame};
use super::harness::{GLANCE, KEY, Request, Server, alone, config};
use crate::engine::config::{Config, Relay};
use crate::engine::{Taken, Upgrade};
use crate::events::Interest;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The number of times that a thing is done before it is counted, so that buffers have the size that they keep, and in which it is counted.
const WARM: usize = 300;
const TIMES: usize = 100;

fn server(relay: Relay) -> Server {
    Server::start(Config { relay, threads: 1, ..config() })
}

/// Waits until no thread asks for memory, or gives it back, any more.
fn settle() {
    loop {
        let region = Region::new(ALLOCATOR);
        std::thread::park_timeout(GLANCE);
        let change = region.change();
        if (change.allocations, change.deallocations, change.reallocations) == (0, 0, 0) {
            return;
        }
    }
}

/// The number of allocations, growing buffers included, while `work` is done.
fn count(work: impl FnOnce()) -> usize {
    settle();
    let region = Region::new(ALLOCATOR);
    work();
    settle();
    let change = region.change();
    change.allocations + change.reallocations
}

/// The same for each of many times, after as many that do not count.
fn count_each(mut work: impl FnMut()) -> f64 {
    (0..WARM).for_each(|_| work());
    count(|| (0..TIMES).for_each(|_| work())) as f64 / TIMES as f64
}

/// Sends bytes and takes as many as are to come, without asking for memory.
fn exchange<const LEN: usize>(from: &Client, bytes: &[u8], to: &[&Client]) {
    let mut got = [0; LEN];
    (&from.socket).write_all(bytes).unwrap();
    to.iter().for_each(|to| (&to.socket).read_exact(&mut got).unwrap());
}

#[test]
fn a_message_asks_for_as_much_memory_as_ever() {
    alone("tests::allocations::a_message_asks_for_as_much_memory_as_ever", || {
        let server = server(Relay::User);
        let one = server.open(Request::of("one", &[]));
        let each = |bytes: &[u8]| count_each(|| exchange::<6>(&one, bytes, &[&one]));
        // It becomes one of ours in the buffer that it was read into.
        assert_eq!(each(&frame(TEXT, b"\"hi\"")), 0.0, "a small message that goes back to its sender");
        assert_eq!(each(&frame(PING, b"ping")), 0.0, "a ping");
        // The assembler's box and its buffer are lent and given back.
        let fragments = [frame(0x01, b"\"h"), frame(0x80, b"i\"")].concat();
        assert_eq!(each(&fragments), 0.0, "a fragmented message");
        let (first, second) = fragments.split_at(9);
        let cut = count_each(|| {
            (&one.socket).write_all(first).unwrap();
            exchange::<6>(&one, second, &[&one]);
        });
        assert_eq!(cut, 0.0, "one that comes in two parts");

        let many: Vec<Client> = (0..8).map(|_| server.open(Request::of("many", &[]))).collect();
        let all: Vec<&Client> = many.iter().collect();
        // Outboxes are lent and given back.
        let small = frame(TEXT, b"\"hi\"");
        assert_eq!(count_each(|| exchange::<6>(all[0], &small, &all)), 0.0, "a small message to eight");
        let text = format!("\"{}\"", "x".repeat(1998));
        let large = frame(TEXT, text.as_bytes());
        assert_eq!(count_each(|| exchange::<2004>(all[0], &large, &all)), 2.0, "a large message to eight");
    });
}

#[test]
fn a_connection_asks_for_as_much_memory_as_ever() {
    alone("tests::allocations::a_connection_asks_for_as_much_memory_as_ever", || {
        let server = server(Relay::User);
        // It keeps the worker's sweeper, which is started for the first and ends with the last.
        let _first = server.connect();
        // The embedder takes events, when it likes.
        server.engine.set_interest(Interest(0));
        // Before: what Node and the client have of it.
        let prepare = |_| {
            let (client, node) = server.pair();
            (client, Taken::duplicate(node.as_raw_fd()).unwrap(), upgrade())
        };
        let close = frame(CLOSE, &close_payload(1000, ""));
        let pass = |(mut client, taken, upgrade): (TcpStream, Taken, Upgrade)| {
            server.engine.upgrade(taken, upgrade).unwrap();
            read_head(&mut client);
            client.write_all(&close).unwrap();
            let mut answer = [0; 5];
            assert_eq!(client.read(&mut answer).unwrap(), 4);
            assert_eq!(client.read(&mut answer).unwrap(), 0);
            client.shutdown(Shutdown::Both).ok();
        };
        (0..WARM).map(prepare).for_each(pass);
        let prepared: Vec<_> = (0..TIMES).map(prepare).collect();
        let count = count(|| prepared.into_iter().for_each(pass)) as f64 / TIMES as f64;
        // On Node's thread, 4: a copy of its address, the host that a page would be of, the key's answer, the handshake's task.
        // On the worker, to be open, 9: a random name and the user's id that it becomes, the future that opens it, the 101, which
        // is put together from two, the handle, the user's group, the topics that it wants, the connection.
        // To end, 4: how it ended, the close frame, which grows once, the timer for the client's part.
        assert_eq!(count, 17.0, "a connection");
    });
}

/// Takes an answer's head, byte by byte.
fn read_head(client: &mut TcpStream) {
    let (mut last, mut byte) = ([0; 4], [0]);
    while last != *b"\r\n\r\n" {
        client.read_exact(&mut byte).unwrap();
        last.rotate_left(1);
        last[3] = byte[0];
    }
}

fn upgrade() -> Upgrade {
    let headers = [
        ("Host", "localhost"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    let head = RequestHead {
        method: "GET".into(),
        target: "/api/websocket".into(),
        version: (1, 1),
        headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
    };
    let remote = "127.0.0.1".into();
    Upgrade { head, first: Vec::new(), remote, tls: false, is_cut: false, report: false, admission: None }
}
