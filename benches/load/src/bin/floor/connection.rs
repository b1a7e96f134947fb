//! One connection of the floor: the bytes of a readiness in, the frames to send out.

use std::io;
use std::net::TcpStream;
use std::ops::Range;

use load::frame::{CLOSE, Header, PING, PONG, unmask, write_header};
use load::net::{Poll, read_now, write_now};

use crate::http::{self, Answer};

/// Most bytes that one `recv` takes.
pub(crate) const READ: usize = 64 * 1024;
/// Room before it in the shared buffer for what the connection kept of a cut frame.
pub(crate) const ROOM: usize = 64 * 1024;
/// More than this unsent, and the reader is taken for dead.
const UNSENT: usize = 64 * 1024 * 1024;

pub(crate) struct Connection {
    stream: TcpStream,
    upgraded: bool,
    /// Only while something is cut or stuck, so that an idle connection is 16 bytes.
    rest: Option<Box<Rest>>,
}

#[derive(Default)]
struct Rest {
    /// The beginning of a frame or of a request's head.
    cut: Vec<u8>,
    /// Bytes that the socket would not take.
    unsent: Vec<u8>,
}

/// The yield of one `recv`.
pub(crate) struct Turn {
    /// The data frames' place in the shared buffer, ready to be sent.
    pub(crate) frames: Range<usize>,
    /// This was the upgrade.
    pub(crate) opened: bool,
    /// The connection is over.
    pub(crate) ended: bool,
    /// The `recv` was full: there may be more.
    pub(crate) more: bool,
}

const QUIET: Turn = Turn { frames: 0..0, opened: false, ended: false, more: false };
const ENDED: Turn = Turn { ended: true, ..QUIET };

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Connection {
        Connection { stream, upgraded: false, rest: None }
    }

    /// One `recv`. The buffer holds `ROOM + READ` bytes and nothing of a turn before.
    #[inline]
    pub(crate) fn turn(&mut self, buf: &mut [u8]) -> io::Result<Turn> {
        let got = match read_now(&self.stream, &mut buf[ROOM..])? {
            None => return Ok(QUIET),
            Some(0) => return Ok(ENDED),
            Some(got) => got,
        };
        let mut start = ROOM;
        if let Some(rest) = &mut self.rest {
            start -= rest.cut.len();
            buf[start..ROOM].copy_from_slice(&rest.cut);
            rest.cut.clear();
            if rest.unsent.is_empty() {
                self.rest = None;
            }
        }
        let bytes = &mut buf[start..ROOM + got];
        let mut turn = if self.upgraded { self.frames(bytes)? } else { self.request(bytes)? };
        turn.frames = turn.frames.start + start..turn.frames.end + start;
        turn.more = got == READ;
        Ok(turn)
    }

    /// Turns client frames into server frames in place, each at or before where it was: a header without a mask is
    /// shorter. Control frames are answered here.
    #[inline]
    fn frames(&mut self, bytes: &mut [u8]) -> io::Result<Turn> {
        let (mut at, mut out, mut ended) = (0, 0, false);
        while let Some(header) = Header::parse(&bytes[at..]) {
            let (body, end) = (at + header.header_len, at + header.header_len + header.payload_len);
            if end > bytes.len() {
                break;
            }
            let (Some(mask), 0) = (header.mask, header.first & 0x70) else { return Ok(ENDED) };
            unmask(&mut bytes[body..end], mask);
            if header.is_control() {
                ended = self.control(&header, &bytes[body..end])?;
            } else {
                let mut head = [0; 10];
                let len = write_header(&mut head, header.first, header.payload_len);
                bytes[out..out + len].copy_from_slice(&head[..len]);
                bytes.copy_within(body..end, out + len);
                out += len + header.payload_len;
            }
            at = end;
            if ended {
                break;
            }
        }
        if at < bytes.len() && !ended {
            self.keep(&bytes[at..])?;
        }
        Ok(Turn { frames: 0..out, ended, ..QUIET })
    }

    /// Answers a control frame; `true` when it was a close.
    #[cold]
    fn control(&mut self, header: &Header, payload: &[u8]) -> io::Result<bool> {
        let opcode = header.opcode();
        if opcode == PING || opcode == CLOSE {
            let mut head = [0; 10];
            let answer = if opcode == PING { PONG } else { CLOSE };
            let len = write_header(&mut head, 0x80 | answer, payload.len());
            write_now(&self.stream, &[&head[..len], payload].concat())?;
        }
        Ok(opcode == CLOSE)
    }

    fn request(&mut self, bytes: &mut [u8]) -> io::Result<Turn> {
        let (answer, end) = match http::answer(bytes) {
            None => {
                self.keep(bytes)?;
                return Ok(QUIET);
            }
            Some(answer) => answer,
        };
        match answer {
            Answer::Upgrade(text) => {
                write_now(&self.stream, text.as_bytes())?;
                self.upgraded = true;
                let mut turn = self.frames(&mut bytes[end..])?;
                turn.frames = turn.frames.start + end..turn.frames.end + end;
                Ok(Turn { opened: true, ..turn })
            }
            Answer::Plain(text) => {
                write_now(&self.stream, text.as_bytes())?;
                Ok(ENDED)
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > ROOM {
            return Err(io::Error::other("the floor takes frames up to 64 KiB"));
        }
        self.rest.get_or_insert_default().cut.extend_from_slice(bytes);
        Ok(())
    }

    /// One `send`; bytes that do not go are kept until the socket has room.
    #[inline]
    pub(crate) fn send(&mut self, poll: &Poll, token: u64, bytes: &[u8]) -> io::Result<()> {
        let stuck = self.rest.as_ref().is_some_and(|rest| !rest.unsent.is_empty());
        let sent = if stuck { 0 } else { write_now(&self.stream, bytes)? };
        if sent == bytes.len() { Ok(()) } else { self.stuck(poll, token, &bytes[sent..]) }
    }

    #[cold]
    fn stuck(&mut self, poll: &Poll, token: u64, bytes: &[u8]) -> io::Result<()> {
        let rest = self.rest.get_or_insert_default();
        rest.unsent.extend_from_slice(bytes);
        if rest.unsent.len() > UNSENT {
            return Err(io::Error::other("a reader that does not read"));
        }
        poll.modify(&self.stream, token, true)
    }

    /// Sends what was stuck.
    pub(crate) fn flush(&mut self, poll: &Poll, token: u64) -> io::Result<()> {
        let Some(rest) = &mut self.rest else { return Ok(()) };
        let sent = write_now(&self.stream, &rest.unsent)?;
        rest.unsent.drain(..sent);
        if rest.unsent.is_empty() { poll.modify(&self.stream, token, false) } else { Ok(()) }
    }
}
