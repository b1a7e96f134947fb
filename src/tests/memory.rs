//! All outboxes and unfinished messages together: what is counted, and who goes when it is too much.

use std::time::{Duration, Instant};

use protocol::frame::Message;

use super::client::{BINARY, Client, Got, PING, PONG, TEXT, frame};
use super::harness::{GLANCE, Server, config, eventually, published};
use crate::engine::config::{Config, Relay};
use crate::events::Event;
use crate::registry::recipients::Channel;
use crate::worker::handle::ConnectionId;
use crate::worker::limits::Limits;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn server(limits: impl FnOnce(&mut Limits)) -> Server {
    let mut config = Config { relay: Relay::Off, threads: 2, ..config() };
    config.limits.close_timeout = Duration::from_secs(60);
    limits(&mut config.limits);
    // Less memory than is permitted, so that few clients and little traffic exceed it.
    Server::start_unchecked(config)
}

/// Has the workers sleep on, whatever this thread sends, until `engine.flush`: as while a batch of events is dealt with.
pub(super) fn cork(server: &Server) {
    let mut leaves = server.connect();
    leaves.close(1000, "");
    leaves.expect_close(1000);
    eventually("an event to deal with", || !server.engine.drain(1).is_empty());
}

fn held(server: &Server) -> usize {
    server.engine.stats().outbox_bytes
}

fn unfinished(server: &Server) -> usize {
    server.engine.stats().unfinished_bytes
}

/// A message of so many bytes but for its last one.
fn cut(bytes: usize) -> Vec<u8> {
    let mut message = frame(BINARY, &vec![0; bytes + 1]);
    message.pop();
    message
}

/// Sends messages to a client that doesn't read until at least so many bytes wait for it. They are large enough to lie in
/// memory of their own: small ones are gathered in buffers of up to 64 KiB, which count as a whole.
fn fill(server: &Server, client: &Client, bytes: usize) {
    let message = "x".repeat(4000);
    eventually("the way to the client to be full", || {
        while client.handle().buffered() < bytes && client.handle().is_open() {
            server.engine.send(client.id(), Message::Text(&message)).unwrap();
        }
        std::thread::park_timeout(GLANCE);
        client.handle().buffered() >= bytes || !client.handle().is_open()
    });
}

/// The next client that is found slow.
fn slow(server: &Server) -> ConnectionId {
    server.event("a slow client to be told of", |event| match event {
        Event::Slow { handle, .. } => Some(handle.id),
        _ => None,
    })
}

