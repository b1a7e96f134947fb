//! Events to the embedder, also to one that does not listen, or not fast enough.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::client::{BINARY, CLOSE, Client, TEXT, close_payload, frame};
use super::harness::{GLANCE, Request, Server, config, eventually, identity};
use crate::engine::config::{Auth, Config, Relay};
use crate::events::{Event, Interest};
use crate::worker::handle::ConnectionId;

const PER_CONNECTION: usize = 16 * 1024;
const READ: usize = 4096;
/// A message of one byte counts so much.
const TINY: usize = 65;

fn server(total: usize) -> Server {
    let mut config = Config { relay: Relay::Off, ..config() };
    config.limits.event_bytes_per_connection = PER_CONNECTION;
    config.limits.event_bytes = total;
    config.limits.read_buffer_bytes = READ;
    Server::start(config)
}

/// An open connection of which no event tells.
fn unseen(server: &Server) -> Client {
    let (mut client, _) = server.request(Request::default());
    client.response().expect_101();
    client
}

#[test]
fn nobody_who_does_not_listen_is_told_anything() {
    let server = server(1 << 20);
    server.engine.set_interest(Interest(0));
    for _ in 0..20 {
        let mut client = unseen(&server);
        client.text("1");
        client.expect_alive();
        client.close(1000, "");
        client.expect_close(1000);
    }
    server.expect_empty();
    assert!(server.event_within(GLANCE, |_| Some(())).is_none());
    assert_eq!(server.engine.stats().opened, 20);
}

#[test]
fn only_the_kinds_that_are_wanted_are_told() {
    let kinds = [Interest::CONNECTION, Interest::MESSAGE, Interest::DISCONNECT];
    for wanted in kinds {
        let server = server(1 << 20);
        server.engine.set_interest(wanted);
        let mut client = unseen(&server);
        client.text("1");
        client.close(1000, "");
        client.expect_close(1000);
        server.expect_empty();
        let mut told = Vec::new();
        server.event_within(GLANCE, |event| {
            told.push(match event {
                Event::Open { .. } => "open",
                Event::Text { .. } => "text",
                Event::Close { .. } => "close",
                _ => "other",
            });
            None::<()>
        });
        // An embedder that heard of a connection is told of its end as well.
        let expected = match wanted {
            Interest::CONNECTION => &["open", "close"][..],
            Interest::MESSAGE => &["text", "close"],
            _ => &["close"],
        };
        assert_eq!(told, expected);
    }
}

#[test]
fn an_upgrade_that_is_to_be_reported_is_told_whatever_the_interest() {
    let server = Server::start(Config { auth: Auth::Callback, ..config() });
    server.engine.set_interest(Interest(0));
    for report in [true, false] {
        let (mut client, ticket) = server.request(Request { report, ..Request::default() });
        let number = ticket.unwrap().number;
        assert!(server.engine.settle(number, Ok(identity("ada", &[]).into())));
        client.response().expect_101();
        client.close(1000, "");
        client.expect_close(1000);
        server.expect_empty();
        let mut told = (false, false);
        server.event_within(GLANCE, |event| {
            match event {
                Event::Upgraded { ticket, .. } => told.0 |= *ticket == number,
                Event::Close { .. } => told.1 = true,
                other => panic!("{other:?}"),
            }
            None::<()>
        });
        assert_eq!(told, (report, report));
        server.event_within(GLANCE, |_| None::<()>);
        while server.event_within(GLANCE / 10, |_| Some(())).is_some() {}
    }
}

#[test]
fn listeners_get_every_message_as_it_came_in_its_place_between_beginning_and_end() {
    for relay in [Relay::User, Relay::Off] {
        let server = Server::start(Config { relay, ..config() });
        server.engine.set_interest(Interest::ALL);
        let (mut client, _) = server.request(Request::default());
        client.response().expect_101();
        let parts = [
            frame(TEXT, b"no JSON"),
            frame(BINARY, &[0, 255]),
            frame(0x01, "gr".as_bytes()),
            frame(0x80, "ün".as_bytes()),
            frame(TEXT, b""),
            frame(CLOSE, &close_payload(3000, "done")),
        ];
        client.send(&parts.concat());
        let mut told = Vec::new();
        server.event("the end", |event| {
            told.push(match event {
                Event::Open { .. } => "open".to_owned(),
                Event::Text { text, .. } => format!("text {text}"),
                Event::Binary { bytes, .. } => format!("binary {bytes:?}"),
                Event::Close { code, reason, .. } => format!("close {code} {reason}"),
                other => panic!("{other:?}"),
            });
            matches!(event, Event::Close { .. }).then_some(())
        });
        assert_eq!(
            told,
            ["open", "text no JSON", "binary [0, 255]", "text grün", "text ", "close 3000 done"]
        );
    }
}

