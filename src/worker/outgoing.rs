//! A message on its way out: encoded once, however many connections get it.

use std::sync::Arc;

use protocol::frame::{Message, encode_head};

use super::memory::SharedFrame;

/// Bodies up to this size are copied into each recipient's outbox; longer ones are encoded once and shared.
/// A copy of this size costs less than the reference count and the extra slice of a vectored write.
pub(crate) const COPY_LIMIT: usize = 1024;

/// One message, or a few. Frames of a server are not masked (RFC 6455, section 5.1).
#[derive(Debug)]
pub struct Outgoing<'a> {
    head: [u8; 10],
    head_len: u8,
    messages: u32,
    body: Body<'a>,
}

#[derive(Debug)]
enum Body<'a> {
    Copied(&'a [u8]),
    /// The whole frame, head included.
    Shared(Arc<SharedFrame>),
}

impl<'a> Outgoing<'a> {
    /// Encodes a message as a single unfragmented frame.
    #[inline]
    pub fn new(message: Message<'a>) -> Self {
        let payload = message.payload();
        let (head, head_len) = encode_head(message.opcode(), payload.len());
        let body = match payload.len() {
            ..=COPY_LIMIT => Body::Copied(payload),
            _ => Body::Shared(SharedFrame::new([&head[..usize::from(head_len)], payload].concat())),
        };
        Outgoing { head, head_len, messages: 1, body }
    }

    /// Messages whose frames follow each other in `frames`, see [`append`](protocol::frame::append). Takes them if they are many bytes.
    pub fn of(frames: &'a mut Vec<u8>, messages: u32) -> Self {
        let body = match frames.len() {
            ..=COPY_LIMIT => Body::Copied(frames),
            _ => Body::Shared(SharedFrame::new(std::mem::take(frames))),
        };
        Outgoing { head: [0; 10], head_len: 0, messages, body }
    }

    /// How many messages it is.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Bytes on the wire.
    pub fn wire_len(&self) -> usize {
        match &self.body {
            Body::Copied(payload) => usize::from(self.head_len) + payload.len(),
            Body::Shared(whole) => whole.len(),
        }
    }

    /// Bytes of it that each outbox copies.
    pub fn copied_len(&self) -> usize {
        match &self.body {
            Body::Copied(payload) => payload.len(),
            Body::Shared(_) => 0,
        }
    }

    /// How the frame is to be queued.
    pub fn encoded(&self) -> Encoded<'_> {
        match &self.body {
            Body::Copied(payload) => Encoded::Copied(&self.head[..usize::from(self.head_len)], payload),
            Body::Shared(whole) => Encoded::Shared(whole),
        }
    }

    /// The bytes on the wire, for tests.
    #[cfg(test)]
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        match self.encoded() {
            Encoded::Copied(head, payload) => [head, payload].concat(),
            Encoded::Shared(whole) => whole.to_vec(),
        }
    }
}

/// A frame's bytes.
#[derive(Debug)]
pub enum Encoded<'a> {
    /// Head and payload of a small frame.
    Copied(&'a [u8], &'a [u8]),
    /// The whole of a large one.
    Shared(&'a Arc<SharedFrame>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_message_is_copied_a_large_one_shared_and_both_are_as_long_as_they_say() {
        for (len, is_shared) in [(0, false), (COPY_LIMIT, false), (COPY_LIMIT + 1, true), (65_536, true)] {
            let text = "y".repeat(len);
            let outgoing = Outgoing::new(Message::Text(&text));
            let mut expected = Vec::new();
            protocol::frame::append(&mut expected, Message::Text(&text));
            assert_eq!(outgoing.to_vec(), expected);
            assert_eq!(outgoing.wire_len(), expected.len());
            assert_eq!(matches!(outgoing.encoded(), Encoded::Shared(_)), is_shared, "{len}");
        }
    }
}
