//! The outcomes of a server's replies.

use codes::error::{Code, Error};
use history::meta::Meta;
use history::position::Position;
use redis::ServerError;

use super::script::{LogPart, MasterLife};
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
    /// The server was restarted, or told to forget its scripts.
    NoScript,
    /// The server is a master no more.
    Replaced,
    /// The server loads its data, or runs a script of somebody's, or waits for its master.
    Busy,
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
    /// The same, because the server is a master no more.
    Demoted(Error),
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
    /// Some servers can't read positions, or all can.
    Formats { has_old: bool },
    /// The meta of a topic.
    Meta(Option<Meta>),
    /// Messages of a topic.
    Messages(LogPart),
    /// The question of a topic's follower is refused.
    Unread(RefusalKind),
    /// The script is not there: it is loaded, and the command sent again.
    Reload(Error),
    /// All scripts are there again.
    Loaded,
}

/// The outcome of a publish or a question.
#[derive(Debug)]
pub(crate) enum CommandOutcome {
    /// The answer.
    Number(u64),
    /// A publish has a place in its topic's history.
    Placed { nodes: u64, position: Position },
    /// A message with the same idempotency key was published before, at this position if it has one.
    Repeated(Option<Position>),
    /// Messages of a topic.
    Log(Box<LogPart>),
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
            CommandOutcome::Number(number) | CommandOutcome::Placed { nodes: number, .. } => Ok(number),
            CommandOutcome::Repeated(_) | CommandOutcome::Log(_) => Ok(0),
            CommandOutcome::Refused(error) => Err(error),
            CommandOutcome::Uncertain => Err(uncertain()),
            CommandOutcome::Unsent => Err(lost()),
        }
    }
}

/// Code and details of what a server says. Before 7.0 an error of a command in a script is wrapped in one of the script's:
/// `ERR Error running script (call to f_…): @user_script:1: -OOM command not allowed …`.
fn cause(error: &ServerError) -> (&str, &str) {
    let (code, details) = (error.code(), error.details().unwrap_or_default());
    if details.starts_with("The user executing the script can't run this command") {
        return ("NOPERM", details);
    }
    let inner = details.strip_prefix("Error running script").and_then(|rest| rest.rsplit_once(": -"));
    match inner.and_then(|(_, inner)| inner.split_once(' ')) {
        Some((code, details)) if code.bytes().all(|byte| byte.is_ascii_uppercase()) => (code, details),
        _ => (code, details),
    }
}

/// The one who replies.
#[derive(Debug)]
pub(crate) struct ReplySource {
    pub server: Server,
    /// It is a node of a cluster.
    pub is_sharded: bool,
    /// Under which it gives positions, if there are histories.
    pub life: Option<MasterLife>,
}

impl ReplySource {
    /// The reason for which it refuses. From one server alone `MOVED` is a refusal like any other.
    pub(crate) fn why(&self, error: &ServerError) -> RefusalKind {
        match cause(error).0 {
            // A slot on its way has some of its keys here and some there.
            "MOVED" | "ASK" | "TRYAGAIN" if self.is_sharded => RefusalKind::Moved,
            "CLUSTERDOWN" if self.is_sharded => RefusalKind::Unserved,
            "NOPERM" => RefusalKind::Forbidden,
            "NOSCRIPT" => RefusalKind::NoScript,
            "READONLY" => RefusalKind::Replaced,
            "LOADING" | "BUSY" | "MASTERDOWN" => RefusalKind::Busy,
            _ => RefusalKind::Other,
        }
    }

    /// A refusal as one of our errors.
    pub(crate) fn refusal(&self, error: &ServerError) -> Error {
        let (code, details) = cause(error);
        refusal(&self.server, code, details)
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
