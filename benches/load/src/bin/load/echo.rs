//! Echo, closed loop: each echo is counted and replaced.

use std::io;

use load::frame::{TEXT, client_frame, json_text};
use load::meter::Report;
use load::net::Poll;
use load::peer::{self, Peer, State};

use crate::options::Options;

/// Every how many messages the whole content is compared; length and opcode always are.
const SAMPLE: u64 = 16;

struct Echoer {
    peer: Peer,
    /// When each message on its way was sent. Echoes come in order, so the oldest is at `oldest` and its place is
    /// taken by the one that replaces it.
    sent_at: Box<[u64]>,
    oldest: usize,
}

pub(crate) fn run(options: &Options) -> io::Result<Report> {
    // Before there are connections: nobody would answer their pings meanwhile.
    let idle = idle_bystanders(options)?;
    let text = options.target.dialect.message(&json_text(options.size));
    let frame = client_frame(TEXT, &text);
    let batch = frame.repeat(options.in_flight);
    let mut poll = Poll::new()?;
    let mut echoers = Vec::with_capacity(options.connections);
    for peer in peer::open(&options.target, options.connections, 0)? {
        poll.add(peer.stream(), echoers.len() as u64)?;
        echoers.push(Echoer { peer, sent_at: vec![0; options.in_flight].into(), oldest: 0 });
    }
    let mut meter = options.meter()?;
    for (token, echoer) in echoers.iter_mut().enumerate() {
        echoer.sent_at.fill(meter.now());
        send(&poll, &mut echoer.peer, token as u64, &batch)?;
    }
    let (mut ready, mut buf, mut checked) = (Vec::new(), Vec::new(), 0u64);
    while meter.running()? {
        options.wait(&mut poll, 100, &mut ready)?;
        for &(token, writable) in &ready {
            let echoer = &mut echoers[token as usize];
            if writable && echoer.peer.is_blocked() {
                echoer.peer.flush()?;
                if !echoer.peer.is_blocked() {
                    poll.modify(echoer.peer.stream(), token, false)?;
                }
            }
            let mut came = 0;
            let state = echoer.peer.read(&mut buf, |header, payload| {
                checked += 1;
                came += 1;
                let same = payload.len() == text.len()
                    && header.first == 0x80 | TEXT
                    && (!checked.is_multiple_of(SAMPLE) || payload == text);
                if same { Ok(()) } else { Err(io::Error::other("the echo differs from what was sent")) }
            })?;
            if state != State::Open {
                return Err(io::Error::other("the server closed a connection"));
            }
            if came > echoer.sent_at.len() {
                return Err(io::Error::other("more echoes than messages"));
            }
            let now = meter.now();
            for _ in 0..came {
                let sent_at = &mut echoer.sent_at[echoer.oldest];
                meter.record(now - *sent_at);
                *sent_at = now;
                echoer.oldest = if echoer.oldest + 1 == options.in_flight { 0 } else { echoer.oldest + 1 };
            }
            if came > 0 {
                send(&poll, &mut echoer.peer, token, &batch[..came * frame.len()])?;
            }
        }
    }
    if echoers.iter().flat_map(|echoer| &echoer.sent_at).any(|&at| meter.is_before_window(at)) {
        return Err(io::Error::other("a message from before the window is not back at its end"));
    }
    let report = meter.report("echo")?;
    Ok(Report {
        size: Some(options.size),
        connections: options.connections,
        in_flight: Some(options.in_flight),
        bystanders_idle_cpu: idle,
        bystanders_us_per_message: idle
            .zip(report.bystanders_cpu)
            .map(|(idle, busy)| (busy - idle).max(0.0) * 1e6 / report.throughput),
        ..report
    })
}

/// The CPU that servers without messages take anyway, once they have settled after their start.
fn idle_bystanders(options: &Options) -> io::Result<Option<f64>> {
    if options.watched.bystanders.is_empty() {
        return Ok(None);
    }
    std::thread::sleep(options.settle);
    options.watched.idle(options.baseline).map(Some)
}

/// Sends, and watches for room if not all of it went.
fn send(poll: &Poll, peer: &mut Peer, token: u64, bytes: &[u8]) -> io::Result<()> {
    peer.send(bytes)?;
    if peer.is_blocked() { poll.modify(peer.stream(), token, true) } else { Ok(()) }
}
