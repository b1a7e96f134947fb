//! Handshakes, closed loop: connect, upgrade, close frame both ways, end of stream; then again.

use std::io;

use load::frame::{CLOSE, client_frame};
use load::meter::{Meter, Report};
use load::net::Poll;
use load::peer::{Peer, State};

use crate::options::Options;

struct Attempt {
    peer: Peer,
    started: u64,
    upgraded: bool,
}

pub(crate) fn run(options: &Options) -> io::Result<Report> {
    let close = client_frame(CLOSE, &1000u16.to_be_bytes());
    let mut poll = Poll::new()?;
    let mut meter = options.meter()?;
    let mut number = 0;
    let mut attempts = Vec::with_capacity(options.connections);
    for token in 0..options.connections {
        attempts.push(begin(options, &poll, &meter, &mut number, token as u64)?);
    }
    let (mut ready, mut buf) = (Vec::new(), vec![0; 4096]);
    while meter.running()? {
        poll.wait(Some(10_000), &mut ready)?;
        if ready.is_empty() {
            return Err(io::Error::other("nothing happened for 10 s: the server neither answers nor closes"));
        }
        for &(token, _) in &ready {
            let attempt = &mut attempts[token as usize];
            if !attempt.upgraded {
                if !attempt.peer.opened(&mut buf)? {
                    continue;
                }
                attempt.upgraded = true;
                meter.record(meter.now() - attempt.started);
                attempt.peer.send(&close)?;
            }
            // The server ends the stream (RFC 6455 section 7.1.1); a reset in place of an end is one too.
            loop {
                match attempt.peer.read(&mut buf, |_, _| Ok(())) {
                    Ok(State::Open) => break,
                    Ok(State::Closing(_)) => {}
                    Ok(State::Ended) | Err(_) => {
                        *attempt = begin(options, &poll, &meter, &mut number, token)?;
                        break;
                    }
                }
            }
        }
    }
    let report = meter.report("handshakes")?;
    Ok(Report { connections: options.connections, ..report })
}

fn begin(
    options: &Options,
    poll: &Poll,
    meter: &Meter,
    number: &mut usize,
    token: u64,
) -> io::Result<Attempt> {
    *number += 1;
    let started = meter.now();
    let peer = Peer::dial(&options.target, *number)?;
    poll.add(peer.stream(), token)?;
    Ok(Attempt { peer, started, upgraded: false })
}
