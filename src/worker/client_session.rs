//! The session of a client that speaks the subprotocol. It outlives connections: the client offers its name when it comes back.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::receipts::Receipts;

/// The one who said who the user of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifiedBy {
    /// The embedder.
    Embedder,
    /// The client's token.
    Token,
    /// Nobody: its name was made up for the connection.
    Nobody,
}

/// A connection's part of it.
#[derive(Debug)]
pub(crate) struct ClientSession {
    /// Nobody guesses it.
    pub name: Box<str>,
    pub identified_by: IdentifiedBy,
    /// Set with the first message whose client wants to hear of it.
    pub receipts: OnceLock<Arc<Receipts>>,
    /// A fresh token is being verified.
    pub is_renewing: AtomicBool,
    /// The claims of a fresh token, once there was one.
    pub renewed: Mutex<Option<Box<str>>>,
}

impl ClientSession {
    pub(crate) fn new(name: &str, identified_by: IdentifiedBy) -> Self {
        ClientSession {
            name: name.into(),
            identified_by,
            receipts: OnceLock::new(),
            is_renewing: AtomicBool::new(false),
            renewed: Mutex::default(),
        }
    }

    /// Its name among all sessions: nobody goes on with one of another user's. An anonymous user has another name with each connection.
    pub(crate) fn key(&self, user: &str) -> Box<str> {
        let user = if self.identified_by == IdentifiedBy::Nobody { "" } else { user };
        format!("{}:{user}{}", user.len(), self.name).into()
    }
}
