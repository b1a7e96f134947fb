//! The conversation with a client that speaks the subprotocol `actory.v1`: its messages, and what it hears of its topics.

use std::sync::Arc;

use codes::error::{Code, quote};
use history::position::Place;
use protocol::frame::{self, Message};
use subprotocol::client_message::{self, ClientMessage, FaultKind};
use subprotocol::server_message::{self, Hello};
use subprotocol::stream::Stream;

use super::resume::Resumes;
use crate::time_of_day::unix_ms;
use crate::worker::handle::Handle;
use crate::worker::heartbeat::Heartbeat;
use crate::worker::scheduler;

/// Cost of a frame, as [`scheduler::charge`] counts.
const MESSAGE: u64 = 4;
/// Cost of reading it, as a multiple of [`scheduler::bytes`].
const PARSE: u64 = 4;

/// Deals with a frame of the client. Answers what it has for the application.
pub(super) fn on_message<'m>(
    resumes: &Resumes,
    handle: &Arc<Handle>,
    frame: Message<'m>,
    outbox_limit: usize,
) -> Option<Message<'m>> {
    scheduler::charge(MESSAGE + PARSE * scheduler::bytes(frame.payload().len()));
    let answer = match client_message::read(frame) {
        Ok(ClientMessage::Send { data, .. }) => return Some(data),
        Ok(ClientMessage::Ping) => server_message::pong(unix_ms()),
        Ok(ClientMessage::Resume(topics)) => {
            if resumes.begin(handle, topics) {
                return None;
            }
            let message = "more topics are being resumed than one message may name";
            server_message::error(None, Code::InvalidMessage.as_str(), message)
        }
        Err(fault) => {
            let (code, message) = match fault.kind {
                FaultKind::Malformed(why) => (Code::InvalidMessage, why.to_owned()),
                FaultKind::UnknownType(name) => {
                    (Code::UnknownType, format!("no message of a client has the type {}", quote(&name)))
                }
            };
            server_message::error(fault.id.as_deref(), code.as_str(), &message)
        }
    };
    handle.push_text(&answer, outbox_limit);
    None
}

/// The frame of the first message to a client. `places`: of its user, and then of these rooms.
pub(super) fn hello(
    handle: &Handle,
    connection_id: &str,
    heartbeat: Heartbeat,
    rooms: &[Arc<str>],
    places: &[Place],
) -> Vec<u8> {
    let streams = std::iter::once(Stream::User).chain(rooms.iter().map(|room| Stream::Room(room)));
    let place = |index: usize| places.get(index).copied().unwrap_or_default();
    let topics: Vec<_> = streams.enumerate().map(|(index, stream)| (stream, place(index))).collect();
    let hello = server_message::hello(&Hello {
        user_id: &handle.user,
        connection_id,
        now: unix_ms(),
        heartbeat_ms: heartbeat.interval.as_millis().try_into().unwrap_or(u64::MAX),
        topics: &topics,
    });
    let mut frame = Vec::new();
    frame::append(&mut frame, Message::Text(&hello));
    frame
}
