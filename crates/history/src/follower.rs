//! What a server knows of a topic that it subscribes to: which message it has handed on last, and whether it has missed one.
//!
//! | what happens | what it does |
//! |---|---|
//! | the next message comes | hands it on |
//! | an older one comes | drops it |
//! | one comes that others come before | keeps it, and reads those from the store |
//! | the subscription is confirmed | asks the store how far the topic is; reads what came meanwhile |
//! | the store may lack messages, or keeps them no more | says so, and goes on with those it has |
//!
//! A question is asked after the subscription is confirmed, never before: what is published between an answer and the
//! subscription would be missed.

use std::collections::VecDeque;

use crate::meta::{Meta, Reason, Seen};
use crate::position::Position;

/// Most bytes and messages that wait for those before them. What is more is read from the store as well.
const MAX_WAITING: (usize, usize) = (256 << 10, 1024);
/// Bytes of a message that waits, beside its payload.
const WAITING: usize = 64;

/// A question to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// How far is the topic? [`Follower::on_meta`] takes the answer.
    Meta,
    /// Which messages are there from this offset on? [`Follower::on_messages`] takes the answer.
    Messages { from: u64 },
}

/// What becomes of a message that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is handed on.
    Deliver,
    /// It was handed on before.
    Drop,
    /// It waits for those before it. Some: the store is to be asked.
    Wait(Option<Ask>),
}

/// Messages that the follower can't hand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Why.
    pub reason: Reason,
    /// The last message that was handed on. None: there was none.
    pub after: Option<Position>,
    /// Those up to this position may be missing, this one included. None: the topic has no messages.
    pub to: Option<Position>,
}

/// Gets what a follower hands on.
pub trait Outlet {
    /// The topic's next message.
    fn deliver(&mut self, position: Position, payload: &[u8]);
    /// Some were missed before those that follow.
    fn missed(&mut self, missed: Missed);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no subscription: messages pass by.
    Cut,
    /// It has asked how far the topic is.
    Asking,
    /// It has asked for messages.
    Reading { from: u64 },
    /// It has everything.
    Following,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// It has not heard of the topic.
    Nothing,
    /// The topic had no messages.
    Empty,
    /// These were handed on.
    Up(Seen),
}

/// Messages that wait for those before them.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<(Position, Box<[u8]>)>,
    bytes: usize,
    /// Some were too many: the store has them.
    overflowed: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Follower {
    state: State,
    known: Known,
    /// The subscription was interrupted since the last answer.
    was_cut: bool,
    waiting: Option<Box<Waiting>>,
    /// No acknowledged message gets lost when the term changes.
    trust_failover: bool,
}

impl Follower {
    /// The follower of a topic that is about to be subscribed to.
    pub fn new(trust_failover: bool) -> Follower {
        Follower { state: State::Cut, known: Known::Nothing, was_cut: false, waiting: None, trust_failover }
    }

    /// The last message that was handed on.
    pub fn position(&self) -> Option<Position> {
        match &self.known {
            Known::Up(seen) => Some(seen.position()),
            _ => None,
        }
    }

    /// True if it has everything that has come to be known.
    pub fn is_settled(&self) -> bool {
        self.state == State::Following
    }

    /// True if nothing can be missed unnoticed from here on.
    pub fn is_placed(&self) -> bool {
        self.state == State::Following || self.state != State::Cut && self.known != Known::Nothing
    }

    /// The subscription is over, or its link is down. Questions won't be answered.
    pub fn on_cut(&mut self) {
        self.state = State::Cut;
        self.was_cut |= self.known != Known::Nothing;
        self.waiting = None;
    }

    /// The subscription is confirmed: what is published from here on comes.
    pub fn on_subscribed(&mut self) -> Ask {
        // Whoever is subscribed again was cut, whether that was noticed or not.
        self.on_cut();
        self.state = State::Asking;
        Ask::Meta
    }

