//! The commands of a session that are not answered yet, from when they were taken from the pipeline.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::batch::Batch;
use super::command::Pending;
use super::lane::{PORTION, Portion};
use crate::broker::redis::clock;
use crate::worker::intake::Demand;

/// A batch's buffers of up to this size are used again, and tables of up to so many commands kept.
const SPARE: usize = 256 << 10;
const SPARE_COMMANDS: usize = 4096;

/// Bytes of written commands that may be unanswered. Answers come behind the messages that came before them, so this also
/// bounds what waits for us in Redis' output buffer because of what we publish. Redis cuts a subscriber for which more than
/// 8 MB wait for a minute (redis.conf, `client-output-buffer-limit pubsub`).
pub(crate) const PACE: usize = 4 << 20;

/// So much of those commands that [go behind](super::command::Command::goes_first) others may be without an answer, while
/// others publish too, and clients wait in line. The others' commands wait in Redis for no more than that. It is for a Redis whose answers come within
/// `NEAR`; one that is farther away gets as much more, or it would have nothing to do for most of the time.
const SHORT_PORTION: Portion = Portion { commands: 32, bytes: 16 << 10 };
/// It is so many times longer for a crowd of which each waits for answers: that keeps Redis busy all the time, and short portions cost it.
const CROWD: usize = 4;
const NEAR: Duration = Duration::from_micros(500);
/// Clients may have so much unanswered that goes first, in units of `Intake::begin`, and as much more for a Redis farther away.
const FIRST: u32 = 64;
/// Portions are [longer](PORTION) once so many commands went behind without either.
const IN_A_ROW: usize = 16 * 1024;

/// Commands that were taken from the pipeline together.
#[derive(Debug)]
struct TakenBatch {
    bytes: Vec<u8>,
    written: usize,
    /// Bytes of commands that are answered.
    answered: usize,
}

/// Bytes that were handed to the kernel at once.
#[derive(Debug)]
struct Write {
    /// Bytes written with it and before it.
    end: u64,
    at: Instant,
    /// The same, as a time of [`clock`].
    time: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// Oldest first; only the last ones may be not wholly written.
    chunks: VecDeque<TakenBatch>,
    pending: VecDeque<Pending>,
    /// Those with bytes of commands that are not answered, oldest first.
    writes: VecDeque<Write>,
    /// Bytes written, and bytes of commands that are answered.
    written: u64,
    answered: u64,
    /// Commands that went behind others since the last that went first.
    in_a_row: usize,
    /// The same since clients were last busy: see [`InFlight::room_for_rest`].
    without_line: usize,
    /// Commands that went behind others and are not answered.
    behind: usize,
    /// Their bytes.
    behind_bytes: usize,
    /// Clients' commands that were let go first in this epoch and are not answered, in units of `Intake::begin`.
    first: u32,
    epoch: u8,
    /// The shortest time in which an answer came while Redis had nothing else to do for us.
    round_trip: Option<Duration>,
    spare: Batch,
}

impl InFlight {
    /// Adds commands.
    pub(crate) fn push(&mut self, mut batch: Batch) {
        if batch.bytes.is_empty() {
            if batch.bytes.capacity() > self.spare.bytes.capacity() {
                self.spare = batch;
            }
            return;
        }
        for pending in &batch.pending {
            if !pending.command.goes_first() {
                self.in_a_row += 1;
                self.without_line += 1;
                self.behind += 1;
                self.behind_bytes += pending.len;
            } else if pending.command.asker().is_some() {
                self.in_a_row = 0;
            }
            self.first += pending.command.first_units(self.epoch);
        }
        self.pending.extend(batch.pending.drain(..));
        if batch.pending.capacity() <= SPARE_COMMANDS {
            self.spare.pending = batch.pending;
        }
        self.chunks.push_back(TakenBatch { bytes: batch.bytes, written: 0, answered: 0 });
    }

    /// An empty batch with room that was used before.
    pub(crate) fn spare(&mut self) -> Batch {
        std::mem::take(&mut self.spare)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes that wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.chunks
            .iter()
            .rev()
            .map(|chunk| chunk.bytes.len() - chunk.written)
            .take_while(|left| *left > 0)
            .sum()
    }

    /// Bytes that may be written before more is answered. The oldest command may always be, however large.
    pub(crate) fn pace(&self) -> usize {
        let oldest = self.pending.front().map_or(0, |pending| pending.len);
        let end = self.answered + PACE.max(oldest) as u64;
        end.saturating_sub(self.written) as usize
    }

