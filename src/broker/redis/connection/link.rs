//! A link, as all know it: a connection to Redis that comes back for ever. [`super::reconnect`] runs it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use codes::error::Error;
use history::follower::Ask;
use history::position::Term;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::health::Health;
use super::pipeline::Pipeline;
use crate::broker::redis::asker::{HistoryQuestion, PageReader};
use crate::broker::redis::clock;
use crate::broker::redis::config::{Address, Server};
use crate::worker::inbox::Inbox;
use crate::worker::quota::Quota;

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    /// Tells a server's links apart.
    pub number: usize,
    /// The server it was made for; Sentinels may name another one later.
    pub server: Server,
    /// Commands that are to be written.
    pub pipeline: Pipeline,
    /// See [`Health`].
    pub health: Health,
    /// The time at which it was made.
    pub born: u64,
    /// The place where it is connected, or is about to be, in the words by which that was found.
    pub(super) word: Mutex<Option<Word>>,
    /// The place where it last was.
    pub(super) last_address: Mutex<Option<Address>>,
    /// The term of its master, as of its last connection.
    term: Mutex<Option<Term>>,
    /// Questions that followers of topics have: the session asks them.
    asks: Mutex<Asks>,
    retired: AtomicBool,
    changed: Notify,
    supersede: Mutex<Option<(Word, Error)>>,
    superseded: Notify,
}

impl Link {
    /// A link whose task is on the worker with this inbox, once there is one.
    pub(crate) fn new(number: usize, server: Server, inbox: Arc<Inbox>, quota: Arc<Quota>) -> Arc<Link> {
        Arc::new(Link {
            number,
            server,
            pipeline: Pipeline::new(inbox, quota),
            health: Health::default(),
            born: clock::now(),
            word: Mutex::default(),
            last_address: Mutex::default(),
            term: Mutex::default(),
            asks: Mutex::default(),
            retired: AtomicBool::new(false),
            changed: Notify::new(),
            supersede: Mutex::default(),
            superseded: Notify::new(),
        })
    }

    /// Its connection is to a master with this term.
    pub(super) fn set_term(&self, term: Option<Term>) {
        *self.term.lock() = term;
    }

    /// The term of the master that it is connected to, or was.
    pub(crate) fn term(&self) -> Option<Term> {
        *self.term.lock()
    }

    /// The follower of a topic has a question.
    pub(crate) fn ask(&self, partition: usize, name: &str, ask: Ask) {
        let mut asks = self.asks.lock();
        match ask {
            Ask::Meta => asks.metas.push((partition as u16, name.into())),
            Ask::Messages { from } => asks.messages.push_back((partition as u16, name.into(), from)),
        }
    }

    /// True if anybody has a question.
    pub(super) fn is_asked(&self) -> bool {
        let asks = self.asks.lock();
        !asks.metas.is_empty()
            || !asks.messages.is_empty()
            || !asks.histories.is_empty()
            || !asks.pages.is_empty()
    }

    /// The topics whose followers ask how far they are.
    pub(super) fn take_metas(&self) -> Vec<(u16, Box<str>)> {
        std::mem::take(&mut self.asks.lock().metas)
    }

    /// The topic whose follower has waited longest for messages, and from which offset on.
    pub(super) fn take_messages(&self) -> Option<(u16, Box<str>, u64)> {
        self.asks.lock().messages.pop_front()
    }

    /// The embedder or a client asks for messages.
    ///
    /// # Errors
    /// Gives the question back if too many wait.
    pub(crate) fn ask_history(
        &self,
        partition: usize,
        question: Box<HistoryQuestion>,
    ) -> Result<(), Box<HistoryQuestion>> {
        let mut asks = self.asks.lock();
        let line = match question.reader {
            PageReader::Embedder(_) => &mut asks.histories,
            PageReader::Client(_) => &mut asks.pages,
        };
        if line.len() >= MAX_QUESTIONS {
            return Err(question);
        }
        line.push_back((partition as u16, question));
        Ok(())
    }

    /// The oldest question of the embedder's and the oldest of a client's, in turn: many clients must not make the embedder wait.
    pub(super) fn take_history(&self) -> Option<(u16, Box<HistoryQuestion>)> {
        let mut asks = self.asks.lock();
        let Asks { histories, pages, is_clients_turn, .. } = &mut *asks;
        *is_clients_turn = !*is_clients_turn;
        let (first, second) = if *is_clients_turn { (pages, histories) } else { (histories, pages) };
        first.pop_front().or_else(|| second.pop_front())
    }

    /// Followers are to ask no more: all will have new questions.
    pub(super) fn forget_asks(&self) {
        let mut asks = self.asks.lock();
        asks.metas.clear();
        asks.messages.clear();
    }

    /// Ends it: its server has no part of the channels any more.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.changed.notify_one();
        self.pipeline.nudge();
    }

    /// See [`Link::retire`].
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// The place where it is connected, or is about to be, in the words by which that was found.
    pub(crate) fn word(&self) -> Option<Word> {
        self.word.lock().clone()
    }

    /// Ends its connection, if it still is the one that these words have led to, for this reason.
    pub(crate) fn supersede(&self, word: Word, error: Error) {
        *self.supersede.lock() = Some((word, error));
        self.superseded.notify_one();
    }

    /// Completes when its connection is to end, with the reason.
    pub(super) async fn superseded(&self) -> Error {
        loop {
            let supersede = self.supersede.lock().take();
            if let Some((_, error)) = supersede.filter(|(word, _)| self.word().as_ref() == Some(word)) {
                return error;
            }
            self.superseded.notified().await;
        }
    }

    /// Messages that were published before this time have arrived, if they were to come over this link.
    pub(crate) fn proven(&self) -> u64 {
        self.health.proven().max(self.born)
    }

    /// Completes when it is retired.
    pub(super) async fn retirement(&self) {
        while !self.is_retired() {
            self.changed.notified().await;
        }
    }
}

/// Most questions of the embedder that wait for one link.
const MAX_QUESTIONS: usize = 1000;

/// Questions by partition and name.
#[derive(Debug, Default)]
struct Asks {
    metas: Vec<(u16, Box<str>)>,
    messages: VecDeque<(u16, Box<str>, u64)>,
    /// The embedder's.
    histories: VecDeque<(u16, Box<HistoryQuestion>)>,
    /// The same of clients.
    pages: VecDeque<(u16, Box<HistoryQuestion>)>,
    is_clients_turn: bool,
}

/// A Sentinel's word on the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Grows with each failover: of two words that differ, the greater one counts.
    pub epoch: u64,
    /// Its name for the master.
    pub master: Address,
}
