//! Histories as JavaScript sees them.

use history::follower::Missed;
use history::meta::Reason;
use history::position::Position;
use napi::bindgen_prelude::{Buffer, Either, Null};
use napi_derive::napi;

use crate::outcome::{HistoryPage, KeptMessage};
use crate::registry::recipients::TopicName;

/// A message of a history.
#[napi(object, object_from_js = false)]
pub struct NativeKeptMessage {
    /// Text as a string, binary as a Buffer.
    pub data: Either<String, Buffer>,
    /// Its place.
    pub position: String,
}

impl From<KeptMessage> for NativeKeptMessage {
    fn from(message: KeptMessage) -> Self {
        NativeKeptMessage {
            data: if message.is_text {
                // Others can write to the store, too.
                Either::A(String::from_utf8_lossy(&message.payload).into_owned())
            } else {
                Either::B(message.payload.into_vec().into())
            },
            position: message.position.to_string(),
        }
    }
}

/// A part of a topic's history.
#[napi(object, object_from_js = false)]
pub struct NativeHistoryPage {
    /// In their order.
    pub messages: Vec<NativeKeptMessage>,
    /// The position to read on from; null if the topic has no message.
    pub position: Either<String, Null>,
    /// True if nothing that was asked for is missing.
    pub recovered: bool,
    /// The reason for which something may be missing.
    pub reason: Option<&'static str>,
    /// There are more.
    pub has_more: bool,
}

impl From<HistoryPage> for NativeHistoryPage {
    fn from(page: HistoryPage) -> Self {
        NativeHistoryPage {
            messages: page.messages.into_iter().map(NativeKeptMessage::from).collect(),
            position: text(page.position).map_or(Either::B(Null), Either::A),
            recovered: page.lost.is_none(),
            reason: page.lost.map(Reason::as_str),
            has_more: page.has_more,
        }
    }
}

/// Messages of a topic that did not arrive here, or may not have: `userId` or `room`, and which; why; behind which position, or
/// null; up to which, or null.
pub(super) fn missed(topic: TopicName, missed: Missed) -> Vec<Option<String>> {
    let (kind, topic) = match topic {
        TopicName::User(user) => ("userId", user),
        TopicName::Room(room) => ("room", room),
    };
    let why = missed.reason.as_str().to_owned();
    vec![Some(kind.to_owned()), Some(topic.into()), Some(why), text(missed.after), text(missed.to)]
}

fn text(position: Option<Position>) -> Option<String> {
    position.map(|position| position.to_string())
}
