//! The writing side of a connection: its send queue, and the one way in which it is emptied.
//!
//! Any thread may push; only the connection's worker writes: itself at the end of its turn, and the flusher
//! for what others pushed. The rest that the kernel doesn't take goes back to the front, and the connection waits for room.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::inbox::Inbox;
use super::memory::{GRAIN, Memory};
use super::outgoing::Frames;
use super::progress::Progress;
use super::send_queue::{Dropped, SendQueue};
use super::socket::Socket;
use super::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

/// The number of times that a send queue is emptied in one go, if another thread fills it meanwhile.
const MAX_ROUNDS: usize = 4;
/// Bytes that are written in one go to a client that takes them as fast: others wait meanwhile.
const MAX_BYTES: usize = 256 * 1024;
/// The number of times its limit that a send queue may take before the kernel has refused anything: bytes that were not offered to a
/// client say nothing about how it reads.
const UNOFFERED: usize = 8;
/// Bytes of control frames that may wait beyond the limit of the messages.
const MAX_CONTROL_BYTES: usize = 64 * 1024;
/// Bytes that a connection which is evicted may keep, so that the frame that is half out and the reason still come.
pub(super) const LEFTOVER: usize = 16 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Writer {
    state: Mutex<WriterState>,
    /// Nothing waits here, and messages are taken: its worker's writes overtake none of them now. Changed under the lock,
    /// and set by the worker alone.
    clear: AtomicBool,
    /// The connection is its user's only one. Changed under the lock of the user's group.
    sole: AtomicBool,
}

#[derive(Debug)]
struct WriterState {
    /// None while there is nothing in it, which is most of the time.
    send_queue: Option<Box<SendQueue>>,
    /// Bytes in the send queue and in the write that is under way.
    queued: usize,
    /// Somebody will empty the send queue without being told: a push need not wake.
    scheduled: bool,
    /// A send queue was taken and is not wholly written yet: nothing that came later may be.
    writing: bool,
    /// Nothing may be written before the connection has seen that there is room.
    blocked: bool,
    /// The kernel has refused bytes since the send queue was last empty: the client is behind.
    behind: bool,
    /// No more messages are taken. Guarded by the lock, so that none can slip in behind the close frame.
    shut: bool,
    /// The embedder has seen that something waits, and is told when nothing does.
    watched: bool,
    /// The messages for which there was no room, and their bytes. They count as dropped.
    overflow: (u32, u32),
    /// Bytes that [`Memory`] counts for it.
    counted: u32,
    /// While the client is behind: when it became that, or the kernel last took bytes since.
    progress: Progress,
}

impl WriterState {
    /// The kernel took so many bytes.
    fn took(&mut self, bytes: usize) {
        self.queued -= bytes;
        if self.behind && bytes > 0 {
            self.progress = Progress::now();
        }
    }

    /// The kernel took no more.
    fn refused(&mut self) {
        self.blocked = true;
        if !std::mem::replace(&mut self.behind, true) {
            self.progress = Progress::now();
        }
    }

    /// Something was pushed: counts it, unless the next write is yet to find out whether the client is behind.
    fn count_pushed(&mut self, memory: &Arc<Memory>) {
        if self.behind && self.blocked {
            self.count_in(memory, GRAIN);
        }
    }

    /// Counts what the send queue holds for a client that is behind, if that is `grain` bytes off from what was counted.
    fn count_in(&mut self, memory: &Arc<Memory>, grain: usize) {
        if let Some(send_queue) = &mut self.send_queue {
            send_queue.count_in(memory);
            if send_queue.own().abs_diff(self.counted as usize) >= grain {
                memory.recount(&mut self.counted, send_queue.own());
            }
        }
    }
}

/// The result of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Push {
    /// Queued. `wake`: the worker has to be told. `press`: so much is by now that it shall look at once.
    Queued { wake: bool, press: bool },
    /// There was no room. No further message is taken, or the client would see a gap.
    Full,
    /// Messages are no longer taken.
    Shut,
}

/// The result of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// The send queue is empty; a push wakes.
    Done,
    /// The same, and the embedder may wait for it: the client was behind, or was [watched](Writer::watch).
    Drained,
    /// The connection has to wait until the socket is writable, and then say so.
    Blocked,
    /// Others push as fast as we write: to be called again, after everybody else had a turn.
    More,
    /// The peer is gone.
    Lost,
}

impl Writer {
    /// A writer that gathers, until [`Writer::unblock`].
    pub(super) fn new() -> Self {
        let state = WriterState {
            send_queue: None,
            queued: 0,
            scheduled: true,
            writing: false,
            blocked: true,
            behind: false,
            shut: false,
            watched: false,
            overflow: (0, 0),
            counted: 0,
            progress: Progress::now(),
        };
        Writer { state: Mutex::new(state), clear: AtomicBool::new(false), sole: AtomicBool::new(false) }
    }

