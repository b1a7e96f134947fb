//! Redis' protocol, RESP3, as far as it is hot: messages that come in, answers to publishes, and commands that go out.
//! Everything else in a whole reply is left to the `redis` crate's parser.
//!
//! <https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md>

use redis::Value;

/// Deepest nesting of a reply; more is no Redis.
const MAX_DEPTH: usize = 16;
/// Longest line: errors and numbers.
const MAX_LINE: usize = 64 << 10;
/// Replies that are no messages are never as large as this, nor is a message's channel.
pub(crate) const MAX_REPLY: usize = 1 << 20;
/// The smallest element of a reply, such as `_` and the end of its line.
const MIN_ELEMENT: usize = 3;

/// The bytes are not RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A reply or a push.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming<'a> {
    /// A message on a channel.
    Message { channel: &'a [u8], payload: &'a [u8] },
    /// A subscription is confirmed.
    Subscribed { channel: &'a [u8] },
    /// A subscription has ended.
    Unsubscribed { channel: &'a [u8], sharded: bool },
    /// An integer reply.
    Number(i64),
    /// A bulk string as a reply.
    Text(&'a [u8]),
    /// Any other reply.
    Other(Value),
    /// A push of a kind that nobody asked for.
    Ignored,
}

/// The beginning of a buffer, parsed.
#[derive(Debug, PartialEq)]
pub(crate) enum Parsed<'a> {
    /// More bytes are needed.
    Incomplete,
    /// An item of so many bytes.
    Item(Incoming<'a>, usize),
    /// A message whose payload is over the limit: so many bytes are to be skipped.
    Oversized(usize),
}

/// A line from `at` on, without its end, and where the next begins.
fn line(buf: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, Malformed> {
    let rest = &buf[at.min(buf.len())..];
    match rest.iter().take(MAX_LINE).position(|byte| *byte == b'\r') {
        Some(end) if end + 1 < rest.len() => {
            if rest[end + 1] == b'\n' {
                Ok(Some((&rest[..end], at + end + 2)))
            } else {
                Err(Malformed)
            }
        }
        None if rest.len() >= MAX_LINE => Err(Malformed),
        _ => Ok(None),
    }
}

fn integer(text: &[u8]) -> Result<i64, Malformed> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)
}

/// A length; -1, which stands for null, counts as none.
fn length(text: &[u8]) -> Result<usize, Malformed> {
    match integer(text)? {
        -1 => Ok(0),
        len => usize::try_from(len).map_err(|_| Malformed),
    }
}

/// The end of the value that begins at `at`.
fn end_of_value(buf: &[u8], at: usize, depth: usize) -> Result<Option<usize>, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    // Before the line is complete: a peer that is no Redis may never complete it.
    if buf.get(at).is_some_and(|kind| !b"+-:_,#($=!*~>%|".contains(kind)) {
        return Err(Malformed);
    }
    let Some((head, mut next)) = line(buf, at)? else { return Ok(None) };
    let (kind, rest) = head.split_first().ok_or(Malformed)?;
    let elements = match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => return Ok(Some(next)),
        b'$' | b'=' | b'!' => {
            if *rest == *b"-1" {
                return Ok(Some(next));
            }
            let end = next.checked_add(length(rest)?).and_then(|end| end.checked_add(2)).ok_or(Malformed)?;
            return Ok((end <= buf.len()).then_some(end));
        }
        b'*' | b'~' | b'>' => length(rest)?,
        b'%' => length(rest)?.checked_mul(2).ok_or(Malformed)?,
        b'|' => length(rest)?.checked_mul(2).and_then(|n| n.checked_add(1)).ok_or(Malformed)?,
        _ => return Err(Malformed),
    };
    // It would be looked through anew with each byte that comes.
    if elements > MAX_REPLY / MIN_ELEMENT {
        return Err(Malformed);
    }
    for _ in 0..elements {
        match end_of_value(buf, next, depth + 1)? {
            Some(end) => next = end,
            None => return Ok(None),
        }
    }
    Ok(Some(next))
}

