//! The intake: clients' messages are taken in at a measured pace while Redis has not answered what was relayed before.
//!
//! Each connection has a window: the relayed messages that Redis has not answered yet. A connection beyond its window is
//! not read. The window is a share of the room that all connections together leave free ("dynamic thresholds", Choudhury
//! and Hahne, 1998), so it shrinks by itself as more connections relay, and no one has to count them. Connections beyond
//! their windows stand in one line, and are called as the room allows. A connection that has nothing unanswered does not stand
//! in line, unless its last message was large.
//!
//! The line is ordered by virtual time, which passes as quickly as those in line relay on average ("fair queueing", Demers,
//! Keshav and Shenker, 1989). A connection that relayed more than that comes later. So one that relays little does not wait for
//! all that relay much.
//! The rest waits with the clients and not in Redis, where messages of quiet connections go before it: see `Asker::goes_first`.
//!
//! The unit is about the time that Redis needs for a small message: see [`cost`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

pub(crate) use self::pace::Pace;
use super::account::WORK;
use super::quota::Quota;
use crate::worker::account::Account;
use crate::worker::handle::Handle;
use crate::worker::scheduler;

mod pace;

/// Units that all connections together may have unanswered: a few milliseconds of Redis' time.
const ROOM: usize = 2048;
/// A connection gets this fraction of the free room, but no less than `LEAST` and no more than `MOST`.
const SHARE: usize = 8;
const LEAST: usize = 8;
const MOST: usize = 256;
/// Payload bytes that cost as much as a message does.
const BYTES_PER_UNIT: usize = 1024;
/// Connections in line that are looked at before others get their turns.
const GLANCES: usize = 64;
/// Bits of a virtual time behind its point.
const FRACTION: u32 = 16;

/// The units that relaying a payload of so many bytes once takes.
pub(crate) fn cost(bytes: usize) -> u32 {
    u32::try_from(1 + bytes / BYTES_PER_UNIT).unwrap_or(u32::MAX)
}

/// A connection's part. Lies in its [`Handle`].
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Units that are not answered.
    in_flight: AtomicU32,
    /// Those of them that go behind others: see `Asker::goes_first`.
    behind: AtomicU32,
    /// The most units that it had unanswered since it last had none. Its own worker's, as the next.
    peak: AtomicU32,
    /// Units that its last message took. One that took more than [`LEAST`] is followed by another only if there is room.
    last: AtomicU32,
    /// Units that it had in flight when it last got in line: room is kept for as much when it is called.
    burst: AtomicU32,
    /// Units that it relayed since it last stood in line or had none unanswered.
    used: AtomicU32,
    /// Its place when it last stood in line: see [`PlaceInLine`].
    time: AtomicU64,
    arrival: AtomicU32,
    /// Its relayed messages of late: see [`Pace`].
    lately: Account,
    /// It was beyond its window when it last relayed. Written by its own worker only.
    full: AtomicBool,
}

