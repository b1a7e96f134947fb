//! Frames (RFC 6455, section 5.2): how a client's head is read, and how ours are encoded.
//!
//! The common frame is whole and lies complete in what one `recv` brought: see [`Whole`]. It is unmasked and used where it
//! lies, without a copy or an allocation. The [assembler](crate::assembler) takes all other frames.

use std::ops::Range;

use codes::close;

/// Longest possible head of a frame: 2 bytes, 8 of extended length, 4 of mask.
pub const MAX_HEAD: usize = 14;
/// Shortest head of a client's frame: 2 bytes, 4 of mask.
const MIN_HEAD: usize = 6;
/// Longest payload of a control frame (RFC 6455, section 5.5).
pub const MAX_CONTROL: usize = 125;
/// Longest reason of a close frame: a control frame's payload less the code.
pub const MAX_REASON: usize = MAX_CONTROL - 2;

/// The kinds of whole frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A text message: its payload must be UTF-8.
    Text = 0x1,
    /// A binary message.
    Binary = 0x2,
    /// The close handshake.
    Close = 0x8,
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

    /// The kind of frame that it goes into.
    pub fn opcode(&self) -> Opcode {
        match self {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        }
    }
}

/// Encodes a message behind others.
pub fn append(frames: &mut Vec<u8>, message: Message<'_>) {
    let payload = message.payload();
    let (head, head_len) = encode_head(message.opcode(), payload.len());
    frames.extend_from_slice(&head[..usize::from(head_len)]);
    frames.extend_from_slice(payload);
}

/// A close frame (RFC 6455, section 5.5.1). The reason is cut to 123 bytes, between characters. [`close::NO_STATUS`] makes an
/// empty one, without code and reason.
pub fn encode_close(code: u16, reason: &str) -> Vec<u8> {
    if code == close::NO_STATUS {
        return vec![0x80 | Opcode::Close as u8, 0];
    }
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut frame = vec![0x80 | Opcode::Close as u8, 2 + end as u8];
    frame.extend(code.to_be_bytes());
    frame.extend(&reason.as_bytes()[..end]);
    frame
}

/// A ping or pong with this payload, of which 125 bytes are taken: a buffer, and how many bytes of it.
pub fn encode_control(opcode: Opcode, payload: &[u8]) -> ([u8; 2 + MAX_CONTROL], usize) {
    let len = payload.len().min(MAX_CONTROL);
    let mut frame = [0; 2 + MAX_CONTROL];
    (frame[0], frame[1]) = (0x80 | opcode as u8, len as u8);
    frame[2..2 + len].copy_from_slice(&payload[..len]);
    (frame, 2 + len)
}

/// The payload of the heartbeat's pings, so that the answers to them are not taken for those to pings of the application's, which
/// may be empty. An application's ping of just these bytes gets no pong that it could tell from theirs.
pub const HEARTBEAT: &[u8] = b"\x16hb";

/// A ping of the heartbeat's.
pub const PING: [u8; 5] =
    [0x80 | Opcode::Ping as u8, HEARTBEAT.len() as u8, HEARTBEAT[0], HEARTBEAT[1], HEARTBEAT[2]];

/// The head of a frame of ours, final and without a mask: a buffer, and how many bytes of it.
#[inline]
pub fn encode_head(opcode: Opcode, len: usize) -> ([u8; 10], u8) {
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

/// Makes a client's whole frame, unmasked, one of ours where it lies: our head is shorter, and goes right before the payload.
/// Returns where it is now.
#[inline]
pub fn rehead(bytes: &mut [u8], frame: Range<usize>, head_len: usize, opcode: Opcode) -> Range<usize> {
    let (head, len) = encode_head(opcode, frame.len() - head_len);
    let payload = frame.start + head_len;
    let start = payload - usize::from(len);
    bytes[start..payload].copy_from_slice(&head[..usize::from(len)]);
    start..frame.end
}

/// A parsed head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub first: u8,
    pub mask: Option<[u8; 4]>,
    pub head_len: usize,
    pub payload_len: u64,
}

impl Head {
    /// None: its end has not come yet.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Head> {
        let (payload_len, end) = payload_len(bytes)?;
        let (mask, head_len) = if bytes[1] & 0x80 == 0 {
            (None, end)
        } else {
            (Some(bytes.get(end..end + 4)?.try_into().ok()?), end + 4)
        };
        Some(Head { first: bytes[0], mask, head_len, payload_len })
    }

    fn total(&self) -> u64 {
        self.payload_len.saturating_add(self.head_len as u64)
    }

    fn opcode(&self) -> u8 {
        self.first & 0x0F
    }
}

/// The length of the payload that a head tells, and where in the head the length ends. None: that has not come yet. A length
/// that is longer than it needs to be is taken, as other servers take it, although RFC 6455, section 5.2 forbids it.
#[inline]
pub fn payload_len(head: &[u8]) -> Option<(u64, usize)> {
    let [_, second, rest @ ..] = head else { return None };
    Some(match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(rest.get(..8)?.try_into().ok()?), 10),
        len => (u64::from(len), 2),
    })
}

/// A client's frame that needs no state: final, masked, without reserved bits, of a known kind and a permitted length, and
/// complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its payload.
    pub opcode: Opcode,
    /// The beginning of the payload, which is still masked.
    pub head_len: usize,
    /// The end of the frame.
    pub len: usize,
    /// The masking key.
    pub mask: [u8; 4],
}

