//! The conversation with a client that speaks the subprotocol `actory.v1`: its messages, and what it hears of its topics.

use std::sync::Arc;

use codes::error::Code;
use history::position::Place;
use protocol::endpoint::Routed;
use protocol::frame::{self, Message};
use subprotocol::client_message::{self, ClientMessage, FaultKind};
use subprotocol::server_message::{self, Hello};
use subprotocol::stream::Stream;

use super::router;
use super::shared::Shared;
use crate::registry::delivery::tell;
use crate::time_of_day::unix_ms;
use crate::worker::handle::Handle;
use crate::worker::relaying::Relaying;
use crate::worker::scheduler::{self, Budget};

/// Deals with a frame of the client.
pub(super) fn on_message(
    shared: &Shared,
    handle: &Arc<Handle>,
    frame: Message<'_>,
    rest: &mut Option<Box<Relaying>>,
    budget: &Budget,
) -> Routed {
    scheduler::charge(scheduler::bytes(frame.payload().len()));
    let limit = shared.config.limits.outbox_bytes;
    match client_message::read(frame) {
        Ok(ClientMessage::Send { data, .. }) => {
            return router::on_message(shared, handle, data, false, rest, budget);
        }
        Ok(ClientMessage::Ping) => tell(handle, &server_message::pong(unix_ms()), limit),
        Ok(ClientMessage::Resume(topics)) => {
            if !shared.resumes.begin(shared, handle, topics) {
                let message = "more topics are being resumed than one message may name";
                tell(handle, &server_message::error(None, Code::InvalidMessage.as_str(), message), limit);
            }
        }
        Err(fault) => {
            let (code, message) = match fault.kind {
                FaultKind::Malformed(why) => (Code::InvalidMessage, why.to_owned()),
                FaultKind::UnknownType(name) => (
                    Code::UnknownType,
                    format!("no message of a client has the type {}", codes::error::quote(&name)),
                ),
            };
            tell(handle, &server_message::error(fault.id.as_deref(), code.as_str(), &message), limit);
        }
    }
    Routed::Done
}

/// The frame of the first message to a client. `places`: of its user, and then of these rooms.
pub(super) fn hello(shared: &Shared, handle: &Handle, rooms: &[Arc<str>], places: &[Place]) -> Vec<u8> {
    let streams = std::iter::once(Stream::User).chain(rooms.iter().map(|room| Stream::Room(room)));
    let place = |index: usize| places.get(index).copied().unwrap_or_default();
    let topics: Vec<_> = streams.enumerate().map(|(index, stream)| (stream, place(index))).collect();
    let hello = server_message::hello(&Hello {
        user_id: &handle.user,
        connection_id: &shared.public_id(handle.id),
        now: unix_ms(),
        heartbeat_ms: shared.config.heartbeat.interval.as_millis().try_into().unwrap_or(u64::MAX),
        topics: &topics,
    });
    let mut frame = Vec::new();
    frame::append(&mut frame, Message::Text(&hello));
    frame
}
