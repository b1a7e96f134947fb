//! Turns: whose it is, on one worker, and how long one may be.
//!
//! A worker polls its connections itself. A runtime's task would cost each of them an allocation, and each message several
//! locked instructions, for being woken from any thread and run on any: but a connection is woken by its worker's
//! sockets, or through the inbox, and only ever runs there.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use tokio::task::coop::unconstrained;
use tokio::task::yield_now;
use tokio::time::timeout_at;

use super::Worker;
use super::account::{Account, WORK};
use super::respite::{Respite, Round};
use super::run_queue::{Lane, RunQueue};
use super::send_queue::SendQueue;
use super::token::Token;
use super::writer::Flushed;

/// Connections that have a turn between two looks at the sockets.
const ROUND: usize = 256;
/// Connections that read one after the other, before what goes back to them is sent: see [`shared_buffer`](super::shared_buffer). Their memory
/// is asked for at once, see [`Connections::look_ahead`](super::connections::Connections::look_ahead).
const GROUP: usize = 16;
/// The work that they may do until then, as [`charge`] counts.
const GROUP_WORK: u64 = 1024;
/// Connections that are written between two looks at the sockets, see [`flush_pushed`].
const PORTION: usize = 64;

/// The scheduler of one worker: says whose turn it is.
#[derive(Debug)]
pub(super) struct Scheduler {
    /// Connections that are to have a turn.
    woken: RefCell<RunQueue>,
    /// Connections that have something to write, which others pushed.
    pushed: RefCell<RunQueue>,
    /// The work that all tasks of the worker have done, see [`charge`].
    total: Cell<u64>,
    /// The number of those in `woken`.
    waiting: Cell<usize>,
    /// Milliseconds of its clock when it last looked.
    now: Cell<u32>,
    epoch: Instant,
}

/// The work of one round while quiet connections come between busy ones. Otherwise it is [`TURN`].
const SHORT_ROUND: u64 = 2048;
/// The work that a connection or a task may do in one turn while nobody waits, in units of about 50 ns: see [`charge`].
const TURN: u64 = 8192;
/// The same while connections wait for their turns.
const SHORT_TURN: u64 = 1024;
/// The same for a quiet connection. If it has more to do, it goes on as a busy one: hundreds that are quiet don't wait for each
/// other's bursts.
const QUIET_TURN: u64 = 256;
/// The same for a task that serves many connections at once.
const SHORT_SHARED_TURN: u64 = 4096;

/// The cost of a system call that reads or writes a socket, beside [`bytes()`].
pub(super) const CALL: u64 = 16;

/// The cost of passing over so many bytes once: to copy, unmask or check them.
pub(crate) fn bytes(len: usize) -> u64 {
    (len / 512) as u64
}

/// Notes work that is done in this turn, in the same units: a push to a connection is one.
pub(crate) fn charge(units: u64) {
    super::with(|worker| worker.scheduler.charge(units));
}

/// A turn, from now on.
pub(crate) struct Budget {
    /// The work that was done before it.
    before: u64,
    /// The work that it may charge while connections wait.
    short: u64,
}

impl Budget {
    /// That of a task.
    pub(crate) fn begin() -> Budget {
        super::with(|worker| worker.scheduler.begin()).unwrap_or(Budget { before: 0, short: SHORT_TURN })
    }

    /// That of a task which serves many connections at once.
    pub(crate) fn begin_shared() -> Budget {
        Budget { short: SHORT_SHARED_TURN, ..Budget::begin() }
    }

    /// Others have waited long enough. So they have on a thread that is no worker.
    pub(crate) fn is_spent(&self) -> bool {
        super::with(|worker| worker.scheduler.is_spent(self)).unwrap_or(true)
    }
}

/// Milliseconds of the worker's clock when it last looked. They wrap.
pub(super) fn now() -> u32 {
    super::with(|worker| worker.scheduler.now()).unwrap_or(0)
}

/// Sets this worker's clock forward until it looks.
#[cfg(test)]
pub(super) fn let_pass(ms: u32) {
    super::with(|worker| worker.scheduler.now.set(worker.scheduler.now().wrapping_add(ms)));
}

