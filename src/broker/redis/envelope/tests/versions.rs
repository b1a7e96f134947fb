//! Envelopes between versions of this package, as far as reading and writing go. `src/tests/versions.rs` has the servers.

use super::super::*;
use crate::tests::versions::golden::{Envelope, Meaning, PLAIN, POSITIONED, envelopes, formats};
use crate::tests::versions::v0_1;

/// The newest format that this version reads. All before belong to it.
const NEWEST: u32 = POSITIONED;

fn channel_of(envelope: &Envelope) -> &str {
    envelope.channel.split_once(':').map_or(&envelope.channel, |(kind, _)| kind)
}

/// The meaning of a payload, read by this version.
fn read(kind: &str, payload: &[u8]) -> Result<Meaning, &'static str> {
    if let ("user" | "room", Some((position, payload))) = (kind, read_position(payload)) {
        return Ok(Meaning::Positioned(position, read(kind, payload)?.into()));
    }
    let control = match kind {
        "user" => payload.strip_prefix(CONTROL),
        "control" | "node" => Some(payload),
        "messages" => {
            let (user, text) = read_shared(payload)?;
            return Ok(Meaning::Shared { user, text: text.into() });
        }
        _ => None,
    };
    Ok(match control.map(read_control).transpose()? {
        Some(ControlMessage::Disconnect { user_id, code, reason }) => {
            Meaning::Disconnect { user: user_id, code, reason }
        }
        Some(ControlMessage::Count { id, node, user_id }) => Meaning::Count { id, node, user: user_id },
        Some(ControlMessage::Counted { id, connections }) => Meaning::Counted { id, connections },
        None => match read_frame(payload)? {
            Message::Text(text) => Meaning::Text(text.into()),
            Message::Binary(bytes) => Meaning::Binary(bytes.into()),
        },
    })
}

/// The payload that this version writes for a meaning, without a history.
fn write(kind: &str, meaning: &Meaning) -> Vec<u8> {
    let frame = |message: Message<'_>| [frame_kind(message), message.payload()].concat();
    let control = match meaning.clone() {
        Meaning::Text(text) => return frame(Message::Text(&text)),
        Meaning::Binary(bytes) => return frame(Message::Binary(&bytes)),
        Meaning::Shared { user, text } => {
            return write_shared(&user, Message::Text(&text)).unwrap().into();
        }
        Meaning::Positioned(..) => panic!("only a history gives positions"),
        Meaning::Disconnect { user, code, reason } => {
            ControlMessage::Disconnect { user_id: user, code, reason }
        }
        Meaning::Count { id, node, user } => ControlMessage::Count { id, node, user_id: user },
        Meaning::Counted { id, connections } => ControlMessage::Counted { id, connections },
    };
    let before = if kind == "user" { CONTROL } else { b"" };
    [before, write_control(&control).as_bytes()].concat()
}

/// The same of version 0.1.
fn write_as_0_1(kind: &str, meaning: &Meaning) -> Vec<u8> {
    let frame = |message: Message<'_>| [v0_1::frame_kind(message), message.payload()].concat();
    let control = match meaning.clone() {
        Meaning::Text(text) => return frame(Message::Text(&text)),
        Meaning::Binary(bytes) => return frame(Message::Binary(&bytes)),
        Meaning::Shared { user, text } => {
            return v0_1::write_shared(&user, Message::Text(&text)).unwrap().into();
        }
        Meaning::Positioned(..) => panic!("0.1 knows no positions"),
        Meaning::Disconnect { user, code, reason } => {
            v0_1::Control::Disconnect { user_id: user, code, reason }
        }
        Meaning::Count { id, node, user } => v0_1::Control::Count { id, node, user_id: user },
        Meaning::Counted { id, connections } => v0_1::Control::Counted { id, connections },
    };
    let before = if kind == "user" { v0_1::CONTROL } else { b"" };
    [before, v0_1::write_control(&control).as_bytes()].concat()
}