/// A message with the number of its place, of about `len` bytes.
fn numbered(number: usize, len: usize) -> Vec<u8> {
    frame(TEXT, format!("{number} {}", "x".repeat(len)).as_bytes())
}

/// The connection and the number of the next message.
fn next_number(server: &Server) -> (ConnectionId, usize) {
    server.event("a message", |event| match event {
        Event::Text { handle, text } => {
            Some((handle.id, text.split(' ').next().unwrap().parse::<usize>().unwrap()))
        }
        _ => None,
    })
}

#[test]
fn an_embedder_that_does_not_drain_pushes_back_on_the_client_and_loses_nothing() {
    const COUNT: usize = 40_000;
    for len in [1000, 10] {
        let server = server(1 << 30);
        let mut client = server.connect();
        server.engine.set_interest(Interest::ALL);
        let sent = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..COUNT {
                    client.send(&numbered(number, len));
                    sent.fetch_add(1, Ordering::Release);
                }
            });
            eventually("the queue to be full", || server.engine.stats().event_bytes >= PER_CONNECTION);
            std::thread::park_timeout(GLANCE);
            let queued = server.engine.stats().event_bytes;
            // Never more than one message beyond it.
            let most = PER_CONNECTION + len + 100;
            assert!(queued <= most, "{queued}");
            if len == 1000 {
                // Forty megabytes: more than the kernel keeps. The client's sends block.
                eventually("the client to be stuck", || {
                    let before = sent.load(Ordering::Acquire);
                    std::thread::park_timeout(GLANCE);
                    sent.load(Ordering::Acquire) == before
                });
                assert!(sent.load(Ordering::Acquire) < COUNT);
            }
            for number in 0..COUNT {
                assert_eq!(next_number(&server).1, number);
                let queued = server.engine.stats().event_bytes;
                assert!(queued <= most, "{queued}");
            }
        });
        assert_eq!(server.engine.stats().event_bytes, 0);
        client.expect_alive();
    }
}

#[test]
fn one_clients_flood_does_not_keep_the_messages_of_others_out() {
    let server = server(1 << 30);
    let mut flood = server.connect();
    let mut other = server.connect();
    server.engine.set_interest(Interest::ALL);
    flood.send(&numbered(0, 1000).repeat(1000));
    eventually("the flood's share to be used up", || server.engine.stats().event_bytes >= PER_CONNECTION);
    other.send(&numbered(7, 10));
    other.expect_alive();
    flood.ping(b"");
    flood.expect_silence(GLANCE);
    while next_number(&server) != (other.id(), 7) {}
    // Now that the queue was drained the flood is read on.
    assert_eq!(next_number(&server).0, flood.id());
}

#[test]
fn a_quiet_clients_message_comes_before_those_that_others_have_flooded_the_queue_with() {
    const FLOODS: usize = 16;
    let server = Server::start(Config { relay: Relay::Off, ..config() });
    let mut floods: Vec<Client> = (0..FLOODS).map(|_| server.connect()).collect();
    let mut quiet = server.connect();
    server.engine.set_interest(Interest::MESSAGE);
    let tiny = frame(TEXT, b"1").repeat(2000);
    floods.iter_mut().for_each(|flood| flood.send(&tiny));
    let queued = || server.engine.stats().event_bytes / TINY;
    eventually("each flood's share to be used up", || queued() == FLOODS * 512);
    // The embedder is busy with these when the quiet client comes.
    assert_eq!(server.engine.drain(256).len(), 256);
    server.engine.flush();
    let before = queued();
    quiet.text("2");
    eventually("the message to be queued", || queued() > before);
    let batch = server.engine.drain(256);
    assert!(matches!(&batch[0], Event::Text { text, .. } if text == "2"), "{:?}", batch[0]);
    let mut shares: HashMap<ConnectionId, usize> = HashMap::new();
    batch.iter().filter_map(Event::connection).for_each(|handle| *shares.entry(handle.id).or_default() += 1);
    assert_eq!(shares.len(), FLOODS + 1, "a batch is everybody's");
    assert!(shares.values().all(|share| *share <= 256 / FLOODS), "{shares:?}");
}

