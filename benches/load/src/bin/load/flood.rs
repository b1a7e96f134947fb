//! Attackers: every connection writes its block again and again, as fast as its socket takes it, and comes back when the
//! server ends it.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use load::net::{Poll, narrow, read_now, write_now};
use load::peer::{self, Peer};
use serde::Serialize;

use crate::attack::{Attack, Payload};
use crate::attended::Attended;
use crate::options::Options;

/// Number of the first connection. All numbers of a flood have eight digits, so that one can stand in a token.
const FIRST: usize = 10_000_000;
/// Most bytes that one `recv` takes.
const READ: usize = 256 * 1024;

/// The harm that was done to the server.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Flooded {
    /// Name of the work.
    work: &'static str,
    /// Name of the attack.
    attack: &'static str,
    /// Connections at a time.
    connections: usize,
    /// Length of the flood.
    seconds: f64,
    /// Bytes that the sockets took.
    bytes: u64,
    /// Messages in them.
    messages: u64,
    /// Connections that the server ended.
    ended: u64,
    /// Upgrades that the server refused.
    refused: u64,
}

struct Attacker {
    peer: Peer,
    open: bool,
    /// The opening has gone out.
    begun: bool,
    /// Bytes of the block that went out.
    at: usize,
    /// Bytes that are to come back before the next block.
    owed: usize,
    /// Waits in the queue for its next write.
    queued: bool,
}

impl Attacker {
    fn new(peer: Peer, open: bool) -> Attacker {
        Attacker { peer, open, begun: false, at: 0, owed: 0, queued: false }
    }
}

/// The state of an attacker after it was served.
enum Step {
    /// Has nothing to do until its socket says so.
    Waits,
    /// Could write on.
    Writes,
    /// The server has refused the upgrade.
    Refused,
    /// The server has ended the connection.
    Ended,
}

struct Flood<'a> {
    options: &'a Options,
    payload: Payload,
    poll: Poll,
    attackers: Vec<Attacker>,
    queue: VecDeque<usize>,
    number: usize,
    scratch: Vec<u8>,
    done: Flooded,
}

pub(crate) fn run(options: &Options) -> io::Result<Flooded> {
    let attended = Attended::begin(options.attended)?;
    let mut flood = Flood::new(options)?;
    // The runner waits for this line.
    println!("FLOODING");
    let started = Instant::now();
    while started.elapsed() < options.seconds && !attended.is_over() {
        flood.turn()?;
    }
    let done = &mut flood.done;
    done.seconds = started.elapsed().as_secs_f64();
    done.messages = done.bytes * flood.payload.messages / flood.payload.block.len().max(1) as u64;
    Ok(flood.done)
}

impl Flood<'_> {
    fn new(options: &Options) -> io::Result<Flood<'_>> {
        let count = options.connections;
        let attackers = if options.attack == Attack::Upgrades {
            (0..count)
                .map(|n| Ok(Attacker::new(Peer::dial(&options.target, FIRST + n)?, false)))
                .collect::<io::Result<Vec<_>>>()?
        } else {
            let peers = peer::open(&options.target, count, FIRST)?;
            peers.into_iter().map(|peer| Attacker::new(peer, true)).collect()
        };
        let flood = Flood {
            options,
            payload: options.attack.payload(),
            poll: Poll::new()?,
            attackers,
            queue: VecDeque::new(),
            number: FIRST + count,
            scratch: vec![0; READ],
            done: Flooded {
                work: "flood",
                attack: options.attack.name(),
                connections: count,
                ..Flooded::default()
            },
        };
        for place in 0..count {
            flood.watch(place)?;
        }
        Ok(flood)
    }

    /// Watches for reading and writing, both by their edges.
    fn watch(&self, place: usize) -> io::Result<()> {
        let stream = self.attackers[place].peer.stream();
        if self.options.deaf {
            narrow(stream)?;
        }
        self.poll.add(stream, place as u64)?;
        self.poll.modify(stream, place as u64, true)
    }

    /// One look at the sockets, and one write of each connection that can write.
    fn turn(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        self.poll.wait(Some(if self.queue.is_empty() { 20 } else { 0 }), &mut ready)?;
        for (place, writable) in ready {
            let place = place as usize;
            let step = self.read(place);
            self.follow(place, step)?;
            if writable && self.attackers[place].open && self.attackers[place].owed == 0 {
                self.enqueue(place);
            }
        }
        for _ in 0..self.queue.len() {
            let Some(place) = self.queue.pop_front() else { break };
            self.attackers[place].queued = false;
            let step = self.write(place);
            self.follow(place, step)?;
        }
        Ok(())
    }

    fn enqueue(&mut self, place: usize) {
        if !self.payload.block.is_empty() && !self.attackers[place].queued {
            self.attackers[place].queued = true;
            self.queue.push_back(place);
        }
    }

    fn follow(&mut self, place: usize, step: Step) -> io::Result<()> {
        match step {
            Step::Waits => return Ok(()),
            Step::Writes => {
                self.enqueue(place);
                return Ok(());
            }
            Step::Refused => self.done.refused += 1,
            Step::Ended => self.done.ended += 1,
        }
        let queued = self.attackers[place].queued;
        let peer = Peer::dial(&self.options.target, self.number)?;
        self.number += 1;
        self.attackers[place] = Attacker { queued, ..Attacker::new(peer, false) };
        self.watch(place)
    }

    /// Reads and drops what is there, or goes on with the upgrade.
    fn read(&mut self, place: usize) -> Step {
        let attacker = &mut self.attackers[place];
        if !attacker.open {
            return match attacker.peer.opened(&mut self.scratch) {
                Ok(false) => Step::Waits,
                Ok(true) => {
                    attacker.open = true;
                    Step::Writes
                }
                Err(_) => Step::Refused,
            };
        }
        if self.options.deaf {
            return Step::Waits;
        }
        loop {
            match read_now(attacker.peer.stream(), &mut self.scratch) {
                Ok(Some(0)) | Err(_) => return Step::Ended,
                Ok(Some(got)) if attacker.owed > 0 => {
                    attacker.owed = attacker.owed.saturating_sub(got);
                    if attacker.owed == 0 {
                        return Step::Writes;
                    }
                }
                Ok(Some(got)) if got == self.scratch.len() => {}
                Ok(_) => return Step::Waits,
            }
        }
    }

    fn write(&mut self, place: usize) -> Step {
        let attacker = &mut self.attackers[place];
        if !attacker.open {
            return Step::Waits;
        }
        if !attacker.begun {
            attacker.begun = true;
            // Some bytes into an empty socket: they go at once.
            if attacker.peer.send(&self.payload.opening).is_err() {
                return Step::Ended;
            }
        }
        let rest = &self.payload.block[attacker.at..];
        let piece = &rest[..rest.len().min(self.payload.piece)];
        match write_now(attacker.peer.stream(), piece) {
            Err(_) => Step::Ended,
            Ok(sent) => {
                attacker.at = if sent == rest.len() { 0 } else { attacker.at + sent };
                self.done.bytes += sent as u64;
                if sent == rest.len() && self.payload.echo > 0 {
                    attacker.owed = self.payload.echo;
                    return Step::Waits;
                }
                if sent == piece.len() { Step::Writes } else { Step::Waits }
            }
        }
    }
}
