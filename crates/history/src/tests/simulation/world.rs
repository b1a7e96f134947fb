mod end;
mod traffic;

use std::collections::VecDeque;

use crate::log::Appended;
use crate::position::{Epoch, Term};

use super::counts::Counts;
use super::ledger::{Ledger, Sent};
use super::node::{Effect, Node, Role, Stored, is_place_of};
use super::plan::{Data, Ending, KEY_MS, Kind, Op, Setup};
use super::server::{Item, Link, Request, Server};

/// A store and the servers that it connects.
pub(super) struct World {
    setup: Setup,
    nodes: [Node; 2],
    /// The master that counts.
    master: usize,
    servers: Vec<Server>,
    ledger: Ledger,
    now: u64,
    names: u32,
    logicals: u32,
    payload: Vec<u8>,
    pub(super) counts: Counts,
    /// The story, if it is to be told.
    pub(super) story: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(setup: Setup) -> World {
        let node = |role, term: &[u8]| Node {
            role,
            term: Term::new(term).unwrap(),
            stored: Stored::new(setup.topics),
            saved: Stored::new(setup.topics),
            is_idle: false,
            olds: 0,
            behind: VecDeque::new(),
        };
        let trust = setup.kind == Kind::Trusted;
        World {
            nodes: [node(Role::Master, b"T0000000"), node(Role::Replica, b"T0000000")],
            master: 0,
            servers: (0..setup.servers).map(|server| Server::new(server, setup.topics, trust)).collect(),
            ledger: Ledger::default(),
            now: 1_700_000_000_000,
            names: 0,
            logicals: 0,
            payload: vec![0; setup.payload],
            counts: Counts { runs: 1, ..Counts::default() },
            story: None,
            setup,
        }
    }

