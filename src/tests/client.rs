//! A blocking WebSocket client that speaks raw bytes, right or wrong. Every read has a deadline.

use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use protocol::frame::HEARTBEAT;
use protocol::frame::unmask;
use socket2::Socket;

use super::harness::{ACCEPT, PATIENCE};
use crate::worker::handle::{ConnectionId, Handle};

/// First bytes of frames.
pub(super) const TEXT: u8 = 0x81;
pub(super) const BINARY: u8 = 0x82;
pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8A;

/// A masked frame, as clients send it.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = head(first, payload.len(), 0x80);
    frame.extend(MASK);
    let at = frame.len();
    frame.extend(payload);
    unmask(&mut frame[at..], MASK);
    frame
}

/// A frame without a mask, as only servers send it.
pub(super) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, payload.len(), 0), payload.to_vec()].concat()
}

/// The head of a frame, without the mask's bytes.
pub(super) fn head(first: u8, len: usize, mask: u8) -> Vec<u8> {
    match len {
        0..=125 => vec![first, mask | len as u8],
        126..=0xFFFF => [&[first, mask | 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, mask | 127][..], &(len as u64).to_be_bytes()].concat(),
    }
}

/// The payload of a close frame.
pub(super) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// Input from the server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Got {
    /// A frame: its first byte and its payload.
    Frame(u8, Vec<u8>),
    /// An orderly end of the stream.
    End,
    /// A reset.
    Reset,
}

impl Debug for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Got::Frame(first, payload) => {
                let shown = &payload[..payload.len().min(80)];
                write!(f, "Frame({first:#x}, {} bytes: {:?})", payload.len(), String::from_utf8_lossy(shown))
            }
            Got::End => f.write_str("End"),
            Got::Reset => f.write_str("Reset"),
        }
    }
}

/// The answer to an upgrade.
#[derive(Debug)]
pub(crate) struct Response {
    pub status: u16,
    /// Header lines, as they came.
    pub headers: Vec<String>,
    pub body: String,
}

impl Response {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.iter().filter_map(|line| line.split_once(": "));
        lines.filter(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub(crate) fn expect_101(&self) {
        assert_eq!(self.status, 101, "{self:?}");
        assert_eq!(self.header("Sec-WebSocket-Accept"), Some(ACCEPT));
    }

    /// A refusal: an HTTP answer with a JSON body that has this code.
    pub(crate) fn expect_refusal(&self, status: u16, code: &str) {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        assert_eq!(self.header("Content-Type"), Some("application/json"));
        assert!(self.header("Connection").is_some_and(|value| value.starts_with("close")), "{self:?}");
    }
}

/// See the module.
pub(crate) struct Client {
    pub socket: Socket,
    /// Bytes read and not yet looked at.
    buffer: Vec<u8>,
    /// A call has failed: a socket tells of a reset only once, to whichever call comes first.
    reset: bool,
    /// The server's side of it, once it is open.
    pub handle: Option<Arc<Handle>>,
}

impl Client {
    pub(crate) fn new(socket: Socket) -> Client {
        let _ = socket.set_tcp_nodelay(true);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { socket, buffer: Vec::new(), reset: false, handle: None }
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        self.handle.as_ref().unwrap()
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.handle().id
    }

