//! A bystander: a few connections, on each a small message at its time, whatever comes back. Latency counts from when a
//! message was due, and of one that never comes back from then to the end, so that no stall hides the messages behind it.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use load::frame::{TEXT, client_frame};
use load::meter::{Meter, Report};
use load::net::{Poll, Ticks};
use load::peer::{self, Peer, State};

use crate::attended::Attended;
use crate::options::Options;

/// The last echoes may take so long once the window is over.
const GRACE: Duration = Duration::from_secs(1);
const TICK: u64 = u64::MAX;

struct Probe {
    /// `None`: the server has ended it. Its messages are due all the same.
    peer: Option<Peer>,
    /// Messages on their way: number, and when it was due.
    sent: VecDeque<(u64, u64)>,
}

impl Probe {
    fn send(&mut self, poll: &Poll, token: u64, number: u64, due: u64) -> io::Result<()> {
        self.sent.push_back((number, due));
        let Some(peer) = &mut self.peer else { return Ok(()) };
        if peer.send(&client_frame(TEXT, &text(number))).is_err() {
            self.peer = None;
        } else if peer.is_blocked() {
            poll.modify(peer.stream(), token, true)?;
        }
        Ok(())
    }

    fn read(&mut self, buf: &mut Vec<u8>, meter: &mut Meter, writable: bool) {
        let Some(peer) = &mut self.peer else { return };
        let sent = &mut self.sent;
        let state = peer.read(buf, |_, payload| {
            // Anything else is an error frame in the place of an echo, which is missing then.
            let at = sent.iter().position(|&(number, _)| payload == text(number));
            if let Some((_, due)) = at.and_then(|at| sent.remove(at))
                && !meter.is_before_window(due)
            {
                meter.record(meter.now() - due);
            }
            Ok(())
        });
        let flushed = if writable && peer.is_blocked() { peer.flush() } else { Ok(()) };
        if !matches!(state, Ok(State::Open)) || flushed.is_err() {
            self.peer = None;
        }
    }
}

fn text(number: u64) -> Vec<u8> {
    format!("{{\"bystander\":{number}}}").into_bytes()
}

pub(crate) fn run(options: &Options) -> io::Result<Report> {
    let mut poll = Poll::new()?;
    let mut probes = Vec::with_capacity(options.connections);
    for peer in peer::open(&options.target, options.connections, 0)? {
        poll.add(peer.stream(), probes.len() as u64)?;
        probes.push(Probe { peer: Some(peer), sent: VecDeque::new() });
    }
    // The runner waits for this line.
    println!("OPEN");
    Attended::begin(options.attended)?;
    let gap = 1_000_000_000 / options.rate;
    let mut meter = options.meter()?;
    let started = meter.now();
    // After `started`: a tick that came before its message is due would leave it to the next.
    let ticks = Ticks::new(Duration::from_nanos(gap))?;
    poll.add(&ticks, TICK)?;
    let (mut ready, mut buf, mut number) = (Vec::new(), Vec::new(), 0);
    let mut over = None;
    loop {
        if over.is_none() && !meter.running()? {
            over = Some(meter.now() + GRACE.as_nanos() as u64);
        }
        if over.is_some_and(|end| meter.now() > end || probes.iter().all(|probe| probe.sent.is_empty())) {
            break;
        }
        poll.wait(Some(20), &mut ready)?;
        for &(token, writable) in &ready {
            if token == TICK {
                ticks.take()?;
            } else {
                probes[token as usize].read(&mut buf, &mut meter, writable);
            }
        }
        while over.is_none() && started + number * gap <= meter.now() {
            let token = number % probes.len() as u64;
            probes[token as usize].send(&poll, token, number, started + number * gap)?;
            number += 1;
        }
    }
    let (now, mut unanswered) = (meter.now(), 0);
    for &(_, due) in probes.iter().flat_map(|probe| &probe.sent) {
        if !meter.is_before_window(due) {
            unanswered += 1;
            meter.record(now - due);
        }
    }
    let report = meter.report("bystander")?;
    Ok(Report {
        connections: options.connections,
        unanswered: Some(unanswered),
        dead: Some(probes.iter().filter(|probe| probe.peer.is_none()).count()),
        ..report
    })
}
