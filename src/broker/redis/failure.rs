//! Errors of those whose message or question did not get through.

use codes::error::{Code, Error};

/// The error of what can't be done without Redis.
pub(super) fn unavailable(why: &str) -> Error {
    Error::new(Code::BrokerUnavailable, format!("Redis is away: {why}"))
}

/// The same, because of what keeps the links from being up.
pub(super) fn away(trouble: Option<&Error>) -> Error {
    unavailable(trouble.map_or("not connected yet", |error| error.message.as_str()))
}

/// The error of a command that never reached Redis.
pub(super) fn lost() -> Error {
    unavailable("the link to Redis broke")
}

/// The error that a client gets whose message went to connections of this server only.
pub(super) fn only_local() -> Error {
    unavailable("the message reached connections of this server only")
}

/// The error of a command that Redis may have executed, or not.
pub(super) fn uncertain() -> Error {
    Error::new(Code::Uncertain, "the link to Redis broke before it answered")
}

/// The error of a command for which there is no room.
pub(super) fn overloaded() -> Error {
    Error::new(Code::BrokerOverloaded, "more than redis.pendingBytes wait for Redis")
}

/// The error of who comes, or waits, when everything is over.
pub(super) fn closed() -> Error {
    Error::new(Code::Closed, "the links to Redis are closed")
}