/// A bulk string.
fn bulk(buf: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, Malformed> {
    let Some((head, start)) = line(buf, at)? else { return Ok(None) };
    let (b'$', len) = head.split_first().ok_or(Malformed)? else { return Err(Malformed) };
    let len = length(len)?;
    let end = start.checked_add(len).and_then(|end| end.checked_add(2)).ok_or(Malformed)?;
    Ok(buf.get(start..start + len).filter(|_| end <= buf.len()).map(|bytes| (bytes, end)))
}

/// Reads what `buf` begins with. Payloads of more than `limit` bytes are not waited for.
///
/// # Errors
/// The bytes are not RESP.
pub(crate) fn parse(buf: &[u8], limit: usize) -> Result<Parsed<'_>, Malformed> {
    match buf.first() {
        None => return Ok(Parsed::Incomplete),
        Some(b':') => {
            return Ok(match line(buf, 1)? {
                Some((number, end)) => Parsed::Item(Incoming::Number(integer(number)?), end),
                None => Parsed::Incomplete,
            });
        }
        Some(b'>') => return push(buf, limit),
        Some(b'$') if !buf.starts_with(b"$-") => {
            return Ok(match bulk(buf, 0)? {
                Some((text, end)) => Parsed::Item(Incoming::Text(text), end),
                None => Parsed::Incomplete,
            });
        }
        Some(_) => {}
    }
    let Some(end) = end_of_value(buf, 0, 0)? else { return Ok(Parsed::Incomplete) };
    let value = redis::parse_redis_value(&buf[..end]).map_err(|_| Malformed)?;
    Ok(Parsed::Item(Incoming::Other(value), end))
}

/// Pushes of Pub/Sub have three elements: their kind, the channel, and a payload or a count.
fn push(buf: &[u8], limit: usize) -> Result<Parsed<'_>, Malformed> {
    macro_rules! want {
        ($step:expr) => {
            match $step? {
                Some(found) => found,
                None => return Ok(Parsed::Incomplete),
            }
        };
    }
    let (count, at) = want!(line(buf, 1));
    if count == b"3" {
        let (kind, at) = want!(bulk(buf, at));
        match kind {
            b"message" | b"smessage" => {
                let (channel, at) = want!(bulk(buf, at));
                let (head, start) = want!(line(buf, at));
                let (b'$', len) = head.split_first().ok_or(Malformed)? else { return Err(Malformed) };
                let len = length(len)?;
                let end = start.checked_add(len).and_then(|end| end.checked_add(2)).ok_or(Malformed)?;
                if len > limit {
                    return Ok(Parsed::Oversized(end));
                }
                return Ok(match buf.get(start..start + len) {
                    Some(payload) if end <= buf.len() => {
                        Parsed::Item(Incoming::Message { channel, payload }, end)
                    }
                    _ => Parsed::Incomplete,
                });
            }
            b"subscribe" | b"ssubscribe" => {
                let (channel, at) = want!(bulk(buf, at));
                let (_, end) = want!(line(buf, at));
                return Ok(Parsed::Item(Incoming::Subscribed { channel }, end));
            }
            b"unsubscribe" | b"sunsubscribe" => {
                let (channel, at) = want!(bulk(buf, at));
                let (_, end) = want!(line(buf, at));
                let sharded = kind == b"sunsubscribe";
                return Ok(Parsed::Item(Incoming::Unsubscribed { channel, sharded }, end));
            }
            _ => {}
        }
    }
    let end = want!(end_of_value(buf, 0, 0));
    Ok(Parsed::Item(Incoming::Ignored, end))
}

