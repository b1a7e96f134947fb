//! The state that all connections of an engine share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use codes::error::shorten;
use hashbrown::HashMap;
use parking_lot::Mutex;
use protocol::endpoint::Routed;
use protocol::frame::Message;
use tokio::sync::{oneshot, watch};
use tracing::Span;

use super::config::Config;
use super::conversation::{Conversations, Said};
use super::router;
use super::stats::SharedCounters;
use super::upgrade::Answer;
use crate::broker::Broker;
use crate::events::{Event, Events, Interest};
use crate::registry::Registry;
use crate::worker::application::{Application, End};
use crate::worker::handle::Handle;
use crate::worker::limiter::Limiter;
use crate::worker::memory::Memory;
use crate::worker::outgoing::Encoding;
use crate::worker::receipts::Receipt;
use crate::worker::relaying::Relaying;
use crate::worker::scheduler::Budget;
use crate::worker::send_queue::Dropped;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Random name of the engine, the first part of its connections' public ids.
    pub(super) node: String,
    pub(super) conversations: Conversations,
    /// Messages of clients that the embedder has, by the ticket under which it answers.
    pub(super) asked: Mutex<HashMap<u64, Receipt>>,
    pub(crate) config: Config,
    pub(crate) registry: Arc<Registry>,
    pub(super) events: Arc<Events>,
    pub(super) broker: Arc<dyn Broker<Handle>>,
    pub(super) counters: SharedCounters,
    /// The engine's, for what is told of it.
    pub(super) span: Span,
    pub(crate) limiter: Limiter,
    pub(crate) memory: Arc<Memory>,
    /// Upgrades whose client the embedder is asked about.
    pub(super) asking: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    pub(super) closing: watch::Sender<bool>,
    pub(super) last_id: AtomicU64,
}

impl Shared {
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A connection's public id: unique over servers.
    pub(super) fn public_id(&self, id: u64) -> String {
        format!("{}-{id}", self.node)
    }

    /// Counts a refused upgrade by its error code, and tells of it. `remote` is the client's address, empty where it isn't known.
    pub(super) fn count_refused(&self, code: &'static str, reason: &str, remote: &str) {
        let _entered = self.span.enter();
        let shown = || shorten(reason, 200);
        tracing::info!(target: "actory_websocket::engine::upgrade", code, reason = shown(), remote, "upgrade refused");
        self.counters.refused(code);
    }
}

impl Application for Shared {
    fn must_pause(&self, handle: &Arc<Handle>) -> bool {
        self.events.must_pause(handle)
    }

    fn on_message(
        &self,
        handle: &Arc<Handle>,
        message: Message<'_>,
        may_reflect: bool,
        rest: &mut Option<Box<Relaying>>,
        budget: &Budget,
    ) -> Routed {
        match handle.encoding() {
            Encoding::Enveloped => {
                match self.conversations.on_message(handle, message) {
                    Some(Said::Message(data, receipt)) => {
                        return router::on_message(self, handle, data, receipt, false, rest, budget);
                    }
                    Some(Said::Request(data, receipt)) => self.conversations.request(handle, data, receipt),
                    Some(Said::Join(room, receipt)) => self.join_by_itself(handle, room, receipt),
                    Some(Said::Leave(room, receipt)) => self.leave_by_itself(handle, &room, receipt),
                    Some(Said::Renew(token, receipt)) => self.renew(handle, token, receipt),
                    None => {}
                }
                Routed::Done
            }
            _ => router::on_message(self, handle, message, None, may_reflect, rest, budget),
        }
    }

    fn relay_on(&self, handle: &Arc<Handle>, relaying: &mut Relaying, budget: &Budget) -> bool {
        router::relay_on(self, handle, relaying, budget)
    }

    fn on_pong(&self, handle: &Arc<Handle>, payload: &[u8]) {
        self.events.push_pong(handle, payload);
    }

    fn on_drain(&self, handle: &Arc<Handle>) {
        self.events.push_drain(handle);
    }

    fn must_settle(&self, handle: &Arc<Handle>) -> bool {
        self.events.must_settle(handle)
    }

    fn wants_slow(&self) -> bool {
        self.events.wants(Interest::SLOW)
    }

    fn on_slow(&self, handle: &Arc<Handle>, dropped: Dropped) {
        self.events.push(Event::Slow { handle: handle.clone(), dropped });
    }

    fn on_leave(self: Arc<Self>, handle: &Arc<Handle>) {
        self.withdraw(handle);
        if handle.encoding() == Encoding::Enveloped {
            self.conversations.leave(handle);
        }
        if let Some(intake) = handle.inbox().intake() {
            intake.leave(handle);
        }
    }

    fn on_end(&self, handle: &Arc<Handle>, end: Option<End>, announced: bool) {
        self.registry.forget(handle);
        let Some(End { code, reason, by }) = end else { return };
        if announced {
            tracing::debug!(id = handle.id, code, by = by.as_str(), "connection ended");
            self.counters.closed(code, by);
        }
        // The embedder may hold an object for a connection whose 101 could not be written.
        if handle.is_seen() || (announced && self.events.wants(Interest::DISCONNECT)) {
            self.events.push(Event::Close { handle: handle.clone(), code, reason, by });
        }
    }
}
