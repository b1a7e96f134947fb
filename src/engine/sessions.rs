//! The sessions whose messages have receipts: those of clients that are connected, and of clients that left a short time ago.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::worker::handle::Handle;
use crate::worker::receipts::Receipts;

/// A session is known for so long after its last connection has left.
const ABSENCE: Duration = Duration::from_secs(120);
/// Sessions of clients that left: beyond so many the oldest go.
const MOST_ABSENT: usize = 20_000;
/// Sessions that are looked at in one go.
const SLICE: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Sessions {
    outbox_limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Box<str>, Known>,
    /// Those of which a connection has left, each once, and when they were looked at.
    left: VecDeque<(Instant, Box<str>)>,
}

#[derive(Debug)]
struct Known {
    receipts: Arc<Receipts>,
    /// When a connection left last.
    left: Option<Instant>,
}

impl Sessions {
    pub(super) fn new(outbox_limit: usize) -> Self {
        Sessions { outbox_limit, state: Mutex::default() }
    }

    /// The receipts of a connection's session. None: it speaks no subprotocol.
    pub(super) fn receipts<'h>(&self, handle: &'h Handle) -> Option<&'h Arc<Receipts>> {
        let session = handle.session()?;
        Some(session.receipts.get_or_init(|| {
            let key = session.key(&handle.user);
            let mut state = self.state.lock();
            if let Some(known) = state.known.get(&key) {
                return known.receipts.clone();
            }
            let receipts = Receipts::new(&key, self.outbox_limit);
            state.known.insert(key, Known { receipts: receipts.clone(), left: None });
            receipts
        }))
    }

    /// A connection has left.
    pub(super) fn leave(&self, handle: &Handle) {
        let Some(session) = handle.session() else { return };
        let Some(receipts) = session.receipts.get() else { return };
        receipts.leave(handle.id);
        let now = Instant::now();
        let mut state = self.state.lock();
        let State { known, left } = &mut *state;
        let key = session.key(&handle.user);
        if let Some(known) = known.get_mut(&key)
            && known.left.replace(now).is_none()
        {
            left.push_back((now, key));
        }
        for _ in 0..SLICE {
            let is_due = |(since, _): &(Instant, _)| now - *since > ABSENCE;
            let is_crowded = left.len() > MOST_ABSENT;
            if !is_crowded && !left.front().is_some_and(is_due) {
                break;
            }
            let Some((_, key)) = left.pop_front() else { break };
            match known.get(&key) {
                // A connection goes on with it, or the application has yet to take a message.
                Some(Known { receipts, left: Some(last) })
                    if Arc::strong_count(receipts) > 1 || (now - *last <= ABSENCE && !is_crowded) =>
                {
                    left.push_back((now, key));
                }
                _ => drop(known.remove(&key)),
            }
        }
    }
}
