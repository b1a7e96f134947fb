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

use super::Event;
use crate::worker::handle::{ConnectionId, Handle};

/// Messages of one connection that may wait: about what its listener takes in a few milliseconds. A message occupies some
/// hundred bytes however small it is, and work, so that bytes alone would let thousands of them wait.
pub(super) const MAX_MESSAGES: usize = 512;
/// A connection may have this fraction of what the reserve has left: of 32 MiB, some hundred small messages.
const RESERVE_SHARE: usize = 2048;
/// Bytes that a waiting message counts beyond its payload, so that a flood of empty ones is bounded over all connections too.
const MESSAGE_OVERHEAD: usize = 64;
/// Events of a turn, at most: the answers to all of them go out in one write. Shorter ones would cost a write for
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

/// The waiting events of one connection, never none.
struct Flow {
    first: usize,
    last: usize,
    /// Messages, and bytes of them.
    messages: usize,
    bytes: usize,
    /// The connection waits until its events are dealt with.
    is_awaited: bool,
}

/// The amount that waits of all connections.
#[derive(Clone, Copy)]
struct Room {
    /// Bytes of messages.
    taken: usize,
    /// Limit of those but for the reserve, and limit of those of one connection.
    limit: usize,
    max_share: usize,
}

impl Room {
    /// Bytes that are left if the reserve is counted in.
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
    /// Number of `busy` that have yet to be served in this round.
    left: usize,
    /// Turns of `fresh` for which `busy` has waited in this round.
    yielded: usize,
    /// Number of the latest turn, and of the one with which this round of `busy` began.
    turn: u64,
    round_began: u64,
    room: Room,
}

/// The result of a batch.
#[derive(Default)]
pub(super) struct TakenEvents {
    /// Connections that may be read again.
    pub relieved: Vec<Arc<Handle>>,
    /// Connections that wait until the batch is dealt with.
    pub awaiting: Vec<Arc<Handle>>,
    /// Connections whose beginning is in the batch.
    pub opened: Vec<ConnectionId>,
}

/// Bytes that an event counts towards the limits, if it is a message or as frequent.
pub(super) fn size(event: &Event) -> Option<usize> {
    match event {
        Event::Text { text, .. } => Some(text.len() + MESSAGE_OVERHEAD),
        Event::Binary { bytes, .. } | Event::Pong { bytes, .. } => Some(bytes.len() + MESSAGE_OVERHEAD),
        Event::Asked { asked, .. } => Some(asked.data.as_message().payload().len() + 2 * MESSAGE_OVERHEAD),
        Event::Drain { .. } => Some(MESSAGE_OVERHEAD),
        _ => None,
    }
}

impl Flows {
    /// `limit` bytes of messages may wait, and `max_share` of one connection's.
    pub(super) fn new(limit: usize, max_share: usize) -> Self {
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

    /// Number of events that wait.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes of messages that wait.
    pub(super) fn bytes(&self) -> usize {
        self.room.taken
    }

    /// Number of the latest turn, for [`Handle::last_turn`].
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// Queues an event of a connection, which is paused if it has its share then. Of two [drains](Event::Drain) in a row the
    /// second says nothing new, and no pause would bound them, for they come of writing.
    pub(super) fn push(&mut self, event: Event) {
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
    pub(super) fn take(&mut self, max: usize, batch: &mut VecDeque<Event>) -> TakenEvents {
        let mut taken = TakenEvents::default();
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

    fn serve(&mut self, key: usize, share: usize, batch: &mut VecDeque<Event>, taken: &mut TakenEvents) {
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
    pub(super) fn bytes_of(&self, handle: &Handle) -> usize {
        handle.flow().and_then(|key| self.flows.get(key)).map_or(0, |flow| flow.bytes)
    }

    /// True if the connection may add a message: not always, if it has something waiting; else as long as the reserve lasts.
    pub(super) fn has_room(&self, handle: &Handle) -> bool {
        let bytes = self.bytes_of(handle);
        bytes < self.room.share() || (bytes == 0 && self.room.left() > 0)
    }

    /// True if events of the connection wait. It will be among [`TakenEvents::awaiting`] of the batch that has the last one.
    pub(super) fn await_last(&mut self, handle: &Handle) -> bool {
        let Some(flow) = handle.flow().and_then(|key| self.flows.get_mut(key)) else { return false };
        flow.is_awaited = true;
        true
    }
}

#[cfg(test)]
mod tests;
