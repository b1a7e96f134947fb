//! A server's dialect on top of the WebSocket. Pure: no socket, no clock.

/// The framing of messages inside WebSocket messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Not at all: a message is what was sent.
    #[default]
    Plain,
    /// Socket.IO 5 over Engine.IO 4, both in text: the event `m` with one argument, in the main namespace.
    SocketIo,
}

/// The addressee of a server's message.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet {
    /// The application.
    Message,
    /// The protocol, which wants this answer.
    Answer(&'static [u8]),
    /// The protocol: from now on messages may be sent.
    Connected,
}

impl Dialect {
    /// True if the server has something to say before messages may be sent.
    pub fn has_prelude(self) -> bool {
        self != Dialect::Plain
    }

    /// The payload of a frame that carries this JSON text, in either direction.
    pub fn message(self, json: &[u8]) -> Vec<u8> {
        match self {
            Dialect::Plain => json.to_vec(),
            Dialect::SocketIo => [b"42[\"m\",", json, b"]"].concat(),
        }
    }

    /// Tells messages from what the protocol needs.
    #[inline]
    pub fn packet(self, payload: &[u8]) -> Packet {
        match (self, payload) {
            (Dialect::Plain, _) => Packet::Message,
            // Engine.IO's open packet, which is answered by Socket.IO's CONNECT.
            (Dialect::SocketIo, [b'0', ..]) => Packet::Answer(b"40"),
            // Engine.IO's ping.
            (Dialect::SocketIo, b"2") => Packet::Answer(b"3"),
            (Dialect::SocketIo, [b'4', b'0', ..]) => Packet::Connected,
            (Dialect::SocketIo, _) => Packet::Message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_socket_io_is_told_from_its_messages() {
        let packet = |text: &str| Dialect::SocketIo.packet(text.as_bytes());
        assert_eq!(packet(r#"0{"sid":"x","upgrades":[],"pingInterval":25000}"#), Packet::Answer(b"40"));
        assert_eq!(packet(r#"40{"sid":"y"}"#), Packet::Connected);
        assert_eq!(packet("2"), Packet::Answer(b"3"));
        assert_eq!(packet(r#"42["m","2"]"#), Packet::Message);
        assert_eq!(Dialect::SocketIo.message(br#""2""#), br#"42["m","2"]"#);
    }

    #[test]
    fn a_plain_message_is_what_was_sent() {
        for text in ["2", "0{}", "40"] {
            assert_eq!(Dialect::Plain.packet(text.as_bytes()), Packet::Message);
            assert_eq!(Dialect::Plain.message(text.as_bytes()), text.as_bytes());
        }
    }
}
