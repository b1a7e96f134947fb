//! Echo, open loop: messages leave at their time whatever comes back, so that a stalled server can't slow its own
//! test down and hide the stall.

use std::collections::VecDeque;
use std::io;

use load::frame::{TEXT, client_frame, json_text};
use load::meter::Report;
use load::net::Poll;
use load::peer::{self, State};

use crate::options::Options;

pub(crate) fn run(options: &Options) -> io::Result<Report> {
    let text = options.target.dialect.message(&json_text(options.size));
    let frame = client_frame(TEXT, &text);
    let mut poll = Poll::new()?;
    let mut peers = peer::open(&options.target, options.connections, 0)?;
    for (token, peer) in peers.iter().enumerate() {
        poll.add(peer.stream(), token as u64)?;
    }
    let mut sent_at = vec![VecDeque::new(); peers.len()];
    let mut meter = options.meter()?;
    let (started, gap) = (meter.now(), 1_000_000_000 / options.rate);
    let mut sent = 0u64;
    let (mut ready, mut buf) = (Vec::new(), Vec::new());
    while meter.running()? {
        poll.wait(Some(1), &mut ready)?;
        for &(token, _) in &ready {
            let times = &mut sent_at[token as usize];
            let mut now = 0;
            let state = peers[token as usize].read(&mut buf, |header, payload| {
                if header.first != 0x80 | TEXT || payload != text {
                    return Err(io::Error::other("the echo differs from what was sent"));
                }
                if now == 0 {
                    now = meter.now();
                }
                let sent_at =
                    times.pop_front().ok_or_else(|| io::Error::other("more echoes than messages"))?;
                meter.record(now - sent_at);
                Ok(())
            })?;
            if state != State::Open {
                return Err(io::Error::other("the server closed a connection"));
            }
        }
        // Latency counts from the write, not from when the write was due: if the generator itself was late, for want
        // of a core, that is no fault of the server.
        let due = (meter.now() - started) / gap;
        while sent < due {
            let token = (sent % peers.len() as u64) as usize;
            sent_at[token].push_back(meter.now());
            peers[token].send(&frame)?;
            if peers[token].is_blocked() {
                return Err(io::Error::other("the server does not read"));
            }
            sent += 1;
        }
    }
    let report = meter.report("blocked")?;
    Ok(Report { size: Some(options.size), connections: options.connections, ..report })
}
