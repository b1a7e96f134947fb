//! The relay's notion of JSON (RFC 8259): text that a receiver's parser can read, a naive one too.

use serde::Deserialize as _;
use serde::de::IgnoredAny;
use serde_json::Deserializer;

/// Levels of arrays and objects that may lie in each other (RFC 8259, section 9 permits a limit). Parsers that recurse run
/// out of stack some thousand levels deeper.
pub(super) const MAX_DEPTH: usize = 128;

/// The fault of a refused text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonFault {
    /// It is not JSON.
    Malformed,
    /// It is nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// Checks that a text is JSON, and nested at most [`MAX_DEPTH`] deep.
///
/// # Errors
/// The fault.
#[inline]
pub(super) fn check(text: &str) -> Result<(), JsonFault> {
    // As `serde_json::from_str` does it, which the compiler may leave as a call that costs as much as a short text.
    let mut parser = Deserializer::from_str(text);
    if IgnoredAny::deserialize(&mut parser).is_err() || parser.end().is_err() {
        return Err(JsonFault::Malformed);
    }
    if may_be_deep(text.as_bytes()) && is_deep(text.as_bytes()) {
        return Err(JsonFault::TooDeep);
    }
    Ok(())
}

/// A quick look: each level takes an opening and a closing bracket.
#[inline]
fn may_be_deep(text: &[u8]) -> bool {
    text.len() > 2 * MAX_DEPTH && count_opening(text) > MAX_DEPTH
}

/// Opening brackets, those in strings included. `[` and `{` differ by one bit.
fn count_opening(text: &[u8]) -> usize {
    // 255 at a time, so that the count fits a byte and a vector instruction counts many.
    let in_chunk = |bytes: &[u8]| bytes.iter().map(|&byte| u8::from((byte | 0x20) == b'{')).sum::<u8>();
    text.chunks(255).map(|bytes| usize::from(in_chunk(bytes))).sum()
}

/// The exact one, of a text that is JSON: brackets in strings don't count.
fn is_deep(text: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_DEEP: Result<(), JsonFault> = Err(JsonFault::TooDeep);

    fn nested(open: &str, close: &str, levels: usize) -> String {
        [open.repeat(levels), "1".into(), close.repeat(levels)].concat()
    }

    #[test]
    fn json_may_be_nested_128_levels_deep_and_no_deeper() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"[\":", "}]"), (" [ \"}\\\"]\", ", " ] ")] {
            let per = open.matches(['[', '{']).count() - usize::from(open.contains("\"[\""));
            assert_eq!(check(&nested(open, close, MAX_DEPTH / per)), Ok(()), "{open}");
            assert_eq!(check(&nested(open, close, MAX_DEPTH / per + 1)), TOO_DEEP, "{open}");
            assert_eq!(check(&nested(open, close, 100_000)), TOO_DEEP, "{open}");
        }
    }

    #[test]
    fn brackets_side_by_side_or_in_strings_are_no_levels() {
        let side_by_side = format!("[{}[]]", "[],{},".repeat(1000));
        let in_string = format!("[\"{}\\\"{}\\\\\"]", "[".repeat(1000), "{".repeat(1000));
        for text in [side_by_side, in_string, format!("\"{}\"", "[{".repeat(1000))] {
            assert!(may_be_deep(text.as_bytes()));
            assert_eq!(check(&text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_said_to_be_that_whatever_its_depth() {
        for text in ["", "x", "[1,]", "{\"a\"}", "\"\u{1}\"", "1 2", &"[".repeat(100_000)] {
            assert_eq!(check(text), Err(JsonFault::Malformed), "{text}");
        }
    }
}
