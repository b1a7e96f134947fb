//! The scripts that give messages their positions and read them back. Each is one atomic step of Redis.
//!
//! | key, behind the prefix and the hash tag | type | what it is |
//! |---|---|---|
//! | `history:meta:<topic>` | hash | [`Meta`]: `epoch`, `offset`, `terms`; `head`, which positions begin with; and a field for each term |
//! | `history:log:<topic>` | stream | the last messages; the id is `<offset>-0`, the field `d` the message as it is published |
//! | `history:key:user:<length>:<id>:<key>`, the same with `room:` | string | the position of the message with this idempotency key, `-` if it has none |
//!
//! A topic is `user:<id>` or `room:<name>`. All of its keys lie in its channel's slot.
//!
//! <https://redis.io/docs/latest/develop/programmability/eval-intro/>

use std::sync::LazyLock;

use history::log::Bounds;
use history::meta::{MAX_TERMS, Meta};
use history::position::{NAME_BYTES, NoPosition, Position, Term};
use redis::Value;

use crate::broker::redis::envelope::{CONTROL_CHANNEL, FORMAT_CHANNEL};
use crate::broker::redis::wire::resp;
use crate::broker::redis::wire::text;

/// The log is trimmed with each so manieth message, for that is the dearest part. Messages beyond its size are not read meanwhile.
const TRIM: u32 = 8;
/// Up to this size it is trimmed exactly. Beyond, Redis drops whole nodes of the stream, which is cheaper.
const EXACT: u32 = 1000;
/// Takes the place of the term until a session writes the command: which master takes it is known only then.
const NO_TERM: &[u8; NAME_BYTES] = b"--------";

/// Keys: meta, log, and the idempotency key's if there is one. Arguments: the message as it is published, a new epoch,
/// `=` or `~`, size, lifetime of the log, of the meta, of the key in milliseconds, then either the channels `control` and
/// `format`, or an empty string and `1` if a server of before is known to be there; the channel, which is no key: while its slot moves, Redis would miss it; the
/// term.
///
/// Returns `<subscribers> <position>`; `= <position>` if there was a message with that key; the number of subscribers if a server
/// is there that can't read positions: then the message is published without one, and the history ends.
///
/// A term that the topic had before its present one is that of a link which has not noticed yet that the server's is another: the
/// message comes under the present one, so that a topic's positions never go back to an earlier term.
///
/// The first write is the one that Redis refuses when it has no memory, is a replica, or has too few of them: nothing has
/// happened then.
///
/// A number is made a string once only: Redis' Lua does that slowly, also where a command is given one.
fn append(verb: &str) -> Script {
    let code = r"
local call=redis.call
local meta,log,key=KEYS[1],KEYS[2],KEYS[3]
if key then
  local known=call('GET',key)
  if known then return '= '..known end
end
local old=ARGV[9]=='1'
if ARGV[8]~='' then
  local n=call('PUBSUB','NUMSUB',ARGV[8],ARGV[9])
  old=n[2]>n[4]
end
if old then
  call('DEL',meta,log)
  if key then call('SET',key,'-','PX',ARGV[7]) end
  return call('VERB',ARGV[10],ARGV[1])
end
local o=call('HINCRBY',meta,'offset','1')
local heads=call('HMGET',meta,ARGV[11],'head')
local head=heads[2]
if not heads[1] then
  local had=call('HMGET',meta,'epoch','terms')
  local e,terms=had[1],had[2]
  if not e then
    call('DEL',meta,log)
    o=call('HINCRBY',meta,'offset','1')
    e=ARGV[2]
  end
  terms=ARGV[11]..'@'..o..(terms and ' '..terms or '')
  local _,count=string.gsub(terms,' ','')
  if count>=MOST_TERMS then
    local rest,last=string.match(terms,'^(.+) (%w+)@%d+$')
    terms=rest
    call('HDEL',meta,last)
  end
  head=e..'.'..ARGV[11]..'.'
  call('HSET',meta,'epoch',e,'terms',terms,'head',head,ARGV[11],'1')
end
local n=o..''
call('PEXPIRE',meta,ARGV[6])
if o%TRIM==0 then
  call('XADD',log,'MAXLEN',ARGV[3],ARGV[4],n..'-0','d',ARGV[1])
else
  call('XADD',log,n..'-0','d',ARGV[1])
end
call('PEXPIRE',log,ARGV[5])
local position=head..n
if key then call('SET',key,position,'PX',ARGV[7]) end
return call('VERB',ARGV[10],'h'..position..' '..ARGV[1])..' '..position
";
    let code = code.replace("VERB", verb).replace("TRIM", &TRIM.to_string());
    Script::of(code.replace("MOST_TERMS", &MAX_TERMS.to_string()))
}

