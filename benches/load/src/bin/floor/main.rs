//! The floor: what an ideal single-threaded WebSocket server has to do, and no more. One epoll, edge-triggered, one
//! `recv` and one `send` a readiness, frames unmasked in place in a buffer that all connections share.
//!
//! It leaves out what a real server needs and what hardly costs: checks of UTF-8 and JSON, timeouts, limits.

mod connection;
mod http;

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use connection::{Connection, READ, ROOM};
use lexopt::{Arg, Parser, ValueExt};
use load::net::{self, Poll};

const USAGE: &str =
    "floor [--mode echo|fanout] [--port 0] [--block-ms 0 --period-ms 250] [--max-seconds 300]";
const LISTENER: u64 = u64::MAX;

struct Options {
    port: u16,
    fanout: bool,
    block: Duration,
    period: Duration,
    limit: Duration,
}

fn options() -> Result<Options, lexopt::Error> {
    let (mut port, mut fanout, mut block, mut period, mut limit) = (0, false, 0, 250, 300);
    let mut args = Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("mode") => fanout = args.value()? == "fanout",
            Arg::Long("port") => port = args.value()?.parse()?,
            Arg::Long("block-ms") => block = args.value()?.parse()?,
            Arg::Long("period-ms") => period = args.value()?.parse()?,
            Arg::Long("max-seconds") => limit = args.value()?.parse()?,
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Options {
        port,
        fanout,
        block: Duration::from_millis(block),
        period: Duration::from_millis(period),
        limit: Duration::from_secs(limit),
    })
}

fn main() -> Result<(), String> {
    let options = options().map_err(|error| format!("{error}\n{USAGE}"))?;
    net::end_after(options.limit);
    if !options.block.is_zero() {
        let (block, period) = (options.block, options.period);
        std::thread::spawn(move || burn(block, period));
    }
    serve(&options).map_err(|error| error.to_string())
}

/// Stands in for a JavaScript thread that renders: busy for `block` of each `period`, beside the loop.
fn burn(block: Duration, period: Duration) {
    loop {
        let start = Instant::now();
        while start.elapsed() < block {
            std::hint::spin_loop();
        }
        std::thread::sleep(period.saturating_sub(start.elapsed()));
    }
}

fn serve(options: &Options) -> io::Result<()> {
    net::raise_descriptor_limit()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.add(&listener, LISTENER)?;
    println!("READY {} {}", listener.local_addr()?.port(), std::process::id());
    let (mut server, mut ready) = (Server::new(options.fanout), Vec::new());
    loop {
        poll.wait(None, &mut ready)?;
        for &(token, writable) in &ready {
            if token == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    server.accept(&poll, stream)?;
                }
            } else if !matches!(server.ready(&poll, token as usize, writable), Ok(true)) {
                server.remove(token as usize);
            }
        }
    }
}

struct Server {
    fanout: bool,
    /// By slot, which is the epoll token. An ended connection leaves its slot to the next.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Slots of those that get a fan-out.
    members: Vec<usize>,
    buf: Vec<u8>,
}

impl Server {
    fn new(fanout: bool) -> Server {
        let buf = vec![0; ROOM + READ];
        Server { fanout, connections: Vec::new(), free: Vec::new(), members: Vec::new(), buf }
    }

    fn accept(&mut self, poll: &Poll, stream: TcpStream) -> io::Result<()> {
        let slot = self.free.pop().unwrap_or(self.connections.len());
        if slot == self.connections.len() {
            self.connections.push(None);
        }
        stream.set_nodelay(true)?;
        poll.add(&stream, slot as u64)?;
        self.connections[slot] = Some(Connection::new(stream));
        Ok(())
    }

    /// One readiness of one connection; `false` when it has ended.
    fn ready(&mut self, poll: &Poll, slot: usize, writable: bool) -> io::Result<bool> {
        let token = slot as u64;
        if writable && let Some(connection) = &mut self.connections[slot] {
            connection.flush(poll, token)?;
        }
        // Ended earlier in this same turn: nothing to do.
        while let Some(connection) = &mut self.connections[slot] {
            let turn = connection.turn(&mut self.buf)?;
            if turn.opened && self.fanout {
                self.members.push(slot);
            }
            let frames = &self.buf[turn.frames.clone()];
            if !frames.is_empty() && self.fanout {
                for &member in &self.members {
                    if let Some(connection) = &mut self.connections[member] {
                        // A member that is gone shows up in a readiness of its own.
                        let _ = connection.send(poll, member as u64, frames);
                    }
                }
            } else if !frames.is_empty() {
                connection.send(poll, token, frames)?;
            }
            if turn.ended || !turn.more {
                return Ok(!turn.ended);
            }
        }
        Ok(true)
    }

    fn remove(&mut self, slot: usize) {
        if self.connections[slot].take().is_some() {
            self.free.push(slot);
            self.members.retain(|&member| member != slot);
        }
    }
}
