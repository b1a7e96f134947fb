#![allow(clippy::unwrap_used)]

use super::*;
use heard::{Heard, SPARES, feed, next};

mod any_frame;
mod corpus;
mod differential;
mod extension;
mod heard;
mod streams;

const MAX: usize = 1 << 20;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The head of a client's frame.
fn head(first: u8, len: u64) -> Vec<u8> {
    let length = match len {
        0..=125 => vec![0x80 | len as u8],
        126..=0xFFFF => [&[0xFE][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[0xFF][..], &len.to_be_bytes()].concat(),
    };
    [&[first][..], &length, &MASK].concat()
}

fn masked(payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    frame::unmask(&mut payload, MASK);
    payload
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, payload.len() as u64), masked(payload)].concat()
}

fn all_of(reads: &[&[u8]], max: usize) -> Vec<Heard> {
    let (mut assembler, mut all) = (Assembler::IDLE, Vec::new());
    for read in reads {
        feed(&mut assembler, read, max, &mut all);
    }
    all
}

/// The violation that an empty assembler sees, fed byte by byte behind `before`, and its place.
fn breaks_at(before: &[u8], bytes: &[u8], max: usize) -> Option<(usize, Violation)> {
    let mut assembler = Assembler::IDLE;
    let mut all = Vec::new();
    feed(&mut assembler, before, max, &mut all);
    assert!(!matches!(all.last(), Some(Heard::Broken(_))), "{all:?}");
    for (at, byte) in bytes.iter().enumerate() {
        if let Step::Broken(violation) = next(&mut assembler, &mut [*byte], max) {
            return Some((at + 1, violation));
        }
    }
    None
}

#[test]
fn a_violation_that_shows_in_a_head_is_found_with_the_byte_that_shows_it() {
    let begun = frame(0x01, b"begun");
    let long = |first, len| head(first, len);
    for (before, bytes, at, code) in [
        (&[][..], vec![0xC1], 1, 1002),
        (&[], vec![0xA9], 1, 1002),
        (&[], vec![0x92], 1, 1002),
        (&[], vec![0x83], 1, 1002),
        (&[], vec![0x8B], 1, 1002),
        (&[], vec![0x0F], 1, 1002),
        (&[], vec![0x09], 1, 1002),
        (&[], vec![0x08], 1, 1002),
        (&begun, vec![0x0A], 1, 1002),
        (&[], vec![0x80], 1, 1002),
        (&[], vec![0x00], 1, 1002),
        (&begun, vec![0x81], 1, 1002),
        (&begun, vec![0x02], 1, 1002),
        (&[], vec![0x81, 0x01], 2, 1002),
        (&[], vec![0x82, 0x7F], 2, 1002),
        (&[], vec![0x89, 0x00], 2, 1002),
        (&begun, vec![0x80, 0x01], 2, 1002),
        (&[], long(0x89, 126), 2, 1002),
        (&[], long(0x88, u64::MAX), 2, 1002),
        (&[], long(0x88, 1), 2, 1002),
        (&begun, long(0x8A, 70_000), 2, 1002),
        (&[], long(0x81, 1001), 4, 1009),
        (&[], long(0x02, 1001), 4, 1009),
        (&[], long(0x82, 1 << 40), 10, 1009),
        (&[], long(0x82, u64::MAX >> 1), 10, 1009),
        (&[], long(0x82, 1 << 63), 10, 1002),
        (&[], long(0x82, u64::MAX), 10, 1002),
        (&begun, long(0x80, 996), 4, 1009),
        (&begun, long(0x00, 996), 4, 1009),
    ] {
        let found = breaks_at(before, &bytes, 1000);
        assert_eq!(found.map(|(at, violation)| (at, violation.code)), Some((at, code)), "{bytes:x?}");
        // The same if all comes in one read.
        let heard = all_of(&[before, &bytes], 1000);
        assert_eq!(heard, [Heard::Broken(code)], "{bytes:x?}");
    }
}

