//! Events of connections that wait for the embedder. Each connection has a queue of its own, and the queues are served in
//! turn, so that a connection with many messages keeps no other waiting.
//!
//! The order is that of RFC 8290, section 4.2: a connection that newly has something goes first, once a round; one that has
//! more than its turn takes goes to the back of the round. A quiet connection does not wait for a round of busy ones. Quiet
//! ones may have as many turns in a round as there are connections; from then on every other turn is a busy one's. New
//! connections that come and go without end therefore keep nobody from its turn.
//!
//! So that there is room for it as well, a connection may have no more waiting than is left free for all others ("dynamic
//! thresholds", Choudhury and Hahne, 1998). Shares shrink by themselves as more connections flood, and no one has to count
//! them. One message always fits, so large ones of many connections may leave nothing free. There is a reserve as large as
//! the limit, of which each may have a small part of what is left.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use super::events::Event;
use super::handle::{ConnectionId, Handle};

/// Messages of one connection that may wait: about what its listener takes in a few milliseconds. A message occupies some
/// hundred bytes however small it is, and work, so that bytes alone would let thousands of them wait.
pub(super) const MAX_MESSAGES: usize = 512;
/// A connection may have this fraction of what the reserve has left: of 32 MiB, some hundred small messages.
const RESERVE_SHARE: usize = 2048;
/// What a waiting message counts beyond its payload, so that a flood of empty ones is bounded over all connections too.
const MESSAGE_OVERHEAD: usize = 64;
/// Events of a turn, at most: what is answered to all of them goes out in one write. Shorter ones would cost a write for
/// fewer, so turns get shorter only where a round would last for more batches than this.
const TURN: usize = 16;
const ROUND_BATCHES: usize = 4;
/// Bytes after which a turn ends, and those after which a batch does: copying them takes time in which nobody is served.
const TURN_BYTES: usize = 16 * 1024;
const BATCH_BYTES: usize = 256 * 1024;
/// Room that is kept when nothing waits.
const SPARE: usize = 4096;

/// No further item.
const NONE: usize = usize::MAX;

/// An event, and the next one of its connection.
struct Item {
    event: Event,
    next: usize,
}

/// What waits of one connection, never nothing.
struct Flow {
    first: usize,
    last: usize,
    /// Messages, and bytes of them.
    messages: usize,
    bytes: usize,
    /// The connection waits until its events are dealt with.
    is_awaited: bool,
}

/// How much waits of all connections.
#[derive(Clone, Copy)]
struct Room {
    /// Bytes of messages.
    taken: usize,
    /// What those should not exceed but for the reserve, and what those of one connection should not.
    limit: usize,
    max_share: usize,
}

impl Room {
    /// What is left if the reserve is counted in.
    fn left(&self) -> usize {
        self.limit.saturating_mul(2).saturating_sub(self.taken)
    }

    /// Bytes of its messages from which on a connection is paused. At 0 it has one message at a time.
    fn share(&self) -> usize {
        self.max_share.min(self.limit.saturating_sub(self.taken).max(self.left() / RESERVE_SHARE))
    }
}

/// See the module.
pub(super) struct Flows {
    flows: Slab<Flow>,
    /// All events, those of a flow linked to each other: a flow that comes and goes allocates nothing.
    items: Slab<Item>,
    /// Flows that newly have something, and all others. Each flow is in one of them, once.
    fresh: VecDeque<usize>,
    busy: VecDeque<usize>,
    /// How many of `busy` have yet to be served in this round.
    left: usize,
    /// Turns of `fresh` for which `busy` has waited in this round.
    yielded: usize,
    /// Number of the latest turn, and of the one with which this round of `busy` began.
    turn: u64,
    round_began: u64,
    room: Room,
}

/// What came of a batch.
#[derive(Default)]
pub(super) struct Taken {
    /// Connections that may be read again.
    pub relieved: Vec<Arc<Handle>>,
    /// Connections that wait until the batch is dealt with.
    pub awaiting: Vec<Arc<Handle>>,
    /// Connections whose beginning is in the batch.
    pub opened: Vec<ConnectionId>,
}

