//! Clients that relay more than their share: they are not read, and nobody else notices.

use std::any::Any;
use std::time::Duration;

use protocol::frame::Message;

use crate::broker::redis::{PubSub, RedisConfig, Routing};
use crate::engine::config::{Config, Relay};
use crate::events::Event;
use crate::events::broker_status::State;
use crate::outcome::{Reply, Status};
use crate::registry::recipients::Channel;
use crate::tests::client::{Client, TEXT, frame};
use crate::tests::harness::{Inbox, PATIENCE, Request, Server, eventually};
use crate::tests::redis_rig::{RedisServer, Tap, with, with_redis};

mod leavers;

/// Units that one client may have unanswered while nobody else has anything, and that all may: see `intake`.
const ALONE: u64 = 227;
const ROOM: u64 = 2048;

/// A configuration with which a Redis that stands still is not given up.
fn patient(redis: &RedisServer) -> RedisConfig {
    RedisConfig { command_timeout: Duration::from_secs(60), ..with_redis(&redis.url()).redis }
}

fn pending(server: &Server) -> u64 {
    server.engine.stats().broker.counts.pending
}

/// Texts with numbers, one frame each.
fn numbered(numbers: std::ops::Range<u32>) -> Vec<u8> {
    numbers.flat_map(|number| frame(0x81, number.to_string().as_bytes())).collect()
}

fn expect_numbers(client: &mut Client, numbers: std::ops::Range<u32>) {
    numbers.for_each(|number| client.expect_text(&number.to_string()));
}

/// Every connection has had turns: a ping is answered by each worker.
fn expect_turns(others: &mut [Client]) {
    for _ in 0..5 {
        others.iter_mut().for_each(Client::expect_alive);
    }
}

#[test]
fn a_client_that_relays_flat_out_is_not_read_beyond_its_window() {
    let redis = RedisServer::start();
    let server = Server::start_up(with(patient(&redis)));
    let mut others = [server.connect(), server.connect()];
    let mut flooder = server.connect();
    redis.stop();
    flooder.send(&numbered(0..5000));
    eventually("its window to be full", || pending(&server) >= ALONE);
    expect_turns(&mut others);
    assert_eq!(pending(&server), ALONE);
    assert_eq!(server.engine.stats().messages.received, ALONE);
    redis.resume();
    expect_numbers(&mut flooder, 0..5000);
    // Its window is empty again, and it is as quick as ever.
    flooder.text("{}");
    flooder.expect_text("{}");
    eventually("everything to be answered", || pending(&server) == 0);
}

#[test]
fn a_message_counts_as_often_as_it_is_published_and_as_much_as_it_weighs() {
    let redis = RedisServer::start();
    let rooms: Vec<String> = (0..50).map(|n| format!("room-{n}")).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let server = Server::start_up(Config { relay: Relay::Rooms, ..with(patient(&redis)) });
    let mut others = [server.connect(), server.connect()];
    let mut flooder = server.open(Request::of("eve", &rooms));
    redis.stop();
    flooder.send(&numbered(0..100));
    eventually("its window to be full", || pending(&server) >= ALONE);
    expect_turns(&mut others);
    assert_eq!(pending(&server), 250, "five messages to fifty rooms");
    redis.resume();
    (0..100 * 50).for_each(|n| flooder.expect_text(&(n / 50).to_string()));

    let server = Server::start_up(with(patient(&redis)));
    let mut others = [server.connect(), server.connect()];
    let mut flooder = server.connect();
    redis.stop();
    let text = format!("\"{}\"", "x".repeat(60_000));
    let texts = frame(0x81, text.as_bytes()).repeat(10);
    flooder.send(&texts);
    eventually("its window to be full", || pending(&server) >= 4);
    expect_turns(&mut others);
    assert_eq!(pending(&server), 4, "of 59 units each");
    redis.resume();
    (0..10).for_each(|_| flooder.expect_text(&text));
}

