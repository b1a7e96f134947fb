//! The payload of a message that is under way.

use std::str;

use super::Violation;
use crate::frame::Message;

/// Bytes that are taken at first, so that tiny fragments don't ask for memory one by one.
const FIRST: usize = 4 * 1024;

/// See the module. Holds at most the limit that it is given, capacity included: a buffer is as large as what came, at most
/// doubled, whatever was announced.
#[derive(Debug)]
pub(super) enum Body {
    /// Valid UTF-8 up to the carried bytes.
    Text(Text),
    Binary(Vec<u8>),
}

/// Text as it comes.
#[derive(Debug, Default)]
pub(super) struct Text {
    valid: String,
    /// The beginning of a character whose rest is yet to come.
    carry: [u8; 4],
    carried: usize,
}

impl Body {
    /// An empty text, in a buffer.
    pub(super) fn text(mut buffer: Vec<u8>) -> Body {
        buffer.clear();
        Body::Text(Text { valid: String::from_utf8(buffer).unwrap_or_default(), ..Text::default() })
    }

    /// An empty binary message, in a buffer.
    pub(super) fn binary(mut buffer: Vec<u8>) -> Body {
        buffer.clear();
        Body::Binary(buffer)
    }

    /// Bytes that came.
    pub(super) fn len(&self) -> usize {
        match self {
            Body::Text(text) => text.valid.len() + text.carried,
            Body::Binary(bytes) => bytes.len(),
        }
    }

    /// Bytes of memory that are held.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Body::Text(text) => text.valid.capacity(),
            Body::Binary(bytes) => bytes.capacity(),
        }
    }

    /// Adds unmasked bytes. With them it has at most `limit`, as its caller has seen to.
    ///
    /// # Errors
    /// Text that can't become UTF-8 any more.
    pub(super) fn extend(&mut self, bytes: &[u8], limit: usize) -> Result<(), Violation> {
        match self {
            Body::Text(text) => text.extend(bytes, limit),
            Body::Binary(buffer) => {
                buffer.reserve_exact(room(buffer.len(), buffer.capacity(), bytes.len(), limit));
                buffer.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// The message ends here.
    ///
    /// # Errors
    /// Text that ends inside a character.
    pub(super) fn finish(&self) -> Result<(), Violation> {
        match self {
            Body::Text(text) if text.carried > 0 => Err(Violation::BAD_UTF8),
            _ => Ok(()),
        }
    }

    /// The bytes that came. Of text, whole characters.
    pub(super) fn message(&self) -> Message<'_> {
        match self {
            Body::Text(text) => Message::Text(&text.valid),
            Body::Binary(bytes) => Message::Binary(bytes),
        }
    }

    /// The buffer, for another one.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        match self {
            Body::Text(text) => text.valid.into_bytes(),
            Body::Binary(bytes) => bytes,
        }
    }
}

impl Text {
    fn extend(&mut self, mut bytes: &[u8], limit: usize) -> Result<(), Violation> {
        let (len, capacity) = (self.valid.len(), self.valid.capacity());
        self.valid.reserve_exact(room(len, capacity, self.carried + bytes.len(), limit));
        while self.carried > 0 {
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
            bytes = rest;
            self.carry[self.carried] = byte;
            self.carried += 1;
            if let Some(character) = begun(&self.carry[..self.carried])? {
                self.valid.push_str(character);
                self.carried = 0;
            }
        }
        let (whole, rest) = bytes.split_at(bytes.len() - unfinished(bytes));
        self.valid.push_str(simdutf8::basic::from_utf8(whole).map_err(|_| Violation::BAD_UTF8)?);
        if !rest.is_empty() {
            begun(rest)?;
            self.carry[..rest.len()].copy_from_slice(rest);
            self.carried = rest.len();
        }
        Ok(())
    }
}

