//! The commands of a session that are not answered yet, from when they were taken from the pipeline.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::clock;
use super::pipeline::{Asker, Batch, Pending};

/// A batch's buffers of up to this size are used again, and tables of up to so many commands kept.
const SPARE: usize = 256 << 10;
const SPARE_COMMANDS: usize = 4096;

/// Commands that were taken from the pipeline together.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    written: usize,
    /// Bytes of commands that are answered.
    answered: usize,
    taken: Instant,
    taken_at: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Unanswered {
    /// Oldest first; only the last ones may be not wholly written.
    chunks: VecDeque<Chunk>,
    pending: VecDeque<Pending>,
    spare: Batch,
}

impl Unanswered {
    /// Adds commands.
    pub fn push(&mut self, mut batch: Batch) {
        if batch.bytes.is_empty() {
            self.spare = batch;
            return;
        }
        self.pending.extend(batch.pending.drain(..));
        if batch.pending.capacity() <= SPARE_COMMANDS {
            self.spare.pending = batch.pending;
        }
        let chunk = Chunk {
            bytes: batch.bytes,
            written: 0,
            answered: 0,
            taken: Instant::now(),
            taken_at: clock::now(),
        };
        self.chunks.push_back(chunk);
    }

    /// An empty batch with room that was used before.
    pub fn spare(&mut self) -> Batch {
        std::mem::take(&mut self.spare)
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes that wait to be written.
    pub fn unwritten(&self) -> usize {
        self.chunks
            .iter()
            .rev()
            .map(|chunk| chunk.bytes.len() - chunk.written)
            .take_while(|left| *left > 0)
            .sum()
    }

    /// Ready(true): everything is written, and something was; there may be more to take.
    pub fn poll_write(
        &mut self,
        mut wire: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        let first = self.chunks.iter().rev().take_while(|chunk| chunk.written < chunk.bytes.len()).count();
        let mut wrote = false;
        for index in self.chunks.len() - first..self.chunks.len() {
            let chunk = &mut self.chunks[index];
            while chunk.written < chunk.bytes.len() {
                let n = ready!(wire.as_mut().poll_write(cx, &chunk.bytes[chunk.written..]))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                chunk.written += n;
                wrote = true;
            }
        }
        // TLS keeps what it has sealed until it is flushed; for the others this does nothing.
        ready!(wire.poll_flush(cx))?;
        Poll::Ready(Ok(wrote))
    }

    /// The oldest command.
    pub fn front(&self) -> Option<&Pending> {
        self.pending.front()
    }

    /// Who waits for the oldest command's answer.
    pub fn asker(&self) -> Option<&Asker> {
        self.pending.front().map(|pending| &pending.asker)
    }

    /// See [`Unanswered::asker`].
    pub fn asker_mut(&mut self) -> Option<&mut Asker> {
        self.pending.front_mut().map(|pending| &mut pending.asker)
    }

    /// The oldest command, as it was written.
    pub fn front_bytes(&self) -> &[u8] {
        match (self.pending.front(), self.chunks.front()) {
            (Some(pending), Some(chunk)) => &chunk.bytes[chunk.answered..chunk.answered + pending.len],
            _ => &[],
        }
    }

    /// When the oldest command was taken.
    pub fn oldest(&self) -> Option<Instant> {
        self.chunks.front().map(|chunk| chunk.taken)
    }

    /// The wait for answers begins anew.
    pub fn restart_clock(&mut self) {
        let now = Instant::now();
        self.chunks.iter_mut().for_each(|chunk| chunk.taken = now);
    }

    /// Takes the oldest command off: it is answered. Gives it and its bytes to `with`; answers what that does, and at
    /// which time of [`clock`] the command was taken.
    pub fn pop<T>(&mut self, with: impl FnOnce(Pending, &[u8]) -> T) -> Option<(T, u64)> {
        let pending = self.pending.pop_front()?;
        let chunk = self.chunks.front_mut()?;
        let begin = chunk.answered;
        chunk.answered += pending.len;
        let taken_at = chunk.taken_at;
        let outcome = with(pending, &chunk.bytes[begin..chunk.answered]);
        if chunk.answered == chunk.bytes.len()
            && let Some(mut chunk) = self.chunks.pop_front()
        {
            if self.spare.bytes.capacity() == 0 && chunk.bytes.capacity() <= SPARE {
                chunk.bytes.clear();
                self.spare.bytes = chunk.bytes;
            }
            if self.pending.is_empty() && self.pending.capacity() > SPARE_COMMANDS {
                self.pending = VecDeque::new();
            }
        }
        Some((outcome, taken_at))
    }

    /// Takes everything off, unanswered. `each` gets the commands in order, their bytes, and whether they were wholly
    /// written.
    pub fn give_up(&mut self, mut each: impl FnMut(Pending, &[u8], bool)) {
        let mut asked = self.pending.drain(..);
        for chunk in self.chunks.drain(..) {
            let mut at = chunk.answered;
            while at < chunk.bytes.len() {
                let Some(pending) = asked.next() else { break };
                let end = at + pending.len;
                each(pending, &chunk.bytes[at..end], end <= chunk.written);
                at = end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_does_not_keep_its_tables() {
        let mut unanswered = Unanswered::default();
        let mut batch = Batch::default();
        for _ in 0..100_000 {
            batch.bytes.push(b'x');
            batch.pending.push(Pending::new(1, Asker::Nobody, 0));
        }
        unanswered.push(batch);
        while unanswered.pop(|_, _| ()).is_some() {}
        assert!(unanswered.pending.capacity() <= SPARE_COMMANDS);
        assert!(unanswered.spare().pending.capacity() <= SPARE_COMMANDS);
    }
}