#[test]
fn a_large_message_to_many_rooms_goes_out_as_redis_takes_it_and_reaches_all() {
    const ROOMS: usize = 60;
    let redis = RedisServer::start();
    let rooms: Vec<String> = (0..ROOMS).map(|n| format!("room-{n}")).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let with = with(RedisConfig { pending_bytes: 1 << 20, ..patient(&redis) });
    let mut config = Config { relay: Relay::Rooms, ..with };
    config.limits.outbox_bytes = 16 << 20;
    let server = Server::start_up(config);
    let mut others = [server.connect(), server.connect()];
    let mut flooder = server.open(Request::of("eve", &["flood"]));
    let mut sender = server.open(Request::of("ada", &rooms));
    let text = format!("\"{}\"", "x".repeat(60_000));
    for _ in 0..5 {
        redis.stop();
        sender.send(&frame(TEXT, text.as_bytes()));
        // Half of what may wait for Redis.
        eventually("as much to be under way as may be", || pending(&server) == (512 << 10) / 60_000 + 1);
        // It is woken for each byte, and still stands in line once.
        for byte in frame(TEXT, b"1") {
            sender.send(&[byte]);
            std::thread::park_timeout(Duration::from_millis(2));
        }
        redis.resume();
        (0..ROOMS).for_each(|_| sender.expect_text(&text));
        (0..ROOMS).for_each(|_| sender.expect_text("1"));
        eventually("everything to be answered", || pending(&server) == 0);
    }
    assert_eq!(server.engine.stats().messages.not_relayed, 0);
    // All of the room is there for others.
    redis.stop();
    flooder.send(&numbered(0..1000));
    eventually("its window to be full", || pending(&server) >= ALONE);
    expect_turns(&mut others);
    assert_eq!(pending(&server), ALONE);
    redis.resume();
    expect_numbers(&mut flooder, 0..1000);
}

#[test]
fn windows_shrink_as_more_clients_relay_and_a_quiet_ones_message_still_passes() {
    let redis = RedisServer::start();
    let server = Server::start_up(with(patient(&redis)));
    let mut quiet = server.connect();
    let mut others = [server.connect(), server.connect()];
    let mut flooders: Vec<_> = (0..100).map(|_| server.connect()).collect();
    redis.stop();
    flooders.iter_mut().for_each(|flooder| flooder.send(&numbered(0..500)));
    eventually("the room to be used up", || pending(&server) >= ROOM / 2);
    expect_turns(&mut others);
    let before = pending(&server);
    // The first to come have more, the last have the least that everybody has.
    assert!((ROOM / 2..ROOM + 100 * 8).contains(&before), "{before} of 50,000");
    quiet.text("\"quiet\"");
    eventually("its message to be taken in", || pending(&server) == before + 1);
    redis.resume();
    quiet.expect_text("\"quiet\"");
    for flooder in &mut flooders {
        expect_numbers(flooder, 0..500);
    }
    assert_eq!(server.engine.stats().messages.not_relayed, 0);
}

#[test]
fn large_messages_of_many_take_turns_and_the_room_holds() {
    let redis = RedisServer::start();
    let server = Server::start_up(with(patient(&redis)));
    let text = format!("\"{}\"", "x".repeat(60_000));
    let texts = frame(0x81, text.as_bytes()).repeat(6);
    let mut others = [server.connect(), server.connect()];
    let mut flooders: Vec<_> = (0..60).map(|_| server.connect()).collect();
    redis.stop();
    flooders.iter_mut().for_each(|flooder| assert!(flooder.try_send(&texts)));
    eventually("all to be in", || pending(&server) >= 60);
    expect_turns(&mut others);
    // One message always fits, and those that came early got a second one.
    assert!(pending(&server) < 100, "{}", pending(&server));
    redis.resume();
    for flooder in &mut flooders {
        (0..6).for_each(|_| flooder.expect_text(&text));
    }
    eventually("everything to be answered", || pending(&server) == 0);
}

