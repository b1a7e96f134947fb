//! Catalogue of close codes (RFC 6455 section 7.4): what they mean and what a client should do.

use std::ops::RangeInclusive;

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The purpose of the connection has been fulfilled.
pub const NORMAL: u16 = 1000;
/// The server shuts down.
pub const GOING_AWAY: u16 = 1001;
/// The peer broke the WebSocket protocol.
pub const PROTOCOL: u16 = 1002;
/// A kind of data this endpoint does not take.
pub const UNSUPPORTED: u16 = 1003;
/// Nothing was said; only ever reported, never sent.
pub const NO_STATUS: u16 = 1005;
/// The connection ended without a close frame; only ever reported, never sent.
pub const ABNORMAL: u16 = 1006;
/// Text that is not UTF-8.
pub const BAD_UTF8: u16 = 1007;
/// A message against the server's policy, or one that took longer than `limits.messageTimeoutMs`.
pub const POLICY: u16 = 1008;
/// A message larger than `limits.maxPayload`.
pub const TOO_LARGE: u16 = 1009;
/// The server failed.
pub const INTERNAL: u16 = 1011;
/// The server restarts and drains its connections.
pub const RESTART: u16 = 1012;
/// Unfinished messages hold too much memory.
pub const TRY_AGAIN_LATER: u16 = 1013;
/// A gateway could not reach the server behind it; never sent (see [`SENDABLE`]).
pub const BAD_GATEWAY: u16 = 1014;
/// The token has expired: of the connection, or of the handshake (`rejectWith: 'close'`). One code for both, so that a client that
/// comes back with the token that ended its connection is told the same.
pub const TOKEN_EXPIRED: u16 = 4001;
/// The app disconnected the user.
pub const DISCONNECTED: u16 = 4002;
/// No sign of life within the heartbeat's timeout.
pub const HEARTBEAT: u16 = 4003;
/// The client did not read fast enough.
pub const SLOW_CONSUMER: u16 = 4004;
/// The handshake had no valid credentials (`rejectWith: 'close'`). A fresh token may mend that: a browser drops an expired cookie, so
/// the one that comes back then has none, and over HTTP a page can't tell one refusal from another anyway.
pub const UNAUTHORIZED: u16 = 4401;
/// The handshake came from an origin that is not permitted (`rejectWith: 'close'`).
pub const FORBIDDEN: u16 = 4403;

/// The side that ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The client sent the first close frame.
    Peer,
    /// This side did: the application, a shutdown, a token's end, a limit, or a violation by the client.
    Server,
    /// Nobody: the transport broke or ended without a close frame (1006), or the client fell silent (4003).
    Network,
}

impl ClosedBy {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Peer, Self::Server, Self::Network];

    /// As JavaScript has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Server => "server",
            Self::Network => "network",
        }
    }
}

/// Advice to a client whose connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Connect again by itself, after a random pause.
    Reconnect,
    /// Get a fresh token, then do that. With the same token, or none, it would be refused. The pause grows here as well: a fresh token
    /// may be refused, too.
    Refresh,
    /// Stay away, until a person or the application decides otherwise.
    Stop,
}

impl Advice {
    /// As JavaScript has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reconnect => "reconnect",
            Self::Refresh => "refresh",
            Self::Stop => "stop",
        }
    }
}

/// One close code and what a client should make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseInfo {
    /// The code in the close frame.
    pub code: u16,
    /// Its name, as in the constants here and in `CloseCode` of JavaScript.
    pub name: &'static str,
    /// One line that says what happened.
    pub meaning: &'static str,
    /// Advice to the client.
    pub advice: Advice,
}

const fn info(code: u16, name: &'static str, advice: Advice, meaning: &'static str) -> CloseInfo {
    CloseInfo { code, name, meaning, advice }
}

