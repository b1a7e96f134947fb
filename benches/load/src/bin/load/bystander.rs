//! A bystander: a few connections, on each a small message at its time, whatever comes back. Latency counts from when a
//! message was due, and of one that never comes back from then to the end, so that no stall hides the messages behind it.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use load::frame::{TEXT, client_frame};
use load::meter::Report;
use load::net::{Poll, Ticks};
use load::peer::{self, Peer, State};

use crate::attended::Attended;
use crate::options::Options;

/// How long the last echoes may take once the window is over.
const GRACE: Duration = Duration::from_secs(1);
const TICK: u64 = u64::MAX;

struct Probe {
    /// `None`: the server has ended it.
    peer: Option<Peer>,
    /// Messages on their way: number, and when it was due.
    sent: VecDeque<(u64, u64)>,
}

fn text(number: u64) -> Vec<u8> {
    format!("{{\"bystander\":{number}}}").into_bytes()
}

pub(crate) fn run(options: &Options) -> io::Result<Report> {
    let mut poll = Poll::new()?;
    let mut probes: Vec<Probe> = peer::open(&options.target, options.connections, 0)?
        .into_iter()
        .map(|peer| Probe { peer: Some(peer), sent: VecDeque::new() })
        .collect();
    for (token, peer) in probes.iter().filter_map(|probe| probe.peer.as_ref()).enumerate() {
        poll.add(peer.stream(), token as u64)?;
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
    let mut ended_at = None;
    loop {
        if ended_at.is_none() && !meter.running()? {
            ended_at = Some(meter.now());
        }
        if let Some(end) = ended_at
            && (meter.now() - end > GRACE.as_nanos() as u64
                || probes.iter().all(|probe| probe.sent.is_empty()))
        {
            break;
        }
        poll.wait(Some(20), &mut ready)?;
        for &(token, writable) in &ready {
            if token == TICK {
                ticks.take()?;
                continue;
            }
            let probe = &mut probes[token as usize];
            let Some(peer) = &mut probe.peer else { continue };
            let sent = &mut probe.sent;
            let state = peer.read(&mut buf, |_, payload| {
                // Anything else is an error frame in the place of an echo, which is missing then.
                if let Some(at) = sent.iter().position(|&(number, _)| payload == text(number)) {
                    let (_, due) = sent.remove(at).unwrap_or_default();
                    if !meter.is_before_window(due) {
                        meter.record(meter.now() - due);
                    }
                }
                Ok(())
            });
            let flushed = if writable && peer.is_blocked() { peer.flush() } else { Ok(()) };
            if !matches!(state, Ok(State::Open)) || flushed.is_err() {
                probe.peer = None;
            }
        }
        while ended_at.is_none() && started + number * gap <= meter.now() {
            let token = number % probes.len() as u64;
            let probe = &mut probes[token as usize];
            probe.sent.push_back((number, started + number * gap));
            if let Some(peer) = &mut probe.peer {
                let failed = peer.send(&client_frame(TEXT, &text(number))).is_err();
                if !failed && peer.is_blocked() {
                    poll.modify(peer.stream(), token, true)?;
                } else if failed {
                    probe.peer = None;
                }
            }
            number += 1;
        }
    }
    let now = meter.now();
    let mut unanswered = 0;
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
