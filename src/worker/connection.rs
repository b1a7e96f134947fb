//! A connection: what it does when its turn comes. Nobody else reads from it, drives its protocol or ends it.
//!
//! Its [`Endpoint`] decides; here are its socket, its time and its turns. Written by hand instead of as a task, so that an idle one
//! costs as little memory as its state. A turn carries out commands, reads what one `recv` brings, routes it, and flushes the send
//! queue once. All connections of a worker read into one [buffer](super::shared_buffer); what of it is to go back may stay there until
//! others have had their turns.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use protocol::endpoint::{Commands, Endpoint, Holding, Input, Phase};
use protocol::reflected::Reflected;
use tokio::time::Sleep;

use super::Worker;
use super::handle::Handle;
use super::inbox::Inbox;
use super::incomplete::{self, Kept};
use super::limiter::Permit;
use super::registration::Registration;
use super::relaying::Relaying;
use super::scheduler::Budget;
use super::socket::Socket;
use super::writer::Flushed;
use host::ConnectionHost;

mod host;
#[cfg(all(test, unix))]
mod tests;

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
    endpoint: Endpoint<Kept>,
    /// A message that is not relayed to all of its rooms yet. Nothing else is done before.
    relaying: Option<Box<Relaying>>,
    /// Bytes that were read and are not taken in yet: frames that came with the handshake, and what was too much for a turn.
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
        let mut connection = Connection::new(registration, socket, permit);
        connection.unread = (!first.is_empty()).then(|| Unread { bytes: first.into_boxed_slice(), at: 0 });
        super::with(|worker| worker.connections.begin(token, Box::new(connection), worker));
    }

    fn new(registration: Registration, socket: Socket, permit: Permit) -> Self {
        Connection {
            registration,
            socket,
            endpoint: Endpoint::default(),
            relaying: None,
            unread: None,
            deadline: None,
            permit,
        }
    }

    fn inbox(&self) -> &Inbox {
        self.registration.handle.inbox()
    }

    /// Tells its endpoint something, with the rest of the connection as host.
    #[inline]
    fn tell<R>(
        &mut self,
        budget: &Budget,
        worker: &Worker,
        tell: impl FnOnce(&mut Endpoint<Kept>, &mut ConnectionHost<'_>) -> R,
    ) -> R {
        let Connection { registration, socket, endpoint, relaying, deadline, .. } = self;
        tell(endpoint, &mut ConnectionHost { registration, socket, relaying, deadline, budget, worker })
    }

    /// Reads and routes what is there. Gives up after one full buffer, or a turn's work, so that others get their turn.
    fn read(&mut self, cx: &mut Context<'_>, budget: &Budget, worker: &Worker) {
        let limits = self.inbox().limits;
        let mut emptied = false;
        loop {
            if self.relaying.is_some() {
                return self.registration.handle.wake_on(worker);
            }
            match self.tell(budget, worker, |endpoint, host| endpoint.input(host)) {
                Input::Wanted => {}
                Input::Unwanted => return,
                Input::Paused => {
                    // The embedder may take its time: room that is kept for it would be missing to others.
                    let handle = &self.registration.handle;
                    return handle.inbox().intake().into_iter().for_each(|intake| intake.make_room(handle));
                }
            }
            if let Some(mut unread) = self.unread.take() {
                let rest = &mut unread.bytes[unread.at..];
                let (taken, reflected) = self
                    .tell(budget, worker, |endpoint, host| endpoint.on_bytes(rest, limits.max_payload, host));
                self.send_back(&rest[reflected.range], reflected.messages);
                unread.at += taken;
                if unread.at < unread.bytes.len() {
                    self.unread = Some(unread);
                    return self.go_on(worker);
                }
                if worker.scheduler.is_spent(budget) {
                    return self.registration.handle.wake_on(worker);
                }
                continue;
            }
            if emptied {
                if !self.socket.poll_read_ready(cx) {
                    return;
                }
                self.send_back_own(worker);
            }
            let read = worker.buffer.read(limits.read_buffer_bytes, self.registration.token, |buffer| {
                let len = self.socket.try_read(buffer)?;
                if len == 0 {
                    return Ok((0, Reflected::default()));
                }
                self.registration.handle.mark_alive();
                self.endpoint.on_read(len);
                let (taken, reflected) = self.tell(budget, worker, |endpoint, host| {
                    endpoint.on_bytes(&mut buffer[..len], limits.max_payload, host)
                });
                if taken < len {
                    self.unread = Some(Unread { bytes: buffer[taken..len].into(), at: 0 });
                }
                Ok((len, reflected))
            });
            match read {
                Ok(read) if read.len == 0 => {
                    return self.tell(budget, worker, |endpoint, host| endpoint.on_end(host));
                }
                Ok(read) if read.filled || self.unread.is_some() => return self.go_on(worker),
                Ok(_) => emptied = true,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => emptied = true,
                    io::ErrorKind::Interrupted => {}
                    _ => return self.tell(budget, worker, |endpoint, host| endpoint.on_failure(host)),
                },
            }
        }
    }

    /// Has another turn, unless its messages are to wait until it is called.
    fn go_on(&self, worker: &Worker) {
        if self.endpoint.phase() != Phase::Open || !self.registration.handle.is_held() {
            self.registration.handle.wake_on(worker);
        }
    }

    /// Sends back what of this turn's reads waits for that. To be called before anything else is written, and before more
    /// is read.
    fn send_back_own(&self, worker: &Worker) {
        worker.buffer.take_own(self.registration.token, |frames, messages| self.send_back(frames, messages));
    }

    fn send_back(&self, frames: &[u8], messages: u32) {
        if !frames.is_empty() {
            let writer = self.registration.handle.writer();
            // The rest is in the send queue now.
            match writer.write_directly(frames, messages, &self.socket, self.inbox()) {
                Flushed::Drained => self.drained(),
                Flushed::Lost => self.registration.handle.declare_lost(),
                Flushed::Done | Flushed::Blocked | Flushed::More => {}
            }
        }
    }

    /// Writes what waits. False if the kernel takes no more now.
    fn flush(&mut self, cx: &mut Context<'_>, worker: &Worker) -> bool {
        loop {
            match self.registration.handle.writer().flush(&self.socket, self.inbox()) {
                Flushed::Done => return true,
                Flushed::Drained => {
                    self.drained();
                    return true;
                }
                Flushed::More => {
                    self.registration.handle.wake_on(worker);
                    return false;
                }
                Flushed::Blocked => {
                    if !self.socket.poll_write_ready(cx) {
                        return false;
                    }
                    self.registration.handle.writer().unblock();
                }
                // In another turn: the peer's words before it left are read first.
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

    /// The protocol's part of it.
    pub(super) fn endpoint(&self) -> &Endpoint<Kept> {
        &self.endpoint
    }

    /// All that waited for its client is written.
    pub(super) fn drained(&self) {
        self.registration.app.on_drain(&self.registration.handle);
    }

    /// Bytes that it holds and that count: those that wait for its client, if that is behind, and those of its unfinished messages: the
    /// one that is not complete, and the one that is on its way to many rooms.
    pub(super) fn holding(&self) -> Holding {
        let relaying = self.relaying.as_ref().map_or(0, |relaying| relaying.counted());
        Holding {
            waiting: self.registration.handle.writer().behind().unwrap_or(0),
            unfinished: incomplete::counted(self.endpoint.assembler()) + relaying,
        }
    }

    /// The bytes among them that have not moved for a while. A message whose next bytes lie unread with us has.
    pub(super) fn stuck(&self) -> usize {
        let relaying = self.relaying.as_ref().map_or(0, |relaying| relaying.stuck());
        let incomplete = incomplete::stuck(self.endpoint.assembler());
        let incomplete = if incomplete > 0 && self.has_unread() { 0 } else { incomplete };
        self.registration.handle.writer().stuck() + relaying + incomplete
    }

    /// True if there are bytes from its peer that it has not taken in.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.is_some() || self.socket.has_unread()
    }

    /// See [`Connections::look_ahead`](super::connections::Connections::look_ahead).
    pub(super) fn glance(&self) -> u32 {
        u32::from(self.unread.is_some())
            ^ self.endpoint.phase() as u32
            ^ self.registration.token as u32
            ^ u32::from(self.endpoint.assembler().is_idle())
    }

    /// True if its peer has left, its seat is wanted, and it waits for others before it goes on: for Redis, JavaScript, or the
    /// peer. Or for its turn, if those are `late`. It is to be lost then.
    pub(super) fn outstays(&mut self, late: bool) -> bool {
        (self.socket.has_left() || self.registration.handle.has_left())
            && self.permit.outstays()
            && (late || self.registration.handle.is_stopped() || self.endpoint.phase() != Phase::Open)
    }

    /// At the end of a turn: see [`Connection::outstays`]. Otherwise the connection is woken when its peer leaves, though it doesn't
    /// read.
    fn is_to_go(&mut self, cx: &mut Context<'_>) -> bool {
        if self.registration.handle.is_stopped() {
            self.socket.await_end(cx);
        }
        self.outstays(false)
    }

    /// Loses it outside its turns, and whatever it has left to do.
    pub(super) fn shed_now(&mut self, worker: &Worker) {
        let _running = worker.run(&self.registration.handle);
        self.tell(&worker.scheduler.begin(), worker, |endpoint, host| endpoint.on_failure(host));
    }

    /// Does what there is to do. True if the connection is over, and to be dropped.
    pub(super) fn turn(&mut self, budget: &Budget, worker: &Worker) -> bool {
        let _running = worker.run(&self.registration.handle);
        // Only a bridge wakes it by a waker: the poller knows its place.
        if self.socket.is_bridge() {
            let waker = Waker::from(self.registration.handle.clone());
            self.take_turn(&mut Context::from_waker(&waker), budget, worker)
        } else {
            self.take_turn(&mut Context::from_waker(Waker::noop()), budget, worker)
        }
    }

    fn take_turn(&mut self, cx: &mut Context<'_>, budget: &Budget, worker: &Worker) -> bool {
        let commands = self.registration.handle.commands();
        if !commands.gives_up(|| self.registration.handle.is_held())
            && let Some(relaying) = &mut self.relaying
        {
            if self.registration.app.relay_on(&self.registration.handle, relaying, budget) {
                self.relaying = None;
            } else if self.is_to_go(cx) {
                self.tell(budget, worker, |endpoint, host| endpoint.on_failure(host));
                return true;
            } else if !commands.gives_up(|| self.registration.handle.is_held()) {
                if !self.registration.handle.is_held() {
                    self.registration.handle.wake_on(worker);
                }
                // Nobody else writes what is pushed to it in its own turns.
                if !self.registration.handle.writer().is_clear() {
                    self.flush(cx, worker);
                }
                return false;
            }
        }
        if !commands.is_empty() {
            self.registration.handle.done(commands);
            let holding = self.holding();
            self.tell(budget, worker, |endpoint, host| endpoint.on_commands(commands, holding, host));
        }
        if commands.has(Commands::LOST) {
            self.socket.look_again();
        }
        if self.endpoint.phase() != Phase::Over {
            self.read(cx, budget, worker);
        }
        if commands.has(Commands::OVERDUE) {
            // Not complete after the read either.
            self.tell(budget, worker, |endpoint, host| endpoint.on_overdue(host));
        }
        if commands.has(Commands::LOST) && self.endpoint.phase() != Phase::Over {
            // After the read: the peer's words before it left are heard.
            let is_unread = self.endpoint.phase() == Phase::Open
                && self.unread.is_some()
                && !self.registration.handle.is_stopped();
            if is_unread || self.relaying.is_some() {
                self.registration.handle.declare_lost();
            } else {
                self.tell(budget, worker, |endpoint, host| endpoint.on_failure(host));
            }
        }
        // Asked once: messages pushed from here on are for the flusher, which comes after those sent back.
        let is_clear = self.registration.handle.writer().is_clear();
        if !is_clear || self.endpoint.phase() != Phase::Open {
            self.send_back_own(worker);
        }
        let written = is_clear
            || self.endpoint.phase() == Phase::Over
            || (self.flush(cx, worker)
                && (matches!(self.endpoint.phase(), Phase::Open | Phase::Settling)
                    || self.socket.poll_passed_on(cx)));
        if self.endpoint.phase() != Phase::Open {
            self.go_on_ending(written, cx, budget, worker);
        }
        if self.endpoint.phase() != Phase::Over && self.is_to_go(cx) {
            self.tell(budget, worker, |endpoint, host| endpoint.on_failure(host));
        }
        self.endpoint.phase() == Phase::Over
    }

    fn go_on_ending(&mut self, written: bool, cx: &mut Context<'_>, budget: &Budget, worker: &Worker) {
        if written {
            let before = self.endpoint.phase();
            self.tell(budget, worker, |endpoint, host| endpoint.on_written(host));
            if self.endpoint.phase() == Phase::HalfClosed && before != Phase::HalfClosed {
                // Asks a bridge to wake it for what the peer still sends.
                self.read(cx, &worker.scheduler.begin(), worker);
            }
        }
        if self.endpoint.phase() != Phase::Over && self.deadline_has_passed() {
            self.tell(budget, worker, |endpoint, host| endpoint.on_deadline(written, host));
        }
    }

    /// If there is a deadline that has not, it will wake the connection.
    fn deadline_has_passed(&mut self) -> bool {
        let Some(deadline) = &mut self.deadline else { return false };
        let waker = Waker::from(self.registration.handle.clone());
        deadline.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
    }
}