/// What an event counts towards the limits, if it is a message or as frequent.
pub(super) fn size(event: &Event) -> Option<usize> {
    match event {
        Event::Text { text, .. } => Some(text.len() + MESSAGE_OVERHEAD),
        Event::Binary { bytes, .. } | Event::Pong { bytes, .. } => Some(bytes.len() + MESSAGE_OVERHEAD),
        Event::Drain { .. } => Some(MESSAGE_OVERHEAD),
        _ => None,
    }
}

impl Flows {
    /// `limit` bytes of messages may wait, and `max_share` of one connection's.
    pub fn new(limit: usize, max_share: usize) -> Self {
        Flows {
            flows: Slab::new(),
            items: Slab::new(),
            fresh: VecDeque::new(),
            busy: VecDeque::new(),
            left: 0,
            yielded: 0,
            turn: 1,
            round_began: 1,
            room: Room { taken: 0, limit, max_share },
        }
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes of messages that wait.
    pub fn bytes(&self) -> usize {
        self.room.taken
    }

    /// Number of the latest turn, for [`Handle::last_turn`].
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// Queues an event of a connection, which is paused if it has its share then. Of two [drains](Event::Drain) in a row the
    /// second says nothing new, and no pause would bound them, for they come of writing.
    pub fn push(&mut self, event: Event) {
        let Some(handle) = event.connection() else { return };
        let key = handle.flow().unwrap_or_else(|| self.begin(handle));
        if matches!(event, Event::Drain { .. }) && self.ends_with_drain(key) {
            return;
        }
        let size = size(&event);
        let flow = &mut self.flows[key];
        if let Some(size) = size {
            flow.messages += 1;
            flow.bytes += size;
            self.room.taken += size;
            if (flow.messages >= MAX_MESSAGES || flow.bytes >= self.room.share()) && !handle.is_paused() {
                handle.set_paused(true);
            }
        }
        let item = self.items.insert(Item { event, next: NONE });
        if flow.last == NONE {
            flow.first = item;
        } else {
            self.items[flow.last].next = item;
        }
        flow.last = item;
    }

    fn ends_with_drain(&self, key: usize) -> bool {
        self.items.get(self.flows[key].last).is_some_and(|item| matches!(item.event, Event::Drain { .. }))
    }

    /// Begins a flow.
    fn begin(&mut self, handle: &Handle) -> usize {
        let flow = Flow { first: NONE, last: NONE, messages: 0, bytes: 0, is_awaited: false };
        let key = self.flows.insert(flow);
        handle.set_flow(Some(key));
        // Once a round: who was served in this one already is no quieter than the others.
        if self.busy.is_empty() || handle.last_turn() < self.round_began {
            self.fresh.push_back(key);
        } else {
            self.busy.push_back(key);
        }
        key
    }

    /// Moves events into a batch, until that has `max`.
    pub fn take(&mut self, max: usize, batch: &mut VecDeque<Event>) -> Taken {
        let mut taken = Taken::default();
        let share = (max.saturating_mul(ROUND_BATCHES) / self.flows.len().max(1)).clamp(1, TURN);
        let before = self.room.taken;
        while before - self.room.taken < BATCH_BYTES && batch.len() < max {
            let Some(key) = self.next() else { break };
            self.serve(key, share.min(max - batch.len()), batch, &mut taken);
        }
        if self.items.is_empty() && self.items.capacity() > SPARE {
            let Flows { turn, round_began, room, .. } = *self;
            *self = Flows { turn, round_began, room, ..Flows::new(0, 0) };
        }
        taken
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<usize> {
        self.turn += 1;
        if self.busy.is_empty() || self.yielded < self.flows.len() {
            if let Some(key) = self.fresh.pop_front() {
                self.yielded += usize::from(!self.busy.is_empty());
                return Some(key);
            }
        } else {
            // The next turn may be a fresh one's again.
            self.yielded -= 1;
        }
        let key = self.busy.pop_front()?;
        if self.left == 0 {
            self.left = self.busy.len() + 1;
            self.round_began = self.turn;
        }
        self.left -= 1;
        if self.left == 0 {
            self.yielded = 0;
        }
        Some(key)
    }

    fn serve(&mut self, key: usize, share: usize, batch: &mut VecDeque<Event>, taken: &mut Taken) {
        let flow = &mut self.flows[key];
        let (messages, before) = (flow.messages, flow.bytes);
        for _ in 0..share {
            let item = self.items.remove(flow.first);
            flow.first = item.next;
            if let Some(size) = size(&item.event) {
                flow.messages -= 1;
                flow.bytes -= size;
            } else if let Event::Open { handle, .. } | Event::Upgraded { handle, .. } = &item.event {
                taken.opened.push(handle.id);
            }
            batch.push_back(item.event);
            if flow.first == NONE || before - flow.bytes >= TURN_BYTES {
                break;
            }
        }
        self.room.taken -= before - flow.bytes;
        let Some(handle) = batch.back().and_then(Event::connection) else { return };
        if flow.messages < messages {
            handle.set_last_turn(self.turn);
            if handle.is_paused() && flow.messages <= MAX_MESSAGES / 2 && flow.bytes <= self.room.share() / 2
            {
                taken.relieved.push(handle.clone());
            }
        }
        if flow.first == NONE {
            if flow.is_awaited {
                taken.awaiting.push(handle.clone());
            }
            handle.set_flow(None);
            self.flows.remove(key);
        } else {
            self.busy.push_back(key);
        }
    }

    /// Bytes of the connection's messages that wait. Each counts some.
    pub fn bytes_of(&self, handle: &Handle) -> usize {
        handle.flow().and_then(|key| self.flows.get(key)).map_or(0, |flow| flow.bytes)
    }

    /// True if the connection may add a message: not always, if it has something waiting; else as long as the reserve lasts.
    pub fn has_room(&self, handle: &Handle) -> bool {
        let bytes = self.bytes_of(handle);
        bytes < self.room.share() || (bytes == 0 && self.room.left() > 0)
    }

    /// True if events of the connection wait. It will be among [`Taken::awaiting`] of the batch that has the last one.
    pub fn await_last(&mut self, handle: &Handle) -> bool {
        let Some(flow) = handle.flow().and_then(|key| self.flows.get_mut(key)) else { return false };
        flow.is_awaited = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::engine::close::ClosedBy;
    use crate::engine::handle::Peer;
    use crate::engine::mailbox::Mailbox;
    use crate::engine::memory::Memory;

    const MAX_BYTES: usize = 256 * 1024;

    fn handle(id: u64) -> Arc<Handle> {
        Arc::new(Handle::new(
            id,
            "u".into(),
            Peer::default(),
            Arc::new(Mailbox::new(1, Memory::new(usize::MAX))),
        ))
    }

    fn handles(count: u64) -> Vec<Arc<Handle>> {
        (0..count).map(handle).collect()
    }

    fn text(handle: &Arc<Handle>, text: &str) -> Event {
        Event::Text { handle: handle.clone(), text: text.into() }
    }

    fn push(flows: &mut Flows, handle: &Arc<Handle>, count: usize) {
        (0..count).for_each(|_| flows.push(text(handle, "")));
    }

    /// The connections of a batch's events.
    fn take(flows: &mut Flows, max: usize) -> Vec<u64> {
        let mut batch = VecDeque::new();
        flows.take(max, &mut batch);
        batch.iter().filter_map(Event::connection).map(|handle| handle.id).collect()
    }

    #[test]
    fn a_drain_behind_a_drain_is_left_out() {
        let mut flows = Flows::new(usize::MAX, MAX_BYTES);
        let handle = handle(1);
        let drain = || Event::Drain { handle: handle.clone() };
        (0..1000).for_each(|_| flows.push(drain()));
        flows.push(text(&handle, "x"));
        (0..1000).for_each(|_| flows.push(drain()));
        assert_eq!(flows.len(), 3);
        take(&mut flows, 256);
        assert_eq!(flows.bytes(), 0);
        flows.push(drain());
        assert_eq!(flows.len(), 1, "the one before was taken");
    }

    #[test]
    fn who_newly_has_something_comes_before_all_who_have_more_than_their_turn_takes() {
        let mut flows = Flows::new(usize::MAX, MAX_BYTES);
        let (floods, quiet) = (handles(16), handle(16));
        floods.iter().for_each(|flood| push(&mut flows, flood, 500));
        // Newcomers are served in the order in which they came.
        let batch = take(&mut flows, 256);
        assert_eq!((batch[0], batch[TURN], batch[255]), (0, 1, 15));
        push(&mut flows, &quiet, 1);
        let batch = take(&mut flows, 256);
        assert_eq!(batch[..2], [quiet.id, 0]);
        for flood in &floods {
            let share = batch.iter().filter(|id| **id == flood.id).count();
            assert!((TURN - 1..=TURN).contains(&share), "{share}");
        }
    }

    #[test]
    fn who_asks_again_in_one_round_waits_for_one_turn_of_each_other_at_most() {
        let mut flows = Flows::new(usize::MAX, MAX_BYTES);
        let (floods, quiet) = (handles(8), handle(8));
        floods.iter().for_each(|flood| push(&mut flows, flood, 500));
        // Each batch has one event, and so has each turn.
        let next =
            |flows: &mut Flows, count: usize| (0..count).flat_map(|_| take(flows, 1)).collect::<Vec<_>>();
        next(&mut flows, 8);
        push(&mut flows, &quiet, 1);
        assert_eq!(next(&mut flows, 1), [quiet.id]);
        // The round begins here.
        assert_eq!(next(&mut flows, 3), [0, 1, 2]);
        push(&mut flows, &quiet, 1);
        assert_eq!(next(&mut flows, 2), [quiet.id, 3]);
        push(&mut flows, &quiet, 1);
        assert_eq!(next(&mut flows, 10), [4, 5, 6, 7, 0, 1, 2, 3, quiet.id, 4]);
    }

    #[test]
    fn turns_get_shorter_where_a_round_would_be_long() {
        for (count, max, turn) in [(2, 256, 16), (64, 256, 16), (256, 256, 4), (2000, 256, 1), (16, 4, 1)] {
            let mut flows = Flows::new(usize::MAX, MAX_BYTES);
            let all = handles(count);
            all.iter().for_each(|handle| push(&mut flows, handle, 20));
            let batch = take(&mut flows, max);
            assert_eq!(batch.iter().take_while(|id| **id == 0).count(), turn, "{count} {max}");
        }
    }

    #[test]
    fn no_number_of_quiet_connections_keeps_a_busy_one_from_its_turn() {
        let mut flows = Flows::new(usize::MAX, MAX_BYTES);
        let (quiet, busy) = (handles(100), handle(100));
        push(&mut flows, &busy, 500);
        let mut served = 0;
        for _ in 0..1000 {
            // Each has one message on its way at any time.
            for handle in quiet.iter().filter(|handle| handle.flow().is_none()) {
                flows.push(text(handle, ""));
            }
            served += take(&mut flows, 10).iter().filter(|id| **id == busy.id).count();
        }
        assert!((90..=110).contains(&served), "{served}");
    }

    #[test]
    fn connections_that_come_and_go_without_end_keep_no_busy_one_from_its_turn() {
        const NEW: usize = 50;
        for count in [1, 10, 100] {
            let mut flows = Flows::new(usize::MAX, MAX_BYTES);
            let busy = handles(count);
            busy.iter().for_each(|handle| push(&mut flows, handle, 100));
            (0..busy.len()).for_each(|_| _ = take(&mut flows, 1));
            let mut next_id = count;
            let mut waiting = VecDeque::new();
            let mut served = HashMap::new();
            let round = NEW + 2 * busy.len();
            for _ in 0..4 * round {
                while waiting.len() < NEW {
                    let newcomer = handle(next_id);
                    next_id += 1;
                    flows.push(Event::Open { handle: newcomer.clone(), ticket: 0 });
                    waiting.push_back(newcomer);
                }
                for id in take(&mut flows, 1) {
                    *served.entry(id).or_insert(0) += 1;
                    waiting.retain(|newcomer| newcomer.id != id);
                }
            }
            let turns = |handle: &Arc<Handle>| served.get(&handle.id).copied().unwrap_or(0);
            assert!(busy.iter().all(|handle| turns(handle) >= 2), "{count}");
            let of_busy: usize = busy.iter().map(turns).sum();
            assert!(4 * round - of_busy >= 2 * round, "newcomers have half of the turns");
        }
    }

    #[test]
    fn a_turn_and_a_batch_end_after_so_many_bytes() {
        let mut flows = Flows::new(usize::MAX, usize::MAX);
        let all = handles(2);
        for handle in &all {
            (0..100).for_each(|_| flows.push(text(handle, &"x".repeat(10_000))));
        }
        let batch = take(&mut flows, 256);
        assert_eq!(batch[..8], [0, 0, 1, 1, 0, 0, 1, 1]);
        assert!(batch.len() <= BATCH_BYTES / 10_000 + 2, "{}", batch.len());
        // One of any size passes.
        let mut flows = Flows::new(usize::MAX, MAX_BYTES);
        let all = handles(1);
        flows.push(text(&all[0], &"x".repeat(2 * BATCH_BYTES)));
        assert!(all[0].is_paused());
        assert_eq!(take(&mut flows, 256), [0]);
    }

    #[test]
    fn a_connection_is_paused_at_its_share_and_relieved_at_half_of_it() {
        for (len, share) in [(0, MAX_MESSAGES), (10_000 - MESSAGE_OVERHEAD, MAX_BYTES / 10_000 + 1)] {
            let mut flows = Flows::new(usize::MAX, MAX_BYTES);
            let all = handles(1);
            for at in 1..=share {
                assert!(!all[0].is_paused(), "{at}");
                flows.push(text(&all[0], &"x".repeat(len)));
            }
            assert!(all[0].is_paused());
            let mut left = share;
            let relieved = loop {
                let mut batch = VecDeque::new();
                let taken = flows.take(1, &mut batch);
                left -= batch.len();
                if !taken.relieved.is_empty() {
                    break taken.relieved;
                }
            };
            assert_eq!((relieved.len(), left), (1, share / 2));
        }
    }

    #[test]
    fn no_connection_has_more_waiting_than_is_left_free_and_one_message_fits_always() {
        const LIMIT: usize = 100_000;
        for count in [1, 9, 99, 999] {
            let mut flows = Flows::new(LIMIT, usize::MAX);
            let floods = handles(count);
            let message = "x".repeat(1000 - MESSAGE_OVERHEAD);
            // Each in turn, as long as it is read.
            while let Some(flood) = floods
                .iter()
                .filter(|flood| !flood.is_paused() && flows.has_room(flood))
                .min_by_key(|flood| flows.bytes_of(flood))
            {
                flows.push(text(flood, &message));
            }
            let each = (LIMIT / 1000 / (floods.len() + 1)).max(1);
            let most = flows.flows.iter().map(|(_, flow)| flow.messages).max();
            assert!(most.is_some_and(|most| (each..=each + 1).contains(&most)), "{count}: {most:?}");
            assert!(flows.bytes() <= LIMIT.max(floods.len() * 1000), "{count}: {}", flows.bytes());
            // A connection with nothing waiting is heard, and again once that is taken.
            let quiet = handle(count);
            for _ in 0..3 {
                assert!(!quiet.is_paused());
                flows.push(text(&quiet, &message));
                while quiet.flow().is_some() {
                    flows.take(1, &mut VecDeque::new()).relieved.iter().for_each(Handle::resume);
                }
            }
            while flows.len() > 0 {
                flows.take(256, &mut VecDeque::new()).relieved.iter().for_each(Handle::resume);
            }
            assert_eq!(flows.bytes(), 0);
            assert!(floods.iter().all(|flood| !flood.is_paused()));
        }
    }

    #[test]
    fn small_messages_go_on_while_large_ones_leave_nothing_free() {
        const LIMIT: usize = 32 << 20;
        for (count, len, small) in [(40, 1 << 20, 100), (5000, 4000, 20), (16_000, 1000, 20)] {
            let mut flows = Flows::new(LIMIT, MAX_BYTES);
            let floods = handles(count);
            let message = "x".repeat(len);
            for flood in floods.iter().cycle().take(10 * floods.len()) {
                if !flood.is_paused() && flows.has_room(flood) {
                    flows.push(text(flood, &message));
                }
            }
            assert!(floods.iter().all(|flood| flood.is_paused() || !flows.has_room(flood)));
            assert!((LIMIT..2 * LIMIT).contains(&flows.bytes()), "{count}: {}", flows.bytes());
            let quiet = handle(count);
            for at in 0..small {
                assert!(!quiet.is_paused() && flows.has_room(&quiet), "{count}: {at}");
                flows.push(text(&quiet, "small"));
            }
        }
    }

    #[test]
    fn each_connections_events_come_once_and_in_their_order_whatever_the_batches() {
        let mut flows = Flows::new(usize::MAX, MAX_BYTES);
        let all = handles(40);
        let mut random = 1u64;
        let mut next = move |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % below
        };
        let (mut pushed, mut seen) = (HashMap::new(), HashMap::new());
        for round in 0..3000 {
            for _ in 0..next(40) {
                // Some are busier than others.
                let handle = &all[next(40).min(next(40))];
                let number: &mut usize = pushed.entry(handle.id).or_default();
                let event = match number {
                    0 => Event::Open { handle: handle.clone(), ticket: 0 },
                    _ => text(handle, &format!("{number} {}", "x".repeat(next(3000)))),
                };
                flows.push(event);
                *number += 1;
            }
            let mut batch = VecDeque::new();
            flows.take(if round == 2999 { usize::MAX } else { next(60) }, &mut batch);
            while round == 2999 && flows.len() > 0 {
                flows.take(usize::MAX, &mut batch);
            }
            for event in batch {
                let Some(handle) = event.connection() else { panic!("{event:?}") };
                let due = seen.entry(handle.id).or_insert(0);
                match event {
                    Event::Open { .. } => assert_eq!(*due, 0),
                    Event::Text { text, .. } => assert_eq!(text.split(' ').next(), Some(&*due.to_string())),
                    other => panic!("{other:?}"),
                }
                *due += 1;
            }
        }
        assert_eq!(pushed, seen);
        assert!(all.iter().all(|handle| handle.flow().is_none()));
        assert!(flows.flows.is_empty() && flows.fresh.is_empty() && flows.busy.is_empty() && flows.left == 0);
    }

    #[test]
    fn what_a_flood_took_is_given_back() {
        let mut flows = Flows::new(usize::MAX, usize::MAX);
        let all = handles(100);
        all.iter().for_each(|handle| push(&mut flows, handle, 500));
        assert!(flows.items.capacity() >= 50_000);
        while flows.len() > 0 {
            take(&mut flows, 256);
        }
        assert!(flows.items.capacity() + flows.flows.capacity() + flows.busy.capacity() <= SPARE);
        let close = |handle: &Arc<Handle>| Event::Close {
            handle: handle.clone(),
            code: 1000,
            reason: "".into(),
            by: ClosedBy::Peer,
        };
        flows.push(close(&all[0]));
        assert_eq!(take(&mut flows, 256), [0]);
    }
}
