//! Nobody takes from others: connections that used little lately go first, and whatever a flood consists of, its turns are
//! short while somebody waits.

use std::time::{Duration, Instant};

use super::client::{BINARY, Client, PING, PONG, TEXT, frame};
use super::harness::{Request, Server, config};
use crate::engine::config::{Config, Relay};

const FLOODERS: usize = 12;

/// A server with one worker that relays to rooms, a member of the only room that looks on, flooders in it, and a quiet one.
struct Scene {
    server: Server,
    witness: Client,
    flooders: Vec<Client>,
    quiet: Client,
}

impl Scene {
    fn new(flooders: usize) -> Scene {
        let mut config = Config { threads: 1, relay: Relay::Rooms, ..config() };
        config.limits.outbox_bytes = 64 << 20;
        let server = Server::start(config);
        let member = |name: &str| server.open(Request::of(name, &["crowd"]));
        let (witness, quiet) = (member("witness"), member("quiet"));
        let flooders = (0..flooders).map(|n| member(&format!("flooder {n}"))).collect();
        Scene { server, witness, flooders, quiet }
    }

    /// Lets every flooder send this, and the quiet one a message behind all of them, all of it before the worker looks.
    fn send(&mut self, flood: &[u8]) {
        let Scene { server, flooders, quiet, .. } = self;
        server.while_held(|| {
            flooders.iter_mut().for_each(|flooder| flooder.send(flood));
            quiet.text("\"quiet\"");
        });
    }
}

/// About 60 kB of these frames, which one read brings.
fn flood_of(frames: &[u8]) -> Vec<u8> {
    frames.repeat(60_000 / frames.len())
}

fn last_word() -> Vec<u8> {
    frame(TEXT, b"\"flooder\"")
}

#[test]
fn a_quiet_message_passes_floods_of_every_kind() {
    let floods = [
        ("empty pings", flood_of(&frame(PING, b""))),
        ("full pings", flood_of(&frame(PING, &[b'x'; 125]))),
        ("empty pongs", flood_of(&frame(PONG, b""))),
        ("empty fragments", [frame(0x01, b""), flood_of(&frame(0x00, b"")), frame(0x80, b"1")].concat()),
        (
            "one-byte fragments",
            [frame(0x01, b"\""), flood_of(&frame(0x00, b"1")), frame(0x80, b"\"")].concat(),
        ),
        ("messages of two fragments", flood_of(&[frame(0x01, b"x"), frame(0x80, b"x")].concat())),
        ("texts that are not JSON", flood_of(&frame(TEXT, b"x"))),
        ("empty binary messages", flood_of(&frame(BINARY, b""))),
    ];
    for (kind, flood) in floods {
        let mut scene = Scene::new(FLOODERS);
        scene.send(&[flood, last_word()].concat());
        assert_eq!(scene.witness.next_text(), "\"quiet\"", "{kind}");
    }
}

#[test]
fn many_quiet_ones_do_not_wait_for_each_others_bursts() {
    const MESSAGES: usize = 200;
    let mut scene = Scene::new(FLOODERS);
    scene.send(&frame(TEXT, b"1").repeat(MESSAGES));
    let before =
        std::iter::repeat_with(|| scene.witness.next_text()).take_while(|text| text != "\"quiet\"").count();
    // Some quarter of what a busy one's turn has time for, of each.
    assert!((1..FLOODERS * 20).contains(&before), "{before} of {}", FLOODERS * MESSAGES);
}

#[test]
fn whoever_flooded_lately_goes_behind_those_who_did_not() {
    let mut scene = Scene::new(3);
    let flood = [flood_of(&frame(PONG, b"")).repeat(4), last_word()].concat();
    // By chance the quiet one would come first in each of them with a probability of one in four.
    let mut left = 8;
    while left > 0 {
        let begin = Instant::now();
        scene.flooders.iter_mut().for_each(|flooder| flooder.send(&flood));
        (0..3).for_each(|_| scene.witness.expect_text("\"flooder\""));
        // They say no more than the quiet one does this time.
        scene.send(&last_word());
        let mut said: Vec<String> = (0..4).map(|_| scene.witness.next_text()).collect();
        // On a machine that stood still meanwhile the floods may be forgotten.
        if begin.elapsed() < Duration::from_millis(500) {
            assert_eq!(said.remove(0), "\"quiet\"");
            left -= 1;
        }
    }
}

#[test]
fn a_flood_is_served_to_its_end() {
    let mut scene = Scene::new(FLOODERS);
    scene.send(&[flood_of(&frame(PING, b"")), last_word()].concat());
    scene.witness.expect_text("\"quiet\"");
    (0..FLOODERS).for_each(|_| scene.witness.expect_text("\"flooder\""));
}

/// A server with one worker, a client in many rooms, a quiet one in another, and a witness in all.
fn many_rooms() -> (Server, Client, Client, Client) {
    let rooms: Vec<String> = (0..1000).map(|n| format!("room {n}")).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let mut config = Config { threads: 1, relay: Relay::Rooms, ..config() };
    config.limits.rooms_per_connection = 1001;
    let server = Server::start(config);
    let [witness, eve] = [&[&rooms[..], &["quiet"]].concat(), &rooms].map(|rooms| Request::of("eve", rooms));
    let (witness, eve) = (server.open(witness), server.open(eve));
    let quiet = server.open(Request::of("quiet", &["quiet"]));
    (server, witness, eve, quiet)
}

#[test]
fn others_have_turns_while_a_message_goes_to_many_rooms() {
    // The system may tell of the quiet one first.
    let at = (0..50).find_map(|_| {
        let (server, mut witness, mut eve, mut quiet) = many_rooms();
        server.while_held(|| {
            eve.text("\"eve\"");
            quiet.text("\"quiet\"");
        });
        let said: Vec<String> = (0..1001).map(|_| witness.next_text()).collect();
        said.iter().position(|text| text == "\"quiet\"").filter(|at| *at > 0)
    });
    assert!(at.unwrap() < 900, "behind {at:?} of 1000");
}

#[test]
fn a_message_goes_to_all_of_many_rooms_before_its_sender_is_gone() {
    let (server, mut witness, mut eve, mut quiet) = many_rooms();
    let id = eve.id();
    server.while_held(|| {
        eve.text("\"eve\"");
        eve.text("\"more\"");
        quiet.text("\"quiet\"");
        eve.reset();
    });
    let said: Vec<String> = (0..2001).map(|_| witness.next_text()).collect();
    let eves: Vec<&String> = said.iter().filter(|text| *text != "\"quiet\"").collect();
    assert!(
        eves[..1000].iter().all(|text| *text == "\"eve\"")
            && eves[1000..].iter().all(|text| *text == "\"more\"")
    );
    assert_eq!(server.ended(id).0, 1006);
    assert_eq!(server.engine.stats().messages.relayed, 3);
}
