//! The conversation with a client that speaks the subprotocol `actory.v1`: its messages, and what it hears of its topics.

use std::sync::Arc;

use codes::error::{Code, quote};
use history::position::Place;
use protocol::frame::{self, Message};
use subprotocol::client_message::{self, ClientMessage, FaultKind};
use subprotocol::server_message::{self, Hello};
use subprotocol::stream::Stream;

use super::resume::Resumes;
use super::sessions::Sessions;
use crate::events::{AskedKind, Events, Interest};
use crate::time_of_day::unix_ms;
use crate::worker::client_session::IdentifiedBy;
use crate::worker::handle::Handle;
use crate::worker::heartbeat::Heartbeat;
use crate::worker::receipts::{Begun, Kind, MAX_UNANSWERED, Receipt};
use crate::worker::scheduler;

/// Cost of a frame, as [`scheduler::charge`] counts.
const MESSAGE: u64 = 4;
/// Cost of reading it, as a multiple of [`scheduler::bytes`].
const PARSE: u64 = 4;

/// A message of a client that concerns others than the conversation.
#[derive(Debug)]
pub(super) enum Said<'m> {
    /// It is for listeners and the relay; with a receipt if the client wants to hear of it.
    Message(Message<'m>, Option<Receipt>),
    /// The client asks the application something.
    Request(Message<'m>, Receipt),
    /// It wants to be in a room.
    Join(Box<str>, Receipt),
    /// It wants to be in it no longer.
    Leave(Box<str>, Receipt),
    /// It has a fresh token.
    Renew(Box<str>, Receipt),
}

/// All conversations of an engine.
#[derive(Debug)]
pub(super) struct Conversations {
    pub(super) resumes: Arc<Resumes>,
    sessions: Sessions,
    events: Arc<Events>,
    outbox_limit: usize,
}

impl Conversations {
    pub(super) fn new(resumes: Arc<Resumes>, events: Arc<Events>, outbox_limit: usize) -> Self {
        Conversations { resumes, sessions: Sessions::new(outbox_limit), events, outbox_limit }
    }

    /// A connection has left.
    pub(super) fn leave(&self, handle: &Handle) {
        self.resumes.forget(handle);
        self.sessions.leave(handle);
    }

    /// Deals with a frame of the client, as far as others are not concerned.
    pub(super) fn on_message<'m>(&self, handle: &Arc<Handle>, frame: Message<'m>) -> Option<Said<'m>> {
        scheduler::charge(MESSAGE + PARSE * scheduler::bytes(frame.payload().len()));
        let answer = match client_message::read(frame) {
            Ok(ClientMessage::Send { id: None, data }) => return Some(Said::Message(data, None)),
            Ok(ClientMessage::Send { id: Some(id), data }) => {
                return self.begin(handle, id, Kind::Send, |receipt| Said::Message(data, Some(receipt)));
            }
            Ok(ClientMessage::Request { id, data }) => {
                return self.begin(handle, id, Kind::Question, |receipt| Said::Request(data, receipt));
            }
            Ok(ClientMessage::Join { id, room }) => {
                return self.begin(handle, id, Kind::Question, |receipt| Said::Join(room, receipt));
            }
            Ok(ClientMessage::Leave { id, room }) => {
                return self.begin(handle, id, Kind::Question, |receipt| Said::Leave(room, receipt));
            }
            Ok(ClientMessage::Renew { id, token }) => {
                return self.begin(handle, id, Kind::Question, |receipt| Said::Renew(token, receipt));
            }
            Ok(ClientMessage::Ping) => server_message::pong(unix_ms()),
            Ok(ClientMessage::Resume(topics)) => {
                if self.resumes.begin(handle, topics) {
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
        handle.push_text(&answer, self.outbox_limit);
        None
    }

    /// Begins a message that the client wants to hear of. None: it came before, or can't be taken.
    fn begin<'m>(
        &self,
        handle: &Arc<Handle>,
        id: Box<str>,
        kind: Kind,
        said: impl FnOnce(Receipt) -> Said<'m>,
    ) -> Option<Said<'m>> {
        match self.sessions.receipts(handle)?.begin(handle, id, kind) {
            Begun::New(receipt) => Some(said(receipt)),
            Begun::Known => None,
            Begun::Full(id) => {
                let code = Code::TooManyUnanswered.as_str();
                let message = format!("{MAX_UNANSWERED} messages wait for an answer already");
                let text = server_message::error(Some(&id), code, &message);
                handle.push_text(&text, self.outbox_limit);
                None
            }
        }
    }

    /// Hands a request to the embedder.
    pub(super) fn request(&self, handle: &Arc<Handle>, data: Message<'_>, receipt: Receipt) {
        let counters = &handle.inbox().counters;
        counters.messages_in.add(1);
        counters.bytes_in.add(data.payload().len() as u64);
        if !self.events.wants(Interest::REQUEST) {
            let why = "the application answers no requests";
            return receipt.refuse(Code::NoListener.as_str(), why);
        }
        self.events.push_asked(handle, data, AskedKind::Request, receipt);
    }
}

/// The frame of the first message to a client. `places`: of its user, and then of these rooms.
pub(super) fn hello(
    handle: &Handle,
    connection_id: &str,
    heartbeat: Heartbeat,
    rooms: &[Arc<str>],
    places: &[Place],
    expires_at: Option<u64>,
) -> Vec<u8> {
    let streams = std::iter::once(Stream::User).chain(rooms.iter().map(|room| Stream::Room(room)));
    let place = |index: usize| places.get(index).copied().unwrap_or_default();
    let topics: Vec<_> = streams.enumerate().map(|(index, stream)| (stream, place(index))).collect();
    let hello = server_message::hello(&Hello {
        user_id: &handle.user,
        connection_id,
        session: handle.session().map_or("", |session| &session.name),
        is_anonymous: handle.session().is_some_and(|session| session.identified_by == IdentifiedBy::Nobody),
        now: unix_ms(),
        expires_at,
        heartbeat_ms: heartbeat.interval.as_millis().try_into().unwrap_or(u64::MAX),
        topics: &topics,
    });
    let mut frame = Vec::new();
    frame::append(&mut frame, Message::Text(&hello));
    frame
}
