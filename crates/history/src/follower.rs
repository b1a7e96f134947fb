//! A server's knowledge of a topic that it subscribes to: which message it has handed on last, and whether it has missed one.
//!
//! | what happens | what it does |
//! |---|---|
//! | the next message comes | hands it on |
//! | an older one comes | drops it |
//! | one comes that others come before | keeps it, and reads those from the store |
//! | the subscription is confirmed | asks the store how far the topic is; reads what came meanwhile |
//! | the store may lack messages, or keeps them no more | says so, and goes on with those it has |
//!
//! A question is asked after the subscription is confirmed, never before: messages published between an answer and the
//! subscription would be missed. The answer to [`Ask::Meta`] comes in order with the messages, over the same link. Messages may be
//! read over another one from the same store.
//!
//! Nobody can tell that a topic had messages which the store lost again while the follower was cut, if it had none before and
//! the term is the same (`FLUSHALL`): the store is as it was.

use std::borrow::Cow;

use crate::known::Known;
use crate::meta::{Meta, Reason};
use crate::position::{Position, Term};
use crate::seen::Seen;
use crate::waiting::Waiting;

/// A question to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// For how far the topic is. [`Follower::on_meta`] takes the answer.
    Meta,
    /// For the messages from this offset on. [`Follower::on_messages`] takes the answer.
    Messages { from: u64 },
}

/// The fate of a message that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is handed on.
    Deliver,
    /// It was handed on before, or the store will be asked for it.
    Drop,
    /// It waits for those before it. Some: the store is to be asked.
    Wait(Option<Ask>),
}

/// Messages that the follower can't hand on. Those that turn up later, in a store with older data, may come after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Why.
    pub reason: Reason,
    /// The last message that was handed on. None: there was none.
    pub after: Option<Position>,
    /// Those up to this position may be missing, this one included, and those that the store lost. None: nobody knows.
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
    /// There is no subscription.
    Cut,
    /// It has asked how far the topic is.
    Asking,
    /// It has asked for messages.
    Reading { from: u64 },
    /// It has everything.
    Following,
}

/// See the module.
#[derive(Debug)]
pub struct Follower {
    state: State,
    known: Known,
    /// The store has said how far the topic is, once.
    was_told: bool,
    /// There may be messages that it neither got nor told of: it was cut, or has not read them yet.
    may_lack: bool,
    /// The term of the store at the link's other end.
    term: Option<Term>,
    waiting: Option<Box<Waiting>>,
    /// No acknowledged message gets lost when the term changes.
    trust_failover: bool,
}

impl Follower {
    /// The follower of a topic that is about to be subscribed to.
    pub fn new(trust_failover: bool) -> Follower {
        Follower {
            state: State::Cut,
            known: Known::Nothing,
            was_told: false,
            may_lack: false,
            term: None,
            waiting: None,
            trust_failover,
        }
    }

    /// The last message that was handed on, or the place after it where a new term begins.
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

    /// True if it waits for messages from this offset on: an answer to an earlier question is no answer to this one.
    pub fn is_reading(&self, from: u64) -> bool {
        self.state == State::Reading { from }
    }

    /// True if nothing can be missed unnoticed from here on. Messages before that may be, if the link is cut.
    pub fn is_placed(&self) -> bool {
        self.state == State::Following || self.state != State::Cut && self.known != Known::Nothing
    }

    /// The subscription is over, or its link is down. Questions won't be answered.
    pub fn on_cut(&mut self) {
        self.state = State::Cut;
        self.may_lack |= self.known != Known::Nothing;
        self.waiting = None;
    }

    /// The subscription is confirmed: all messages from here on come. `term`: the term that the link publishes under, as
    /// its store told it. None: the link does not know it; a store's loss is noticed with its next message then.
    pub fn on_subscribed(&mut self, term: Option<Term>) -> Ask {
        // A subscription that is confirmed again was cut, noticed or not.
        self.on_cut();
        self.term = term;
        self.ask(Ask::Meta)
    }

    /// It may have missed something without noticing. None: it is about to find out.
    pub fn recheck(&mut self) -> Option<Ask> {
        (self.state == State::Following).then(|| self.ask(Ask::Meta))
    }