impl Scheduler {
    pub(super) fn new() -> Scheduler {
        Scheduler {
            woken: RefCell::default(),
            pushed: RefCell::default(),
            total: Cell::new(0),
            waiting: Cell::new(0),
            now: Cell::new(0),
            epoch: Instant::now(),
        }
    }

    /// See [`charge`].
    #[inline]
    pub(super) fn charge(&self, units: u64) {
        self.total.set(self.total.get().wrapping_add(units));
    }

    /// The budget of work for one connection.
    pub(super) fn begin(&self) -> Budget {
        Budget { before: self.total.get(), short: SHORT_TURN }
    }

    /// That of a connection which waited in this lane.
    fn begin_in(&self, lane: Lane) -> Budget {
        let short = if lane == Lane::Quiet { QUIET_TURN } else { SHORT_TURN };
        Budget { before: self.total.get(), short }
    }

    fn spent(&self, budget: &Budget) -> u64 {
        self.total.get().wrapping_sub(budget.before)
    }

    /// See [`Budget::is_spent`].
    #[inline]
    pub(super) fn is_spent(&self, budget: &Budget) -> bool {
        let spent = self.spent(budget);
        spent >= budget.short && (spent >= TURN || self.waiting.get() > 0)
    }

    /// The work was for this connection.
    pub(super) fn charge_to(&self, account: &Account, budget: &Budget) {
        account.charge(self.spent(budget), self.now(), WORK);
    }

    /// To be called before connections are woken: it depends on the time which of them are quiet. And before it is asked what
    /// is [stuck](super::progress).
    pub(super) fn look_at_clock(&self) {
        self.now.set(self.epoch.elapsed().as_millis() as u32);
    }

    /// See [`now`].
    pub(super) fn now(&self) -> u32 {
        self.now.get()
    }

    /// True if a connection of its worker used little lately.
    pub(super) fn is_quiet(&self, account: &Account) -> bool {
        account.is_quiet(self.now(), WORK)
    }

    fn lane_of(&self, account: &Account) -> Lane {
        if self.is_quiet(account) { Lane::Quiet } else { Lane::Busy }
    }

    /// True if turns of its worker come late, also those of quiet connections.
    pub(super) fn is_late(&self) -> bool {
        self.woken.borrow().is_late(self.now())
    }

    /// Gives a connection of its worker a turn.
    pub(super) fn wake(&self, token: Token, account: &Account) {
        self.push(token, self.lane_of(account));
    }

    /// Gives a connection another turn that had more to do than one had time for. It is busy whatever it used: with hundreds of
    /// them a turn of each takes longer than its account needs to forget one (RFC 8290, section 4.1, moves such a flow too).
    pub(super) fn wake_again(&self, token: Token) {
        self.push(token, Lane::Busy);
    }

    fn push(&self, token: Token, lane: Lane) {
        let mut queue = self.woken.borrow_mut();
        queue.push(token, lane, self.now());
        self.waiting.set(queue.len());
    }

    /// Has a connection of its worker written.
    pub(super) fn flush(&self, token: Token, account: &Account) {
        self.pushed.borrow_mut().push(token, self.lane_of(account), self.now());
    }

    /// Takes the connection whose turn comes, if one waits, and its lane.
    pub(super) fn next_woken(&self) -> Option<(Token, Lane)> {
        let mut queue = self.woken.borrow_mut();
        let lane = queue.next_lane();
        let token = queue.pop(self.now())?;
        self.waiting.set(queue.len());
        Some((token, lane))
    }
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
            let is_empty = super::with(|worker| {
                take_round(waiting, is_mixed, &mut respite, worker);
                worker.scheduler.woken.borrow().is_empty()
            });
            if is_empty == Some(false) {
                yield_now().await;
            }
        }
    })
    .await;
}

