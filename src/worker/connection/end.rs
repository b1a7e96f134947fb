//! How a connection ends: by either side's close frame, by a command, with its peer, or because its time is up.
//!
//! | begins with | leads to |
//! |---|---|
//! | our close frame ([`Connection::begin_close`]) | `Closing`: the peer's is awaited |
//! | the peer's last word: a close frame, its end, a violation ([`Connection::conclude`]) | `Settling`, if JavaScript may have an answer to what came before; then `Flushing` or `Draining` |
//! | a socket that failed ([`Connection::lost`]), a termination, a deadline | `Over` |

use std::task::{Context, Waker};

use codes::close::{self, ClosedBy};
use protocol::assembler::Violation;
use protocol::frame;
use tokio::time::Instant;

use super::{Connection, Phase};
use crate::worker::handle::Commands;
use crate::worker::scheduler::Budget;
use crate::worker::socket::LINGER;
use crate::worker::writer::LEFTOVER;

impl Connection {
    fn set_deadline(&mut self) {
        self.deadline = Some(Box::pin(tokio::time::sleep(self.inbox().limits.close_timeout)));
    }

    /// The deadline for JavaScript is that for the end as well, which gets a moment at least.
    fn keep_deadline(&mut self) {
        let least = Instant::now() + LINGER;
        if let Some(deadline) = &mut self.deadline
            && deadline.deadline() < least
        {
            deadline.as_mut().reset(least);
        }
    }

    /// Begins the close handshake from our side.
    fn begin_close(&mut self, code: u16, reason: &str) {
        if self.phase != Phase::Open {
            return;
        }
        self.registration.leave(code, reason, ClosedBy::Server);
        self.say_close(code, reason);
        self.phase = Phase::Closing;
        self.set_deadline();
    }

    fn say_close(&self, code: u16, reason: &str) {
        self.registration.handle.push_control(&frame::encode_close(code, reason));
    }

    /// The peer broke the rules (RFC 6455, section 7.1.7: fail the connection).
    pub(super) fn fail(&mut self, Violation { code, reason }: Violation) {
        self.conclude(code, reason, ClosedBy::Server);
    }

    /// The peer ended its direction. What it said before is still answered, in case that it reads on.
    pub(super) fn ended(&mut self) {
        self.conclude(close::ABNORMAL, "", ClosedBy::Network);
    }

    /// Nothing of the peer's counts any more: it began the close handshake or answered ours, left, or broke the rules. What it said
    /// before is answered first: if JavaScript has yet to deal with messages, the end waits for that.
    pub(super) fn conclude(&mut self, code: u16, reason: &str, by: ClosedBy) {
        self.incomplete.clear();
        if self.phase == Phase::Open && self.registration.app.must_settle(&self.registration.handle) {
            self.registration.will_end(code, reason, by);
            self.phase = Phase::Settling;
            self.set_deadline();
            return;
        }
        self.conclude_now(code, reason, by);
    }

    /// JavaScript has dealt with what the peer said last, or took too long.
    pub(super) fn conclude_at_last(&mut self) {
        if self.phase == Phase::Settling
            && let Some((code, reason, by)) = self.registration.take_end()
        {
            self.conclude_now(code, &reason, by);
        }
    }

    fn conclude_now(&mut self, code: u16, reason: &str, by: ClosedBy) {
        self.registration.leave(code, reason, by);
        let is_settled = self.phase == Phase::Settling;
        let is_first = self.phase == Phase::Open || is_settled;
        if is_first && by != ClosedBy::Network {
            self.say_close(code, reason);
        }
        match by {
            ClosedBy::Network if self.phase == Phase::HalfClosed => return self.over(false),
            ClosedBy::Server => self.phase = Phase::Draining,
            ClosedBy::Peer | ClosedBy::Network => self.phase = Phase::Flushing,
        }
        if is_settled {
            self.keep_deadline();
        } else if is_first || by != ClosedBy::Network {
            self.set_deadline();
        }
    }

