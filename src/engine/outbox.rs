//! The outbox: what waits to be written to one connection.
//!
//! Bounded in bytes. Pushing never blocks and never writes; the connection's worker takes all that has gathered
//! and writes it with one vectored write, so a busy connection coalesces by itself and an idle one sends at once.
//! Every chunk is a sequence of whole frames; only the first can be partly written.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::frame::{self, Encoded, Frame};

/// Slices of one vectored write. Linux takes 1,024; more than this gains nothing.
const MAX_SLICES: usize = 64;
/// Emptied outboxes that a thread keeps, with buffers of up to this size.
const SPARE_OUTBOXES: usize = 1024;
const SPARE_CAPACITY: usize = 4 * 1024;
/// First capacity of a gathering buffer.
const FIRST_CAPACITY: usize = 256;

thread_local! {
    /// Boxed because that is how connections hold them: an idle one holds none.
    #[allow(clippy::vec_box, reason = "the boxes are what is kept")]
    static SPARE: RefCell<Vec<Box<Outbox>>> = const { RefCell::new(Vec::new()) };
}

/// Frames in the order in which they go out. Used both for what gathers and for what is being written.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Whole chunks, oldest first.
    queue: VecDeque<Bytes>,
    /// Small frames gathered behind the queue.
    tail: Vec<u8>,
    /// Bytes of the first chunk (the tail if the queue is empty) that are written already.
    sent: usize,
    /// Messages in here, for the counters.
    messages: u32,
}

/// What [`Outbox::cut`] dropped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Messages, control frames not counted.
    pub messages: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

impl Outbox {
    /// An empty outbox, if possible one that was [`recycled`](Outbox::recycle) on this thread, with its buffer.
    pub fn spare() -> Box<Outbox> {
        SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default()
    }

    /// An outbox with so many messages, of whose frames `sent` bytes are written already.
    pub fn begun(frames: &[u8], messages: u32, sent: usize) -> Box<Outbox> {
        let mut outbox = Outbox::spare();
        outbox.tail.extend_from_slice(frames);
        outbox.sent = sent;
        outbox.messages = messages;
        outbox
    }

