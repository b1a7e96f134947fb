//! The messages of clients.

use std::borrow::Cow;
use std::str::FromStr;

use history::position::{Place, Position};
use protocol::frame::Message;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::binary_frame;
use super::stream::Stream;

/// Most characters of the `id` of a message.
pub const MAX_ID: usize = 64;
/// Most bytes of a topic's name: the longest room's, with what comes before it.
const MAX_TOPIC_BYTES: usize = "room:".len() + MAX_ROOM_BYTES;
/// Most bytes of a room's name.
const MAX_ROOM_BYTES: usize = 256;
/// Most topics of one `resume`.
pub const MAX_TOPICS: usize = 1000;

/// A message of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    /// It asks for what it has missed.
    Resume(Vec<Resumption>),
    /// It has something for the application. With an `id` it wants to know whether that was taken.
    Send { id: Option<Box<str>>, data: Message<'a> },
    /// It asks the application something.
    Request { id: Box<str>, data: Message<'a> },
    /// It wants to be in a room.
    Join { id: Box<str>, room: Box<str> },
    /// It wants to be in a room no longer.
    Leave { id: Box<str>, room: Box<str> },
    /// It has a fresh token.
    Renew { id: Box<str>, token: Box<str> },
    /// It wants a sign of life.
    Ping,
}

/// A topic that a client resumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The topic's name, which [`Stream::parse`] takes.
    pub topic: Box<str>,
    /// The progress of the client.
    pub place: Place,
}

/// Why a frame is no message of a client.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The `id` of the message, as far as it could be read.
    pub id: Option<Box<str>>,
    /// The kind of fault.
    pub kind: FaultKind,
}

/// See [`Fault`].
#[derive(Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Its form is wrong in this way.
    Malformed(&'static str),
    /// Its type, of which this is the beginning, is unknown.
    UnknownType(Box<str>),
}

/// All members of all types. Members of other types are read as what they are, and not looked at.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    topics: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TopicMembers<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    /// None: left out. `null` is the beginning.
    #[serde(borrow, default, deserialize_with = "present")]
    position: Option<&'a RawValue>,
}

/// A member that is there, be it `null`.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Reads a frame.
///
/// # Errors
/// It is no message of a client.
pub fn read<'a>(frame: Message<'a>) -> Result<ClientMessage<'a>, Fault> {
    let malformed = |id, why| Fault { id, kind: FaultKind::Malformed(why) };
    let (head, bytes) = match frame {
        Message::Text(text) => (text, None),
        Message::Binary(frame) => {
            let split = binary_frame::split(frame);
            let (head, bytes) =
                split.ok_or_else(|| malformed(None, "the binary frame ends before its head does"))?;
            (head, Some(bytes))
        }
    };
    let members: Members<'a> = serde_json::from_str(head)
        .map_err(|_| malformed(None, "the frame is no JSON object with a string `type`"))?;
    let id = match members.id.map(|id| serde_json::from_str::<Box<str>>(id.get())) {
        None => None,
        Some(Ok(id)) if (1..=MAX_ID).contains(&id.chars().count()) => Some(id),
        Some(_) => return Err(malformed(None, "`id` is no string of 1 to 64 characters")),
    };
    match &*members.kind {
        kind @ ("send" | "request") => {
            let data = match (members.data, bytes) {
                (Some(data), None) => Message::Text(data.get()),
                (None, Some(bytes)) => Message::Binary(bytes),
                (None, None) => return Err(malformed(id, "`data` is missing")),
                (Some(_), Some(_)) => {
                    return Err(malformed(id, "a binary frame has its `data` behind the head"));
                }
            };
            match id {
                id if kind == "send" => Ok(ClientMessage::Send { id, data }),
                Some(id) => Ok(ClientMessage::Request { id, data }),
                None => Err(malformed(None, "a request has no `id`")),
            }
        }
        "resume" => {
            let topics =
                members.topics.map(|topics| serde_json::from_str::<Vec<TopicMembers<'_>>>(topics.get()));
            let Some(Ok(topics)) = topics else {
                return Err(malformed(id, "`topics` is no array of objects with a string `topic`"));
            };
            if topics.len() > MAX_TOPICS {
                return Err(malformed(id, "`topics` has more than 1,000 elements"));
            }
            let topics = topics.into_iter().map(resumption).collect::<Result<_, _>>();
            topics.map(ClientMessage::Resume).map_err(|why| malformed(id, why))
        }
        kind @ ("join" | "leave") => {
            let room = members.room.map(|room| serde_json::from_str::<Box<str>>(room.get()));
            match (id, room) {
                (Some(id), Some(Ok(room))) if (1..=MAX_ROOM_BYTES).contains(&room.len()) => Ok(match kind {
                    "join" => ClientMessage::Join { id, room },
                    _ => ClientMessage::Leave { id, room },
                }),
                (None, _) => Err(malformed(None, "a message to join or leave has no `id`")),
                (id, _) => Err(malformed(id, "`room` is no string of 1 to 256 bytes")),
            }
        }
        "renew" => match (id, members.token.map(|token| serde_json::from_str::<Box<str>>(token.get()))) {
            (Some(id), Some(Ok(token))) => Ok(ClientMessage::Renew { id, token }),
            (None, _) => Err(malformed(None, "a renewal has no `id`")),
            (id, _) => Err(malformed(id, "`token` is no string")),
        },
        "ping" => Ok(ClientMessage::Ping),
        other => {
            let kind = FaultKind::UnknownType(other.chars().take(MAX_ID).collect());
            Err(Fault { id, kind })
        }
    }
}

