//! Frames (RFC 6455, section 5.2): where each one ends in a stream of bytes, and how ours are encoded.
//!
//! The common frame, a whole unfragmented message that lies complete in what one `recv` brought, is
//! unmasked where it lies and routed from there: no copy, no allocation. Everything else (frames cut by the
//! end of a read, fragments, control frames, whatever breaks the protocol) goes through tungstenite, which
//! stays the one authority on the protocol. [`Walker`] decides which way bytes go, and never lets tungstenite
//! see part of a frame that it does not also see the rest of.

use std::ops::Range;

use bytes::Bytes;

/// Longest possible head of a frame: 2 bytes, 8 of extended length, 4 of mask.
const MAX_HEAD: usize = 14;

/// Bodies up to this size are copied into each recipient's outbox; longer ones are encoded once and shared.
/// A copy of this size costs less than the reference count and the extra slice of a vectored write.
pub const COPY_LIMIT: usize = 1024;

/// What a frame carries, as far as we tell frames apart ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A text message: its payload must be UTF-8.
    Text = 0x1,
    /// A binary message.
    Binary = 0x2,
    /// A ping, answered by a pong.
    Ping = 0x9,
    /// A pong, asked for or not.
    Pong = 0xA,
}

/// A message as it is routed: borrowed from the read buffer, from JavaScript or from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Goes into a text frame.
    Text(&'a str),
    /// Goes into a binary frame.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The payload, without the frame's head.
    pub fn payload(&self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    fn opcode(&self) -> Opcode {
        match self {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        }
    }
}

/// One message encoded for sending: done once, however many connections get it. Server frames are not masked.
#[derive(Debug)]
pub struct Frame<'a> {
    head: [u8; 10],
    head_len: u8,
    body: Body<'a>,
}

#[derive(Debug)]
enum Body<'a> {
    Copied(&'a [u8]),
    /// The whole frame, head included.
    Shared(Bytes),
}

impl<'a> Frame<'a> {
    /// Encodes a message as a single unfragmented frame.
    #[inline]
    pub fn new(message: Message<'a>) -> Self {
        let payload = message.payload();
        let (head, head_len) = encode_head(message.opcode(), payload.len());
        let body = match payload.len() {
            ..=COPY_LIMIT => Body::Copied(payload),
            _ => Body::Shared([&head[..usize::from(head_len)], payload].concat().into()),
        };
        Frame { head, head_len, body }
    }