    /// A message came.
    pub fn on_message(&mut self, position: Position, payload: &[u8]) -> Verdict {
        if self.state == State::Cut || self.has(position) {
            return Verdict::Drop;
        }
        if self.is_next(position) {
            self.advance(position);
            return Verdict::Deliver;
        }
        self.waiting.get_or_insert_default().push(position, payload);
        Verdict::Wait((self.state == State::Following).then(|| self.ask_before(position)))
    }

    fn has(&self, position: Position) -> bool {
        match &self.known {
            Known::Up(seen) | Known::Empty(_, Some(seen)) => seen.has(position),
            _ => false,
        }
    }

    /// True if nothing can have come between the last message and this one.
    fn is_next(&self, position: Position) -> bool {
        let begins = position.offset == 1 && self.state == State::Following;
        match &self.known {
            Known::Nothing => true,
            Known::Refused => !self.may_lack,
            Known::Empty(..) => begins,
            Known::Up(seen) => seen.is_next(position) || begins && position.epoch != seen.position().epoch,
        }
    }

    fn advance(&mut self, position: Position) {
        match &mut self.known {
            Known::Up(seen) => seen.advance(position),
            known => {
                let mut seen =
                    std::mem::replace(known, Known::Nothing).into_seen().unwrap_or(Seen::from(position));
                seen.advance(position);
                *known = Known::Up(seen);
            }
        }
    }

    /// Asks for what comes before a message.
    fn ask_before(&mut self, position: Position) -> Ask {
        self.may_lack = true;
        match &self.known {
            Known::Up(seen) if seen.is_ahead(position) => {
                let from = seen.position().offset + 1;
                self.ask(Ask::Messages { from })
            }
            _ => self.ask(Ask::Meta),
        }
    }

    fn ask(&mut self, ask: Ask) -> Ask {
        self.state = match ask {
            Ask::Meta => State::Asking,
            Ask::Messages { from } => State::Reading { from },
        };
        if let Some(waiting) = &mut self.waiting {
            waiting.answer();
        }
        ask
    }

    /// The store says how far the topic is. Answers what is to be asked next.
    pub fn on_meta(&mut self, meta: Option<&Meta>, outlet: &mut impl Outlet) -> Option<Ask> {
        if self.state != State::Asking {
            return None;
        }
        // This answer comes in order with the messages.
        if let Some(waiting) = &mut self.waiting {
            waiting.answer();
        }
        let meta = self.continued(meta);
        match self.compare(meta.as_deref(), outlet) {
            Some(from) => Some(self.ask(Ask::Messages { from })),
            None => {
                // Messages that were too many to wait are older than the answer, too.
                if let Some(waiting) = &mut self.waiting {
                    waiting.overflowed = false;
                }
                self.catch_up(outlet)
            }
        }
    }

    /// The store gives messages, in their order, and says how far the topic is. Without its payload one can't be read. `is_all`: there
    /// are no more. Answers what is to be asked next.
    pub fn on_messages<'a>(
        &mut self,
        meta: Option<&Meta>,
        messages: impl IntoIterator<Item = (u64, Option<&'a [u8]>)>,
        is_all: bool,
        outlet: &mut impl Outlet,
    ) -> Option<Ask> {
        if !matches!(self.state, State::Reading { .. }) {
            return None;
        }
        let meta = self.continued(meta);
        let Some(meta) = meta.as_deref().filter(|meta| self.is_on(meta)) else {
            // The topic is another one since it was asked for, and this answer may have overtaken messages.
            return Some(self.ask(Ask::Meta));
        };
        let mut messages = messages.into_iter().peekable();
        // An answer without messages would be asked for again and again.
        let mut is_all = is_all || messages.peek().is_none();
        for (offset, payload) in messages {
            // So would one whose messages the topic has none of: somebody else has written to its log.
            is_all |= offset > meta.offset;
            if offset <= self.offset() || offset > meta.offset {
                continue;
            }
            self.skip(meta, offset - 1, outlet);
            self.cross(meta, outlet);
            let position = meta.at(offset);
            match payload {
                Some(payload) => outlet.deliver(position, payload),
                None => {
                    let after = self.known.position();
                    outlet.missed(Missed { reason: Reason::Unreadable, after, to: Some(position) });
                }
            }
            self.advance(position);
        }
        if is_all {
            self.skip(meta, meta.offset, outlet);
        }
        self.cross(meta, outlet);
        if self.offset() < meta.offset {
            let from = self.offset() + 1;
            return Some(self.ask(Ask::Messages { from }));
        }
        self.catch_up(outlet)
    }

