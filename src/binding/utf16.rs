//! Texts on their way from JavaScript.

/// The text of UTF-16 units. Half a surrogate pair becomes U+FFFD, as everywhere where a string leaves JavaScript.
///
/// V8 measures a string character by character before it hands it out as UTF-8, and then goes through it again; units it
/// copies. Most texts are ASCII, of which half of each unit goes.
pub(super) fn from_utf16(units: &[u16]) -> String {
    if units.iter().fold(0, |all, unit| all | unit) < 0x80 {
        let bytes = units.iter().map(|&unit| unit as u8).collect();
        if let Ok(text) = String::from_utf8(bytes) {
            return text;
        }
    }
    String::from_utf16_lossy(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_become_the_text_that_they_are() {
        for text in [
            "",
            "a",
            "{\"type\":\"chat\"}\u{7f}\0",
            "\u{80}",
            "gr\u{fc}n",
            "\u{4f60}\u{597d}",
            "a \u{1f600} b",
        ] {
            assert_eq!(from_utf16(&text.encode_utf16().collect::<Vec<_>>()), text);
        }
    }

    #[test]
    fn half_a_pair_becomes_a_replacement_character() {
        assert_eq!(from_utf16(&[0x61, 0xd83d, 0x62]), "a\u{fffd}b");
        assert_eq!(from_utf16(&[0xde00]), "\u{fffd}");
    }
}
