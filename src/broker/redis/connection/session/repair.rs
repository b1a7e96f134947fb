//! A session asks its server what the followers of topics with a history want to know, and loads its scripts anew where they
//! are gone.

use std::time::Duration;

use codes::error::Error;
use hashbrown::HashMap;
use history::follower::Ask;
use history::meta::Meta;
use tokio::time::Instant;

use super::super::batch::Batch;
use super::super::command::{self, Asked, Command, Pending};
use super::super::reply::{CommandOutcome, RefusalKind};
use super::super::script::{self, LogPart, Part, TopicKeys};
use super::Session;
use crate::broker::history::MAX_READ_BYTES;
use crate::broker::page_request::PageRequest;
use crate::broker::redis::asker::{Asker, HistoryQuestion};
use crate::broker::redis::envelope::{CONTROL_CHANNEL, FORMAT_CHANNEL};
use crate::broker::redis::router::slots::PARTITIONS;
use crate::worker::scheduler::charge;

/// Questions for messages that may be under way at once: the answers come between messages that others wait for.
const READS: usize = 4;
/// A topic is held back for so long in all, within [`HOLDS`]. After that its slow connections are found too slow, and the others go on.
const HOLD: Duration = Duration::from_secs(3);
/// See [`HOLD`].
const HOLDS: Duration = Duration::from_secs(60);
/// Most messages of one answer.
const MESSAGES: u32 = 500;
/// The cost of a topic that is asked about, and of a message that is read, as [`charge`] counts.
const TOPIC: u64 = 4;
/// Partitions whose topics are asked about with a probe, although nothing says that a message was missed.
const RECHECKED: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Repair {
    /// Questions for messages under way.
    pub reads: usize,
    is_embedders_turn: bool,
    /// Questions that could not be answered, to be asked again at the next tick.
    later: Vec<(u16, Box<str>, Ask)>,
    /// The partition whose topics are asked about next.
    next: usize,
    /// Commands that wait for their script to be loaded, in their order. Nothing is taken from the pipeline meanwhile.
    pub again: Option<Batch>,
    /// Since when scripts are loaded and none is known.
    pub unknown_since: Option<Instant>,
    /// Topics whose messages are not asked for, or lately were not, because a connection has yet to take those that came.
    held_back: HashMap<Box<str>, HeldBack>,
    /// The server is a master no more: the session ends once all commands are answered, for each of them is refused alike, and may
    /// go to the next master. A server that becomes a master anew has another term.
    pub demoted: Option<Error>,
}

/// The time for which a topic was held back.
#[derive(Debug)]
struct HeldBack {
    began: Instant,
    spent: Duration,
    /// Since when it is held back now.
    since: Option<Instant>,
}

impl Repair {
    /// A topic is to be held back, if its time for that is not spent. Answers whether it is.
    fn hold_back(&mut self, name: &str) -> bool {
        let now = Instant::now();
        let fresh = || HeldBack { began: now, spent: Duration::ZERO, since: None };
        let held = self.held_back.entry_ref(name).or_insert_with(fresh);
        held.spent += held.since.take().map_or(Duration::ZERO, |since| now - since);
        let holds = held.spent < HOLD;
        held.since = holds.then_some(now);
        holds
    }

    /// A topic is held back no longer.
    fn go_on(&mut self, name: &str) {
        if let Some(held) = self.held_back.get_mut(name)
            && let Some(since) = held.since.take()
        {
            held.spent += since.elapsed();
        }
    }

    /// True if loading scripts has not helped for so long. Several servers may answer, of which each knows what it was told.
    pub(super) fn is_futile(&self, patience: Duration) -> bool {
        self.again.is_none() && self.unknown_since.is_some_and(|since| since.elapsed() > patience)
    }

    /// True if commands may be taken from the pipeline.
    pub(super) fn is_ready(&self) -> bool {
        self.again.is_none() && self.demoted.is_none()
    }
}

impl Session {
    /// Asks what followers want to know.
    pub(super) fn ask(&mut self) {
        if !self.router.subscriptions.has_histories() || !self.link.is_asked() {
            return;
        }
        let mut batch = Batch::default();
        let topics = self.link.take_metas();
        charge(TOPIC * topics.len() as u64);
        for (partition, name) in topics {
            batch.add(partition, Command::Meta { name: name.clone() }, None, |out| {
                script::ask_meta(out, self.keys(partition, &name));
            });
        }
        while self.repair.reads < READS && self.ask_for_messages(&mut batch) {
            self.repair.reads += 1;
        }
        self.in_flight.push(batch);
    }

