//! Header lines that the embedder adds to an answer.

use crate::syntax::is_token;

/// Lines of an answer's head, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderLines {
    bytes: Vec<u8>,
    names: Vec<String>,
}

impl HeaderLines {
    /// Adds a line. One that would end early, or that has characters beyond Latin-1 (RFC 9110 section 5.5), is left out.
    pub fn push(&mut self, name: &str, value: &str) {
        let latin1: Option<Vec<u8>> = value.chars().map(|char| u8::try_from(char).ok()).collect();
        let Some(value) = latin1.filter(|value| value.iter().all(|byte| is_field_byte(*byte))) else {
            return;
        };
        if is_token(name) {
            self.bytes.extend([name.as_bytes(), b": ", &value, b"\r\n"].concat());
            self.names.push(name.to_ascii_lowercase());
        }
    }

    /// True if there is a line of this name, which is in lower case.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// All lines, each with its end.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_in_latin_1() {
        let mut lines = HeaderLines::default();
        lines.push("Set-Cookie", "a=1");
        lines.push("X-Name", "caf\u{e9}\t!");
        for (name, value) in [
            ("X", "a\r\nb: c"),
            ("X", "a\nb"),
            ("X", "\0"),
            ("X", "\u{7f}"),
            ("X", "\u{20ac}"),
            ("", "a"),
            ("X: Y\r\nZ", "a"),
        ] {
            lines.push(name, value);
        }
        assert_eq!(lines.as_bytes(), b"Set-Cookie: a=1\r\nX-Name: caf\xe9\t!\r\n");
        assert!(lines.has("set-cookie") && !lines.has("x"));
    }
}
