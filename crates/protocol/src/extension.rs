//! The place of an extension that changes messages (RFC 6455, section 9), such as the compression of RFC 7692.

use crate::assembler::Violation;

/// The extension that was negotiated for a connection. A message is its own if the first frame of it has a reserved bit that it claims. No other
/// frame may have one, neither the fragments that follow nor control frames.
pub trait Extension {
    /// True if a message may begin with these reserved bits of a frame's first byte (0x40, 0x20, 0x10), of which some are set.
    fn claims(&self, bits: u8) -> bool;

    /// Puts what the next bytes of its message mean behind `decoded`, `room` bytes at most. `ends`: they are the last ones.
    ///
    /// # Errors
    /// [`Violation::TOO_LARGE`] if that is more, another one if the bytes mean nothing.
    fn decode(
        &mut self,
        bytes: &[u8],
        ends: bool,
        room: usize,
        decoded: &mut Vec<u8>,
    ) -> Result<(), Violation>;
}

/// None was negotiated: every reserved bit is a violation.
#[derive(Debug, Default)]
pub struct NoExtension;

impl Extension for NoExtension {
    fn claims(&self, _: u8) -> bool {
        false
    }

    fn decode(&mut self, _: &[u8], _: bool, _: usize, _: &mut Vec<u8>) -> Result<(), Violation> {
        Err(Violation::RESERVED)
    }
}
