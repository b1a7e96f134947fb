use crate::follower::Missed;
use crate::meta::{MAX_TERMS, Reason};
use crate::position::{Epoch, Position, Term};

use super::counts::Counts;
use super::ledger::Ledger;
use super::plan::Kind;

/// The store's state as it was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// The number of the next message.
    pub(super) next: u32,
    pub(super) epoch: Option<Epoch>,
    /// The last message.
    pub(super) tip: Option<u32>,
    /// The offset of the first message that is kept.
    pub(super) kept: u64,
    /// The terms of all messages.
    pub(super) terms: usize,
}

impl Stamp {
    /// The store remembers no more of its terms, the present one included.
    fn has_forgotten(&self) -> bool {
        self.terms >= MAX_TERMS
    }
}

/// Something that a follower missed, and what it had of the store then.
struct Report {
    missed: Missed,
    stamp: Stamp,
    /// The last offset of the store's that was handed on.
    had: u64,
}

/// Sees to it that a server's follower of a topic keeps its promises.
pub(super) struct Witness {
    server: usize,
    topic: usize,
    /// The number of the first message that is due.
    from: Option<u32>,
    /// The messages that the store had by then.
    early: Option<u32>,
    /// The store had not said how far the topic was.
    is_by_message: bool,
    delivered: Vec<u32>,
    is_delivered: Vec<bool>,
    reports: Vec<Report>,
    /// The term of the last failover that was told, until something comes of another one.
    told: Option<(Epoch, Term)>,
    /// The topic was empty when the store had this many messages, under this term.
    empty: Option<(u32, Option<Term>)>,
    /// Messages that nobody can know of: the topic was empty before and after. None of this epoch.
    unknowable: Vec<(u32, u32, Option<Epoch>)>,
    pub(super) was_refused: bool,
}

impl Witness {
    pub(super) fn new(server: usize, topic: usize) -> Witness {
        Witness {
            server,
            topic,
            from: None,
            early: None,
            is_by_message: false,
            delivered: Vec::new(),
            is_delivered: Vec::new(),
            reports: Vec::new(),
            told: None,
            empty: None,
            unknowable: Vec::new(),
            was_refused: false,
        }
    }

    /// The follower is placed: the messages from this one on are due.
    pub(super) fn open(&mut self, from: u32, tip: Option<u32>, is_by_message: bool) {
        if self.from.is_none() {
            (self.from, self.early, self.is_by_message) = (Some(from), tip, is_by_message);
        }
    }

    pub(super) fn delivered(
        &mut self,
        id: u32,
        position: Position,
        stamp: Option<Stamp>,
        ledger: &Ledger,
    ) -> Result<(), String> {
        let sent = ledger.sent(id);
        let name = format!("server {} topic {}", self.server, self.topic);
        // Of messages that are older than the terms that a store remembers, it does not know theirs.
        let is_vague = stamp.is_some_and(|stamp| stamp.has_forgotten());
        let is_same = sent.position.is_some_and(|sent| {
            position == sent || is_vague && position == Position { term: position.term, ..sent }
        });
        if sent.topic != self.topic || !is_same {
            return Err(format!("{name}: m{id} came as {position}, its position is {:?}", sent.position));
        }
        self.mark(id).map_err(|()| format!("{name}: m{id} ({position}) was handed on twice"))?;
        // A follower that was refused, or got a message and then another store, does not know what there was.
        let is_blind = self.was_refused || self.is_by_message && !self.reports.is_empty();
        let is_early = !is_blind && self.from.is_some_and(|from| id < from);
        if is_early && ledger.is_within(id, self.early) {
            return Err(format!("{name}: m{id} ({position}) is from before the subscription"));
        }
        let is_later = |later: &&u32| **later > id && ledger.is_within(id, Some(**later));
        if let Some(later) = self.delivered.iter().find(is_later)
            && !self.reports.iter().any(|report| covers(report, id, position, ledger))
        {
            return Err(format!("{name}: m{id} ({position}) was handed on after m{later}"));
        }
        self.delivered.push(id);
        self.empty = None;
        if self.told != Some((position.epoch, position.term)) {
            self.told = None;
        }
        Ok(())
    }

    /// A message without position was handed on.
    pub(super) fn plain(&mut self, id: u32) -> Result<(), String> {
        self.mark(id).map_err(|()| format!("server {}: plain m{id} was handed on twice", self.server))
    }

    fn mark(&mut self, id: u32) -> Result<(), ()> {
        if self.is_delivered.len() <= id as usize {
            self.is_delivered.resize(id as usize + 1, false);
        }
        if std::mem::replace(&mut self.is_delivered[id as usize], true) { Err(()) } else { Ok(()) }
    }

