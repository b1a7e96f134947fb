//! Messages on their way out: encoded once for each kind of recipient, however many there are of it.

use std::cell::OnceCell;
use std::sync::Arc;

use history::position::Position;
use protocol::frame::{Head, Message, append, encode_head};
use subprotocol::server_message;
use subprotocol::stream::Stream;

use super::memory::SharedFrame;
use super::scheduler::{bytes, charge};

/// Bodies up to this size are copied into each recipient's send queue; longer ones are encoded once and shared.
/// A copy of this size costs less than the reference count and the extra slice of a vectored write.
pub(crate) const COPY_LIMIT: usize = 1024;

/// A kind of recipient: what a connection agreed on for the messages that it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Each message is one frame, without extensions and envelope.
    #[default]
    Plain,
    /// Each message is one of the subprotocol `actory.v1`, with its topic and its position.
    Enveloped,
    /// Each message is two frames, of which the first is empty.
    #[cfg(test)]
    Fragmented,
}

/// The topic of messages, and the position of each. Nothing, if they are for one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamps<'a> {
    pub stream: Option<Stream<'a>>,
    pub positions: &'a [Option<Position>],
}

/// One message, or a few, for all its recipients.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    /// Encoded at once, before a group is locked. Other kinds are made of these frames, when the first recipient of a kind asks.
    plain: Frames<'a>,
    stamps: Stamps<'a>,
    enveloped: OnceCell<Frames<'static>>,
    #[cfg(test)]
    fragmented: OnceCell<Frames<'static>>,
}

impl<'a> Outgoing<'a> {
    /// A message.
    #[inline]
    pub(crate) fn new(message: Message<'a>, stamps: Stamps<'a>) -> Self {
        Outgoing::plain(Frames::plain(message), stamps)
    }

    /// Messages whose plain frames follow each other in `frames`, see [`append`]. Takes them if they are
    /// many bytes.
    pub(crate) fn of(frames: &'a mut Vec<u8>, messages: u32, stamps: Stamps<'a>) -> Self {
        let body = match frames.len() {
            ..=COPY_LIMIT => Payload::Copied(frames),
            _ => Payload::Shared(SharedFrame::new(std::mem::take(frames))),
        };
        Outgoing::plain(Frames { head: [0; 10], head_len: 0, messages, body }, stamps)
    }

    fn plain(plain: Frames<'a>, stamps: Stamps<'a>) -> Self {
        Outgoing {
            plain,
            stamps,
            enveloped: OnceCell::new(),
            #[cfg(test)]
            fragmented: OnceCell::new(),
        }
    }

    /// Its frames for a recipient of this kind.
    #[inline]
    pub(crate) fn frames(&self, encoding: Encoding) -> &Frames<'a> {
        match encoding {
            Encoding::Plain => &self.plain,
            Encoding::Enveloped => self.enveloped.get_or_init(|| self.plain.envelope(&self.stamps)),
            #[cfg(test)]
            Encoding::Fragmented => self.fragmented.get_or_init(|| tests::fragment(&self.plain)),
        }
    }
}

/// Frames of a server, which are not masked (RFC 6455, section 5.1).
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    head: [u8; 10],
    head_len: u8,
    messages: u32,
    body: Payload<'a>,
}

#[derive(Debug)]
enum Payload<'a> {
    Copied(&'a [u8]),
    /// Whole frames that each send queue copies.
    Own(Box<[u8]>),
    /// The whole frame, head included.
    Shared(Arc<SharedFrame>),
}

impl Frames<'static> {
    /// Messages whose frames follow each other, for one recipient.
    pub(crate) fn of(frames: Vec<u8>, messages: u32) -> Self {
        let body = match frames.len() {
            ..=COPY_LIMIT => Payload::Own(frames.into()),
            _ => Payload::Shared(SharedFrame::new(frames)),
        };
        Frames { head: [0; 10], head_len: 0, messages, body }
    }
}

impl Frames<'static> {
    /// A message of its own for one recipient, as it is.
    pub(crate) fn one(message: Message<'_>) -> Self {
        let mut frame = Vec::new();
        append(&mut frame, message);
        Frames::of(frame, 1)
    }
}

impl<'a> Frames<'a> {
    /// A text as it is, whatever its recipients speak.
    pub(crate) fn text(text: &'a str) -> Self {
        Frames::plain(Message::Text(text))
    }

