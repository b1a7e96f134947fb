use crate::log::Bounds;

use super::random::Random;

/// The faults of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Links are cut, servers crash, messages get lost on their way; the store is left alone, and keeps everything.
    Calm,
    /// The same, and the store keeps few messages, for a short time.
    Bounded,
    /// Masters are replaced and restarted with older data.
    Failing,
    /// There are two masters, and servers that go from one to the other and back.
    Split,
    /// Masters are replaced by a store that loses no acknowledged message, for followers that trust it.
    Trusted,
    /// Everything, also a store that is emptied, and reads that it refuses.
    Rough,
    /// The same with servers of an old version.
    Versions,
}

/// The size and the bounds of a run's world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) kind: Kind,
    pub(super) servers: usize,
    pub(super) topics: usize,
    pub(super) bounds: Bounds,
    /// Most messages of one answer.
    pub(super) page: usize,
    /// Messages are read over a link of their own, whose answers may come late.
    pub(super) has_reader: bool,
    /// Bytes of a message.
    pub(super) payload: usize,
}

/// The end of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Acknowledged,
    /// The store has it, and the link is cut before it says so.
    Unanswered,
    /// The link is cut before the store has it.
    Unsent,
    /// The store has no memory.
    Refused,
}

/// The data that a node has when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    All,
    Saved,
    None,
}

/// One step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Publish {
        server: usize,
        topic: usize,
        keyed: bool,
        ending: Ending,
    },
    /// The oldest publish whose outcome the server does not know.
    Retry {
        server: usize,
        ending: Ending,
    },
    Connect {
        server: usize,
        node: usize,
    },
    Cut {
        server: usize,
    },
    Crash {
        server: usize,
    },
    /// So many requests reach the store.
    Serve {
        server: usize,
        requests: usize,
    },
    /// So many answers and messages reach the server.
    Arrive {
        server: usize,
        items: usize,
    },
    /// The same of the link that messages are read over.
    Read {
        server: usize,
    },
    /// The next message on its way to the server does not arrive.
    Lose {
        server: usize,
    },
    Doubt {
        server: usize,
    },
    /// The store answers the next question with an error.
    RefuseRead {
        server: usize,
    },
    Replicate {
        effects: usize,
    },
    /// The replica becomes the master. The old one goes down, or does not know it.
    Promote {
        kills: bool,
    },
    /// The node that is not the master becomes its replica.
    Rejoin,
    /// All data go to the other node, a master with a term of its own, as a slot does in a cluster.
    Move,
    Restart {
        node: usize,
        data: Data,
    },
    Save,
    Flush,
    Pass {
        ms: u64,
    },
    OldJoins,
    OldLeaves,
}

const TTL_MS: u64 = 60_000;
/// For so long an idempotency key should be known.
pub(super) const KEY_MS: u64 = 300_000;

pub(super) fn plan(seed: u64) -> (Setup, Vec<Op>) {
    let mut random = Random::new(seed);
    let kinds =
        [Kind::Calm, Kind::Bounded, Kind::Failing, Kind::Split, Kind::Trusted, Kind::Rough, Kind::Versions];
    let kind = random.of(&kinds);
    let is_small = matches!(kind, Kind::Bounded | Kind::Rough | Kind::Versions);
    let size = if is_small && !random.one_in(3) { random.of(&[1, 2, 3, 5, 8]) } else { 1000 };
    let setup = Setup {
        kind,
        servers: 2 + random.below(2),
        topics: if random.one_in(4) { 2 } else { 1 },
        bounds: Bounds { size, ttl_ms: TTL_MS },
        page: random.of(&[1, 2, 3, 10]),
        has_reader: random.one_in(3),
        payload: if random.one_in(24) { 140_000 } else { 4 },
    };
    let length = random.of(&[20, 40, 80, 160]);
    let mut ops: Vec<Op> = (0..setup.servers).map(|server| Op::Connect { server, node: 0 }).collect();
    ops.extend((0..length).map(|_| op(&setup, &mut random)));
    (setup, ops)
}

fn op(setup: &Setup, random: &mut Random) -> Op {
    let server = random.below(setup.servers);
    if random.one_in(5) {
        return op_of_store(setup.kind, random);
    }
    match random.below(60) {
        0..=21 => Op::Publish {
            server,
            topic: random.below(setup.topics),
            keyed: !random.one_in(3),
            ending: ending(random),
        },
        22..=24 => Op::Retry { server, ending: ending(random) },
        25..=33 => Op::Connect { server, node: random.below(2) },
        34..=35 => Op::Cut { server },
        36 if random.one_in(2) => Op::Crash { server },
        37..=40 => Op::Serve { server, requests: 1 + random.below(4) },
        41..=43 => Op::Read { server },
        44..=45 if matches!(setup.kind, Kind::Calm | Kind::Bounded | Kind::Failing | Kind::Split) => {
            Op::Lose { server }
        }
        46 => Op::Doubt { server },
        47 if matches!(setup.kind, Kind::Rough | Kind::Versions) => Op::RefuseRead { server },
        _ => Op::Arrive { server, items: random.of(&[1, 2, 3, 5, 8]) },
    }
}

fn ending(random: &mut Random) -> Ending {
    match random.below(20) {
        0..=1 => Ending::Unanswered,
        2 => Ending::Unsent,
        3 => Ending::Refused,
        _ => Ending::Acknowledged,
    }
}

/// Faults of the store.
fn op_of_store(kind: Kind, random: &mut Random) -> Op {
    let replicate = Op::Replicate { effects: 1 + random.below(4) };
    let pass = Op::Pass { ms: random.of(&[1, 1000]) };
    let (node, kills) = (random.below(2), random.one_in(2));
    let masters = [
        replicate,
        replicate,
        Op::Promote { kills },
        Op::Rejoin,
        Op::Rejoin,
        Op::Move,
        Op::Move,
        Op::Save,
        Op::Restart { node, data: Data::Saved },
        Op::Restart { node, data: Data::All },
    ];
    let rough = [Op::Flush, Op::Restart { node, data: Data::None }];
    let long = random.of(&[TTL_MS / 2, TTL_MS, 6 * TTL_MS, 25 * 60 * TTL_MS]);
    match kind {
        Kind::Calm => pass,
        Kind::Bounded => Op::Pass { ms: random.of(&[1000, TTL_MS / 2, TTL_MS]) },
        Kind::Failing => random.of(&masters),
        Kind::Split => match random.below(8) {
            0 => Op::Rejoin,
            1 => Op::Promote { kills: false },
            2 => replicate,
            _ => Op::Cut { server: random.below(2) },
        },
        Kind::Trusted => random.of(&[
            pass,
            replicate,
            Op::Promote { kills: true },
            Op::Rejoin,
            Op::Restart { node, data: Data::All },
        ]),
        Kind::Versions if random.one_in(3) => random.of(&[Op::OldJoins, Op::OldLeaves]),
        Kind::Rough | Kind::Versions => match random.below(8) {
            0 => random.of(&rough),
            1 => Op::Pass { ms: long },
            _ => random.of(&masters),
        },
    }
}
