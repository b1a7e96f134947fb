//! The commands on their way to one Redis connection.
//!
//! Any thread may add commands; the connection's task takes all that has gathered and writes it at once, so that
//! publishes which are ready together share a write, and none waits for another's answer.

use std::sync::Arc;
use std::task::Waker;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::batch::{Batch, CHANNELS_PER_COMMAND};
use super::command::{Command, RedisChannel};
use super::lane::{CommandLane, LITTLE, PORTION, Portion};
use crate::broker::redis::asker::{Asker, HistoryQuestion};
use crate::worker::inbox::Inbox;
use crate::worker::quota::Quota;

/// Channels of one take.
const CHANNELS_PER_TAKE: usize = CHANNELS_PER_COMMAND;

/// The reason for which a command was not added. Gives back who asks.
#[derive(Debug)]
pub(crate) enum NotAdded {
    /// The connection is down.
    Down(Asker),
    /// Too much waits already.
    Full(Asker),
}

impl NotAdded {
    /// The question for a history, if it was one.
    pub(crate) fn into_question(self) -> Option<Box<HistoryQuestion>> {
        let (NotAdded::Down(asker) | NotAdded::Full(asker)) = self;
        match asker {
            Asker::History(question) => Some(question),
            _ => None,
        }
    }
}

/// The stage that a session is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is none.
    #[default]
    Down,
    /// Subscriptions are taken, and no publishes yet.
    Subscribing,
    Open,
    /// It is over. Commands that were added are given up, and publishes are added behind them.
    Ending,
    /// The same, and ever more comes: nothing is added until all is given up.
    Shut,
}

#[derive(Debug, Default)]
struct PipelineState {
    stage: Stage,
    /// Channels to subscribe to, and their partitions. They go out before the publishes that were added with them, so that
    /// a publish of this server's after a subscription comes back to it.
    wanted: HashMap<RedisChannel, u16>,
    /// Channels to drop. The last word on each counts: it is in one of the two.
    unwanted: HashMap<RedisChannel, u16>,
    /// Commands that drop channels and are not answered. Others follow then: Redis takes a while for many, and publishes
    /// would wait.
    dropping: usize,
    /// The times that the session took changes.
    takes: u64,
    /// Commands of the embedder, and of clients that [go first](Asker::goes_first).
    first: CommandLane,
    /// Those of the other clients. They are taken while Redis has little to do.
    rest: CommandLane,
    /// The part of `rest` taken at once.
    portion: Portion,
    /// Bytes of all publishes without an answer.
    in_flight: usize,
    waker: Option<Waker>,
    woken: bool,
}

impl PipelineState {
    /// The oldest batches, in the order in which they go. The rest goes once all that goes first is taken: a client's first
    /// messages may be there, and its next in the rest.
    fn next(&mut self, spare: Batch, also_rest: bool) -> [Batch; 2] {
        if self.first.is_empty() {
            let rest = if also_rest { self.rest.pop(spare) } else { spare };
            return [Batch::default(), rest];
        }
        let first = self.first.pop(spare);
        let rest = if also_rest && self.first.is_empty() {
            self.rest.pop(Batch::default())
        } else {
            Batch::default()
        };
        [first, rest]
    }

    /// No more subscriptions are taken, and nobody is woken. True if publishes are given up from here on.
    fn end(&mut self) -> bool {
        let was = self.stage;
        self.stage = match was {
            Stage::Down | Stage::Subscribing => Stage::Down,
            Stage::Open => Stage::Ending,
            Stage::Ending | Stage::Shut => was,
        };
        self.wanted.clear();
        self.unwanted.clear();
        self.waker = None;
        was == Stage::Open
    }

    /// Goes from one stage to another, if it is at the first.
    fn go(&mut self, from: Stage, to: Stage) {
        if self.stage == from {
            self.stage = to;
        }
    }

    fn takes_subscriptions(&self) -> bool {
        matches!(self.stage, Stage::Subscribing | Stage::Open)
    }
}