#[test]
fn a_head_that_breaks_no_rule_is_waited_for() {
    for (first, len) in [(0x81, 1000), (0x01, 1000), (0x89, 125), (0x8A, 0), (0x88, 2), (0x82, 0)] {
        let whole = head(first, len);
        assert_eq!(breaks_at(&[], &whole, 1000), None, "{first:x} {len}");
    }
    let begun = frame(0x01, b"begun");
    assert_eq!(breaks_at(&begun, &head(0x80, 995), 1000), None, "just what is left");
    // Longer than need be: as it was, see `frame::payload_len`.
    let wasteful = [&[0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1][..], &MASK, &[b'x' ^ MASK[0]]].concat();
    assert_eq!(all_of(&[&wasteful], MAX), [Heard::Text("x".into())]);
    // But not of a control frame, whose seven bits of length are all that it may have.
    let wasteful = [&[0x89, 0xFE, 0, 1][..], &MASK, b"x"].concat();
    assert_eq!(all_of(&[&wasteful], MAX), [Heard::Broken(1002)]);
}

#[test]
fn a_small_limit_for_messages_is_none_for_control_frames() {
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        let bytes = frame(0x80 | opcode as u8, &[b'x'; MAX_CONTROL]);
        for cut in 0..bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(all_of(&[first, second], 1), [Heard::Control(opcode, vec![b'x'; MAX_CONTROL])]);
            let between = [frame(0x02, b""), first.to_vec()].concat();
            let heard = all_of(&[&between, second, &frame(0x80, b"y")], 1);
            assert_eq!(heard[1..], [Heard::Binary(b"y".into())], "{cut}");
        }
    }
}

#[test]
fn text_that_is_not_utf_8_is_found_inside_its_frame() {
    let payload = b"good \xE2\x82\xAC \xF4\x90 and much more that nobody has to wait for";
    let bytes = [head(0x81, 5000), masked(payload)].concat();
    // The second byte of the sequence is the first that can't be.
    let (at, violation) = breaks_at(&[], &bytes, MAX).unwrap();
    assert_eq!((at, violation), (8 + 11, Violation::BAD_UTF8));
    assert_eq!(all_of(&[&bytes], MAX), [Heard::Broken(1007)]);
    let fragment = [frame(0x01, b"\xE2"), head(0x00, 5000), vec![b'x' ^ MASK[0]]].concat();
    assert_eq!(all_of(&[&fragment], MAX), [Heard::Broken(1007)]);
    // Binary may be anything.
    assert_eq!(all_of(&[&frame(0x02, payload), &frame(0x80, b"")], MAX), [Heard::Binary(payload.to_vec())]);
}

#[test]
fn a_whole_control_frame_inside_a_message_is_used_where_it_lies() {
    let mut assembler = Assembler::IDLE;
    assert!(matches!(next(&mut assembler, &mut frame(0x01, b"a"), MAX), Step::Taken(7)));
    let mut ping = frame(0x89, b"ping");
    assert!(matches!(next(&mut assembler, &mut ping, MAX), Step::Whole(Whole { opcode: Opcode::Ping, .. })));
    assert!(!assembler.is_idle());
    let Step::Message(7, assembled) = next(&mut assembler, &mut frame(0x80, b"b"), MAX) else { panic!() };
    assert_eq!(assembled.message(), Message::Text("ab"));
    assert!(assembler.is_idle());
}

/// Bytes that an unfinished message holds, all buffers counted.
fn held(assembler: &Assembler<()>) -> usize {
    assembler.0.as_ref().map_or(0, |unfinished| {
        let body = unfinished.body.as_ref().map_or(0, Body::capacity);
        body + unfinished.spare.capacity() + unfinished.control.capacity()
    })
}

#[test]
fn an_announcement_costs_nothing_until_bytes_come() {
    let mut assembler = Assembler::IDLE;
    assert!(matches!(next(&mut assembler, &mut head(0x82, MAX as u64), MAX), Step::Taken(14)));
    assert_eq!(held(&assembler), 0);
    assert!(matches!(next(&mut assembler, &mut [0; 100], MAX), Step::Taken(100)));
    assert!(held(&assembler) <= 4096);
}

