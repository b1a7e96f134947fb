//! The state of the links between servers.

use codes::error::Error;
use serde::Serialize;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Every link works.
    Up,
    /// A link is slow to answer, or some of several are down.
    Degraded,
    /// No link works: this server is on its own.
    Down,
}

/// A change of the broker's state, as the embedder is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerStatus {
    /// See [`State`].
    pub state: State,
    /// Since when, in Unix milliseconds.
    pub since: u64,
    /// The reason, if it isn't up.
    pub error: Option<Error>,
    /// A link that was lost is back, or a subscription that a connection was accepted without is there: messages
    /// whose publishing, from the call to its answer, touches the time between these, in Unix milliseconds, may not have
    /// arrived here.
    pub gap: Option<(u64, u64)>,
}