/// Every code this package closes with or reports, in ascending order.
/// Applications may close with further codes (see [`SENDABLE`]).
pub const CLOSE_CODES: &[CloseInfo] = &[
    info(NORMAL, "NORMAL", Advice::Stop, "The connection has served its purpose."),
    info(GOING_AWAY, "GOING_AWAY", Advice::Reconnect, "The server shuts down, or the page was left."),
    info(PROTOCOL, "PROTOCOL", Advice::Stop, "The peer broke the WebSocket protocol."),
    info(UNSUPPORTED, "UNSUPPORTED", Advice::Stop, "The peer sent a kind of data that is not taken."),
    info(NO_STATUS, "NO_STATUS", Advice::Stop, "The peer closed without a code. Only reported, never sent."),
    info(
        ABNORMAL,
        "ABNORMAL",
        Advice::Reconnect,
        "The connection ended without a close frame. Only reported, never sent.",
    ),
    info(BAD_UTF8, "BAD_UTF8", Advice::Stop, "A text message or close reason was not UTF-8."),
    info(POLICY, "POLICY", Advice::Stop, "A message was against the server's policy, or took too long."),
    info(TOO_LARGE, "TOO_LARGE", Advice::Stop, "A message was larger than limits.maxPayload."),
    info(INTERNAL, "INTERNAL", Advice::Reconnect, "The server failed."),
    info(RESTART, "RESTART", Advice::Reconnect, "The server restarts and has drained the connection."),
    info(
        TRY_AGAIN_LATER,
        "TRY_AGAIN_LATER",
        Advice::Reconnect,
        "The unfinished message had to go when limits.memoryBytes ran out.",
    ),
    info(
        BAD_GATEWAY,
        "BAD_GATEWAY",
        Advice::Reconnect,
        "A gateway could not reach the server behind it. Never sent by this package.",
    ),
    info(TOKEN_EXPIRED, "TOKEN_EXPIRED", Advice::Refresh, "The token has expired."),
    info(DISCONNECTED, "DISCONNECTED", Advice::Stop, "The application disconnected the user."),
    info(HEARTBEAT, "HEARTBEAT", Advice::Reconnect, "There was no sign of life within heartbeat.timeoutMs."),
    info(
        SLOW_CONSUMER,
        "SLOW_CONSUMER",
        Advice::Reconnect,
        "Too much waited for the client: it did not read, read too slowly, or was sent too much at once.",
    ),
    info(
        UNAUTHORIZED,
        "UNAUTHORIZED",
        Advice::Refresh,
        "The handshake had no valid credentials (rejectWith: 'close').",
    ),
    info(FORBIDDEN, "FORBIDDEN", Advice::Stop, "The page's origin is not permitted (rejectWith: 'close')."),
];

/// The codes that an endpoint may put into a close frame (RFC 6455 section 7.4 and the IANA registry). 1004, 1005, 1006 and
/// 1015 are reserved. 1014 (bad gateway) is left out although it is registered: some clients, those on tungstenite among them,
/// take it for a violation.
pub const SENDABLE: [RangeInclusive<u16>; 3] = [1000..=1003, 1007..=1013, 3000..=4999];

/// True if ends are counted by this code: it is in the catalogue, or RFC 6455, section 7.4.1, or the IANA registry defines it.
/// Peers and applications choose among thousands of others, which must not each be a counter for ever.
pub fn is_counted(code: u16) -> bool {
    (1000..=1015).contains(&code) || CLOSE_CODES.iter().any(|info| info.code == code)
}

/// See [`SENDABLE`].
pub fn is_sendable(code: u16) -> bool {
    CloseCode::from(code).is_allowed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_who_ended_a_connection_is_its_place() {
        assert_eq!(ClosedBy::ALL.map(|by| by as usize), [0, 1, 2]);
    }

    #[test]
    fn codes_ascend_and_names_are_unique_and_screaming() {
        assert!(CLOSE_CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
        for (i, info) in CLOSE_CODES.iter().enumerate() {
            assert!(info.name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
            assert!(CLOSE_CODES[..i].iter().all(|other| other.name != info.name), "{}", info.name);
            assert!(info.meaning.ends_with('.'), "{}", info.name);
        }
    }

    #[test]
    fn the_ranges_that_are_published_hold_exactly_the_codes_that_may_be_sent() {
        for code in 0..=u16::MAX {
            assert_eq!(SENDABLE.iter().any(|range| range.contains(&code)), is_sendable(code), "{code}");
        }
    }

    #[test]
    fn every_code_of_the_catalogue_but_the_reported_ones_may_be_sent() {
        for info in CLOSE_CODES {
            assert_eq!(
                is_sendable(info.code),
                !matches!(info.code, NO_STATUS | ABNORMAL | BAD_GATEWAY),
                "{}",
                info.name
            );
        }
    }

    #[test]
    fn reserved_and_unassigned_codes_may_not_be_sent() {
        for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, u16::MAX] {
            assert!(!is_sendable(code), "{code}");
        }
        for code in [1000, 1003, 1007, 1013, 3000, 4999] {
            assert!(is_sendable(code), "{code}");
        }
    }
}