    /// Queues the frames of a message, or of a few. They always fit an empty send queue, and `limit` bytes one whose client is behind.
    pub(super) fn push(&self, frames: &Frames<'_>, limit: usize, memory: &Arc<Memory>) -> Push {
        let len = frames.wire_len();
        let mut state = self.state.lock();
        if state.shut {
            return Push::Shut;
        }
        self.clear.store(false, Ordering::Release);
        let queued = state.queued + len;
        if queued > limit && state.queued > 0 && (state.behind || queued > limit.saturating_mul(UNOFFERED)) {
            state.shut = true;
            state.overflow = (frames.messages(), u32::try_from(len).unwrap_or(u32::MAX));
            return Push::Full;
        }
        let press = state.queued < limit / 2 && queued >= limit / 2;
        state.queued = queued;
        state.send_queue.get_or_insert_with(SendQueue::spare).push(frames);
        state.count_pushed(memory);
        Push::Queued { wake: !std::mem::replace(&mut state.scheduled, true), press }
    }

    /// Notes whether the connection is its user's only one.
    pub(super) fn set_sole(&self, sole: bool) {
        self.sole.store(sole, Ordering::Release);
    }

    /// See [`Writer::clear`]: if not, the connection has to flush before its turn is over.
    pub(super) fn is_clear(&self) -> bool {
        self.clear.load(Ordering::Acquire)
    }

    /// For the connection's own turn, with a message that is for its user: whether it may be written past the send queue, by
    /// [`Writer::write_directly`] before anything else is written. Nobody else is to get it, and nothing waits that it would
    /// overtake; messages that others push from here on come behind.
    pub(crate) fn may_write_directly(&self) -> bool {
        self.sole.load(Ordering::Acquire) && self.is_clear()
    }

    /// Stops taking messages; control frames still are.
    pub(super) fn shut(&self) {
        let mut state = self.state.lock();
        state.shut = true;
        self.clear.store(false, Ordering::Release);
    }

    /// Queues encoded control frames, past the limit: a client that provokes many is found slow. Answers whether to wake.
    pub(super) fn push_control(&self, frames: &[u8], memory: &Arc<Memory>) -> bool {
        self.queue_control(&mut self.state.lock(), frames, memory)
    }

    /// The same for a ping of the embedder's. None if messages are no longer taken.
    pub(super) fn push_ping(&self, frame: &[u8], memory: &Arc<Memory>) -> Option<bool> {
        let mut state = self.state.lock();
        (!state.shut).then(|| self.queue_control(&mut state, frame, memory))
    }

    /// True if so much waits, control frames included, that the client counts as slow: more than `limit` if it is behind, else
    /// as much more as [`Writer::push`] takes. No more messages are taken then.
    pub(super) fn overflows(&self, limit: usize) -> bool {
        let mut state = self.state.lock();
        let limit = if state.behind { limit } else { limit.saturating_mul(UNOFFERED) };
        let overflows = state.queued > limit.saturating_add(MAX_CONTROL_BYTES);
        if overflows {
            state.shut = true;
        }
        overflows
    }

    fn queue_control(&self, state: &mut WriterState, frames: &[u8], memory: &Arc<Memory>) -> bool {
        self.clear.store(false, Ordering::Release);
        state.queued += frames.len();
        state.send_queue.get_or_insert_with(SendQueue::spare).push_control(frames);
        state.count_pushed(memory);
        !std::mem::replace(&mut state.scheduled, true)
    }

    /// Writes all that the kernel takes. For the worker only. The lock is not held while the kernel works.
    pub(super) fn flush(&self, socket: &Socket, inbox: &Inbox) -> Flushed {
        match self.take() {
            Ok((send_queue, _)) => self.write(send_queue, socket, inbox),
            Err(flushed) => flushed,
        }
    }

    /// Writes the frames of so many messages. The rest that the kernel doesn't take goes to the send queue.
    pub(super) fn write_directly(
        &self,
        frames: &[u8],
        messages: u32,
        socket: &Socket,
        inbox: &Inbox,
    ) -> Flushed {
        let sent = socket.try_write(&[IoSlice::new(frames)]).unwrap_or(0);
        inbox.counters.bytes_out.add(sent as u64);
        if sent == frames.len() {
            inbox.counters.messages_out.add(messages.into());
            return Flushed::Done;
        }
        {
            let mut state = self.state.lock();
            debug_assert!(!state.blocked && !state.writing, "nothing of its own was ahead of it");
            self.clear.store(false, Ordering::Release);
            state.queued += frames.len() - sent;
            state.writing = true;
        }
        // This also finds out why.
        self.write(SendQueue::begun(frames, messages, sent), socket, inbox)
    }

    /// The first half of a flush: takes what waits, and says how many bytes that are. It has to go to [`Writer::write`], before
    /// anything else is written. Err: there is nothing to do, also because what was taken before is not written yet, and who
    /// writes that looks again.
    pub(crate) fn take(&self) -> Result<(Box<SendQueue>, usize), Flushed> {
        let mut state = self.state.lock();
        if state.blocked {
            return Err(Flushed::Blocked);
        }
        if state.writing {
            return Err(Flushed::Done);
        }
        let send_queue = self.next(&mut state)?;
        Ok((send_queue, state.queued))
    }

