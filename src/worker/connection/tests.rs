#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use codes::close::{self, ClosedBy};
use protocol::frame::Message;
use tokio::runtime::Builder;

use super::*;
use crate::engine::Engine;
use crate::engine::config::{Auth, Config, Relay};
use crate::events::{Event, Interest};
use crate::worker::application::Application as _;
use crate::worker::connections::Care;
use crate::worker::handle::{Peer, Pushed};
use crate::worker::outgoing::{Encoding, Outgoing, Stamps};
use crate::worker::poller::{Poller, Readiness};
use crate::worker::scheduler;
use crate::worker::socket::Taken;

/// A text frame with `1`, masked with zeros.
const ONE: &[u8] = &[0x81, 0x81, 0, 0, 0, 0, b'1'];
/// `limits.maxConnections`.
const SEATS: usize = 8;

/// A connection that has its turns when a test says so.
struct Scene {
    connection: Connection,
    client: UnixStream,
    /// In all of its rooms.
    witness: Arc<Handle>,
    engine: Engine,
    worker: Rc<Worker>,
}

/// Runs a test with a connection that is in so many rooms, as on a worker of its own.
fn in_rooms(rooms: usize, test: impl FnOnce(Scene)) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut config = Config { threads: 1, relay: Relay::Rooms, ..Config::new(Auth::Anonymous) };
    config.limits.max_connections = SEATS;
    let engine = Engine::start(config, Box::new(|| {})).unwrap();
    let shared = engine.shared();
    let limits = shared.config.limits;
    let care = Care { heartbeat: Default::default(), message_timeout: limits.message_timeout };
    let worker = Worker::new(Arc::new(Inbox::new(usize::MAX, shared.memory.clone(), limits)), care);
    let _is_worker = worker.enter();
    let _poller = Poller::new().unwrap().watch_for(&worker);
    let [handle, witness] = ["eve", "witness"].map(|user| {
        let inbox = worker.inbox.clone();
        let handle = Arc::new(Handle::new(shared.next_id(), user.into(), Peer::default(), inbox));
        shared.registry.add(&handle);
        for room in 0..rooms {
            assert!(shared.registry.join(&handle, &format!("room {room}").into(), usize::MAX));
        }
        handle
    });
    let registration = Registration::begin(shared.clone(), handle, None);
    let (client, node) = UnixStream::pair().unwrap();
    node.set_nonblocking(true).unwrap();
    let socket = Taken::Native(node.into()).register(registration.token).unwrap();
    let connection = Connection::new(registration, socket, shared.limiter.enter().unwrap());
    test(Scene { connection, client, witness, engine, worker });
}

/// A message of 10,000 bytes and some.
fn text() -> String {
    format!("\"{}\"", "x".repeat(10_000))
}

fn frame() -> usize {
    Outgoing::new(Message::Text(&text()), Stamps::default()).frames(Encoding::Plain).wire_len()
}

impl Connection {
    /// Has a message of its client's relayed.
    fn relay(&mut self, text: &str, budget: &Budget) {
        let Registration { app, handle, .. } = &self.registration;
        app.on_message(handle, Message::Text(text), false, &mut self.relaying, budget);
    }

    fn held(&self) -> (usize, usize) {
        let Holding { waiting, unfinished } = self.holding();
        (waiting, unfinished)
    }
}

impl Scene {
    /// A turn. True if the connection is over.
    fn turn(&mut self, budget: &Budget) -> bool {
        self.connection.turn(budget, &self.worker)
    }

    /// Takes in such a message in a turn that has time for one room.
    fn begin(&mut self) {
        let budget = Budget::begin();
        scheduler::charge(1 << 20);
        let before = self.witness.buffered();
        self.connection.relay(&text(), &budget);
        assert_eq!(self.witness.buffered(), before + frame());
        let len = text().len();
        assert_eq!((self.connection.held(), self.counted()), ((0, len), (len, len)));
    }

