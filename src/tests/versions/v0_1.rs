//! Envelopes as version 0.1 reads and writes them, copied as they were from commit
//! 25303e4f8b2d790af1bc86f54a87e5ae8bcf584d: `src/engine/broker/redis/envelope.rs` but for its tests, and of `dispatcher.rs` the
//! choice by channel, which there acts and here says what it would do. Frozen: servers of that version run beside ours, and no change here would reach them.

use std::borrow::Cow;

use auth::MAX_ID_BYTES;
use codes::close;
use codes::error::{Code, Error};
use protocol::frame::{MAX_REASON, Message};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::golden::Meaning;

/// Version of the messages between servers.
const VERSION: u32 = 1;

/// Before a [`Control`] on a user's channel.
pub(crate) const CONTROL: &[u8] = b"x";

/// Channel of a user, a room or everyone: a letter, then the frame's payload.
pub(crate) fn frame_kind(message: Message<'_>) -> &'static [u8] {
    match message {
        Message::Text(_) => b"t",
        Message::Binary(_) => b"b",
    }
}

/// The message of such a payload.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_frame(payload: &[u8]) -> Result<Message<'_>, &'static str> {
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
pub(crate) fn write_shared(user: &str, message: Message<'_>) -> Result<String, Error> {
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
struct Shared<'a> {
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
/// What is wrong with it.
pub(crate) fn read_shared(payload: &[u8]) -> Result<(String, Cow<'_, str>), &'static str> {
    const WRONG: &str = "a message on the shared channel is not {\"userId\":…,\"data\":…}";
    let shared: Shared<'_> = serde_json::from_slice(payload).map_err(|_| WRONG)?;
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
pub(crate) enum Control {
    /// Close a user's connections.
    #[serde(rename_all = "camelCase")]
    Disconnect { user_id: String, code: u16, reason: String },
    /// Say how many connections there are, of a user or in all, to the server `node`.
    #[serde(rename_all = "camelCase")]
    Count { id: u64, node: String, user_id: Option<String> },
    /// The answer to that.
    Counted { id: u64, connections: u64 },
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    #[serde(flatten)]
    control: T,
}

/// As JSON.
pub(crate) fn write_control(control: &Control) -> String {
    // Strings and numbers: nothing that could fail.
    serde_json::to_string(&Versioned { v: VERSION, control }).unwrap_or_default()
}

/// From JSON.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_control(payload: &[u8]) -> Result<Control, &'static str> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let version: Version = serde_json::from_slice(payload).map_err(|_| "a control message is malformed")?;
    if version.v != VERSION {
        return Err("a control message is of an unknown version");
    }
    let versioned: Versioned<Control> =
        serde_json::from_slice(payload).map_err(|_| "a control message is of an unknown kind")?;
    Ok(versioned.control)
}

/// What a server of that version, called `node`, does with a payload on a channel. None: it isn't subscribed to that.
///
/// # Errors
/// Why it skips it.
pub(crate) fn message(name: &str, payload: &[u8], node: &str) -> Option<Result<Meaning, &'static str>> {
    Some(if name.starts_with("user:") {
        match payload.strip_prefix(CONTROL) {
            Some(control) => obey(control),
            None => deliver_frame(payload),
        }
    } else if name.starts_with("room:") || name == "all" {
        deliver_frame(payload)
    } else if name == "messages" {
        deliver_shared(payload)
    } else if name == "control" || name.strip_prefix("node:") == Some(node) {
        obey(payload)
    } else {
        return None;
    })
}

fn deliver_frame(payload: &[u8]) -> Result<Meaning, &'static str> {
    Ok(match read_frame(payload)? {
        Message::Text(text) => Meaning::Text(text.into()),
        Message::Binary(bytes) => Meaning::Binary(bytes.into()),
    })
}

fn deliver_shared(payload: &[u8]) -> Result<Meaning, &'static str> {
    match read_shared(payload)? {
        (user, _) if user.is_empty() || user.len() > MAX_ID_BYTES => {
            Err("a message on the shared channel has an impossible userId")
        }
        (user, text) => Ok(Meaning::Shared { user, text: text.into() }),
    }
}

fn obey(payload: &[u8]) -> Result<Meaning, &'static str> {
    match read_control(payload)? {
        Control::Disconnect { user_id, code, reason } => {
            if close::is_sendable(code) && reason.len() <= MAX_REASON {
                Ok(Meaning::Disconnect { user: user_id, code, reason })
            } else {
                Err("a control message has an impossible close code or reason")
            }
        }
        Control::Count { id, node, user_id } => Ok(Meaning::Count { id, node, user: user_id }),
        Control::Counted { id, connections } => Ok(Meaning::Counted { id, connections }),
    }
}