/// Has something go on for as long as it takes until all that does not is stuck.
fn until_the_others_are_stuck(mut go_on: impl FnMut()) {
    let end = Instant::now() + Duration::from_millis(1100);
    while Instant::now() < end {
        go_on();
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Has a client that doesn't read ping until at least so many bytes wait for it.
fn fill_with_pongs(client: &mut Client, bytes: usize) {
    let pings = frame(PING, &[b'x'; 125]).repeat(100);
    eventually("the way to the client to be full", || {
        client.handle().buffered() >= bytes || !client.handle().is_open() || !client.try_send(&pings)
    });
}

#[test]
fn when_all_outboxes_hold_too_much_the_client_that_is_furthest_behind_goes_first() {
    let server = server(|limits| limits.memory_bytes = 2 * MIB);
    let mut reader = server.connect();
    let clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    // The one that is to go comes first, so that it does not matter who is stuck by then.
    for (client, bytes) in clients.iter().zip([700, 80, 100, 120, 140, 160, 180, 200]) {
        fill(&server, client, bytes * KIB);
    }
    eventually("all to be counted", || held(&server) > 1500 * KIB);
    assert!(clients.iter().all(|client| client.handle().is_open()), "{} bytes are held", held(&server));

    // Those who are least behind get the message that is too much. Whenever the engine looks, even after the last one, the
    // one that goes frees enough: an eighth of the limit, and what exceeds it.
    fill(&server, &clients[1], 350 * KIB);
    fill(&server, &clients[2], 350 * KIB);
    assert_eq!(slow(&server), clients[0].id());
    eventually("enough to be free", || held(&server) <= 2 * MIB);
    std::thread::park_timeout(GLANCE);
    let open: Vec<bool> = clients.iter().map(|client| client.handle().is_open()).collect();
    assert_eq!(open, [false, true, true, true, true, true, true, true]);
    reader.expect_alive();
    assert_eq!(server.engine.send(reader.id(), Message::Text("still here")), Ok(true));
    reader.expect_text("still here");
}

#[test]
fn clients_that_take_nothing_go_before_one_that_reads_on_though_that_holds_most() {
    let server = server(|limits| {
        limits.memory_bytes = 4 * MIB;
        limits.outbox_bytes = 4 * MIB;
    });
    let mut reader = server.connect();
    fill(&server, &reader, 900 * KIB);
    let others: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    others.iter().for_each(|other| fill(&server, other, 300 * KIB));
    until_the_others_are_stuck(|| {
        while reader.handle().buffered() > 850 * KIB {
            reader.next_text();
        }
        fill(&server, &reader, 900 * KIB);
    });
    assert!(others.iter().all(|other| other.handle().is_open()), "{} bytes are held", held(&server));

    fill(&server, &reader, 1900 * KIB);
    let first = slow(&server);
    assert!(others.iter().any(|other| other.id() == first));
    eventually("enough to be free", || held(&server) <= 4 * MIB);
    assert_eq!(server.engine.send(reader.id(), Message::Text("still here")), Ok(true));
    while reader.next_text() != "still here" {}
    reader.expect_alive();
    assert!(others.iter().filter(|other| other.handle().is_open()).count() > 4, "no more than needed");
}

#[test]
fn a_large_message_to_many_who_are_behind_counts_once() {
    let server = server(|limits| limits.memory_bytes = 8 * MIB);
    let clients: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    let message = "x".repeat(60_000);
    eventually("all to be behind", || {
        if clients.iter().any(|client| client.handle().buffered() < 600_000) {
            published(server.engine.publish(Channel::Everyone, Message::Text(&message), false));
        }
        std::thread::park_timeout(Duration::from_millis(5));
        clients.iter().all(|client| client.handle().buffered() >= 600_000)
    });
    let waiting: usize = clients.iter().map(|client| client.handle().buffered()).sum();
    eventually("it to be counted", || held(&server) >= 600_000);
    assert!(waiting > 30_000_000 && held(&server) < 4 * MIB, "{waiting} wait, {} are held", held(&server));
    assert!(clients.iter().all(|client| client.handle().is_open()));
    drop(clients);
    eventually("all to be free", || held(&server) == 0);
}

#[test]
fn what_was_not_offered_to_a_client_yet_counts_for_nobody() {
    let server = server(|limits| limits.memory_bytes = MIB);
    let mut clients: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    let message = "x".repeat(900);
    // Five megabytes gather.
    cork(&server);
    for _ in 0..60 {
        published(server.engine.publish(Channel::Everyone, Message::Text(&message), false));
    }
    let waiting: usize = clients.iter().map(|client| client.handle().buffered()).sum();
    assert!(waiting > 4 * MIB, "{waiting}");
    server.engine.flush();
    for client in &mut clients {
        (0..60).for_each(|_| client.expect_text(&message));
        client.expect_alive();
    }
}

#[test]
fn a_frame_that_is_half_out_to_a_client_that_goes_for_memory_is_not_kept_until_the_deadline() {
    let server = server(|limits| {
        limits.memory_bytes = MIB;
        limits.outbox_bytes = 8 * MIB;
    });
    let mut client = server.connect();
    let message = "x".repeat(8 * MIB);
    assert_eq!(server.engine.send(client.id(), Message::Text(&message)), Ok(true));
    assert_eq!(server.ended(client.id()), (4004, "too slow".into()));
    eventually("its memory to be free", || held(&server) == 0);
    assert_eq!(client.next(), Got::Reset);
    assert_eq!(server.engine.stats().messages.dropped, 1);
    server.expect_empty();
}

#[test]
fn a_close_that_its_client_does_not_take_gives_way_to_clients_that_are_less_behind() {
    let server = server(|limits| limits.memory_bytes = MIB);
    let (closed, open) = (server.connect(), server.connect());
    fill(&server, &closed, 700 * KIB);
    closed.handle().close(4321, "bye");
    eventually("the close to begin", || server.engine.len() == 1);
    fill(&server, &open, 500 * KIB);
    assert_eq!(server.ended(closed.id()), (4321, "bye".into()));
    eventually("enough to be free", || held(&server) <= MIB);
    assert!(open.handle().is_open());
}

#[test]
fn pongs_that_a_client_does_not_read_count_as_messages_do() {
    let server = server(|limits| limits.memory_bytes = MIB);
    let mut clients: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    fill_with_pongs(&mut clients[0], 700 * KIB);
    eventually("them to be counted", || held(&server) >= 690 * KIB);
    fill_with_pongs(&mut clients[1], 400 * KIB);
    assert_eq!(slow(&server), clients[0].id());
    eventually("enough to be free", || held(&server) <= MIB);
    assert!(clients[1].handle().is_open());
    drop(clients);
    eventually("all to be free", || held(&server) == 0);
}

#[test]
fn when_unfinished_messages_hold_too_much_the_largest_goes_first() {
    let server = server(|limits| limits.memory_bytes = MIB);
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    // The one that is to go comes first, so that it does not matter who is stuck by then.
    for (client, bytes) in clients.iter_mut().zip([400, 100, 200, 250]) {
        client.send(&cut(bytes * KIB));
    }
    eventually("all to be counted", || unfinished(&server) >= 950 * KIB);
    assert_eq!(held(&server), 0, "no outbox holds anything");
    assert_eq!(server.engine.len(), 4);

    // The one that holds least gets what is too much.
    fill(&server, &clients[1], 100 * KIB);
    let reason = clients[0].expect_close(1013);
    assert!(reason.contains("memory"), "{reason}");
    clients[0].expect_end();
    clients[0].finish();
    assert_eq!(server.ended(clients[0].id()), (1013, reason));
    eventually("enough to be free", || unfinished(&server) < 600 * KIB);
    for client in &mut clients[2..] {
        client.send(b"!");
    }
    eventually("the others to be whole", || server.engine.stats().messages.received == 2);
    assert_eq!(server.engine.len(), 3);
}

#[test]
fn messages_that_stopped_go_before_one_that_goes_on_though_that_holds_most() {
    let server = server(|limits| limits.memory_bytes = 2816 * KIB);
    let mut uploader = server.connect();
    let piece = |first, kib: usize| frame(first, &vec![0; kib * KIB]);
    uploader.send(&piece(0x02, 260));
    let mut others: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    others.iter_mut().for_each(|other| other.send(&cut(250 * KIB)));
    eventually("all to be counted", || unfinished(&server) >= 2260 * KIB);
    until_the_others_are_stuck(|| {
        uploader.send(&piece(0x00, 1));
        uploader.expect_alive();
    });
    assert_eq!(server.engine.len(), 9, "{} bytes are held", unfinished(&server));

    uploader.send(&piece(0x00, 350));
    uploader.expect_alive();
    eventually("enough to be free", || server.engine.len() < 9 && unfinished(&server) <= 2816 * KIB);
    uploader.send(&piece(0x80, 1));
    eventually("it to be whole", || server.engine.stats().messages.received == 1);
    assert!(others.iter().filter(|other| other.handle().is_open()).count() > 4, "no more than needed");
}

#[test]
fn an_unfinished_message_counts_until_it_was_dealt_with_however_that_ends() {
    let server = server(|limits| limits.message_timeout = Duration::from_secs(1));
    let fragment = frame(0x02, &vec![0; 10 * KIB]);
    type End = (&'static str, fn(&mut Client));
    let ends: [End; 5] = [
        ("finished", |client| client.send(&frame(0x80, b"!"))),
        ("refused", |client| client.send(&frame(TEXT, b"in between"))),
        ("too late", |client| drop(client.expect_close(1008))),
        ("closed", |client| client.close(1000, "")),
        ("ended", Client::finish),
    ];
    for (name, end) in ends {
        let mut client = server.connect();
        client.send(&fragment);
        eventually("it to be counted", || unfinished(&server) >= 10 * KIB);
        assert!(unfinished(&server) <= 20 * KIB, "{name}: {}", unfinished(&server));
        end(&mut client);
        eventually(name, || unfinished(&server) == 0);
    }
    let mut client = server.connect();
    client.send(&fragment);
    eventually("it to be counted", || unfinished(&server) >= 10 * KIB);
    client.reset();
    eventually("reset", || unfinished(&server) == 0);
}

#[test]
fn a_message_of_a_few_kilobytes_counts_for_nothing() {
    let server = server(|_| {});
    let mut client = server.connect();
    client.send(&[frame(0x02, &[0; 4 * KIB]), frame(PING, b"")].concat());
    client.expect(PONG, b"");
    assert_eq!(unfinished(&server), 0);
}

#[test]
fn a_slow_client_that_goes_for_memory_lets_go_of_its_unfinished_message_too() {
    let server = server(|limits| limits.memory_bytes = MIB);
    let mut client = server.connect();
    client.send(&cut(300 * KIB));
    eventually("it to be counted", || unfinished(&server) >= 300 * KIB);
    fill(&server, &client, 800 * KIB);
    assert_eq!(slow(&server), client.id());
    eventually("all to be free", || unfinished(&server) + held(&server) <= 16 * KIB);
    assert_eq!(server.engine.stats().closed.by_code, [].into(), "its close is under way");
}

#[test]
fn a_message_that_is_begun_after_a_close_gives_way_to_clients_that_are_open() {
    let server = server(|limits| limits.memory_bytes = MIB);
    let (mut closed, mut open) = (server.connect(), server.connect());
    closed.handle().close(4321, "bye");
    closed.expect_close(4321);
    closed.send(&cut(700 * KIB));
    eventually("it to be counted", || unfinished(&server) >= 700 * KIB);
    open.send(&cut(500 * KIB));
    closed.expect_end();
    eventually("enough to be free", || (500 * KIB..MIB).contains(&unfinished(&server)));
    assert!(open.handle().is_open());
}

#[test]
fn a_client_that_holds_nothing_by_the_time_that_it_is_to_go_stays() {
    let server = server(|_| {});
    let mut client = server.connect();
    client.handle().evict();
    client.expect_alive();
}