    /// The client ends its direction, and the poller says so.
    fn leave(&mut self) {
        self.client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(self.connection.socket.notice(Readiness::LEFT));
    }

    fn counted(&self) -> (usize, usize) {
        let memory = &self.engine.shared().memory;
        (memory.used(), memory.unfinished())
    }
}

#[test]
fn a_message_on_its_way_to_many_rooms_counts_until_the_last_has_had_it() {
    in_rooms(3, |mut scene| {
        scene.begin();
        assert!(!scene.turn(&Budget::begin()));
        assert_eq!(scene.witness.buffered(), 3 * frame());
        assert_eq!((scene.connection.held(), scene.counted()), ((0, 0), (0, 0)));
        // Its worker is stopped.
        scene.begin();
        let memory = scene.engine.shared().memory.clone();
        drop(scene);
        assert_eq!((memory.used(), memory.unfinished()), (0, 0));
    });
}

#[test]
fn who_is_to_go_for_memory_gives_up_its_message_to_many_rooms() {
    in_rooms(3, |mut scene| {
        scene.begin();
        scene.connection.handle().evict();
        assert!(!scene.turn(&Budget::begin()));
        assert_eq!((scene.connection.held(), scene.counted()), ((0, 0), (0, 0)));
        let counters = &scene.connection.inbox().counters;
        assert_eq!((counters.messages_relayed.get(), counters.messages_not_relayed.get()), (0, 1));
        assert_eq!(scene.witness.buffered(), frame());
        let mut got = vec![0; frame() + 4];
        scene.client.read_exact(&mut got).unwrap();
        assert_eq!((got[frame()], &got[frame() + 2..]), (0x88, &close::TRY_AGAIN_LATER.to_be_bytes()[..]));
    });
}

#[test]
fn a_message_goes_to_all_of_many_rooms_if_a_write_to_its_sender_failed_before() {
    const ROOMS: usize = 10_000;
    in_rooms(ROOMS, |mut scene| {
        // `1`, masked with zeros.
        scene.client.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'1']).unwrap();
        scene.connection.handle().declare_lost();
        assert!(!scene.turn(&Budget::begin()));
        let first = scene.witness.buffered();
        assert!((1..3 * ROOMS).contains(&first), "{first} bytes after the first turn");
        while !scene.turn(&Budget::begin()) {}
        assert_eq!(scene.witness.buffered(), 3 * ROOMS);
    });
}

#[test]
fn a_message_to_many_rooms_is_stuck_if_a_second_passes_without_a_further_room() {
    in_rooms(3, |mut scene| {
        scene.begin();
        assert_eq!(scene.connection.stuck(), 0);
        scheduler::let_pass(1000);
        assert_eq!(scene.connection.stuck(), text().len());
        let budget = Budget::begin();
        scheduler::charge(1 << 20);
        let (shared, relaying) = (scene.engine.shared(), scene.connection.relaying.as_mut().unwrap());
        assert!(
            !shared.relay_on(&scene.connection.registration.handle, relaying, &budget),
            "there is one room more"
        );
        assert_eq!(scene.connection.stuck(), 0);
    });
}

#[test]
fn an_unfinished_message_is_stuck_if_no_more_of_it_comes_for_a_second() {
    in_rooms(1, |mut scene| {
        // More than half of a binary message of 10,000 bytes, masked with zeros: its buffer is as large as it will be.
        for part in [&[&[0x82, 0xFE, 0x27, 0x10][..], &[0; 4 + 5000]].concat()[..], b"x"] {
            scene.client.write_all(part).unwrap();
            scene.connection.socket.look_again();
            assert!(!scene.turn(&Budget::begin()));
        }
        let held = scene.counted().1;
        assert_eq!(held, 10_000);
        assert_eq!(scene.connection.stuck(), 0);
        scheduler::let_pass(1000);
        assert_eq!(scene.connection.stuck(), held);
        scene.client.write_all(b"x").unwrap();
        assert_eq!(scene.connection.stuck(), 0, "more of it lies there");
        scene.connection.socket.look_again();
        assert!(!scene.turn(&Budget::begin()));
        assert_eq!(scene.connection.stuck(), 0, "more of it was taken in");
        assert_eq!(scene.counted().1, held, "its buffer has not grown");
        scheduler::let_pass(1000);
        assert_eq!(scene.connection.stuck(), held);
    });
}

