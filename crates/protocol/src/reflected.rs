//! Frames of one read that go back to their sender alone: messages, and pings as pongs. They become frames of ours where they
//! were read, one after the other.

use std::ops::Range;

use super::frame::{self, Opcode};

/// See the module.
#[derive(Debug, Default)]
pub struct Reflected {
    /// The place of the frames.
    pub range: Range<usize>,
    /// The number of messages among them.
    pub messages: u32,
}

impl Reflected {
    /// Adds a message: makes a frame that was read, and is unmasked, one of ours behind those before it.
    #[inline]
    pub fn add(&mut self, bytes: &mut [u8], frame: Range<usize>, head_len: usize) {
        self.append(bytes, frame, head_len, Opcode::Text);
        self.messages += 1;
    }

    /// Adds the answer to a ping in the same way.
    pub fn add_pong(&mut self, bytes: &mut [u8], frame: Range<usize>, head_len: usize) {
        self.append(bytes, frame, head_len, Opcode::Pong);
    }

    #[inline(always)]
    fn append(&mut self, bytes: &mut [u8], frame: Range<usize>, head_len: usize, opcode: Opcode) {
        let frame = frame::rehead(bytes, frame, head_len, opcode);
        if self.range.is_empty() {
            self.range = frame;
        } else {
            let end = self.range.end;
            self.range.end += frame.len();
            // Ours is shorter than the client's, so that it does not reach the next one.
            bytes.copy_within(frame, end);
        }
    }

    /// The bytes that were read lie so much further back in a buffer.
    pub fn shift(&mut self, by: usize) {
        self.range.start += by;
        self.range.end += by;
    }
}
