//! A toy extension shows that there is a place for one.

use super::*;

/// Claims RSV1. A byte of its messages stands for two, inverted, or for none, and the message ends with a full stop.
struct Toy {
    /// True if it keeps to the room that it is given.
    is_careful: bool,
}

impl Extension for Toy {
    fn claims(&self, bits: u8) -> bool {
        bits == 0x40
    }

    fn decode(
        &mut self,
        bytes: &[u8],
        ends: bool,
        room: usize,
        decoded: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        for byte in bytes.iter().filter(|byte| **byte != PADDING) {
            decoded.extend([!byte, !byte]);
        }
        decoded.extend(ends.then_some(b'.'));
        if self.is_careful && decoded.len() > room { Err(Violation::TOO_LARGE) } else { Ok(()) }
    }
}

/// Stands for none.
const PADDING: u8 = 0xFE;

fn encoded(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| !byte).collect()
}

fn heard_by(toy: Toy, reads: &[&[u8]], max: usize) -> Vec<Heard> {
    let (mut assembler, mut all) = (Assembler::with(toy), Vec::new());
    for read in reads {
        feed(&mut assembler, read, max, &mut all);
    }
    assert!(assembler.is_idle() || matches!(all.last(), Some(Heard::Broken(_))));
    all
}

fn careful(reads: &[&[u8]]) -> Vec<Heard> {
    heard_by(Toy { is_careful: true }, reads, MAX)
}

#[test]
fn an_extension_decodes_its_messages_wherever_they_are_cut_and_no_others() {
    let text = |text: &str| Heard::Text(text.into());
    let ping = || Heard::Control(Opcode::Ping, b"p".into());
    let whole = frame(0xC1, &encoded("hi"));
    let plain = frame(0x81, b"plain");
    let begin = frame(0x41, &encoded("a"));
    let middle = frame(0x00, &encoded("b"));
    let end = frame(0x80, b"");
    let between = frame(0x89, b"p");
    let binary = frame(0xC2, b"\x00");
    let fragments = [&frame(0x01, b"x")[..], &between, &frame(0x80, b"y")].concat();
    let stream =
        [&whole[..], &plain, &begin, &between, &middle, &end, &fragments, &binary, &plain, &whole].concat();
    let all = [
        text("hhii."),
        text("plain"),
        ping(),
        text("aabb."),
        ping(),
        text("xy"),
        Heard::Binary(b"\xFF\xFF.".into()),
        text("plain"),
        text("hhii."),
    ];
    for len in 1..=stream.len() {
        let reads: Vec<&[u8]> = stream.chunks(len).collect();
        assert_eq!(careful(&reads), all, "{len}");
    }
    // Others are still used where they lie.
    let mut assembler = Assembler::with(Toy { is_careful: true });
    assert!(matches!(next(&mut assembler, &mut plain.clone(), MAX), Step::Whole(_)));
    assert!(matches!(next(&mut assembler, &mut whole.clone(), MAX), Step::Message(..)));
    assert!(matches!(next(&mut assembler, &mut plain.clone(), MAX), Step::Whole(_)));
}

#[test]
fn a_reserved_bit_that_no_extension_claims_or_that_is_not_in_a_messages_first_frame_is_a_violation() {
    let begun = frame(0x41, &encoded("a"));
    for (before, first) in [
        (&[][..], 0xA1),
        (&[], 0x92),
        (&[], 0xE1),
        (&[], 0xC9),
        (&[], 0xC8),
        (&[], 0xC0),
        (&[], 0xC3),
        (&begun, 0xC0),
        (&begun, 0x40),
        (&begun, 0xC9),
        (&begun, 0xC1),
    ] {
        assert_eq!(careful(&[before, &[first]]), [Heard::Broken(1002)], "{first:x}");
    }
    assert_eq!(all_of(&[&[0xC1]], MAX), [Heard::Broken(1002)], "none was negotiated");
}

#[test]
fn what_an_extension_decodes_to_is_checked_as_if_it_had_come_so() {
    let letters = |count: usize| encoded(&"x".repeat(count));
    for is_careful in [true, false] {
        let heard = |reads: &[&[u8]]| heard_by(Toy { is_careful }, reads, 101);
        let fits = [Heard::Text("x".repeat(100) + ".")];
        assert_eq!(heard(&[&frame(0xC1, &letters(50))]), fits);
        assert_eq!(heard(&[&frame(0x41, &letters(50)), &frame(0x80, b"")]), fits);
        // A frame may be longer than what it adds.
        assert_eq!(heard(&[&frame(0x41, &letters(50)), &frame(0x80, &[PADDING; 50])]), fits);
        assert_eq!(heard(&[&frame(0xC1, &letters(51))]), [Heard::Broken(1009)]);
        assert_eq!(heard(&[&frame(0x41, &letters(40)), &frame(0x80, &letters(11))]), [Heard::Broken(1009)]);
        // Found before the message is complete, and in the head of a frame that is too long by itself.
        assert_eq!(heard(&[&frame(0x41, &letters(51))]), [Heard::Broken(1009)]);
        assert_eq!(heard(&[&head(0xC1, 102)]), [Heard::Broken(1009)]);
        // The next message has its own room.
        let twice = frame(0xC2, &letters(50)).repeat(2);
        assert_eq!(heard(&[&twice]).len(), 2);
    }
    assert_eq!(careful(&[&frame(0xC1, b"\x00")]), [Heard::Broken(1007)]);
    assert_eq!(careful(&[&frame(0x41, b"\x00")]), [Heard::Broken(1007)], "at once");
}