/// Takes all other seats, of which so many are of clients that have left.
fn crowd(engine: &Engine, left: usize) -> Vec<Permit> {
    let limiter = &engine.shared().limiter;
    let mut others: Vec<Permit> = (1..SEATS).map(|_| limiter.enter().unwrap()).collect();
    others[..left].iter_mut().for_each(|permit| _ = permit.outstays());
    others
}

#[test]
fn a_message_to_many_rooms_of_a_client_that_has_left_is_given_up_where_it_waits_and_the_seat_is_wanted() {
    for (wanted, waits) in [(false, false), (false, true), (true, false), (true, true)] {
        in_rooms(3, |mut scene| {
            let _others = crowd(&scene.engine, if wanted { SEATS / 4 } else { SEATS / 4 - 1 });
            scene.begin();
            scene.leave();
            if waits {
                scene.connection.handle().set_held();
            }
            let budget = Budget::begin();
            scheduler::charge(1 << 20);
            let given_up = wanted && waits;
            assert_eq!(scene.turn(&budget), given_up, "{wanted} {waits}");
            assert_eq!(scene.witness.buffered(), 2 * frame());
            if waits && !given_up {
                scene.connection.handle().call();
            }
            assert!(given_up || scene.turn(&Budget::begin()));
            assert_eq!(scene.witness.buffered(), if given_up { 2 } else { 3 } * frame());
            let counters = &scene.connection.inbox().counters;
            let counts = (counters.messages_relayed.get(), counters.messages_not_relayed.get());
            assert_eq!(counts, if given_up { (0, 1) } else { (1, 0) });
            assert_eq!((scene.connection.held(), scene.counted()), ((0, 0), (0, 0)));
        });
    }
}

#[test]
fn what_a_client_sent_before_it_left_is_heard_unless_it_waits_and_the_seat_is_wanted() {
    for (wanted, waits) in [(false, false), (false, true), (true, false), (true, true)] {
        in_rooms(1, |mut scene| {
            let _others = crowd(&scene.engine, if wanted { SEATS / 4 } else { SEATS / 4 - 1 });
            // `1` and `2`, masked with zeros.
            scene.client.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'1', 0x81, 0x81, 0, 0, 0, 0, b'2']).unwrap();
            scene.leave();
            if waits {
                scene.connection.handle().set_held();
            }
            let budget = Budget::begin();
            scheduler::charge(1 << 20);
            assert_eq!(scene.turn(&budget), wanted && waits, "{wanted} {waits}");
            assert_eq!(scene.witness.buffered(), if waits { 0 } else { 3 });
            if wanted && waits {
                return;
            }
            if waits {
                scene.connection.handle().call();
            }
            assert!(scene.turn(&Budget::begin()), "it ends once all is read");
            assert_eq!(scene.witness.buffered(), 6);
        });
    }
}

#[test]
fn a_client_that_has_left_is_let_go_before_its_turn_where_turns_are_late_and_the_seat_is_wanted() {
    for (wanted, late) in [(false, false), (false, true), (true, false), (true, true)] {
        in_rooms(1, |mut scene| {
            let _others = crowd(&scene.engine, if wanted { SEATS / 4 } else { SEATS / 4 - 1 });
            scene.leave();
            assert_eq!(scene.connection.outstays(late), wanted && late);
        });
    }
}