#[test]
fn of_messages_of_one_byte_no_more_than_512_of_a_client_wait_and_none_is_lost() {
    let server = Server::start(Config { relay: Relay::Off, ..config() });
    let mut client = server.connect();
    server.engine.set_interest(Interest::MESSAGE);
    client.send(&frame(TEXT, b"1").repeat(5000));
    let queued = || server.engine.stats().event_bytes / TINY;
    eventually("the client's share to be used up", || queued() >= 512);
    let mut taken = 0;
    while taken < 5000 {
        assert!(queued() <= 512, "{}", queued());
        taken += server.engine.drain(100).len();
        server.engine.flush();
    }
    assert_eq!((taken, queued()), (5000, 0));
    client.expect_alive();
}

#[test]
fn a_quiet_clients_messages_come_back_and_are_heard_while_others_have_filled_the_queue() {
    const TOTAL: usize = 64 * 1024;
    // Many messages of each flood, and fewer floods with a large one each.
    for (count, len, each) in [(40, 1000, 20), (6, 15_000, 3)] {
        let mut config = Config { relay: Relay::User, ..config() };
        config.limits.event_bytes = TOTAL;
        let server = Server::start(config);
        let mut floods: Vec<Client> = (0..count).map(|_| server.connect_as("flood")).collect();
        let mut quiet = server.connect_as("quiet");
        server.engine.set_interest(Interest::MESSAGE);
        floods.iter_mut().for_each(|flood| flood.send(&frame(BINARY, &vec![0; len]).repeat(each)));
        let queued = || server.engine.stats().event_bytes;
        eventually("the queue to be full", || queued() >= TOTAL / 10 * 9);
        for number in ["1", "2", "3"] {
            quiet.text(number);
            quiet.expect_text(number);
            let mut others = 0;
            server.event("the message", |event| match event {
                Event::Text { text, .. } if text == number => Some(()),
                _ => {
                    others += 1;
                    None
                }
            });
            assert!(others <= 2 * 16 * count, "a turn of each and the rest of a batch: {others}");
        }
    }
}

#[test]
fn the_limits_over_all_connections_hold_and_everything_arrives_in_order() {
    const CLIENTS: usize = 60;
    const TOTAL: usize = 64 * 1024;
    // Of the second, one of each is more than twice the limit.
    for (len, each, full, most) in
        [(500, 300, TOTAL / 10 * 9, TOTAL / 2 * 3), (5000, 30, 2 * TOTAL, 2 * TOTAL)]
    {
        let server = server(TOTAL);
        let clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
        server.engine.set_interest(Interest::ALL);
        std::thread::scope(|scope| {
            for client in &clients {
                let mut client = Client::new(client.socket.try_clone().unwrap());
                scope.spawn(move || (0..each).for_each(|number| client.send(&numbered(number, len))));
            }
            eventually("the queue to be full", || server.engine.stats().event_bytes >= full);
            let mut next: HashMap<ConnectionId, usize> = HashMap::new();
            let threads = server.engine.config().threads;
            for _ in 0..CLIENTS * each {
                let (id, number) = next_number(&server);
                let due = next.entry(id).or_default();
                assert_eq!(number, *due);
                *due += 1;
                let queued = server.engine.stats().event_bytes;
                assert!(queued <= most + threads * (len + 100), "{queued}");
            }
        });
        assert_eq!(server.engine.stats().event_bytes, 0);
        for mut client in clients {
            client.expect_alive();
        }
    }
}

