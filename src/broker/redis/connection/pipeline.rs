//! The commands on their way to one Redis connection.
//!
//! Any thread may add commands; the connection's task takes all that has gathered and writes it at once, so that
//! publishes which are ready together share a write, and none waits for another's answer.

use std::sync::Arc;
use std::task::Waker;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::asker::{Asker, Pending};
use super::lane::{Batch, LITTLE, Lane, PORTION, Portion};
use crate::broker::redis::wire::resp;
use crate::worker::inbox::Inbox;
use crate::worker::quota::Quota;

/// Channels of one command. Redis handles a command in one go, and others wait meanwhile.
const CHANNELS_PER_COMMAND: usize = 1000;
/// Channels of one take.
const CHANNELS_PER_TAKE: usize = CHANNELS_PER_COMMAND;

/// Why a command was not added. Gives back who wanted to know its outcome.
#[derive(Debug)]
pub(crate) enum NotAdded {
    /// The connection is down.
    Down(Asker),
    /// Too much waits already.
    Full(Asker),
}

#[derive(Debug)]
struct State {
    /// Publishes are taken.
    open: bool,
    /// Subscriptions are taken: a session is on, though it may not be ready for publishes.
    subscribing: bool,
    /// Channels to subscribe to, and their partitions. They go out before the publishes that were added with them, so that
    /// what this server publishes after a subscription comes back to it.
    wanted: HashMap<Channel, u16>,
    /// Channels to drop. The last word on each counts: it is in one of the two.
    unwanted: HashMap<Channel, u16>,
    /// Commands that drop channels and are not answered. Others follow then: Redis takes a while for many, and publishes
    /// would wait.
    dropping: usize,
    /// How often the session has taken changes.
    takes: u64,
    /// Commands of the embedder, and of clients that [go first](Asker::goes_first).
    first: Lane,
    /// Those of the other clients. They are taken while Redis has little to do.
    rest: Lane,
    /// How much of `rest` is taken at once.
    portion: Portion,
    /// The session is over: what was added is given up.
    ending: bool,
    /// And ever more comes: nothing is added until all is given up.
    shut: bool,
    /// Bytes of all publishes without an answer.
    in_flight: usize,
    waker: Option<Waker>,
    woken: bool,
}

/// A channel's full name, and whether it is sharded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Channel {
    /// Name on the wire.
    pub name: Box<str>,
    /// `SSUBSCRIBE` and `SPUBLISH` are for it.
    pub sharded: bool,
}

impl Default for State {
    fn default() -> State {
        State {
            open: false,
            subscribing: false,
            wanted: HashMap::default(),
            unwanted: HashMap::default(),
            dropping: 0,
            takes: 0,
            first: Lane::default(),
            rest: Lane::default(),
            portion: PORTION,
            ending: false,
            shut: false,
            in_flight: 0,
            waker: None,
            woken: false,
        }
    }
}

impl State {
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

    /// No more subscriptions are taken, and nobody is woken.
    fn end(&mut self) {
        self.subscribing = false;
        self.wanted.clear();
        self.unwanted.clear();
        self.waker = None;
    }
}

/// Takes channels out, as many as one take may have.
fn take_channels(from: &mut HashMap<Channel, u16>) -> Vec<(u16, Channel)> {
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
    state: Mutex<State>,
    inbox: Arc<Inbox>,
    quota: Arc<Quota>,
}

impl Pipeline {
    /// A pipeline of a connection whose task runs on the worker with this inbox.
    pub(crate) fn new(inbox: Arc<Inbox>, quota: Arc<Quota>) -> Self {
        Pipeline { state: Mutex::default(), inbox, quota }
    }

    fn wake(&self, state: &mut State) -> Option<Waker> {
        if std::mem::replace(&mut state.woken, true) { None } else { state.waker.clone() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (outcome, waker) = {
            let mut state = self.state.lock();
            (change(&mut state), self.wake(&mut state))
        };
        if let Some(waker) = waker {
            self.inbox.wake_task(waker);
        }
        outcome
    }

    /// Adds a publish, or another command of the embedder's, that `encode` writes. `since`: see [`Pending::since`].
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
            if !state.open {
                return Err(NotAdded::Down(asker));
            }
            let full = self.quota.is_used_up(asker.is_client());
            // Commands that waited elsewhere were let in there.
            if (full || state.shut) && since.is_none() {
                return Err(NotAdded::Full(asker));
            }
            let portion = state.portion;
            let batch = if asker.goes_first() { state.first.open(PORTION) } else { state.rest.open(portion) };
            let begin = batch.bytes.len();
            encode(&mut batch.bytes);
            let len = batch.bytes.len() - begin;
            batch.pending.push(Pending { len, asker, partition: partition as u16, since });
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
    pub(crate) fn subscribe(&self, partition: usize, channel: Channel) -> u64 {
        self.change(|state| {
            if state.subscribing {
                state.unwanted.remove(&channel);
                state.wanted.insert(channel, partition as u16);
            }
            state.takes + 1
        })
    }

    /// Drops a subscription.
    pub(crate) fn unsubscribe(&self, partition: usize, channel: Channel) {
        self.change(|state| {
            if state.subscribing {
                state.wanted.remove(&channel);
                state.unwanted.insert(channel, partition as u16);
            }
        });
    }

    // For the connection's task.

    /// A session begins: subscriptions are taken from here on.
    pub(crate) fn begin(&self) {
        *self.state.lock() = State { subscribing: true, ..State::default() };
    }

    /// The session is ready: publishes are taken from here on.
    pub(crate) fn open(&self) {
        self.state.lock().open = true;
    }

    /// The session is over: no more subscriptions are taken, and what was added is given up. Publishes are taken until
    /// [`Pipeline::close`], so that what comes meanwhile comes after it.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.end();
        if !std::mem::replace(&mut state.ending, true) {
            self.quota.begin_giving_up();
        }
    }

