//! The assembler and tungstenite say the same of a stream of frames, wherever it is cut. Also compiled into the fuzz targets
//! (`fuzz/`), where `crate::assembler` and `crate::frame` are this crate's.
//!
//! The assembler may be stricter in three ways, and no other:
//! - it finds a violation earlier: in a head, or inside a frame;
//! - where one frame breaks two rules, it may name the other one;
//! - it refuses control frames whose length is told in more than seven bits.

use std::io::{self, Read, Write};

use codes::close;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::{self, Role, WebSocketConfig, WebSocketContext};

use super::heard::{Heard, feed};
use crate::assembler::{Assembler, Violation};
use crate::endpoint::read_close;
use crate::frame::{self, MAX_CONTROL, Opcode};

/// Longest message of the streams that are compared.
pub(crate) const MAX: usize = 300;

/// The stream so far as tungstenite sees it, and its answers.
struct Io<'a> {
    input: &'a [u8],
    output: Vec<u8>,
}

impl Read for Io<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Io<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The messages up to a close frame or a violation, and the answers. A close frame whose code nobody may send is heard as
/// tungstenite makes it, as 1002.
fn oracle(stream: &[u8]) -> (Vec<Heard>, Vec<u8>) {
    let config = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_message_size(Some(MAX))
        .max_frame_size(Some(MAX.max(MAX_CONTROL)));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut io = Io { input: stream, output: Vec::new() };
    let mut all = Vec::new();
    loop {
        all.push(match context.read(&mut io) {
            Ok(protocol::Message::Text(text)) => Heard::Text(text.as_str().to_owned()),
            Ok(protocol::Message::Binary(bytes)) => Heard::Binary(bytes.to_vec()),
            Ok(protocol::Message::Ping(bytes)) => Heard::Control(Opcode::Ping, bytes.to_vec()),
            Ok(protocol::Message::Pong(bytes)) => Heard::Control(Opcode::Pong, bytes.to_vec()),
            Ok(protocol::Message::Frame(_)) => continue,
            Ok(protocol::Message::Close(frame)) => {
                let payload = frame.map_or_else(Vec::new, |frame| {
                    [&u16::from(frame.code).to_be_bytes()[..], frame.reason.as_bytes()].concat()
                });
                all.push(Heard::Control(Opcode::Close, payload));
                let _ = context.flush(&mut io);
                break;
            }
            Err(Error::Io(_)) => break,
            Err(Error::Utf8(_)) => Heard::Broken(close::BAD_UTF8),
            Err(Error::Capacity(_)) => Heard::Broken(close::TOO_LARGE),
            Err(_) => Heard::Broken(close::PROTOCOL),
        });
        if matches!(all.last(), Some(Heard::Broken(_))) {
            break;
        }
    }
    (all, io.output)
}

/// The same by the assembler, with the answers that a connection gives, and the violation that it found.
fn ours(reads: &[&[u8]]) -> (Vec<Heard>, Vec<u8>, Option<Violation>) {
    let (mut assembler, mut all) = (Assembler::IDLE, Vec::new());
    let violation = reads.iter().find_map(|read| feed(&mut assembler, read, MAX, &mut all));
    let end = all.iter().position(|heard| matches!(heard, Heard::Control(Opcode::Close, _)));
    all.truncate(end.map_or(all.len(), |end| end + 1));
    let mut answers = Vec::new();
    for heard in &mut all {
        match heard {
            Heard::Control(Opcode::Ping, payload) => {
                answers.extend([0x8A, payload.len() as u8]);
                answers.extend(&*payload);
            }
            Heard::Control(Opcode::Close, payload) => match read_close(payload) {
                Err(violation) => *heard = Heard::Broken(violation.code),
                Ok((code, reason)) => {
                    let answer = frame::encode_close(code, reason);
                    answers.extend(&answer);
                    *payload = answer[2..].to_vec();
                }
            },
            _ => {}
        }
    }
    (all, answers, violation)
}

fn is_broken(heard: &[Heard]) -> bool {
    matches!(heard.last(), Some(Heard::Broken(_)))
}

/// The verdicts of both on a stream. The fuzzer does not ask.
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) struct Said {
    pub(crate) heard: usize,
    pub(crate) is_broken: bool,
    pub(crate) is_closed: bool,
    /// The assembler was stricter.
    pub(crate) is_stricter: bool,
}

/// Panics if the two say something else, and names the stream so.
pub(crate) fn compare(reads: &[&[u8]], name: &dyn std::fmt::Display) -> Said {
    let stream = reads.concat();
    let (want, want_answers) = oracle(&stream);
    let (got, got_answers, violation) = ours(reads);
    let said = Said {
        heard: got.len(),
        is_broken: is_broken(&want),
        is_closed: matches!(want.last(), Some(Heard::Control(Opcode::Close, _))),
        is_stricter: is_broken(&got) && got != want,
    };
    if !is_broken(&got) {
        assert_eq!(got, want, "{name}");
        assert_eq!(got_answers, want_answers, "{name}");
    } else if violation.is_some_and(|violation| violation.reason == "control frame too long") {
        assert!(want.starts_with(&got[..got.len() - 1]), "{name}: {got:?} {want:?}");
    } else if is_broken(&want) {
        assert_eq!(got[..got.len() - 1], want[..want.len() - 1], "{name}");
    } else {
        // Earlier: tungstenite waits for the rest, and would find it too.
        assert_eq!(got[..got.len() - 1], want, "{name}");
        let more = [&stream[..], &[0; 14 + MAX + 1]].concat();
        assert!(is_broken(&oracle(&more).0), "{name}: {got:?} {want:?}");
    }
    said
}

/// The same for a case of the fuzzer's: the first byte tells how long the reads are that the others come in.
pub(crate) fn compare_cut(case: &[u8], name: &dyn std::fmt::Display) {
    if let Some((&longest, stream)) = case.split_first() {
        let reads: Vec<&[u8]> = stream.chunks(1 + usize::from(longest)).collect();
        compare(&reads, name);
    }
}
