//! A connection: what it does when its turn comes. Nobody else reads from it, drives its protocol or ends it.
//!
//! Written as a state machine by hand, so that an idle one costs as little memory as its state. A turn carries out commands,
//! reads what one `recv` brings, routes it, and flushes the outbox once. All connections of a worker read into one
//! [buffer](shared_buffer); what of it is to go back may stay there until others have had their turns.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use protocol::assembler::{Step, Violation};
use protocol::reflected::Reflected;
use tokio::time::Sleep;

use super::connections;
use super::handle::Handle;
use super::inbox::Inbox;
use super::incomplete::{self, Incomplete};
use super::limiter::Permit;
use super::registration::Registration;
use super::relaying::Relaying;
use super::scheduler::Budget;
use super::shared_buffer;
use super::socket::{MAX_SCRAP, Socket};
use super::writer::Flushed;

mod end;
mod input;
#[cfg(all(test, unix))]
mod tests;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Messages flow.
    Open,
    /// The peer has said its last: it closed, left, or broke the rules. No more is read; JavaScript may still answer what came
    /// before.
    Settling,
    /// Our close frame is out or on its way; the peer's is awaited.
    Closing,
    /// Nothing more will be said. What waits is flushed, then our direction is ended; the peer's bytes are
    /// read and dropped until it ends its own, so that no reset overtakes our last frame.
    Draining,
    /// Both close frames were exchanged: flush, and end.
    Flushing,
    /// Our direction is ended; the peer's end is awaited.
    HalfClosed,
    /// Over.
    Over,
}

/// Bytes that were read, from `at` on not yet taken in. A flood is taken in over many turns, so they stay where they are.
#[derive(Debug)]
struct Unread {
    bytes: Box<[u8]>,
    at: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    registration: Registration,
    socket: Socket,
    incomplete: Incomplete,
    phase: Phase,
    /// Bytes that were read and dropped since nothing more will be said. `u32::MAX`: too many, and the peer lingers.
    scrap: u32,
    /// A message that is not relayed to all of its rooms yet. Nothing else is done before.
    relaying: Option<Box<Relaying>>,
    /// What was read and not yet taken in: frames that came with the handshake, and what was too much for a turn.
    unread: Option<Unread>,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Last, so that who counts the living counts it for as long as its socket is open.
    permit: Permit,
}

impl Connection {
    /// Has a connection go on by itself, over a socket on which its handshake is answered. `first` are bytes that the client
    /// sent after its own.
    pub(crate) fn begin(registration: Registration, socket: Socket, first: Vec<u8>, permit: Permit) {
        let token = registration.token;
        let connection = Connection {
            registration,
            socket,
            incomplete: Incomplete::NONE,
            phase: Phase::Open,
            scrap: 0,
            relaying: None,
            unread: (!first.is_empty()).then(|| Unread { bytes: first.into_boxed_slice(), at: 0 }),
            deadline: None,
            permit,
        };
        connections::begin(token, Box::new(connection));
    }

    fn inbox(&self) -> &Inbox {
        self.registration.handle.inbox()
    }