    /// Takes the oldest batch to give it up, unless little is left, which [`Pipeline::close`] gives up. `shut`: nothing
    /// more is added, for too much came since [`Pipeline::end`].
    pub(crate) fn drain(&self, shut: bool) -> Option<Batch> {
        let mut state = self.state.lock();
        state.shut = shut;
        if !state.first.has_much() && !state.rest.has_much() {
            return None;
        }
        // The first lane is given up first, however little is in it.
        let lane = if state.first.is_empty() { &mut state.rest } else { &mut state.first };
        Some(lane.pop(Batch::default()))
    }

    /// Closes. Hands the rest to `give_up`, before anybody can find the connection down.
    pub(crate) fn close(&self, mut give_up: impl FnMut(Batch)) {
        let mut last = usize::MAX;
        loop {
            let mut state = self.state.lock();
            state.end();
            self.quota.give_back(std::mem::take(&mut state.in_flight));
            let lanes = [std::mem::take(&mut state.first), std::mem::take(&mut state.rest)];
            let left: Vec<Batch> = lanes.into_iter().flat_map(Lane::into_batches).collect();
            let len = left.iter().map(|batch| batch.bytes.len()).sum();
            // Nobody waits while much is given up: what comes meanwhile goes after it. Unless ever more comes.
            if len > LITTLE && len < last / 2 {
                drop(state);
                last = len;
                left.into_iter().for_each(&mut give_up);
                continue;
            }
            state.open = false;
            left.into_iter().for_each(give_up);
            if std::mem::take(&mut state.ending) {
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
            let change = Change::Subscribe { take: state.takes };
            write_subscriptions(&mut spare, take_channels(&mut state.wanted), change);
            return [spare, Batch::default(), Batch::default()];
        }
        if !state.unwanted.is_empty() && state.dropping == 0 {
            state.takes += 1;
            write_subscriptions(&mut channels, take_channels(&mut state.unwanted), Change::Unsubscribe);
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

/// What is to be done with channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// `take`: see [`Pipeline::subscribe`].
    Subscribe {
        take: u64,
    },
    Unsubscribe,
}

/// Encodes subscriptions in as few commands as may be: sharded ones of different slots can't share one.
pub(crate) fn write_subscriptions(batch: &mut Batch, mut channels: Vec<(u16, Channel)>, change: Change) {
    channels.sort_by_key(|(partition, channel)| (channel.sharded, *partition));
    let group =
        |a: &(u16, Channel), b: &(u16, Channel)| a.1.sharded == b.1.sharded && (!a.1.sharded || a.0 == b.0);
    for group in channels.chunk_by(group) {
        for chunk in group.chunks(CHANNELS_PER_COMMAND) {
            let sharded = chunk[0].1.sharded;
            let verb: &[u8] = match (change, sharded) {
                (Change::Subscribe { .. }, false) => b"SUBSCRIBE",
                (Change::Subscribe { .. }, true) => b"SSUBSCRIBE",
                (Change::Unsubscribe, false) => b"UNSUBSCRIBE",
                (Change::Unsubscribe, true) => b"SUNSUBSCRIBE",
            };
            let begin = batch.bytes.len();
            resp::begin(&mut batch.bytes, chunk.len() + 1);
            resp::argument(&mut batch.bytes, &[verb]);
            for (_, channel) in chunk {
                resp::argument(&mut batch.bytes, &[channel.name.as_bytes()]);
            }
            let left = chunk.len();
            let asker = match (change, sharded) {
                (Change::Subscribe { take }, _) => Asker::Subscribe { left, take },
                (Change::Unsubscribe, false) => Asker::Unsubscribe { left },
                (Change::Unsubscribe, true) => {
                    resp::command(&mut batch.bytes, &[b"PING"]);
                    Asker::ShardUnsubscribe
                }
            };
            batch.pending.push(Pending::new(batch.bytes.len() - begin, asker, chunk[0].0));
        }
    }
}

#[cfg(test)]
mod tests;