    /// Sends raw bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Sends what it can; the server may have closed already.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.reset |= self.socket.write_all(bytes).is_err();
        !self.reset
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.send(&frame(TEXT, text.as_bytes()));
    }

    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        self.send(&frame(BINARY, bytes));
    }

    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.send(&frame(PING, payload));
    }

    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        self.send(&frame(CLOSE, &close_payload(code, reason)));
    }

    /// Ends the client's direction.
    pub(crate) fn finish(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends with a reset.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads until `complete` finds what it looks for in what came, and says how long that is.
    fn read_until<T>(&mut self, mut complete: impl FnMut(&[u8]) -> Option<(T, usize)>) -> Result<T, Got> {
        loop {
            if let Some((found, len)) = complete(&self.buffer) {
                self.buffer.drain(..len);
                return Ok(found);
            }
            let mut chunk = [0; 64 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) if self.reset => return Err(Got::Reset),
                Ok(0) => return Err(Got::End),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Got::Reset),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&self.buffer)),
            }
        }
    }

    /// The answer to the upgrade.
    pub(crate) fn response(&mut self) -> Response {
        let head = self.read_until(|bytes| {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
            Some((String::from_utf8_lossy(&bytes[..end]).into_owned(), end + 4))
        });
        let head = head.unwrap_or_else(|got| panic!("{got:?} instead of an answer"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let mut response =
            Response { status, headers: lines.map(String::from).collect(), body: String::new() };
        if status != 101 {
            let len = response.header("Content-Length").unwrap().parse().unwrap();
            response.body = self
                .read_until(|bytes| Some((String::from_utf8_lossy(bytes.get(..len)?).into_owned(), len)))
                .unwrap();
        }
        response
    }

    /// The next frame, or the end. Frames of a server must be final, unmasked and without reserved bits.
    pub(crate) fn next(&mut self) -> Got {
        let got = self.read_until(|bytes| {
            let (first, second) = (*bytes.first()?, *bytes.get(1)?);
            assert!(first & 0xF0 == 0x80 && second & 0x80 == 0, "a server's frame: {first:#x} {second:#x}");
            let (at, len) = match second {
                126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
                127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())),
                len => (2, u64::from(len)),
            };
            let end = at + len as usize;
            Some((Got::Frame(first, bytes.get(at..end)?.to_vec()), end))
        });
        match got {
            Ok(frame) => frame,
            Err(end) => {
                assert!(
                    end == Got::Reset || self.buffer.is_empty(),
                    "{} bytes of a frame",
                    self.buffer.len()
                );
                end
            }
        }
    }

    /// The next frame that is no ping of the heartbeat: even one of an hour pings a connection some time after its beginning.
    pub(crate) fn next_said(&mut self) -> Got {
        loop {
            match self.next() {
                Got::Frame(PING, payload) if payload == HEARTBEAT => {}
                got => return got,
            }
        }
    }

    /// A frame like this comes next, pings of the heartbeat left out.
    pub(crate) fn expect(&mut self, first: u8, payload: &[u8]) {
        let got = if first == PING { self.next() } else { self.next_said() };
        assert_eq!(got, Got::Frame(first, payload.into()));
    }

    pub(crate) fn expect_text(&mut self, text: &str) {
        self.expect(TEXT, text.as_bytes());
    }

    /// The next text message.
    pub(crate) fn next_text(&mut self) -> String {
        match self.next_said() {
            Got::Frame(TEXT, text) => String::from_utf8(text).unwrap(),
            other => panic!("{other:?} instead of a text"),
        }
    }

    /// An error frame with this code.
    pub(crate) fn expect_error(&mut self, code: &str) {
        let text = self.next_text();
        let body: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["error"]["code"].as_str(), Some(code), "{text}");
        assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
    }

    /// A close frame with this code; its reason. Messages and pings before it are skipped.
    pub(crate) fn expect_close(&mut self, code: u16) -> String {
        loop {
            match self.next() {
                Got::Frame(CLOSE, payload) => {
                    assert_eq!(payload.get(..2), Some(&code.to_be_bytes()[..]), "{payload:?}");
                    return String::from_utf8(payload[2..].into()).unwrap();
                }
                Got::Frame(..) => {}
                end => panic!("{end:?} instead of a close frame with {code}"),
            }
        }
    }

    pub(crate) fn expect_end(&mut self) {
        assert_eq!(self.next(), Got::End);
    }

    /// True if the connection is there: a ping is answered. Heartbeats that come first are left out.
    pub(crate) fn expect_alive(&mut self) {
        self.ping(b"there?");
        loop {
            match self.next() {
                Got::Frame(PING, _) => {}
                got => return assert_eq!(got, Got::Frame(PONG, b"there?".into())),
            }
        }
    }

    /// The next frame or the end, if it comes soon.
    pub(crate) fn next_within(&mut self, patience: Duration) -> Option<Got> {
        if self.buffer.is_empty() {
            self.socket.set_read_timeout(Some(patience)).unwrap();
            let peeked = self.socket.peek(&mut [std::mem::MaybeUninit::uninit()]);
            self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
            match peeked {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => self.reset = true,
                Ok(_) => {}
            }
        }
        Some(self.next())
    }

    /// Sees that nothing comes for a while.
    pub(crate) fn expect_silence(&mut self, glance: Duration) {
        assert!(self.buffer.is_empty(), "{:?}", String::from_utf8_lossy(&self.buffer));
        self.socket.set_read_timeout(Some(glance)).unwrap();
        let mut byte = [0];
        let read = self.socket.read(&mut byte);
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(read.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{read:?} {byte:?}");
    }
}
