//! Heads and whole frames of any bytes. Also compiled into the fuzz targets, as [`differential`](super::differential) is.

use crate::frame::{self, Head, Message, Whole};

/// A limit below the longest case, so that both sides of it are tried.
const MAX_PAYLOAD: usize = 300;

/// Panics if what is found depends on what follows, reaches beyond the bytes, or is not what was encoded.
pub(crate) fn check(bytes: &[u8]) {
    let _ = frame::first_frame(bytes);
    if let Some(head) = Head::parse(bytes) {
        assert!(head.head_len <= bytes.len());
        for cut in 0..head.head_len {
            assert_eq!(Head::parse(&bytes[..cut]), None);
        }
    }
    let Some(whole) = Whole::at(bytes, MAX_PAYLOAD) else { return };
    assert!(whole.head_len <= whole.len && whole.len <= bytes.len());
    assert!(whole.len - whole.head_len <= MAX_PAYLOAD);
    for cut in 0..whole.len {
        assert_eq!(Whole::at(&bytes[..cut], MAX_PAYLOAD), None);
    }
    // Unmasked where it lies, and made one of ours there: the same as if it is encoded anew.
    let mut bytes = bytes.to_vec();
    frame::unmask(&mut bytes[whole.head_len..whole.len], whole.mask);
    let mut ours = Vec::new();
    frame::append(&mut ours, Message::Binary(&bytes[whole.head_len..whole.len]));
    ours[0] = 0x80 | whole.opcode as u8;
    let range = frame::rehead(&mut bytes, 0..whole.len, whole.head_len, whole.opcode);
    assert_eq!(bytes[range], ours);
    assert_eq!(frame::first_frame(&ours).map(|(len, _)| len), Some(ours.len()));
}
