//! A store's word on a topic: how far it is, and under which terms it got there.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::position::{Epoch, NoPosition, Position, Term, number};
use crate::seen::Seen;

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

/// The reason for which a follower may have missed messages.
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

impl Reason {
    /// Its name for the embedder and for clients.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Failover => "failover",
            Reason::Emptied => "emptied",
            Reason::Trimmed => "trimmed",
            Reason::Unreadable => "unreadable",
        }
    }
}

/// The place to read on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The offset of the first message that is new to the follower.
    pub from: u64,
    /// Set if messages may be missing: before that, or where the store's term changed since.
    pub lost: Option<Reason>,
}

impl Meta {
    /// The position of the last message, or of the beginning.
    pub fn last(&self) -> Position {
        self.at(self.offset)
    }

    /// The position with this offset.
    pub fn at(&self, offset: u64) -> Position {
        let age = self.terms.iter().position(|(_, first)| *first <= offset);
        self.under(age.unwrap_or(self.terms.len() - 1), offset)
    }

    /// An offset under a term, by the term's age.
    pub(crate) fn under(&self, age: usize, offset: u64) -> Position {
        Position { epoch: self.epoch, term: self.terms[age].0, offset }
    }

    /// The last offset of a term, by its age.
    pub(crate) fn end(&self, age: usize) -> u64 {
        age.checked_sub(1).map_or(self.offset, |newer| self.terms[newer].1 - 1)
    }

    /// The age of a position's term: 0 is the newest. None: the store does not know it.
    pub(crate) fn age_of(&self, position: Position) -> Option<usize> {
        let age = self.terms.iter().position(|(term, _)| *term == position.term);
        age.filter(|_| position.epoch == self.epoch)
    }