impl Window {
    /// Units of relayed messages that Redis has not answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst) as usize
    }

    /// True if its next message may go before those of others, if that is small: it overtakes none of its own, and the burst
    /// that it is part of is short. Parts of a longer one would come back one by one. For the connection's own worker.
    fn may_go_first(&self) -> bool {
        let peak = self.peak.load(Ordering::Relaxed) as usize;
        if self.in_flight() == 0 && peak > 0 {
            self.peak.store(0, Ordering::Relaxed);
            self.used.store(0, Ordering::Relaxed);
        }
        peak < LEAST && self.behind.load(Ordering::SeqCst) == 0
    }

    fn set_full(&self, full: bool) {
        if self.full.load(Ordering::Relaxed) != full {
            self.full.store(full, Ordering::Relaxed);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Intake {
    /// Units without an answer, of all connections, and those that room is kept for.
    in_flight: AtomicUsize,
    quota: Arc<Quota>,
    line: Mutex<WaitingLine>,
    /// The length of the line. Written under its lock.
    waiting: AtomicUsize,
    pace: Pace,
}

/// The amount that clients relay: others should not wait for long portions of much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nobody stands in line.
    Little,
    /// The same, but what goes first has lately been too much.
    Crowd,
    /// Some stand in line.
    Flood,
}

/// Connections that wait, by the virtual time at which they are to go on.
#[derive(Debug, Default)]
struct WaitingLine {
    waiting: BTreeMap<PlaceInLine, Arc<Handle>>,
    /// The virtual time, in units: what a connection in line relayed so far, on average. No later than `called`.
    now: u64,
    /// The latest time of one that was called.
    called: u64,
    /// The number of times that anybody stood in line.
    arrivals: u32,
    /// The next to be looked at: not the first if all before it have yet to be answered.
    next: PlaceInLine,
}

/// The virtual time at which a connection is to go on, and which of all arrivals it was: those of one time are called in the
/// order in which they came.
type PlaceInLine = (u64, u32);

impl WaitingLine {
    /// A connection comes the later, the more it relayed since it last stood here.
    fn stand(&mut self, handle: &Arc<Handle>) {
        let window = handle.window();
        let used = u64::from(window.used.swap(0, Ordering::Relaxed)) << FRACTION;
        // One that was called before its time, for there was room to spare, need not make up for that.
        let since = self.now.min(window.time.load(Ordering::Relaxed));
        let time = self.now.max(since + used);
        self.arrivals = self.arrivals.wrapping_add(1);
        window.time.store(time, Ordering::Relaxed);
        window.arrival.store(self.arrivals, Ordering::Relaxed);
        self.waiting.insert((time, self.arrivals), handle.clone());
        self.now = (self.now + used / self.waiting.len() as u64).min(self.called);
    }

    /// A connection has ended.
    fn leave(&mut self, handle: &Handle) {
        let window = handle.window();
        self.waiting.remove(&(window.time.load(Ordering::Relaxed), window.arrival.load(Ordering::Relaxed)));
    }

    /// The first after that place.
    fn next(&self, after: PlaceInLine) -> Option<(PlaceInLine, &Arc<Handle>)> {
        let (place, handle) = self.waiting.range((Bound::Excluded(after), Bound::Unbounded)).next()?;
        Some((*place, handle))
    }
}

/// One that no quota bounds.
#[cfg(test)]
impl Default for Intake {
    fn default() -> Intake {
        Intake::new(Arc::new(Quota::new(usize::MAX)))
    }
}

impl Intake {
    /// One whose connections wait also while half of `quota` is used up.
    pub fn new(quota: Arc<Quota>) -> Intake {
        Intake {
            in_flight: AtomicUsize::new(0),
            quota,
            line: Mutex::default(),
            waiting: AtomicUsize::new(0),
            pace: Pace::default(),
        }
    }

    /// The bytes that one connection may have unanswered while all have `in_flight`.
    fn window(&self, in_flight: usize) -> usize {
        (ROOM.saturating_sub(in_flight) / SHARE).clamp(LEAST, MOST)
    }

    /// A message of a connection is about to be relayed, once. Answers whether it may go before those of others, which those
    /// of a connection that has used little lately may, of its worker and of Redis. For the connection's own worker.
    pub fn begin(&self, handle: &Handle, cost: u32) -> bool {
        let window = handle.window();
        let (now, rate) = (scheduler::now(), self.pace.rate());
        let is_quiet = handle.account().is_quiet(now, WORK) && window.lately.is_quiet(now, rate);
        window.lately.charge(Pace::parts(cost), now, rate);
        self.count_in(handle, cost, is_quiet)
    }

    fn count_in(&self, handle: &Handle, cost: u32, is_quiet: bool) -> bool {
        let window = handle.window();
        let first = window.may_go_first() && is_quiet && cost as usize <= LEAST;
        if !first {
            window.behind.fetch_add(cost, Ordering::SeqCst);
        }
        let own = window.in_flight.fetch_add(cost, Ordering::SeqCst) as usize + cost as usize;
        let all = self.in_flight.fetch_add(cost as usize, Ordering::SeqCst) + cost as usize;
        if window.last.load(Ordering::Relaxed) != cost {
            window.last.store(cost, Ordering::Relaxed);
        }
        if own > window.peak.load(Ordering::Relaxed) as usize {
            window.peak.store(own as u32, Ordering::Relaxed);
        }
        window.used.store(window.used.load(Ordering::Relaxed).saturating_add(cost), Ordering::Relaxed);
        window.set_full(own >= self.window(all) || cost as usize > LEAST);
        first
    }

    /// That message is answered, or never will be. `first`: see [`Intake::begin`]. From any thread.
    pub fn end(&self, handle: &Handle, cost: u32, first: bool) {
        if !first {
            handle.window().behind.fetch_sub(cost, Ordering::SeqCst);
        }
        handle.window().in_flight.fetch_sub(cost, Ordering::SeqCst);
        self.in_flight.fetch_sub(cost as usize, Ordering::SeqCst);
    }

    /// True if a connection's next message has to wait. If so, it stands in line from here on, and is woken when it is
    /// called. For the connection's own worker.
    pub fn must_wait(&self, handle: &Arc<Handle>) -> bool {
        (handle.window().full.load(Ordering::Relaxed)
            || self.quota.is_short_for_clients()
            || self.quota.is_giving_up())
            && self.wait(handle)
    }

    #[cold]
    fn wait(&self, handle: &Arc<Handle>) -> bool {
        if handle.is_held() {
            // It stands in line already, and is woken when it is called.
            return true;
        }
        let kept = self.arrive(handle);
        let window = handle.window();
        let last = window.last.load(Ordering::Relaxed) as usize;
        let in_flight = self.in_flight.load(Ordering::SeqCst);
        let fits = window.in_flight() < self.window(in_flight) && (last <= LEAST || in_flight < ROOM);
        if (kept || fits)
            && !self.quota.is_short_for_clients()
            && (!self.quota.is_giving_up() || window.in_flight() == 0)
        {
            window.set_full(false);
            if kept {
                // It may relay less than room was kept for, or nothing.
                self.call_next(0);
            }
            return false;
        }
        // It has to come by here again once it is called, for the room that is kept then.
        window.set_full(true);
        {
            let mut line = self.line.lock();
            let burst = window.in_flight().max(last).clamp(LEAST, MOST);
            window.burst.store(burst as u32, Ordering::Relaxed);
            handle.set_held();
            line.stand(handle);
            self.waiting.store(line.waiting.len(), Ordering::SeqCst);
        }
        // The last answer may have come before anyone could see it in line.
        self.call_next(0);
        // Also if it was called: it is woken.
        true
    }

    /// True if a message of this connection has as much under way as those of all together may: the rest of it waits.
    pub fn is_used_up_by(&self, handle: &Handle) -> bool {
        handle.window().in_flight() >= ROOM || self.quota.is_short_for_clients()
    }

    /// The bounds of those whose messages go first.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The amount that clients relay.
    pub fn demand(&self) -> Demand {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            Demand::Flood
        } else if self.pace.is_low() {
            Demand::Crowd
        } else {
            Demand::Little
        }
    }

    /// Calls those in line that there is room for, and one in any case: hundreds that each stay within the least, and so are never
    /// asked, may use up the room for good. To be called after answers came.
    pub fn call(&self) {
        self.call_next(1);
    }

    /// `without_room`: so many are called also if there is none.
    fn call_next(&self, without_room: usize) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut line = self.line.lock();
        let (mut place, mut passed_over) = (std::mem::take(&mut line.next), 0);
        let mut is_last_lap = place == PlaceInLine::default();
        let mut called = 0;
        loop {
            let in_flight = self.in_flight.load(Ordering::SeqCst);
            let has_room = in_flight < ROOM;
            if (!has_room && called >= without_room)
                || self.quota.is_short_for_clients()
                || self.quota.is_giving_up()
            {
                break;
            }
            if passed_over == GLANCES {
                // Those behind them are looked at next time.
                line.next = place;
                break;
            }
            let Some((next, handle)) = line.next(place) else {
                if is_last_lap {
                    break;
                }
                (place, is_last_lap) = (PlaceInLine::default(), true);
                continue;
            };
            place = next;
            // At half of its window, so that it isn't woken for each single message.
            let window = handle.window();
            let is_large = window.last.load(Ordering::Relaxed) as usize > LEAST;
            if window.in_flight() > self.window(in_flight) / 2 || (!has_room && is_large) {
                passed_over += 1;
                continue;
            }
            let Some(handle) = line.waiting.remove(&place) else { break };
            called += 1;
            line.called = line.called.max(place.0);
            let burst = handle.window().burst.load(Ordering::Relaxed) as usize;
            self.in_flight.fetch_add(burst, Ordering::SeqCst);
            handle.call();
            // One that has ended meanwhile does not arrive any more.
            if !handle.is_open() {
                self.arrive(&handle);
            }
        }
        self.waiting.store(line.waiting.len(), Ordering::SeqCst);
    }

    /// A connection that was called goes on, or has ended: no room is kept for it any more. Returns whether any was.
    fn arrive(&self, handle: &Handle) -> bool {
        let called = handle.was_called();
        if called {
            let burst = handle.window().burst.load(Ordering::Relaxed);
            self.in_flight.fetch_sub(burst as usize, Ordering::SeqCst);
        }
        called
    }

    /// A connection that was called can't go on for now: others get the room that was kept for it.
    pub fn make_room(&self, handle: &Handle) {
        if self.arrive(handle) {
            self.call_next(0);
        }
    }

    /// A connection has ended: nothing is kept for it.
    pub fn leave(&self, handle: &Handle) {
        if handle.is_held() {
            let mut line = self.line.lock();
            line.leave(handle);
            self.waiting.store(line.waiting.len(), Ordering::SeqCst);
        }
        self.make_room(handle);
    }

    /// Lets go of all that stand in line, because a worker has ended: a handle there would keep its inbox, and that this. Those of
    /// other workers end next.
    pub fn disband(&self) {
        let waiting = std::mem::take(&mut self.line.lock().waiting);
        self.waiting.store(0, Ordering::SeqCst);
        drop(waiting);
    }
}

#[cfg(test)]
mod tests;
