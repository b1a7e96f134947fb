//! Somebody's progress in a topic.

use crate::meta::Meta;
use crate::position::{Epoch, Position, Term};

/// Terms of the past that are remembered. More than a store remembers: it forgets those of stores that took its place for a while.
const MAX_OTHERS: usize = 32;

/// The last message that was handed on, and the last one under each earlier term.
///
/// Earlier terms and epochs, because stores may take turns: a server that was cut off from one master finds another, and later
/// the first one again. A store that is restarted with older data may bring an earlier epoch back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The next message is expected after this one, under the same term.
    last: Position,
    /// No message was handed on under that term yet.
    is_bare: bool,
    /// The latest first, one of each term. Of the present term there is one if the store went back behind it.
    others: Vec<Position>,
}

impl From<Position> for Seen {
    fn from(position: Position) -> Seen {
        Seen { last: position, is_bare: false, others: Vec::new() }
    }
}

impl Seen {
    /// Everything that a store has.
    pub fn all(meta: &Meta) -> Seen {
        let is_bare = meta.offset < meta.terms[0].1;
        let mut seen = Seen { last: meta.under(0, meta.offset), is_bare, others: Vec::new() };
        seen.absorb(meta);
        seen
    }

    /// The last message that was handed on, or the end of the term before if there was none in this one.
    pub fn position(&self) -> Position {
        self.last
    }

    /// True if no message was handed on under the term of [`Seen::position`] yet.
    pub(crate) fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// The last offset of a term that was handed on.
    pub(crate) fn last_of(&self, epoch: Epoch, term: Term) -> Option<u64> {
        let all = std::iter::once(&self.last).chain(&self.others);
        all.filter(|last| last.epoch == epoch && last.term == term).map(|last| last.offset).max()
    }

    /// True if anything of an epoch was handed on.
    pub(crate) fn knows(&self, epoch: Epoch) -> bool {
        self.last.epoch == epoch || self.others.iter().any(|last| last.epoch == epoch)
    }

    /// True if a message was handed on already, as far as that can be told without asking the store.
    pub(crate) fn has(&self, position: Position) -> bool {
        self.last_of(position.epoch, position.term).is_some_and(|last| position.offset <= last)
    }

    /// True if it is the next one.
    pub(crate) fn is_next(&self, position: Position) -> bool {
        position == Position { offset: self.last.offset + 1, ..self.last }
    }

    /// True if it is a later one of the same term, and others come before it.
    pub(crate) fn is_ahead(&self, position: Position) -> bool {
        position.epoch == self.last.epoch
            && position.term == self.last.term
            && position.offset > self.last.offset + 1
    }

    /// The message at this position is handed on.
    pub(crate) fn advance(&mut self, position: Position) {
        self.go(position);
        self.is_bare = false;
    }

    /// The next message is expected after this position.
    pub(crate) fn go(&mut self, position: Position) {
        let before = std::mem::replace(&mut self.last, position);
        if (before.epoch, before.term) != (position.epoch, position.term) {
            self.remember(before);
            self.is_bare = true;
        }
    }

    fn remember(&mut self, last: Position) {
        let is_same = |other: &Position| other.epoch == last.epoch && other.term == last.term;
        let known = self.others.iter().position(is_same).map(|at| self.others.remove(at).offset);
        self.others.insert(0, Position { offset: last.offset.max(known.unwrap_or(0)), ..last });
        self.others.truncate(MAX_OTHERS);
    }

    /// Takes it that everything was handed on that a store has before the present position: it was, or it will never be.
    pub(crate) fn absorb(&mut self, meta: &Meta) {
        for age in (0..meta.terms.len()).rev() {
            let (term, first) = meta.terms[age];
            let last = meta.end(age).min(self.last.offset);
            if first <= last && term != self.last.term {
                self.remember(meta.under(age, last));
            }
        }
    }
}