static APPEND: LazyLock<Script> = LazyLock::new(|| append("PUBLISH"));
static APPEND_SHARDED: LazyLock<Script> = LazyLock::new(|| append("SPUBLISH"));

/// Keys: meta, log. Arguments: the first offset, most messages, most bytes (the last message may have more), the log's size, the
/// largest message that is read.
///
/// Returns the meta, `1` if there are no more, and offset and message in turn, nothing instead of a message that is too large.
static READ: LazyLock<Script> = LazyLock::new(|| {
    Script::of(
        r"
local meta=redis.call('HMGET',KEYS[1],'epoch','offset','terms')
local found={meta,1}
if not meta[1] then return found end
local most,bytes=tonumber(ARGV[2]),tonumber(ARGV[3])
local from=math.max(ARGV[1],meta[2]-ARGV[4]+1)
while true do
  local want=math.min(most,16)
  if want<=0 or bytes<=0 then found[2]=0 break end
  local entries=redis.call('XRANGE',KEYS[2],string.format('%.0f',from)..'-0','+','COUNT',want)
  for _,entry in ipairs(entries) do
    if bytes<=0 then break end
    local offset=string.match(entry[1],'^%d+')
    found[#found+1]=offset
    local message=entry[2][2]
    if #message>tonumber(ARGV[5]) then message=false else bytes=bytes-#message end
    found[#found+1]=message
    from=offset+1
  end
  if bytes>0 and #entries<want then break end
  most=most-want
end
return found
"
        .to_owned(),
    )
});

/// A script, and the name under which Redis knows it once it is loaded.
#[derive(Debug)]
struct Script {
    code: String,
    /// An encoded argument.
    hash: Box<[u8]>,
}

impl Script {
    fn of(code: String) -> Script {
        let mut hash = Vec::new();
        resp::argument(&mut hash, &[redis::Script::new(&code).get_hash().as_bytes()]);
        Script { code, hash: hash.into() }
    }

    /// Begins a call of it with so many keys and arguments.
    fn begin(&self, out: &mut Vec<u8>, keys: usize, arguments: usize) {
        resp::begin(out, 3 + keys + arguments);
        out.extend_from_slice(b"$7\r\nEVALSHA\r\n");
        out.extend_from_slice(&self.hash);
        number(out, keys as u64);
    }
}

/// Encodes a number as an argument.
fn number(out: &mut Vec<u8>, number: u64) {
    resp::argument(out, &[itoa::Buffer::new().format(number).as_bytes()]);
}

/// The texts of the scripts that a server of this kind needs.
pub(crate) fn texts(is_sharded: bool) -> [&'static str; 2] {
    [if is_sharded { &APPEND_SHARDED } else { &APPEND }, &READ].map(|script| script.code.as_str())
}

/// Encodes the command that loads a script.
pub(crate) fn load(out: &mut Vec<u8>, text: &str) {
    resp::command(out, &[b"SCRIPT", b"LOAD", text.as_bytes()]);
}

/// Encodes the question which process this is.
pub(crate) fn ask_run(out: &mut Vec<u8>) {
    resp::command(out, &[b"INFO", b"server"]);
}

/// Encodes the question for the term.
pub(crate) fn ask_term(out: &mut Vec<u8>) {
    resp::command(out, &[b"INFO", b"replication"]);
}

/// A field of what `INFO` answers.
fn field<'a>(info: &'a Value, name: &str) -> Option<&'a str> {
    text(info)?.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// The life of a server as a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MasterLife {
    pub term: Term,
    /// That of the process, as [`run`] reads it.
    pub run: Option<Term>,
}

/// The answer to [`ask_run`], as a term.
pub(crate) fn run(info: &Value) -> Option<Term> {
    Term::new(field(info, "run_id")?.as_bytes().get(..NAME_BYTES)?)
}