    /// Bytes on the wire.
    pub fn wire_len(&self) -> usize {
        match &self.body {
            Body::Copied(payload) => usize::from(self.head_len) + payload.len(),
            Body::Shared(whole) => whole.len(),
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
    Shared(&'a Bytes),
}

/// A close frame (RFC 6455, section 5.5.1). `reason` has at most 123 bytes.
pub fn encode_close(code: u16, reason: &str) -> Vec<u8> {
    let reason = &reason.as_bytes()[..reason.len().min(123)];
    let mut frame = vec![0x88, 2 + reason.len() as u8];
    frame.extend(code.to_be_bytes());
    frame.extend(reason);
    frame
}

/// An empty ping, as the heartbeat sends it.
pub const PING: [u8; 2] = [0x80 | Opcode::Ping as u8, 0];

fn encode_head(opcode: Opcode, len: usize) -> ([u8; 10], u8) {
    let mut head = [0; 10];
    head[0] = 0x80 | opcode as u8;
    match len {
        0..=125 => {
            head[1] = len as u8;
            (head, 2)
        }
        126..=0xFFFF => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            (head, 4)
        }
        _ => {
            head[1] = 127;
            head[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            (head, 10)
        }
    }
}

/// Makes a client's whole text frame, unmasked, one of ours where it lies: our head is shorter, and goes right before the
/// payload. Answers where it is now.
pub fn rehead(bytes: &mut [u8], frame: Range<usize>, head_len: usize) -> Range<usize> {
    let (head, len) = encode_head(Opcode::Text, frame.len() - head_len);
    let payload = frame.start + head_len;
    let start = payload - usize::from(len);
    bytes[start..payload].copy_from_slice(&head[..usize::from(len)]);
    start..frame.end
}

/// A parsed head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    first: u8,
    mask: Option<[u8; 4]>,
    head_len: usize,
    payload_len: u64,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Head> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (extended, payload_len) = match second & 0x7F {
            126 => (2, u64::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?))),
            127 => (8, u64::from_be_bytes(rest.get(..8)?.try_into().ok()?)),
            len => (0, u64::from(len)),
        };
        let (mask, mask_len) = if second & 0x80 == 0 {
            (None, 0)
        } else {
            (Some(rest.get(extended..extended + 4)?.try_into().ok()?), 4)
        };
        Some(Head { first: *first, mask, head_len: 2 + extended + mask_len, payload_len })
    }

    fn total(&self) -> u64 {
        self.payload_len.saturating_add(self.head_len as u64)
    }

    fn fin(&self) -> bool {
        self.first & 0x80 != 0
    }

    fn opcode(&self) -> u8 {
        self.first & 0x0F
    }

    /// What may be handled where it lies: final, no reserved bits, masked, and of a kind we know.
    fn simple(&self) -> Option<Opcode> {
        match self.first {
            0x81 => Some(Opcode::Text),
            0x82 => Some(Opcode::Binary),
            0x8A if self.payload_len <= 125 => Some(Opcode::Pong),
            _ => None,
        }
    }
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum Span {
    /// A whole frame that needs no protocol state: its payload is at `head_len..len` and still masked.
    Whole {
        /// Text, Binary or Pong.
        opcode: Opcode,
        /// Where the payload begins.
        head_len: usize,
        /// Where the frame ends.
        len: usize,
        /// The masking key.
        mask: [u8; 4],
    },
    /// So many bytes, of at most one frame, are tungstenite's.
    Opaque(usize),
}

/// Follows the frame boundaries of one connection's input. Holds no payload: 32 bytes of state.
#[derive(Debug, Default)]
pub struct Walker {
    /// Payload bytes of the current frame yet to come.
    remaining: u64,
    /// The beginning of a head that a read cut.
    head: [u8; MAX_HEAD],
    head_len: u8,
    /// A fragmented message was begun and not ended.
    fragmented: bool,
}

impl Walker {
    /// True if the input so far ends with the end of a message.
    pub fn at_message_end(&self) -> bool {
        self.remaining == 0 && self.head_len == 0 && !self.fragmented
    }

    /// Looks at the next bytes, of which there must be some, and moves over the span that it answers.
    /// Frames longer than `max_payload` are always opaque: tungstenite refuses them.
    pub fn next(&mut self, bytes: &[u8], max_payload: usize) -> Span {
        if self.remaining > 0 {
            return Span::Opaque(self.skip(bytes.len()));
        }
        if self.head_len > 0 {
            return Span::Opaque(self.finish_head(bytes));
        }
        let Some(head) = Head::parse(bytes) else {
            let cut = bytes.len().min(MAX_HEAD);
            self.head[..cut].copy_from_slice(&bytes[..cut]);
            self.head_len = cut as u8;
            return Span::Opaque(bytes.len());
        };
        if let (Some(opcode), Some(mask)) = (head.simple(), head.mask)
            && head.total() <= bytes.len() as u64
            && head.payload_len <= max_payload as u64
            && (opcode == Opcode::Pong || !self.fragmented)
        {
            return Span::Whole { opcode, head_len: head.head_len, len: head.total() as usize, mask };
        }
        self.begin(&head);
        self.remaining = head.total();
        Span::Opaque(self.skip(bytes.len()))
    }

    fn skip(&mut self, available: usize) -> usize {
        let n = self.remaining.min(available as u64);
        self.remaining -= n;
        n as usize
    }