    /// Takes the frames that wait; if none do, all is written.
    fn next(&self, state: &mut WriterState) -> Result<Box<SendQueue>, Flushed> {
        state.scheduled = false;
        state.writing = state.send_queue.is_some();
        self.clear.store(!state.writing && !state.shut, Ordering::Release);
        match state.send_queue.take() {
            Some(send_queue) => Ok(send_queue),
            None if std::mem::take(&mut state.behind) | std::mem::take(&mut state.watched) => {
                Err(Flushed::Drained)
            }
            None => Err(Flushed::Done),
        }
    }

    /// The other half.
    pub(super) fn write(&self, mut send_queue: Box<SendQueue>, socket: &Socket, inbox: &Inbox) -> Flushed {
        for _ in 0..MAX_ROUNDS {
            let mut sent = 0;
            while !send_queue.is_empty() {
                match send_queue.with_slices(|slices| socket.try_write(slices)) {
                    Ok(n) if n > 0 => {
                        send_queue.advance(n);
                        sent += n;
                        if sent >= MAX_BYTES && !send_queue.is_empty() {
                            drop(self.put_back(send_queue, sent, inbox));
                            return Flushed::More;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let mut state = self.put_back(send_queue, sent, inbox);
                        state.refused();
                        state.count_in(&inbox.memory, 0);
                        return Flushed::Blocked;
                    }
                    // EPIPE, ECONNRESET: not "later", but the end.
                    _ => {
                        self.put_back(send_queue, sent, inbox).blocked = true;
                        return Flushed::Lost;
                    }
                }
            }
            inbox.counters.bytes_out.add(sent as u64);
            inbox.counters.messages_out.add(u64::from(send_queue.messages()));
            send_queue.recycle();
            let mut state = self.state.lock();
            state.took(sent);
            send_queue = match self.next(&mut state) {
                Ok(newer) => newer,
                Err(flushed) => {
                    inbox.memory.recount(&mut state.counted, 0);
                    return flushed;
                }
            };
        }
        drop(self.put_back(send_queue, 0, inbox));
        Flushed::More
    }

    fn put_back(
        &self,
        mut send_queue: Box<SendQueue>,
        sent: usize,
        inbox: &Inbox,
    ) -> MutexGuard<'_, WriterState> {
        inbox.counters.bytes_out.add(sent as u64);
        inbox.counters.messages_out.add(send_queue.take_written());
        let mut state = self.state.lock();
        state.took(sent);
        state.scheduled = true;
        state.writing = false;
        if let Some(newer) = state.send_queue.take() {
            send_queue.append(*newer);
        }
        state.send_queue = Some(send_queue);
        state
    }

    /// There is room again.
    pub(crate) fn unblock(&self) {
        self.state.lock().blocked = false;
    }

    /// Drops every frame that is not half out.
    pub(super) fn cut(&self, memory: &Memory) -> Dropped {
        let mut state = self.state.lock();
        let mut dropped = state.send_queue.as_mut().map(|send_queue| send_queue.cut()).unwrap_or_default();
        let own = state.send_queue.as_ref().map_or(0, |send_queue| send_queue.own());
        memory.recount(&mut state.counted, own);
        state.queued = state.queued.saturating_sub(dropped.bytes as usize);
        let (messages, bytes) = std::mem::take(&mut state.overflow);
        dropped.messages += u64::from(messages);
        dropped.bytes += u64::from(bytes);
        dropped
    }

    /// Bytes not yet handed to the kernel.
    pub(super) fn queued(&self) -> usize {
        self.state.lock().queued
    }

    /// The same; if there are any, [`Flushed::Drained`] tells when there are none.
    pub(super) fn watch(&self) -> usize {
        let mut state = self.state.lock();
        state.watched |= state.queued > 0;
        state.queued
    }

    /// Bytes that wait for the client. None unless it is behind.
    pub(super) fn behind(&self) -> Option<usize> {
        let state = self.state.lock();
        state.behind.then_some(state.queued)
    }

    /// The same, if the kernel has taken none of them for a while. For the worker only.
    pub(super) fn stuck(&self) -> usize {
        let state = self.state.lock();
        if state.behind && state.progress.is_stuck() { state.queued } else { 0 }
    }

    /// Bytes of memory that would be free without its send queue. Costs a walk over the large frames in it.
    pub(super) fn own(&self) -> usize {
        let state = self.state.lock();
        state.send_queue.as_ref().map_or(state.counted as usize, |send_queue| send_queue.own_and_unshared())
    }

    /// Gives up; answers how many messages were not sent.
    pub(super) fn abandon(&self, memory: &Memory) -> u64 {
        let mut state = self.state.lock();
        memory.recount(&mut state.counted, 0);
        state.queued = 0;
        let (overflow, _) = std::mem::take(&mut state.overflow);
        u64::from(overflow) + state.send_queue.take().map_or(0, |send_queue| u64::from(send_queue.messages()))
    }
}