    /// The same with the term that the store has now, which no message may have been published under yet.
    pub fn continued(&self, term: Option<Term>) -> Cow<'_, Meta> {
        let known = |term: &Term| self.terms.iter().any(|(known, _)| known == term);
        let Some(term) = term.filter(|term| !known(term)) else { return Cow::Borrowed(self) };
        let mut meta = self.clone();
        meta.terms.insert(0, (term, self.offset + 1));
        meta.terms.truncate(MAX_TERMS);
        Cow::Owned(meta)
    }

    /// The last message of the store's that somebody has seen. None: they have no term in common.
    ///
    /// A place before a term's first message says nothing of that term: somebody may have waited for its first message when the
    /// topic, in a cluster, went on to another master, and came back later.
    fn meet(&self, seen: &Seen) -> Option<(usize, u64)> {
        let lasts = self
            .terms
            .iter()
            .map(|(term, first)| seen.last_of(self.epoch, *term).filter(|last| last + 1 >= *first));
        lasts.enumerate().find_map(|(age, last)| Some((age, last?.min(self.end(age)))))
    }

    /// True if an offset, or the one before a term's first, is among the offsets of that term.
    fn has_begun(&self, age: usize, offset: u64) -> bool {
        self.terms[age].1 <= offset + 1 && offset <= self.end(age)
    }

    /// The place after which the store's messages are new to somebody.
    pub(crate) fn branch(&self, seen: &Seen) -> Position {
        let waited = || self.terms.iter().find_map(|(term, _)| seen.last_of(self.epoch, *term));
        let met = self.meet(seen).map(|(age, last)| self.under(age, last));
        match met.or_else(|| Some(self.at(waited()?))) {
            Some(place) => place,
            // Its terms are older, or a replica's that the store knows nothing of: all but the newest term may have been seen.
            None if seen.knows(self.epoch) => self.under(0, self.terms[0].1 - 1),
            None => self.at(0),
        }
    }

    /// The same place under the next term if the term ends there.
    pub(crate) fn over(&self, at: Position) -> Position {
        let age = self.age_of(at).filter(|age| *age > 0 && self.end(*age) == at.offset);
        age.map_or(at, |age| self.under(age - 1, at.offset))
    }

    /// The place from which somebody reads on who has [`Seen`] so much. `trust`: no acknowledged message gets lost when the term changes.
    pub fn resume(&self, seen: &Seen, trust: bool) -> Resume {
        let from = self.branch(seen).offset + 1;
        let last = seen.position();
        let lost = match self.age_of(last) {
            Some(age) if self.has_begun(age, last.offset) && (age == 0 || trust) => None,
            None if !seen.knows(self.epoch) => Some(Reason::Emptied),
            _ => Some(Reason::Failover),
        };
        Resume { from, lost }
    }
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
        let offset = number(word()?).ok_or(NoPosition)?;
        let terms = words.map(|word| {
            let (term, first) = word.split_once('@')?;
            Some((Term::new(term.as_bytes())?, number(first).filter(|first| *first > 0)?))
        });
        let terms: Vec<(Term, u64)> = terms.collect::<Option<_>>().ok_or(NoPosition)?;
        let is_descending = terms.windows(2).all(|pair| pair[0].1 > pair[1].1);
        let is_within = terms.first().is_some_and(|(_, first)| *first <= offset + 1);
        if !is_descending || !is_within || terms.len() > MAX_TERMS {
            return Err(NoPosition);
        }
        Ok(Meta { epoch, offset, terms })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::position::MAX_OFFSET;
    use crate::tests::names::{at, meta, term};

    #[test]
    fn a_meta_has_one_text_and_no_other_text_is_one() {
        for text in ["k3f9x2ab 12 7c1d09aa@1", "k3f9x2ab 12 7c1d09aa@12 00000000@7 zzzzzzzz@1"] {
            let meta: Meta = text.parse().unwrap();
            assert_eq!(meta.to_string(), text);
        }
        let many: String = (0..=MAX_TERMS).map(|n| format!(" 0000000{n}@{}", 20 - n)).collect();
        for wrong in [
            "",
            "k3f9x2ab",
            "k3f9x2ab 12",
            "k3f9x2ab 12 ",
            "k3f9x2ab 12 7c1d09aa",
            "k3f9x2ab 12 7c1d09aa@",
            "k3f9x2ab 12 7c1d09aa@0",
            "k3f9x2ab 12 7c1d09aa@-1",
            "k3f9x2ab 12 7c1d09aa@1 ",
            "k3f9x2ab  12 7c1d09aa@1",
            "k3f9x2ab -12 7c1d09aa@1",
            "k3f9x2ab 012 7c1d09aa@1",
            "k3f9x2a 12 7c1d09aa@1",
            "k3f9x2ab 12 7c1d09a-@1",
            // The newest term begins after the end, or not after the older one.
            "k3f9x2ab 12 7c1d09aa@14",
            "k3f9x2ab 12 7c1d09aa@5 00000000@5",
            "k3f9x2ab 12 7c1d09aa@5 00000000@6",
            "k3f9x2ab 9007199254740992 7c1d09aa@1",
            &format!("k3f9x2ab 20{many}"),
        ] {
            assert_eq!(wrong.parse::<Meta>(), Err(NoPosition), "{wrong:?}");
        }
        let last: Meta = format!("k3f9x2ab {MAX_OFFSET} 7c1d09aa@1").parse().unwrap();
        assert_eq!(last.last().offset, MAX_OFFSET);
    }

    #[test]
    fn each_offset_has_the_term_that_it_was_given_under() {
        let three = meta("e 9 c@8 b@5 a@1");
        let terms = (1..=9).map(|offset| three.at(offset).term.as_str()[..1].to_owned());
        assert_eq!(terms.collect::<String>(), "aaaabbbcc");
        assert_eq!([three.end(0), three.end(1), three.end(2)], [9, 7, 4]);
        // Of forgotten terms the oldest known one.
        assert_eq!(meta("e 9 c@8").at(3), at("ec3"));
    }

    #[test]
    fn a_position_is_read_on_from_where_the_store_has_it() {
        use Reason::{Emptied, Failover};
        for (now, after, trust, from, lost) in [
            ("e 9 a@1", "ea9", false, 10, None),
            ("e 9 a@1", "ea4", false, 5, None),
            ("e 9 a@1", "ea12", false, 10, Some(Failover)),
            ("e 9 a@1", "fa4", false, 1, Some(Emptied)),
            ("e 9 b@6 a@1", "ea4", false, 5, Some(Failover)),
            ("e 9 b@6 a@1", "ea4", true, 5, None),
            ("e 9 b@6 a@1", "ea5", true, 6, None),
            ("e 9 b@6 a@1", "ea7", false, 6, Some(Failover)),
            ("e 9 b@6 a@1", "ea7", true, 6, Some(Failover)),
            ("e 9 b@6 a@1", "eb7", false, 8, None),
            ("e 9 c@8 b@6 a@1", "eb6", false, 7, Some(Failover)),
            // A term that the store does not know: older ones than the newest may have been seen.
            ("e 9 b@6 a@1", "ex3", false, 6, Some(Failover)),
            ("e 9 b@6 a@1", "ex3", true, 6, Some(Failover)),
            ("e 9 a@1", "ea0", false, 1, None),
        ] {
            let resume = meta(now).resume(&Seen::from(at(after)), trust);
            assert_eq!(resume, Resume { from, lost }, "{now}, after {after}");
        }
    }

    #[test]
    fn a_term_that_was_waited_for_and_began_later_says_nothing_of_what_came_before_it() {
        let mut seen = Seen::from(at("ea9"));
        // The topic went to another master, and back before that gave a place.
        seen.go(at("eb9"));
        (10..=12).for_each(|offset| seen.advance(Position { offset, ..at("ea9") }));
        let later = meta("e 20 b@15 a@1");
        assert_eq!(later.resume(&seen, false), Resume { from: 13, lost: Some(Reason::Failover) });
        let waiting = later.resume(&Seen::from(at("eb9")), false);
        assert_eq!(waiting, Resume { from: 10, lost: Some(Reason::Failover) }, "all that came meanwhile");
        assert_eq!(later.resume(&Seen::from(at("eb14")), false), Resume { from: 15, lost: None });
    }

    #[test]
    fn a_term_that_nothing_was_published_under_follows_the_others() {
        let old = meta("e 9 b@6 a@1");
        assert_eq!(*old.continued(Some(term('c'))), meta("e 9 c@10 b@6 a@1"));
        for known in [None, Some(term('b')), Some(term('a'))] {
            assert_eq!(*old.continued(known), old);
        }
        let terms =
            "hgfedcba".chars().zip((1..=MAX_TERMS as u64).rev()).map(|(name, first)| (term(name), first));
        let full = Meta { terms: terms.collect(), ..old };
        let more = full.continued(Some(term('z')));
        assert_eq!((more.terms.len(), more.terms[0], more.terms[7].1), (MAX_TERMS, (term('z'), 10), 2));
    }
}
