//! Turns: whose it is, on one worker, and how long one may be.
//!
//! A worker polls its connections itself. A runtime's task would cost each of them an allocation, and each message several
//! locked instructions, for being woken from any thread and run on any: but a connection is woken by its worker's
//! sockets, or through the inbox, and only ever runs there.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::time::Instant;

use tokio::task::coop::unconstrained;
use tokio::task::yield_now;
use tokio::time::timeout_at;

use super::account::{Account, WORK};
use super::connections::{self, Token};
use super::respite::{Respite, Round};
use super::run_queue::{Lane, RunQueue};
use super::shared_buffer;

/// Connections that have a turn between two looks at the sockets.
const ROUND: usize = 256;
/// Connections that read one after the other, before what goes back to them is sent: see [`shared_buffer`]. Their memory
/// is asked for at once, see [`connections::look_ahead`].
const GROUP: usize = 16;
/// What they may do until then, as [`charge`] counts.
const GROUP_WORK: u64 = 1024;
/// Connections that are written between two looks at the sockets, see [`flush_pushed`].
const PORTION: usize = 64;

thread_local! {
    /// Connections that are to have a turn.
    static WOKEN: RefCell<RunQueue> = RefCell::default();
    /// Connections that have something to write, which others pushed.
    static PUSHED: RefCell<RunQueue> = RefCell::default();
    static METER: Meter = const { Meter { spent: Cell::new(0), waiting: Cell::new(0), now: Cell::new(0) } };
    static EPOCH: Instant = Instant::now();
}

/// What each message looks at: together, for a look-up of a thread's own costs some nanoseconds in an addon.
struct Meter {
    /// What all tasks of this thread have done, see [`charge`].
    spent: Cell<u64>,
    /// How many of `WOKEN` wait.
    waiting: Cell<usize>,
    /// Milliseconds of this thread's clock when it last looked.
    now: Cell<u32>,
}

/// What is done in one round while quiet connections come between busy ones. Otherwise it is [`TURN`].
const SHORT_ROUND: u64 = 2048;
/// What a connection or a task may do in one turn while nobody waits, in units of about 50 ns: see [`charge`].
const TURN: u64 = 8192;
/// The same while connections wait for their turns.
const SHORT_TURN: u64 = 1024;
/// The same for a quiet connection. If it has more to do, it goes on as a busy one: hundreds that are quiet don't wait for each
/// other's bursts.
const QUIET_TURN: u64 = 256;
/// The same for a task that serves many connections at once.
const SHORT_SHARED_TURN: u64 = 4096;

/// What a call of the kernel's costs that reads or writes a socket, beside [`bytes`].
pub(super) const CALL: u64 = 16;

/// What it costs to pass over so many bytes once: to copy, unmask or check them.
pub(crate) fn bytes(len: usize) -> u64 {
    (len / 512) as u64
}

/// Notes work that is done in this turn, in the same units: a push to a connection is one.
pub(crate) fn charge(units: u64) {
    METER.with(|meter| meter.spent.set(meter.spent.get().wrapping_add(units)));
}

/// A turn, from now on.
pub(crate) struct Budget {
    /// What was spent before it.
    before: u64,
    /// What it may charge while connections wait.
    short: u64,
}

impl Budget {
    /// That of a task, or of work for one connection.
    pub(crate) fn begin() -> Budget {
        Budget { before: METER.with(|meter| meter.spent.get()), short: SHORT_TURN }
    }

    /// That of a connection which waited in this lane.
    fn begin_of(lane: Lane) -> Budget {
        let short = if lane == Lane::Quiet { QUIET_TURN } else { SHORT_TURN };
        Budget { short, ..Budget::begin() }
    }

    /// That of a task which serves many connections at once.
    pub(crate) fn begin_shared() -> Budget {
        Budget { before: METER.with(|meter| meter.spent.get()), short: SHORT_SHARED_TURN }
    }

    /// Others have waited long enough.
    pub(crate) fn is_spent(&self) -> bool {
        METER.with(|meter| {
            let spent = meter.spent.get().wrapping_sub(self.before);
            spent >= self.short && (spent >= TURN || meter.waiting.get() > 0)
        })
    }

    /// The work was for this connection.
    pub(super) fn charge_to(&self, account: &Account) {
        account.charge(self.spent(), now(), WORK);
    }

    fn spent(&self) -> u64 {
        METER.with(|meter| meter.spent.get()).wrapping_sub(self.before)
    }
}

/// To be called before connections are woken: it depends on the time which of them are quiet. And before it is asked what
/// is [stuck](super::progress).
pub(super) fn look_at_clock() {
    let now = EPOCH.with(Instant::elapsed).as_millis() as u32;
    METER.with(|meter| meter.now.set(now));
}

/// Milliseconds of this worker's clock when it last looked. They wrap.
pub(super) fn now() -> u32 {
    METER.with(|meter| meter.now.get())
}

/// Sets this thread's clock forward until it looks.
#[cfg(test)]
pub(super) fn let_pass(ms: u32) {
    METER.with(|meter| meter.now.set(meter.now.get().wrapping_add(ms)));
}

fn lane_of(account: &Account) -> Lane {
    if is_quiet(account) { Lane::Quiet } else { Lane::Busy }
}

/// True if a connection of this worker used little lately.
pub(super) fn is_quiet(account: &Account) -> bool {
    account.is_quiet(now(), WORK)
}

/// True if turns of this worker come late, also those of quiet connections.
pub(super) fn is_late() -> bool {
    WOKEN.with_borrow(RunQueue::is_late)
}

