//! Whom a message is for.

use crate::worker::handle::Handle;

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

/// A group of connections that a server asks messages for while it has a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'a> {
    /// The connections of a user.
    User(&'a str),
    /// The connections in a room.
    Room(&'a str),
}
