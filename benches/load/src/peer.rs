//! One client connection: upgrade request, reads cut into frames, writes that may stop half way.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::dialect::{Dialect, Packet};
use crate::frame::{CLOSE, Header, PING, PONG, TEXT, client_frame};
use crate::net::{Poll, dial, read_now, write_now};

/// Most bytes that one `recv` takes.
pub const READ: usize = 256 * 1024;

/// Key and answer are those of RFC 6455 section 1.3: no server may care, and the generator need not hash.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Most upgrades under way at once; below every server's listen backlog, so that `connect` never waits.
const OPENING: usize = 128;

/// The server under test.
#[derive(Clone, Debug)]
pub struct Target {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Process id.
    pub pid: i32,
    /// Its dialect on top of the WebSocket.
    pub dialect: Dialect,
    /// The upgrade request, cut where the number of the connection goes.
    request: Vec<String>,
}

impl Target {
    /// A server whose WebSockets live under `path`. `header` is a line of the request, `Name: value`. In both, each `{n}`
    /// stands for the number of the connection.
    pub fn new(port: u16, pid: i32, path: &str, header: Option<&str>, dialect: Dialect) -> Target {
        let header = header.map(|line| format!("{line}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{header}\r\n"
        );
        Target { port, pid, dialect, request: request.split("{n}").map(str::to_owned).collect() }
    }

    fn request(&self, n: usize) -> String {
        self.request.join(&n.to_string())
    }
}

/// The state of a connection after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Goes on.
    Open,
    /// The server sent a close frame with this code (1005: without one).
    Closing(u16),
    /// The stream ended.
    Ended,
}

/// A client connection.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    /// Bytes of a frame, or of the answer's head, that is not whole yet.
    carry: Vec<u8>,
    /// Bytes that would not go out yet.
    unsent: Vec<u8>,
    dialect: Dialect,
    upgraded: bool,
    /// True if messages may be sent.
    connected: bool,
    /// Pings answered.
    pub pings: u64,
}

impl Peer {
    /// Connects and sends the upgrade request; [`Peer::opened`] reads the answer.
    pub fn dial(target: &Target, n: usize) -> io::Result<Peer> {
        let mut peer = Peer {
            stream: dial(target.port, n)?,
            carry: Vec::new(),
            unsent: Vec::new(),
            dialect: target.dialect,
            upgraded: false,
            connected: !target.dialect.has_prelude(),
            pings: 0,
        };
        peer.send(target.request(n).as_bytes())?;
        Ok(peer)
    }

    /// The socket, to be watched.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads on in the answer: `true` once the 101 is here in full and messages may be sent. Anything else than a 101
    /// is an error.
    pub fn opened(&mut self, buf: &mut Vec<u8>) -> io::Result<bool> {
        if !self.upgraded {
            self.upgraded = self.read_upgrade(buf)?;
        }
        if self.upgraded && !self.connected && self.read(buf, too_early)? != State::Open {
            return Err(closed_at_once());
        }
        Ok(self.upgraded && self.connected)
    }