fn resumption(members: TopicMembers<'_>) -> Result<Resumption, &'static str> {
    if members.topic.len() > MAX_TOPIC_BYTES {
        return Err("a `topic` is longer than that of any room");
    }
    if Stream::parse(&members.topic).is_none() {
        return Err("a `topic` is neither `user` nor `all` nor `room:` with a name");
    }
    let position =
        members.position.map(|position| serde_json::from_str::<Option<Cow<'_, str>>>(position.get()));
    let place = match position {
        None => Place::Unknown,
        Some(Ok(None)) => Place::Beginning,
        Some(Ok(Some(text))) => {
            Place::After(Position::from_str(&text).map_err(|_| "a `position` is none of the server's")?)
        }
        Some(Err(_)) => return Err("a `position` is neither a string nor null"),
    };
    Ok(Resumption { topic: members.topic.into(), place })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        read(Message::Text(text)).unwrap_err()
    }

    #[test]
    fn data_is_taken_as_it_was_written_whatever_it_is() {
        for data in ["1", "null", "\"a\\u0000\"", "[ 1,\n2 ]", "{\"type\":\"ping\"}", "1e400"] {
            let text = format!(r#" {{"more":[{{}}],"data":{data},"type":"send","id":"é1"}} "#);
            let sent = ClientMessage::Send { id: Some("é1".into()), data: Message::Text(data) };
            assert_eq!(read(Message::Text(&text)), Ok(sent));
        }
        let request = ClientMessage::Request { id: "7".into(), data: Message::Text("null") };
        assert_eq!(read(Message::Text(r#"{"type":"request","id":"7","data":null}"#)), Ok(request));
        let join = ClientMessage::Join { id: "7".into(), room: "a\nb".into() };
        assert_eq!(read(Message::Text(r#"{"type":"join","id":"7","room":"a\nb"}"#)), Ok(join));
        let renew = ClientMessage::Renew { id: "7".into(), token: "a.b".into() };
        assert_eq!(read(Message::Text(r#"{"type":"renew","id":"7","token":"a.b"}"#)), Ok(renew));
        let leave = ClientMessage::Leave { id: "7".into(), room: "é".into() };
        assert_eq!(read(Message::Text(r#"{"type":"leave","id":"7","room":"é"}"#)), Ok(leave));
        let sent = ClientMessage::Send { id: None, data: Message::Binary(b"\xff") };
        assert_eq!(read(Message::Binary(b"\0\x0f{\"type\":\"send\"}\xff")), Ok(sent));
        assert_eq!(read(Message::Text(r#"{"type":"p\u0069ng","data":1}"#)), Ok(ClientMessage::Ping));
    }

    #[test]
    fn a_resumption_tells_the_beginning_from_what_is_unknown() {
        let text = r#"{"type":"resume","topics":[{"topic":"user","position":"k3f9x2ab.7c1d09aa.7"},
            {"topic":"room:é","position":null,"x":1},{"position":null,"topic":"room:a:b"},{"topic":"all"}]}"#;
        let Ok(ClientMessage::Resume(topics)) = read(Message::Text(text)) else { panic!("{text}") };
        let topics: Vec<_> = topics.iter().map(|each| (&*each.topic, each.place)).collect();
        let seventh = Place::After("k3f9x2ab.7c1d09aa.7".parse().unwrap());
        let [e, ab] = ["room:é", "room:a:b"].map(|room| (room, Place::Beginning));
        assert_eq!(topics, [("user", seventh), e, ab, ("all", Place::Unknown)]);
    }

    #[test]
    fn a_fault_names_what_is_wrong_and_the_message_that_has_it() {
        let malformed = |text: &str| match fault(text) {
            Fault { id, kind: FaultKind::Malformed(why) } => (id.unwrap_or_default(), why),
            other => panic!("{text}: {other:?}"),
        };
        for text in [
            "",
            "x",
            "1",
            "[]",
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"ping"} x"#,
            r#"{"type":"ping","type":"ping"}"#,
        ] {
            assert!(malformed(text).1.contains("string `type`"), "{text}");
        }
        for text in [r#"{"type":"send","id":1,"data":1}"#, r#"{"type":"send","id":"","data":1}"#] {
            assert!(malformed(text).1.contains("`id`"), "{text}");
        }
        for kind in ["send", "request"] {
            let text = format!(r#"{{"type":"{kind}","id":"7"}}"#);
            assert_eq!(malformed(&text), ("7".into(), "`data` is missing"));
        }
        assert_eq!(malformed(r#"{"type":"request","data":1}"#).1, "a request has no `id`");
        assert_eq!(malformed(r#"{"type":"renew","token":"a"}"#).1, "a renewal has no `id`");
        assert_eq!(malformed(r#"{"type":"renew","id":"7","token":1}"#), ("7".into(), "`token` is no string"));
        for kind in ["join", "leave"] {
            assert!(malformed(&format!(r#"{{"type":"{kind}","room":"a"}}"#)).1.contains("`id`"));
            for room in ["1".to_owned(), "\"\"".to_owned(), format!("\"{}\"", "é".repeat(129))] {
                let (id, why) = malformed(&format!(r#"{{"type":"{kind}","id":"7","room":{room}}}"#));
                assert_eq!((&*id, why), ("7", "`room` is no string of 1 to 256 bytes"), "{room}");
            }
        }
        for (topics, why) in [
            ("1", "`topics`"),
            ("[1]", "`topics`"),
            (r#"[{"topic":"x"}]"#, "`topic`"),
            (r#"[{"topic":"room:","position":null}]"#, "`topic`"),
            (r#"[{"topic":"user","position":"x"}]"#, "`position`"),
            (r#"[{"topic":"user","position":1}]"#, "`position`"),
        ] {
            assert!(
                malformed(&format!(r#"{{"type":"resume","topics":{topics}}}"#)).1.contains(why),
                "{topics}"
            );
        }
        let long = "x".repeat(257);
        let topics = format!(r#"[{{"topic":"room:{long}"}}]"#);
        assert!(malformed(&format!(r#"{{"type":"resume","topics":{topics}}}"#)).1.contains("longer"));
        let many = r#"{"topic":"user"},"#.repeat(MAX_TOPICS) + r#"{"topic":"user"}"#;
        assert!(malformed(&format!(r#"{{"type":"resume","topics":[{many}]}}"#)).1.contains("1,000"));
        let long = format!(r#"{{"type":"{}","id":"a"}}"#, "é".repeat(100_000));
        assert_eq!(
            fault(&long),
            Fault { id: Some("a".into()), kind: FaultKind::UnknownType("é".repeat(MAX_ID).into()) }
        );
        let binary = read(Message::Binary(b"\0\x19{\"type\":\"send\",\"data\":1}x"));
        assert!(binary.is_err(), "data twice");
    }
}
