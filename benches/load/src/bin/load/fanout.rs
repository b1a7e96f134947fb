//! Fan-out: the first connection publishes, every connection (that one too) gets each message.

use std::io;

use load::frame::{TEXT, client_frame, json_text};
use load::meter::Report;
use load::net::Poll;
use load::peer::{self, State};

use crate::options::Options;

pub(crate) fn run(options: &Options) -> io::Result<Report> {
    let (members, in_flight) = (options.connections, options.in_flight);
    let text = options.target.dialect.message(&json_text(options.size));
    let frame = client_frame(TEXT, &text);
    let batch = frame.repeat(in_flight);
    let mut peers = peer::open(&options.target, members, 0)?;
    let mut poll = Poll::new()?;
    for (token, peer) in peers.iter().enumerate() {
        poll.add(peer.stream(), token as u64)?;
    }
    // A server may join a member to the room a moment after its 101.
    std::thread::sleep(options.settle);

    let mut meter = options.meter()?;
    // Message number n lives in slot n % in_flight; the slot is taken again only when all have got it.
    let mut missing = vec![members; in_flight];
    let mut sent_at = vec![meter.now(); in_flight];
    let mut next_slot = vec![0usize; members];
    peers[0].send(&batch)?;
    let (mut ready, mut buf) = (Vec::new(), Vec::new());
    while meter.running()? {
        options.wait(&mut poll, 10_000, &mut ready)?;
        if ready.is_empty() {
            return Err(io::Error::other("no delivery for 10 s: some member is left out"));
        }
        let mut complete = 0;
        for &(token, _) in &ready {
            let slot = &mut next_slot[token as usize];
            let mut now = 0;
            let state = peers[token as usize].read(&mut buf, |header, payload| {
                if header.first != 0x80 | TEXT
                    || payload.len() != text.len()
                    || (*slot == 0 && payload != text)
                {
                    return Err(io::Error::other("a delivery differs from what was published"));
                }
                if missing[*slot] == 0 {
                    return Err(io::Error::other("a member got more messages than were published"));
                }
                if now == 0 {
                    now = meter.now();
                }
                meter.record(now - sent_at[*slot]);
                missing[*slot] -= 1;
                complete += usize::from(missing[*slot] == 0);
                *slot = if *slot + 1 == in_flight { 0 } else { *slot + 1 };
                Ok(())
            })?;
            if state != State::Open {
                return Err(io::Error::other("the server closed a connection"));
            }
        }
        if complete > 0 {
            let now = meter.now();
            for slot in 0..in_flight {
                if missing[slot] == 0 {
                    missing[slot] = members;
                    sent_at[slot] = now;
                }
            }
            peers[0].send(&batch[..complete * frame.len()])?;
        }
    }
    let report = meter.report("fanout")?;
    Ok(Report { size: Some(options.size), connections: members, in_flight: Some(in_flight), ..report })
}
