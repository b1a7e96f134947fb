//! The messages of the server.

use history::position::{Place, Position};
use protocol::frame::Message;
use serde_json::value::RawValue;

use super::binary_frame;
use super::stream::Stream;

/// A message as it goes into a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Goes into a text frame.
    Text(String),
    /// Goes into a binary frame.
    Binary(Vec<u8>),
}

impl Body {
    /// The same, borrowed.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            Body::Text(text) => Message::Text(text),
            Body::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

/// An object that is being written.
struct Object(String);

impl Object {
    fn of_type(name: &str) -> Object {
        Object(format!(r#"{{"type":"{name}""#))
    }

    /// `value` is JSON.
    fn raw(mut self, name: &str, value: &str) -> Object {
        self.0.extend([",\"", name, "\":", value]);
        self
    }

    fn string(self, name: &str, value: &str) -> Object {
        self.raw(name, &quoted(value))
    }

    fn topic(self, stream: Stream<'_>) -> Object {
        match stream.parts() {
            [whole, ""] => self.string("topic", whole),
            parts => self.string("topic", &parts.concat()),
        }
    }

    fn place(self, place: Place) -> Object {
        match place {
            Place::Unknown => self,
            Place::Beginning => self.raw("position", "null"),
            Place::After(position) => self.raw("position", &format!("\"{position}\"")),
        }
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The first message of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    pub user_id: &'a str,
    pub connection_id: &'a str,
    pub session: &'a str,
    /// The user's name is another one for each connection.
    pub is_anonymous: bool,
    /// Unix milliseconds.
    pub now: u64,
    /// When the token expires, in Unix milliseconds. None: never.
    pub expires_at: Option<u64>,
    /// Milliseconds; 0: there is none.
    pub heartbeat_ms: u64,
    pub topics: &'a [(Stream<'a>, Place)],
}

/// `hello`.
pub fn hello(hello: &Hello<'_>) -> String {
    let topics: Vec<String> = hello.topics.iter().map(|(stream, place)| topic(*stream, *place)).collect();
    let object = Object::of_type("hello").string("userId", hello.user_id);
    let object = if hello.is_anonymous { object.raw("anonymous", "true") } else { object };
    let object = object
        .string("connectionId", hello.connection_id)
        .string("session", hello.session)
        .raw("now", &hello.now.to_string());
    let object = match hello.expires_at {
        Some(at) => object.raw("expiresAt", &at.to_string()),
        None => object,
    };
    object
        .raw("heartbeatMs", &hello.heartbeat_ms.to_string())
        .raw("topics", &format!("[{}]", topics.join(",")))
        .end()
}

fn topic(stream: Stream<'_>, place: Place) -> String {
    let object = Object(String::from("{")).topic(stream).place(place).end();
    object.replacen("{,", "{", 1)
}

/// `joined`.
pub fn joined(stream: Stream<'_>, place: Place) -> String {
    Object::of_type("joined").topic(stream).place(place).end()
}

/// `left`.
pub fn left(stream: Stream<'_>) -> String {
    Object::of_type("left").topic(stream).end()
}

/// `message`. `None`: its head would be too long for a binary frame, which no topic's name is.
pub fn message(
    stream: Option<Stream<'_>>,
    position: Option<Position>,
    is_replayed: bool,
    data: Message<'_>,
) -> Option<Body> {
    let mut object = Object::of_type("message");
    if let Some(stream) = stream {
        object = object.topic(stream);
    }
    if let Some(position) = position {
        object = object.place(Place::After(position));
    }
    if is_replayed {
        object = object.raw("replayed", "true");
    }
    with_data(object, data)
}

fn with_data(object: Object, data: Message<'_>) -> Option<Body> {
    match data {
        Message::Binary(bytes) => binary_frame::join(object.end().as_bytes(), bytes).map(Body::Binary),
        Message::Text(text) => Some(Body::Text(match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => object.raw("data", text).end(),
            Err(_) => object.string("text", text).end(),
        })),
    }
}

/// `ack`: what the client sent was taken.
pub fn ack(id: &str) -> String {
    Object::of_type("ack").string("id", id).end()
}

/// `reply`. `None`: its head would be too long for a binary frame, which no `id` is.
pub fn reply(id: &str, data: Message<'_>) -> Option<Body> {
    with_data(Object::of_type("reply").string("id", id), data)
}

/// The answer to a topic's resumption.
#[derive(Clone, Copy, Debug)]
pub struct Resumed<'a> {
    pub stream: Stream<'a>,
    pub place: Place,
    pub has_more: bool,
    /// The reason for which messages may be missing. None: none is.
    pub lost: Option<&'static str>,
}

/// `resumed`.
pub fn resumed(resumed: &Resumed<'_>) -> String {
    let mut object = Object::of_type("resumed").topic(resumed.stream).place(resumed.place);
    if resumed.has_more {
        object = object.raw("more", "true");
    }
    object = object.raw("recovered", if resumed.lost.is_none() { "true" } else { "false" });
    match resumed.lost {
        Some(reason) => object.string("reason", reason).end(),
        None => object.end(),
    }
}