    /// The store refuses to say. Answers what is to be asked next.
    pub fn on_refused(&mut self, outlet: &mut impl Outlet) -> Option<Ask> {
        if matches!(self.state, State::Cut | State::Following) {
            return None;
        }
        self.state = State::Following;
        let may_lack = std::mem::take(&mut self.may_lack);
        let mut waiting = self.waiting.take().unwrap_or_default();
        let is_hole = |(first, _)| !self.has(first) && !self.is_next(first);
        if self.known == Known::Nothing {
            self.known = Known::Refused;
        } else if may_lack && !waiting.first().is_some_and(is_hole) {
            let after = self.known.position();
            outlet.missed(Missed { reason: Reason::Unreadable, after, to: None });
        }
        if let Known::Empty(term, _) = &mut self.known {
            *term = self.term;
        }
        while let Some((position, payload)) = waiting.pop() {
            self.hand_on(position, &payload, Reason::Unreadable, outlet);
        }
        if waiting.overflowed {
            outlet.missed(Missed { reason: Reason::Unreadable, after: self.known.position(), to: None });
        }
        None
    }

    /// The store's answer, with the term that it has now.
    fn continued<'a>(&self, meta: Option<&'a Meta>) -> Option<Cow<'a, Meta>> {
        meta.map(|meta| meta.continued(self.term))
    }

    /// True if a store has what was handed on.
    fn is_on(&self, meta: &Meta) -> bool {
        let last = self.position();
        last.is_some_and(|last| meta.age_of(last).is_some_and(|age| last.offset <= meta.end(age)))
    }

    /// Compares what was handed on with what there is. Answers where to read on if there is more.
    fn compare(&mut self, meta: Option<&Meta>, outlet: &mut impl Outlet) -> Option<u64> {
        self.let_go(meta, outlet);
        let may_lack = self.may_lack;
        let known = std::mem::replace(&mut self.known, Known::Nothing);
        let after = known.position();
        let mut tell = |reason, to| outlet.missed(Missed { reason, after, to });
        let (under, trust) = (self.term, self.trust_failover);
        let is_other =
            |term: Option<Term>| may_lack && !trust && term.zip(under).is_some_and(|(a, b)| a != b);
        let Some(meta) = meta else {
            match &known {
                Known::Up(_) if may_lack => tell(Reason::Emptied, None),
                Known::Empty(term, _) if is_other(*term) => tell(Reason::Failover, None),
                Known::Refused if may_lack => tell(Reason::Unreadable, None),
                _ => {}
            }
            self.was_told = true;
            self.known = Known::Empty(under, known.into_seen());
            return None;
        };
        let seen = match known {
            // Messages from before the subscription are not this server's.
            Known::Nothing => Seen::all(meta),
            Known::Refused => {
                let mut seen = Seen::all(meta);
                if may_lack {
                    let first = self.waiting.as_ref().and_then(|waiting| waiting.first());
                    let first = first.filter(|(first, _)| meta.age_of(*first).is_some());
                    seen.go(first.map_or(meta.last(), |(first, _)| before(first)));
                    tell(Reason::Unreadable, Some(seen.position()));
                }
                seen
            }
            Known::Empty(term, before) => {
                let mut start = before.as_ref().map_or(meta.at(0), |before| meta.branch(before));
                if is_other(term) {
                    start = meta.over(start);
                    tell(Reason::Failover, Some(start));
                }
                let mut seen = before.unwrap_or(Seen::from(start));
                seen.go(start);
                seen
            }
            Known::Up(mut seen) => {
                if let Some((reason, start)) = self.diverged(&seen, meta) {
                    if reason != Reason::Failover || !trust || !seen.is_bare() {
                        tell(reason, Some(start));
                    }
                    seen.go(start);
                }
                seen
            }
        };
        self.was_told = true;
        self.known = Known::Up(seen);
        self.cross(meta, outlet);
        if let Known::Up(seen) = &mut self.known {
            seen.absorb(meta);
        }
        let from = self.offset() + 1;
        self.may_lack = from <= meta.offset;
        self.may_lack.then_some(from)
    }

    /// The place to go on from if the store lacks something that was handed on, or a term of it, and the reason.
    fn diverged(&self, seen: &Seen, meta: &Meta) -> Option<(Reason, Position)> {
        let last = seen.position();
        let age = meta.age_of(last);
        let start = meta.branch(seen);
        // It may have been at another store meanwhile, which knows less of this one's terms.
        if age.is_some_and(|age| last.offset <= meta.end(age)) && meta.age_of(start) == age {
            return None;
        }
        let start = match age {
            // Without a message before the subscription was placed, all of them may be older than it.
            None if !self.was_told && seen.knows(meta.epoch) => meta.under(0, meta.offset),
            _ => start,
        };
        let reason = if seen.knows(meta.epoch) { Reason::Failover } else { Reason::Emptied };
        Some((reason, meta.over(start)))
    }

    /// Goes on under the next term if everything of the present one was handed on. The store may have had more of it.
    fn cross(&mut self, meta: &Meta, outlet: &mut impl Outlet) {
        let Known::Up(seen) = &self.known else { return };
        let after = seen.position();
        let next = meta.over(after);
        if next == after {
            return;
        }
        if !self.trust_failover {
            outlet.missed(Missed { reason: Reason::Failover, after: Some(after), to: Some(next) });
        }
        self.go(next);
    }

    fn go(&mut self, position: Position) {
        if let Known::Up(seen) = &mut self.known {
            seen.go(position);
        }
    }

    /// Messages up to an offset are kept no more.
    fn skip(&mut self, meta: &Meta, last: u64, outlet: &mut impl Outlet) {
        while self.offset() < last {
            self.cross(meta, outlet);
            let after = self.position();
            let end = after.and_then(|after| meta.age_of(after)).map_or(last, |age| meta.end(age).min(last));
            let to = meta.at(end);
            outlet.missed(Missed { reason: Reason::Trimmed, after, to: Some(to) });
            self.go(to);
        }
    }

    fn offset(&self) -> u64 {
        self.position().map_or(0, |position| position.offset)
    }

    /// Hands on what the store had when it was asked, and has no more: it began another epoch since, or has lost the topic.
    fn let_go(&mut self, meta: Option<&Meta>, outlet: &mut impl Outlet) {
        let Some(mut waiting) = self.waiting.take() else { return };
        while let Some((position, true)) = waiting.first()
            && meta.is_none_or(|meta| meta.epoch != position.epoch)
            && let Some((position, payload)) = waiting.pop()
        {
            self.hand_on(position, &payload, Reason::Emptied, outlet);
        }
        self.waiting = Some(waiting);
    }

    /// Hands a message on that waited. Those before it won't come.
    fn hand_on(&mut self, position: Position, payload: &[u8], reason: Reason, outlet: &mut impl Outlet) {
        if self.has(position) {
            return;
        }
        if !self.is_next(position) {
            let after = self.known.position();
            outlet.missed(Missed { reason, after, to: Some(before(position)) });
            self.may_lack = false;
        }
        self.advance(position);
        outlet.deliver(position, payload);
    }

    /// Hands on what waited and is next. Answers what is to be asked if others come before the rest.
    fn catch_up(&mut self, outlet: &mut impl Outlet) -> Option<Ask> {
        self.state = State::Following;
        self.may_lack = false;
        let mut waiting = self.waiting.take()?;
        while let Some((position, is_answered)) = waiting.first() {
            if !is_answered && !self.has(position) && !self.is_next(position) {
                self.waiting = Some(waiting);
                return Some(self.ask_before(position));
            }
            if let Some((position, payload)) = waiting.pop() {
                self.hand_on(position, &payload, Reason::Emptied, outlet);
            }
        }
        self.may_lack = waiting.overflowed;
        self.may_lack.then(|| self.ask(Ask::Meta))
    }
}

/// The position before a message.
fn before(position: Position) -> Position {
    Position { offset: position.offset.saturating_sub(1), ..position }
}
