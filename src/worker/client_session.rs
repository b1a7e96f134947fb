//! The session of a client that speaks the subprotocol. It outlives connections: the client offers its name when it comes back.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::receipts::Receipts;

/// A connection's part of it.
#[derive(Debug)]
pub(crate) struct ClientSession {
    /// Nobody guesses it.
    pub name: Box<str>,
    /// Its user has another name with each connection.
    pub is_anonymous: bool,
    /// Set with the first message whose client wants to hear of it.
    pub receipts: OnceLock<Arc<Receipts>>,
    /// The claims of a fresh token, once there was one.
    pub renewed: Mutex<Option<Box<str>>>,
}

impl ClientSession {
    pub(crate) fn new(name: &str, is_anonymous: bool) -> Self {
        ClientSession {
            name: name.into(),
            is_anonymous,
            receipts: OnceLock::new(),
            renewed: Mutex::default(),
        }
    }

    /// Its name among all sessions: nobody goes on with one of another user's.
    pub(crate) fn key(&self, user: &str) -> Box<str> {
        let user = if self.is_anonymous { "" } else { user };
        format!("{}:{user}{}", user.len(), self.name).into()
    }
}