    /// Reads and routes what is there. Gives up after one full buffer, or a turn's work, so that others get their turn.
    fn read(&mut self, cx: &mut Context<'_>, budget: &Budget) {
        let mut emptied = false;
        loop {
            if self.relaying.is_some() {
                return self.registration.handle.wake_here();
            }
            match self.phase {
                Phase::Flushing | Phase::Over => return,
                // The rest stays with the kernel, which stops the peer. It still reads our last frame; a reset might overtake
                // that.
                Phase::Draining | Phase::HalfClosed if self.scrap as usize >= MAX_SCRAP => {
                    return self.linger();
                }
                Phase::Settling | Phase::Open
                    if self.phase == Phase::Settling
                        || self.registration.handle.is_stopped()
                        || self.registration.app.must_pause(&self.registration.handle) =>
                {
                    // The embedder may take its time: room that is kept for it would be missing to others.
                    self.inbox()
                        .intake()
                        .into_iter()
                        .for_each(|intake| intake.make_room(&self.registration.handle));
                    return;
                }
                _ => {}
            }
            if let Some(mut unread) = self.unread.take() {
                let rest = &mut unread.bytes[unread.at..];
                let (taken, reflected) = self.take_in(rest, budget);
                self.send_back(&rest[reflected.range], reflected.messages);
                unread.at += taken;
                if unread.at < unread.bytes.len() {
                    self.unread = Some(unread);
                    return self.go_on();
                }
                if budget.is_spent() {
                    return self.registration.handle.wake_here();
                }
                continue;
            }
            if emptied {
                if !self.socket.poll_read_ready(cx) {
                    return;
                }
                self.send_back_own();
            }
            let size = self.inbox().limits.read_buffer_bytes;
            let read = shared_buffer::read(size, self.registration.token, |buffer| {
                let len = self.socket.try_read(buffer)?;
                if len == 0 {
                    return Ok((0, Reflected::default()));
                }
                self.registration.handle.mark_alive();
                if matches!(self.phase, Phase::Draining | Phase::HalfClosed) {
                    self.scrap = self.scrap.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
                }
                let (taken, reflected) = self.take_in(&mut buffer[..len], budget);
                if taken < len {
                    self.unread = Some(Unread { bytes: buffer[taken..len].into(), at: 0 });
                }
                Ok((len, reflected))
            });
            match read {
                Ok(read) if read.len == 0 => return self.ended(),
                Ok(read) if read.filled || self.unread.is_some() => return self.go_on(),
                Ok(_) => emptied = true,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => emptied = true,
                    io::ErrorKind::Interrupted => {}
                    _ => return self.lost(),
                },
            }
        }
    }

    /// True if messages that it relayed before have to be answered first.
    fn must_wait(&self) -> bool {
        self.inbox().intake().is_some_and(|intake| intake.must_wait(&self.registration.handle))
    }

    /// Has another turn, unless its messages are to wait until it is called.
    fn go_on(&self) {
        if self.phase != Phase::Open || !self.registration.handle.is_held() {
            self.registration.handle.wake_here();
        }
    }

    /// Sends back what of this turn's reads waits for that. To be called before anything else is written, and before more
    /// is read.
    fn send_back_own(&self) {
        shared_buffer::take_own(self.registration.token, |frames, messages| self.send_back(frames, messages));
    }

    fn send_back(&self, frames: &[u8], messages: u32) {
        if !frames.is_empty() {
            let writer = self.registration.handle.writer();
            // The rest is in the outbox now.
            match writer.write_directly(frames, messages, &self.socket, self.inbox()) {
                Flushed::Drained => self.drained(),
                Flushed::Lost => self.registration.handle.declare_lost(),
                Flushed::Done | Flushed::Blocked | Flushed::More => {}
            }
        }
    }

    /// Routes bytes that were read, one frame at least and as many as the turn and the embedder have room for. Returns how
    /// many, and the echoes that are to be sent back.
    fn take_in(&mut self, bytes: &mut [u8], budget: &Budget) -> (usize, Reflected) {
        let mut reflected = Reflected::default();
        let taken = self.walk(bytes, &mut reflected, budget);
        (taken, reflected)
    }

    fn walk(&mut self, bytes: &mut [u8], reflected: &mut Reflected, budget: &Budget) -> usize {
        let max_payload = self.inbox().limits.max_payload;
        let mut at = 0;
        while at < bytes.len() {
            if !matches!(self.phase, Phase::Open | Phase::Closing) {
                // Nobody wants the rest.
                return bytes.len();
            }
            if self.phase == Phase::Open && self.must_wait() {
                return at;
            }
            at += match self.incomplete.next(&mut bytes[at..], max_payload) {
                Step::Whole(whole) => {
                    self.whole(bytes, at, &whole, reflected, budget);
                    whole.len
                }
                Step::Taken(len) => {
                    input::charge_frame(len);
                    self.incomplete.count_in(&self.registration.handle.inbox().memory);
                    len
                }
                Step::Message(len, assembled) => {
                    input::charge_frame(len);
                    self.message(assembled.message(), budget);
                    incomplete::recycle(assembled);
                    len
                }
                Step::Control(len, control) => {
                    input::charge_frame(len);
                    self.control(control.opcode, control.payload());
                    len
                }
                Step::Broken(violation) => {
                    self.fail(violation);
                    return bytes.len();
                }
            };
            // Input that is too much for the embedder waits as it came, in the fewest bytes.
            if self.relaying.is_some()
                || budget.is_spent()
                || (self.phase == Phase::Open && self.registration.handle.is_stopped())
            {
                break;
            }
        }
        at
    }

    /// Writes what waits. False if the kernel takes no more now.
    fn flush(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match self.registration.handle.writer().flush(&self.socket, self.inbox()) {
                Flushed::Done => return true,
                Flushed::Drained => {
                    self.drained();
                    return true;
                }
                Flushed::More => {
                    self.registration.handle.wake_here();
                    return false;
                }
                Flushed::Blocked => {
                    if !self.socket.poll_write_ready(cx) {
                        return false;
                    }
                    self.registration.handle.writer().unblock();
                }
                // In another turn: what the peer said before it left is read first.
                Flushed::Lost => {
                    self.registration.handle.declare_lost();
                    return false;
                }
            }
        }
    }
}

impl Connection {
    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.registration.handle
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The unfinished part of its input.
    pub(super) fn incomplete(&self) -> &Incomplete {
        &self.incomplete
    }

    /// All that waited for its client is written.
    pub(super) fn drained(&self) {
        self.registration.app.on_drain(&self.registration.handle);
    }