    fn finish_head(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            self.head[usize::from(self.head_len)] = bytes[used];
            self.head_len += 1;
            used += 1;
            if let Some(head) = Head::parse(&self.head[..usize::from(self.head_len)]) {
                self.head_len = 0;
                self.begin(&head);
                self.remaining = head.payload_len;
                return used + self.skip(bytes.len() - used);
            }
        }
        used
    }

    fn begin(&mut self, head: &Head) {
        match head.opcode() {
            0x0 => self.fragmented = !head.fin(),
            0x1 | 0x2 => self.fragmented = !head.fin(),
            _ => {}
        }
    }
}

/// Removes (or applies) the mask in place (RFC 6455, section 5.3).
pub fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(word) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// Where the frame ends that the byte at `offset` belongs to, in bytes that begin with a frame; `offset`
/// itself if a frame ends there. For outgoing bytes, which are whole frames.
pub fn end_of_frame_at(bytes: &[u8], offset: usize) -> usize {
    let mut end = 0;
    while end < offset {
        match Head::parse(&bytes[end..]) {
            Some(head) => end = end.saturating_add(head.total() as usize),
            None => return bytes.len(),
        }
    }
    end.min(bytes.len())
}

/// How many messages (not control frames) end behind the byte at `offset`, in bytes that are whole frames.
pub fn count_messages(bytes: &[u8], offset: usize) -> u64 {
    let (mut at, mut count) = (0, 0);
    while let Some(head) = bytes.get(at..).and_then(Head::parse) {
        at = at.saturating_add(head.total() as usize);
        count += u64::from(matches!(head.opcode(), 0x1 | 0x2) && at > offset);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x11, 0x22, 0x33, 0x44];
        let mut out = vec![first];
        match payload.len() {
            len @ 0..=125 => out.push(0x80 | len as u8),
            len @ 126..=0xFFFF => {
                out.push(0x80 | 126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(0x80 | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        out.extend(mask);
        let mut body = payload.to_vec();
        unmask(&mut body, mask);
        out.extend(body);
        out
    }

    #[test]
    fn a_whole_text_frame_is_handled_where_it_lies() {
        for len in [0, 1, 7, 8, 9, 125, 126, 127, 65_535, 65_536] {
            let payload = vec![b'x'; len];
            let mut bytes = masked(0x81, &payload);
            let Span::Whole { opcode, head_len, len: end, mask } = Walker::default().next(&bytes, 1 << 20)
            else {
                panic!("{len}")
            };
            assert_eq!((opcode, end), (Opcode::Text, bytes.len()));
            unmask(&mut bytes[head_len..end], mask);
            assert_eq!(&bytes[head_len..], &payload[..]);
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_opaque_to_its_last_byte_and_leaves_a_clean_walker() {
        for len in [0, 5, 200, 70_000] {
            let bytes = masked(0x82, &vec![7; len]);
            for cut in (1..bytes.len()).filter(|cut| *cut < 40 || cut % 997 == 0) {
                let mut walker = Walker::default();
                assert_eq!(walker.next(&bytes[..cut], 1 << 20), Span::Opaque(cut));
                assert!(!walker.at_message_end());
                let mut at = cut;
                while at < bytes.len() {
                    let Span::Opaque(n) = walker.next(&bytes[at..], 1 << 20) else { panic!("{len} {cut}") };
                    at += n;
                }
                assert!(walker.at_message_end(), "{len} {cut}");
            }
        }
    }

    #[test]
    fn one_byte_at_a_time_is_followed_and_the_next_frame_is_whole_again() {
        let mut walker = Walker::default();
        for byte in masked(0x81, &[b'a'; 300]) {
            assert_eq!(walker.next(&[byte], 1 << 20), Span::Opaque(1));
        }
        assert!(matches!(walker.next(&masked(0x81, b"b"), 1 << 20), Span::Whole { .. }));
    }

    #[test]
    fn an_opaque_span_ends_with_its_frame() {
        let mut bytes = masked(0x89, b"ping");
        let first = bytes.len();
        bytes.extend(masked(0x81, b"text"));
        assert_eq!(Walker::default().next(&bytes, 1 << 20), Span::Opaque(first));
    }

    #[test]
    fn fragments_stay_opaque_until_the_message_ends_but_a_pong_between_them_need_not() {
        let mut walker = Walker::default();
        for (first, opaque) in [(0x01, true), (0x8A, false), (0x00, true), (0x81, true)] {
            let bytes = masked(first, b"x");
            assert_eq!(matches!(walker.next(&bytes, 1 << 20), Span::Opaque(_)), opaque, "{first:x}");
        }
        // The 0x81 above broke the protocol inside a message: tungstenite sees it and says so.
        let mut walker = Walker::default();
        walker.next(&masked(0x01, b"x"), 1 << 20);
        walker.next(&masked(0x80, b"y"), 1 << 20);
        assert!(walker.at_message_end());
    }

    #[test]
    fn what_breaks_the_protocol_is_opaque() {
        let unmasked = [0x81, 1, b'x'];
        assert!(matches!(Walker::default().next(&unmasked, 1 << 20), Span::Opaque(_)));
        for first in [0xC1, 0xA1, 0x91, 0x83, 0x8B, 0x80, 0x88] {
            assert!(matches!(Walker::default().next(&masked(first, b"x"), 1 << 20), Span::Opaque(_)));
        }
        let long = masked(0x81, &[b'x'; 11]);
        assert!(matches!(Walker::default().next(&long, 10), Span::Opaque(_)));
        assert!(matches!(Walker::default().next(&[0x82, 0xFF, 0xFF, 0xFF], 10), Span::Opaque(4)));
        let mut walker = Walker::default();
        assert_eq!(walker.next(&[&[0x82, 0xFF][..], &[0xFF; 12][..]].concat(), 10), Span::Opaque(14));
        assert!(!walker.at_message_end());
    }

    #[test]
    fn our_frames_have_the_shortest_head_and_no_mask() {
        for (len, head) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = "y".repeat(len);
            let frame = Frame::new(Message::Text(&text));
            let out = frame.to_vec();
            assert_eq!(out.len(), frame.wire_len());
            assert_eq!(out, [&head[..], text.as_bytes()].concat());
        }
    }

    #[test]
    fn a_clients_frame_becomes_ours_where_it_lies() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let text = "z".repeat(len);
            let mut bytes = [b"before".to_vec(), masked(0x81, text.as_bytes()), b"after".to_vec()].concat();
            let head_len = bytes.len() - 11 - len;
            bytes[6 + head_len..6 + head_len + len].copy_from_slice(text.as_bytes());
            let end = bytes.len() - 5;
            let range = rehead(&mut bytes, 6..end, head_len);
            assert!(range.start >= 6 && range.end == end, "{len}");
            assert_eq!(bytes[range], Frame::new(Message::Text(&text)).to_vec());
            assert!(bytes.starts_with(b"before") && bytes.ends_with(b"after"));
        }
    }

    #[test]
    fn the_end_of_a_half_written_frame_is_found_and_messages_are_counted() {
        let bytes = [&[0x81, 3, 1, 2, 3][..], &PING, &[0x82, 1, 9]].concat();
        for (offset, end) in [(0, 0), (1, 5), (4, 5), (5, 5), (6, 7), (7, 7), (8, 10), (10, 10)] {
            assert_eq!(end_of_frame_at(&bytes, offset), end, "{offset}");
        }
        for (offset, count) in [(0, 2), (4, 2), (5, 1), (9, 1), (10, 0)] {
            assert_eq!(count_messages(&bytes, offset), count, "{offset}");
        }
    }
}
