//! Commands: how each is encoded, and what a reply to it means.

use codes::error::{Code, Error};
use redis::Value;
use tokio::time::Instant;

use super::reply::{CommandOutcome, RefusalKind, ReplySource, ReplyStep};
use super::script::{self, Published};
use crate::broker::redis::asker::Asker;
use crate::broker::redis::wire::resp::{self, Incoming};
use crate::broker::redis::wire::text;

/// A channel's full name, and whether it is sharded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RedisChannel {
    /// Name on the wire.
    pub name: Box<str>,
    /// `SSUBSCRIBE` and `SPUBLISH` are for it.
    pub sharded: bool,
}

const ROLE: &str = "ROLE";

/// A command, by its kind.
#[derive(Debug)]
pub(crate) enum Command {
    /// A publish, or the question how many subscribers a channel has.
    Ask(Asker),
    /// `left` confirmations are to come. `take`: see `Pipeline::subscribe`.
    Subscribe { left: usize, take: u64 },
    /// `left` confirmations are to come.
    Unsubscribe { left: usize },
    /// An `SUNSUBSCRIBE` and a `PING`: its confirmations look like those of slots that move away, and may be missing.
    ShardUnsubscribe,
    /// The supervision's publish to itself.
    Probe,
    /// `ROLE`, after which the probe's own message must be here.
    Role,
    /// `ROLE`, because subscriptions have ended by themselves.
    VerifyRole,
    /// `PUBSUB SHARDNUMSUB` of all servers, and of those that can read positions.
    Formats,
    /// `INFO`, because the server may have been a replica for a moment: its term is another one then.
    Term,
    /// `HMGET` of how far a topic is.
    Meta { name: Box<str> },
    /// The script that reads messages of a topic.
    Messages { name: Box<str>, from: u64 },
    /// `SCRIPT LOAD`. `last`: of those that are needed.
    Load { last: bool },
}

/// Encodes a publish. Channel and payload are given in pieces.
pub(crate) fn publish(out: &mut Vec<u8>, sharded: bool, channel: &[&[u8]], payload: &[&[u8]]) {
    resp::begin(out, 3);
    resp::argument(out, &[if sharded { b"SPUBLISH" } else { b"PUBLISH" }]);
    resp::argument(out, channel);
    resp::argument(out, payload);
}

/// Encodes the question how many subscribers a channel has.
pub(crate) fn count_subscribers(out: &mut Vec<u8>, channel: &RedisChannel) {
    let verb: &[u8] = if channel.sharded { b"SHARDNUMSUB" } else { b"NUMSUB" };
    resp::command(out, &[b"PUBSUB", verb, channel.name.as_bytes()]);
}

/// Encodes [`Command::Formats`].
pub(crate) fn formats(out: &mut Vec<u8>, all: &RedisChannel, new: &RedisChannel) {
    resp::command(out, &[b"PUBSUB", b"SHARDNUMSUB", all.name.as_bytes(), new.name.as_bytes()]);
}

/// Encodes [`Command::Probe`].
pub(crate) fn probe(out: &mut Vec<u8>, channel: &RedisChannel) {
    publish(out, channel.sharded, &[channel.name.as_bytes()], &[b"probe"]);
}

/// Encodes [`Command::Role`] and [`Command::VerifyRole`].
pub(crate) fn role(out: &mut Vec<u8>) {
    resp::command(out, &[ROLE.as_bytes()]);
}

/// Encodes [`Command::Subscribe`].
pub(crate) fn subscribe(out: &mut Vec<u8>, channels: &[(u16, RedisChannel)]) {
    list(out, if channels[0].1.sharded { b"SSUBSCRIBE" } else { b"SUBSCRIBE" }, channels);
}

/// Encodes [`Command::Unsubscribe`], or [`Command::ShardUnsubscribe`] if the channels are sharded.
pub(crate) fn unsubscribe(out: &mut Vec<u8>, channels: &[(u16, RedisChannel)]) {
    let sharded = channels[0].1.sharded;
    list(out, if sharded { b"SUNSUBSCRIBE" } else { b"UNSUBSCRIBE" }, channels);
    if sharded {
        resp::command(out, &[b"PING"]);
    }
}

fn list(out: &mut Vec<u8>, verb: &[u8], channels: &[(u16, RedisChannel)]) {
    resp::begin(out, channels.len() + 1);
    resp::argument(out, &[verb]);
    channels.iter().for_each(|(_, channel)| resp::argument(out, &[channel.name.as_bytes()]));
}

/// Reads the channels of an encoded [`Command::Subscribe`] back.
pub(crate) fn read_channels(bytes: &[u8]) -> impl Iterator<Item = RedisChannel> {
    let mut arguments = resp::read_command(bytes).filter_map(|text| std::str::from_utf8(text).ok());
    let sharded = arguments.next() == Some("SSUBSCRIBE");
    arguments.map(move |name| RedisChannel { name: name.into(), sharded })
}

