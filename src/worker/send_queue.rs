//! The send queue: what waits to be written to one connection. It is the outbox of the options (`limits.outboxBytes`).
//!
//! Bounded in bytes. Pushing never blocks and never writes; the connection's worker takes all that has gathered
//! and writes it with one vectored write, so a busy connection coalesces by itself and an idle one sends at once.
//! Every chunk is a sequence of whole frames; only the first can be partly written. Each chunk knows how many messages it
//! holds, so that no count walks over more frames than were written.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Deref;
use std::sync::Arc;

use protocol::frame;

use super::memory::{Memory, SharedFrame};
use super::outgoing::{Encoded, Frames};

/// Slices of one vectored write. Linux takes 1,024; more than this gains nothing.
const MAX_SLICES: usize = 64;
/// Emptied send queues that a worker keeps, with buffers of up to this size.
const SPARE_QUEUES: usize = 1024;
const SPARE_CAPACITY: usize = 4 * 1024;
/// First capacity of a gathering buffer, and its last: a full one is queued, so that its memory is free once it is written.
const FIRST_CAPACITY: usize = 256;
const LAST_CAPACITY: usize = 64 * 1024;
/// The cost of a chunk beyond its bytes: its place in the queue, and its share of the allocator's book-keeping.
const CHUNK: usize = 64;

/// Queues of a worker that are used again. Boxed because that is how connections hold them: an idle one holds none.
#[derive(Debug, Default)]
pub(super) struct SpareQueues(
    #[allow(clippy::vec_box, reason = "the boxes are what is kept")] RefCell<Vec<Box<SendQueue>>>,
);

/// Frames in the order in which they go out. Used both for what gathers and for what is being written.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    /// Whole chunks, oldest first.
    queue: VecDeque<Chunk>,
    /// Small frames gathered behind the queue.
    tail: Vec<u8>,
    tail_messages: u32,
    /// ChunkBytes of the first chunk (the tail if the queue is empty) that are written already.
    sent: usize,
    /// The beginning of the first of its frames that isn't known to be wholly written, and how many messages come before it.
    mark: (usize, u32),
    /// Messages wholly written that [`SendQueue::take_written`] has not answered yet.
    written: u32,
    /// Messages in here, and those.
    messages: u32,
    /// See [`SendQueue::own`].
    own: usize,
    /// Chunks at the front of which [`SendQueue::count_in`] knows.
    counted: usize,
}

#[derive(Debug)]
struct Chunk {
    bytes: ChunkBytes,
    messages: u32,
}

#[derive(Debug)]
enum ChunkBytes {
    /// Small frames, copied.
    Own(Vec<u8>),
    /// One large frame, or many small ones that others get as well.
    Shared(Arc<SharedFrame>),
}

impl Chunk {
    /// ChunkBytes of memory that go with it.
    fn own(&self) -> usize {
        CHUNK
            + match &self.bytes {
                ChunkBytes::Own(bytes) => bytes.capacity(),
                ChunkBytes::Shared(_) => 0,
            }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            ChunkBytes::Own(bytes) => bytes,
            ChunkBytes::Shared(frame) => frame,
        }
    }
}

/// The messages that [`SendQueue::cut`] dropped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Messages, control frames not counted.
    pub messages: u64,
    /// ChunkBytes on the wire.
    pub bytes: u64,
}

impl SendQueue {
    /// An empty send queue, if possible one that was [`recycled`](SendQueue::recycle) on this worker, with its buffer.
    pub(crate) fn spare() -> Box<SendQueue> {
        super::with(|worker| worker.queues.0.borrow_mut().pop()).flatten().unwrap_or_default()
    }

    /// A send queue with so many messages, of whose frames `sent` bytes are written already.
    pub(crate) fn begun(frames: &[u8], messages: u32, sent: usize) -> Box<SendQueue> {
        let mut send_queue = SendQueue::spare();
        send_queue.tail.extend_from_slice(frames);
        send_queue.own = frames.len();
        send_queue.sent = sent;
        send_queue.tail_messages = messages;
        send_queue.messages = messages;
        send_queue
    }

