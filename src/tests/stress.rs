//! Everything at once, at random, for a few seconds: no panic, no deadlock, nothing left.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use codes::error::Code;
use parking_lot::Mutex;
use protocol::frame::Message;

use super::client::{BINARY, CLOSE, Client, Got, PING, TEXT, close_payload, frame};
use super::harness::{Request, Server, SetOnDrop, config, identity};
use crate::engine::config::{Auth, Config, Relay};
use crate::engine::denial;
use crate::events::{Event, Interest};
use crate::registry::recipients::Channel;
use crate::worker::bridge::{Bridge, BridgeId, Signal};
use crate::worker::handle::Handle;
use crate::worker::heartbeat::Heartbeat;

const TIME: Duration = Duration::from_secs(3);
const USERS: [&str; 3] = ["ada", "bob", "eve"];
const ROOMS: [&str; 2] = ["red", "blue"];

/// Random numbers that come again with the same seed (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }
}

/// A client's life: connects, says things right and wrong, and leaves in one way or another.
fn live(server: &Server, dice: &mut Dice) {
    let user = dice.pick(&USERS);
    let rooms = &ROOMS[..dice.roll(3)];
    let known = dice.roll(3) > 0;
    let early = if dice.roll(4) == 0 { frame(TEXT, b"\"early\"") } else { Vec::new() };
    let taken = dice.roll(early.len() + 1);
    let request =
        Request { early, taken, identity: known.then(|| identity(user, rooms)), ..Request::default() };
    let (mut client, ticket) = server.request(request);
    let Ok(ticket) = ticket else { return };
    if ticket.ask {
        let answer = if dice.roll(4) == 0 {
            Err(denial(Code::Unauthorized))
        } else {
            Ok(identity(user, rooms).into())
        };
        match dice.roll(10) {
            0 => return,
            1 => return client.reset(),
            _ => drop(server.engine.settle(ticket.number, answer)),
        }
    }
    if client.response().status != 101 {
        return;
    }
    for _ in 0..dice.roll(30) {
        let bytes = match dice.roll(12) {
            0 => frame(PING, b"p"),
            1 => frame(BINARY, &vec![0; dice.roll(5000)]),
            2 => [frame(0x01, b"\"a"), frame(PING, b""), frame(0x80, b"b\"")].concat(),
            3 => frame(TEXT, b"no JSON"),
            4 => frame(TEXT, format!("\"{}\"", "x".repeat(dice.roll(20_000))).as_bytes()),
            5 => frame(TEXT, b"1").repeat(dice.roll(200)),
            _ => frame(TEXT, format!("[{}]", dice.roll(1000)).as_bytes()),
        };
        let cut = dice.roll(bytes.len() + 1);
        if !client.try_send(&bytes[..cut]) || !client.try_send(&bytes[cut..]) {
            break;
        }
        if dice.roll(2) == 0
            && !matches!(client.next_within(Duration::from_millis(5)), Some(Got::Frame(..)) | None)
        {
            return;
        }
    }
    match dice.roll(6) {
        0 => client.reset(),
        1 => drop(client),
        2 => {
            client.try_send(&frame(0x83, b""));
            read_out(client);
        }
        3 => {
            let _ = client.socket.shutdown(std::net::Shutdown::Write);
            read_out(client);
        }
        _ => {
            client.try_send(&frame(CLOSE, &close_payload(3000, "")));
            read_out(client);
        }
    }
}

/// Bridges whose bytes the draining thread carries.
type Bridges = Mutex<HashMap<BridgeId, Arc<Bridge>>>;