    /// Gives back an outbox that is empty.
    pub fn recycle(mut self: Box<Self>) {
        debug_assert!(self.is_empty());
        if self.tail.capacity() > SPARE_CAPACITY || self.queue.capacity() > MAX_SLICES {
            return;
        }
        self.messages = 0;
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_OUTBOXES {
                spare.push(self);
            }
        });
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.tail.is_empty()
    }

    /// Messages pushed since the outbox was new.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// After a write that was cut short: answers how many messages are wholly written, and counts them no more.
    /// Costs a walk over what is left.
    pub fn take_written(&mut self) -> u64 {
        let mut chunks = self.queue.iter().map(|chunk| &chunk[..]).chain([&self.tail[..]]);
        let first = chunks.next().map_or(0, |chunk| frame::count_messages(chunk, self.sent));
        let left = first + chunks.map(|chunk| frame::count_messages(chunk, 0)).sum::<u64>();
        let left = u32::try_from(left).unwrap_or(u32::MAX).min(self.messages);
        u64::from(std::mem::replace(&mut self.messages, left) - left)
    }

    /// Adds a message's frame. Small ones are copied, large ones shared.
    pub fn push(&mut self, frame: &Frame<'_>) {
        self.messages = self.messages.saturating_add(1);
        match frame.encoded() {
            Encoded::Copied(head, payload) => {
                if self.tail.capacity() == 0 {
                    self.tail.reserve(FIRST_CAPACITY);
                }
                self.tail.extend_from_slice(head);
                self.tail.extend_from_slice(payload);
            }
            Encoded::Shared(whole) => {
                if !self.tail.is_empty() {
                    let gathered = std::mem::take(&mut self.tail);
                    self.queue.push_back(gathered.into());
                }
                self.queue.push_back(whole.clone());
            }
        }
    }

    /// Adds control frames that are encoded already.
    pub fn push_control(&mut self, frames: &[u8]) {
        if self.tail.capacity() == 0 {
            self.tail.reserve(FIRST_CAPACITY);
        }
        self.tail.extend_from_slice(frames);
    }

    /// Adds everything of a newer outbox, of which nothing is written yet.
    pub fn append(&mut self, mut newer: Outbox) {
        debug_assert_eq!(newer.sent, 0, "what is half out comes first");
        if self.is_empty() {
            *self = newer;
            return;
        }
        if newer.is_empty() {
            return;
        }
        if !self.tail.is_empty() {
            let gathered = std::mem::take(&mut self.tail);
            self.queue.push_back(gathered.into());
        }
        self.queue.append(&mut newer.queue);
        self.tail = std::mem::take(&mut newer.tail);
        self.messages = self.messages.saturating_add(newer.messages);
    }

    /// The slices to write next, at most [`MAX_SLICES`].
    pub fn with_slices<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
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
    pub fn advance(&mut self, mut written: usize) {
        while let Some(chunk) = self.queue.front() {
            let left = chunk.len() - self.sent;
            if written < left {
                self.sent += written;
                return;
            }
            written -= left;
            self.sent = 0;
            self.queue.pop_front();
        }
        self.sent += written;
        if self.sent >= self.tail.len() {
            self.sent = 0;
            self.tail.clear();
        }
    }

    /// Drops every frame of which no byte is written yet; what is half out stays, so that the stream of frames
    /// stays whole. Costs a walk over what is dropped.
    pub fn cut(&mut self) -> Dropped {
        let mut dropped = Dropped::default();
        let mut count = |bytes: &[u8]| {
            dropped.bytes += bytes.len() as u64;
            dropped.messages += frame::count_messages(bytes, 0);
        };
        if let Some(mut first) = self.queue.pop_front() {
            for chunk in self.queue.drain(..) {
                count(&chunk);
            }
            count(&self.tail);
            self.tail.clear();
            let end = frame::end_of_frame_at(&first, self.sent);
            count(&first[end..]);
            first.truncate(end);
            if self.sent < first.len() {
                self.queue.push_back(first);
            } else {
                self.sent = 0;
            }
        } else {
            let end = frame::end_of_frame_at(&self.tail, self.sent);
            count(&self.tail[end..]);
            self.tail.truncate(end);
            if self.sent >= self.tail.len() {
                self.tail.clear();
                self.sent = 0;
            }
        }
        self.messages = self.messages.saturating_sub(u32::try_from(dropped.messages).unwrap_or(u32::MAX));
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::frame::Message;

    fn text(len: usize, fill: char) -> String {
        fill.to_string().repeat(len)
    }

    fn push(outbox: &mut Outbox, text: &str) -> Vec<u8> {
        let frame = Frame::new(Message::Text(text));
        outbox.push(&frame);
        frame.to_vec()
    }

    /// Writes everything, `step` bytes at a time.
    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !outbox.is_empty() {
            let written = outbox.with_slices(|slices| {
                let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                let n = all.len().min(step);
                out.extend_from_slice(&all[..n]);
                n
            });
            outbox.advance(written);
        }
        out
    }

    #[test]
    fn frames_go_out_in_order_however_the_writes_are_cut() {
        for step in [1, 2, 3, 7, 100, 1500, 1 << 20] {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for (len, fill) in [(3, 'a'), (2000, 'b'), (1, 'c'), (0, 'd'), (1024, 'e'), (1025, 'f'), (9, 'g')]
            {
                expected.extend(push(&mut outbox, &text(len, fill)));
            }
            assert_eq!(drain(&mut outbox, step), expected, "{step}");
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn more_chunks_than_one_write_takes_go_out_in_several() {
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for _ in 0..200 {
            expected.extend(push(&mut outbox, &text(1500, 'x')));
        }
        assert_eq!(drain(&mut outbox, usize::MAX), expected);
    }

    #[test]
    fn a_cut_keeps_the_frame_that_is_half_out_and_counts_the_rest() {
        for sizes in [[10, 20, 30], [2000, 20, 3000], [10, 2000, 5], [3000, 3000, 3000]] {
            let total: usize = 1 + sizes.iter().sum::<usize>();
            for sent in (0..total).step_by(7) {
                let mut outbox = Outbox::default();
                let frames: Vec<Vec<u8>> =
                    sizes.iter().map(|len| push(&mut outbox, &text(*len, 'x'))).collect();
                let sent = sent.min(frames.concat().len() - 1);
                let mut left = sent;
                while left > 0 {
                    let n = outbox.with_slices(|s| s.iter().map(|s| s.len()).sum::<usize>()).min(left);
                    outbox.advance(n);
                    left -= n;
                }
                let mut end = 0;
                let mut kept = 0;
                for frame in &frames {
                    if end < sent {
                        end += frame.len();
                        kept += 1;
                    }
                }
                let dropped = outbox.cut();
                assert_eq!(dropped.messages, (frames.len() - kept) as u64, "{sizes:?} {sent}");
                assert_eq!(dropped.bytes as usize, frames.concat().len() - end, "{sizes:?} {sent}");
                outbox.push_control(&frame::PING);
                let mut expected = frames.concat()[sent..end.max(sent)].to_vec();
                expected.extend(frame::PING);
                assert_eq!(drain(&mut outbox, 11), expected, "{sizes:?} {sent}");
            }
        }
    }
}