#[test]
fn a_client_that_has_left_waits_for_the_answer_to_its_last_message_unless_its_seat_is_wanted() {
    for wanted in [false, true] {
        in_rooms(1, |mut scene| {
            scene.engine.set_interest(Interest::MESSAGE);
            let _others = crowd(&scene.engine, if wanted { SEATS / 4 } else { SEATS / 4 - 1 });
            scene.client.write_all(ONE).unwrap();
            scene.leave();
            assert_eq!(scene.turn(&Budget::begin()), wanted);
            assert!(matches!(scene.engine.drain(256).front(), Some(Event::Text { .. })), "it is heard");
            if wanted {
                return;
            }
            assert_eq!(scene.connection.endpoint.phase(), Phase::Settling);
            assert!(scene.connection.handle().is_open(), "it may be answered");
            // JavaScript comes back for more.
            scene.engine.drain(256);
            assert!(scene.turn(&Budget::begin()));
        });
    }
}

#[test]
fn the_wait_for_an_answer_and_the_close_handshake_have_one_deadline() {
    in_rooms(1, |mut scene| {
        scene.engine.set_interest(Interest::MESSAGE);
        // Behind the message is a frame of an opcode that there is not.
        scene.client.write_all(&[ONE, &[0x83, 0x80, 0, 0, 0, 0]].concat()).unwrap();
        assert!(!scene.turn(&Budget::begin()));
        assert_eq!(scene.connection.endpoint.phase(), Phase::Settling);
        let deadline = |scene: &Scene| scene.connection.deadline.as_ref().unwrap().deadline();
        let first = deadline(&scene);
        scene.engine.drain(256);
        scene.engine.drain(256);
        assert!(!scene.turn(&Budget::begin()));
        assert_eq!((scene.connection.endpoint.phase(), deadline(&scene)), (Phase::HalfClosed, first));
    });
}

#[test]
fn a_client_that_is_sent_too_much_after_its_last_word_is_told_of_as_slow_and_ends_as_it_said() {
    in_rooms(1, |mut scene| {
        scene.engine.set_interest(Interest::ALL);
        // Behind the message is a close frame with 1000.
        scene.client.write_all(&[ONE, &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]].concat()).unwrap();
        assert!(!scene.turn(&Budget::begin()));
        assert_eq!(scene.connection.endpoint.phase(), Phase::Settling);
        let handle = scene.connection.handle().clone();
        let text = text();
        let pushes = [(); 3].map(|()| {
            handle.push(
                Outgoing::new(Message::Text(&text), Stamps::default()).frames(Encoding::Plain),
                frame() / 4 + 1,
            )
        });
        assert_eq!(pushes, [Pushed::Queued, Pushed::Queued, Pushed::Full]);
        assert!(scene.turn(&Budget::begin()));
        drop(scene.connection);
        let batch = scene.engine.drain(256);
        let slow = batch.iter().find_map(|event| match event {
            Event::Slow { dropped, .. } => Some(dropped.messages),
            _ => None,
        });
        assert_eq!(slow, Some(1));
        assert!(matches!(batch.back(), Some(Event::Close { code: 1000, by: ClosedBy::Peer, .. })));
    });
}

#[test]
fn connections_have_their_turns_on_a_worker_without_a_thread_and_quiet_ones_have_them_first() {
    in_rooms(1, |mut scene| {
        let (worker, token) = (scene.worker.clone(), scene.connection.registration.token);
        // It has used more than its share before.
        let budget = worker.scheduler.begin();
        worker.scheduler.charge(1 << 20);
        worker.scheduler.charge_to(scene.connection.handle().account(), &budget);
        scene.client.write_all(ONE).unwrap();
        let quiet = Arc::new(Handle::new(7, "quiet".into(), Peer::default(), worker.inbox.clone()));
        let later = worker.connections.adopt(&quiet, None);
        worker.connections.begin(token, Box::new(scene.connection), &worker);
        quiet.wake_here();
        let turns = [later, token].map(|expected| {
            let (token, _) = worker.scheduler.next_woken().unwrap();
            assert_eq!(token, expected);
            worker.connections.take_turn(token, &worker.scheduler.begin(), &worker);
            scene.witness.buffered()
        });
        assert_eq!(turns, [0, 3], "its message is relayed in its turn");
        worker.connections.clear();
    });
}