#[test]
fn the_application_still_publishes_while_clients_use_up_their_share() {
    let redis = RedisServer::start();
    let server = Server::start_up(with(RedisConfig { pending_bytes: 64 << 10, ..patient(&redis) }));
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    redis.stop();
    let text = format!("\"{}\"", "x".repeat(5000));
    let texts = frame(0x81, text.as_bytes()).repeat(3);
    clients.iter_mut().for_each(|client| client.send(&texts));
    let bytes = || server.engine.stats().broker.counts.pending_bytes;
    eventually("their share to be used up", || bytes() >= 32 << 10);
    assert!(bytes() < 48 << 10, "{} bytes", bytes());
    let publish = || server.engine.publish(Channel::User("nobody"), Message::Text("x"), false);
    let replies: Vec<_> = (0..50).map(|_| publish()).collect();
    assert!(replies.iter().all(|reply| matches!(reply, Ok(Reply::Later(_)))), "{replies:?}");
    redis.resume();
    for reply in replies {
        assert_eq!(server.delivery(reply).status, Status::Published);
    }
    for client in &mut clients {
        (0..3).for_each(|_| client.expect_text(&text));
    }
    assert_eq!(server.engine.stats().messages.not_relayed, 0, "nobody was told of an overload");
}

#[test]
fn what_waits_in_line_goes_on_when_the_link_is_lost() {
    let mut redis = RedisServer::start();
    let server = Server::start_up(with(patient(&redis)));
    let mut flooder = server.connect();
    redis.stop();
    flooder.send(&numbered(0..1000));
    eventually("its window to be full", || pending(&server) >= ALONE);
    redis.kill();
    server.broker("the broker to be down", |status| status.state == State::Down);
    // Those that were written are uncertain, the others are served here: each has an answer.
    let (mut errors, mut texts) = (0, Vec::new());
    while errors < 1000 {
        match flooder.next_text().parse::<u32>() {
            Ok(number) => texts.push(number),
            Err(_) => errors += 1,
        }
    }
    assert!(texts.is_sorted() && texts.last() == Some(&999), "{texts:?}");
    assert_eq!(pending(&server), 0);
}

