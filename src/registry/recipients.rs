//! Whom a message is for.

use crate::worker::handle::Handle;

/// To whom a message goes.
#[derive(Clone, Copy, Debug)]
pub enum Channel<'a> {
    /// All connections of a user.
    User(&'a str),
    /// All connections in a room.
    Room(&'a str),
    /// All connections.
    Everyone,
}

/// To whom a client's message is relayed.
#[derive(Clone, Copy, Debug)]
pub enum RelayTarget<'a> {
    /// All connections of the client's own user.
    OwnUser,
    /// All connections in a room.
    Room(&'a str),
}

/// The name of a [`Topic`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicName {
    /// The user's id.
    User(Box<str>),
    /// The room's name.
    Room(Box<str>),
}

impl From<Topic<'_>> for TopicName {
    fn from(topic: Topic<'_>) -> TopicName {
        match topic {
            Topic::User(user) => TopicName::User(user.into()),
            Topic::Room(room) => TopicName::Room(room.into()),
        }
    }
}

/// A group of connections that a server asks messages for while it has a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic<'a> {
    /// The connections of a user.
    User(&'a str),
    /// The connections in a room.
    Room(&'a str),
}

impl<'a> Channel<'a> {
    /// The topic whose members it names. None: everyone.
    pub fn topic(self) -> Option<Topic<'a>> {
        match self {
            Channel::User(user) => Some(Topic::User(user)),
            Channel::Room(room) => Some(Topic::Room(room)),
            Channel::Everyone => None,
        }
    }
}

impl<'a> RelayTarget<'a> {
    /// The channel of what a connection relays.
    pub(crate) fn channel(self, sender: &'a Handle) -> Channel<'a> {
        match self {
            RelayTarget::OwnUser => Channel::User(&sender.user),
            RelayTarget::Room(room) => Channel::Room(room),
        }
    }
}
