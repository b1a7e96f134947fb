//! What happens to a message that a client sent: to listeners, and on to other connections by the relay.

use std::sync::Arc;

use serde::de::IgnoredAny;

use super::Shared;
use super::broker::Channel;
use super::config::Relay;
use super::error::Code;
use super::frame::{Frame, Message};
use super::handle::Handle;

/// Routes one message. Listeners get every message as it came; the relay passes on what is JSON text.
pub(super) fn on_message(shared: &Shared, handle: &Arc<Handle>, message: Message<'_>) {
    let counters = &handle.mailbox().counters;
    counters.messages_in.add(1);
    counters.bytes_in.add(message.payload().len() as u64);
    shared.events.push_message(handle, message);
    let relayed = match shared.config.relay {
        Relay::Off => return,
        Relay::User => check(shared, message).map(|()| {
            shared.broker.publish(Channel::SameUser(handle), message);
        }),
        Relay::Rooms => check(shared, message).and_then(|()| {
            let rooms = shared.registry.rooms_of(handle);
            if rooms.is_empty() {
                return Err((Code::NotInRoom, "the connection is in no room"));
            }
            for room in rooms {
                shared.broker.publish(Channel::Room(&room), message);
            }
            Ok(())
        }),
    };
    match relayed {
        Ok(()) => counters.messages_relayed.add(1),
        Err((code, text)) => {
            counters.messages_not_relayed.add(1);
            refuse(shared, handle, code, text);
        }
    }
}

type Refused = (Code, &'static str);

fn check(shared: &Shared, message: Message<'_>) -> Result<(), Refused> {
    let Message::Text(text) = message else {
        return Err((Code::BinaryNotRelayed, "only text messages are relayed"));
    };
    if text.len() > shared.config.limits.outbox_bytes {
        return Err((Code::TooLarge, "the message is larger than an outbox"));
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(_) => Err((Code::InvalidJson, "the message is not JSON")),
    }
}

/// Tells the sender, in a frame of its own, why a message was not relayed. The connection stays open.
fn refuse(shared: &Shared, handle: &Arc<Handle>, code: Code, text: &str) {
    let body = serde_json::json!({ "error": { "code": code.as_str(), "message": text } }).to_string();
    handle.push(&Frame::new(Message::Text(&body)), shared.config.limits.outbox_bytes);
}