    pub(super) fn missed(
        &mut self,
        missed: Missed,
        stamp: Stamp,
        kind: Kind,
        ledger: &Ledger,
        counts: &mut Counts,
    ) -> Result<(), String> {
        counts.missed(missed.reason);
        let has = |epoch: Option<Epoch>| epoch.is_some() && epoch == stamp.epoch;
        let epoch_of = |position: Option<Position>| position.map(|position| position.epoch);
        let within = |id: &&u32| ledger.is_within(**id, stamp.tip);
        let last = self.delivered.iter().rev().find(within);
        let had = last.and_then(|id| ledger.sent(*id).position).map_or(0, |position| position.offset);
        let may_be = match missed.reason {
            _ if self.from.is_none() && missed.reason != Reason::Unreadable => false,
            Reason::Trimmed => {
                kind != Kind::Calm
                    && has(epoch_of(missed.to))
                    && missed.to.is_some_and(|to| to.offset < stamp.kept)
            }
            Reason::Failover => {
                let to = missed.to.map(|to| (to.epoch, to.term));
                let is_other = missed
                    .after
                    .zip(missed.to)
                    .is_none_or(|(after, to)| (after.epoch, after.term) != (to.epoch, to.term));
                // It was empty under another term in between.
                let is_other = is_other || self.empty.is_some();
                let is_new = to.is_none() || self.told != to;
                self.told = to;
                // A store that loses nothing that it acknowledged may still lack what it gave to some.
                let tip = stamp.tip;
                let lacks = || self.early.iter().chain(&self.delivered).any(|id| !ledger.is_within(*id, tip));
                let is_failing = matches!(kind, Kind::Failing | Kind::Split | Kind::Rough | Kind::Versions);
                is_other
                    && is_new
                    && (is_failing || kind == Kind::Trusted && (stamp.has_forgotten() || lacks()))
            }
            Reason::Emptied => !matches!(kind, Kind::Calm) && !has(epoch_of(missed.after.or(missed.to))),
            Reason::Unreadable => self.was_refused,
        };
        if missed.reason != Reason::Failover {
            self.told = None;
        }
        if !may_be {
            let Witness { server, topic, .. } = self;
            return Err(format!(
                "server {server} topic {topic}: {missed:?} was told, and can't be: the store is at {stamp:?}"
            ));
        }
        self.reports.push(Report { missed, stamp, had });
        Ok(())
    }

    /// The store answered that the topic is like this, over a link with this term.
    pub(super) fn answered(&mut self, stamp: Stamp, is_empty: bool, term: Option<Term>) {
        if let Some((since, under)) = self.empty.take()
            && under == term
        {
            self.unknowable.push((since, stamp.next, stamp.epoch));
        }
        if is_empty {
            self.empty = Some((stamp.next, term));
            self.told = None;
        }
    }

    /// All messages that are due were handed on, or it was told that they were missed.
    pub(super) fn close(&self, tip: Option<u32>, kind: Kind, ledger: &Ledger) -> Result<(), String> {
        let Some(from) = self.from else { return Ok(()) };
        if kind == Kind::Trusted
            && self.reports.is_empty()
            && let Some(id) = self.delivered.iter().find(|id| !ledger.is_within(**id, tip))
        {
            return Err(format!("server {}: the store lacks m{id}, and nothing said so", self.server));
        }
        for (id, sent) in ledger.0.iter().enumerate().skip(from as usize) {
            let id = id as u32;
            let Some(position) = sent.position.filter(|_| sent.topic == self.topic) else { continue };
            let is_due = sent.is_acknowledged || ledger.is_within(id, tip);
            let is_here = !sent.is_stray || sent.followed & (1 << self.server) != 0;
            let is_known = self.is_delivered.get(id as usize) == Some(&true);
            if !is_due || !is_here || is_known || self.is_unknowable(id, position) {
                continue;
            }
            if !self.reports.iter().any(|report| covers(report, id, position, ledger)) {
                let Witness { server, topic, .. } = self;
                return Err(format!(
                    "server {server} topic {topic}: m{id} ({position}) is missing, and nothing said so"
                ));
            }
        }
        Ok(())
    }

    fn is_unknowable(&self, id: u32, position: Position) -> bool {
        let is_within = |(from, to, epoch): &(u32, u32, Option<Epoch>)| {
            (*from..*to).contains(&id) && *epoch != Some(position.epoch)
        };
        self.unknowable.iter().any(is_within)
    }
}

/// True if a report says that a message may be missing.
fn covers(report: &Report, id: u32, position: Position, ledger: &Ledger) -> bool {
    let Report { missed, stamp, had } = report;
    let is_unknown = missed.reason == Reason::Unreadable && missed.to.is_none();
    if ledger.is_within(id, stamp.tip) && !is_unknown {
        let to = missed.to.filter(|to| to.epoch == position.epoch);
        return to.is_some_and(|to| (had + 1..=to.offset).contains(&position.offset));
    }
    missed.reason != Reason::Trimmed && id < stamp.next
}
