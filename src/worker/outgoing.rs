//! Messages on their way out: encoded once for each kind of recipient, however many there are of it, when the first asks.

use std::cell::OnceCell;
use std::sync::Arc;

use protocol::frame::{Message, encode_head};

use super::memory::SharedFrame;

/// Bodies up to this size are copied into each recipient's send queue; longer ones are encoded once and shared.
/// A copy of this size costs less than the reference count and the extra slice of a vectored write.
pub(crate) const COPY_LIMIT: usize = 1024;

/// A kind of recipient: what a connection agreed on for the messages that it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Each message is one frame, without extensions and envelope.
    #[default]
    Plain,
    /// Each message is two frames, of which the first is empty.
    #[cfg(test)]
    Fragmented,
}

impl Encoding {
    const COUNT: usize = if cfg!(test) { 2 } else { 1 };
}

/// One message, or a few, for all its recipients.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    /// None if its plain frames are what it was made of.
    source: Option<Message<'a>>,
    /// By [`Encoding`].
    frames: [OnceCell<Frames<'a>>; Encoding::COUNT],
}

impl<'a> Outgoing<'a> {
    /// A message, which is not encoded yet.
    #[inline]
    pub(crate) fn new(message: Message<'a>) -> Self {
        Outgoing { source: Some(message), frames: Default::default() }
    }

    /// Messages whose plain frames follow each other in `frames`, see [`append`](protocol::frame::append). Takes them if they are
    /// many bytes.
    pub(crate) fn of(frames: &'a mut Vec<u8>, messages: u32) -> Self {
        let body = match frames.len() {
            ..=COPY_LIMIT => Body::Copied(frames),
            _ => Body::Shared(SharedFrame::new(std::mem::take(frames))),
        };
        let outgoing = Outgoing { source: None, frames: Default::default() };
        let plain = Frames { head: [0; 10], head_len: 0, messages, body };
        let _ = outgoing.frames[Encoding::Plain as usize].set(plain);
        outgoing
    }

    /// Its frames for a recipient of this kind.
    #[inline]
    pub(crate) fn frames(&self, encoding: Encoding) -> &Frames<'a> {
        self.frames[encoding as usize].get_or_init(|| self.encode(encoding))
    }

    fn encode(&self, encoding: Encoding) -> Frames<'a> {
        match encoding {
            Encoding::Plain => Frames::plain(self.source.unwrap_or(Message::Binary(&[]))),
            #[cfg(test)]
            Encoding::Fragmented => tests::fragment(self),
        }
    }

    /// Calls with each of its messages.
    #[cfg(test)]
    fn for_each(&self, mut call: impl FnMut(Message<'_>)) {
        if let Some(message) = self.source {
            return call(message);
        }
        let frames = self.frames(Encoding::Plain).to_vec();
        let mut rest = &frames[..];
        while let Some((len, _)) = protocol::frame::first_frame(rest) {
            let (frame, behind) = rest.split_at(len);
            let head_len = protocol::frame::payload_len(frame).map_or(len, |(_, head_len)| head_len);
            call(Message::Binary(&frame[head_len..]));
            rest = behind;
        }
    }
}

/// Frames of a server, which are not masked (RFC 6455, section 5.1).
#[derive(Debug)]
pub(crate) struct Frames<'a> {
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

impl<'a> Frames<'a> {
    /// A message as a single unfragmented frame.
    #[inline]
    fn plain(message: Message<'a>) -> Self {
        let payload = message.payload();
        let (head, head_len) = encode_head(message.opcode(), payload.len());
        let body = match payload.len() {
            ..=COPY_LIMIT => Body::Copied(payload),
            _ => Body::Shared(SharedFrame::new([&head[..usize::from(head_len)], payload].concat())),
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
            Body::Copied(payload) => usize::from(self.head_len) + payload.len(),
            Body::Shared(whole) => whole.len(),
        }
    }

    /// Bytes that each send queue copies.
    pub(crate) fn copied_len(&self) -> usize {
        match &self.body {
            Body::Copied(payload) => payload.len(),
            Body::Shared(_) => 0,
        }
    }

