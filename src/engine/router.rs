//! What happens to a message that a client sent: to listeners, and on to other connections by the relay.

use std::sync::Arc;

use super::Shared;
use super::broker::Channel;
use super::config::Relay;
use super::error::{Code, Error};
use super::frame::{Frame, Message};
use super::handle::Handle;
use super::json;
use super::turns;

/// What a message costs, and its refusal, as [`turns::spend`] counts.
const MESSAGE: u64 = 4;
/// What it costs to see that a text is JSON, as a multiple of [`turns::bytes`].
const CHECK: u64 = 2;
const REFUSAL: u64 = 16;

/// What is left to do for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Routed {
    /// Nothing.
    Done,
    /// It is for its sender alone, which is to write it: see [`super::writer::Writer::may_write_through`].
    Echo,
}

/// Routes one message. Listeners get every message as it came; the relay passes on what is JSON text. With `may_echo` the
/// caller is able to do what [`Routed::Echo`] asks for.
pub(super) fn on_message(
    shared: &Shared,
    handle: &Arc<Handle>,
    message: Message<'_>,
    may_echo: bool,
) -> Routed {
    let counters = &handle.mailbox().counters;
    turns::spend(MESSAGE + turns::bytes(message.payload().len()));
    counters.messages_in.add(1);
    counters.bytes_in.add(message.payload().len() as u64);
    shared.events.push_message(handle, message);
    let relayed = match shared.config.relay {
        Relay::Off => return Routed::Done,
        Relay::User => match check(shared, message) {
            Ok(()) if may_echo && shared.broker.echoes(handle) => {
                counters.messages_relayed.add(1);
                return Routed::Echo;
            }
            Ok(()) => shared.broker.relay(Channel::SameUser(handle), message, handle),
            Err(error) => Err(error),
        },
        Relay::Rooms => check(shared, message).and_then(|()| {
            let rooms = shared.registry.rooms_of(handle);
            if rooms.is_empty() {
                return Err(Error::new(Code::NotInRoom, "the connection is in no room"));
            }
            // Every room gets its try; the sender is told of the first that failed.
            let relay = |room: &Arc<str>| shared.broker.relay(Channel::Room(room), message, handle);
            let outcomes: Vec<_> = rooms.iter().map(relay).collect();
            outcomes.into_iter().collect()
        }),
    };
    match relayed {
        Ok(()) => counters.messages_relayed.add(1),
        Err(error) => {
            counters.messages_not_relayed.add(1);
            refuse(handle, &error, shared.config.limits.outbox_bytes);
        }
    }
    Routed::Done
}

fn check(shared: &Shared, message: Message<'_>) -> Result<(), Error> {
    let Message::Text(text) = message else {
        return Err(Error::new(Code::BinaryNotRelayed, "only text messages are relayed"));
    };
    turns::spend(CHECK * turns::bytes(text.len()));
    if text.len() > shared.config.limits.outbox_bytes {
        return Err(Error::new(Code::TooLarge, "the message is larger than an outbox"));
    }
    json::check(text).map_err(|reason| Error::new(Code::InvalidJson, reason))
}

/// Tells the sender, in a frame of its own, why a message was not relayed. The connection stays open.
pub(super) fn refuse(handle: &Arc<Handle>, error: &Error, outbox_limit: usize) {
    turns::spend(REFUSAL);
    let body = serde_json::json!({ "error": { "code": error.code(), "message": error.message } }).to_string();
    handle.push(&Frame::new(Message::Text(&body)), outbox_limit);
}
