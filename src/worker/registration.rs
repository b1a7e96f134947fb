//! A connection's registration: what it has from before its client knows that it is connected until it is over, whether it ever
//! gets to have turns or not: its handle, its number in the worker's table, and its end, which is told when this is dropped.

use std::sync::Arc;

use codes::close::{self, ClosedBy};

use super::application::{Application, End};
use super::handle::Handle;
use super::token::Token;

/// See the module.
#[derive(Debug)]
pub(crate) struct Registration {
    pub app: Arc<dyn Application>,
    pub handle: Arc<Handle>,
    pub token: Token,
    end: Option<Box<End>>,
    /// Its beginning was told, so its end has to be.
    announced: bool,
}

impl Registration {
    /// To be called on the worker that will run the connection.
    pub(crate) fn begin(app: Arc<dyn Application>, handle: Arc<Handle>, expires_at: Option<u64>) -> Self {
        // Nobody begins one elsewhere than on a worker.
        let token = super::with(|worker| worker.connections.adopt(&handle, expires_at)).unwrap_or(Token::MAX);
        Registration { app, handle, token, end: None, announced: false }
    }

    /// Notes that the connection's beginning was told to the embedder.
    pub(crate) fn announced(&mut self) {
        self.announced = true;
        self.handle.inbox().counters.opened.add(1);
    }

    /// Stops taking and giving messages. The first end is the one that is told.
    pub(super) fn leave(&mut self, code: u16, reason: &str, by: ClosedBy) {
        self.end.get_or_insert_with(|| Box::new(End { code, reason: reason.into(), by }));
        if self.handle.shut() {
            self.app.clone().on_leave(&self.handle);
        }
    }

    /// Notes an end that is yet to come.
    pub(super) fn will_end(&mut self, code: u16, reason: &str, by: ClosedBy) {
        self.end = Some(Box::new(End { code, reason: reason.into(), by }));
    }

    /// That end comes now.
    pub(super) fn take_end(&mut self) -> Option<(u16, Box<str>, ClosedBy)> {
        self.end.take().map(|end| (end.code, end.reason, end.by))
    }
}

impl Drop for Registration {
    /// The registry forgets the connection, unsent messages are counted, and the embedder is told if it holds an object for it:
    /// in every case, also when its worker was stopped.
    fn drop(&mut self) {
        // Without a reason so far its worker was stopped, or failed, or its client never got the 101.
        let by = if self.announced { ClosedBy::Server } else { ClosedBy::Network };
        self.leave(close::ABNORMAL, "", by);
        super::with(|worker| worker.connections.release(self.token));
        let inbox = self.handle.inbox();
        inbox.counters.messages_dropped.add(self.handle.writer().abandon(&inbox.memory));
        self.app.on_end(&self.handle, self.end.take().map(|end| *end), self.announced);
    }
}
