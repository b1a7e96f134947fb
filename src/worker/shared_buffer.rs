//! The buffer that all connections of a worker read into, and what of it is yet to be sent back.
//!
//! A message that a client says to itself alone is sent from where it was read, but not before a few others have read too: a
//! system call is quicker behind one of its own kind, whose code the processor still has at hand.

use std::cell::RefCell;
use std::io;

use protocol::reflected::Reflected;

use super::token::Token;

/// Bytes that may be read while something is kept, by all: longer reads would make it wait.
const MAX_READ: usize = 16 * 1024;
/// The same as a share of the buffer, of which the rest is free for a long read: one part in so many.
const SHARE: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SharedBuffer(RefCell<Buffer>);

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// The beginning of the free part.
    free: usize,
    /// Bytes that were read since nothing was kept: no less than that.
    read: usize,
    /// Whose messages lie before that, in the order in which they were read.
    reflected: Vec<(Token, Reflected)>,
}

/// The result of a read.
pub(super) struct Read {
    pub len: usize,
    /// There may be more: the buffer was too short to know.
    pub filled: bool,
}

impl SharedBuffer {
    /// Has a connection read into what is free of a buffer of `size` bytes. `take_in` says how many it read, and what of them it
    /// is to get back.
    ///
    /// # Errors
    /// The error of `take_in`.
    pub(super) fn read(
        &self,
        size: usize,
        token: Token,
        take_in: impl FnOnce(&mut [u8]) -> io::Result<(usize, Reflected)>,
    ) -> io::Result<Read> {
        let buffer = &mut *self.0.borrow_mut();
        if buffer.bytes.is_empty() {
            buffer.bytes.resize(size, 0);
        }
        let free = &mut buffer.bytes[buffer.free..];
        let room = free.len();
        let (len, mut reflected) = take_in(free)?;
        buffer.read += len;
        if !reflected.range.is_empty() {
            reflected.shift(buffer.free);
            buffer.free = reflected.range.end;
            buffer.reflected.push((token, reflected));
        }
        Ok(Read { len, filled: len == room })
    }

    /// So much was read that what is kept has to be sent back before the next turn.
    pub(super) fn is_crowded(&self) -> bool {
        let buffer = self.0.borrow();
        buffer.read > MAX_READ.min(buffer.bytes.len() / SHARE)
    }

    /// True if something is kept for a connection.
    pub(super) fn holds(&self, token: Token) -> bool {
        self.0.borrow().reflected.iter().any(|&(whose, _)| whose == token)
    }

    /// Hands out what the connection whose turn it is has kept in this turn, if anything: frames, and of how many messages.
    pub(super) fn take_own(&self, token: Token, send: impl FnOnce(&[u8], u32)) {
        let buffer = &mut *self.0.borrow_mut();
        if let Some((_, reflected)) = buffer.reflected.pop_if(|(whose, _)| *whose == token) {
            send(&buffer.bytes[reflected.range.clone()], reflected.messages);
            buffer.free = buffer.reflected.last().map_or(0, |(_, before)| before.range.end);
        }
    }

    /// Hands out all that is kept here: whose, frames, and of how many messages.
    pub(super) fn take_all(&self, mut send: impl FnMut(Token, &[u8], u32)) {
        let buffer = &mut *self.0.borrow_mut();
        for (token, reflected) in buffer.reflected.drain(..) {
            send(token, &buffer.bytes[reflected.range], reflected.messages);
        }
        (buffer.free, buffer.read) = (0, 0);
    }
}