    pub(super) fn apply(&mut self, commands: Commands) {
        self.registration.handle.done(commands);
        let (waiting, unfinished) = self.holding();
        // By now it may hold nothing.
        let evict = commands.evict() && waiting + unfinished > 0;
        if self.gives_up(commands) && self.relaying.take().is_some() {
            self.inbox().counters.messages_not_relayed.add(1);
        }
        if commands.terminate() {
            // With the code that it was to be closed with, if that comes only now.
            match self.registration.handle.take_close() {
                Some(request) => self.registration.leave(request.code, &request.reason, ClosedBy::Server),
                None => self.registration.leave(close::ABNORMAL, "", ClosedBy::Server),
            }
            return self.over(self.registration.handle.buffered() > 0);
        }
        let is_slow = commands.slow() || (evict && waiting >= unfinished);
        if is_slow && matches!(self.phase, Phase::Open | Phase::Settling) {
            self.shed();
        }
        // A peer that has said its last answers no ping either.
        if commands.settled() || is_slow || commands.close() {
            self.conclude_at_last();
        }
        if commands.dead() && self.phase == Phase::Open {
            tracing::debug!(id = self.registration.handle.id, "no answer to ping");
            // The frame is said for the record; nobody is likely to read it, so nothing is waited for.
            self.registration.leave(close::HEARTBEAT, "no answer to ping", ClosedBy::Network);
            self.say_close(close::HEARTBEAT, "no answer to ping");
            self.incomplete.clear();
            self.phase = Phase::Flushing;
            if self.socket.is_bridge() {
                self.set_deadline();
            } else {
                self.deadline = Some(Box::pin(tokio::time::sleep(std::time::Duration::ZERO)));
            }
            return;
        }
        if is_slow && self.phase == Phase::Open {
            self.say_close(close::SLOW_CONSUMER, "too slow");
            self.phase = Phase::Closing;
            self.set_deadline();
        }
        if evict && unfinished > 0 && matches!(self.phase, Phase::Open | Phase::Closing) {
            self.fail(Violation::NO_ROOM);
        }
        if evict && self.registration.handle.buffered() > LEFTOVER {
            // It would hold that until the deadline: a frame that is half out, or a close that its client doesn't take.
            return self.over(true);
        }
        if commands.close()
            && let Some(request) = self.registration.handle.take_close()
        {
            self.begin_close(request.code, &request.reason);
        }
    }

    /// Drops what waits for its client, and tells.
    fn shed(&mut self) {
        let is_told = self.registration.handle.is_seen() || self.registration.app.wants_slow();
        if is_told {
            self.registration.handle.mark_seen();
        }
        // Unless another end is to come.
        self.registration.leave(close::SLOW_CONSUMER, "too slow", ClosedBy::Server);
        let handle = &self.registration.handle;
        let (writer, inbox) = (handle.writer(), handle.inbox());
        // The kernel may have room for some of it, which is then not too much.
        writer.flush(&self.socket, inbox);
        let dropped = writer.cut(&inbox.memory);
        inbox.counters.messages_dropped.add(dropped.messages);
        tracing::info!(id = handle.id, messages = dropped.messages, bytes = dropped.bytes, "slow consumer");
        if is_told {
            self.registration.app.on_slow(handle, dropped);
        }
    }

    /// True if it gives up a message that is on its way to many rooms, for the rest may take long: for a connection that is to go
    /// for memory, or at once, or that ends while Redis has no room.
    pub(super) fn gives_up(&self, commands: Commands) -> bool {
        let ends = commands.dead() || commands.slow() || commands.close();
        commands.evict() || commands.terminate() || (ends && self.registration.handle.is_held())
    }

    /// The end, now. With `reset`, what the kernel still holds for the peer is thrown away.
    pub(super) fn over(&mut self, reset: bool) {
        if reset {
            self.socket.reset_on_drop();
        }
        self.phase = Phase::Over;
    }

    /// The socket failed or ended under us.
    pub(super) fn lost(&mut self) {
        if self.relaying.take().is_some() {
            self.inbox().counters.messages_not_relayed.add(1);
        }
        self.registration.leave(close::ABNORMAL, "", ClosedBy::Network);
        self.over(false);
    }

    /// At the end of a turn: see [`Connection::outstays`]. Otherwise the connection is woken when its peer leaves, though it doesn't
    /// read.
    pub(super) fn is_to_go(&mut self, cx: &mut Context<'_>) -> bool {
        if self.registration.handle.is_stopped() {
            self.socket.await_end(cx);
        }
        self.outstays(false)
    }

    /// Not more is read of a peer that was told its fault and goes on sending. It gets a moment to read that, for its end can't
    /// be seen any more.
    pub(super) fn linger(&mut self) {
        if self.phase == Phase::HalfClosed && self.scrap != u32::MAX {
            self.scrap = u32::MAX;
            self.deadline = Some(Box::pin(tokio::time::sleep(LINGER)));
        }
    }

    /// If there is a deadline that has not, it will wake the connection.
    pub(super) fn deadline_has_passed(&mut self) -> bool {
        let Some(deadline) = &mut self.deadline else { return false };
        let waker = Waker::from(self.registration.handle.clone());
        deadline.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
    }

    /// Everything is said.
    pub(super) fn end_writing(&mut self, cx: &mut Context<'_>) {
        self.socket.shutdown();
        if self.phase == Phase::Flushing {
            self.over(false);
        } else {
            self.phase = Phase::HalfClosed;
            // Asks a bridge to wake it for what the peer still sends.
            self.read(cx, &Budget::begin());
        }
    }
}
