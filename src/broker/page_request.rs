//! A request for a page of a topic's history.

use history::position::Position;

use super::history::MAX_READ_BYTES;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// The messages behind this one are meant; otherwise those from the oldest on.
    pub after: Option<Position>,
    /// Most messages.
    pub limit: u32,
    /// Most bytes of them, of which the last message may have more.
    pub bytes: usize,
}

impl PageRequest {
    /// One with the most bytes that are read at once.
    pub fn new(after: Option<Position>, limit: u32) -> PageRequest {
        PageRequest { after, limit, bytes: MAX_READ_BYTES }
    }
}
