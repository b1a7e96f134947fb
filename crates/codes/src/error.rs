//! Every error code of the package in one catalogue: what Rust raises and what the JavaScript side raises.
//!
//! Codes are part of the public API and never change their meaning; messages are for people and may change.

use std::fmt;

/// The JavaScript class an error is thrown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// `Error`
    Error,
    /// `TypeError`: a value of the wrong type, or something missing or unknown.
    Type,
    /// `RangeError`: the right type, but a value that is not permitted.
    Range,
}

macro_rules! catalogue {
    ($($variant:ident, $code:literal, $class:ident, $status:literal, $meaning:literal;)+) => {
        /// A stable error code. `as_str` is what JavaScript sees as `error.code`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)+
        }

        impl Code {
            /// The code as users see it, `ERR_…`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// One line that says what the code means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// The JavaScript class that carries this code.
            pub const fn class(self) -> ErrorClass {
                match self { $(Self::$variant => ErrorClass::$class,)+ }
            }

            /// The HTTP status an upgrade is refused with; 0 for codes that refuse no upgrade.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// The code with this text, if there is one.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($code => Some(Self::$variant),)+ _ => None }
            }
        }

        /// All codes with their meanings, in the order of the documentation.
        pub const ERROR_CODES: &[(&str, &str)] = &[$(($code, $meaning),)+];
    };
}