/// The character that the bytes are, or None if they are the beginning of one.
fn begun(bytes: &[u8]) -> Result<Option<&str>, Violation> {
    match str::from_utf8(bytes) {
        Ok(character) => Ok(Some(character)),
        Err(error) if error.error_len().is_none() => Ok(None),
        Err(_) => Err(Violation::BAD_UTF8),
    }
}

/// The number of last bytes that belong to a character whose rest is yet to come. It need not be one.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let width = match bytes[bytes.len() - back] {
            0x80..=0xBF => continue,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        };
        return if width > back { back } else { 0 };
    }
    0
}

/// The capacity that a buffer has to be grown to, so that `more` fits and `limit` is not exceeded.
fn room(len: usize, capacity: usize, more: usize, limit: usize) -> usize {
    let needed = len + more;
    if needed <= capacity {
        return 0;
    }
    needed.max(2 * capacity).max(FIRST).min(limit).max(needed) - len
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text_of(pieces: &[&[u8]]) -> Result<String, Violation> {
        let mut body = Body::text(Vec::new());
        for piece in pieces {
            body.extend(piece, 1 << 20)?;
        }
        body.finish()?;
        let Message::Text(text) = body.message() else { panic!() };
        Ok(text.to_owned())
    }

    #[test]
    fn text_is_the_same_however_it_is_cut() {
        let text = "a\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}é€𝄞z";
        let bytes = text.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(text_of(&pieces).unwrap(), text, "{first} {second}");
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(text_of(&single).unwrap(), text);
    }

    #[test]
    fn text_fails_with_the_first_byte_that_no_character_has_there() {
        for (good, bad) in [
            (&b"ok"[..], &b"\x80"[..]),
            (b"", b"\xC0"),
            (b"\xED", b"\xA0"),
            (b"\xF0", b"\x8F"),
            (b"\xF4", b"\x90"),
            (b"\xE2\x82", b"x"),
            (b"\xCE", b"\xCE"),
            (b"\xF0\x9D\x84", b"\xC0"),
            (b"", b"\xF5"),
        ] {
            for cut in 0..=good.len() {
                let mut body = Body::text(Vec::new());
                body.extend(&good[..cut], 100).unwrap();
                body.extend(&good[cut..], 100).unwrap();
                assert_eq!(body.extend(bad, 100), Err(Violation::BAD_UTF8), "{good:x?} {bad:x?}");
            }
            let together = [good, bad].concat();
            assert_eq!(Body::text(Vec::new()).extend(&together, 100), Err(Violation::BAD_UTF8), "{bad:x?}");
        }
        assert_eq!(text_of(&[b"a\xE2\x82"]), Err(Violation::BAD_UTF8), "it ends inside a character");
    }

    #[test]
    fn every_pair_and_triple_of_bytes_is_judged_as_the_standard_library_judges_it() {
        let interesting = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF]
            .into_iter()
            .chain([0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]);
        let bytes: Vec<u8> = interesting.collect();
        for &a in &bytes {
            for &b in &bytes {
                for &c in &bytes {
                    for &d in &bytes {
                        let all = [a, b, c, d];
                        let valid = str::from_utf8(&all).is_ok();
                        assert_eq!(text_of(&[&all[..1], &all[1..]]).is_ok(), valid, "{all:x?}");
                        assert_eq!(text_of(&[&all[..3], &all[3..]]).is_ok(), valid, "{all:x?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_buffer_never_holds_more_than_the_limit_nor_twice_what_came() {
        for limit in [1, 100, FIRST, FIRST + 1, 100_000] {
            for step in [1, 7, 5000] {
                for mut body in [Body::text(Vec::new()), Body::binary(Vec::new())] {
                    while body.len() < limit {
                        body.extend(&vec![b'x'; step.min(limit - body.len())], limit).unwrap();
                        let most = limit.min((2 * body.len()).max(FIRST));
                        assert!(body.capacity() <= most, "{} of {limit}: {}", body.len(), body.capacity());
                    }
                }
            }
        }
    }
}
