//! Brokers carry a message to every server that has its recipients, this one included.
//!
//! Everything that is addressed to a user, a room or everyone goes through the broker, even when the recipient is
//! connected here: that is what gives all devices of a user one order.

mod memory;

use std::fmt;

use serde::Serialize;

pub use memory::MemoryBroker;

use super::frame::Message;
use super::handle::Handle;

/// To whom a message goes.
#[derive(Clone, Copy, Debug)]
pub enum Channel<'a> {
    /// All connections of a user.
    User(&'a str),
    /// All connections of the user that this connection here belongs to: as `User`, without the lookup.
    SameUser(&'a Handle),
    /// All connections in a room.
    Room(&'a str),
    /// All connections.
    Everyone,
}

/// What is known of a message's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Every server that has the recipient was handed the message.
    Published,
}

impl Status {
    /// As JavaScript sees it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Published => "published",
        }
    }
}

/// Outcome of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// See [`Status`].
    pub status: Status,
    /// How many servers have the recipient, at most.
    pub nodes: u32,
    /// Connections on this server into whose outboxes the message was put: not arrivals.
    pub local: u32,
}

/// See the module.
pub trait Broker: fmt::Debug + Send + Sync {
    /// Hands a message to every server that has a recipient. Does not block.
    fn publish(&self, channel: Channel<'_>, message: Message<'_>) -> Delivery;

    /// Name for the statistics.
    fn kind(&self) -> &'static str;
}