impl Command {
    /// The one who waits for its outcome. None: it is the session's own.
    pub(crate) fn asker(&self) -> Option<&Asker> {
        if let Command::Ask(asker) = self { Some(asker) } else { None }
    }

    /// Its name, sharded or not, in errors.
    fn name(&self) -> &'static str {
        match self {
            Command::Ask(Asker::Subscribers { .. }) => "PUBSUB NUMSUB",
            Command::Ask(_) | Command::Probe => "PUBLISH",
            Command::Subscribe { .. } => "SUBSCRIBE",
            Command::Unsubscribe { .. } => "UNSUBSCRIBE",
            Command::ShardUnsubscribe => "SUNSUBSCRIBE",
            Command::Role | Command::VerifyRole => ROLE,
            Command::Formats => "PUBSUB SHARDNUMSUB",
            Command::Term => "INFO",
            Command::Meta { .. } => "HMGET",
            Command::Messages { .. } => "EVALSHA",
            Command::Load { .. } => "SCRIPT LOAD",
        }
    }

    /// True if its answer has messages of a topic.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Command::Messages { .. } | Command::Ask(Asker::History(_)))
    }

    /// True if it waits for no client's flood: see [`Asker::goes_first`].
    pub(crate) fn goes_first(&self) -> bool {
        self.asker().is_none_or(Asker::goes_first)
    }

    /// See [`Asker::first_units`].
    pub(crate) fn first_units(&self, epoch: u8) -> u32 {
        self.asker().map_or(0, |asker| asker.first_units(epoch))
    }

    /// Says what a reply to it, or a part of one, means.
    ///
    /// # Errors
    /// The connection can't go on.
    pub(crate) fn on_reply<'a>(
        &mut self,
        reply: &Incoming<'a>,
        by: &ReplySource,
    ) -> Result<ReplyStep<'a>, Error> {
        Ok(match (self, reply) {
            // The channel, and its number.
            (Command::Ask(Asker::Subscribers { .. }), Incoming::Other(Value::Array(counted))) => {
                match counted[..] {
                    [_, Value::Int(number)] => ReplyStep::Count(natural(number)),
                    _ => return Err(by.unexpected("PUBSUB NUMSUB")),
                }
            }
            (Command::Ask(asker), Incoming::Number(number))
                if !matches!(asker, Asker::Subscribers { .. } | Asker::History(_)) =>
            {
                ReplyStep::Settle(CommandOutcome::Number(natural(*number)))
            }
            (Command::Ask(asker), Incoming::Text(reply)) if asker.is_kept() => {
                match script::published(reply) {
                    Some(Published::Now { nodes, position }) => {
                        ReplyStep::Settle(CommandOutcome::Placed { nodes, position })
                    }
                    Some(Published::Before(position)) => {
                        ReplyStep::Settle(CommandOutcome::Repeated(position))
                    }
                    // Somebody has written to the topic's keys: no reason to give up the link.
                    None => ReplyStep::Settle(CommandOutcome::Refused(by.unexpected("EVALSHA"))),
                }
            }
            (Command::Ask(Asker::History(_)), Incoming::Other(reply @ Value::Array(_))) => {
                let part = script::log_part(reply, by.life.map(|life| life.term));
                ReplyStep::Settle(part.map_or_else(
                    || CommandOutcome::Refused(by.unexpected("EVALSHA")),
                    |part| CommandOutcome::Log(Box::new(part)),
                ))
            }
            (Command::Ask(asker), Incoming::Other(Value::ServerError(error))) => match by.why(error) {
                RefusalKind::Moved => ReplyStep::Park,
                RefusalKind::NoScript if asker.is_script() => ReplyStep::Reload(by.refusal(error)),
                // Nobody got it: the next master may take it.
                RefusalKind::Replaced if asker.is_kept() => ReplyStep::Demoted(by.refusal(error)),
                RefusalKind::Unserved => ReplyStep::Settle(CommandOutcome::Unsent),
                _ => ReplyStep::Settle(CommandOutcome::Refused(by.refusal(error))),
            },
            (Command::Formats, Incoming::Other(Value::Array(counted))) => match counted[..] {
                [_, Value::Int(all), _, Value::Int(new)] => ReplyStep::Formats { has_old: all > new },
                _ => return Err(by.unexpected("PUBSUB SHARDNUMSUB")),
            },
            // Elsewhere, or forbidden: what was known counts.
            (Command::Formats, Incoming::Other(Value::ServerError(_))) => ReplyStep::Done,
            (Command::Term, Incoming::Other(Value::ServerError(_))) => ReplyStep::Done,
            (Command::Term, Incoming::Other(info)) => {
                match script::term(info, by.life.and_then(|life| life.run)) {
                    Ok(term) if by.life.is_some_and(|life| life.term == term) => ReplyStep::Done,
                    Ok(_) => {
                        return Err(by.server.error(Code::BrokerRole, "the server became a master anew"));
                    }
                    Err(why) => return Err(by.server.error(Code::BrokerRole, why)),
                }
            }
            (Command::Meta { .. }, Incoming::Other(reply @ Value::Array(_))) => {
                script::meta(reply).map_or(ReplyStep::Unread(RefusalKind::Other), ReplyStep::Meta)
            }
            (Command::Messages { .. }, Incoming::Other(reply @ Value::Array(_))) => {
                let part = script::log_part(reply, by.life.map(|life| life.term));
                part.map_or(ReplyStep::Unread(RefusalKind::Other), ReplyStep::Messages)
            }
            (Command::Meta { .. } | Command::Messages { .. }, Incoming::Other(Value::ServerError(error))) => {
                ReplyStep::Unread(by.why(error))
            }
            (Command::Load { last }, Incoming::Text(_)) => {
                if *last {
                    ReplyStep::Loaded
                } else {
                    ReplyStep::Done
                }
            }
            (Command::Load { .. }, Incoming::Other(Value::ServerError(error))) => {
                return Err(by.refusal(error));
            }
            (Command::Subscribe { left, take }, Incoming::Subscribed { channel }) => {
                *left -= 1;
                ReplyStep::Confirm { channel, take: *take, last: *left == 0 }
            }
            (Command::Subscribe { .. }, Incoming::Other(Value::ServerError(error))) => match by.why(error) {
                RefusalKind::Moved | RefusalKind::Unserved => ReplyStep::Revoke,
                RefusalKind::Forbidden => ReplyStep::Forbid(by.refusal(error)),
                _ => return Err(by.refusal(error)),
            },
            (Command::Unsubscribe { left }, Incoming::Unsubscribed { .. }) if *left > 1 => {
                *left -= 1;
                ReplyStep::Wait
            }
            (Command::Unsubscribe { .. }, Incoming::Unsubscribed { .. } | Incoming::Number(_)) => {
                ReplyStep::Done
            }
            // Not worth a link: a channel that nobody needs.
            (Command::Unsubscribe { .. }, Incoming::Other(Value::ServerError(_))) => ReplyStep::Done,
            (Command::ShardUnsubscribe, Incoming::Other(Value::SimpleString(_))) => ReplyStep::Done,
            (Command::ShardUnsubscribe, Incoming::Other(Value::ServerError(error))) => match by.why(error) {
                // Its PONG follows.
                RefusalKind::Moved | RefusalKind::Unserved => ReplyStep::Wait,
                // No telling which of the two commands was refused, and so whether another answer follows.
                _ => return Err(by.refusal(error)),
            },
            (Command::Probe, Incoming::Number(_)) => ReplyStep::Done,
            (Command::Probe, Incoming::Other(Value::ServerError(error))) => {
                ReplyStep::Unprobed(by.why(error), by.refusal(error))
            }
            (Command::Role, reply) => {
                check_role(reply, by)?;
                ReplyStep::Probed
            }
            (Command::VerifyRole, reply) => {
                check_role(reply, by)?;
                ReplyStep::Verified
            }
            (command, _) => return Err(by.unexpected(command.name())),
        })
    }
}

