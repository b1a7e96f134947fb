//! The needs of a connection from those above it: who hears of its messages and its end, and when it is read.

use std::fmt;
use std::sync::Arc;

use codes::close::ClosedBy;
use protocol::endpoint::Routed;
use protocol::frame::Message;

use super::handle::Handle;
use super::relaying::Relaying;
use super::scheduler::Budget;
use super::send_queue::Dropped;

/// See the module. Called on the connection's worker.
pub(crate) trait Application: fmt::Debug + Send + Sync {
    /// True if the connection should not be read for now, because JavaScript is behind. It is then woken when it may.
    fn must_pause(&self, handle: &Arc<Handle>) -> bool;

    /// Deals with a message. With `may_reflect` the caller is able to do what [`Routed::Reflect`] asks for: see also
    /// [`Writer::may_write_directly`](super::writer::Writer::may_write_directly). If it is for more rooms than
    /// one turn has time, or Redis room, for, [`Application::relay_on`] goes on with `rest`, before the next message.
    fn on_message(
        &self,
        handle: &Arc<Handle>,
        message: Message<'_>,
        may_reflect: bool,
        rest: &mut Option<Box<Relaying>>,
        budget: &Budget,
    ) -> Routed;

    /// Goes on with a message whose relaying is not finished, as far as the turn has time and Redis has room. True if that was the
    /// last of it.
    fn relay_on(&self, handle: &Arc<Handle>, relaying: &mut Relaying, budget: &Budget) -> bool;

    /// A pong came that is no answer to the heartbeat.
    fn on_pong(&self, handle: &Arc<Handle>, payload: &[u8]);

    /// All that waited for its client is written.
    fn on_drain(&self, handle: &Arc<Handle>);

    /// True if JavaScript has yet to deal with what the client said. The connection is then told once it has.
    fn must_settle(&self, handle: &Arc<Handle>) -> bool;

    /// True if somebody wants to hear of connections that are too slow.
    fn wants_slow(&self) -> bool;

    /// It is closed for being too slow.
    fn on_slow(&self, handle: &Arc<Handle>, dropped: Dropped);

    /// It takes and gives no messages any more.
    fn on_leave(self: Arc<Self>, handle: &Arc<Handle>);

    /// It is over. `announced`: its client got the 101.
    fn on_end(&self, handle: &Arc<Handle>, end: Option<End>, announced: bool);
}

/// A connection's end, as told to JavaScript.
#[derive(Debug)]
pub(crate) struct End {
    pub code: u16,
    pub reason: Box<str>,
    pub by: ClosedBy,
}