    /// It may have missed something without noticing. None: it is about to find out.
    pub fn on_doubt(&mut self) -> Option<Ask> {
        if self.state != State::Following {
            return None;
        }
        self.state = State::Asking;
        Some(Ask::Meta)
    }

    /// A message came.
    pub fn on_message(&mut self, position: Position, payload: &[u8]) -> Verdict {
        match &mut self.known {
            Known::Nothing => {
                self.known = Known::Up(Seen::from(position));
                return Verdict::Deliver;
            }
            Known::Empty if position.offset == 1 => {
                self.known = Known::Up(Seen::from(position));
                return Verdict::Deliver;
            }
            Known::Up(seen) if seen.has(position) => return Verdict::Drop,
            // The topic begins anew, and nothing can have come between.
            Known::Up(seen) if self.state == State::Following && begins_anew(seen, position) => {
                seen.advance(position);
                return Verdict::Deliver;
            }
            Known::Up(seen) if self.state != State::Cut && seen.is_next(position) => {
                seen.advance(position);
                return Verdict::Deliver;
            }
            _ => {}
        }
        let ask = match (&self.known, self.state) {
            (_, State::Cut | State::Asking | State::Reading { .. }) => None,
            (Known::Up(seen), State::Following) if seen.is_ahead(position) => {
                Some(Ask::Messages { from: seen.position().offset + 1 })
            }
            (Known::Empty, State::Following) => Some(Ask::Messages { from: 1 }),
            _ => Some(Ask::Meta),
        };
        self.wait(position, payload);
        self.ask(ask);
        Verdict::Wait(ask)
    }

    fn ask(&mut self, ask: Option<Ask>) {
        match ask {
            Some(Ask::Meta) => self.state = State::Asking,
            Some(Ask::Messages { from }) => self.state = State::Reading { from },
            None => {}
        }
    }

    fn wait(&mut self, position: Position, payload: &[u8]) {
        let waiting = self.waiting.get_or_insert_default();
        waiting.bytes += payload.len() + WAITING;
        if waiting.bytes > MAX_WAITING.0 || waiting.messages.len() >= MAX_WAITING.1 {
            waiting.overflowed = true;
        } else if !waiting.overflowed {
            waiting.messages.push_back((position, payload.into()));
        }
    }

    /// The store says how far the topic is. Answers what is to be asked next.
    pub fn on_meta(&mut self, meta: Option<&Meta>, outlet: &mut impl Outlet) -> Option<Ask> {
        if self.state != State::Asking {
            return None;
        }
        self.state = State::Following;
        let ask = self.compare(meta, outlet);
        self.was_cut = false;
        if ask.is_some() {
            self.ask(ask);
            return ask;
        }
        self.catch_up(outlet)
    }

    /// Compares what was handed on with what there is. Answers what has to be read.
    fn compare(&mut self, meta: Option<&Meta>, outlet: &mut impl Outlet) -> Option<Ask> {
        let from = match (&mut self.known, meta) {
            (Known::Nothing, None) => {
                self.known = Known::Empty;
                return None;
            }
            // What came before the subscription is not this server's.
            (Known::Nothing, Some(meta)) => {
                self.known = Known::Up(Seen::all(meta, meta.offset));
                return None;
            }
            (Known::Empty, None) => return None,
            (Known::Empty, Some(_)) => 1,
            (Known::Up(seen), None) => {
                let after = Some(seen.position());
                self.known = Known::Empty;
                if self.was_cut {
                    outlet.missed(Missed { reason: Reason::Emptied, after, to: None });
                }
                return None;
            }
            (Known::Up(seen), Some(meta)) => {
                let resume = meta.resume(seen, self.trust_failover);
                if let Some(reason) = resume.lost {
                    let to = Some(meta.at(resume.from - 1));
                    outlet.missed(Missed { reason, after: Some(seen.position()), to });
                    seen.rebase(meta, resume.from);
                }
                resume.from
            }
        };
        meta.filter(|meta| from <= meta.offset).map(|_| Ask::Messages { from })
    }

