//! Whoever gets a page of a history.

use std::fmt;

use codes::error::Error;

use crate::outcome::HistoryPage;

/// See the module.
#[derive(Debug)]
pub enum PageReader {
    /// The embedder, by an event with this ticket.
    Embedder(u64),
    /// The engine.
    Engine(PageCallback),
}

/// Is called once, on any thread. It must not block.
pub struct PageCallback(Box<dyn FnOnce(Result<HistoryPage, Error>) + Send>);

impl PageCallback {
    pub fn new(take: impl FnOnce(Result<HistoryPage, Error>) + Send + 'static) -> Self {
        PageCallback(Box::new(take))
    }

    pub fn take(self, page: Result<HistoryPage, Error>) {
        (self.0)(page);
    }
}

impl fmt::Debug for PageCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageCallback")
    }
}
