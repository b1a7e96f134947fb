//! The protocol beyond whole plain frames: cut frames, fragments, control frames, the close handshake, and
//! everything that breaks the rules. tungstenite's sans-IO core does it.
//!
//! A context is needed only while a connection is inside such a thing. A clean one holds no state of a connection,
//! so each worker keeps a few and lends them: an idle connection owns no buffer and no context.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, Message, Role, WebSocketConfig, WebSocketContext,
};

use super::close;

/// Bytes that tungstenite takes at a time, and allocates for a context.
const READ_BUFFER: usize = 4 * 1024;
/// Contexts that a worker keeps for reuse, unless they took a message larger than this: their buffer stays that large.
const SPARE_CONTEXTS: usize = 16;
const SPARE_MESSAGE: usize = 64 * 1024;
/// Longest reason of a close frame: a control frame's 125 bytes less the code (RFC 6455, section 5.5).
pub(super) const MAX_REASON: usize = 123;

thread_local! {
    static SPARE: RefCell<Vec<Protocol>> = const { RefCell::new(Vec::new()) };
}

/// A tungstenite context, in the middle of something.
#[derive(Debug)]
pub struct Protocol {
    context: Box<WebSocketContext>,
    max_payload: usize,
    /// Size of the largest message so far.
    largest: usize,
}

/// What came of feeding bytes.
#[derive(Debug)]
pub enum Step {
    /// A message is complete. There may be more.
    Text(Utf8Bytes),
    /// A message is complete. There may be more.
    Binary(Bytes),
    /// The peer began or answered the close handshake. There may be more.
    PeerCloses {
        /// 1005 if the frame had none.
        code: u16,
        /// Its reason.
        reason: Box<str>,
    },
    /// All bytes are used up.
    Hungry,
    /// Both sides have sent their close frames: the connection can end.
    Closed,
    /// The peer broke the rules: the connection has to end with this code.
    Broken {
        /// 1002, 1007 or 1009.
        code: u16,
        /// What was wrong.
        reason: &'static str,
    },
}

/// tungstenite's view of the socket: bytes that were read, and a buffer for what it answers.
struct Io<'a, 'b> {
    input: &'a mut &'b [u8],
    output: &'a mut Vec<u8>,
}

impl Read for Io<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Io<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Protocol {
    /// A clean context, of which messages over `max_payload` bytes are refused.
    pub(super) fn borrow(max_payload: usize) -> Protocol {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        spare.filter(|spare| spare.max_payload == max_payload).unwrap_or_else(|| {
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER)
                .write_buffer_size(0)
                .max_message_size(Some(max_payload))
                .max_frame_size(Some(max_payload));
            let context = Box::new(WebSocketContext::new(Role::Server, Some(config)));
            Protocol { context, max_payload, largest: 0 }
        })
    }

    /// Gives back a context that is between messages and has not begun to close.
    pub(super) fn give_back(self) {
        debug_assert!(self.context.can_write());
        if self.largest > SPARE_MESSAGE {
            return;
        }
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_CONTEXTS {
                spare.push(self);
            }
        });
    }

    /// Takes bytes from `input` up to the next thing to tell. What has to be answered is added to `output`.
    pub(super) fn feed(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Step {
        let mut io = Io { input, output };
        loop {
            return match self.context.read(&mut io) {
                Ok(Message::Text(text)) => {
                    self.largest = self.largest.max(text.len());
                    Step::Text(text)
                }
                Ok(Message::Binary(bytes)) => {
                    self.largest = self.largest.max(bytes.len());
                    Step::Binary(bytes)
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Ok(Message::Close(frame)) => match frame {
                    Some(frame) => {
                        Step::PeerCloses { code: frame.code.into(), reason: frame.reason.as_str().into() }
                    }
                    None => Step::PeerCloses { code: close::NO_STATUS, reason: Box::default() },
                },
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Step::Hungry,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => Step::Closed,
                Err(Error::Utf8(_)) => Step::Broken { code: close::BAD_UTF8, reason: "invalid UTF-8" },
                Err(Error::Capacity(_)) => {
                    Step::Broken { code: close::TOO_LARGE, reason: "message larger than limits.maxPayload" }
                }
                Err(_) => Step::Broken { code: close::PROTOCOL, reason: "protocol error" },
            };
        }
    }

    /// Begins the close handshake, if it has not begun. Adds the close frame to `output`.
    pub(super) fn close(&mut self, code: u16, reason: &str, output: &mut Vec<u8>) {
        let mut end = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = (code != close::NO_STATUS)
            .then(|| CloseFrame { code: CloseCode::from(code), reason: reason[..end].into() });
        // Writing to a vector can't fail; that the handshake may be complete is found out by the next read.
        let _ = self.context.close(&mut Io { input: &mut &[][..], output }, frame);
    }
}
