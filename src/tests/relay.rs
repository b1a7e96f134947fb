//! The recipients of relayed messages and of the embedder's.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::frame::Message;

use super::client::{BINARY, CLOSE, Client, Got, PING, PONG, TEXT, close_payload, frame};
use super::harness::{GLANCE, Request, Server, SetOnDrop, config, eventually, published};
use crate::broker::history::{DEFAULT_BOUNDS, HistoryConfig};
use crate::engine::config::{Config, Relay};
use crate::outcome::{Answer, Reply, Status};
use crate::registry::recipients::{Channel, Topic};
use crate::worker::limits::Limits;

mod embedder;

fn server(relay: Relay) -> Server {
    Server::start(Config { relay, ..config() })
}

/// Reads so many texts.
fn texts(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| client.next_text()).collect()
}

#[test]
fn a_users_message_goes_to_all_connections_of_the_user_and_to_nobody_else() {
    let server = server(Relay::User);
    let mut ada: Vec<Client> = (0..4).map(|_| server.connect_as("ada")).collect();
    let mut bob = server.connect_as("bob");
    ada[1].text("{\"n\": 1}");
    ada.iter_mut().for_each(|client| client.expect_text("{\"n\": 1}"));
    bob.expect_silence(GLANCE);
    let stats = server.engine.stats();
    assert_eq!((stats.messages.received, stats.messages.relayed, stats.messages.sent), (1, 1, 4));
}

#[test]
fn what_goes_back_to_its_only_sender_is_kept_as_well_as_what_others_get() {
    let history = HistoryConfig { users: Some(DEFAULT_BOUNDS), ..HistoryConfig::default() };
    let server = Server::start(Config { history, ..config() });
    let mut alone = server.connect_as("ada");
    alone.text("1");
    alone.expect_text("1");
    let mut other = server.connect_as("ada");
    other.text("2");
    [&mut alone, &mut other].into_iter().for_each(|client| client.expect_text("2"));
    let page = match server.engine.history(Topic::User("ada"), None, 10) {
        Ok(Reply::Now(Answer::History(page))) => page,
        other => panic!("{other:?}"),
    };
    let kept: Vec<&[u8]> = page.messages.iter().map(|message| &*message.payload).collect();
    assert_eq!(kept, [b"1", b"2"]);
}