impl Whole {
    /// The frame that `bytes` begin with, if it is such a one.
    #[inline]
    pub fn at(bytes: &[u8], max_payload: usize) -> Option<Whole> {
        let head = Head::parse(bytes)?;
        let opcode = match head.first {
            0x81 => Opcode::Text,
            0x82 => Opcode::Binary,
            0x88 => Opcode::Close,
            0x89 => Opcode::Ping,
            0x8A => Opcode::Pong,
            _ => return None,
        };
        let permitted = match opcode {
            Opcode::Text | Opcode::Binary => head.payload_len <= max_payload as u64,
            // Seven bits of length: at most 125.
            Opcode::Close | Opcode::Ping | Opcode::Pong => head.head_len == MIN_HEAD,
        };
        let fits = permitted && head.total() <= bytes.len() as u64;
        let mask = head.mask.filter(|_| fits)?;
        Some(Whole { opcode, head_len: head.head_len, len: head.total() as usize, mask })
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

/// The first frame of bytes that begin with one of ours: its length, and whether it is a message. None: its head is cut.
pub fn first_frame(bytes: &[u8]) -> Option<(usize, bool)> {
    let head = Head::parse(bytes)?;
    Some((usize::try_from(head.total()).unwrap_or(usize::MAX), matches!(head.opcode(), 0x1 | 0x2)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ours(text: &str) -> Vec<u8> {
        let mut frame = Vec::new();
        append(&mut frame, Message::Text(text));
        frame
    }

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
    fn a_whole_frame_is_found_where_it_lies() {
        for len in [0, 1, 7, 8, 9, 125, 126, 127, 65_535, 65_536] {
            for (first, opcode) in [
                (0x81, Opcode::Text),
                (0x82, Opcode::Binary),
                (0x88, Opcode::Close),
                (0x89, Opcode::Ping),
                (0x8A, Opcode::Pong),
            ] {
                let payload = vec![b'x'; len];
                let mut bytes = masked(first, &payload);
                let end = bytes.len();
                assert_eq!(Whole::at(&bytes[..end - 1], 1 << 20), None, "cut");
                bytes.extend(b"what follows");
                let whole = Whole::at(&bytes, 1 << 20);
                if first >= 0x88 && len > MAX_CONTROL {
                    assert_eq!(whole, None, "a control frame that is too long");
                    continue;
                }
                let whole = whole.unwrap();
                assert_eq!((whole.opcode, whole.len), (opcode, end));
                unmask(&mut bytes[whole.head_len..end], whole.mask);
                assert_eq!(&bytes[whole.head_len..end], &payload[..]);
            }
        }
    }

    #[test]
    fn a_frame_that_needs_state_or_breaks_the_rules_is_no_whole_one() {
        assert_eq!(Whole::at(&[0x81, 1, b'x'], 1 << 20), None, "no mask");
        for first in [0xC1, 0xA1, 0x91, 0x83, 0x8B, 0x80, 0x00, 0x01, 0x02, 0x08, 0x09, 0x0A] {
            assert_eq!(Whole::at(&masked(first, b"x"), 1 << 20), None, "{first:x}");
        }
        assert_eq!(Whole::at(&masked(0x81, &[b'x'; 11]), 10), None, "too long");
        assert_eq!(Whole::at(&[&[0x82, 0xFF][..], &[0xFF; 12]].concat(), usize::MAX), None, "absurdly long");
        assert!(Whole::at(&masked(0x89, &[b'x'; 125]), 1).is_some(), "a message's limit is no ping's");
    }

    #[test]
    fn a_close_frame_is_at_most_as_long_as_a_control_frame_may_be() {
        assert_eq!(encode_close(4000, "bye"), b"\x88\x05\x0F\xA0bye");
        assert_eq!(encode_close(close::NO_STATUS, "bye"), [0x88, 0]);
        let long = "é".repeat(100);
        assert_eq!(encode_close(1000, &long).len(), 2 + 2 + 122, "122 bytes are the most whole characters");
        assert_eq!(encode_close(1000, &"x".repeat(200)).len(), 2 + MAX_CONTROL);
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
            assert_eq!(ours(&text), [&head[..], text.as_bytes()].concat());
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
            let range = rehead(&mut bytes, 6..end, head_len, Opcode::Text);
            assert!(range.start >= 6 && range.end == end, "{len}");
            assert_eq!(bytes[range], ours(&text));
            assert!(bytes.starts_with(b"before") && bytes.ends_with(b"after"));
        }
    }

    #[test]
    fn the_first_frame_of_ours_is_measured_and_told_from_a_control_frame() {
        let bytes = [&[0x81, 3, 1, 2, 3][..], &PING, &[0x82, 126, 0, 200], &[0; 200]].concat();
        assert_eq!(first_frame(&bytes), Some((5, true)));
        assert_eq!(first_frame(&bytes[5..]), Some((PING.len(), false)));
        assert_eq!(first_frame(&bytes[5 + PING.len()..]), Some((204, true)));
        assert_eq!(first_frame(&bytes[5 + PING.len()..][..2]), None);
        assert_eq!(first_frame(&[]), None);
    }
}