    /// The store gives messages, in their order, and says how far the topic is. `is_all`: there are no more. Answers what is
    /// to be asked next.
    pub fn on_messages<'a>(
        &mut self,
        meta: Option<&Meta>,
        messages: impl IntoIterator<Item = (u64, &'a [u8])>,
        is_all: bool,
        outlet: &mut impl Outlet,
    ) -> Option<Ask> {
        let State::Reading { from } = self.state else { return None };
        // The topic may be another one since it was asked for.
        let now = self.compare(meta, outlet);
        let (Some(meta), Some(Ask::Messages { from: first })) = (meta, now) else {
            self.state = State::Following;
            return self.catch_up(outlet);
        };
        if first < from {
            self.ask(now);
            return now;
        }
        let mut next = first;
        for (offset, payload) in messages {
            if offset < next {
                continue;
            }
            if offset > next {
                self.trimmed(meta, next, offset, outlet);
            }
            let position = meta.at(offset);
            self.advance(position);
            outlet.deliver(position, payload);
            next = offset + 1;
        }
        if is_all && next <= meta.offset {
            self.trimmed(meta, next, meta.offset + 1, outlet);
            next = meta.offset + 1;
        }
        if next <= meta.offset {
            let ask = Some(Ask::Messages { from: next });
            self.ask(ask);
            return ask;
        }
        self.state = State::Following;
        self.catch_up(outlet)
    }

    /// The store refuses to say. Answers what is to be asked next.
    pub fn on_refused(&mut self, outlet: &mut impl Outlet) -> Option<Ask> {
        if matches!(self.state, State::Cut | State::Following) {
            return None;
        }
        self.state = State::Following;
        let waiting = self.waiting.take().unwrap_or_default();
        let after = self.position();
        let to = waiting.messages.back().map(|(position, _)| *position).or(after);
        if after.is_some() || to.is_some() {
            outlet.missed(Missed { reason: Reason::Unreadable, after, to });
        }
        for (position, payload) in waiting.messages {
            self.advance(position);
            outlet.deliver(position, &payload);
        }
        if waiting.overflowed || self.known == Known::Empty {
            self.known = Known::Nothing;
        }
        None
    }

    /// Messages from `from` up to, but not including, `to` are kept no more.
    fn trimmed(&mut self, meta: &Meta, from: u64, to: u64, outlet: &mut impl Outlet) {
        let after = self.position();
        outlet.missed(Missed { reason: Reason::Trimmed, after, to: Some(meta.at(to - 1)) });
        debug_assert!(from < to);
        match &mut self.known {
            Known::Up(seen) => seen.rebase(meta, to),
            known => *known = Known::Up(Seen::all(meta, to - 1)),
        }
    }

    fn advance(&mut self, position: Position) {
        match &mut self.known {
            Known::Up(seen) => seen.advance(position),
            known => *known = Known::Up(Seen::from(position)),
        }
    }

    /// Hands on what waited and is next. Answers what is to be asked if others come before the rest.
    fn catch_up(&mut self, outlet: &mut impl Outlet) -> Option<Ask> {
        let mut waiting = self.waiting.take()?;
        while let Some((position, payload)) = waiting.messages.pop_front() {
            waiting.bytes -= payload.len() + WAITING;
            match self.on_message(position, &payload) {
                Verdict::Deliver => outlet.deliver(position, &payload),
                Verdict::Drop => {}
                Verdict::Wait(ask) => {
                    // It waits again, before the others.
                    let first = self.waiting.take().unwrap_or_default();
                    waiting.bytes += payload.len() + WAITING;
                    first.messages.into_iter().rev().for_each(|message| waiting.messages.push_front(message));
                    self.waiting = Some(waiting);
                    return ask;
                }
            }
        }
        if !waiting.overflowed {
            return None;
        }
        let ask = Some(Ask::Meta);
        self.ask(ask);
        ask
    }
}

/// True if this is the first message of a topic's new life.
fn begins_anew(seen: &Seen, position: Position) -> bool {
    position.offset == 1 && position.epoch != seen.position().epoch
}
