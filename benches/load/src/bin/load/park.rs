//! Connections that only wait: `idle` weighs them, `hold` sees whether they outlive a blocked JavaScript thread.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use load::frame::{CLOSE, TEXT, client_frame, json_text};
use load::meter::{Report, resident_bytes};
use load::net::{Poll, http_get};
use load::peer::{self, Peer, State};

use crate::options::Options;

/// Connections that are kept alive: pings are answered, nothing else is sent.
struct Park {
    poll: Poll,
    peers: Vec<Option<Peer>>,
    answered: usize,
    /// The ends of those that are gone, and their numbers.
    ends: BTreeMap<String, usize>,
    buf: Vec<u8>,
    ready: Vec<(u64, bool)>,
}

impl Park {
    fn new() -> io::Result<Park> {
        Ok(Park {
            poll: Poll::new()?,
            peers: Vec::new(),
            answered: 0,
            ends: BTreeMap::new(),
            buf: Vec::new(),
            ready: Vec::new(),
        })
    }

    fn grow(&mut self, options: &Options, count: usize) -> io::Result<()> {
        let have = self.peers.len();
        for peer in peer::open(&options.target, count - have, have)? {
            self.poll.add(peer.stream(), self.peers.len() as u64)?;
            self.peers.push(Some(peer));
        }
        Ok(())
    }

    /// Serves until `until`, or until each of `answers` messages came.
    fn serve(&mut self, until: Instant, answers: Option<usize>) -> io::Result<()> {
        self.answered = 0;
        while Instant::now() < until && answers.is_none_or(|wanted| self.answered < wanted) {
            self.poll.wait(Some(20), &mut self.ready)?;
            for &(token, _) in &self.ready {
                let place = &mut self.peers[token as usize];
                let Some(peer) = place else { continue };
                let answered = &mut self.answered;
                let state = peer.read(&mut self.buf, |_, _| {
                    *answered += 1;
                    Ok(())
                });
                let end = match state {
                    Ok(State::Open) => continue,
                    Ok(State::Closing(code)) => format!("closed by the server with {code}"),
                    Ok(State::Ended) => "ended by the server without a close frame".to_owned(),
                    Err(error) => error.to_string(),
                };
                *self.ends.entry(end).or_default() += 1;
                *place = None;
            }
        }
        Ok(())
    }

    /// One message on each connection that is left, and how many of them answer within 10 s.
    fn touch(&mut self, from: usize) -> io::Result<usize> {
        let frame = client_frame(TEXT, &json_text(64));
        let mut sent = 0;
        for peer in self.peers[from..].iter_mut().flatten() {
            sent += usize::from(peer.send(&frame).is_ok());
        }
        self.serve(Instant::now() + Duration::from_secs(10), Some(sent))?;
        Ok(self.answered)
    }

    /// Says on standard error how connections were lost, if any were, and how many are left.
    fn left(&self) -> usize {
        for (end, count) in &self.ends {
            eprintln!("{count} {end}");
        }
        self.peers.iter().flatten().count()
    }
}

/// Opens and closes connections, a few at a time: the one-time growth of the server's runtime is over by then.
fn churn(options: &Options) -> io::Result<()> {
    const AT_ONCE: usize = 100;
    let close = client_frame(CLOSE, &1000u16.to_be_bytes());
    for first in (0..options.churn).step_by(AT_ONCE) {
        for mut peer in peer::open(&options.target, AT_ONCE, first)? {
            peer.send(&close)?;
        }
    }
    Ok(())
}

pub(crate) fn idle(options: &Options) -> io::Result<Report> {
    let started = Instant::now();
    churn(options)?;
    let mut park = Park::new()?;
    let mut rss = Vec::new();
    for &step in &options.steps {
        let from = park.peers.len();
        park.grow(options, step)?;
        if options.touch && park.touch(from)? < step - from {
            return Err(io::Error::other("not every connection echoed"));
        }
        park.serve(Instant::now() + options.settle, None)?;
        http_get(options.target.port, "/gc")?;
        park.serve(Instant::now() + options.settle, None)?;
        rss.push((step, resident_bytes(options.target.pid)?));
        let left = park.left();
        if left < step {
            return Err(io::Error::other(format!("{left} of {step} connections are left")));
        }
    }
    let (first, last) = (rss[0], rss[rss.len() - 1]);
    Ok(Report {
        work: "idle",
        connections: last.0,
        seconds: started.elapsed().as_secs_f64(),
        bytes_per_connection: Some((last.1 as f64 - first.1 as f64) / (last.0 - first.0) as f64),
        rss,
        ..Report::default()
    })
}

pub(crate) fn hold(options: &Options) -> io::Result<Report> {
    let mut park = Park::new()?;
    park.grow(options, options.connections)?;
    let started = Instant::now();
    http_get(options.target.port, &format!("/block?ms={}", options.block.as_millis()))?;
    park.serve(started + options.block + Duration::from_secs(3), None)?;
    let alive = park.touch(0)?;
    park.left();
    Ok(Report {
        work: "hold",
        connections: options.connections,
        seconds: started.elapsed().as_secs_f64(),
        pings: Some(park.peers.iter().flatten().map(|peer| peer.pings).sum()),
        alive: Some(alive),
        ..Report::default()
    })
}
