//! The input of a connection: what becomes of each frame and each message that it reads.

use std::ops::Range;

use codes::close::ClosedBy;
use protocol::assembler::{self, Violation};
use protocol::frame::{self, Message, Opcode, Whole};
use protocol::reflected::Reflected;

use super::{Connection, Phase};
use crate::worker::application::Routed;
use crate::worker::scheduler::{self, Budget};

/// What a frame costs that is no whole message, as [`scheduler::charge`] counts, beside its bytes: a control frame, a fragment, a
/// part of a frame.
const FRAME: u64 = 2;

/// Charges a frame, or a part of one, of so many bytes to the turn. The router charges messages.
pub(super) fn charge_frame(len: usize) {
    scheduler::charge(FRAME + scheduler::bytes(len));
}

impl Connection {
    /// Takes in a frame that lies whole at `at`.
    #[inline]
    pub(super) fn whole(
        &mut self,
        bytes: &mut [u8],
        at: usize,
        whole: &Whole,
        reflected: &mut Reflected,
        budget: &Budget,
    ) {
        let frame = at..at + whole.len;
        let payload = at + whole.head_len..frame.end;
        frame::unmask(&mut bytes[payload.clone()], whole.mask);
        match whole.opcode {
            Opcode::Text => self.text(bytes, frame, whole.head_len, reflected, budget),
            Opcode::Binary => self.message(Message::Binary(&bytes[payload]), budget),
            Opcode::Ping if self.phase == Phase::Open && self.registration.handle.writer().is_clear() => {
                charge_frame(whole.len);
                reflected.add_pong(bytes, frame, whole.head_len);
            }
            opcode => {
                charge_frame(whole.len);
                self.control(opcode, &bytes[payload]);
            }
        }
    }

    /// Takes in a text frame, which is unmasked.
    fn text(
        &mut self,
        bytes: &mut [u8],
        frame: Range<usize>,
        head_len: usize,
        reflected: &mut Reflected,
        budget: &Budget,
    ) {
        let Ok(text) = simdutf8::basic::from_utf8(&bytes[frame.start + head_len..frame.end]) else {
            return self.fail(Violation::BAD_UTF8);
        };
        if self.phase != Phase::Open {
            self.message(Message::Text(text), budget);
        } else if self.route(Message::Text(text), true, budget) {
            reflected.add(bytes, frame, head_len);
        }
    }

    /// Takes in a message that can't go back from where it lies.
    pub(super) fn message(&mut self, message: Message<'_>, budget: &Budget) {
        if self.phase == Phase::Open {
            self.route(message, false, budget);
        } else {
            self.inbox().counters.messages_after_close.add(1);
        }
    }

    #[inline(never)]
    pub(super) fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        match opcode {
            Opcode::Close => self.peer_closes(payload),
            Opcode::Ping if self.phase == Phase::Open => self.push_pong(payload),
            Opcode::Pong if self.phase == Phase::Open && payload != frame::HEARTBEAT => {
                self.registration.app.on_pong(&self.registration.handle, payload);
            }
            _ => {}
        }
    }

    /// Answers a ping behind what waits in the outbox.
    fn push_pong(&self, payload: &[u8]) {
        let (pong, len) = frame::encode_control(Opcode::Pong, payload);
        self.registration.handle.push_control(&pong[..len]);
        // A flood of pings whose answers nobody reads.
        self.registration.handle.bound_control(self.inbox().limits.outbox_bytes);
    }

    /// The peer began the close handshake, or answered ours (RFC 6455, section 5.5.1). Its code and reason are sent back. In an
    /// answer they mean nothing any more.
    fn peer_closes(&mut self, payload: &[u8]) {
        let (code, reason) = match assembler::read_close(payload) {
            Ok(said) => said,
            Err(violation) => return self.fail(violation),
        };
        self.conclude(code, reason, ClosedBy::Peer);
    }

    /// True if it is to be echoed.
    fn route(&mut self, message: Message<'_>, may_echo: bool, budget: &Budget) -> bool {
        match self.registration.app.on_message(&self.registration.handle, message, may_echo, budget) {
            Routed::Done => false,
            Routed::Echo => true,
            Routed::Unfinished(relaying) => {
                self.relaying = Some(relaying);
                false
            }
        }
    }
}
