//! What a store says of a topic: how far it is, and under which terms it got there.

use std::fmt;
use std::str::FromStr;

use crate::position::{Epoch, NoPosition, Position, Term, number};

/// Terms that are remembered, the current one included.
pub const MAX_TERMS: usize = 8;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// See [`Epoch`].
    pub epoch: Epoch,
    /// The offset of the last message; 0: there was none.
    pub offset: u64,
    /// The last terms with the offsets of their first messages, the newest first. At least one, at most [`MAX_TERMS`].
    pub terms: Vec<(Term, u64)>,
}

/// Why a follower may have missed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The store was restarted, or a replica took its place: it may lack messages that were acknowledged.
    Failover,
    /// The store has lost the topic.
    Emptied,
    /// The messages were not kept for so long: more came than `history.size`, or `history.ttlMs` has passed.
    Trimmed,
    /// The store refuses to have them read.
    Unreadable,
}

/// Where to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The offset of the first message that is new to the follower.
    pub from: u64,
    /// Set if messages before that may be missing.
    pub lost: Option<Reason>,
}

impl Meta {
    /// The position of the last message, or of the beginning.
    pub fn last(&self) -> Position {
        self.at(self.offset)
    }

    /// The position with this offset.
    pub fn at(&self, offset: u64) -> Position {
        let oldest = self.terms.len() - 1;
        let index = self.terms.iter().position(|(_, first)| *first <= offset).unwrap_or(oldest);
        let term = self.terms[index].0;
        Position { epoch: self.epoch, term, offset }
    }

    /// Where somebody reads on who has [`Seen`] so much. `trust`: no acknowledged message gets lost when the term changes.
    pub fn resume(&self, seen: &Seen, trust: bool) -> Resume {
        if self.epoch != seen.epoch {
            return Resume { from: 1, lost: Some(Reason::Emptied) };
        }
        let mut end = self.offset;
        for (age, (term, first)) in self.terms.iter().enumerate() {
            if let Some(last) = seen.last_of(*term) {
                let is_current = seen.current.0 == *term && last <= end;
                let is_whole = is_current && (age == 0 || trust);
                let lost = if is_whole { None } else { Some(Reason::Failover) };
                return Resume { from: last.min(end) + 1, lost };
            }
            end = first - 1;
        }
        // A term that this store knows nothing of: what is older than the current one may have been seen.
        Resume { from: end_of_older(&self.terms) + 1, lost: Some(Reason::Failover) }
    }
}

/// The last offset before the newest term.
fn end_of_older(terms: &[(Term, u64)]) -> u64 {
    terms.first().map_or(0, |(_, first)| first - 1)
}

/// As it is stored: `<epoch> <offset> <term>@<first> <term>@<first> …`.
impl fmt::Display for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.epoch, self.offset)?;
        self.terms.iter().try_for_each(|(term, first)| write!(f, " {term}@{first}"))
    }
}

impl FromStr for Meta {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(NoPosition);
        let epoch = Epoch::new(word()?.as_bytes()).ok_or(NoPosition)?;
        let offset = number(word()?);
        let terms = words.map(|word| {
            let (term, first) = word.split_once('@')?;
            Some((Term::new(term.as_bytes())?, number(first).filter(|first| *first > 0)?))
        });
        let terms: Vec<(Term, u64)> = terms.collect::<Option<_>>().ok_or(NoPosition)?;
        match offset {
            Some(offset) if !terms.is_empty() => Ok(Meta { epoch, offset, terms }),
            _ => Err(NoPosition),
        }
    }
}

/// How far somebody has come: for each term the last offset that was handed on.
///
/// Several terms, because stores may take turns: a server that was cut off from one master finds another, and later the first
/// one again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    epoch: Epoch,
    /// The one that the next message is expected under.
    current: (Term, u64),
    /// What was handed on under others, the latest first; no more than [`MAX_TERMS`]. Of the current one, what was handed on
    /// before the store went back.
    others: Vec<(Term, u64)>,
}

impl From<Position> for Seen {
    fn from(position: Position) -> Seen {
        Seen { epoch: position.epoch, current: (position.term, position.offset), others: Vec::new() }
    }
}

impl Seen {
    /// Everything that a store has up to an offset.
    pub fn all(meta: &Meta, offset: u64) -> Seen {
        let mut seen = Seen::from(meta.at(offset));
        let mut end = meta.offset;
        for (term, first) in &meta.terms {
            if *term != seen.current.0 && end <= offset {
                seen.others.push((*term, end));
            }
            end = first - 1;
        }
        seen
    }

    /// The last message that was handed on.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, term: self.current.0, offset: self.current.1 }
    }

    /// The last offset of a term that was handed on.
    fn last_of(&self, term: Term) -> Option<u64> {
        let all = std::iter::once(&self.current).chain(&self.others);
        all.into_iter().find(|(known, _)| *known == term).map(|(_, last)| *last)
    }

    /// True if a message was handed on already, as far as that can be told without asking the store.
    pub fn has(&self, position: Position) -> bool {
        self.epoch == position.epoch
            && self.last_of(position.term).is_some_and(|last| position.offset <= last)
    }

    /// True if it is the next one.
    pub fn is_next(&self, position: Position) -> bool {
        position.epoch == self.epoch
            && position.term == self.current.0
            && position.offset == self.current.1 + 1
    }

    /// True if it is a later one of the same term, and others come before it.
    pub fn is_ahead(&self, position: Position) -> bool {
        position.epoch == self.epoch
            && position.term == self.current.0
            && position.offset > self.current.1 + 1
    }

    /// The message at this position is handed on.
    pub fn advance(&mut self, position: Position) {
        if position.epoch != self.epoch {
            *self = Seen::from(position);
            return;
        }
        if position.term != self.current.0 {
            let before = std::mem::replace(&mut self.current, (position.term, position.offset));
            self.keep(before);
        }
        self.current.1 = position.offset;
    }

    /// Goes on from a store as if everything before `from` had been handed on, and forgets nothing that was.
    pub fn rebase(&mut self, meta: &Meta, from: u64) {
        let before = std::mem::replace(self, Seen::all(meta, from - 1));
        if before.epoch == self.epoch {
            before.others.into_iter().rev().for_each(|other| self.keep(other));
            self.keep(before.current);
        }
    }

    /// Remembers that so much was handed on under a term.
    fn keep(&mut self, (term, last): (Term, u64)) {
        let known = self.others.iter().position(|(known, _)| *known == term);
        let known = known.map_or(0, |index| self.others.remove(index).1);
        self.others.insert(0, (term, known.max(last)));
        self.others.truncate(MAX_TERMS);
    }
}