#[test]
fn an_unfinished_message_never_holds_more_than_the_limit_however_it_comes() {
    let piece = vec![b'x'; 16 * 1024];
    let whole = vec![b'x'; MAX - 1];
    let fragments = |count: usize| [frame(0x01, &piece), frame(0x00, &piece).repeat(count - 1)].concat();
    let cut =
        |first, announced, came: usize| [head(first, announced as u64), masked(&whole[..came])].concat();
    for bytes in [
        cut(0x82, MAX, MAX - 1),
        cut(0x81, MAX, MAX - 1),
        [fragments(63), cut(0x80, 16 * 1024, 16 * 1024 - 1)].concat(),
        [fragments(64), frame(0x00, b"").repeat(1000)].concat(),
        [frame(0x02, b"a"), [frame(0x00, b"a"), frame(0x89, b"")].concat().repeat(100_000)].concat(),
    ] {
        for read in [1000, 64 * 1024] {
            let mut assembler = Assembler::IDLE;
            let mut all = Vec::new();
            for bytes in bytes.chunks(read) {
                feed(&mut assembler, bytes, MAX, &mut all);
                assert!(held(&assembler) <= MAX + 128, "{}", held(&assembler));
            }
            assert!(!assembler.is_idle());
            assert!(all.iter().all(|heard| matches!(heard, Heard::Control(..))));
        }
    }
    // Collected and announced together: refused by the head, not when the bytes are there.
    let over = [fragments(63), head(0x80, MAX as u64)].concat();
    assert_eq!(all_of(&[&over], MAX), [Heard::Broken(1009)]);
}

#[test]
fn nothing_is_left_behind_between_messages_and_no_large_buffer_is_kept() {
    let mut assembler = Assembler::IDLE;
    let mut all = Vec::new();
    for len in [1, 70_000, MAX] {
        for part in frame(0x82, &vec![7; len]).chunks(5000) {
            feed(&mut assembler, part, MAX, &mut all);
        }
        assert!(assembler.is_idle());
    }
    assert_eq!(size_of::<Assembler<()>>(), size_of::<usize>());
    let kept = SPARES.with_borrow(|spares| {
        (spares.0.len(), spares.0.iter().map(|spare| spare.spare.capacity()).max().unwrap_or_default())
    });
    assert!(kept.0 <= SPARE && kept.1 <= SPARE_BUFFER, "{kept:?}");
}

#[test]
fn what_is_unfinished_is_overdue_after_its_time_and_a_second_for_each_8_kib_that_came() {
    let timeout = Duration::from_secs(60);
    let mut assembler = Assembler::IDLE;
    assert!(!assembler.is_overdue(0, timeout) && !assembler.is_timed(), "nothing is");
    // From a single byte on.
    assert!(matches!(next(&mut assembler, &mut [0x82], MAX), Step::Taken(1)));
    assert!(!assembler.is_timed());
    assert!(!assembler.is_overdue(1000, timeout) && assembler.is_timed());
    assert!(!assembler.is_overdue(61_000, timeout));
    assert!(assembler.is_overdue(61_001, timeout));
    // Progress gives time in proportion.
    next(&mut assembler, &mut head(0x82, MAX as u64)[1..], MAX);
    next(&mut assembler, &mut vec![0; 80 * 1024], MAX);
    assert!(!assembler.is_overdue(71_000, timeout));
    assert!(assembler.is_overdue(71_001, timeout));
    // Time in which nobody reads doesn't count.
    assembler.restart_clock();
    assert!(!assembler.is_timed() && !assembler.is_overdue(500_000, timeout));
    assert!(!assembler.is_overdue(570_000, timeout));
    assert!(assembler.is_overdue(570_001, timeout));
    // The next message has its own time.
    let rest = vec![0; MAX - 80 * 1024];
    let mut all = Vec::new();
    feed(&mut assembler, &rest, MAX, &mut all);
    assert!(assembler.is_idle() && !assembler.is_timed());
    feed(&mut assembler, &frame(0x01, b"x"), MAX, &mut all);
    assert!(!assembler.is_timed() && !assembler.is_overdue(600_000, timeout));
}