/// Gives a connection of this worker a turn.
pub(super) fn wake(token: Token, account: &Account) {
    push(token, lane_of(account));
}

/// Gives a connection another turn that had more to do than one had time for. It is busy whatever it used: with hundreds of
/// them a turn of each takes longer than its account needs to forget one (RFC 8290, section 4.1, moves such a flow too).
pub(super) fn wake_again(token: Token) {
    push(token, Lane::Busy);
}

fn push(token: Token, lane: Lane) {
    WOKEN.with_borrow_mut(|queue| {
        queue.push(token, lane);
        METER.with(|meter| meter.waiting.set(queue.len()));
    });
}

/// Has a connection of this worker written.
pub(super) fn flush(token: Token, account: &Account) {
    PUSHED.with_borrow_mut(|queue| queue.push(token, lane_of(account)));
}

/// Takes the connection whose turn comes, if one waits, and its lane.
fn next_woken() -> Option<(Token, Lane)> {
    WOKEN.with_borrow_mut(|queue| {
        let lane = queue.next_lane();
        let token = queue.pop()?;
        METER.with(|meter| meter.waiting.set(queue.len()));
        Some((token, lane))
    })
}

/// Gives the connections that were woken their turns, with a look at the sockets after each round, and after the work of
/// one long turn: a flood from some keeps the others waiting no longer than that. Each turn is charged to its connection.
///
/// Not under tokio's budget, which is meant for one task that does one thing.
pub(super) async fn take_turns() {
    unconstrained(async {
        let mut respite = Respite::default();
        loop {
            let (waiting, is_mixed) = next_round(&mut respite).await;
            look_at_clock();
            let measured = (is_mixed && respite.until().is_none()).then(Round::begin);
            let work = if is_mixed { SHORT_ROUND } else { TURN };
            let round = Budget::begin();
            let mut group = Budget::begin();
            let mut taken = 0;
            let mut before = Lane::Quiet;
            while taken < waiting.min(ROUND) && round.spent() < work {
                if taken % GROUP == 0 {
                    WOKEN.with_borrow(|queue| connections::look_ahead(queue.ahead().take(GROUP)));
                }
                let Some((token, lane)) = next_woken() else { break };
                taken += 1;
                if (before, lane) == (Lane::Quiet, Lane::Busy) {
                    // Answers to quiet connections don't wait for a long turn.
                    connections::send_back();
                }
                before = lane;
                let budget = Budget::begin_of(lane);
                connections::take_turn(token, &budget);
                if lane == Lane::Quiet {
                    WOKEN.with_borrow_mut(|queue| queue.note_quiet_work(budget.spent()));
                }
                if taken % GROUP == 0 || group.spent() >= GROUP_WORK || shared_buffer::is_crowded() {
                    connections::send_back();
                    group = Budget::begin();
                }
            }
            connections::send_back();
            if !is_mixed {
                respite = Respite::default();
            } else if let Some(round) = measured.filter(|_| before == Lane::Busy) {
                let (took, ran) = round.end();
                respite.note(took, ran);
            }
            if !WOKEN.with_borrow(RunQueue::is_empty) {
                yield_now().await;
            }
        }
    })
    .await;
}

/// Waits until connections wait for turns. Answers how many, and whether quiet ones come between busy ones. While busy ones
/// [rest](Respite), it is for the quiet ones.
async fn next_round(respite: &mut Respite) -> (usize, bool) {
    if let Some(until) = respite.until().filter(|until| *until > Instant::now()) {
        let quiet = poll_fn(|cx| WOKEN.with_borrow_mut(|queue| queue.poll_quiet(cx)));
        if let Ok(waiting) = timeout_at(until.into(), quiet).await {
            return (waiting, true);
        }
    }
    respite.end();
    poll_fn(|cx| {
        WOKEN.with_borrow_mut(|queue| {
            let is_mixed = queue.is_mixed();
            queue.poll_len(cx).map(|waiting| (waiting, is_mixed))
        })
    })
    .await
}

/// Writes what was pushed to connections in portions, with a look at the sockets between them.
///
/// A fan-out to thousands would otherwise be one long stretch, and what arrives meanwhile would wait
/// behind it. This way the next message is read while most of the previous one's recipients still wait, and both
/// go out to them in one write: the busier, the fewer writes. Nobody has a turn for it: a fan-out touches
/// no more of a connection than its outbox and its socket.
pub(super) async fn flush_pushed() {
    let (mut portion, mut outboxes) = (Vec::with_capacity(PORTION), Vec::with_capacity(PORTION));
    loop {
        poll_fn(|cx| PUSHED.with_borrow_mut(|queue| queue.poll_len(cx))).await;
        let lane = PUSHED.with_borrow_mut(|queue| {
            let lane = queue.next_lane();
            while portion.len() < PORTION && queue.next_lane() == lane {
                let Some(token) = queue.pop() else { break };
                portion.push(token);
            }
            lane
        });
        let budget = Budget::begin();
        connections::flush(&mut portion, &mut outboxes);
        let is_empty = PUSHED.with_borrow_mut(|queue| {
            if lane == Lane::Quiet {
                queue.note_quiet_work(budget.spent());
            }
            // Too much for one time. Quiet ones that were pushed meanwhile go before it.
            queue.put_back(portion.drain(..), lane);
            queue.is_empty()
        });
        if !is_empty {
            // Goes on after the sockets were looked at and what they woke has run.
            yield_now().await;
        }
    }
}