#[test]
fn all_devices_of_a_user_see_the_messages_of_two_senders_in_one_order() {
    const EACH: usize = 2000;
    let server = server(Relay::User);
    let mut receivers: Vec<Client> = (0..3).map(|_| server.connect_as("ada")).collect();
    let mut senders: Vec<Client> = (0..2).map(|_| server.connect_as("ada")).collect();
    let seen: Vec<Vec<String>> = std::thread::scope(|scope| {
        for (name, sender) in senders.iter_mut().enumerate() {
            scope.spawn(move || {
                let mut reader = Client::new(sender.socket.try_clone().unwrap());
                let own = std::thread::spawn(move || texts(&mut reader, 2 * EACH).len());
                (0..EACH).for_each(|n| sender.text(&format!("[{name},{n}]")));
                assert_eq!(own.join().unwrap(), 2 * EACH);
            });
        }
        let readers: Vec<_> =
            receivers.iter_mut().map(|client| scope.spawn(|| texts(client, 2 * EACH))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert_eq!(seen[0].iter().collect::<BTreeSet<_>>().len(), 2 * EACH, "everything once");
    assert!(seen[0] == seen[1] && seen[1] == seen[2], "in one order");
    for name in 0..2 {
        let own: Vec<&String> = seen[0].iter().filter(|text| text.starts_with(&format!("[{name}"))).collect();
        assert!(
            own.iter().enumerate().all(|(n, text)| **text == format!("[{name},{n}]")),
            "as they were sent"
        );
    }
}

#[test]
fn a_device_that_comes_while_another_talks_misses_nothing_from_its_first_moment_on() {
    const ROUNDS: usize = 20;
    let server = server(Relay::User);
    let mut talker = server.connect_as("ada");
    for round in 0..ROUNDS {
        std::thread::scope(|scope| {
            let mut listener = Client::new(talker.socket.try_clone().unwrap());
            let late = scope.spawn(|| server.connect_as("ada"));
            let mut last = 0;
            // In bursts, so that some is read together and some alone.
            while !late.is_finished() || last < 50 {
                let burst: Vec<u8> =
                    (0..7).flat_map(|n| frame(TEXT, format!("[{round},{}]", last + n).as_bytes())).collect();
                talker.send(&burst);
                (last..last + 7).for_each(|n| listener.expect_text(&format!("[{round},{n}]")));
                last += 7;
            }
            let late: &mut Client = &mut late.join().unwrap();
            talker.text("\"connected\"");
            listener.expect_text("\"connected\"");
            let first = late.next_text();
            if first != "\"connected\"" {
                let n: usize = first.trim_matches(['[', ']']).rsplit(',').next().unwrap().parse().unwrap();
                (n + 1..last).for_each(|n| late.expect_text(&format!("[{round},{n}]")));
                late.expect_text("\"connected\"");
            }
            late.send(&frame(CLOSE, b""));
            late.expect(CLOSE, b"");
            late.expect_end();
        });
    }
}

#[test]
fn echoes_and_refusals_of_one_read_are_answered_in_the_order_of_the_messages() {
    let server = server(Relay::User);
    let mut client = server.connect();
    let batch = [
        frame(TEXT, b"[1]"),
        frame(TEXT, b"[2]"),
        frame(TEXT, b"no JSON"),
        frame(TEXT, b"[3]"),
        frame(BINARY, b"[4]"),
        frame(TEXT, &[b"\"", &[b'5'; 70_000][..], b"\""].concat()),
        frame(PING, b"six"),
        frame(TEXT, b"[7]"),
    ];
    for cut in [batch.concat().len(), 1, 9, 4000] {
        batch.concat().chunks(cut.max(70)).for_each(|part| client.send(part));
        client.expect_text("[1]");
        client.expect_text("[2]");
        assert!(client.next_text().contains("ERR_INVALID_JSON"));
        client.expect_text("[3]");
        assert!(client.next_text().contains("ERR_BINARY_NOT_RELAYED"));
        assert_eq!(client.next_text().len(), 70_002);
        client.expect(PONG, b"six");
        client.expect_text("[7]");
    }
}

#[test]
fn what_a_client_does_not_take_of_its_own_echoes_waits_and_comes_in_order() {
    const COUNT: usize = 20_000;
    let server = Server::start(Config {
        relay: Relay::User,
        limits: Limits { outbox_bytes: 1 << 30, ..config().limits },
        ..config()
    });
    let mut client = server.connect();
    let padding = "x".repeat(500);
    let text = |n: usize| format!("[{n},\"{padding}\"]");
    let sent = server.engine.stats().messages.sent;
    // More than the kernel takes for a reader that does not read.
    (0..COUNT).for_each(|n| client.text(&text(n)));
    (0..COUNT).for_each(|n| client.expect_text(&text(n)));
    // Counted after the kernel has taken them, which may be after the client has read them.
    eventually("all to be counted", || server.engine.stats().messages.sent - sent == COUNT as u64);
    eventually("nothing to be left", || client.handle().buffered() == 0);
}

/// The frames of one of many clients in one round, beginning with a number of its own, and their answers.
fn monologue(n: usize, round: usize) -> (Vec<u8>, Vec<Got>) {
    let said = format!("[{n},{round},\"{}\"]", "x".repeat((n * 7 + round * 13) % 300)).into_bytes();
    let mut frames = frame(TEXT, &said).repeat(1 + n % 3);
    let mut answers = vec![Got::Frame(TEXT, said); 1 + n % 3];
    match (n + round) % 8 {
        0 => {
            frames.extend(frame(TEXT, b"no JSON"));
            answers.push(Got::Frame(TEXT, INVALID_JSON.into()));
        }
        1 => {
            frames.extend(frame(PING, b"there?"));
            answers.push(Got::Frame(PONG, b"there?".into()));
        }
        _ => {}
    }
    frames.extend(frame(TEXT, b"\"end\""));
    answers.push(Got::Frame(TEXT, b"\"end\"".into()));
    (frames, answers)
}

const INVALID_JSON: &str = r#"{"error":{"code":"ERR_INVALID_JSON","message":"the message is not JSON"}}"#;

#[test]
fn what_many_clients_say_to_themselves_at_once_comes_back_to_each_as_it_was_said() {
    const ROUNDS: usize = 30;
    for read_buffer_bytes in [16, 700, 64 << 10] {
        let limits = Limits { read_buffer_bytes, outbox_bytes: 1 << 30, ..config().limits };
        let server = Server::start(Config { relay: Relay::User, threads: 1, limits, ..config() });
        let mut clients: Vec<(usize, Client)> = (0..48).map(|n| (n, server.connect())).collect();
        let mut late = server.connect();
        let done: [AtomicBool; 4] = Default::default();
        std::thread::scope(|scope| {
            for (clients, done) in clients.chunks_mut(12).zip(&done) {
                scope.spawn(move || {
                    let _done = SetOnDrop(done);
                    let mut pushed = [0; 48];
                    for round in 0..ROUNDS {
                        for (n, client) in clients.iter_mut() {
                            client.send(&monologue(*n, round).0);
                        }
                        for (n, client) in clients.iter_mut() {
                            for answer in monologue(*n, round).1 {
                                let mut got = client.next_said();
                                // The embedder's messages come in between, in their own order.
                                while let Got::Frame(BINARY, number) = &got {
                                    let number = u32::from_be_bytes(number[..].try_into().unwrap());
                                    assert!(number > std::mem::replace(&mut pushed[*n], number));
                                    got = client.next_said();
                                }
                                assert_eq!(got, answer);
                            }
                        }
                    }
                });
            }
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                for number in 1_u32.. {
                    let number = number.to_be_bytes();
                    server.engine.deliver_local(Channel::Everyone, Message::Binary(&number)).unwrap();
                    if done.iter().all(|done| done.load(Ordering::Acquire)) {
                        return;
                    }
                }
            });
            // Nor does it harm them, or itself, that one among them does not read while it talks.
            let late = &mut late;
            scope.spawn(move || {
                (0..20_000).for_each(|n| late.text(&format!("[{n}]")));
                let mut texts = 0;
                while texts < 20_000 {
                    match late.next() {
                        Got::Frame(BINARY, _) => {}
                        got => {
                            assert_eq!(got, Got::Frame(TEXT, format!("[{texts}]").into()));
                            texts += 1;
                        }
                    }
                }
            });
        });
    }
}

#[test]
fn what_cannot_be_relayed_is_answered_with_an_error_frame_and_the_connection_stays() {
    for (relay, rooms) in [(Relay::User, &[][..]), (Relay::Rooms, &["lobby"])] {
        let server = server(relay);
        let mut other = server.open(Request::of("ada", rooms));
        let mut client = server.open(Request::of("ada", rooms));
        for text in ["", "hello", "{", "{\"a\":1}}", "'a'", "NaN", "\u{FEFF}1", "1 2"] {
            client.text(text);
            client.expect_error("ERR_INVALID_JSON");
        }
        client.binary(b"1");
        client.expect_error("ERR_BINARY_NOT_RELAYED");
        client.send(&[frame(0x02, b"1"), frame(0x80, b"2")].concat());
        client.expect_error("ERR_BINARY_NOT_RELAYED");
        for text in ["1", " null ", "\"\\u0000\"", "[{}]", "{\"a\":{\"a\":[1e400]}}"] {
            client.text(text);
            client.expect_text(text);
            other.expect_text(text);
        }
        assert_eq!(server.engine.stats().messages.not_relayed, 10);
    }
}

#[test]
fn json_that_is_nested_deeper_than_128_levels_is_not_relayed() {
    let server = server(Relay::User);
    let mut client = server.connect();
    let nested = |levels| ["[".repeat(levels), "]".repeat(levels)].concat();
    client.text(&"[".repeat(500_000));
    client.expect_error("ERR_INVALID_JSON");
    for levels in [129, 100_000] {
        client.text(&nested(levels));
        let refusal = client.next_text();
        assert!(refusal.contains("ERR_INVALID_JSON") && refusal.contains("128"), "{refusal}");
    }
    client.text(&nested(128));
    client.expect_text(&nested(128));
}

#[test]
fn a_message_that_no_outbox_could_take_is_not_relayed() {
    let mut config = config();
    config.limits.outbox_bytes = 2000;
    let server = Server::start(config);
    let mut client = server.connect();
    let text = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
    client.text(&text(2001));
    client.expect_error("ERR_TOO_LARGE");
    client.text(&text(2000));
    client.expect_text(&text(2000));
    let error = server.engine.send(client.id(), Message::Text(&text(2001))).unwrap_err();
    assert_eq!(error.code(), "ERR_TOO_LARGE");
    assert!(server.engine.publish(Channel::Everyone, Message::Binary(&[0; 2001]), false).is_err());
}

#[test]
fn a_message_goes_to_everyone_in_the_senders_rooms() {
    let server = server(Relay::Rooms);
    let mut ada = server.open(Request::of("ada", &["red", "blue"]));
    let mut bob = server.open(Request::of("bob", &["red"]));
    let mut eve = server.open(Request::of("eve", &["green"]));
    let mut zoe = server.open(Request::of("zoe", &[]));
    bob.text("1");
    bob.expect_text("1");
    ada.expect_text("1");
    // Once per room that the sender is in.
    ada.text("2");
    bob.expect_text("2");
    assert_eq!(texts(&mut ada, 2), ["2", "2"]);
    zoe.text("3");
    zoe.expect_error("ERR_NOT_IN_ROOM");
    eve.expect_silence(GLANCE);
    assert_eq!(server.engine.stats().rooms, 3);
}

#[test]
fn joining_and_leaving_changes_who_gets_a_rooms_messages() {
    let server = server(Relay::Rooms);
    let mut ada = server.connect_as("ada");
    let mut bob = server.connect_as("bob");
    let room = "lobby".into();
    for _ in 0..2 {
        server.engine.join(ada.id(), &room).unwrap();
        server.engine.join(bob.id(), &room).unwrap();
    }
    ada.text("1");
    ada.expect_text("1");
    bob.expect_text("1");
    server.engine.leave(ada.id(), "lobby");
    server.engine.leave(ada.id(), "lobby");
    ada.text("2");
    ada.expect_error("ERR_NOT_IN_ROOM");
    assert_eq!(published(server.engine.publish(Channel::Room("lobby"), Message::Text("3"), false)).local, 1);
    bob.expect_text("3");
    assert_eq!(server.engine.rooms_of(bob.id()), std::slice::from_ref(&room));
    bob.close(1000, "");
    bob.expect_close(1000);
    assert_eq!(server.engine.members(Channel::Room("lobby")).len(), 0);
    assert_eq!(server.engine.stats().rooms, 0);
    server.engine.join(bob.id(), &room).unwrap();
    assert_eq!(server.engine.stats().rooms, 0, "who is gone joins nothing");
}

#[test]
fn without_a_relay_messages_go_nowhere_and_nothing_is_refused() {
    let server = server(Relay::Off);
    let mut client = server.connect_as("ada");
    let mut other = server.connect_as("ada");
    client.text("1");
    client.text("no JSON");
    client.binary(b"x");
    client.expect_alive();
    client.expect_silence(GLANCE);
    other.expect_silence(GLANCE);
    assert_eq!(server.engine.stats().messages.received, 3);
}