/// Texts that writers have to take apart: JSON and no JSON, quotes, what looks like an envelope.
const TEXTS: [&str; 11] = [
    "",
    "hello",
    "{\"a\": [1, 1e400]}",
    "\"a \\\" b\"",
    "\"",
    "x{\"v\":1}",
    "hk3f9x2ab.7c1d09aa.1 tno",
    "\u{1F600}\u{2028}",
    "\u{0}\u{1f}\r\n",
    "null",
    "\\u0000",
];

/// Meanings of everything that is sent without a history, and the kinds of channels that it is sent on.
fn meanings() -> Vec<(&'static str, Meaning)> {
    let mut all = Vec::new();
    for text in TEXTS {
        for kind in ["user", "room", "all"] {
            all.push((kind, Meaning::Text(text.into())));
            all.push((kind, Meaning::Binary(text.as_bytes().iter().rev().copied().collect())));
        }
        all.push(("messages", Meaning::Shared { user: format!("u{text}"), text: text.into() }));
        for kind in ["user", "control"] {
            all.push((kind, Meaning::Disconnect { user: text.into(), code: 4002, reason: text.into() }));
        }
        let node = format!("n{text}");
        all.push(("control", Meaning::Count { id: u64::MAX, node: node.clone(), user: None }));
        all.push(("control", Meaning::Count { id: 1, node, user: Some(text.into()) }));
    }
    all.push(("node", Meaning::Counted { id: 1, connections: u64::MAX }));
    all
}

#[test]
fn what_is_written_without_a_history_is_byte_by_byte_what_every_version_has_written() {
    for envelope in envelopes(PLAIN) {
        let (kind, bytes) = (channel_of(&envelope), envelope.bytes());
        assert_eq!(write(kind, &envelope.means), bytes, "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(write_as_0_1(kind, &envelope.means), bytes);
    }
}

#[test]
fn the_envelopes_of_every_version_up_to_this_one_are_read_to_what_they_mean() {
    for format in formats() {
        for envelope in format.envelopes {
            let read = read(channel_of(&envelope), &envelope.bytes());
            if format.number <= NEWEST {
                assert_eq!(read, Ok(envelope.means));
            } else {
                assert_eq!(read, Err("a message is of an unknown kind"), "NEWEST is out of date");
            }
        }
    }
}

#[test]
fn what_is_written_without_a_history_version_0_1_reads_to_the_same_meaning() {
    for (kind, meaning) in meanings() {
        let payload = write(kind, &meaning);
        let name = if matches!(kind, "user" | "room" | "node") { format!("{kind}:a") } else { kind.into() };
        let read = v0_1::message(&name, &payload, "a");
        assert_eq!(read, Some(Ok(meaning)), "{kind}: {:?}", String::from_utf8_lossy(&payload));
    }
}

#[test]
fn what_version_0_1_writes_is_read_to_the_same_meaning() {
    for (kind, meaning) in meanings() {
        let payload = write_as_0_1(kind, &meaning);
        assert_eq!(read(kind, &payload), Ok(meaning), "{kind}: {:?}", String::from_utf8_lossy(&payload));
    }
}

/// The reason for the rule that no server publishes a position while a server of before is there.
#[test]
fn version_0_1_skips_a_message_with_a_position() {
    for envelope in envelopes(POSITIONED) {
        let read = v0_1::message(&envelope.channel, &envelope.bytes(), "a");
        assert_eq!(read, Some(Err("a message is of an unknown kind")));
    }
}

/// An envelope of before follows the position, so that a server can keep one form and publish either.
#[test]
fn a_message_with_a_position_is_that_position_and_the_message_without_one() {
    for envelope in envelopes(POSITIONED) {
        let Meaning::Positioned(position, inner) = &envelope.means else { panic!("{envelope:?}") };
        let plain = write(channel_of(&envelope), inner);
        let bytes = [format!("h{position} ").as_bytes(), &plain].concat();
        assert_eq!(envelope.bytes(), bytes);
        assert_eq!(v0_1::message(&envelope.channel, &plain, "a"), Some(Ok((**inner).clone())));
    }
}
