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
            Command::Meta { .. } => "HMGET",
            Command::Messages { .. } => "EVALSHA",
            Command::Load { .. } => "SCRIPT LOAD",
        }
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
                    None => return Err(by.unexpected("EVALSHA")),
                }
            }
            (Command::Ask(Asker::History(_)), Incoming::Other(reply @ Value::Array(_))) => {
                let part = script::log_part(reply).ok_or_else(|| by.unexpected("EVALSHA"))?;
                ReplyStep::Settle(CommandOutcome::Log(Box::new(part)))
            }
            (Command::Ask(asker), Incoming::Other(Value::ServerError(error))) => match by.why(error) {
                RefusalKind::Moved => ReplyStep::Park,
                RefusalKind::NoScript if asker.is_script() => ReplyStep::Reload,
                // Nobody got it: the next master may take it.
                RefusalKind::Replaced if asker.is_kept() => ReplyStep::Park,
                RefusalKind::Unserved => ReplyStep::Settle(CommandOutcome::Unsent),
                _ => ReplyStep::Settle(CommandOutcome::Refused(by.refusal(error))),
            },
            (Command::Formats, Incoming::Other(Value::Array(counted))) => match counted[..] {
                [_, Value::Int(all), _, Value::Int(new)] => ReplyStep::Formats { has_old: all > new },
                _ => return Err(by.unexpected("PUBSUB SHARDNUMSUB")),
            },
            // Elsewhere, or forbidden: what was known counts.
            (Command::Formats, Incoming::Other(Value::ServerError(_))) => ReplyStep::Done,
            (Command::Meta { .. }, Incoming::Other(reply @ Value::Array(_))) => {
                ReplyStep::Meta(script::meta(reply).map_err(|_| by.unexpected("HMGET"))?)
            }
            (Command::Messages { .. }, Incoming::Other(reply @ Value::Array(_))) => {
                let part = script::log_part(reply).ok_or_else(|| by.unexpected("EVALSHA"))?;
                ReplyStep::Messages(part)
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
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::broker::redis::config::Server;
    use crate::broker::redis::wire::resp::{Parsed, parse};

    const MOVED: &str = "-MOVED 1 h:2\r\n";
    const DOWN: &str = "-CLUSTERDOWN The cluster is down\r\n";
    const FORBIDDEN: &str = "-NOPERM no\r\n";
    const OTHER: &str = "-LOADING no\r\n";
    const COUNTED: &str = "*2\r\n$1\r\nc\r\n:3\r\n";
    const CONFIRMED: &str = ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    const ENDED: &str = ">3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n";

    /// The step that a reply to a command comes to, in full; or the code and text of the error that ends the connection.
    fn step(command: &mut Command, is_sharded: bool, reply: &str) -> String {
        let by = ReplySource { server: Server::parse("redis://h:1").unwrap(), is_sharded };
        let Parsed::Item(reply, _) = parse(reply.as_bytes(), 1 << 20).unwrap() else { panic!("{reply}") };
        match command.on_reply(&reply, &by) {
            // An error is told by its code and text.
            Ok(ReplyStep::Settle(CommandOutcome::Refused(error))) => format!("Refused {}", told(&error)),
            Ok(ReplyStep::Forbid(error)) => format!("Forbid {}", told(&error)),
            Ok(ReplyStep::Unprobed(why, error)) => format!("Unprobed {why:?} {}", told(&error)),
            Ok(step) => format!("{step:?}"),
            Err(error) => told(&error),
        }
    }

    fn told(error: &Error) -> String {
        format!("{}: {}", error.code(), error.message.strip_prefix("Redis at h:1: ").unwrap())
    }

    /// Asserts what each reply, the first to a new command, means.
    fn assert_steps(command: impl Fn() -> Command, is_sharded: bool, expected: &[(&str, &str)]) {
        for (reply, step_of_it) in expected {
            assert_eq!(&step(&mut command(), is_sharded, reply), step_of_it, "{:?}: {reply:?}", command());
        }
    }

    #[test]
    fn replies_to_publishes_and_questions_are_told_apart() {
        let publish = || Command::Ask(Asker::Receivers { ticket: 1 });
        let question = || Command::Ask(Asker::Subscribers { ticket: 1 });
        const ODD: &str = "ERR_BROKER_PROTOCOL: unexpected answer to PUBLISH";
        const ODD_COUNT: &str = "ERR_BROKER_PROTOCOL: unexpected answer to PUBSUB NUMSUB";
        for is_sharded in [false, true] {
            assert_steps(
                publish,
                is_sharded,
                &[
                    (":5\r\n", "Settle(Number(5))"),
                    (":-5\r\n", "Settle(Number(0))"),
                    (COUNTED, ODD),
                    ("+OK\r\n", ODD),
                    (CONFIRMED, ODD),
                    (ENDED, ODD),
                    (FORBIDDEN, "Refused ERR_BROKER_AUTH: NOPERM no"),
                    (OTHER, "Refused ERR_BROKER_CONNECT: LOADING no"),
                ],
            );
            assert_steps(
                question,
                is_sharded,
                &[
                    (COUNTED, "Count(3)"),
                    (":5\r\n", ODD_COUNT),
                    ("*1\r\n:1\r\n", ODD_COUNT),
                    ("*2\r\n$1\r\nc\r\n$1\r\n3\r\n", ODD_COUNT),
                    ("+OK\r\n", ODD_COUNT),
                ],
            );
        }
        for asked in [publish as fn() -> Command, question] {
            assert_steps(asked, true, &[(MOVED, "Park"), (DOWN, "Settle(Unsent)")]);
            let [moved, down] = ["PROTOCOL: MOVED 1 h:2", "ROLE: CLUSTERDOWN The cluster is down"]
                .map(|text| format!("Refused ERR_BROKER_{text}"));
            assert_steps(asked, false, &[(MOVED, &moved), (DOWN, &down)]);
        }
    }

    #[test]
    fn replies_to_changes_of_subscriptions_are_told_apart() {
        let subscribe = || Command::Subscribe { left: 1, take: 7 };
        let odd = |name| format!("ERR_BROKER_PROTOCOL: unexpected answer to {name}");
        let confirmed = |last| format!("Confirm {{ channel: {:?}, take: 7, last: {last} }}", b"c");
        assert_steps(subscribe, true, &[(MOVED, "Revoke"), (DOWN, "Revoke")]);
        assert_steps(
            subscribe,
            false,
            &[
                (CONFIRMED, &confirmed(true)),
                (MOVED, "ERR_BROKER_PROTOCOL: MOVED 1 h:2"),
                (DOWN, "ERR_BROKER_ROLE: CLUSTERDOWN The cluster is down"),
                (FORBIDDEN, "Forbid ERR_BROKER_AUTH: NOPERM no"),
                (OTHER, "ERR_BROKER_CONNECT: LOADING no"),
                (":1\r\n", &odd("SUBSCRIBE")),
            ],
        );
        let mut two = Command::Subscribe { left: 2, take: 7 };
        assert_eq!([(); 2].map(|()| step(&mut two, false, CONFIRMED)), [confirmed(false), confirmed(true)]);
        let mut two = Command::Unsubscribe { left: 2 };
        assert_eq!([(); 2].map(|()| step(&mut two, false, ENDED)), ["Wait", "Done"]);
        let end = || Command::Unsubscribe { left: 2 };
        assert_steps(
            end,
            false,
            &[(FORBIDDEN, "Done"), (":0\r\n", "Done"), ("+OK\r\n", &odd("UNSUBSCRIBE"))],
        );
        let end = || Command::ShardUnsubscribe;
        assert_steps(end, false, &[(MOVED, "ERR_BROKER_PROTOCOL: MOVED 1 h:2")]);
        assert_steps(
            end,
            true,
            &[
                ("+PONG\r\n", "Done"),
                (MOVED, "Wait"),
                (DOWN, "Wait"),
                (FORBIDDEN, "ERR_BROKER_AUTH: NOPERM no"),
                (OTHER, "ERR_BROKER_CONNECT: LOADING no"),
                (":1\r\n", &odd("SUNSUBSCRIBE")),
            ],
        );
    }

    #[test]
    fn replies_to_what_supervises_are_told_apart() {
        let unprobed = |why, text| format!("Unprobed {why} ERR_BROKER_{text}");
        let probe = || Command::Probe;
        assert_steps(
            probe,
            true,
            &[
                (":1\r\n", "Done"),
                (MOVED, &unprobed("Moved", "PROTOCOL: MOVED 1 h:2")),
                (DOWN, &unprobed("Unserved", "ROLE: CLUSTERDOWN The cluster is down")),
                (FORBIDDEN, &unprobed("Forbidden", "AUTH: NOPERM no")),
                (OTHER, &unprobed("Other", "CONNECT: LOADING no")),
                (COUNTED, "ERR_BROKER_PROTOCOL: unexpected answer to PUBLISH"),
            ],
        );
        let moved = unprobed("Other", "PROTOCOL: MOVED 1 h:2");
        assert_steps(probe, false, &[(MOVED, &moved)]);
        let commands: [(fn() -> Command, _); 2] =
            [(|| Command::Role, "Probed"), (|| Command::VerifyRole, "Verified")];
        for (command, master) in commands {
            assert_steps(
                command,
                false,
                &[
                    ("*1\r\n$6\r\nmaster\r\n", master),
                    (FORBIDDEN, master),
                    (":1\r\n", master),
                    ("*1\r\n$5\r\nslave\r\n", "ERR_BROKER_ROLE: the server is a slave"),
                    ("*0\r\n", "ERR_BROKER_ROLE: the server is a stranger"),
                    ("+OK\r\n", "ERR_BROKER_PROTOCOL: unexpected answer to ROLE"),
                ],
            );
        }
    }

    #[test]
    fn every_command_has_its_bytes() {
        let channels = |sharded| ["a", "bc"].map(|name| (0, RedisChannel { name: name.into(), sharded }));
        let encoded = |encode: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            encode(&mut out);
            String::from_utf8(out).unwrap()
        };
        for (actual, expected) in [
            (
                encoded(&|out| publish(out, false, &[b"p:", b"c"], &[b"t", b"hi"])),
                "*3\r\n$7\r\nPUBLISH\r\n$3\r\np:c\r\n$3\r\nthi\r\n",
            ),
            (
                encoded(&|out| publish(out, true, &[b"p:", b"", b"c"], &[])),
                "*3\r\n$8\r\nSPUBLISH\r\n$3\r\np:c\r\n$0\r\n\r\n",
            ),
            (
                encoded(&|out| count_subscribers(out, &channels(false)[1].1)),
                "*3\r\n$6\r\nPUBSUB\r\n$6\r\nNUMSUB\r\n$2\r\nbc\r\n",
            ),
            (
                encoded(&|out| count_subscribers(out, &channels(true)[1].1)),
                "*3\r\n$6\r\nPUBSUB\r\n$11\r\nSHARDNUMSUB\r\n$2\r\nbc\r\n",
            ),
            (
                encoded(&|out| subscribe(out, &channels(false))),
                "*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$2\r\nbc\r\n",
            ),
            (
                encoded(&|out| subscribe(out, &channels(true))),
                "*3\r\n$10\r\nSSUBSCRIBE\r\n$1\r\na\r\n$2\r\nbc\r\n",
            ),
            (
                encoded(&|out| unsubscribe(out, &channels(false))),
                "*3\r\n$11\r\nUNSUBSCRIBE\r\n$1\r\na\r\n$2\r\nbc\r\n",
            ),
            (
                encoded(&|out| unsubscribe(out, &channels(true))),
                "*3\r\n$12\r\nSUNSUBSCRIBE\r\n$1\r\na\r\n$2\r\nbc\r\n*1\r\n$4\r\nPING\r\n",
            ),
            (
                encoded(&|out| probe(out, &channels(true)[0].1)),
                "*3\r\n$8\r\nSPUBLISH\r\n$1\r\na\r\n$5\r\nprobe\r\n",
            ),
            (encoded(&|out| role(out)), "*1\r\n$4\r\nROLE\r\n"),
        ] {
            assert_eq!(actual, expected);
        }
        for sharded in [false, true] {
            let channels = channels(sharded);
            let bytes = encoded(&|out| subscribe(out, &channels));
            let read: Vec<RedisChannel> = read_channels(bytes.as_bytes()).collect();
            assert_eq!(read, channels.map(|(_, channel)| channel));
        }
    }
}
