//! Replies of a server, and what they come to.

use codes::error::{Code, Error};
use redis::{ServerError, Value};

use crate::broker::redis::config::Server;
use crate::broker::redis::wire::refusal;

/// What a server says to its oldest command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply<'a> {
    Number(u64),
    /// A subscription to this channel is confirmed.
    Confirmed(&'a [u8]),
    /// A subscription has ended.
    Ended,
    Refused(Why, &'a ServerError),
    Other(&'a Value),
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The slot is on another node of the cluster.
    Moved,
    /// Nobody serves the slot, or the cluster.
    Unserved,
    /// The login may not.
    Forbidden,
    Other,
}

/// What a reply comes to.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// More of it is to come.
    Wait,
    /// The command is done with.
    Done,
    /// A publish or a question has come to this.
    Settle(Settled),
    /// So many subscribers there are, if the partition is still here.
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
    Unprobed(Why, Error),
    /// The server is a master.
    Master { verify: bool },
}

/// What a publish or a question comes to.
#[derive(Debug)]
pub(crate) enum Settled {
    /// The answer.
    Number(u64),
    /// An error as answer.
    Refused(Error),
    /// Written, but not answered.
    Uncertain,
    /// Not wholly written, or taken by nobody.
    Unsent,
}

/// Who replies.
#[derive(Debug)]
pub(crate) struct Replier {
    pub server: Server,
    /// It is a node of a cluster.
    pub is_sharded: bool,
}

impl Replier {
    /// Reads a reply that is not hot.
    pub(crate) fn read<'a>(&self, value: &'a Value) -> Reply<'a> {
        let Value::ServerError(error) = value else { return Reply::Other(value) };
        let why = match error.code() {
            // From one server alone these are refusals like any other.
            "MOVED" if self.is_sharded => Why::Moved,
            "CLUSTERDOWN" if self.is_sharded => Why::Unserved,
            "NOPERM" => Why::Forbidden,
            _ => Why::Other,
        };
        Reply::Refused(why, error)
    }

    /// A refusal as one of our errors.
    pub(crate) fn refusal(&self, error: &ServerError) -> Error {
        refusal(&self.server, error.code(), error.details().unwrap_or_default())
    }

    /// The error of a reply that doesn't fit the oldest command.
    pub(crate) fn unexpected(&self, reply: Reply<'_>) -> Error {
        match reply {
            Reply::Refused(_, error) => self.refusal(error),
            _ => self.server.error(Code::BrokerProtocol, "an answer that nobody waits for"),
        }
    }
}