/// Takes channels out, as many as one take may have.
fn take_channels(from: &mut HashMap<RedisChannel, u16>) -> Vec<(u16, RedisChannel)> {
    let taken = from.extract_if(|_, _| true).take(CHANNELS_PER_TAKE);
    let taken = taken.map(|(channel, partition)| (partition, channel)).collect();
    if from.is_empty() {
        from.shrink_to(CHANNELS_PER_TAKE);
    }
    taken
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pipeline {
    state: Mutex<PipelineState>,
    inbox: Arc<Inbox>,
    quota: Arc<Quota>,
}

impl Pipeline {
    /// A pipeline of a connection whose task runs on the worker with this inbox.
    pub(crate) fn new(inbox: Arc<Inbox>, quota: Arc<Quota>) -> Self {
        Pipeline { state: Mutex::default(), inbox, quota }
    }

    fn wake(&self, state: &mut PipelineState) -> Option<Waker> {
        if std::mem::replace(&mut state.woken, true) { None } else { state.waker.clone() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut PipelineState) -> T) -> T {
        let (outcome, waker) = {
            let mut state = self.state.lock();
            (change(&mut state), self.wake(&mut state))
        };
        if let Some(waker) = waker {
            self.inbox.wake_task(waker);
        }
        outcome
    }

    /// Adds a publish, or a question, that `encode` writes. `since`: see [`Asked::since`](super::command::Asked::since).
    ///
    /// # Errors
    /// See [`NotAdded`].
    pub(crate) fn add(
        &self,
        partition: usize,
        asker: Asker,
        since: Option<Instant>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NotAdded> {
        let waker = {
            let mut state = self.state.lock();
            if matches!(state.stage, Stage::Down | Stage::Subscribing) {
                return Err(NotAdded::Down(asker));
            }
            let full = self.quota.is_used_up(asker.is_client());
            // Commands that waited elsewhere were let in there.
            if (full || state.stage == Stage::Shut) && since.is_none() {
                return Err(NotAdded::Full(asker));
            }
            let portion = state.portion;
            let batch = if asker.goes_first() { state.first.open(PORTION) } else { state.rest.open(portion) };
            let len = batch.add(partition as u16, Command::Ask(asker), since, encode);
            state.in_flight += len;
            self.quota.take(len);
            self.wake(&mut state)
        };
        if let Some(waker) = waker {
            self.inbox.wake_task(waker);
        }
        Ok(())
    }

    /// Subscribes to a channel, unless the connection is down: it subscribes to everything when it is back.
    ///
    /// Answers the number of the take with which it goes out. Only confirmations of that take or a later one are its own:
    /// an earlier one confirms a subscription that was dropped in between.
    pub(crate) fn subscribe(&self, partition: usize, channel: RedisChannel) -> u64 {
        self.change(|state| {
            if state.takes_subscriptions() {
                state.unwanted.remove(&channel);
                state.wanted.insert(channel, partition as u16);
            }
            state.takes + 1
        })
    }

    /// Drops a subscription.
    pub(crate) fn unsubscribe(&self, partition: usize, channel: RedisChannel) {
        self.change(|state| {
            if state.takes_subscriptions() {
                state.wanted.remove(&channel);
                state.unwanted.insert(channel, partition as u16);
            }
        });
    }

    // For the connection's task.

    /// A session begins: subscriptions are taken from here on.
    pub(crate) fn begin(&self) {
        *self.state.lock() = PipelineState { stage: Stage::Subscribing, ..PipelineState::default() };
    }

    /// The session is ready: publishes are taken from here on.
    pub(crate) fn open(&self) {
        self.state.lock().go(Stage::Subscribing, Stage::Open);
    }

    /// The session is over: no more subscriptions are taken, and the commands that were added are given up. Publishes are taken
    /// until [`Pipeline::close`], so that new ones come behind those.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        if state.end() {
            self.quota.begin_giving_up();
        }
    }

    /// Takes the oldest batch to give it up, unless little is left, which [`Pipeline::close`] gives up. `shut`: nothing
    /// more is added, for too much came since [`Pipeline::end`].
    pub(crate) fn drain(&self, shut: bool) -> Option<Batch> {
        let mut state = self.state.lock();
        if shut {
            state.go(Stage::Ending, Stage::Shut);
        }
        if !state.first.has_much() && !state.rest.has_much() {
            return None;
        }
        // The first lane is given up first, however little is in it.
        let lane = if state.first.is_empty() { &mut state.rest } else { &mut state.first };
        Some(lane.pop(Batch::default()))
    }

    /// Closes. Hands the rest to `give_up`, before anybody can find the connection down.
    pub(crate) fn close(&self, mut give_up: impl FnMut(Batch)) {
        self.end();
        let mut last = usize::MAX;
        loop {
            let mut state = self.state.lock();
            self.quota.give_back(std::mem::take(&mut state.in_flight));
            let lanes = [std::mem::take(&mut state.first), std::mem::take(&mut state.rest)];
            let left: Vec<Batch> = lanes.into_iter().flat_map(CommandLane::into_batches).collect();
            let len = left.iter().map(|batch| batch.bytes.len()).sum();
            // Nobody waits while much is given up: new commands go behind it. Unless ever more come.
            if len > LITTLE && len < last / 2 {
                drop(state);
                last = len;
                left.into_iter().for_each(&mut give_up);
                continue;
            }
            left.into_iter().for_each(give_up);
            if std::mem::take(&mut state.stage) != Stage::Down {
                self.quota.end_giving_up();
            }
            return;
        }
    }

    /// Takes subscriptions, or else the ends of some and the oldest commands: of those that go first a batch, and, with a portion
    /// for the `rest`, one of the others once those are all taken. The batches are to be written in this order; most are empty.
    /// Commands that are added from then on wake the task. `spare` is an empty batch whose room is used again.
    pub(crate) fn take(&self, waker: &Waker, mut spare: Batch, rest: Option<Portion>) -> [Batch; 3] {
        let mut state = self.state.lock();
        state.portion = rest.unwrap_or(state.portion);
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        state.woken = false;
        let mut channels = Batch::default();
        if !state.wanted.is_empty() {
            state.takes += 1;
            spare.subscribe(take_channels(&mut state.wanted), state.takes);
            return [spare, Batch::default(), Batch::default()];
        }
        if !state.unwanted.is_empty() && state.dropping == 0 {
            state.takes += 1;
            channels.unsubscribe(take_channels(&mut state.unwanted));
            state.dropping = channels.pending.len();
        }
        let [first, rest] = state.next(spare, rest.is_some());
        [channels, first, rest]
    }

    /// A command that drops channels is answered.
    pub(crate) fn dropped(&self) {
        let mut state = self.state.lock();
        state.dropping = state.dropping.saturating_sub(1);
    }

    /// So many bytes of publishes are answered.
    pub(crate) fn answered(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut state = self.state.lock();
        let bytes = bytes.min(state.in_flight);
        state.in_flight -= bytes;
        self.quota.give_back(bytes);
    }

    /// Wakes the task without giving it anything.
    pub(crate) fn nudge(&self) {
        self.change(|_| {});
    }
}

#[cfg(test)]
mod tests;
