//! The server's endpoint of a connection, as a state machine (RFC 6455, sections 5 to 7): bytes, commands and deadlines in, effects
//! out. It has no socket, clock, thread or runtime; its [`Host`] has those, and stands for the application.
//!
//! Its host gives it bytes while they are [wanted](Endpoint::input), [commands](Commands) when there are some, and news of its
//! socket: the [end](Endpoint::on_end), a [failure](Endpoint::on_failure), that all is [written](Endpoint::on_written).

use std::ops::Range;

use codes::close::ClosedBy;

use crate::assembler::{Assembled, Assembler, Spares, Step, Violation};
use crate::frame::{self, Message, Opcode, Whole};
use crate::reflected::Reflected;
pub use command::Commands;
pub use end::{SLOW, read_close};

mod command;
mod end;
#[cfg(test)]
mod tests;

/// Most bytes that are read and dropped from a peer to whom nothing more will be said.
pub const MAX_SCRAP: usize = 64 * 1024;

/// The steps of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Messages flow.
    Open,
    /// The peer has said its last: it closed, left, or broke the rules. No more is read; the application may still answer what
    /// came before.
    Settling,
    /// Our close frame is out or on its way; the peer's is awaited.
    Closing,
    /// Nothing more will be said. The rest is flushed, then our direction is ended; the peer's bytes are read and dropped until
    /// it ends its own, so that no reset overtakes our last frame.
    Draining,
    /// Both close frames were exchanged: flush, and end.
    Flushing,
    /// Our direction is ended; the peer's end is awaited.
    HalfClosed,
    /// Over.
    Over,
}

/// The answer to whether bytes of the peer are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// They are to be read.
    Wanted,
    /// They stay where they are, until the application is ready for them.
    Paused,
    /// They stay where they are.
    Unwanted,
}

/// The application's part of the work for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// All that there was to do.
    Done,
    /// It is for its sender alone, and goes back from where it lies.
    Reflect,
}

/// The time, from now on, at which an endpoint is to hear of [`Endpoint::on_deadline`]. A new deadline replaces the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// After the time that an end may take.
    Close,
    /// As before, but not before the peer has had a moment to read our last frame.
    NotBeforeLinger,
    /// After a moment for the peer to read our last frame.
    Linger,
    /// As soon as our last frame was offered to the peer's socket: the peer is not likely to be there.
    Offered,
}