/// Reads an answer to `ROLE`.
///
/// # Errors
/// The server is no master.
fn check_role(reply: &Incoming<'_>, by: &ReplySource) -> Result<(), Error> {
    match reply {
        Incoming::Other(Value::Array(role)) => match role.first().and_then(text).unwrap_or("stranger") {
            "master" => Ok(()),
            role => Err(by.server.error(Code::BrokerRole, format!("the server is a {role}"))),
        },
        // ROLE is forbidden here: the probe has to do.
        Incoming::Number(_) | Incoming::Other(Value::ServerError(_)) => Ok(()),
        _ => Err(by.unexpected(ROLE)),
    }
}

fn natural(number: i64) -> u64 {
    number.max(0) as u64
}

/// A command that was added and not yet answered.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Bytes of it.
    pub len: usize,
    /// See [`Command`].
    pub command: Command,
    /// The partition that it belongs to.
    pub partition: u16,
    /// See [`Asked::since`].
    pub since: Option<Instant>,
}

impl Pending {
    /// Bytes of it that the pipeline counts: those of the commands that came by it.
    pub(crate) fn counted(&self) -> usize {
        if self.command.asker().is_some() && !self.command.is_read() { self.len } else { 0 }
    }

    /// A publish or a question. None: it is the session's own.
    pub(crate) fn into_asked(self) -> Option<Asked> {
        let Command::Ask(asker) = self.command else { return None };
        Some(Asked { asker, partition: usize::from(self.partition), since: self.since })
    }
}

/// A publish or a question that is no longer under way.
#[derive(Debug)]
pub(crate) struct Asked {
    /// See [`Asker`].
    pub asker: Asker,
    /// The partition that it belongs to.
    pub partition: usize,
    /// The beginning of its wait to be taken where its partition lies, if it was refused before.
    pub since: Option<Instant>,
}

#[cfg(test)]
mod tests;