/// The answer to [`ask_term`]: the beginning of `master_replid` since a replica became the master, before that of `run_id`, which
/// is `run`. For `master_replid` also changes, and `master_replid2` is cleared, when a master gets its first replica, or has had none
/// for an hour (redis.conf, `repl-backlog-ttl`): then nothing is lost.
///
/// # Errors
/// The reason for which it can't give positions: it is no master, or doesn't say which one.
pub(crate) fn term(info: &Value, run: Option<Term>) -> Result<Term, String> {
    if let Some(role) = field(info, "role").filter(|role| *role != "master") {
        return Err(format!("the server is a {role}"));
    }
    let was_promoted = field(info, "master_replid2").is_some_and(|id| id.bytes().any(|byte| byte != b'0'));
    let id = || Term::new(field(info, "master_replid")?.as_bytes().get(..NAME_BYTES)?);
    let term = if was_promoted { id() } else { run };
    term.ok_or_else(|| "history needs run_id and master_replid of INFO".to_owned())
}

/// A topic, as its keys name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicKeys<'a> {
    /// Of all channels and keys.
    pub prefix: &'a str,
    /// The hash tag, empty where Redis is no cluster.
    pub tag: &'a str,
    /// `user:` or `room:`, and what is behind it.
    pub name: [&'a str; 2],
}

impl TopicKeys<'_> {
    fn key(&self, out: &mut Vec<u8>, what: &str, rest: &str) {
        let [kind, id] = self.name;
        if rest.is_empty() {
            resp::argument(out, &[self.prefix, self.tag, what, kind, id].map(str::as_bytes));
        } else {
            // The length tells where the one ends and the other begins: both may have colons.
            let mut length = itoa::Buffer::new();
            let length = length.format(id.len());
            let pieces = [self.prefix, self.tag, what, kind, length, ":", id, ":", rest];
            resp::argument(out, &pieces.map(str::as_bytes));
        }
    }
}

/// The arguments that all publishes of topics with the same bounds have in common. They are encoded once, for that is a good
/// part of what a publish with a history costs this process.
#[derive(Debug)]
pub(crate) struct CommonArguments {
    pub bounds: Bounds,
    alone: Box<[u8]>,
    /// Without and with a server of before.
    in_cluster: [Box<[u8]>; 2],
}

impl CommonArguments {
    /// `prefix`: of all channels.
    pub(crate) fn new(bounds: Bounds, prefix: &str) -> CommonArguments {
        let encode = |channels: [&[&[u8]]; 2]| {
            let mut out = Vec::new();
            resp::argument(&mut out, &[if bounds.size <= EXACT { b"=" } else { b"~" }]);
            for value in [bounds.size.into(), bounds.ttl_ms, bounds.meta_ms(), bounds.key_ms()] {
                number(&mut out, value);
            }
            channels.iter().for_each(|pieces| resp::argument(&mut out, pieces));
            out.into()
        };
        let prefix = prefix.as_bytes();
        CommonArguments {
            bounds,
            alone: encode([&[prefix, CONTROL_CHANNEL.as_bytes()], &[prefix, FORMAT_CHANNEL.as_bytes()]]),
            in_cluster: [encode([&[], &[b"0"]]), encode([&[], &[b"1"]])],
        }
    }
}

/// The bounds of a message's history, and the means by which it is told from others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep<'a> {
    pub common: &'a CommonArguments,
    pub idempotency_key: Option<&'a str>,
    /// The epoch, if a new one begins.
    pub epoch: &'a [u8; NAME_BYTES],
    /// A server is known to be there that can't read positions. Only a cluster has to be told.
    pub has_old: bool,
}

/// Encodes a publish that gives the message its position.
pub(crate) fn publish(out: &mut Vec<u8>, topic: TopicKeys<'_>, payload: &[&[u8]], keep: Keep<'_>) {
    let is_sharded = !topic.tag.is_empty();
    let script = if is_sharded { &APPEND_SHARDED } else { &APPEND };
    let keys = if keep.idempotency_key.is_some() { 3 } else { 2 };
    script.begin(out, keys, 11);
    topic.key(out, "history:meta:", "");
    topic.key(out, "history:log:", "");
    if let Some(key) = keep.idempotency_key {
        topic.key(out, "history:key:", key);
    }
    resp::argument(out, payload);
    resp::argument(out, &[keep.epoch]);
    out.extend_from_slice(if is_sharded {
        &keep.common.in_cluster[usize::from(keep.has_old)]
    } else {
        &keep.common.alone
    });
    topic.key(out, "", "");
    // The last one, where [`place_term`] finds it.
    resp::argument(out, &[NO_TERM]);
}

