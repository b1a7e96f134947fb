//! The host of a connection's [`Endpoint`](protocol::endpoint): the socket's side, its time, and the application.

use std::pin::Pin;
use std::time::Duration;

use codes::close::{self, ClosedBy};
use protocol::assembler::Spares;
use protocol::endpoint::{self, CloseRequest, Deadline, Effect, Routed, SLOW};
use protocol::frame::Message;
use tokio::time::{Instant, Sleep, sleep};

use crate::worker::Worker;
use crate::worker::incomplete::{self, Kept};
use crate::worker::registration::Registration;
use crate::worker::relaying::Relaying;
use crate::worker::scheduler::{self, Budget};
use crate::worker::socket::{LINGER, Socket};
use crate::worker::writer::LEFTOVER;

/// The cost of a frame that is no whole message, as [`scheduler::charge`] counts, beside its bytes: a control frame, a fragment, a
/// part of a frame. The application charges messages.
const FRAME: u64 = 2;

/// See the module.
pub(super) struct ConnectionHost<'a> {
    pub registration: &'a mut Registration,
    pub socket: &'a mut Socket,
    pub relaying: &'a mut Option<Box<Relaying>>,
    pub deadline: &'a mut Option<Pin<Box<Sleep>>>,
    pub budget: &'a Budget,
    pub worker: &'a Worker,
}

impl ConnectionHost<'_> {
    fn set_deadline(&mut self, deadline: Deadline) {
        let timeout = self.registration.handle.inbox().limits.close_timeout;
        let after = match deadline {
            Deadline::NotBeforeLinger => {
                let least = Instant::now() + LINGER;
                if let Some(deadline) = self.deadline
                    && deadline.deadline() < least
                {
                    deadline.as_mut().reset(least);
                }
                return;
            }
            Deadline::Close => timeout,
            Deadline::Linger => LINGER,
            // A bridge takes its time to pass the frame on.
            Deadline::Offered if self.socket.is_bridge() => timeout,
            Deadline::Offered => Duration::ZERO,
        };
        *self.deadline = Some(Box::pin(sleep(after)));
    }

    /// Drops what waits for its client, and tells.
    fn shed(&mut self) {
        let Registration { app, handle, .. } = &mut *self.registration;
        let is_told = handle.is_seen() || app.wants_slow();
        if is_told {
            handle.mark_seen();
        }
        // Unless another end is to come.
        self.registration.leave(SLOW.0, SLOW.1, ClosedBy::Server);
        let Registration { app, handle, .. } = &*self.registration;
        let (writer, inbox) = (handle.writer(), handle.inbox());
        // The kernel may have room for some of it, which is then not too much.
        writer.flush(self.socket, inbox);
        let dropped = writer.cut(&inbox.memory);
        inbox.counters.messages_dropped.add(dropped.messages);
        let (id, remote) = (handle.id, handle.peer.remote());
        let (dropped_messages, dropped_bytes) = (dropped.messages, dropped.bytes);
        tracing::info!(id, remote, code = SLOW.0, dropped_messages, dropped_bytes, "slow consumer");
        if is_told {
            app.on_slow(handle, dropped);
        }
    }
}

impl endpoint::Host<Kept> for ConnectionHost<'_> {
    fn on_effect(&mut self, effect: Effect<'_>) {
        let handle = &self.registration.handle;
        match effect {
            Effect::Send(frame) => handle.push_control(frame),
            Effect::Answer(pong) => {
                handle.push_control(pong);
                // A flood of pings whose answers nobody reads.
                handle.bound_control(handle.inbox().limits.outbox_bytes);
            }
            Effect::Leave { code, reason, by } => {
                if code == close::HEARTBEAT {
                    tracing::debug!(id = handle.id, "no answer to ping");
                }
                self.registration.leave(code, reason, by);
            }
            Effect::WillLeave { code, reason, by } => self.registration.will_end(code, reason, by),
            Effect::Shed => self.shed(),
            Effect::GiveUp => {
                if self.relaying.take().is_some() {
                    handle.inbox().counters.messages_not_relayed.add(1);
                }
            }
            Effect::Wait(deadline) => self.set_deadline(deadline),
            Effect::Wake => handle.wake_on(self.worker),
            Effect::EndWriting => self.socket.shutdown(),
            Effect::Reset => self.socket.reset_on_drop(),
        }
    }

    #[inline]
    fn on_message(&mut self, message: Message<'_>, may_reflect: bool) -> Routed {
        let Registration { app, handle, .. } = &*self.registration;
        app.on_message(handle, message, may_reflect, self.relaying, self.budget)
    }

    fn on_late_message(&mut self) {
        self.registration.handle.inbox().counters.messages_after_close.add(1);
    }

    fn on_pong(&mut self, payload: &[u8]) {
        self.registration.app.on_pong(&self.registration.handle, payload);
    }

    fn on_progress(&mut self, bytes: usize, kept: &mut Kept) {
        incomplete::count_in(bytes, kept, &self.registration.handle.inbox().memory);
    }

    fn on_frame(&mut self, len: usize) {
        self.worker.scheduler.charge(FRAME + scheduler::bytes(len));
    }

    #[inline]
    fn must_wait(&mut self) -> bool {
        let handle = &self.registration.handle;
        handle.inbox().intake().is_some_and(|intake| intake.must_wait(handle))
    }

    #[inline]
    fn is_turn_over(&mut self) -> bool {
        self.relaying.is_some() || self.worker.scheduler.is_spent(self.budget)
    }

    #[inline]
    fn is_unwanted(&mut self) -> bool {
        self.registration.handle.is_stopped()
    }

    fn must_pause(&mut self) -> bool {
        let Registration { app, handle, .. } = &*self.registration;
        handle.is_stopped() || app.must_pause(handle)
    }

    fn must_settle(&mut self) -> bool {
        self.registration.app.must_settle(&self.registration.handle)
    }

    fn is_clear(&mut self) -> bool {
        self.registration.handle.writer().is_clear()
    }

    fn buffered(&mut self) -> usize {
        self.registration.handle.buffered()
    }

    fn is_held(&mut self) -> bool {
        self.registration.handle.is_held()
    }

    fn clings(&mut self) -> bool {
        self.registration.handle.buffered() > LEFTOVER
    }

    fn take_close(&mut self) -> Option<Box<CloseRequest>> {
        self.registration.handle.take_close()
    }

    fn take_end(&mut self) -> Option<(u16, Box<str>, ClosedBy)> {
        self.registration.take_end()
    }

    fn with_spares<R>(&mut self, call: impl FnOnce(&mut Spares<Kept>) -> R) -> R {
        call(&mut self.worker.spares.borrow_mut())
    }
}