fn take_round(waiting: usize, is_mixed: bool, respite: &mut Respite, worker: &Worker) {
    let Worker { scheduler, connections, buffer, .. } = worker;
    scheduler.look_at_clock();
    let measured = (is_mixed && respite.until().is_none()).then(Round::begin);
    let work = if is_mixed { SHORT_ROUND } else { TURN };
    let round = scheduler.begin();
    let mut group = scheduler.begin();
    let mut taken = 0;
    let mut before = Lane::Quiet;
    while taken < waiting.min(ROUND) && scheduler.spent(&round) < work {
        if taken % GROUP == 0 {
            connections.look_ahead(scheduler.woken.borrow().ahead().take(GROUP));
        }
        let Some((token, lane)) = scheduler.next_woken() else { break };
        taken += 1;
        if (before, lane) == (Lane::Quiet, Lane::Busy) {
            // Answers to quiet connections don't wait for a long turn.
            connections.send_back(worker);
        }
        before = lane;
        let budget = scheduler.begin_in(lane);
        connections.take_turn(token, &budget, worker);
        if lane == Lane::Quiet {
            scheduler.woken.borrow_mut().note_quiet_work(scheduler.spent(&budget));
        }
        if taken % GROUP == 0 || scheduler.spent(&group) >= GROUP_WORK || buffer.is_crowded() {
            connections.send_back(worker);
            group = scheduler.begin();
        }
    }
    connections.send_back(worker);
    if !is_mixed {
        *respite = Respite::default();
    } else if let Some(round) = measured.filter(|_| before == Lane::Busy) {
        let (took, ran) = round.end();
        respite.note(took, ran);
    }
}

/// Polls one of this worker's queues.
fn poll_queue<R>(
    queue: fn(&Scheduler) -> &RefCell<RunQueue>,
    mut poll: impl FnMut(&mut RunQueue) -> Poll<R>,
) -> Poll<R> {
    super::with(|worker| poll(&mut queue(&worker.scheduler).borrow_mut())).unwrap_or(Poll::Pending)
}

/// Waits until connections wait for turns. Answers how many, and whether quiet ones come between busy ones. While busy ones
/// [rest](Respite), it is for the quiet ones.
async fn next_round(respite: &mut Respite) -> (usize, bool) {
    if let Some(until) = respite.until().filter(|until| *until > Instant::now()) {
        let quiet = poll_fn(|cx| poll_queue(|scheduler| &scheduler.woken, |queue| queue.poll_quiet(cx)));
        if let Ok(waiting) = timeout_at(until.into(), quiet).await {
            return (waiting, true);
        }
    }
    respite.end();
    poll_fn(|cx| {
        poll_queue(
            |scheduler| &scheduler.woken,
            |queue| {
                let is_mixed = queue.is_mixed();
                queue.poll_len(cx).map(|waiting| (waiting, is_mixed))
            },
        )
    })
    .await
}

/// Writes what was pushed to connections in portions, with a look at the sockets between them.
///
/// A fan-out to thousands would otherwise be one long stretch, and what arrives meanwhile would wait
/// behind it. This way the next message is read while most of the previous one's recipients still wait, and both
/// go out to them in one write: the busier, the fewer writes. Nobody has a turn for it: a fan-out touches
/// no more of a connection than its send queue and its socket.
pub(super) async fn flush_pushed() {
    let (mut portion, mut queues) = (Vec::with_capacity(PORTION), Vec::with_capacity(PORTION));
    loop {
        poll_fn(|cx| poll_queue(|scheduler| &scheduler.pushed, |queue| queue.poll_len(cx))).await;
        let is_empty = super::with(|worker| {
            flush_portion(&mut portion, &mut queues, worker);
            worker.scheduler.pushed.borrow().is_empty()
        });
        if is_empty == Some(false) {
            // Goes on after the sockets were looked at and what they woke has run.
            yield_now().await;
        }
    }
}

fn flush_portion(
    portion: &mut Vec<Token>,
    queues: &mut Vec<(Token, Result<Box<SendQueue>, Flushed>)>,
    worker: &Worker,
) {
    let scheduler = &worker.scheduler;
    let mut queue = scheduler.pushed.borrow_mut();
    let lane = queue.next_lane();
    while portion.len() < PORTION && queue.next_lane() == lane {
        let Some(token) = queue.pop(scheduler.now()) else { break };
        portion.push(token);
    }
    drop(queue);
    let budget = scheduler.begin();
    worker.connections.flush(portion, queues, worker);
    let mut queue = scheduler.pushed.borrow_mut();
    if lane == Lane::Quiet {
        queue.note_quiet_work(scheduler.spent(&budget));
    }
    // Too much for one time. Quiet ones that were pushed meanwhile go before it.
    queue.put_back(portion.drain(..), lane);
}