    /// What it holds that counts: bytes that wait for its client, if that is behind, and those of its unfinished messages: the
    /// one that is not complete, and the one that is on its way to many rooms.
    pub(super) fn holding(&self) -> (usize, usize) {
        let relaying = self.relaying.as_ref().map_or(0, |relaying| relaying.counted());
        (self.registration.handle.writer().behind().unwrap_or(0), self.incomplete.counted() + relaying)
    }

    /// The bytes among them that have not moved for a while. A message whose next bytes lie unread with us has.
    pub(super) fn stuck(&self) -> usize {
        let relaying = self.relaying.as_ref().map_or(0, |relaying| relaying.stuck());
        let incomplete = self.incomplete.stuck();
        let incomplete = if incomplete > 0 && self.has_unread() { 0 } else { incomplete };
        self.registration.handle.writer().stuck() + relaying + incomplete
    }

    /// True if there are bytes from its peer that it has not taken in.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.is_some() || self.socket.has_unread()
    }

    /// See [`connections::look_ahead`].
    pub(super) fn glance(&self) -> u32 {
        u32::from(self.unread.is_some())
            ^ self.phase as u32
            ^ self.registration.token as u32
            ^ u32::from(self.incomplete.assembler().is_idle())
    }

    /// True if its peer has left, its seat is wanted, and it waits for others before it goes on: for Redis, JavaScript, or the peer. Or
    /// for its turn, if those are `late`. It is to be lost then.
    pub(super) fn outstays(&mut self, late: bool) -> bool {
        (self.socket.has_left() || self.registration.handle.has_left())
            && self.permit.outstays()
            && (late || self.registration.handle.is_stopped() || self.phase != Phase::Open)
    }

    /// Loses it outside its turns, and whatever it has left to do.
    pub(super) fn shed_now(&mut self) {
        self.registration.handle.enter();
        self.lost();
        self.registration.handle.leave();
    }

    /// Does what there is to do. True if the connection is over, and to be dropped.
    pub(super) fn turn(&mut self, budget: &Budget) -> bool {
        // Only a bridge wakes it by a waker: the poller knows its place.
        if self.socket.is_bridge() {
            let waker = Waker::from(self.registration.handle.clone());
            self.take_turn(&mut Context::from_waker(&waker), budget)
        } else {
            self.take_turn(&mut Context::from_waker(Waker::noop()), budget)
        }
    }

    fn take_turn(&mut self, cx: &mut Context<'_>, budget: &Budget) -> bool {
        let commands = self.registration.handle.enter();
        if !self.gives_up(commands)
            && let Some(relaying) = &mut self.relaying
        {
            if self.registration.app.relay_on(&self.registration.handle, relaying, budget) {
                self.relaying = None;
            } else if self.is_to_go(cx) {
                self.lost();
                self.registration.handle.leave();
                return true;
            } else if !self.gives_up(commands) {
                if !self.registration.handle.is_held() {
                    self.registration.handle.wake_here();
                }
                // Nobody else writes what is pushed to it in its own turns.
                if !self.registration.handle.writer().is_clear() {
                    self.flush(cx);
                }
                self.registration.handle.leave();
                return false;
            }
        }
        if !commands.is_empty() {
            self.apply(commands);
        }
        if commands.lost() {
            self.socket.look_again();
        }
        if self.phase != Phase::Over {
            self.read(cx, budget);
        }
        if commands.overdue() && self.phase == Phase::Open && self.incomplete.assembler().is_timed() {
            // Not complete after the read either.
            self.fail(Violation::TOO_SLOW);
        }
        if commands.lost() && self.phase != Phase::Over {
            // After the read: what the peer said before it left is heard.
            let is_unread =
                self.phase == Phase::Open && self.unread.is_some() && !self.registration.handle.is_stopped();
            if is_unread || self.relaying.is_some() {
                self.registration.handle.declare_lost();
            } else {
                self.lost();
            }
        }
        // Asked once: what is pushed from here on is for the flusher, which comes after what is sent back.
        let is_clear = self.registration.handle.writer().is_clear();
        if !is_clear || self.phase != Phase::Open {
            self.send_back_own();
        }
        let flushed = is_clear
            || self.phase == Phase::Over
            || (self.flush(cx)
                && (matches!(self.phase, Phase::Open | Phase::Settling) || self.socket.poll_passed_on(cx)));
        if flushed && matches!(self.phase, Phase::Flushing | Phase::Draining) {
            self.end_writing(cx);
        }
        if self.phase != Phase::Over && self.deadline_has_passed() {
            if self.phase == Phase::Settling {
                self.conclude_at_last();
                self.registration.handle.wake_here();
            } else {
                self.over(!flushed);
            }
        }
        if self.phase != Phase::Over && self.is_to_go(cx) {
            self.lost();
        }
        self.registration.handle.leave();
        self.phase == Phase::Over
    }
}