catalogue! {
    // Options.
    InvalidOption, "ERR_INVALID_OPTION", Type, 0, "An option has the wrong type, or options that exclude each other were given.";
    OptionOutOfRange, "ERR_OPTION_OUT_OF_RANGE", Range, 0, "An option has the right type but a value that is not permitted.";
    UnknownOption, "ERR_UNKNOWN_OPTION", Type, 0, "An option of this name does not exist.";
    AuthRequired, "ERR_AUTH_REQUIRED", Type, 0, "Neither the option auth nor the environment variable JWT_SECRET says who may connect.";
    InvalidServer, "ERR_INVALID_SERVER", Type, 0, "The first argument is neither an HTTP or HTTPS server nor null.";
    // Calls.
    InvalidArg, "ERR_INVALID_ARG", Type, 0, "An argument has the wrong type.";
    ArgOutOfRange, "ERR_ARG_OUT_OF_RANGE", Range, 0, "An argument has the right type but a value that is not permitted.";
    TooLarge, "ERR_TOO_LARGE", Range, 0, "The message is larger than limits.outboxBytes, so no connection could ever take it.";
    TooManyRooms, "ERR_TOO_MANY_ROOMS", Range, 0, "The connection is in limits.roomsPerConnection rooms already; it did not join another.";
    NotSerializable, "ERR_NOT_SERIALIZABLE", Type, 0, "JSON.stringify threw or gave nothing for the data.";
    Closed, "ERR_CLOSED", Error, 0, "The manager was closed, or is closing.";
    NameTaken, "ERR_NAME_TAKEN", Error, 0, "Another manager of this process has the name already.";
    HandlerTaken, "ERR_HANDLER_TAKEN", Error, 0, "onRequest was called while another handler answers requests.";
    NoManager, "ERR_NO_MANAGER", Error, 0, "No manager of this name was constructed in this process.";
    // Servers and how they reach each other.
    BrokerUnavailable, "ERR_BROKER_UNAVAILABLE", Error, 0, "Redis is away; other servers were not reached.";
    Uncertain, "ERR_UNCERTAIN", Error, 0, "The link to Redis broke before it answered; the message was published to all servers, or to none.";
    BrokerOverloaded, "ERR_BROKER_OVERLOADED", Error, 0, "redis.pendingBytes wait for Redis; nothing was published, but a relayed message may have reached some of its rooms.";
    NotRepresentable, "ERR_NOT_REPRESENTABLE", Type, 0, "redis.routing is 'shared', whose messages can't carry binary data; nothing was published.";
    NoHistory, "ERR_NO_HISTORY", Type, 0, "The option history keeps nothing of this user or room; nothing was published.";
    BrokerFull, "ERR_BROKER_FULL", Error, 0, "Redis can't store the message: it is out of memory, or has too few replicas (min-replicas-to-write); nothing was published.";
    BrokerConnect, "ERR_BROKER_CONNECT", Error, 0, "Redis can't be reached, or the connection to it was lost.";
    BrokerAuth, "ERR_BROKER_AUTH", Error, 0, "Redis refused the user name and password, or a command for lack of permission.";
    BrokerTooOld, "ERR_BROKER_TOO_OLD", Error, 0, "Redis is older than 6.0 (7.0 for a cluster).";
    BrokerRole, "ERR_BROKER_ROLE", Error, 0, "The Redis server is a replica, or its cluster has no master for some slots.";
    BrokerTimeout, "ERR_BROKER_TIMEOUT", Error, 0, "Redis does not answer.";
    BrokerProtocol, "ERR_BROKER_PROTOCOL", Error, 0, "Redis answered something unexpected.";
    BadMessage, "ERR_BAD_MESSAGE", Error, 0, "A message from Redis was malformed, too large or of an unknown kind; it was skipped.";
    Handover, "ERR_HANDOVER", Error, 0, "The socket cannot be taken over from Node.";
    Listener, "ERR_LISTENER", Error, 0, "An event listener threw or rejected; cause holds what it threw.";
    NativeMissing, "ERR_NATIVE_MISSING", Error, 0, "The native addon for this platform cannot be loaded.";
    WrongRuntime, "ERR_WRONG_RUNTIME", Error, 0, "The call needs Node.js; this is a browser's or an edge runtime's copy of the package.";
    Internal, "ERR_INTERNAL", Error, 0, "A defect of this package.";
    // Refused upgrades.
    BadMethod, "ERR_BAD_METHOD", Error, 405, "The upgrade request is not a GET.";
    BadHttpVersion, "ERR_BAD_HTTP_VERSION", Error, 400, "The upgrade request is not HTTP/1.1 or a later 1.x.";
    BadBody, "ERR_BAD_BODY", Error, 400, "The upgrade request has a body.";
    BadUpgrade, "ERR_BAD_UPGRADE", Error, 400, "The Upgrade header does not name websocket.";
    BadConnection, "ERR_BAD_CONNECTION", Error, 400, "The Connection header does not name upgrade.";
    BadHost, "ERR_BAD_HOST", Error, 400, "There is not exactly one Host header with a valid host.";
    BadVersion, "ERR_BAD_VERSION", Error, 426, "Sec-WebSocket-Version is missing or is not 13.";
    BadKey, "ERR_BAD_KEY", Error, 400, "There is not exactly one Sec-WebSocket-Key of 16 bytes in base64.";
    BadProtocol, "ERR_BAD_PROTOCOL", Error, 400, "Sec-WebSocket-Protocol is not a list of unique tokens.";
    OriginRefused, "ERR_ORIGIN_REFUSED", Error, 403, "allowedOrigins does not permit the origin of the page.";
    UrlTooLong, "ERR_URL_TOO_LONG", Error, 414, "The request target is longer than limits.maxUrlBytes.";
    HeadersTooLarge, "ERR_HEADERS_TOO_LARGE", Error, 431, "The request headers are larger than limits.maxHeaderBytes, or more than Node keeps.";
    TokenMissing, "ERR_TOKEN_MISSING", Error, 401, "The request carries no token.";
    TokenInvalid, "ERR_TOKEN_INVALID", Error, 401, "The token is malformed, is signed by another key, or its claims do not fit.";
    TokenExpired, "ERR_TOKEN_EXPIRED", Error, 401, "The token has expired.";
    Unauthorized, "ERR_UNAUTHORIZED", Error, 401, "authenticate returned null.";
    Refused, "ERR_REFUSED", Error, 403, "authenticate refused the client by an UpgradeRefusal.";
    AuthFailed, "ERR_AUTH_FAILED", Error, 500, "authenticate or authorize.join threw or rejected.";
    InvalidIdentity, "ERR_INVALID_IDENTITY", Error, 500, "authenticate returned something that is not an identity.";
    HandshakeTimeout, "ERR_HANDSHAKE_TIMEOUT", Error, 408, "The handshake took longer than limits.handshakeTimeoutMs.";
    TooManyConnections, "ERR_TOO_MANY_CONNECTIONS", Error, 503, "limits.maxConnections is reached.";
    TooManyHandshakes, "ERR_TOO_MANY_HANDSHAKES", Error, 503, "Too many tokens wait to be verified, or there is no thread to verify them.";
    ShuttingDown, "ERR_SHUTTING_DOWN", Error, 503, "The server is shutting down.";
    // Error frames to clients (and ERR_TOO_LARGE above).
    InvalidJson, "ERR_INVALID_JSON", Error, 0, "A text message under a relay is not JSON, or nested deeper than 128 levels; it was not relayed.";
    BinaryNotRelayed, "ERR_BINARY_NOT_RELAYED", Error, 0, "A binary message came under a relay; only text is relayed.";
    NoListener, "ERR_NO_LISTENER", Error, 0, "A client that speaks `actory.v1` wants to hear that its message was taken, and nobody takes it: there is neither a listener of `message` nor a relay, or no `onRequest` for a request.";
    JoinRefused, "ERR_JOIN_REFUSED", Error, 0, "A client that speaks `actory.v1` may not join the room: the option authorize does not permit it.";
    RequestFailed, "ERR_REQUEST_FAILED", Error, 0, "The handler of `onRequest` threw or rejected with something other than a RequestError.";
    TooManyUnanswered, "ERR_TOO_MANY_UNANSWERED", Error, 0, "256 messages and requests of a client that speaks `actory.v1` wait for an answer; this one was not taken.";
    InvalidMessage, "ERR_INVALID_MESSAGE", Error, 0, "A frame of a client that speaks `actory.v1` is no message of it, or asks for too much at once.";
    UnknownType, "ERR_UNKNOWN_TYPE", Error, 0, "A message of a client that speaks `actory.v1` has a type that this server does not know.";
    NotInRoom, "ERR_NOT_IN_ROOM", Error, 0, "relay is 'rooms' and the connection is in none; the message was not relayed.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of an engine call: a stable code and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The error's code.
    pub kind: Code,
    /// A sentence for people; never holds a secret.
    pub message: String,
}

