use super::World;
use crate::tests::simulation::server::{Link, Server};

/// Steps after which a world must have come to rest.
const MAX_STEPS: usize = 5_000;

impl World {
    /// Everybody gets connected, and has everything.
    pub(in crate::tests::simulation) fn end(&mut self) -> Result<(), String> {
        self.tell(|| "the end".to_owned());
        let master = self.master;
        self.nodes[master].olds = 0;
        for server in 0..self.servers.len() {
            self.servers[server].refuses = false;
            if self.servers[server].link.as_ref().is_none_or(|link| link.node != master) {
                self.cut(server);
                self.connect(server, master);
            }
        }
        self.rest()?;
        for topic in 0..self.setup.topics {
            let refused = |server: &Server| server.watches[topic].witness.was_refused;
            // Nobody is told that a topic is gone.
            let is_there = self.nodes[master].stored.end(topic).is_some();
            if is_there && self.counts.lost == 0 && !self.servers.iter().any(refused) {
                self.is_level(topic)?;
            }
        }
        (0..self.servers.len()).for_each(|server| self.doubt(server));
        self.rest()?;
        for topic in 0..self.setup.topics {
            self.is_level(topic)?;
            self.logicals += 1;
            let term = self.nodes[master].term;
            let questions = self.counts.questions;
            let id = self.append(master, topic, term, None, self.logicals)?;
            self.ledger.0[id as usize].is_acknowledged = true;
            self.rest()?;
            if self.counts.questions > questions {
                return Err(format!("a server asked where it only had to hand m{id} on"));
            }
            self.is_level(topic)?;
            let tip = self.stamp(master, topic).tip;
            for server in &self.servers {
                server.watches[topic].witness.close(tip, self.setup.kind, &self.ledger)?;
            }
        }
        Ok(())
    }

    /// Items under way arrive.
    fn rest(&mut self) -> Result<(), String> {
        for _ in 0..MAX_STEPS {
            for server in 0..self.servers.len() {
                self.serve(server)?;
                self.arrive(server)?;
                self.read(server)?;
            }
            let is_busy = |link: &Link| {
                let Link { requests, items, reads, pages, .. } = link;
                !(requests.is_empty() && items.is_empty() && reads.is_empty() && pages.is_empty())
            };
            if !self.servers.iter().any(|server| server.link.as_ref().is_some_and(is_busy)) {
                return Ok(());
            }
        }
        Err("the servers don't come to rest".to_owned())
    }

    /// All followers have what the store has.
    fn is_level(&self, topic: usize) -> Result<(), String> {
        let end = self.nodes[self.master].stored.end(topic);
        for (at, server) in self.servers.iter().enumerate() {
            let follower = &server.watches[topic].follower;
            let position = follower.position();
            if !follower.is_settled() || position.map(|position| (position.epoch, position.offset)) != end {
                return Err(format!("server {at} topic {topic} is at {position:?}, the store at {end:?}"));
            }
        }
        Ok(())
    }
}