    /// True if clients have more unanswered that was let go first in this epoch than Redis answers quickly.
    pub(crate) fn is_first_too_much(&mut self, epoch: u8) -> bool {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.first = self.pending.iter().map(|pending| pending.command.first_units(epoch)).sum();
        }
        self.first > FIRST * self.distance()
    }

    /// The portion of the rest that may be taken, if Redis has so little to do that something may. As long as clients demand
    /// little, longer portions cost less and keep nobody waiting.
    pub(crate) fn room_for_rest(&mut self, demand: Demand) -> Option<Portion> {
        if demand != Demand::Little {
            self.without_line = 0;
        }
        let is_short = self.in_a_row < IN_A_ROW && self.without_line < IN_A_ROW;
        let portion = if is_short { self.short_portion(demand) } else { PORTION };
        (!portion.is_reached(self.behind, self.behind_bytes)).then_some(portion)
    }

    /// The distance of Redis, as a multiple of `NEAR`.
    fn distance(&self) -> u32 {
        let times = self.round_trip.map_or(1, |time| (time.as_micros() / NEAR.as_micros()) as u32);
        times.clamp(1, (PORTION.commands / SHORT_PORTION.commands) as u32)
    }

    fn short_portion(&self, demand: Demand) -> Portion {
        let Portion { commands, bytes } = SHORT_PORTION;
        let most = PORTION.commands / commands;
        let times = (self.distance() as usize * if demand == Demand::Crowd { CROWD } else { 1 }).min(most);
        Portion { commands: commands * times, bytes: bytes * times }
    }

    /// An answer to a command took so long, before which nothing was unanswered.
    pub(crate) fn note_round_trip(&mut self, time: Duration) {
        self.round_trip = Some(self.round_trip.map_or(time, |shortest| shortest.min(time)));
    }

    /// Ready(true): everything is written that may be, and something was; there may be more to take.
    pub(crate) fn poll_write(
        &mut self,
        mut wire: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        let first = self.chunks.iter().rev().take_while(|chunk| chunk.written < chunk.bytes.len()).count();
        let mut pace = self.pace();
        let mut wrote = false;
        'all: for chunk in self.chunks.range_mut(self.chunks.len() - first..) {
            while chunk.written < chunk.bytes.len() {
                let end = chunk.bytes.len().min(chunk.written + pace);
                if end == chunk.written {
                    break 'all;
                }
                // Before it can be read: its answer proves what arrived up to here.
                let (at, time) = (Instant::now(), clock::now());
                let n = ready!(wire.as_mut().poll_write(cx, &chunk.bytes[chunk.written..end]))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                chunk.written += n;
                pace -= n;
                self.written += n as u64;
                self.writes.push_back(Write { end: self.written, at, time });
                wrote = true;
            }
        }
        // TLS keeps what it has sealed until it is flushed; for the others this does nothing.
        ready!(wire.poll_flush(cx))?;
        Poll::Ready(Ok(wrote))
    }

    /// The oldest command.
    pub(crate) fn front(&self) -> Option<&Pending> {
        self.pending.front()
    }

    /// See [`InFlight::front`].
    pub(crate) fn front_mut(&mut self) -> Option<&mut Pending> {
        self.pending.front_mut()
    }

    /// The oldest command, as it was written.
    pub(crate) fn front_bytes(&self) -> &[u8] {
        match (self.pending.front(), self.chunks.front()) {
            (Some(pending), Some(chunk)) => &chunk.bytes[chunk.answered..chunk.answered + pending.len],
            _ => &[],
        }
    }

    /// When the oldest command was written, if it is.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.writes.front().map(|write| write.at)
    }

    /// The wait for answers begins anew.
    pub(crate) fn restart_clock(&mut self) {
        let now = Instant::now();
        self.writes.iter_mut().for_each(|write| write.at = now);
    }

    /// Takes the oldest command off: it is answered. Gives it and its bytes to `with`; answers what that does, and at
    /// which time of [`clock`] the last of the command was written.
    pub(crate) fn pop<T>(&mut self, with: impl FnOnce(Pending, &[u8]) -> T) -> Option<(T, u64)> {
        let outcome = self.shift(|pending, bytes, _| with(pending, bytes))?;
        let mut time = 0;
        while let Some(write) = self.writes.front() {
            time = write.time;
            let end = write.end;
            if end <= self.answered {
                self.writes.pop_front();
            }
            if end >= self.answered {
                break;
            }
        }
        Some((outcome, time))
    }

    /// Takes the oldest command off, unanswered. `with` gets it, its bytes, and whether they were wholly written.
    pub(crate) fn give_up<T>(&mut self, with: impl FnOnce(Pending, &[u8], bool) -> T) -> Option<T> {
        self.shift(with)
    }

    fn shift<T>(&mut self, with: impl FnOnce(Pending, &[u8], bool) -> T) -> Option<T> {
        let pending = self.pending.pop_front()?;
        if !pending.command.goes_first() {
            self.behind -= 1;
            self.behind_bytes -= pending.len;
        }
        self.first -= pending.command.first_units(self.epoch);
        let chunk = self.chunks.front_mut()?;
        let begin = chunk.answered;
        chunk.answered += pending.len;
        self.answered += pending.len as u64;
        let outcome = with(pending, &chunk.bytes[begin..chunk.answered], chunk.answered <= chunk.written);
        if chunk.answered == chunk.bytes.len()
            && let Some(mut chunk) = self.chunks.pop_front()
        {
            // Bytes that were given up, or answered too early, are not written any more.
            self.written += (chunk.bytes.len() - chunk.written) as u64;
            if self.spare.bytes.capacity() == 0 && chunk.bytes.capacity() <= SPARE {
                chunk.bytes.clear();
                self.spare.bytes = chunk.bytes;
            }
            if self.pending.is_empty() && self.pending.capacity() > SPARE_COMMANDS {
                self.pending = VecDeque::new();
            }
        }
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::task::Waker;

    use super::super::command::Command;
    use super::*;
    use crate::broker::redis::asker::Asker;
    use crate::worker::handle::{Handle, Peer};
    use crate::worker::inbox::Inbox;

    fn batch(lens: &[usize]) -> Batch {
        let pending = lens.iter().map(|len| pending(*len, Asker::Nobody)).collect();
        Batch { bytes: vec![b'x'; lens.iter().sum()], pending }
    }

    fn pending(len: usize, asker: Asker) -> Pending {
        Pending { len, command: Command::Ask(asker), partition: 0, since: None }
    }

    /// Writes what may be written, to a wire that takes everything. Answers how many bytes that was.
    fn write(in_flight: &mut InFlight) -> usize {
        let mut wire = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        let _ = in_flight.poll_write(Pin::new(&mut wire), &mut cx).map(Result::unwrap);
        wire.len()
    }

    #[test]
    fn no_more_is_written_than_may_be_unanswered() {
        let mut in_flight = InFlight::default();
        in_flight.push(batch(&[1 << 20; 10]));
        assert_eq!(write(&mut in_flight), PACE);
        assert_eq!(write(&mut in_flight), 0);
        in_flight.pop(|_, _| ());
        assert_eq!(write(&mut in_flight), 1 << 20);
        while in_flight.pop(|_, _| ()).is_some() {
            write(&mut in_flight);
        }
        assert_eq!((in_flight.pace(), in_flight.unwritten()), (PACE, 0));
    }

    #[test]
    fn a_command_that_is_larger_than_that_is_written_once_it_is_the_oldest() {
        let mut in_flight = InFlight::default();
        in_flight.push(batch(&[10, 2 * PACE, 10]));
        assert_eq!(write(&mut in_flight), PACE);
        in_flight.pop(|_, _| ());
        assert_eq!(write(&mut in_flight), PACE + 10);
        in_flight.pop(|_, _| ());
        assert_eq!(write(&mut in_flight), 10);
    }

    #[test]
    fn the_wait_for_an_answer_begins_when_a_command_is_written() {
        let mut in_flight = InFlight::default();
        in_flight.push(batch(&[PACE, 10]));
        assert_eq!(in_flight.oldest(), None);
        write(&mut in_flight);
        let first = in_flight.oldest().unwrap();
        in_flight.pop(|_, _| ());
        assert_eq!(in_flight.oldest(), None, "the second one waits for us");
        write(&mut in_flight);
        assert!(in_flight.oldest().unwrap() > first);
        assert_eq!(in_flight.give_up(|_, bytes, written| (bytes.len(), written)), Some((10, true)));
    }

    #[test]
    fn floods_have_short_portions_while_others_publish_and_clients_wait_in_line() {
        let mut in_flight = InFlight::default();
        let inbox = Arc::new(Inbox::of_test(0));
        let sender = Arc::new(Handle::new(1, "ada".into(), Peer::default(), inbox));
        let mut serve = |first, commands, demand| {
            let asker = || Asker::Sender {
                sender: sender.clone(),
                cost: 1,
                first,
                epoch: 0,
                kept: false,
                receipt: None,
            };
            let pending = (0..commands).map(|_| pending(1, asker())).collect();
            in_flight.push(Batch { bytes: vec![b'x'; commands], pending });
            let meanwhile = in_flight.room_for_rest(demand);
            while in_flight.pop(|_, _| ()).is_some() {}
            (meanwhile, in_flight.room_for_rest(demand))
        };
        assert_eq!(serve(false, 31, Demand::Flood), (Some(SHORT_PORTION), Some(SHORT_PORTION)));
        assert_eq!(serve(false, 32, Demand::Flood), (None, Some(SHORT_PORTION)));
        assert_eq!(serve(false, IN_A_ROW, Demand::Flood), (None, Some(PORTION)));
        assert_eq!(serve(false, 511, Demand::Flood), (Some(PORTION), Some(PORTION)));
        assert_eq!(serve(false, 512, Demand::Flood), (None, Some(PORTION)));
        assert_eq!(serve(true, 1, Demand::Flood), (Some(SHORT_PORTION), Some(SHORT_PORTION)));
        // Nobody stands in line, but many go first.
        let longer = Portion { commands: 128, bytes: 64 << 10 };
        assert_eq!(serve(true, 1, Demand::Crowd), (Some(longer), Some(longer)));
        assert_eq!(serve(false, 127, Demand::Crowd), (Some(longer), Some(longer)));
        assert_eq!(serve(false, 128, Demand::Crowd), (None, Some(longer)));
        // Nor that any more.
        assert_eq!(serve(false, IN_A_ROW, Demand::Little), (None, Some(PORTION)));
        assert_eq!(serve(true, 1, Demand::Little), (Some(PORTION), Some(PORTION)));
        assert_eq!(serve(false, 1, Demand::Flood), (Some(SHORT_PORTION), Some(SHORT_PORTION)));
    }

    #[test]
    fn portions_are_as_much_longer_as_redis_is_farther_away() {
        let mut in_flight = InFlight::default();
        let mut times = |micros| {
            in_flight.note_round_trip(Duration::from_micros(micros));
            in_flight.room_for_rest(Demand::Flood).map(|portion| portion.commands / SHORT_PORTION.commands)
        };
        // The shortest counts: a longer one may be due to what Redis does for others.
        let trips = [1_000_000, 2_100, 20_000, 2_000, 990, 100];
        assert_eq!(trips.map(&mut times), [16, 4, 4, 4, 1, 1].map(Some));
        assert_eq!(InFlight::default().room_for_rest(Demand::Flood), Some(SHORT_PORTION));
    }

    #[test]
    fn ends_of_subscriptions_beside_a_flood_take_nothing_of_its_portions() {
        let mut in_flight = InFlight::default();
        let inbox = Arc::new(Inbox::of_test(0));
        let sender = Arc::new(Handle::new(1, "ada".into(), Peer::default(), inbox));
        for _ in 0..2 * PORTION.commands {
            let flood = Asker::Sender {
                sender: sender.clone(),
                cost: 1,
                first: false,
                epoch: 0,
                kept: false,
                receipt: None,
            };
            let mut batch = Batch::default();
            let bytes = |len: usize| move |out: &mut Vec<u8>| out.resize(out.len() + len, b'x');
            batch.add(0, Command::Unsubscribe { left: 1 }, None, bytes(PORTION.bytes));
            batch.add(0, Command::Ask(flood), None, bytes(1));
            in_flight.push(batch);
            assert_eq!((in_flight.behind, in_flight.behind_bytes), (1, 1));
            while in_flight.pop(|_, _| ()).is_some() {}
        }
        assert_eq!(in_flight.room_for_rest(Demand::Flood), Some(SHORT_PORTION));
    }

    #[test]
    fn a_burst_does_not_keep_its_tables() {
        let mut in_flight = InFlight::default();
        let mut batch = Batch::default();
        for _ in 0..100_000 {
            batch.bytes.push(b'x');
            batch.pending.push(pending(1, Asker::Nobody));
        }
        in_flight.push(batch);
        while in_flight.pop(|_, _| ()).is_some() {}
        assert!(in_flight.pending.capacity() <= SPARE_COMMANDS);
        assert!(in_flight.spare().pending.capacity() <= SPARE_COMMANDS);
    }
}
