//! The identity of a connection, the places where its token is found, and the verification of a JWT.

#![forbid(unsafe_code)]

mod integer;
pub mod jwt;
mod key;
mod members;
pub mod token;

use std::fmt;
use std::sync::Arc;

/// Most bytes of a user id and of a room's name.
pub const MAX_ID_BYTES: usize = 256;

/// The identity of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user; one user may have many connections.
    pub user_id: Arc<str>,
    /// Rooms the connection is in from the beginning.
    pub rooms: Vec<Arc<str>>,
    /// The app gets this as `connection.data`. JSON text; for a JWT all of its claims.
    pub data: Option<Box<str>>,
    /// Time at which the connection must end, in Unix milliseconds. At most 8.64e15, the last day JavaScript knows.
    pub expires_at: Option<u64>,
}

/// The fault of a user id or room name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    /// It is empty.
    Empty,
    /// It is longer than [`MAX_ID_BYTES`].
    TooLong,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "must not be empty",
            Self::TooLong => "must be at most 256 bytes of UTF-8",
        })
    }
}

impl std::error::Error for IdError {}

/// A user id or a room's name: not empty, at most [`MAX_ID_BYTES`] bytes.
pub fn parse_id(text: &str) -> Result<Arc<str>, IdError> {
    match text.len() {
        0 => Err(IdError::Empty),
        1..=MAX_ID_BYTES => Ok(text.into()),
        _ => Err(IdError::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_1_to_256_bytes() {
        assert_eq!(parse_id(""), Err(IdError::Empty));
        assert_eq!(parse_id("a").as_deref(), Ok("a"));
        assert!(parse_id(&"ä".repeat(128)).is_ok());
        assert_eq!(parse_id(&"ä".repeat(129)), Err(IdError::TooLong));
    }
}
