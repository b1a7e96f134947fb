//! The messages of a stream, as the assembler alone hears them.

use std::cell::RefCell;

use crate::assembler::{Assembled, Assembler, Spares, Step, Violation};
use crate::extension::Extension;
use crate::frame::{self, Message, Opcode};

thread_local! {
    /// One test's buffers are another one's.
    pub(crate) static SPARES: RefCell<Spares<()>> = const { RefCell::new(Spares::NONE) };
}

pub(crate) fn next<E: Extension>(assembler: &mut Assembler<(), E>, bytes: &mut [u8], max: usize) -> Step<()> {
    match assembler.whole(bytes, max) {
        Some(whole) => Step::Whole(whole),
        None => SPARES.with_borrow_mut(|spares| assembler.take(bytes, max, spares)),
    }
}

fn recycle(assembled: Assembled<()>) {
    SPARES.with_borrow_mut(|spares| assembled.recycle(spares));
}

/// The result of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Control(Opcode, Vec<u8>),
    Broken(u16),
}

fn heard(message: Message<'_>) -> Heard {
    match message {
        Message::Text(text) => Heard::Text(text.to_owned()),
        Message::Binary(bytes) => Heard::Binary(bytes.to_vec()),
    }
}

/// Feeds one read's bytes, as a connection does; nothing is heard behind a violation, which it returns.
pub(crate) fn feed<E: Extension>(
    assembler: &mut Assembler<(), E>,
    bytes: &[u8],
    max: usize,
    all: &mut Vec<Heard>,
) -> Option<Violation> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() && !matches!(all.last(), Some(Heard::Broken(_))) {
        at += match next(assembler, &mut bytes[at..], max) {
            Step::Whole(whole) => {
                let payload = &mut bytes[at + whole.head_len..at + whole.len];
                frame::unmask(payload, whole.mask);
                all.push(match whole.opcode {
                    Opcode::Text => std::str::from_utf8(payload)
                        .map_or(Heard::Broken(1007), |text| Heard::Text(text.to_owned())),
                    Opcode::Binary => Heard::Binary(payload.to_vec()),
                    opcode => Heard::Control(opcode, payload.to_vec()),
                });
                whole.len
            }
            Step::Taken(len) => len,
            Step::Message(len, assembled) => {
                all.push(heard(assembled.message()));
                recycle(assembled);
                len
            }
            Step::Control(len, control) => {
                all.push(Heard::Control(control.opcode, control.payload().to_vec()));
                len
            }
            Step::Broken(violation) => {
                all.push(Heard::Broken(violation.code));
                return Some(violation);
            }
        };
    }
    None
}
