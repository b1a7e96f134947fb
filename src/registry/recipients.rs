//! Whom a message is for.

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

/// A group of connections that a server asks messages for while it has a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'a> {
    /// The connections of a user.
    User(&'a str),
    /// The connections in a room.
    Room(&'a str),
}
