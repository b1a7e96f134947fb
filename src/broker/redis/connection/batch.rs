//! Commands that go out together.

use std::borrow::Borrow;
use std::ops::Range;

use history::position::Term;
use tokio::time::Instant;

use super::command::{self, Asked, Command, Pending, RedisChannel};
use super::script;
use crate::broker::redis::asker::Asker;

/// Channels of one command. Redis handles a command in one go, and others wait meanwhile.
pub(super) const CHANNELS_PER_COMMAND: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Encoded.
    pub bytes: Vec<u8>,
    /// One for each command in it.
    pub pending: Vec<Pending>,
}

impl Batch {
    /// Adds a command that `encode` writes. Answers its length.
    pub(super) fn add(
        &mut self,
        partition: u16,
        command: Command,
        since: Option<Instant>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let begin = self.bytes.len();
        encode(&mut self.bytes);
        let len = self.bytes.len() - begin;
        self.pending.push(Pending { len, command, partition, since });
        len
    }

    /// Writes the term of the master that gets it into the publishes that need one.
    pub(super) fn place_term(&mut self, term: Term) {
        for (pending, range) in with_ranges(&self.pending) {
            if pending.command.asker().is_some_and(Asker::is_kept) {
                script::place_term(&mut self.bytes[range], term);
            }
        }
    }

    /// Adds a command that was encoded before.
    pub(super) fn add_again(&mut self, pending: Pending, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pending.push(pending);
    }

    /// Takes out those for which that is true. Answers them, and the rest.
    pub(super) fn split(self, mut is_out: impl FnMut(&Pending, &[u8]) -> bool) -> (Batch, Batch) {
        let (mut out, mut rest) = (Batch::default(), Batch::default());
        for (pending, range) in with_ranges(self.pending) {
            let bytes = &self.bytes[range];
            let batch = if is_out(&pending, bytes) { &mut out } else { &mut rest };
            batch.add_again(pending, bytes);
        }
        (out, rest)
    }

    /// Gives its publishes and questions to `fail`, with their bytes.
    pub(super) fn give_up(self, mut fail: impl FnMut(Asked, &[u8])) {
        for (pending, range) in with_ranges(self.pending) {
            if let Some(asked) = pending.into_asked() {
                fail(asked, &self.bytes[range]);
            }
        }
    }

    /// Bytes of it that the pipeline counts.
    pub(super) fn counted(&self) -> usize {
        self.pending.iter().map(Pending::counted).sum()
    }

    /// Adds subscriptions. `take`: see `Pipeline::subscribe`.
    pub(super) fn subscribe(&mut self, mut channels: Vec<(u16, RedisChannel)>, take: u64) {
        for chunk in in_commands(&mut channels) {
            let command = Command::Subscribe { left: chunk.len(), take };
            self.add(chunk[0].0, command, None, |out| command::subscribe(out, chunk));
        }
    }

    /// Adds ends of subscriptions.
    pub(super) fn unsubscribe(&mut self, mut channels: Vec<(u16, RedisChannel)>) {
        for chunk in in_commands(&mut channels) {
            let command = match chunk[0].1.sharded {
                true => Command::ShardUnsubscribe,
                false => Command::Unsubscribe { left: chunk.len() },
            };
            self.add(chunk[0].0, command, None, |out| command::unsubscribe(out, chunk));
        }
    }
}

/// Commands, and where each has its bytes.
fn with_ranges<P: Borrow<Pending>>(
    pending: impl IntoIterator<Item = P>,
) -> impl Iterator<Item = (P, Range<usize>)> {
    pending.into_iter().scan(0, |end, pending| {
        let begin = std::mem::replace(end, *end + pending.borrow().len);
        Some((pending, begin..*end))
    })
}

/// Channels in as few commands as may be: sharded ones of different slots can't share one.
fn in_commands(channels: &mut [(u16, RedisChannel)]) -> impl Iterator<Item = &[(u16, RedisChannel)]> {
    channels.sort_by_key(|(partition, channel)| (channel.sharded, *partition));
    let group = |a: &(u16, RedisChannel), b: &(u16, RedisChannel)| {
        a.1.sharded == b.1.sharded && (!a.1.sharded || a.0 == b.0)
    };
    channels.chunk_by(group).flat_map(|group| group.chunks(CHANNELS_PER_COMMAND))
}
