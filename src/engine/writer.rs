//! The writing side of a connection: its outbox, and the one way in which it is emptied.
//!
//! Any thread may push; only the connection's worker writes: its task at the end of its turn, and the pacer
//! for what others pushed. What the kernel doesn't take goes back to the front, and the task waits for room.

use std::io;

use parking_lot::Mutex;

use super::frame::Frame;
use super::outbox::{Dropped, Outbox};
use super::socket::Socket;
use super::stats::WorkerCounters;

/// See the module.
#[derive(Debug)]
pub(super) struct Writer(Mutex<State>);

#[derive(Debug)]
struct State {
    outbox: Outbox,
    /// Bytes in the outbox and in the write that is under way.
    queued: usize,
    /// Somebody will empty the outbox without being told: a push need not wake.
    scheduled: bool,
    /// Nothing may be written before the task has seen that there is room.
    blocked: bool,
}

/// What came of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Push {
    /// Queued; the worker has to be told.
    Wake,
    /// Queued; it will be seen.
    Scheduled,
    /// There was no room.
    Full,
}

/// What came of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// The outbox is empty; a push wakes.
    Done,
    /// The task has to wait until the socket is writable, and then say so.
    Blocked,
    /// The peer is gone.
    Lost,
}

impl Writer {
    /// A writer that gathers, until [`Writer::unblock`].
    pub(super) fn new() -> Self {
        Writer(Mutex::new(State { outbox: Outbox::default(), queued: 0, scheduled: true, blocked: true }))
    }

    /// Queues a message's frame. One frame always fits an empty outbox.
    pub(super) fn push(&self, frame: &Frame<'_>, limit: usize) -> Push {
        let len = frame.wire_len();
        let mut state = self.0.lock();
        if state.queued > 0 && state.queued + len > limit {
            return Push::Full;
        }
        state.queued += len;
        state.outbox.push(frame);
        if std::mem::replace(&mut state.scheduled, true) { Push::Scheduled } else { Push::Wake }
    }

    /// Queues encoded control frames, past the limit: there are never many. Answers whether to wake.
    pub(super) fn push_control(&self, frames: &[u8]) -> bool {
        let mut state = self.0.lock();
        state.queued += frames.len();
        state.outbox.push_control(frames);
        !std::mem::replace(&mut state.scheduled, true)
    }

    /// Writes all that the kernel takes. For the worker only. The lock is not held while the kernel works.
    pub(super) fn flush(&self, socket: &Socket, counters: &WorkerCounters) -> Flushed {
        let mut sent = 0;
        loop {
            let mut outbox = {
                let mut state = self.0.lock();
                state.queued -= sent;
                if state.blocked {
                    return Flushed::Blocked;
                }
                state.scheduled = false;
                std::mem::take(&mut state.outbox)
            };
            if outbox.is_empty() {
                return Flushed::Done;
            }
            sent = 0;
            while !outbox.is_empty() {
                match outbox.with_slices(|slices| socket.try_write(slices)) {
                    Ok(n) if n > 0 => {
                        outbox.advance(n);
                        sent += n;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        counters.bytes_out.add(sent as u64);
                        self.put_back(outbox, sent);
                        return Flushed::Blocked;
                    }
                    // EPIPE, ECONNRESET: not "later", but the end.
                    _ => {
                        self.put_back(outbox, sent);
                        return Flushed::Lost;
                    }
                }
            }
            counters.bytes_out.add(sent as u64);
            counters.messages_out.add(u64::from(outbox.messages()));
        }
    }

    fn put_back(&self, outbox: Outbox, sent: usize) {
        let mut state = self.0.lock();
        state.queued -= sent;
        state.scheduled = true;
        state.blocked = true;
        let newer = std::mem::replace(&mut state.outbox, outbox);
        state.outbox.append(newer);
    }

    /// There is room again.
    pub(super) fn unblock(&self) {
        self.0.lock().blocked = false;
    }

    /// Drops every frame that is not half out.
    pub(super) fn cut(&self) -> Dropped {
        let mut state = self.0.lock();
        let dropped = state.outbox.cut();
        state.queued = state.queued.saturating_sub(dropped.bytes as usize);
        dropped
    }

    /// Bytes not yet handed to the kernel.
    pub(super) fn queued(&self) -> usize {
        self.0.lock().queued
    }

    /// Gives up; answers how many messages were not sent.
    pub(super) fn abandon(&self) -> u64 {
        let mut state = self.0.lock();
        state.queued = 0;
        u64::from(std::mem::take(&mut state.outbox).messages())
    }
}
