//! The outcomes of a server's replies.

use codes::error::{Code, Error};
use redis::ServerError;

use crate::broker::redis::config::Server;
use crate::broker::redis::failure::{lost, uncertain};
use crate::broker::redis::wire::{refusal, unexpected};

/// The reason for which a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// The slot is on another node of the cluster.
    Moved,
    /// Nobody serves the slot, or the cluster.
    Unserved,
    /// The login may not.
    Forbidden,
    /// For any other reason.
    Other,
}

/// A session does this after a reply.
#[derive(Debug)]
pub(crate) enum ReplyStep<'a> {
    /// More of it is to come.
    Wait,
    /// The command is done with.
    Done,
    /// A publish or a question has come to this.
    Settle(CommandOutcome),
    /// The number of subscribers, if the partition is still here.
    Count(u64),
    /// Nobody got it: it may go where it belongs.
    Park,
    /// A subscription with this take is confirmed, the `last` of its command.
    Confirm { channel: &'a [u8], take: u64, last: bool },
    /// The partition's subscriptions are not taken here.
    Revoke,
    /// The login may not listen on one of the channels.
    Forbid(Error),
    /// The probe was not taken.
    Unprobed(RefusalKind, Error),
    /// The server is a master, and all that came before is here, the probe too.
    Probed,
    /// The server is a master still.
    Verified,
}

/// The outcome of a publish or a question.
#[derive(Debug)]
pub(crate) enum CommandOutcome {
    /// The answer.
    Number(u64),
    /// An error as answer.
    Refused(Error),
    /// Written, but not answered.
    Uncertain,
    /// Not wholly written, or taken by nobody.
    Unsent,
}

impl CommandOutcome {
    /// The number that was asked for.
    ///
    /// # Errors
    /// `ERR_UNCERTAIN`, `ERR_BROKER_UNAVAILABLE`, or what Redis said.
    pub(crate) fn number(self) -> Result<u64, Error> {
        match self {
            CommandOutcome::Number(number) => Ok(number),
            CommandOutcome::Refused(error) => Err(error),
            CommandOutcome::Uncertain => Err(uncertain()),
            CommandOutcome::Unsent => Err(lost()),
        }
    }
}

/// The one who replies.
#[derive(Debug)]
pub(crate) struct ReplySource {
    pub server: Server,
    /// It is a node of a cluster.
    pub is_sharded: bool,
}

impl ReplySource {
    /// The reason for which it refuses. From one server alone `MOVED` is a refusal like any other.
    pub(crate) fn why(&self, error: &ServerError) -> RefusalKind {
        match error.code() {
            "MOVED" if self.is_sharded => RefusalKind::Moved,
            "CLUSTERDOWN" if self.is_sharded => RefusalKind::Unserved,
            "NOPERM" => RefusalKind::Forbidden,
            _ => RefusalKind::Other,
        }
    }

    /// A refusal as one of our errors.
    pub(crate) fn refusal(&self, error: &ServerError) -> Error {
        refusal(&self.server, error.code(), error.details().unwrap_or_default())
    }

    /// The error of a reply that doesn't fit the oldest command, which is called so.
    pub(crate) fn unexpected(&self, command: &str) -> Error {
        unexpected(&self.server, command)
    }

    /// The error of a reply to nothing.
    pub(crate) fn unasked(&self) -> Error {
        self.server.error(Code::BrokerProtocol, "an answer that nobody waits for")
    }
}
