//! Turns: whose it is, on one worker, and how long one may be.
//!
//! A worker polls its connections itself. A runtime's task would cost each of them an allocation, and each message several
//! locked instructions, for being woken from any thread and run on any: but a connection is woken by its worker's
//! sockets, or through the mailbox, and only ever runs there.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;
use tokio::task::yield_now;

use super::read_buffer;
use super::table::{self, Key};

/// Connections that have a turn between two looks at the sockets.
const ROUND: usize = 256;
/// Connections that read one after the other, before what goes back to them is sent: see [`read_buffer`]. Their memory
/// is asked for at once, see [`table::look_ahead`].
const GROUP: usize = 16;
/// What they may do until then, as [`spend`] counts.
const GROUP_WORK: u64 = 1024;
/// Connections that are written between two looks at the sockets, see [`pace`].
const PORTION: usize = 64;
/// Entries that an idle queue keeps room for.
const KEPT: usize = 1024;

thread_local! {
    /// Connections that are to have a turn.
    static WOKEN: RefCell<Queue> = RefCell::default();
    /// Connections that have something to write, which others pushed.
    static PUSHED: RefCell<Queue> = RefCell::default();
    /// What all tasks of this thread have done, see [`spend`].
    static SPENT: Cell<u64> = const { Cell::new(0) };
}

/// What a connection or a task may do in one turn before others get theirs, in units of about 50 ns: see [`spend`].
pub(super) const TURN: u64 = 8192;

/// Notes work that is done in this turn, in the same units: a push to a connection is one.
pub(super) fn spend(units: u64) {
    SPENT.set(SPENT.get().wrapping_add(units));
}

/// A turn, from now on.
pub(super) struct Turn(u64);

impl Turn {
    pub(super) fn begin() -> Turn {
        Turn(SPENT.get())
    }

    /// Others have waited long enough.
    pub(super) fn is_over(&self) -> bool {
        self.has_spent(TURN)
    }

    fn has_spent(&self, units: u64) -> bool {
        SPENT.get().wrapping_sub(self.0) >= units
    }
}

/// Connections of this thread, first in, first out, and the task that serves them while it has nothing to do.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Key>,
    idle: Option<Waker>,
}

impl Queue {
    fn add(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.waiting.extend(keys);
        if !self.waiting.is_empty()
            && let Some(waker) = self.idle.take()
        {
            waker.wake();
        }
    }

    /// How many wait. If none do, the next [`Queue::add`] wakes.
    fn poll_len(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.waiting.is_empty() {
            self.idle = Some(cx.waker().clone());
            self.waiting.shrink_to(KEPT);
            return Poll::Pending;
        }
        Poll::Ready(self.waiting.len())
    }
}

/// Gives a connection of this worker a turn.
pub(super) fn wake(key: Key) {
    WOKEN.with_borrow_mut(|queue| queue.add([key]));
}

/// Has connections of this worker written.
pub(super) fn flush(keys: impl IntoIterator<Item = Key>) {
    PUSHED.with_borrow_mut(|queue| queue.add(keys));
}

/// Gives the connections that were woken their turns, with a look at the sockets after each round, and after the work of
/// one long turn: a flood from some keeps the others waiting no longer than that.
///
/// Not under tokio's budget, which is meant for one task that does one thing.
pub(super) async fn take_turns() {
    unconstrained(async {
        loop {
            let waiting = std::future::poll_fn(|cx| WOKEN.with_borrow_mut(|queue| queue.poll_len(cx))).await;
            let round = Turn::begin();
            let mut group = Turn::begin();
            for taken in 0..waiting.min(ROUND) {
                if round.is_over() {
                    break;
                }
                if taken % GROUP == 0 {
                    WOKEN.with_borrow(|queue| table::look_ahead(queue.waiting.iter().take(GROUP)));
                }
                let key = WOKEN.with_borrow_mut(|queue| queue.waiting.pop_front());
                key.into_iter().for_each(table::take_turn);
                if taken % GROUP == GROUP - 1 || group.has_spent(GROUP_WORK) || read_buffer::is_crowded() {
                    table::send_back();
                    group = Turn::begin();
                }
            }
            table::send_back();
            if WOKEN.with_borrow(|queue| !queue.waiting.is_empty()) {
                yield_now().await;
            }
        }
    })
    .await;
}

/// Writes what was pushed to connections in portions, with a look at the sockets between them.
///
/// A fan-out to thousands would otherwise be one long stretch, and what arrives meanwhile would wait
/// behind it. This way the next message is read while most of the previous one's recipients still wait, and both
/// go out to them in one write: the busier, the fewer writes. Nobody has a turn for it: a fan-out touches
/// no more of a connection than its outbox and its socket.
pub(super) async fn pace() {
    let (mut portion, mut outboxes) = (Vec::with_capacity(PORTION), Vec::with_capacity(PORTION));
    loop {
        let waiting = std::future::poll_fn(|cx| PUSHED.with_borrow_mut(|queue| queue.poll_len(cx))).await;
        PUSHED.with_borrow_mut(|queue| portion.extend(queue.waiting.drain(..waiting.min(PORTION))));
        table::flush(&mut portion, &mut outboxes);
        if PUSHED.with_borrow(|queue| !queue.waiting.is_empty()) {
            // Goes on after the sockets were looked at and what they woke has run.
            yield_now().await;
        }
    }
}
