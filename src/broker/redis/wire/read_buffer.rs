//! Bytes that were read from Redis and not yet understood.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::resp::{self, Incoming, MAX_REPLY, Malformed, Parsed};

/// Room for what is read at once.
const ROOM: usize = 64 << 10;

/// The findings of [`ReadBuffer::next`].
#[derive(Debug)]
pub(crate) enum Next<'a> {
    Item(Incoming<'a>),
    /// A message with a payload over the limit, which is skipped.
    Oversized,
    /// More has to be read first.
    Incomplete,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    /// It is at `start..end`. Empty before the first read.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of an oversized message still to be skipped.
    skip: usize,
    /// There may be an item in it that was not taken yet.
    unread: bool,
    /// Most bytes of a reply.
    longest_reply: usize,
}

impl Default for ReadBuffer {
    fn default() -> ReadBuffer {
        ReadBuffer::with_replies(MAX_REPLY)
    }
}

impl ReadBuffer {
    /// A buffer for replies of at most so many bytes.
    pub(crate) fn with_replies(longest_reply: usize) -> ReadBuffer {
        ReadBuffer { buffer: Vec::new(), start: 0, end: 0, skip: 0, unread: false, longest_reply }
    }

    /// Reads once. Ready(0): the connection has ended.
    pub(crate) fn poll_read(
        &mut self,
        wire: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.end == self.buffer.len() {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.buffer.resize((self.buffer.len() * 2).max(ROOM), 0);
            }
        }
        let mut room = ReadBuf::new(&mut self.buffer[self.end..]);
        ready!(wire.poll_read(cx, &mut room))?;
        let n = room.filled().len();
        self.end += n;
        self.unread = n > 0;
        Poll::Ready(Ok(n))
    }

    /// True if [`ReadBuffer::next`] may have another item.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread
    }

    /// The next item. Payloads of more than `limit` bytes are not waited for.
    ///
    /// # Errors
    /// The server is no Redis.
    pub(crate) fn next(&mut self, limit: usize) -> Result<Next<'_>, Malformed> {
        let skipped = self.skip.min(self.end - self.start);
        self.skip -= skipped;
        self.start += skipped;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > ROOM {
                self.buffer = Vec::new();
            }
            self.unread = false;
            return Ok(Next::Incomplete);
        }
        match resp::parse(&self.buffer[self.start..self.end], limit)? {
            Parsed::Item(item, used) => {
                self.start += used;
                Ok(Next::Item(item))
            }
            Parsed::Oversized(bytes) => {
                self.skip = bytes;
                Ok(Next::Oversized)
            }
            Parsed::Incomplete if self.end - self.start > self.longest(limit) => Err(Malformed),
            Parsed::Incomplete => {
                self.unread = false;
                Ok(Next::Incomplete)
            }
        }
    }

    /// Most bytes of the item that is unfinished.
    fn longest(&self, limit: usize) -> usize {
        if self.buffer[self.start] == b'>' { MAX_REPLY + limit } else { self.longest_reply }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// True if an item that begins so is still waited for when so many bytes of it have come.
    fn is_awaited(begin: &str, bytes: usize, limit: usize) -> bool {
        let item = [begin.as_bytes(), &b"+\r\n".repeat(bytes / 3 + 1)].concat();
        let mut item = &item[..bytes];
        let mut buffer = ReadBuffer::default();
        loop {
            match buffer.poll_read(Pin::new(&mut item), &mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(0)) => return true,
                read => assert!(matches!(read, Poll::Ready(Ok(_)))),
            }
            if buffer.next(limit).is_err() {
                return false;
            }
        }
    }

    #[test]
    fn a_reply_that_never_ends_is_waited_for_up_to_its_own_limit_and_a_message_up_to_that_of_payloads() {
        const LIMIT: usize = 4 * MAX_REPLY;
        assert!(is_awaited("*300000\r\n", 800_000, LIMIT));
        assert!(!is_awaited("*349525\r\n", MAX_REPLY + 1, LIMIT), "an array");
        assert!(!is_awaited("*9000000\r\n", 100, LIMIT), "it can't end in time");
        let message = format!(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${LIMIT}\r\n");
        assert!(is_awaited(&message, 3 * MAX_REPLY, LIMIT), "a payload");
    }
}