    fn name(&mut self, letter: char) -> [u8; 8] {
        self.names += 1;
        format!("{letter}{:07}", self.names).into_bytes().try_into().unwrap()
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(text());
        }
    }

    pub(super) fn run(&mut self, op: Op) -> Result<(), String> {
        self.counts.ops += 1;
        self.tell(|| format!("{op:?}"));
        match op {
            Op::Publish { server, topic, keyed, ending } => {
                self.logicals += 1;
                self.publish(server, topic, self.logicals, keyed, ending)?;
            }
            Op::Retry { server, ending } => {
                if self.servers[server].link.is_some()
                    && let Some((topic, logical)) = self.servers[server].uncertain.pop_front()
                {
                    self.publish(server, topic, logical, true, ending)?;
                }
            }
            Op::Connect { server, node } => self.connect(server, node),
            Op::Cut { server } => self.cut(server),
            Op::Crash { server } => {
                self.cut(server);
                self.counts.crashes += 1;
                let kept = std::mem::take(&mut self.servers[server].uncertain);
                let trust = self.setup.kind == Kind::Trusted;
                self.servers[server] = Server::new(server, self.setup.topics, trust);
                // Clients publish, and try again over the next server.
                self.servers[server].uncertain = kept;
            }
            Op::Serve { server, requests } => (0..requests).try_for_each(|_| self.serve(server))?,
            Op::Arrive { server, items } => {
                for _ in 0..items {
                    self.serve(server)?;
                    self.arrive(server)?;
                }
            }
            Op::Read { server } => self.read(server)?,
            Op::Lose { server } => self.lose(server),
            Op::Doubt { server } => self.doubt(server),
            Op::RefuseRead { server } => self.servers[server].refuses = true,
            Op::Replicate { effects } => self.replicate(effects),
            Op::Promote { kills } => self.promote(kills),
            Op::Rejoin => self.rejoin(),
            Op::Move => self.move_data(),
            Op::Restart { node, data } => self.restart(node, data),
            Op::Save => {
                let node = &mut self.nodes[self.master];
                node.saved = node.stored.clone();
            }
            Op::Flush => {
                self.counts.flushes += 1;
                self.write(self.master, Effect::Flush);
            }
            Op::Pass { ms } => {
                self.now += ms;
                // A replica drops what its master drops.
                for node in self.nodes.iter_mut().filter(|node| node.role == Role::Master) {
                    self.counts.expired += node.stored.expire(self.now);
                }
            }
            Op::OldJoins => {
                self.nodes[self.master].olds += 1;
                self.counts.olds += 1;
            }
            Op::OldLeaves => {
                let olds = &mut self.nodes[self.master].olds;
                *olds = olds.saturating_sub(1);
            }
        }
        Ok(())
    }

    fn publish(
        &mut self,
        server: usize,
        topic: usize,
        logical: u32,
        keyed: bool,
        ending: Ending,
    ) -> Result<(), String> {
        let Some(link) = &self.servers[server].link else { return Ok(()) };
        let (node, term) = (link.node, link.term);
        let retry = if keyed { Some((topic, logical)) } else { None };
        match ending {
            Ending::Refused => return Ok(()),
            Ending::Unsent => {
                self.servers[server].uncertain.extend(retry);
                self.cut(server);
                return Ok(());
            }
            Ending::Acknowledged | Ending::Unanswered => {}
        }
        let key = keyed.then_some(logical);
        let id = self.append(node, topic, term, key, logical)?;
        self.tell(|| format!("  m{id}"));
        if ending == Ending::Unanswered {
            self.counts.unanswered += 1;
            self.servers[server].uncertain.extend(retry);
            self.cut(server);
        } else {
            self.ledger.0[id as usize].is_acknowledged = true;
            if self.setup.kind == Kind::Trusted {
                self.replicate(usize::MAX);
            }
        }
        Ok(())
    }

    /// A step of the store's. Answers the message's number.
    fn append(
        &mut self,
        node: usize,
        topic: usize,
        term: Term,
        key: Option<u32>,
        logical: u32,
    ) -> Result<u32, String> {
        let (now, bounds) = (self.now, self.setup.bounds);
        let stored = &self.nodes[node].stored;
        let known = key.and_then(|key| stored.key(topic, key, now));
        let parent = stored.stamp(topic, 0, now, bounds).tip;
        let id = self.ledger.next();
        let is_old = self.nodes[node].olds > 0;
        if let Some(known) = known.filter(|_| is_old) {
            self.counts.retried += 1;
            return Ok(known.id);
        }
        let epoch = Epoch::new(&self.name('E')).unwrap();
        let effect = if is_old {
            Effect::End { topic, now, key, id }
        } else {
            Effect::Append { topic, term, epoch, now, key, id }
        };
        let appended = self.write(node, effect);
        let position = match (appended, known) {
            (Some(Appended::Known(position)), Some(known)) => {
                if self.ledger.sent(known.id).position != Some(position) {
                    return Err(format!("a retry of m{} was answered with {position}", known.id));
                }
                self.counts.retried += 1;
                return Ok(known.id);
            }
            (Some(Appended::Known(position)), None) => {
                return Err(format!("a new message was taken for the one at {position}"));
            }
            (Some(Appended::New(_)), Some(known)) => {
                return Err(format!("a retry of m{} was published again, and the store has it", known.id));
            }
            (None, Some(known)) => return Ok(known.id),
            (Some(Appended::New(position)), None) => Some(position),
            (None, None) => None,
        };
        if let (Some(position), Some(stored)) = (position, &self.nodes[node].stored.topics[topic])
            && !is_place_of(position, stored)
        {
            return Err(format!("m{id} got {position} as number {} of {}", stored.ids.len(), stored.epoch));
        }
        let follows = |server: &Server| {
            server.link.as_ref().is_some_and(|link| link.node == node && link.answered[topic])
        };
        let followed = (0..).zip(&self.servers).map(|(at, server)| u8::from(follows(server)) << at).sum();
        let is_stray = node != self.master;
        let is_same = |id: &u32| {
            let sent = self.ledger.sent(*id);
            sent.logical == logical && sent.position.is_some()
        };
        let before = (0..self.ledger.next()).rfind(is_same).map(|id| (id, self.ledger.sent(id)));
        if let Some((before, sent)) = before
            && now < sent.at + KEY_MS
            && self.ledger.is_within(before, parent)
        {
            return Err(format!("m{before} was published again as m{id}, and the store has it"));
        }
        let is_repeated = before.is_some();
        let is_acknowledged = false;
        let parent = parent.filter(|_| position.is_some_and(|position| position.offset > 1));
        self.ledger.0.push(Sent {
            at: now,
            topic,
            logical,
            position,
            parent,
            is_acknowledged,
            is_stray,
            followed,
        });
        self.counts.messages += 1;
        self.counts.stray += u64::from(is_stray);
        self.counts.plain += u64::from(position.is_none());
        self.counts.repeated += u64::from(is_repeated);
        for server in &mut self.servers {
            if let Some(link) =
                server.link.as_mut().filter(|link| link.node == node && link.subscribed[topic])
            {
                link.items.push_back(match position {
                    Some(_) => Item::Message(topic, id),
                    None => Item::Plain(topic, id),
                });
            }
        }
        Ok(id)
    }

    fn write(&mut self, node: usize, effect: Effect) -> Option<Appended> {
        let appended = self.nodes[node].stored.apply(&effect, self.setup.bounds);
        if node == self.master && self.nodes[1 - node].role == Role::Replica {
            self.nodes[node].behind.push_back(effect);
        }
        appended
    }

    fn connect(&mut self, server: usize, node: usize) {
        if self.servers[server].link.is_some() || self.nodes[node].role != Role::Master {
            return;
        }
        let before = self.servers[server].last_node.replace(node);
        self.counts.switched += u64::from(before.is_some_and(|before| before != node));
        let topics = self.setup.topics;
        self.servers[server].link = Some(Link {
            node,
            term: self.nodes[node].term,
            subscribed: vec![false; topics],
            answered: vec![false; topics],
            requests: (0..topics).map(Request::Subscribe).collect(),
            items: VecDeque::new(),
            reads: VecDeque::new(),
            pages: VecDeque::new(),
        });
    }

    fn cut(&mut self, server: usize) {
        let server = &mut self.servers[server];
        if server.link.take().is_some() {
            self.counts.cuts += 1;
            server.watches.iter_mut().for_each(|watch| watch.follower.on_cut());
        }
    }

    fn cut_all(&mut self, node: usize) {
        for server in 0..self.servers.len() {
            if self.servers[server].link.as_ref().is_some_and(|link| link.node == node) {
                self.cut(server);
            }
        }
        self.nodes[node].olds = 0;
    }

    fn lose(&mut self, server: usize) {
        let Some(link) = &mut self.servers[server].link else { return };
        let first = link.items.iter().position(|item| matches!(item, Item::Message(..)));
        if first.and_then(|at| link.items.remove(at)).is_some() {
            self.counts.lost += 1;
        }
    }

    fn doubt(&mut self, server: usize) {
        let Server { link: Some(link), watches, .. } = &mut self.servers[server] else { return };
        for (topic, watch) in watches.iter_mut().enumerate() {
            let ask = watch.follower.recheck();
            link.requests.extend(ask.map(|ask| Request::Ask(topic, ask)));
        }
    }

    fn replicate(&mut self, effects: usize) {
        let bounds = self.setup.bounds;
        for _ in 0..effects {
            let Some(effect) = self.nodes[self.master].behind.pop_front() else { return };
            self.nodes[1 - self.master].stored.apply(&effect, bounds);
        }
    }

    fn promote(&mut self, kills: bool) {
        let (old, new) = (self.master, 1 - self.master);
        if self.nodes[new].role != Role::Replica {
            return;
        }
        self.counts.promotions += 1;
        self.nodes[old].behind.clear();
        let name = self.name('T');
        self.nodes[new].term = Term::new(&name).unwrap();
        self.nodes[new].role = Role::Master;
        self.nodes[new].stored.expire(self.now);
        self.master = new;
        if kills {
            self.nodes[old].role = Role::Down;
            self.cut_all(old);
        }
    }

    fn rejoin(&mut self) {
        let other = 1 - self.master;
        if self.nodes[other].role == Role::Replica {
            return;
        }
        self.cut_all(other);
        (self.nodes[other].role, self.nodes[other].is_idle) = (Role::Replica, false);
        self.synchronize();
    }

    fn move_data(&mut self) {
        let (old, new) = (self.master, 1 - self.master);
        if self.nodes[new].role == Role::Master {
            return;
        }
        self.counts.moves += 1;
        (0..2).for_each(|node| self.cut_all(node));
        if !self.nodes[new].is_idle {
            let name = self.name('T');
            self.nodes[new].term = Term::new(&name).unwrap();
        }
        let empty = || Stored::new(self.setup.topics);
        let (empty, saved) = (empty(), empty());
        let stored = std::mem::replace(&mut self.nodes[old].stored, empty);
        self.nodes[old].behind.clear();
        (self.nodes[old].role, self.nodes[old].is_idle) = (Role::Down, true);
        let target = &mut self.nodes[new];
        (target.stored, target.saved, target.role, target.is_idle) = (stored, saved, Role::Master, false);
        self.master = new;
    }

    /// The replica gets all that the master has.
    fn synchronize(&mut self) {
        let (master, other) = (self.master, 1 - self.master);
        self.nodes[master].behind.clear();
        if self.nodes[other].role == Role::Replica {
            self.nodes[other].stored = self.nodes[master].stored.clone();
        }
    }

    fn restart(&mut self, node: usize, data: Data) {
        if self.nodes[node].role != Role::Master {
            return;
        }
        self.cut_all(node);
        let name = self.name('T');
        let empty = Stored::new(self.setup.topics);
        let restarted = &mut self.nodes[node];
        restarted.term = Term::new(&name).unwrap();
        match data {
            Data::All => self.counts.whole += 1,
            Data::Saved => {
                restarted.stored = restarted.saved.clone();
                self.counts.older += 1;
            }
            Data::None => {
                restarted.stored = empty;
                self.counts.bare += 1;
            }
        }
        restarted.stored.expire(self.now);
        if data != Data::All {
            // Nobody can know what it lost if a former master gets the data before a message has its new term.
            self.nodes[1 - node].is_idle = false;
        }
        if node == self.master {
            self.synchronize();
        }
    }
}