    fn read_upgrade(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        while let Some(n) = read_now(&self.stream, buf)? {
            if n == 0 {
                return Err(io::Error::other("the server ended the connection during the upgrade"));
            }
            self.carry.extend_from_slice(&buf[..n]);
            if let Some(end) = self.carry.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = &self.carry[..end];
                if !head.starts_with(b"HTTP/1.1 101") || !head.windows(ACCEPT.len()).any(|w| w == ACCEPT) {
                    return Err(io::Error::other(String::from_utf8_lossy(head).into_owned()));
                }
                // A ping may have come in one piece with the 101; no read to come would look at it.
                let early = self.carry.split_off(end + 4);
                let (state, used) = self.frames(&early, too_early)?;
                if state != State::Open {
                    return Err(closed_at_once());
                }
                // 18,000 idle connections: none keeps a buffer for an answer it has had.
                self.carry = early[used..].to_vec();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends, or keeps what does not go; [`Peer::flush`] sends that later.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = if self.unsent.is_empty() { write_now(&self.stream, bytes)? } else { 0 };
        if sent < bytes.len() {
            self.unsent.extend_from_slice(&bytes[sent..]);
        }
        Ok(())
    }

    /// Sends what was kept.
    pub fn flush(&mut self) -> io::Result<()> {
        let sent = write_now(&self.stream, &self.unsent)?;
        self.unsent.drain(..sent);
        Ok(())
    }

    /// True if bytes wait for the socket to take them.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads what is there and hands each whole data frame to `on_message`. Answers pings itself.
    #[inline]
    pub fn read(
        &mut self,
        buf: &mut Vec<u8>,
        mut on_message: impl FnMut(&Header, &[u8]) -> io::Result<()>,
    ) -> io::Result<State> {
        loop {
            let kept = self.carry.len();
            buf.resize(buf.len().max(kept + READ), 0);
            buf[..kept].copy_from_slice(&self.carry);
            let got = match read_now(&self.stream, &mut buf[kept..kept + READ])? {
                None => return Ok(State::Open),
                Some(0) => return Ok(State::Ended),
                Some(got) => got,
            };
            let bytes = &buf[..kept + got];
            let (state, used) = self.frames(bytes, &mut on_message)?;
            if state != State::Open {
                return Ok(state);
            }
            if kept > 0 || used < bytes.len() {
                self.carry.clear();
                self.carry.extend_from_slice(&bytes[used..]);
            }
            if got < READ {
                return Ok(State::Open);
            }
        }
    }

    /// Walks the whole frames at the front of `bytes`, and says how many bytes they were.
    #[inline]
    fn frames(
        &mut self,
        bytes: &[u8],
        mut on_message: impl FnMut(&Header, &[u8]) -> io::Result<()>,
    ) -> io::Result<(State, usize)> {
        let mut at = 0;
        while let Some(header) = Header::parse(&bytes[at..]) {
            let (body, end) = (at + header.header_len, at + header.header_len + header.payload_len);
            let Some(payload) = bytes.get(body..end) else { break };
            if header.mask.is_some() || header.first & 0x70 != 0 {
                return Err(io::Error::other("a frame that no server may send"));
            }
            match header.opcode() {
                PING => {
                    self.pings += 1;
                    self.send(&client_frame(PONG, payload))?;
                }
                PONG => {}
                CLOSE => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    return Ok((State::Closing(code), at));
                }
                _ => match self.dialect.packet(payload) {
                    Packet::Message => on_message(&header, payload)?,
                    Packet::Answer(answer) => self.send(&client_frame(TEXT, answer))?,
                    Packet::Connected => self.connected = true,
                },
            }
            at = end;
        }
        Ok((State::Open, at))
    }
}

fn too_early(_: &Header, _: &[u8]) -> io::Result<()> {
    Err(io::Error::other("a message before any was sent"))
}

fn closed_at_once() -> io::Error {
    io::Error::other("the server closed the connection at once")
}

/// Opens `count` connections. The source address is chosen by number, from `first` on.
pub fn open(target: &Target, count: usize, first: usize) -> io::Result<Vec<Peer>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut poll = Poll::new()?;
    let (mut ready, mut buf) = (Vec::new(), vec![0; 4096]);
    let mut peers: Vec<Peer> = Vec::with_capacity(count);
    let mut open = 0;
    while open < count {
        while peers.len() < count && peers.len() - open < OPENING {
            let peer = Peer::dial(target, first + peers.len())?;
            poll.add(peer.stream(), peers.len() as u64)?;
            peers.push(peer);
        }
        poll.wait(Some(1000), &mut ready)?;
        for &(token, _) in &ready {
            let peer = &mut peers[token as usize];
            if peer.opened(&mut buf)? {
                poll.delete(peer.stream())?;
                open += 1;
            }
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("only {open} of {count} connections opened in 60 s")));
        }
    }
    Ok(peers)
}