/// A request of an endpoint to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Queue this control frame behind the messages that wait.
    Send(&'a [u8]),
    /// The same for the answer to a ping. A peer that has too many of them wait for it is slow.
    Answer(&'a [u8]),
    /// Take and give no messages from here on. The first reason counts. One that `WillLeave` announced comes before all.
    Leave { code: u16, reason: &'a str, by: ClosedBy },
    /// Keep this reason, for [`Host::take_end`].
    WillLeave { code: u16, reason: &'a str, by: ClosedBy },
    /// Drop what waits for the peer, which is too slow, and leave with [`SLOW`].
    Shed,
    /// Give up the rest of a message that takes more than one turn, if there is one.
    GiveUp,
    /// See [`Deadline`].
    Wait(Deadline),
    /// Have another turn, as if something had happened.
    Wake,
    /// End our direction of the stream.
    EndWriting,
    /// Throw away what the kernel still holds for the peer when the socket is closed.
    Reset,
}

/// Bytes that an endpoint's peer makes us hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Those that wait for the peer, if it is behind.
    pub waiting: usize,
    /// Those of unfinished messages.
    pub unfinished: usize,
}

/// A request to close: code and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseRequest {
    /// Close code to send.
    pub code: u16,
    /// Reason to send, at most 123 bytes.
    pub reason: Box<str>,
}

/// The surroundings of an endpoint: its runner. `K` is kept with each unfinished message.
pub trait Host<K> {
    /// Does what the endpoint asks for.
    fn on_effect(&mut self, effect: Effect<'_>);
    /// Deals with a message. With `may_reflect` the endpoint is able to do what [`Routed::Reflect`] asks for.
    fn on_message(&mut self, message: Message<'_>, may_reflect: bool) -> Routed;
    /// A message came after our close frame. Nobody wants it.
    fn on_late_message(&mut self);
    /// A pong came that is no answer to the heartbeat.
    fn on_pong(&mut self, payload: &[u8]);
    /// More of a message came that is unfinished. It holds so many bytes of memory.
    fn on_progress(&mut self, bytes: usize, kept: &mut K);
    /// A frame of so many bytes, or a part of one, was dealt with that is no whole message.
    fn on_frame(&mut self, len: usize);

    /// True if no further message may be taken in now.
    fn must_wait(&mut self) -> bool;
    /// True if nothing more may be taken in in this turn: it has taken long, or a message has a rest that is for other turns.
    fn is_turn_over(&mut self) -> bool;
    /// True while the application does not want to have messages.
    fn is_unwanted(&mut self) -> bool;
    /// The same before more is read. The host wakes the endpoint when it may be.
    fn must_pause(&mut self) -> bool;
    /// True if the application has yet to deal with what the peer said. A command says once it has.
    fn must_settle(&mut self) -> bool;
    /// True if nothing waits for the peer.
    fn is_clear(&mut self) -> bool;
    /// Bytes that wait for the peer.
    fn buffered(&mut self) -> usize;
    /// True if the rest of an unfinished message would wait for others.
    fn is_held(&mut self) -> bool;
    /// True if more waits for the peer than an evicted endpoint may keep.
    fn clings(&mut self) -> bool;
    /// The request that [`Commands::CLOSE`] stands for.
    fn take_close(&mut self) -> Option<Box<CloseRequest>>;
    /// The end that was announced by [`Effect::WillLeave`].
    fn take_end(&mut self) -> Option<(u16, Box<str>, ClosedBy)>;
    /// Boxes for unfinished messages.
    fn with_spares<R>(&mut self, call: impl FnOnce(&mut Spares<K>) -> R) -> R;
}

/// See the module.
#[derive(Debug)]
pub struct Endpoint<K> {
    assembler: Assembler<K>,
    phase: Phase,
    /// Bytes that were read and dropped since nothing more will be said. `u32::MAX`: too many, and the peer lingers.
    scrap: u32,
}

impl<K: Default> Default for Endpoint<K> {
    fn default() -> Self {
        Endpoint { assembler: Assembler::IDLE, phase: Phase::Open, scrap: 0 }
    }
}

impl<K: Default> Endpoint<K> {
    /// The step that its end has come to.
    #[inline]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Its unfinished message.
    pub fn assembler(&self) -> &Assembler<K> {
        &self.assembler
    }

    /// To be asked before more is read, and before bytes that were read are taken in.
    pub fn input(&mut self, host: &mut impl Host<K>) -> Input {
        match self.phase {
            Phase::Flushing | Phase::Over => Input::Unwanted,
            // The rest stays with the kernel, which stops the peer. It still reads our last frame; a reset might overtake that.
            Phase::Draining | Phase::HalfClosed if self.scrap as usize >= MAX_SCRAP => {
                self.linger(host);
                Input::Unwanted
            }
            Phase::Settling => Input::Paused,
            Phase::Open if host.must_pause() => Input::Paused,
            _ => Input::Wanted,
        }
    }

    /// Notes bytes that were read and are yet to be [taken in](Endpoint::on_bytes).
    pub fn on_read(&mut self, len: usize) {
        if matches!(self.phase, Phase::Draining | Phase::HalfClosed) {
            self.scrap = self.scrap.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        }
    }

    /// Takes in bytes of the peer's: one frame at least, and as many as the host has time and room for. Returns how many, and
    /// those among them that are to be sent back.
    pub fn on_bytes(
        &mut self,
        bytes: &mut [u8],
        max_payload: usize,
        host: &mut impl Host<K>,
    ) -> (usize, Reflected) {
        let mut reflected = Reflected::default();
        let taken = self.walk(bytes, max_payload, &mut reflected, host);
        (taken, reflected)
    }

    fn walk(
        &mut self,
        bytes: &mut [u8],
        max_payload: usize,
        reflected: &mut Reflected,
        host: &mut impl Host<K>,
    ) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if !matches!(self.phase, Phase::Open | Phase::Closing) {
                // Nobody wants the rest.
                return bytes.len();
            }
            if self.phase == Phase::Open && host.must_wait() {
                return at;
            }
            let rest = &mut bytes[at..];
            let step = match self.assembler.whole(rest, max_payload) {
                Some(whole) => Step::Whole(whole),
                None => host.with_spares(|spares| self.assembler.take(rest, max_payload, spares)),
            };
            at += match step {
                Step::Whole(whole) => {
                    self.on_whole(bytes, at, &whole, reflected, host);
                    whole.len
                }
                Step::Taken(len) => {
                    host.on_frame(len);
                    if let Some((held, kept)) = self.assembler.unfinished() {
                        host.on_progress(held, kept);
                    }
                    len
                }
                Step::Message(len, assembled) => {
                    host.on_frame(len);
                    self.on_assembled(assembled, host);
                    len
                }
                Step::Control(len, control) => {
                    host.on_frame(len);
                    self.on_control(control.opcode, control.payload(), host);
                    len
                }
                Step::Broken(violation) => {
                    self.fail(violation, host);
                    return bytes.len();
                }
            };
            // Input that is too much for the application waits as it came, in the fewest bytes.
            if host.is_turn_over() || (self.phase == Phase::Open && host.is_unwanted()) {
                break;
            }
        }
        at
    }

    /// Takes in a frame that lies whole at `at`.
    #[inline]
    fn on_whole(
        &mut self,
        bytes: &mut [u8],
        at: usize,
        whole: &Whole,
        reflected: &mut Reflected,
        host: &mut impl Host<K>,
    ) {
        let frame = at..at + whole.len;
        let payload = at + whole.head_len..frame.end;
        frame::unmask(&mut bytes[payload.clone()], whole.mask);
        match whole.opcode {
            Opcode::Text => self.on_text(bytes, frame, whole.head_len, reflected, host),
            Opcode::Binary => self.on_message(Message::Binary(&bytes[payload]), host),
            Opcode::Ping if self.phase == Phase::Open && host.is_clear() => {
                host.on_frame(whole.len);
                reflected.add_pong(bytes, frame, whole.head_len);
            }
            opcode => {
                host.on_frame(whole.len);
                self.on_control(opcode, &bytes[payload], host);
            }
        }
    }

    /// Takes in a text frame, which is unmasked.
    fn on_text(
        &mut self,
        bytes: &mut [u8],
        frame: Range<usize>,
        head_len: usize,
        reflected: &mut Reflected,
        host: &mut impl Host<K>,
    ) {
        let Ok(text) = simdutf8::basic::from_utf8(&bytes[frame.start + head_len..frame.end]) else {
            return self.fail(Violation::BAD_UTF8, host);
        };
        if self.phase != Phase::Open {
            host.on_late_message();
        } else if host.on_message(Message::Text(text), true) == Routed::Reflect {
            reflected.add(bytes, frame, head_len);
        }
    }

    fn on_assembled(&mut self, assembled: Assembled<K>, host: &mut impl Host<K>) {
        self.on_message(assembled.message(), host);
        host.with_spares(|spares| assembled.recycle(spares));
    }

    /// Takes in a message that can't go back from where it lies.
    fn on_message(&mut self, message: Message<'_>, host: &mut impl Host<K>) {
        if self.phase == Phase::Open {
            host.on_message(message, false);
        } else {
            host.on_late_message();
        }
    }

    #[inline(never)]
    fn on_control(&mut self, opcode: Opcode, payload: &[u8], host: &mut impl Host<K>) {
        match opcode {
            Opcode::Close => self.on_close(payload, host),
            Opcode::Ping if self.phase == Phase::Open => {
                let (pong, len) = frame::encode_control(Opcode::Pong, payload);
                host.on_effect(Effect::Answer(&pong[..len]));
            }
            Opcode::Pong if self.phase == Phase::Open && payload != frame::HEARTBEAT => host.on_pong(payload),
            _ => {}
        }
    }

    /// The peer began the close handshake, or answered ours (RFC 6455, section 5.5.1). Its code and reason are sent back. In an
    /// answer they mean nothing any more.
    fn on_close(&mut self, payload: &[u8], host: &mut impl Host<K>) {
        match read_close(payload) {
            Ok((code, reason)) => self.conclude(code, reason, ClosedBy::Peer, host),
            Err(violation) => self.fail(violation, host),
        }
    }

    /// The message that was unfinished at its host's [look](Assembler::is_overdue) is late, unless it is complete by now.
    pub fn on_overdue(&mut self, host: &mut impl Host<K>) {
        if self.phase == Phase::Open && self.assembler.is_timed() {
            self.fail(Violation::TOO_SLOW, host);
        }
    }
}