    /// Asks for messages, for a follower and for the embedder in turn. False if nobody wants any.
    fn ask_for_messages(&mut self, batch: &mut Batch) -> bool {
        let largest = self.router.sink.largest_message();
        // A connection may be in several rooms that are repaired.
        let bytes = MAX_READ_BYTES.min(self.router.sink.portion());
        self.repair.is_embedders_turn = !self.repair.is_embedders_turn;
        let first = if self.repair.is_embedders_turn { self.link.take_history() } else { None };
        while first.is_none()
            && let Some((partition, name, from)) = self.link.take_messages()
        {
            if self.hold_back(&name) {
                self.repair.later.push((partition, name, Ask::Messages { from }));
                continue;
            }
            let size = self.router.subscriptions.size_of(&name);
            batch.add(partition, Command::Messages { name: name.clone(), from }, None, |out| {
                let part = Part { from, most: MESSAGES, bytes, size, largest };
                script::read(out, self.keys(partition, &name), part);
            });
            return true;
        }
        let Some((partition, question)) = first.or_else(|| self.link.take_history()) else { return false };
        let HistoryQuestion { from, size, request: PageRequest { limit, bytes, .. }, .. } = *question;
        let part = Part { from, most: limit, bytes, size, largest };
        let mut command = Vec::new();
        script::read(&mut command, self.keys(partition, &question.name), part);
        batch.add(partition, Command::Ask(Asker::History(question)), None, |out| {
            out.extend_from_slice(&command);
        });
        true
    }

    /// True if messages of a topic are to be asked for later: a connection would have to take more than it can.
    fn hold_back(&mut self, name: &str) -> bool {
        if self.router.sink.has_room(name) {
            self.repair.go_on(name);
            return false;
        }
        self.repair.hold_back(name)
    }

    /// Answers the embedder's questions that were not asked: the server is gone.
    pub(super) fn give_up_questions(&self) {
        while let Some((partition, question)) = self.link.take_history() {
            let asked = Asked { asker: Asker::History(question), partition: partition.into(), since: None };
            self.router.routes.settle(asked, &[], CommandOutcome::Unsent);
        }
    }

    fn keys<'a>(&'a self, partition: u16, name: &'a str) -> TopicKeys<'a> {
        let partitions = &self.router.partitions;
        TopicKeys { prefix: &partitions.prefix, tag: partitions.tag(partition.into()), name: [name, ""] }
    }

    /// Topics may have messages that did not come, although nothing says so: a few are asked about.
    pub(super) fn recheck_some(&mut self) {
        if self.router.subscriptions.has_histories() {
            for _ in 0..RECHECKED {
                self.router.subscriptions.recheck(self.repair.next, &self.link);
                self.repair.next = (self.repair.next + 1) % PARTITIONS;
            }
        }
    }

    /// Asks whether the term is still the one that positions are given under.
    pub(super) fn ask_term(&self, batch: &mut Batch) {
        if self.replier.life.is_some() {
            batch.add(0, Command::Term, None, script::ask_term);
        }
    }

    /// In a cluster a script can't see how many servers of before there are: their channel may lie on another node. Its link asks.
    pub(super) fn ask_formats(&self, batch: &mut Batch) {
        let partitions = &self.router.partitions;
        let home = partitions.home(CONTROL_CHANNEL);
        if self.router.subscriptions.has_histories()
            && partitions.is_sharded()
            && partitions.all[home].lock().is_of(&self.link)
        {
            let [all, new] = [CONTROL_CHANNEL, FORMAT_CHANNEL].map(|name| partitions.channel(home, name));
            batch.add(home as u16, Command::Formats, None, |out| command::formats(out, &all, &new));
        }
    }

    /// The server says how far a topic is.
    pub(super) fn on_meta(&mut self, meta: Option<&Meta>) {
        if let Some((name, _)) = self.take_question() {
            self.router.subscriptions.on_meta(&name, meta, &self.link, &mut self.gathered);
        }
    }