#[test]
fn redis_never_cuts_a_link_for_its_output_buffer() {
    const MESSAGE: usize = 1 << 20;
    let redis = RedisServer::with(&["client-output-buffer-limit pubsub 8mb 8mb 1"]);
    let inbox = Inbox::default();
    let config = RedisConfig { pending_bytes: 256 << 20, ..patient(&redis) };
    let core = PubSub::start(config, inbox.notify()).unwrap();
    let event = |pick: &dyn Fn(&Event) -> bool| {
        let found = inbox.event_within(|| core.drain(256), PATIENCE, |event| pick(event).then_some(()));
        found.expect("waited in vain for an event");
    };
    for reply in [Ok(core.ready()), core.subscribe("news")] {
        if let Ok(Reply::Later(asked)) = reply {
            event(&|event| matches!(event, Event::Settled { ticket, .. } if *ticket == asked));
        }
    }
    // It takes nothing, and is no longer read beyond 32 MiB: the rest would wait in Redis.
    let payload = vec![b'x'; MESSAGE];
    let tickets: Vec<_> = (0..80).map(|_| core.publish("news", &payload)).collect();
    let published = || {
        let stats: String = redis.ask(&["INFO", "commandstats"]);
        let calls = stats.split_once("cmdstat_publish:calls=").and_then(|(_, rest)| rest.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    };
    let (mut last, mut same) = (0, 0);
    eventually("nothing to move any more", || {
        let now: u64 = published();
        same = if now > 32 && now == last { same + 1 } else { 0 };
        last = now;
        same == 50
    });
    assert_eq!(core.status().state, State::Up);
    for (number, ticket) in tickets.into_iter().enumerate() {
        let Ok(Reply::Later(ticket)) = ticket else { panic!("{ticket:?}") };
        event(&|event| matches!(event, Event::Channel { payload, .. } if payload.len() == MESSAGE));
        event(&|event| match event {
            Event::Settled { ticket: settled, result } if *settled == ticket => {
                assert!(result.is_ok(), "{number}: {result:?}");
                true
            }
            _ => false,
        });
    }
    core.abort();
}

#[test]
fn many_connections_of_a_user_get_what_is_said_on_another_server_whole_in_order_and_before_their_end() {
    let redis = RedisServer::start();
    for routing in [Routing::User, Routing::Shared] {
        let server = || Server::start_up(with(RedisConfig { routing, ..patient(&redis) }));
        let (one, two) = (server(), server());
        let mut flooder = one.connect_as("ada");
        let mut others: Vec<_> = (0..20).map(|_| two.connect_as("ada")).collect();
        flooder.send(&numbered(0..3000));
        expect_numbers(&mut flooder, 0..3000);
        // Behind each other on one link, and what the first says is gathered.
        let last = one.engine.publish(Channel::User("ada"), Message::Text("3000"), false);
        let end = one.engine.disconnect_user("ada", 4001, "enough", false);
        assert_eq!(one.delivery(last).status, Status::Published);
        assert_eq!(one.delivery(end).status, Status::Published);
        for other in &mut others {
            expect_numbers(other, 0..3001);
            assert_eq!(other.expect_close(4001), "enough");
        }
    }
}

#[test]
fn a_dead_links_backlog_is_given_up_in_slices() {
    const MANY: usize = 100_000;
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let config = RedisConfig { command_timeout: Duration::from_secs(60), ..with_redis(&tap.url()).redis };
    let server = Server::start_up(Config { threads: 1, ..with(config) });
    let mut other = server.connect();
    tap.stall();
    let publish = |_| server.engine.publish(Channel::User("nobody"), Message::Text("x"), false);
    let replies: Vec<_> = (0..MANY).map(publish).collect();
    tap.cut();
    eventually("it to begin", || pending(&server) < MANY as u64);
    let mut trips = 0;
    while pending(&server) > 0 {
        other.expect_alive();
        trips += 1;
    }
    assert!(trips >= 10, "{trips} round trips meanwhile");
    let statuses: Vec<_> = replies.into_iter().map(|reply| server.delivery(reply).status).collect();
    // The cut lets pass what the tap holds, so that the first ones may be answered.
    let rank = |status: &Status| match status {
        Status::Published => 0,
        Status::Uncertain => 1,
        Status::Local => 2,
    };
    assert!(statuses.is_sorted_by_key(rank), "in their order");
    let counts = server.engine.stats().broker.counts;
    assert_eq!(counts.published + counts.uncertain + counts.local, MANY as u64);
    assert_eq!(counts.pending_bytes, 0);
}

#[test]
fn what_is_published_while_a_backlog_is_given_up_comes_after_it() {
    const MANY: u32 = 20_000;
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let config = RedisConfig { command_timeout: Duration::from_secs(60), ..with_redis(&tap.url()).redis };
    let mut config = Config { threads: 1, ..with(config) };
    // Messages that are served here come at once.
    config.limits.outbox_bytes = 64 << 20;
    let server = Server::start_up(config);
    let mut ada = server.connect_as("ada");
    tap.stall();
    // More than the kernel and the tap hold, so that most of it is never written.
    let text = "x".repeat(1000);
    let publish = |number: u32| {
        let text = format!("{number} {text}");
        server.engine.publish(Channel::User("ada"), Message::Text(&text), false).unwrap()
    };
    let mut replies: Vec<_> = (0..MANY).map(publish).collect();
    tap.cut();
    let mut number = MANY;
    while pending(&server) > 0 {
        replies.push(publish(number));
        number += 1;
    }
    assert!(number > MANY + 100, "{} published meanwhile", number - MANY);
    let statuses: Vec<_> = replies.into_iter().map(|reply| server.delivery(Ok(reply)).status).collect();
    assert_eq!(statuses.last(), Some(&Status::Local));
    // An uncertain one may have come, but late.
    let mut got = std::iter::repeat_with(|| ada.next_text().split(' ').next().unwrap().parse().unwrap());
    for number in (0..number).filter(|number| statuses[*number as usize] == Status::Local) {
        let next = got.by_ref().find(|number: &u32| statuses[*number as usize] == Status::Local);
        assert_eq!(next, Some(number));
    }
}