    /// Gives back a send queue that is empty.
    pub(crate) fn recycle(mut self: Box<Self>) {
        debug_assert!(self.is_empty() && self.own == 0);
        if self.tail.capacity() > SPARE_CAPACITY || self.queue.capacity() > MAX_SLICES {
            return;
        }
        (self.messages, self.written) = (0, 0);
        super::with(|worker| {
            let mut spare = worker.queues.0.borrow_mut();
            if spare.len() < SPARE_QUEUES {
                spare.push(self);
            }
        });
    }

    /// True if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.tail.is_empty()
    }

    /// Messages pushed since the send queue was new, less those that [`SendQueue::take_written`] has answered.
    pub(crate) fn messages(&self) -> u32 {
        self.messages
    }

    /// ChunkBytes of memory that nobody else holds.
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    /// The same, and the large frames that are in no other send queue.
    pub(crate) fn own_and_unshared(&self) -> usize {
        let unshared = self.queue.iter().filter_map(|chunk| match &chunk.bytes {
            ChunkBytes::Shared(frame) if Arc::strong_count(frame) == 1 => Some(frame.len()),
            _ => None,
        });
        self.own + unshared.sum::<usize>()
    }

    /// Counts the large frames that came since it was called last.
    pub(crate) fn count_in(&mut self, memory: &Arc<Memory>) {
        for chunk in self.queue.range(self.counted..) {
            if let ChunkBytes::Shared(frame) = &chunk.bytes {
                frame.count_in(memory);
            }
        }
        self.counted = self.queue.len();
    }

    /// After a write that was cut short: answers how many messages are wholly written, and counts them no more. Walks over
    /// the frames that were written since it was called last.
    pub(crate) fn take_written(&mut self) -> u64 {
        self.move_mark();
        let written = std::mem::take(&mut self.written);
        self.messages -= written.min(self.messages);
        u64::from(written)
    }

    /// Moves the mark to where it says it is. Answers how long the frame there is, and whether it is a message.
    fn move_mark(&mut self) -> (usize, bool) {
        let first = self.queue.front().map_or(&self.tail[..], |chunk| &**chunk);
        loop {
            let (len, is_message) =
                first.get(self.mark.0..).and_then(frame::first_frame).unwrap_or((usize::MAX, false));
            let end = self.mark.0.saturating_add(len);
            if end > self.sent {
                return (len, is_message);
            }
            #[cfg(test)]
            tests::WALKED.set(tests::WALKED.get() + 1);
            self.mark = (end, self.mark.1 + u32::from(is_message));
            self.written += u32::from(is_message);
        }
    }

    /// Adds the frames of a message, or of a few. Small ones are copied, large ones shared.
    pub(crate) fn push(&mut self, frames: &Frames<'_>) {
        self.messages = self.messages.saturating_add(frames.messages());
        match frames.encoded() {
            Encoded::Copied(head, payload) => {
                self.make_room(head.len() + payload.len());
                self.tail.extend_from_slice(head);
                self.tail.extend_from_slice(payload);
                self.tail_messages += frames.messages();
            }
            Encoded::Shared(whole) => {
                self.queue_tail();
                self.enqueue(Chunk { bytes: ChunkBytes::Shared(whole.clone()), messages: frames.messages() });
            }
        }
    }

    /// Adds control frames that are encoded already.
    pub(crate) fn push_control(&mut self, frames: &[u8]) {
        self.make_room(frames.len());
        self.tail.extend_from_slice(frames);
    }

    fn make_room(&mut self, bytes: usize) {
        self.own += bytes;
        if self.tail.len() + bytes > LAST_CAPACITY {
            self.queue_tail();
        }
        let needed = self.tail.len() + bytes;
        if needed > self.tail.capacity() {
            let capacity = needed.next_power_of_two().clamp(FIRST_CAPACITY, LAST_CAPACITY).max(needed);
            self.tail.reserve_exact(capacity - self.tail.len());
        }
    }

    fn queue_tail(&mut self) {
        if !self.tail.is_empty() {
            self.own -= self.tail.len();
            let bytes = ChunkBytes::Own(std::mem::take(&mut self.tail));
            let messages = std::mem::take(&mut self.tail_messages);
            self.enqueue(Chunk { bytes, messages });
        }
    }

    fn enqueue(&mut self, chunk: Chunk) {
        self.own += chunk.own();
        self.queue.push_back(chunk);
    }

    /// Adds everything of a newer send queue, of which nothing is written yet.
    pub(crate) fn append(&mut self, mut newer: SendQueue) {
        debug_assert_eq!(newer.sent, 0, "what is half out comes first");
        if self.is_empty() {
            *self = newer;
            return;
        }
        if newer.is_empty() {
            return;
        }
        self.queue_tail();
        self.queue.append(&mut newer.queue);
        self.tail = std::mem::take(&mut newer.tail);
        self.tail_messages = newer.tail_messages;
        self.messages = self.messages.saturating_add(newer.messages);
        self.own += newer.own;
    }

    /// The slices to write next, at most [`MAX_SLICES`].
    pub(crate) fn with_slices<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        if self.queue.is_empty() {
            return write(&[IoSlice::new(&self.tail[self.sent..])]);
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut n = 0;
        for chunk in self.queue.iter().take(MAX_SLICES) {
            slices[n] = IoSlice::new(if n == 0 { &chunk[self.sent..] } else { chunk });
            n += 1;
        }
        if n < MAX_SLICES && !self.tail.is_empty() {
            slices[n] = IoSlice::new(&self.tail);
            n += 1;
        }
        write(&slices[..n])
    }

    /// Notes that so many bytes were written.
    pub(crate) fn advance(&mut self, mut written: usize) {
        while let Some(chunk) = self.queue.front() {
            let left = chunk.len() - self.sent;
            if written < left {
                self.sent += written;
                return;
            }
            written -= left;
            self.own -= chunk.own();
            let messages = chunk.messages;
            self.pass(messages);
            self.counted = self.counted.saturating_sub(1);
            self.queue.pop_front();
        }
        self.sent += written;
        if self.sent >= self.tail.len() {
            self.own -= self.tail.len();
            self.tail.clear();
            let messages = std::mem::take(&mut self.tail_messages);
            self.pass(messages);
        }
    }

    /// The first chunk, of so many messages, is wholly written.
    fn pass(&mut self, messages: u32) {
        self.written += messages - self.mark.1;
        self.sent = 0;
        self.mark = (0, 0);
    }

    /// Drops every frame of which no byte is written yet; one that is half out stays, so that the stream of frames
    /// stays whole.
    pub(crate) fn cut(&mut self) -> Dropped {
        let (len, is_message) = self.move_mark();
        let (at, before) = self.mark;
        // Nothing is half out where a frame ends.
        let (end, half_out) = if self.sent > at { (at.saturating_add(len), is_message) } else { (at, false) };
        let all = self.queue.drain(..).chain(std::iter::once(Chunk {
            bytes: ChunkBytes::Own(std::mem::take(&mut self.tail)),
            messages: std::mem::take(&mut self.tail_messages),
        }));
        let mut dropped = Dropped::default();
        let mut first = None;
        for chunk in all {
            dropped.bytes += chunk.len() as u64;
            dropped.messages += u64::from(chunk.messages);
            first.get_or_insert(chunk);
        }
        self.mark = (0, 0);
        self.own = 0;
        self.counted = 0;
        if let Some(mut first) = first {
            // Written bytes, and those of the frame that is half out.
            let end = end.min(first.len());
            dropped.bytes -= end as u64;
            dropped.messages -= u64::from(before) + u64::from(half_out);
            if self.sent < end {
                // Only the frame that is half out is kept, not those beside it in its chunk.
                if at > 0 || end < first.len() {
                    let bytes = ChunkBytes::Own(first[at..end].to_vec());
                    first = Chunk { bytes, messages: u32::from(half_out) };
                    self.sent -= at;
                }
                self.enqueue(first);
            } else {
                self.sent = 0;
            }
        }
        self.messages = self.messages.saturating_sub(u32::try_from(dropped.messages).unwrap_or(u32::MAX));
        dropped
    }
}
