//! Commands: how each is encoded, and what a reply to it means.

use codes::error::{Code, Error};
use redis::Value;
use tokio::time::Instant;

use super::reply::{Replier, Settled, Step, Why};
use crate::broker::redis::asker::Asker;
use crate::broker::redis::wire::resp::{self, Incoming};
use crate::broker::redis::wire::text;

/// A channel's full name, and whether it is sharded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Channel {
    /// Name on the wire.
    pub name: Box<str>,
    /// `SSUBSCRIBE` and `SPUBLISH` are for it.
    pub sharded: bool,
}

/// A command, by its kind.
#[derive(Debug)]
pub(crate) enum Command {
    /// A publish, or the question how many subscribers a channel has.
    Ask(Asker),
    /// So many confirmations are to come. `take`: see `Pipeline::subscribe`.
    Subscribe { left: usize, take: u64 },
    /// So many confirmations are to come.
    Unsubscribe { left: usize },
    /// An `SUNSUBSCRIBE` and a `PING`: its confirmations look like those of slots that move away, and may be missing.
    ShardUnsubscribe,
    /// The supervision's publish to itself.
    Probe,
    /// `ROLE`, after which the probe's own message must be here. `verify`: because subscriptions have ended by themselves.
    Role { verify: bool },
}

/// Encodes a publish. Channel and payload are given in pieces.
pub(crate) fn publish(out: &mut Vec<u8>, sharded: bool, channel: &[&[u8]], payload: &[&[u8]]) {
    resp::begin(out, 3);
    resp::argument(out, &[if sharded { b"SPUBLISH" } else { b"PUBLISH" }]);
    resp::argument(out, channel);
    resp::argument(out, payload);
}

/// Encodes the question how many subscribers a channel has.
pub(crate) fn count_subscribers(out: &mut Vec<u8>, channel: &Channel) {
    let verb: &[u8] = if channel.sharded { b"SHARDNUMSUB" } else { b"NUMSUB" };
    resp::command(out, &[b"PUBSUB", verb, channel.name.as_bytes()]);
}

/// Encodes [`Command::Role`].
pub(crate) fn role(out: &mut Vec<u8>) {
    resp::command(out, &[b"ROLE"]);
}

/// Encodes [`Command::Subscribe`].
pub(crate) fn subscribe(out: &mut Vec<u8>, channels: &[(u16, Channel)]) {
    list(out, if channels[0].1.sharded { b"SSUBSCRIBE" } else { b"SUBSCRIBE" }, channels);
}

/// Encodes [`Command::Unsubscribe`], or [`Command::ShardUnsubscribe`] if the channels are sharded.
pub(crate) fn unsubscribe(out: &mut Vec<u8>, channels: &[(u16, Channel)]) {
    let sharded = channels[0].1.sharded;
    list(out, if sharded { b"SUNSUBSCRIBE" } else { b"UNSUBSCRIBE" }, channels);
    if sharded {
        resp::command(out, &[b"PING"]);
    }
}

fn list(out: &mut Vec<u8>, verb: &[u8], channels: &[(u16, Channel)]) {
    resp::begin(out, channels.len() + 1);
    resp::argument(out, &[verb]);
    channels.iter().for_each(|(_, channel)| resp::argument(out, &[channel.name.as_bytes()]));
}

/// Reads the channels of an encoded [`Command::Subscribe`] back.
pub(crate) fn read_channels(bytes: &[u8]) -> impl Iterator<Item = Channel> {
    let mut arguments = resp::read_command(bytes).filter_map(|text| std::str::from_utf8(text).ok());
    let sharded = arguments.next() == Some("SSUBSCRIBE");
    arguments.map(move |name| Channel { name: name.into(), sharded })
}

impl Command {
    /// The one who waits for its outcome. None: it is the session's own.
    pub(crate) fn asker(&self) -> Option<&Asker> {
        if let Command::Ask(asker) = self { Some(asker) } else { None }
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
    pub(crate) fn on_reply<'a>(&mut self, reply: &Incoming<'a>, by: &Replier) -> Result<Step<'a>, Error> {
        Ok(match (self, reply) {
            (Command::Ask(_), Incoming::Number(number)) => Step::Settle(Settled::Number(natural(*number))),
            // The channel, and its number.
            (Command::Ask(_), Incoming::Other(Value::Array(counted))) => match counted[..] {
                [_, Value::Int(number)] => Step::Count(natural(number)),
                _ => return Err(by.unexpected()),
            },
            (Command::Ask(_), Incoming::Other(Value::ServerError(error))) => match by.why(error) {
                Why::Moved => Step::Park,
                Why::Unserved => Step::Settle(Settled::Unsent),
                _ => Step::Settle(Settled::Refused(by.refusal(error))),
            },
            (Command::Subscribe { left, take }, Incoming::Subscribed { channel }) => {
                *left -= 1;
                Step::Confirm { channel, take: *take, last: *left == 0 }
            }
            (Command::Subscribe { .. }, Incoming::Other(Value::ServerError(error))) => match by.why(error) {
                Why::Moved | Why::Unserved => Step::Revoke,
                Why::Forbidden => Step::Forbid(by.refusal(error)),
                Why::Other => return Err(by.refusal(error)),
            },
            (Command::Unsubscribe { left }, Incoming::Unsubscribed { .. }) if *left > 1 => {
                *left -= 1;
                Step::Wait
            }
            (Command::Unsubscribe { .. }, Incoming::Unsubscribed { .. } | Incoming::Number(_)) => Step::Done,
            // Not worth a link: a channel that nobody needs.
            (Command::Unsubscribe { .. }, Incoming::Other(Value::ServerError(_))) => Step::Done,
            (Command::ShardUnsubscribe, Incoming::Other(Value::SimpleString(_))) => Step::Done,
            (Command::ShardUnsubscribe, Incoming::Other(Value::ServerError(error))) => match by.why(error) {
                // Its PONG follows.
                Why::Moved | Why::Unserved => Step::Wait,
                // No telling which of the two commands was refused, and so whether another answer follows.
                _ => return Err(by.refusal(error)),
            },
            (Command::Probe, Incoming::Number(_)) => Step::Done,
            (Command::Probe, Incoming::Other(Value::ServerError(error))) => {
                Step::Unprobed(by.why(error), by.refusal(error))
            }
            (Command::Role { verify }, Incoming::Other(Value::Array(role))) => {
                let role = role.first().and_then(text).unwrap_or("stranger");
                if role != "master" {
                    return Err(by.server.error(Code::BrokerRole, format!("the server is a {role}")));
                }
                Step::Master { verify: *verify }
            }
            // ROLE is forbidden here: the probe has to do.
            (Command::Role { verify }, Incoming::Number(_) | Incoming::Other(Value::ServerError(_))) => {
                Step::Master { verify: *verify }
            }
            _ => return Err(by.unexpected()),
        })
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
    /// Since when it waits to be taken where its partition lies, if it was refused before.
    pub since: Option<Instant>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::broker::redis::config::Server;
    use crate::broker::redis::wire::resp::{Parsed, parse};

