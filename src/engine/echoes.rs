//! Messages of one read that go back to their sender alone: as frames of ours, one after the other, where they were read.

use std::ops::Range;

use super::frame;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    /// Where the frames lie.
    pub range: Range<usize>,
    pub count: u32,
}

impl Echoes {
    /// Makes a frame that was read, and is unmasked, one of ours behind those before it.
    pub(super) fn add(&mut self, bytes: &mut [u8], frame: Range<usize>, head_len: usize) {
        let frame = frame::rehead(bytes, frame, head_len);
        if self.count == 0 {
            self.range = frame;
        } else {
            let end = self.range.end;
            self.range.end += frame.len();
            // Ours is shorter than the client's, so that it does not reach the next one.
            bytes.copy_within(frame, end);
        }
        self.count += 1;
    }

    /// What was read lies so much further back in a buffer.
    pub(super) fn shift(&mut self, by: usize) {
        self.range.start += by;
        self.range.end += by;
    }
}