/// Begins a command of so many arguments, its name included.
pub(crate) fn begin(out: &mut Vec<u8>, arguments: usize) {
    out.push(b'*');
    out.extend_from_slice(itoa::Buffer::new().format(arguments).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Adds an argument that consists of these pieces.
pub(crate) fn argument(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    out.push(b'$');
    let len: usize = pieces.iter().map(|piece| piece.len()).sum();
    out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    out.extend_from_slice(b"\r\n");
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    out.extend_from_slice(b"\r\n");
}

/// Adds a whole command.
pub(crate) fn command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    begin(out, arguments.len());
    arguments.iter().for_each(|piece| argument(out, &[piece]));
}

/// Reads a command's name and arguments back.
pub(crate) fn read_command(command: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = line(command, 0).ok().flatten().map(|(_, at)| at);
    std::iter::from_fn(move || {
        let (argument, next) = bulk(command, at?).ok()??;
        at = Some(next);
        Some(argument)
    })
}

/// Reads channel and payload of an encoded publish back.
pub(crate) fn read_publish(command: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut arguments = read_command(command).skip(1);
    Some((arguments.next()?, arguments.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(bytes: &[u8]) -> Incoming<'_> {
        match parse(bytes, 1 << 20) {
            Ok(Parsed::Item(item, used)) => {
                assert_eq!(used, bytes.len());
                item
            }
            other => panic!("{other:?}"),
        }
    }

    const MESSAGE: &[u8] = b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$5\r\nt\r\nab\r\n";

    #[test]
    fn messages_confirmations_and_numbers_are_read_where_they_lie() {
        assert_eq!(item(MESSAGE), Incoming::Message { channel: b"ch", payload: b"t\r\nab" });
        let sharded = b">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$0\r\n\r\n";
        assert_eq!(item(sharded), Incoming::Message { channel: b"c", payload: b"" });
        assert_eq!(
            item(b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:12\r\n"),
            Incoming::Subscribed { channel: b"c" }
        );
        let gone = b">3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\n";
        assert_eq!(item(gone), Incoming::Unsubscribed { channel: b"c", sharded: true });
        assert_eq!(item(b":-7\r\n"), Incoming::Number(-7));
        assert_eq!(item(b"$4\r\na\r\nb\r\n"), Incoming::Text(b"a\r\nb"));
        assert_eq!(item(b"$-1\r\n"), Incoming::Other(Value::Nil));
        assert_eq!(item(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n"), Incoming::Ignored);
    }

    #[test]
    fn other_replies_come_as_values() {
        assert_eq!(item(b"+OK\r\n"), Incoming::Other(Value::Okay));
        let Incoming::Other(Value::ServerError(error)) = item(b"-MOVED 12 h:1\r\n") else { panic!() };
        assert_eq!((error.code(), error.details()), ("MOVED", Some("12 h:1")));
        let nested = b"*3\r\n$6\r\nmaster\r\n:5\r\n%1\r\n+a\r\n~1\r\n$-1\r\n";
        assert!(matches!(item(nested), Incoming::Other(Value::Array(_))));
    }

    #[test]
    fn every_beginning_of_an_item_is_incomplete() {
        let items: [&[u8]; 6] = [
            MESSAGE,
            b"*2\r\n$3\r\nabc\r\n*1\r\n:5\r\n",
            b"-ERR no\r\n",
            b":123\r\n",
            b"$3\r\nabc\r\n",
            b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:12\r\n",
        ];
        for bytes in items {
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end], 1 << 20), Ok(Parsed::Incomplete), "{end}");
            }
        }
    }

    #[test]
    fn a_payload_over_the_limit_is_not_waited_for() {
        let head = b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$99999\r\n";
        assert_eq!(parse(head, 1000), Ok(Parsed::Oversized(head.len() + 99_999 + 2)));
    }

    #[test]
    fn what_is_not_resp_is_malformed_and_never_panics() {
        let bad: [&[u8]; 9] = [
            b"HTTP/1.1 400 Bad Request\r\n",
            b"$x\r\n",
            b":a\r\n",
            b">3\r\n$-5\r\n",
            b"*99999999999999999999\r\n",
            b"$18446744073709551615\r\n",
            b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n:5\r\n",
            b"+a\rb",
            b"\r\n",
        ];
        for bytes in bad {
            assert_eq!(parse(bytes, 1 << 20), Err(Malformed), "{:?}", String::from_utf8_lossy(bytes));
        }
        let deep = b"*1\r\n".repeat(1000);
        assert_eq!(parse(&deep, 1 << 20), Err(Malformed));
        // Anything goes, as long as nothing panics.
        let mut seed = 1u32;
        for _ in 0..20_000 {
            let mut bytes = MESSAGE.to_vec();
            for _ in 0..3 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = seed as usize % bytes.len();
                bytes[at] = (seed >> 24) as u8;
            }
            let _ = parse(&bytes, 1 << 20);
        }
    }

    #[test]
    fn a_publish_reads_back() {
        let mut out = Vec::new();
        begin(&mut out, 3);
        argument(&mut out, &[b"PUBLISH"]);
        argument(&mut out, &[b"actory:", b"user:", b"ada"]);
        argument(&mut out, &[b"t", b"hello"]);
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$15\r\nactory:user:ada\r\n$6\r\nthello\r\n");
        assert_eq!(read_publish(&out), Some((&b"actory:user:ada"[..], &b"thello"[..])));
        let mut same = Vec::new();
        command(&mut same, &[b"PUBLISH", b"actory:user:ada", b"thello"]);
        assert_eq!(same, out);
    }
}