impl Error {
    /// An error of this kind that says `message`.
    pub fn new(kind: Code, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The stable code, `ERR_…`.
    pub const fn code(&self) -> &'static str {
        self.kind.as_str()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}

/// The fault of options for a `Config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// `InvalidOption`, `OptionOutOfRange`, `UnknownOption` or `AuthRequired`.
    pub kind: Code,
    /// Full path of the option, such as `limits.maxPayload`; empty for the options as a whole.
    pub option: String,
    /// A sentence that names the option, what was expected and what was got; never holds a secret.
    pub message: String,
}

impl ConfigError {
    /// The right type, but a value that is not permitted: `<option> must be <expected>, got <got>`.
    pub fn out_of_range(option: &str, expected: &str, got: &str) -> Self {
        Self::mismatch(Code::OptionOutOfRange, option, expected, got)
    }

    /// A value of the wrong type: `<option> must be <expected>, got <got>`.
    pub fn invalid(option: &str, expected: &str, got: &str) -> Self {
        Self::mismatch(Code::InvalidOption, option, expected, got)
    }

    /// An error with its own sentence, for what does not fit "must be …, got …".
    pub fn new(kind: Code, option: &str, message: impl Into<String>) -> Self {
        Self { kind, option: option.to_owned(), message: message.into() }
    }

    /// The stable code, `ERR_…`.
    pub const fn code(&self) -> &'static str {
        self.kind.as_str()
    }

    fn mismatch(kind: Code, option: &str, expected: &str, got: &str) -> Self {
        Self::new(kind, option, format!("{option} must be {expected}, got {got}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Quotes a value for a message: control characters escaped, at most 40 characters of it.
pub fn quote(text: &str) -> String {
    format!("'{}'", shorten(text, 40).escape_debug())
}

/// At most so many characters of a text.
pub fn shorten(text: &str, shown: usize) -> String {
    let mut head: String = text.chars().take(shown).collect();
    if text.chars().nth(shown).is_some() {
        head.push('…');
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_is_unique_screaming_and_has_a_one_line_meaning() {
        let mut seen = HashSet::new();
        for (code, meaning) in ERROR_CODES {
            assert!(seen.insert(code), "{code} twice");
            assert!(code.starts_with("ERR_"), "{code}");
            assert!(code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code}");
            assert!(meaning.ends_with('.') && !meaning.contains('\n'), "{code}: {meaning}");
        }
    }

    #[test]
    fn every_code_is_found_again_by_its_text() {
        for (text, meaning) in ERROR_CODES {
            let code = Code::parse(text);
            assert_eq!(code.map(Code::as_str), Some(*text));
            assert_eq!(code.map(Code::meaning), Some(*meaning));
        }
        assert_eq!(Code::parse("ERR_NO_SUCH_CODE"), None);
    }

    #[test]
    fn refusals_have_a_status_of_an_error() {
        for code in ERROR_CODES.iter().filter_map(|(code, _)| Code::parse(code)) {
            assert!(matches!(code.http_status(), 0 | 400..=599), "{code}");
        }
    }

    #[test]
    fn config_errors_name_the_option_what_was_expected_and_what_was_got() {
        let error = ConfigError::out_of_range("limits.maxPayload", "an integer from 1 to 9", "10");
        assert_eq!(error.to_string(), "limits.maxPayload must be an integer from 1 to 9, got 10");
        assert_eq!((error.code(), error.kind.class()), ("ERR_OPTION_OUT_OF_RANGE", ErrorClass::Range));
    }

    #[test]
    fn quoted_values_are_short_and_on_one_line() {
        assert_eq!(quote("a\nb"), "'a\\nb'");
        assert_eq!(quote(&"ä".repeat(40)), format!("'{}'", "ä".repeat(40)));
        assert_eq!(quote(&"ä".repeat(41)), format!("'{}…'", "ä".repeat(40)));
    }
}
