//! The names of topics on the wire.

/// A stream of messages in one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream<'a> {
    /// Messages for the user of the connection.
    User,
    /// Messages for a room.
    Room(&'a str),
    /// Messages for everyone.
    All,
}

impl<'a> Stream<'a> {
    /// From its name on the wire. None: no topic is called that.
    pub fn parse(name: &'a str) -> Option<Stream<'a>> {
        match name {
            "user" => Some(Stream::User),
            "all" => Some(Stream::All),
            _ => name.strip_prefix("room:").filter(|room| !room.is_empty()).map(Stream::Room),
        }
    }

    /// The two parts of its name on the wire.
    pub(crate) fn parts(self) -> [&'a str; 2] {
        match self {
            Stream::User => ["user", ""],
            Stream::Room(room) => ["room:", room],
            Stream::All => ["all", ""],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_one_name() {
        for stream in [Stream::User, Stream::All, Stream::Room("a"), Stream::Room("user")] {
            assert_eq!(Stream::parse(&stream.parts().concat()), Some(stream));
        }
        for name in ["", "room", "room:", "users", "User"] {
            assert_eq!(Stream::parse(name), None, "{name:?}");
        }
    }
}
