//! A message whose data are bytes: the length of its head, the head, the bytes.

/// Bytes before the head.
const LENGTH: usize = 2;

/// The head and the bytes behind it. None: the frame ends before its head does, or the head is no UTF-8.
pub(crate) fn split(frame: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = frame.split_first_chunk::<LENGTH>()?;
    let (head, data) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(head).ok()?, data))
}

/// The whole of it. None: the head is too long.
pub(crate) fn join(head: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(head.len()).ok()?.to_be_bytes();
    Some([&length[..], head, data].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_what_the_specification_shows() {
        let frame = b"\x00\x12{\"type\":\"message\"}\x01\x02";
        assert_eq!(join(br#"{"type":"message"}"#, &[1, 2]).as_deref(), Some(&frame[..]));
        assert_eq!(split(frame), Some((r#"{"type":"message"}"#, &[1, 2][..])));
    }

    #[test]
    fn a_frame_that_ends_too_early_or_has_no_text_for_a_head_is_none() {
        for frame in [&b""[..], b"\0", b"\0\x02{", b"\xff\xff{}", b"\0\x02\xff\xfe"] {
            assert_eq!(split(frame), None, "{frame:?}");
        }
        assert_eq!(split(b"\0\x02{}"), Some(("{}", &b""[..])));
        assert_eq!(join(&vec![b' '; 65_536], b""), None);
    }
}