/// `missed`. Without a topic: those that have no history.
pub fn missed(stream: Option<Stream<'_>>, reason: &'static str, position: Option<Position>) -> String {
    let object = Object::of_type("missed");
    let object = match stream {
        Some(stream) => object.topic(stream),
        None => object,
    };
    object.place(position.map_or(Place::Unknown, Place::After)).string("reason", reason).end()
}

/// `pong`. `now`: Unix milliseconds.
pub fn pong(now: u64) -> String {
    Object::of_type("pong").raw("now", &now.to_string()).end()
}

/// `error`.
pub fn error(id: Option<&str>, code: &str, message: &str) -> String {
    let mut object = Object::of_type("error").string("code", code).string("message", message);
    if let Some(id) = id {
        object = object.string("id", id);
    }
    object.end()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const NAME: &str = "k3f9x2ab.7c1d09aa.1042";

    fn text(stream: Option<Stream<'_>>, position: Option<Position>, is_replayed: bool, data: &str) -> String {
        match message(stream, position, is_replayed, Message::Text(data)) {
            Some(Body::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_are_the_bytes_of_the_specification() {
        let position: Position = NAME.parse().unwrap();
        let topics = [
            (Stream::User, Place::After(position)),
            (Stream::Room("tea"), Place::Unknown),
            (Stream::All, Place::Beginning),
        ];
        let first = Hello {
            user_id: "42",
            connection_id: "IhN9TsXn-11",
            session: "b3VyIHNlc3Npb24",
            is_anonymous: false,
            now: 1_764_540_000_000,
            expires_at: None,
            heartbeat_ms: 30_000,
            topics: &topics,
        };
        let resumption =
            Resumed { stream: Stream::User, place: Place::After(position), has_more: true, lost: None };
        for (written, expected) in [
            (
                hello(&first),
                r#"{"type":"hello","userId":"42","connectionId":"IhN9TsXn-11","session":"b3VyIHNlc3Npb24","now":1764540000000,"heartbeatMs":30000,"topics":[{"topic":"user","position":"k3f9x2ab.7c1d09aa.1042"},{"topic":"room:tea"},{"topic":"all","position":null}]}"#,
            ),
            (
                joined(Stream::Room("a\"b"), Place::Beginning),
                r#"{"type":"joined","topic":"room:a\"b","position":null}"#,
            ),
            (left(Stream::Room("tea")), r#"{"type":"left","topic":"room:tea"}"#),
            (text(None, None, false, "1"), r#"{"type":"message","data":1}"#),
            (
                text(Some(Stream::User), Some(position), true, r#"{"a":[1]}"#),
                r#"{"type":"message","topic":"user","position":"k3f9x2ab.7c1d09aa.1042","replayed":true,"data":{"a":[1]}}"#,
            ),
            (
                text(Some(Stream::All), None, false, "{a\n"),
                r#"{"type":"message","topic":"all","text":"{a\n"}"#,
            ),
            (
                resumed(&resumption),
                r#"{"type":"resumed","topic":"user","position":"k3f9x2ab.7c1d09aa.1042","more":true,"recovered":true}"#,
            ),
            (
                resumed(&Resumed {
                    lost: Some("trimmed"),
                    has_more: false,
                    place: Place::Unknown,
                    ..resumption
                }),
                r#"{"type":"resumed","topic":"user","recovered":false,"reason":"trimmed"}"#,
            ),
            (missed(None, "gap", None), r#"{"type":"missed","reason":"gap"}"#),
            (
                missed(Some(Stream::User), "failover", Some(position)),
                r#"{"type":"missed","topic":"user","position":"k3f9x2ab.7c1d09aa.1042","reason":"failover"}"#,
            ),
            (
                hello(&Hello { is_anonymous: true, topics: &[], expires_at: Some(7), ..first }),
                r#"{"type":"hello","userId":"42","anonymous":true,"connectionId":"IhN9TsXn-11","session":"b3VyIHNlc3Npb24","now":1764540000000,"expiresAt":7,"heartbeatMs":30000,"topics":[]}"#,
            ),
            (ack("7"), r#"{"type":"ack","id":"7"}"#),
            (
                match reply("7", Message::Text("[1]")) {
                    Some(Body::Text(text)) => text,
                    other => panic!("{other:?}"),
                },
                r#"{"type":"reply","id":"7","data":[1]}"#,
            ),
            (pong(7), r#"{"type":"pong","now":7}"#),
            (
                error(Some("a"), "ERR_X", "no \"x\""),
                r#"{"type":"error","code":"ERR_X","message":"no \"x\"","id":"a"}"#,
            ),
        ] {
            assert_eq!(written, expected);
            assert!(serde_json::from_str::<serde_json::Value>(&written).is_ok(), "{written}");
        }
        let binary = message(Some(Stream::User), None, false, Message::Binary(&[1, 2])).unwrap();
        assert_eq!(binary, Body::Binary(b"\x00\x21{\"type\":\"message\",\"topic\":\"user\"}\x01\x02".into()));
    }

    #[test]
    fn a_text_that_is_no_json_goes_as_a_string_and_one_that_is_as_it_was_written() {
        for (data, is_json) in [
            ("", false),
            ("x", false),
            ("1 2", false),
            (" [1, 2] ", true),
            ("\"\\ud800\"", true),
            ("nul", false),
        ] {
            let written = text(None, None, false, data);
            assert_eq!(written.contains(r#""data":"#), is_json, "{written}");
        }
    }
}