    /// The way in which they are queued.
    pub(crate) fn encoded(&self) -> Encoded<'_> {
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

/// Bytes of frames.
#[derive(Debug)]
pub(crate) enum Encoded<'a> {
    /// Head and payload of a small one.
    Copied(&'a [u8], &'a [u8]),
    /// The whole of a large one.
    Shared(&'a Arc<SharedFrame>),
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::registry::Registry;
    use crate::registry::delivery::deliver;
    use crate::registry::recipients::Channel;
    use crate::worker::handle::{Handle, Peer};
    use crate::worker::inbox::Inbox;

    thread_local! {
        static FRAGMENTED: Cell<usize> = const { Cell::new(0) };
    }

    /// The other encoding. Notes that it was asked for.
    pub(super) fn fragment<'a>(outgoing: &Outgoing<'a>) -> Frames<'a> {
        FRAGMENTED.set(FRAGMENTED.get() + 1);
        let (mut frames, mut messages) = (Vec::new(), 0);
        outgoing.for_each(|message| {
            let (mut head, head_len) = encode_head(message.opcode(), message.payload().len());
            // A continuation frame.
            head[0] = 0x80;
            frames.extend_from_slice(&[message.opcode() as u8, 0]);
            frames.extend_from_slice(&[&head[..usize::from(head_len)], message.payload()].concat());
            messages += 1;
        });
        Frames { head: [0; 10], head_len: 0, messages, body: Body::Shared(SharedFrame::new(frames)) }
    }

    #[test]
    fn a_fan_out_encodes_a_message_once_for_each_kind_among_its_recipients_and_for_no_other() {
        let registry = Registry::default();
        let inbox = Arc::new(Inbox::of_test(0));
        let add = |id: u64, user: &str, encoding| {
            let handle = Handle::new(id, user.into(), Peer::default(), inbox.clone());
            let handle = Arc::new(handle.with_encoding(encoding));
            registry.add(&handle);
            handle
        };
        let plain = [1, 2].map(|id| add(id, "plain", Encoding::Plain));
        let send = |channel: Channel<'_>| deliver(&registry, channel, Message::Text("abc"), 1 << 20);
        assert_eq!((send(Channel::Everyone), FRAGMENTED.take()), (2, 0), "nobody is of that kind");
        let fragmented = [3, 4, 5].map(|id| add(id, "other", Encoding::Fragmented));
        assert_eq!((send(Channel::User("plain")), FRAGMENTED.take()), (2, 0), "none of them is meant");
        assert_eq!((send(Channel::User("other")), FRAGMENTED.take()), (3, 1));
        let buffered = |handles: &[Arc<Handle>]| -> Vec<usize> {
            handles.iter().map(|handle| handle.buffered()).collect()
        };
        assert_eq!((buffered(&plain), buffered(&fragmented)), (vec![10; 2], vec![7; 3]));
    }

    #[test]
    fn messages_that_came_together_are_encoded_for_every_kind() {
        let mut plain = Vec::new();
        ["abc", "", "de"]
            .into_iter()
            .for_each(|text| protocol::frame::append(&mut plain, Message::Text(text)));
        let len = plain.len();
        let outgoing = Outgoing::of(&mut plain, 3);
        assert_eq!((outgoing.frames(Encoding::Plain).wire_len(), FRAGMENTED.take()), (len, 0));
        let other = outgoing.frames(Encoding::Fragmented);
        assert_eq!((other.wire_len(), other.messages(), FRAGMENTED.take()), (len + 3 * 2, 3, 1));
    }

    #[test]
    fn a_small_message_is_copied_a_large_one_shared_and_both_are_as_long_as_they_say() {
        for (len, is_shared) in [(0, false), (COPY_LIMIT, false), (COPY_LIMIT + 1, true), (65_536, true)] {
            let text = "y".repeat(len);
            let outgoing = Outgoing::new(Message::Text(&text));
            let frames = outgoing.frames(Encoding::Plain);
            let mut expected = Vec::new();
            protocol::frame::append(&mut expected, Message::Text(&text));
            assert_eq!(frames.to_vec(), expected);
            assert_eq!(frames.wire_len(), expected.len());
            assert_eq!(matches!(frames.encoded(), Encoded::Shared(_)), is_shared, "{len}");
        }
    }
}