    /// The server gives messages of a topic.
    pub(super) fn on_messages(&mut self, part: &LogPart) {
        charge(TOPIC * part.messages.len() as u64);
        self.repair.unknown_since = None;
        if let Some((name, Ask::Messages { from })) = self.take_question() {
            self.router.subscriptions.on_log(&name, from, part, &self.link, &mut self.gathered);
        }
    }

    /// The server does not answer the question of a follower.
    pub(super) fn on_unread(&mut self, why: RefusalKind) {
        let partition = self.in_flight.front().map_or(0, |pending| pending.partition);
        if why == RefusalKind::NoScript && !self.is_futile() {
            return self.reload();
        }
        let Some((name, ask)) = self.take_question() else { return };
        match why {
            // The topic is on its way to another master, or comes back, or the server has no time.
            RefusalKind::Moved | RefusalKind::Unserved | RefusalKind::Busy => {
                self.repair.later.push((partition, name, ask))
            }
            _ => self.router.subscriptions.on_refused(&name, &self.link, &mut self.gathered),
        }
    }

    /// Asks again what could not be answered.
    pub(super) fn ask_again(&mut self) {
        self.repair.held_back.retain(|_, held| held.began.elapsed() < HOLDS);
        for (partition, name, ask) in std::mem::take(&mut self.repair.later) {
            if self.router.subscriptions.is_asking(&name, &self.link) {
                self.link.ask(partition.into(), &name, ask);
            }
        }
    }

    /// Takes the oldest command off, the question of a follower. Answers the topic's name, and the question.
    fn take_question(&mut self) -> Option<(Box<str>, Ask)> {
        match self.answer_with(|_, pending, _| pending.command)? {
            Command::Meta { name } => Some((name, Ask::Meta)),
            Command::Messages { name, from } => Some((name, Ask::Messages { from })),
            _ => None,
        }
    }

    /// See [`Repair::is_futile`].
    pub(super) fn is_futile(&self) -> bool {
        self.repair.is_futile(self.router.config.command_timeout)
    }

    /// The server does not know the script of the oldest command: it is loaded, and the command goes out again behind that. So do
    /// those after it that were written already, which come back the same way; messages published meanwhile wait for them.
    pub(super) fn reload(&mut self) {
        let taken: Option<(Pending, Vec<u8>)> =
            self.answer_with(|_, pending, bytes| (pending, bytes.to_vec()));
        let Some((pending, bytes)) = taken else { return };
        self.repair.reads += usize::from(pending.command.is_read());
        if self.repair.again.is_none() {
            self.repair.unknown_since.get_or_insert_with(Instant::now);
            self.repair.again = Some(Batch::default());
            self.load_scripts();
        }
        if let Some(again) = &mut self.repair.again {
            again.add_again(pending, &bytes);
        }
    }

    /// The oldest command is taken, for another server has loaded the script meanwhile: messages of the same topic that wait for it
    /// have lost their place.
    pub(super) fn give_up_overtaken(&mut self) {
        let Some(again) = &mut self.repair.again else { return };
        let is_kept = |pending: &Pending| pending.command.asker().is_some_and(Asker::is_kept);
        if !self.in_flight.front().is_some_and(is_kept) {
            return;
        }
        let channel = script::read_publish(self.in_flight.front_bytes()).map(|(channel, _)| channel);
        let (overtaken, rest) = std::mem::take(again).split(|pending, bytes| {
            is_kept(pending) && script::read_publish(bytes).map(|(channel, _)| channel) == channel
        });
        *again = rest;
        self.settled += overtaken.counted();
        let routes = &self.router.routes;
        overtaken.give_up(|asked, bytes| routes.settle(asked, bytes, CommandOutcome::Unsent));
    }

    fn load_scripts(&mut self) {
        let mut batch = Batch::default();
        let texts = script::texts(self.router.partitions.is_sharded());
        for (number, text) in texts.iter().enumerate() {
            let last = number + 1 == texts.len();
            batch.add(0, Command::Load { last }, None, |out| script::load(out, text));
        }
        self.in_flight.push(batch);
    }

    /// The scripts are there again.
    pub(super) fn on_loaded(&mut self) {
        self.answer();
        if let Some(again) = self.repair.again.take() {
            self.in_flight.push(again);
        }
    }
}
