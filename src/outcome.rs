//! The outcome of a call that other servers had a part in.

use history::meta::Reason;
use history::position::Position;
use serde::Serialize;

/// The known part of a message's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Every server that has the recipient was handed the message.
    Published,
    /// The broker was away: connections here were served directly, nobody else was.
    Local,
    /// The link broke before the broker answered: every server has it, or none.
    Uncertain,
}

/// Outcome of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// See [`Status`].
    pub status: Status,
    /// The number of servers that have the recipient, at most. None if that isn't known.
    pub nodes: Option<u32>,
    /// Connections on this server that the message was for: not arrivals.
    pub local: u32,
    /// Its place in the history of its topic. None if it has none.
    pub position: Option<Position>,
}

/// A message of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMessage {
    /// Its place.
    pub position: Position,
    /// True if it is text.
    pub is_text: bool,
    /// Its bytes.
    pub payload: Box<[u8]>,
}

/// A part of a topic's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// In their order.
    pub messages: Vec<KeptMessage>,
    /// The position to read on from: the last of them, or else of the topic. None if the topic has none.
    pub position: Option<Position>,
    /// The reason for which messages between the position that was asked for and the first of these may be missing. None: none is.
    pub lost: Option<Reason>,
    /// There are more.
    pub has_more: bool,
}

/// The number of connections on all servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCount {
    /// Connections on the servers that answered.
    pub connections: u64,
    /// Servers that answered, this one included.
    pub servers: u32,
    /// True if all did.
    pub complete: bool,
}

/// The answer to a question to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of a publish.
    Delivery(Delivery),
    /// Of a publish with the idempotency key of an earlier message, which has this place, if it has one: nobody was handed
    /// anything.
    Repeated(Option<Position>),
    /// Subscribers that were found, or handed a message.
    Number(u64),
    /// Of a count over all servers.
    ConnectionCount(ConnectionCount),
    /// A part of a history.
    History(Box<HistoryPage>),
    /// It is done.
    Done,
}

/// An answer, or the number of the ticket under which it will come, by an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Known at once.
    Now(Answer),
    /// Known later.
    Later(u64),
}