    /// The steps that these replies to a command come to, or the code of the error that ends the connection.
    fn steps(mut command: Command, is_sharded: bool, replies: &[&str]) -> Vec<String> {
        let by = Replier { server: Server::parse("redis://h:1").unwrap(), is_sharded };
        let step = |reply: &&str| {
            let Parsed::Item(reply, _) = parse(reply.as_bytes(), 1 << 20).unwrap() else { panic!("{reply}") };
            match command.on_reply(&reply, &by) {
                Ok(step) => format!("{step:?}").split(['(', ' ']).next().unwrap().to_owned(),
                Err(error) => error.code().to_owned(),
            }
        };
        replies.iter().map(step).collect()
    }

    #[test]
    fn what_a_reply_means_is_up_to_the_command_and_to_where_it_went() {
        const MOVED: &str = "-MOVED 1 h:2\r\n";
        const DOWN: &str = "-CLUSTERDOWN The cluster is down\r\n";
        const FORBIDDEN: &str = "-NOPERM no\r\n";
        const COUNTED: &str = "*2\r\n$1\r\nc\r\n:3\r\n";
        let ask = || Command::Ask(Asker::Nobody);
        assert_eq!(
            steps(ask(), true, &[":1\r\n", COUNTED, MOVED, DOWN]),
            ["Settle", "Count", "Park", "Settle"]
        );
        assert_eq!(steps(ask(), false, &[MOVED, "+OK\r\n"]), ["Settle", "ERR_BROKER_PROTOCOL"]);
        let subscribe = |left| Command::Subscribe { left, take: 7 };
        assert_eq!(
            steps(subscribe(1), true, &[MOVED, FORBIDDEN, ":1\r\n"]),
            ["Revoke", "Forbid", "ERR_BROKER_PROTOCOL"]
        );
        assert_eq!(steps(subscribe(1), false, &[DOWN]), ["ERR_BROKER_ROLE"]);
        const CONFIRMED: &str = ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
        assert_eq!(steps(subscribe(2), false, &[CONFIRMED, CONFIRMED]), ["Confirm", "Confirm"]);
        assert_eq!(steps(ask(), false, &[CONFIRMED]), ["ERR_BROKER_PROTOCOL"]);
        const ENDED: &str = ">3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n";
        assert_eq!(steps(Command::Unsubscribe { left: 2 }, false, &[ENDED, ENDED]), ["Wait", "Done"]);
        assert_eq!(steps(Command::Unsubscribe { left: 2 }, false, &[FORBIDDEN]), ["Done"]);
        assert_eq!(steps(Command::ShardUnsubscribe, true, &[MOVED, "+PONG\r\n"]), ["Wait", "Done"]);
        assert_eq!(steps(Command::ShardUnsubscribe, true, &[FORBIDDEN]), ["ERR_BROKER_AUTH"]);
        assert_eq!(steps(Command::Probe, false, &[":1\r\n", FORBIDDEN]), ["Done", "Unprobed"]);
        let role = |name: &str| format!("*1\r\n${}\r\n{name}\r\n", name.len());
        let (master, replica) = (role("master"), role("slave"));
        let verify = Command::Role { verify: true };
        assert_eq!(
            steps(verify, false, &[&master, FORBIDDEN, &replica]),
            ["Master", "Master", "ERR_BROKER_ROLE"]
        );
    }

    #[test]
    fn the_last_confirmation_of_a_command_is_told_apart() {
        let by = Replier { server: Server::parse("redis://h:1").unwrap(), is_sharded: false };
        let mut command = Command::Subscribe { left: 2, take: 7 };
        let mut is_last = || match command.on_reply(&Incoming::Subscribed { channel: b"c" }, &by) {
            Ok(Step::Confirm { channel: b"c", take: 7, last }) => last,
            other => panic!("{other:?}"),
        };
        assert_eq!([(); 2].map(|()| is_last()), [false, true]);
    }
}