    /// The same messages for recipients that speak the subprotocol.
    fn envelope(&self, stamps: &Stamps<'_>) -> Frames<'static> {
        let mut frames = Vec::with_capacity(self.wire_len() + 64 * self.messages as usize);
        let mut add = |index: usize, first: u8, payload: &[u8]| {
            let message = match first & 0x0F {
                0x1 => std::str::from_utf8(payload).map_or(Message::Binary(payload), Message::Text),
                _ => Message::Binary(payload),
            };
            let position = stamps.positions.get(index).copied().flatten();
            if let Some(body) = server_message::message(stamps.stream, position, false, message) {
                append(&mut frames, body.as_message());
            }
        };
        match self.encoded() {
            Encoded::Copied(head, payload) if !head.is_empty() => add(0, head[0], payload),
            Encoded::Copied(_, mut rest) => walk(&mut rest, add),
            Encoded::Shared(whole) => walk(&mut &whole[..], add),
        }
        // Each text was read as JSON for it.
        charge(2 * bytes(frames.len()));
        Frames::of(frames, self.messages)
    }

    /// A message as a single unfragmented frame.
    #[inline]
    fn plain(message: Message<'a>) -> Self {
        let payload = message.payload();
        let (head, head_len) = encode_head(message.opcode(), payload.len());
        let body = match payload.len() {
            ..=COPY_LIMIT => Payload::Copied(payload),
            _ => Payload::Shared(SharedFrame::new([&head[..usize::from(head_len)], payload].concat())),
        };
        Frames { head, head_len, messages: 1, body }
    }

    /// The number of messages.
    pub(crate) fn messages(&self) -> u32 {
        self.messages
    }

    /// Bytes on the wire.
    pub(crate) fn wire_len(&self) -> usize {
        match &self.body {
            Payload::Copied(payload) => usize::from(self.head_len) + payload.len(),
            Payload::Own(frames) => frames.len(),
            Payload::Shared(whole) => whole.len(),
        }
    }

    /// Bytes that each send queue copies.
    pub(crate) fn copied_len(&self) -> usize {
        match &self.body {
            Payload::Copied(payload) => payload.len(),
            Payload::Own(frames) => frames.len(),
            Payload::Shared(_) => 0,
        }
    }

    /// The way in which they are queued.
    pub(crate) fn encoded(&self) -> Encoded<'_> {
        match &self.body {
            Payload::Copied(payload) => Encoded::Copied(&self.head[..usize::from(self.head_len)], payload),
            Payload::Own(frames) => Encoded::Copied(&[], frames),
            Payload::Shared(whole) => Encoded::Shared(whole),
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

/// Visits frames of ours that follow each other: number, first byte and payload of each.
fn walk(rest: &mut &[u8], mut visit: impl FnMut(usize, u8, &[u8])) {
    for index in 0.. {
        let Some(head) = Head::parse(rest) else { return };
        let payload = rest.get(head.head_len..).and_then(|rest| rest.get(..head.payload_len as usize));
        let Some(payload) = payload else { return };
        visit(index, head.first, payload);
        *rest = &rest[head.head_len + payload.len()..];
    }
}

/// Bytes of frames.
#[derive(Debug)]
pub(crate) enum Encoded<'a> {
    /// Head and payload of a small one.
    Copied(&'a [u8], &'a [u8]),
    /// The whole of a large one.
    Shared(&'a Arc<SharedFrame>),
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use protocol::frame::first_frame;

    use super::*;

    thread_local! {
        static FRAGMENTED: Cell<usize> = const { Cell::new(0) };
    }

    /// The number of times that the other encoding was asked for since the last call.
    pub(crate) fn take_fragmented() -> usize {
        FRAGMENTED.take()
    }

    /// The other encoding.
    pub(super) fn fragment(plain: &Frames<'_>) -> Frames<'static> {
        FRAGMENTED.set(FRAGMENTED.get() + 1);
        let (plain, mut frames) = (plain.to_vec(), Vec::new());
        let (mut rest, mut messages) = (&plain[..], 0);
        while let Some((len, _)) = first_frame(rest) {
            // An empty frame that goes on, and the message's own as its continuation.
            frames.extend_from_slice(&[rest[0] & 0x0F, 0, 0x80]);
            frames.extend_from_slice(&rest[1..len]);
            rest = &rest[len..];
            messages += 1;
        }
        Frames { head: [0; 10], head_len: 0, messages, body: Payload::Shared(SharedFrame::new(frames)) }
    }

    #[test]
    fn messages_that_came_together_are_encoded_for_every_kind() {
        let mut plain = Vec::new();
        [Message::Text("abc"), Message::Binary(b""), Message::Text("de")]
            .into_iter()
            .for_each(|message| append(&mut plain, message));
        let outgoing = Outgoing::of(&mut plain, 3, Stamps::default());
        assert_eq!((outgoing.frames(Encoding::Plain).messages(), take_fragmented()), (3, 0));
        let other = outgoing.frames(Encoding::Fragmented);
        assert_eq!((other.messages(), take_fragmented()), (3, 1));
        assert_eq!(other.to_vec(), b"\x01\0\x80\x03abc\x02\0\x80\0\x01\0\x80\x02de");
    }

    #[test]
    fn a_small_message_is_copied_a_large_one_shared_and_both_are_as_long_as_they_say() {
        for (len, is_shared) in [(0, false), (COPY_LIMIT, false), (COPY_LIMIT + 1, true), (65_536, true)] {
            let text = "y".repeat(len);
            let outgoing = Outgoing::new(Message::Text(&text), Stamps::default());
            let frames = outgoing.frames(Encoding::Plain);
            let mut expected = Vec::new();
            append(&mut expected, Message::Text(&text));
            assert_eq!(frames.to_vec(), expected);
            assert_eq!(frames.wire_len(), expected.len());
            assert_eq!(matches!(frames.encoded(), Encoded::Shared(_)), is_shared, "{len}");
        }
    }
}