/// Writes the term into an encoded [`publish`].
pub(crate) fn place_term(command: &mut [u8], term: Term) {
    let end = command.len().saturating_sub(b"\r\n".len());
    if let Some(place) = end.checked_sub(NAME_BYTES).and_then(|begin| command.get_mut(begin..end)) {
        place.copy_from_slice(term.as_str().as_bytes());
    }
}

/// Reads channel and payload of an encoded [`publish`] back.
pub(crate) fn read_publish(command: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut arguments = resp::read_command(command).skip(2);
    let keys = if arguments.next()? == b"3" { 3 } else { 2 };
    let payload = arguments.nth(keys)?;
    Some((arguments.nth(8)?, payload))
}

/// Reads the reply to a [`publish`].
pub(crate) fn published(reply: &[u8]) -> Option<Published> {
    let space = reply.iter().position(|byte| *byte == b' ')?;
    let (first, position) = (&reply[..space], Position::read(&reply[space + 1..]));
    if first == b"=" {
        return Some(Published::Before(position));
    }
    Some(Published::Now { nodes: std::str::from_utf8(first).ok()?.parse().ok()?, position: position? })
}

/// The outcome of a [`publish`] that was not for a server of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    Now {
        nodes: u64,
        position: Position,
    },
    /// There was a message with the same key.
    Before(Option<Position>),
}

/// Encodes the question how far a topic is.
pub(crate) fn ask_meta(out: &mut Vec<u8>, topic: TopicKeys<'_>) {
    resp::begin(out, 5);
    resp::argument(out, &[b"HMGET"]);
    topic.key(out, "history:meta:", "");
    for field in ["epoch", "offset", "terms"] {
        resp::argument(out, &[field.as_bytes()]);
    }
}

/// The answer.
///
/// # Errors
/// It is no meta.
pub(crate) fn meta(value: &Value) -> Result<Option<Meta>, NoPosition> {
    let Value::Array(fields) = value else { return Err(NoPosition) };
    match &fields[..] {
        [Value::Nil, ..] => Ok(None),
        [epoch, offset, terms] => {
            let field = |value| text(value).ok_or(NoPosition);
            format!("{} {} {}", field(epoch)?, field(offset)?, field(terms)?).parse().map(Some)
        }
        _ => Err(NoPosition),
    }
}

/// Encodes the question for messages from an offset on. The answer is small beside Redis' output limit for a subscribed connection,
/// 32 MiB by default (redis.conf, `client-output-buffer-limit pubsub`), and others' messages come behind it.
pub(crate) fn read(out: &mut Vec<u8>, topic: TopicKeys<'_>, part: Part) {
    READ.begin(out, 2, 5);
    topic.key(out, "history:meta:", "");
    topic.key(out, "history:log:", "");
    let Part { from, most, bytes, size, largest } = part;
    for value in [from, most.into(), bytes as u64, size.into(), largest as u64] {
        number(out, value);
    }
}

/// A part of a log, to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// The first offset.
    pub from: u64,
    /// Most messages.
    pub most: u32,
    /// Most bytes, of which the last message may have more.
    pub bytes: usize,
    /// Most messages that the log has.
    pub size: u32,
    /// The largest message that is read.
    pub largest: usize,
}

/// Messages of a topic's log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogPart {
    pub meta: Option<Meta>,
    /// Offset and message, as it is published. None: it is too large to be read.
    pub messages: Vec<(u64, Option<Vec<u8>>)>,
    /// There are no more.
    pub is_all: bool,
    /// The store's, under which there may be no message yet.
    pub term: Option<Term>,
}

/// Reads the reply to a [`read`].
pub(crate) fn log_part(reply: &Value, term: Option<Term>) -> Option<LogPart> {
    let Value::Array(found) = reply else { return None };
    let [first, Value::Int(is_all), messages @ ..] = &found[..] else { return None };
    let messages = messages.chunks(2).map(|pair| match pair {
        [offset, Value::BulkString(message)] => Some((text(offset)?.parse().ok()?, Some(message.clone()))),
        [offset, Value::Nil] => Some((text(offset)?.parse().ok()?, None)),
        _ => None,
    });
    let meta = meta(first).ok()?;
    let messages: Vec<(u64, Option<Vec<u8>>)> = messages.collect::<Option<_>>()?;
    let last = messages.last().map(|(offset, _)| *offset);
    let is_all = *is_all == 1 || last.is_some() && last == meta.as_ref().map(|meta| meta.offset);
    Some(LogPart { meta, messages, is_all, term })
}

#[cfg(test)]
mod tests;
