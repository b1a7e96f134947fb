//! Whom a message is for.

use hashbrown::Equivalent;
use subprotocol::stream::Stream;

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

/// For tables that are asked by [`Topic`].
impl From<&Topic<'_>> for TopicName {
    fn from(topic: &Topic<'_>) -> TopicName {
        (*topic).into()
    }
}

impl Equivalent<TopicName> for Topic<'_> {
    fn equivalent(&self, name: &TopicName) -> bool {
        match (self, name) {
            (Topic::User(user), TopicName::User(name)) => **user == **name,
            (Topic::Room(room), TopicName::Room(name)) => **room == **name,
            _ => false,
        }
    }
}

/// A group of connections that a server asks messages for while it has a member. Its hash is that of its [`TopicName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic<'a> {
    /// The connections of a user.
    User(&'a str),
    /// The connections in a room.
    Room(&'a str),
}

impl<'a> Channel<'a> {
    /// Its name for clients.
    pub(crate) fn stream(self) -> Stream<'a> {
        match self {
            Channel::User(_) => Stream::User,
            Channel::Room(room) => Stream::Room(room),
            Channel::Everyone => Stream::All,
        }
    }

    /// The topic whose members it names. None: everyone.
    pub fn topic(self) -> Option<Topic<'a>> {
        match self {
            Channel::User(user) => Some(Topic::User(user)),
            Channel::Room(room) => Some(Topic::Room(room)),
            Channel::Everyone => None,
        }
    }
}

impl<'a> Topic<'a> {
    /// The channel whose members they are.
    pub(crate) fn channel(self) -> Channel<'a> {
        match self {
            Topic::User(user) => Channel::User(user),
            Topic::Room(room) => Channel::Room(room),
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