#[test]
fn a_message_larger_than_a_connections_share_passes_alone() {
    let server = server(64 * 1024);
    let mut client = server.connect();
    server.engine.set_interest(Interest::ALL);
    let large = numbered(0, 500_000);
    let mut writer = Client::new(client.socket.try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || (0..5).for_each(|_| writer.send(&large)));
        (0..5).for_each(|_| assert_eq!(next_number(&server).1, 0));
    });
    client.expect_alive();
}

#[test]
fn a_paused_connection_can_be_closed_and_can_leave() {
    let server = server(1 << 30);
    for leave in 0..4 {
        let mut client = server.connect();
        server.engine.set_interest(Interest::ALL);
        client.send(&numbered(0, 1000).repeat(100));
        eventually("the queue to be full", || server.engine.stats().event_bytes >= PER_CONNECTION);
        let id = client.id();
        let code = match leave {
            0 => {
                client.handle().close(4002, "");
                client.expect_close(4002);
                client.close(4002, "");
                client.expect_end();
                4002
            }
            1 => {
                client.close(3001, "");
                3001
            }
            2 => {
                client.finish();
                1006
            }
            _ => {
                client.reset();
                1006
            }
        };
        // The messages before the end come before it.
        let mut messages = 0;
        let end = server.event("the end", |event| match event {
            Event::Text { handle, .. } if handle.id == id => {
                messages += 1;
                None
            }
            Event::Close { handle, code, .. } if handle.id == id => Some(*code),
            _ => None,
        });
        assert_eq!(end, code, "{leave}");
        assert!(messages >= PER_CONNECTION / 2000, "{leave}: {messages}");
        while server.event_within(GLANCE / 10, |_| Some(())).is_some() {}
        assert_eq!(server.engine.stats().event_bytes, 0);
        server.expect_empty();
    }
}

#[test]
fn the_embedder_is_told_once_until_it_has_found_nothing_left() {
    let server = server(1 << 20);
    let mut client = server.connect();
    server.engine.set_interest(Interest::ALL);
    let drain = |max| server.engine.drain(max).len();
    while drain(256) > 0 {}
    let quiet = server.rings();
    let queued = || server.engine.stats().event_bytes;
    for _ in 0..10 {
        let before = queued();
        client.text("1");
        eventually("the message to be queued", || queued() > before);
    }
    assert_eq!(server.rings(), quiet + 1);
    // Some were taken, but nobody has seen the end.
    assert_eq!((drain(3), drain(3)), (3, 3));
    let before = queued();
    client.text("1");
    eventually("the message to be queued", || queued() > before);
    assert_eq!(server.rings(), quiet + 1);
    assert_eq!((drain(256), drain(256)), (5, 0));
    client.text("1");
    eventually("the embedder to be told", || server.rings() == quiet + 2);
    assert_eq!((drain(256), drain(256)), (1, 0));
}

#[test]
fn refusals_that_nobody_takes_are_bounded_and_counted() {
    let mut config = Config { relay: Relay::Off, auth: Auth::Callback, ..config() };
    config.limits.max_connections = 1;
    let server = Server::start(config);
    server.engine.set_interest(Interest::REFUSED);
    // Takes the only place, and keeps it.
    let (_first, _) = server.request(Request::default());
    for _ in 0..1100 {
        let (mut client, _) = server.request(Request::default());
        client.response().expect_refusal(503, "ERR_TOO_MANY_CONNECTIONS");
    }
    let refusals: Vec<_> =
        std::iter::from_fn(|| Some(server.engine.drain(256)).filter(|batch| !batch.is_empty()))
            .flatten()
            .filter_map(|event| match event {
                Event::Refusal(refusal) => Some(refusal),
                _ => None,
            })
            .collect();
    assert_eq!(refusals.len(), 1000);
    assert_eq!(refusals[0].code, "ERR_TOO_MANY_CONNECTIONS");
    let refused = server.engine.stats().refused;
    assert_eq!(refused.values().sum::<u64>(), 1100);
    // And once they were taken, there is room again.
    let (mut client, _) = server.request(Request::default());
    client.response().expect_refusal(503, "ERR_TOO_MANY_CONNECTIONS");
    server.event("one more", |event| matches!(event, Event::Refusal(_)).then_some(()));
}