/// The life of a client whose bytes are carried.
fn live_over_a_bridge(server: &Server, bridges: &Bridges, dice: &mut Dice) {
    let known = dice.roll(2) == 0;
    let request =
        Request { identity: known.then(|| identity(dice.pick(&USERS), &ROOMS)), ..Request::default() };
    let Some((bridge, ticket)) = server.try_bridge(&request) else { return };
    bridges.lock().insert(bridge.id(), bridge.clone());
    if ticket.ask && dice.roll(8) > 0 {
        server.engine.settle(ticket.number, Ok(identity(dice.pick(&USERS), &ROOMS).into()));
    }
    for _ in 0..dice.roll(30) {
        let bytes = frame(TEXT, format!("\"{}\"", "x".repeat(dice.roll(3000))).as_bytes());
        let cut = dice.roll(bytes.len() + 1);
        if !bridge.feed(&bytes[..cut]) || !bridge.feed(&bytes[cut..]) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    match dice.roll(4) {
        0 => bridge.abort(),
        1 => bridge.end(),
        2 => drop(bridge.feed(&frame(CLOSE, &close_payload(3000, "")))),
        _ => drop(bridge.feed(&frame(0x83, b""))),
    }
}

/// Node's work for bridges.
fn carry(bridges: &Bridges, event: &Event) {
    match event {
        Event::Bridge { id, signal: Signal::Readable } => {
            if let Some(bridge) = bridges.lock().get(id) {
                while bridge.take().is_some() {
                    bridge.ack();
                }
            }
        }
        Event::Bridge { id, signal: Signal::Question } => {
            if let Some(bridge) = bridges.lock().get(id) {
                bridge.answer();
            }
        }
        Event::Bridge { id, signal: Signal::End { .. } } => {
            let bridge = bridges.lock().remove(id);
            bridge.into_iter().for_each(|bridge| bridge.abort());
        }
        _ => {}
    }
}

/// Reads to the end, which has to come.
fn read_out(mut client: Client) {
    while let Got::Frame(first, _) = client.next() {
        if first == CLOSE {
            client.try_send(&frame(CLOSE, b""));
        }
    }
}

/// Does a thing that an embedder may do at any time.
fn meddle(server: &Server, dice: &mut Dice) {
    let engine = &server.engine;
    let text = "x".repeat(dice.pick(&[1, 100, 1024, 1025, 50_000]));
    let message = if dice.roll(2) == 0 { Message::Text(&text) } else { Message::Binary(text.as_bytes()) };
    let user = Channel::User(dice.pick(&USERS));
    let room = Channel::Room(dice.pick(&ROOMS));
    let channel = dice.pick(&[user, room, Channel::Everyone]);
    let members = engine.members(channel);
    let one: Option<&Arc<Handle>> = (!members.is_empty()).then(|| &members[dice.roll(members.len())]);
    match (dice.roll(40), one) {
        // Errors tell of a shutdown.
        (0..10, _) => drop(engine.publish(channel, message, false)),
        (10..15, _) => drop(engine.deliver_local(channel, message)),
        (15..25, Some(one)) => drop(engine.send(one.id, message).unwrap()),
        (25..30, Some(one)) => engine.join(one.id, &dice.pick(&ROOMS).into()).unwrap(),
        (30..34, Some(one)) => engine.leave(one.id, dice.pick(&ROOMS)),
        (34, Some(one)) => one.close(4321, "enough"),
        (35..37, Some(one)) => drop(engine.rooms_of(one.id)),
        (37, _) if dice.roll(20) == 0 => drop(engine.disconnect_user(dice.pick(&USERS), 4002, "", false)),
        (38, _) => {
            engine.set_interest(dice.pick(&[Interest::ALL, Interest::ALL, Interest(0), Interest::SLOW]))
        }
        _ => drop((engine.stats(), engine.users(), engine.len(), engine.user_count())),
    }
}

#[test]
fn a_few_seconds_of_everything_leave_nothing_behind() {
    // Threads meet differently every time anyhow; the seed tells at least what they were up to.
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    println!("seed {seed}");
    for (relay, shutdown) in [(Relay::User, false), (Relay::Rooms, true)] {
        everything(relay, shutdown, seed);
    }
}

fn everything(relay: Relay, shutdown: bool, seed: u64) {
    let heartbeat = Heartbeat { interval: Duration::from_millis(100), timeout: Duration::from_millis(200) };
    let mut config = Config { relay, heartbeat, auth: Auth::Callback, threads: 3, ..config() };
    config.limits.close_timeout = Duration::from_millis(200);
    config.limits.handshake_timeout = Duration::from_millis(200);
    config.limits.event_bytes_per_connection = 2048;
    config.limits.event_bytes = 64 * 1024;
    config.limits.outbox_bytes = 256 * 1024;
    config.limits.read_buffer_bytes = 5000;
    let server = Server::start(config);
    server.engine.set_interest(Interest::ALL);
    let end = Instant::now() + TIME;
    let goes_on = || Instant::now() < end;
    let lives = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let closed = AtomicBool::new(false);
    let bridges = Bridges::default();
    std::thread::scope(|scope| {
        let dice = |n: u64| Dice(seed ^ (n.wrapping_mul(0x1234_5678_9ABC_DEF1) | 1));
        let clients: Vec<_> = (0..8)
            .map(|n| {
                let mut dice = dice(n);
                let (server, lives, bridges) = (&server, &lives, &bridges);
                scope.spawn(move || {
                    while goes_on() {
                        if dice.roll(5) == 0 {
                            live_over_a_bridge(server, bridges, &mut dice);
                        } else {
                            live(server, &mut dice);
                        }
                        lives.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for n in 10..12 {
            let mut dice = dice(n);
            let server = &server;
            scope.spawn(move || {
                while goes_on() {
                    meddle(server, &mut dice);
                    if dice.roll(8) == 0 {
                        std::thread::park_timeout(Duration::from_millis(1));
                    }
                }
            });
        }
        // Drains in batches of all sizes, and sometimes rests.
        let mut dice = dice(20);
        let (server, done, bridges, closed) = (&server, &done, &bridges, &closed);
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                let batch = server.engine.drain(1 + dice.roll(300));
                batch.iter().for_each(|event| carry(bridges, event));
                closed.fetch_or(batch.iter().any(|event| matches!(event, Event::Closed)), Ordering::Relaxed);
                server.engine.flush();
                if batch.is_empty() || dice.roll(50) == 0 {
                    std::thread::park_timeout(Duration::from_millis(1 + dice.roll(10) as u64));
                }
            }
        });
        let _done = SetOnDrop(done);
        if shutdown {
            while Instant::now() < end - TIME / 3 {
                std::thread::park_timeout(TIME / 30);
            }
            server.engine.shutdown(TIME / 10, 1001, "");
        }
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    assert!(lives.load(Ordering::Relaxed) > 50, "{lives:?} lives in {TIME:?}");
    server.engine.set_interest(Interest::DISCONNECT);
    if !closed.load(Ordering::Relaxed) {
        if !shutdown {
            server.drop_events();
            server.expect_empty();
            server.engine.shutdown(Duration::ZERO, 1001, "");
        }
        server.expect_closed();
    }
    let stats = server.engine.stats();
    assert_eq!(stats.connections + stats.users + stats.rooms + stats.handshakes, 0);
}
