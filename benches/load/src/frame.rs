//! RFC 6455 section 5.2 frames, both directions. Pure: no socket, no clock.

/// Continuation of a fragmented message.
pub const CONTINUATION: u8 = 0x0;
/// Text.
pub const TEXT: u8 = 0x1;
/// Binary.
pub const BINARY: u8 = 0x2;
/// Close.
pub const CLOSE: u8 = 0x8;
/// Ping.
pub const PING: u8 = 0x9;
/// Pong.
pub const PONG: u8 = 0xa;

/// The mask of every frame the generator sends. Any fixed value but zero costs the server the same work as a random one.
pub const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The first bytes of a frame, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// FIN, the reserved bits and the opcode, as they came.
    pub first: u8,
    /// The mask, if the frame carries one.
    pub mask: Option<[u8; 4]>,
    /// Bytes of header, the mask included.
    pub header_len: usize,
    /// Bytes of payload.
    pub payload_len: usize,
}

impl Header {
    /// Reads a header; `None` if `bytes` does not hold all of it yet.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (payload_len, mut at) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?, 10),
            short => (usize::from(short), 2),
        };
        let mask = if second & 0x80 != 0 {
            let mask = *bytes.get(at..)?.first_chunk()?;
            at += 4;
            Some(mask)
        } else {
            None
        };
        Some(Header { first, mask, header_len: at, payload_len })
    }

    /// The opcode.
    #[inline]
    pub fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// Close, ping or pong.
    #[inline]
    pub fn is_control(&self) -> bool {
        self.first & 0x08 != 0
    }

    /// True if this ends a message.
    #[inline]
    pub fn is_final(&self) -> bool {
        self.first & 0x80 != 0
    }
}

/// Applies (or takes off) a mask in place, eight bytes at a time.
#[inline]
pub fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from(u32::from_ne_bytes(mask)) * 0x1_0000_0001;
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Writes an unmasked header into `out` and says how many bytes it took (at most 10).
#[inline]
pub fn write_header(out: &mut [u8; 10], first: u8, payload_len: usize) -> usize {
    out[0] = first;
    if payload_len < 126 {
        out[1] = payload_len as u8;
        2
    } else if let Ok(short) = u16::try_from(payload_len) {
        out[1] = 126;
        out[2..4].copy_from_slice(&short.to_be_bytes());
        4
    } else {
        out[1] = 127;
        out[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
        10
    }
}

/// A frame as a client sends it, masked with [`MASK`]: a whole message, or its last fragment.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    masked_frame(0x80 | opcode, payload)
}

/// A fragment as a client sends it, masked with [`MASK`], after which more fragments come.
pub fn client_fragment(opcode: u8, payload: &[u8]) -> Vec<u8> {
    masked_frame(opcode, payload)
}

fn masked_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; 10];
    let len = write_header(&mut header, first, payload.len());
    header[1] |= 0x80;
    let mut frame = Vec::with_capacity(len + 4 + payload.len());
    frame.extend_from_slice(&header[..len]);
    frame.extend_from_slice(&MASK);
    let start = frame.len();
    frame.extend_from_slice(payload);
    unmask(&mut frame[start..], MASK);
    frame
}

/// A JSON text of exactly `size` bytes (at least 2): a quoted string of letters.
pub fn json_text(size: usize) -> Vec<u8> {
    let letters = (b'a'..=b'z').cycle().take(size.saturating_sub(2));
    std::iter::once(b'"').chain(letters).chain(std::iter::once(b'"')).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_client_frame_reads_back_at_every_length_form() {
        for size in [2, 64, 125, 126, 512, 65_535, 65_536] {
            let text = json_text(size);
            assert_eq!(text.len(), size);
            let mut frame = client_frame(TEXT, &text);
            let header = Header::parse(&frame).unwrap();
            assert_eq!((header.opcode(), header.payload_len, header.mask), (TEXT, size, Some(MASK)));
            assert!(header.is_final() && !header.is_control());
            unmask(&mut frame[header.header_len..], MASK);
            assert_eq!(&frame[header.header_len..], text);
        }
    }

    #[test]
    fn a_fragment_is_not_final() {
        let header = Header::parse(&client_fragment(TEXT, b"1")).unwrap();
        assert_eq!((header.opcode(), header.payload_len, header.is_final()), (TEXT, 1, false));
    }

    #[test]
    fn a_cut_header_is_none_until_it_is_whole() {
        for size in [5, 300, 70_000] {
            let frame = client_frame(BINARY, &vec![7; size]);
            let whole = Header::parse(&frame).unwrap().header_len;
            for cut in 0..whole {
                assert_eq!(Header::parse(&frame[..cut]), None);
            }
            assert!(Header::parse(&frame[..whole]).is_some());
        }
    }

    #[test]
    fn unmasking_is_byte_by_byte_xor() {
        for len in 0..40 {
            let mut bytes: Vec<u8> = (0..len).collect();
            let expected: Vec<u8> = bytes.iter().enumerate().map(|(i, b)| b ^ MASK[i % 4]).collect();
            unmask(&mut bytes, MASK);
            assert_eq!(bytes, expected);
        }
    }
}
