//! Payloads on Redis. A person can read them with `redis-cli`.

use std::borrow::Cow;

use codes::error::{Code, Error};
use history::position::Position;
use protocol::frame::Message;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Version of the messages between servers.
const VERSION: u32 = 1;

/// The channel of what servers tell each other.
pub(super) const CONTROL_CHANNEL: &str = "control";
/// All servers that can read positions listen on it, and those of before don't. It lies where [`CONTROL_CHANNEL`] does, on which all
/// do: of the two numbers of subscribers one tells whether there is a server of before.
pub(super) const FORMAT_CHANNEL: &str = "format:2";

/// Most bytes that a message of so many takes on any channel: JSON has six characters for some.
pub(super) const fn largest(message: usize) -> usize {
    message * 6 + (4 << 10)
}

/// Most bytes of a position.
const MAX_POSITION: usize = 40;

/// Before a [`ControlMessage`] on a user's channel.
pub(super) const CONTROL: &[u8] = b"x";

/// Bytes of [`frame_kind`].
pub(super) const KIND_BYTES: usize = 1;

/// Channel of a user, a room or everyone: a letter, then the frame's payload.
pub(super) fn frame_kind(message: Message<'_>) -> &'static [u8] {
    match message {
        Message::Text(_) => b"t",
        Message::Binary(_) => b"b",
    }
}

/// Before the position of a message that has one. A space and the message itself follow: `hk3f9x2ab.7c1d09aa.1042 thello`. The
/// script writes it. Servers of before can't read it.
const POSITION: &[u8] = b"h";

/// Position and message of such a payload. None if it has no position.
pub(super) fn read_position(payload: &[u8]) -> Option<(Position, &[u8])> {
    let payload = payload.strip_prefix(POSITION)?;
    let end = payload.iter().take(MAX_POSITION).position(|byte| *byte == b' ')?;
    let position = Position::read(&payload[..end])?;
    Some((position, &payload[end + 1..]))
}

/// The message of such a payload.
///
/// # Errors
/// The fault, in words.
pub(super) fn read_frame(payload: &[u8]) -> Result<Message<'_>, &'static str> {
    match payload.split_first() {
        Some((b't', text)) => {
            simdutf8::basic::from_utf8(text).map(Message::Text).map_err(|_| "a text message is not UTF-8")
        }
        Some((b'b', bytes)) => Ok(Message::Binary(bytes)),
        _ => Err("a message is of an unknown kind"),
    }
}

/// The shared channel: `{"userId":"…","data":…}`, the guide's format. A string that is not JSON becomes a JSON string, and
/// `"text":true`, which older servers overlook, says that it is to be sent without its quotes.
///
/// # Errors
/// `ERR_NOT_REPRESENTABLE` for binary data.
pub(super) fn write_shared(user: &str, message: Message<'_>) -> Result<String, Error> {
    let Message::Text(text) = message else {
        let what = "binary data can't be sent under routing 'shared'";
        return Err(Error::new(Code::NotRepresentable, what));
    };
    let user = serde_json::Value::from(user);
    Ok(match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => format!(r#"{{"userId":{user},"data":{raw}}}"#),
        Err(_) => format!(r#"{{"userId":{user},"data":{},"text":true}}"#, serde_json::Value::from(text)),
    })
}

#[derive(Deserialize)]
struct SharedMessage<'a> {
    #[serde(borrow, rename = "userId")]
    user: UserId<'a>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    text: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum UserId<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Number(serde_json::Number),
}

/// User and text of a payload on the shared channel.
///
/// # Errors
/// The fault, in words.
pub(super) fn read_shared(payload: &[u8]) -> Result<(String, Cow<'_, str>), &'static str> {
    const WRONG: &str = "a message on the shared channel is not {\"userId\":…,\"data\":…}";
    let shared: SharedMessage<'_> = serde_json::from_slice(payload).map_err(|_| WRONG)?;
    let user = match shared.user {
        UserId::Text(text) => text.into_owned(),
        UserId::Number(number) => number.to_string(),
    };
    let data = shared.data.get();
    let text = match serde_json::from_str::<String>(data) {
        Ok(text) if shared.text => Cow::Owned(text),
        _ => Cow::Borrowed(data),
    };
    Ok((user, text))
}

/// Servers tell each other this, on the control channel and on each one's own.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "camelCase")]
pub(super) enum ControlMessage {
    /// Close a user's connections.
    #[serde(rename_all = "camelCase")]
    Disconnect { user_id: String, code: u16, reason: String },
    /// Say how many connections there are, of a user or in all, to the server `node`.
    #[serde(rename_all = "camelCase")]
    Count { id: u64, node: String, user_id: Option<String> },
    /// The answer to that.
    Counted { id: u64, connections: u64 },
}

impl ControlMessage {
    /// True if it closes the connections of this user.
    pub(super) fn closes(&self, user: &str) -> bool {
        matches!(self, ControlMessage::Disconnect { user_id, .. } if user_id == user)
    }
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    #[serde(flatten)]
    control: T,
}

/// As JSON.
pub(super) fn write_control(control: &ControlMessage) -> String {
    // Strings and numbers: nothing that could fail.
    serde_json::to_string(&Versioned { v: VERSION, control }).unwrap_or_default()
}

/// From JSON.
///
/// # Errors
/// The fault, in words.
pub(super) fn read_control(payload: &[u8]) -> Result<ControlMessage, &'static str> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let version: Version = serde_json::from_slice(payload).map_err(|_| "a control message is malformed")?;
    if version.v != VERSION {
        return Err("a control message is of an unknown version");
    }
    let versioned: Versioned<ControlMessage> =
        serde_json::from_slice(payload).map_err(|_| "a control message is of an unknown kind")?;
    Ok(versioned.control)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    mod versions;

    use super::*;

    #[test]
    fn json_goes_raw_into_the_shared_channel_and_comes_out_raw() {
        let json = r#"{"b": 1e400, "a":[ 1,2 ]}"#;
        let payload = write_shared("a\"da", Message::Text(json)).unwrap();
        assert_eq!(payload, format!(r#"{{"userId":"a\"da","data":{json}}}"#));
        assert_eq!(read_shared(payload.as_bytes()), Ok(("a\"da".to_owned(), Cow::Borrowed(json))));
    }

    #[test]
    fn other_text_crosses_as_it_is_and_older_servers_see_a_string() {
        let payload = write_shared("ada", Message::Text("hello \"you\"")).unwrap();
        assert_eq!(payload, r#"{"userId":"ada","data":"hello \"you\"","text":true}"#);
        assert_eq!(read_shared(payload.as_bytes()).unwrap().1, "hello \"you\"");
        // Of an older server's strings clients get the JSON, as they do there.
        assert_eq!(read_shared(br#"{"userId":7,"data":"hello"}"#), Ok(("7".into(), "\"hello\"".into())));
    }

    #[test]
    fn binary_data_is_refused_by_the_shared_channel() {
        assert_eq!(write_shared("ada", Message::Binary(b"x")).unwrap_err().code(), "ERR_NOT_REPRESENTABLE");
    }

    #[test]
    fn what_is_malformed_is_said_to_be() {
        for payload in
            [&b"{"[..], b"[]", b"{}", b"{\"userId\":\"a\"}", b"{\"userId\":{},\"data\":1}", b"\xff"]
        {
            assert!(read_shared(payload).is_err());
            assert!(read_control(payload).is_err());
        }
        for payload in [&b""[..], b"x1", b"t\xff"] {
            assert!(read_frame(payload).is_err());
        }
        assert!(read_control(br#"{"v":2,"op":"count"}"#).unwrap_err().contains("version"));
        assert!(read_control(br#"{"v":1,"op":"explode"}"#).unwrap_err().contains("kind"));
    }

    #[test]
    fn control_messages_read_back() {
        for control in [
            ControlMessage::Disconnect { user_id: "ada".into(), code: 4002, reason: "out".into() },
            ControlMessage::Count { id: 7, node: "n".into(), user_id: None },
            ControlMessage::Counted { id: 7, connections: 3 },
        ] {
            let text = write_control(&control);
            assert!(text.starts_with(r#"{"v":1,"op":""#), "{text}");
            assert_eq!(read_control(text.as_bytes()), Ok(control));
        }
    }
}
