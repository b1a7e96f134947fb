use crate::follower::{Ask, Verdict};
use crate::position::Term;

use super::World;
use crate::tests::simulation::server::{Given, Handed, Item, Request, Server};
use crate::tests::simulation::witness::Stamp;

impl World {
    pub(super) fn stamp(&self, node: usize, topic: usize) -> Stamp {
        self.nodes[node].stored.stamp(topic, self.ledger.next(), self.now, self.setup.bounds)
    }

    /// The store does what the next request says.
    pub(super) fn serve(&mut self, server: usize) -> Result<(), String> {
        let Some(link) = &mut self.servers[server].link else { return Ok(()) };
        let node = link.node;
        let Some(request) = link.requests.pop_front() else { return Ok(()) };
        if let Request::Ask(_, Ask::Messages { .. }) = request
            && self.setup.has_reader
        {
            link.reads.push_back(request);
            return Ok(());
        }
        let item = self.answer(server, node, request)?;
        if let Some(link) = &mut self.servers[server].link {
            link.items.push_back(item);
        }
        Ok(())
    }

    fn answer(&mut self, server: usize, node: usize, request: Request) -> Result<Item, String> {
        Ok(match request {
            Request::Subscribe(topic) => {
                if let Some(link) = &mut self.servers[server].link {
                    link.subscribed[topic] = true;
                }
                Item::Confirmed(topic)
            }
            Request::Ask(topic, ask) => {
                self.counts.questions += 1;
                let stamp = self.stamp(node, topic);
                if std::mem::take(&mut self.servers[server].refuses) {
                    self.servers[server].watches[topic].witness.was_refused = true;
                    return Ok(Item::Refused(topic, stamp));
                }
                let stored = &self.nodes[node].stored;
                let meta = stored.meta(topic).map(|meta| meta.to_string().parse().unwrap());
                match ask {
                    Ask::Meta => Item::Meta(topic, meta, stamp),
                    Ask::Messages { from } => {
                        self.counts.repairs += 1;
                        let (page, is_all) = stored.read(topic, from, self.setup.page);
                        if let Some((offset, id)) = page.first().filter(|(offset, _)| *offset < stamp.kept) {
                            return Err(format!("m{id} is still kept at {offset}: {stamp:?}"));
                        }
                        Item::Messages(topic, meta, page, is_all, stamp)
                    }
                }
            }
        })
    }

    /// The next item reaches the server.
    pub(super) fn arrive(&mut self, server: usize) -> Result<(), String> {
        let item = self.servers[server].link.as_mut().and_then(|link| link.items.pop_front());
        item.map_or(Ok(()), |item| self.take(server, item))
    }

    /// The link that messages are read over gets one step further.
    pub(super) fn read(&mut self, server: usize) -> Result<(), String> {
        let Some(link) = &mut self.servers[server].link else { return Ok(()) };
        let node = link.node;
        if let Some(item) = link.pages.pop_front() {
            return self.take(server, item);
        }
        if let Some(request) = link.reads.pop_front() {
            let item = self.answer(server, node, request)?;
            if let Some(link) = &mut self.servers[server].link {
                link.pages.push_back(item);
            }
        }
        Ok(())
    }

    fn take(&mut self, server: usize, item: Item) -> Result<(), String> {
        let Some(term) = self.servers[server].link.as_ref().map(|link| link.term) else { return Ok(()) };
        let mut handed = Handed::default();
        let (topic, ask, stamp) = match item {
            Item::Confirmed(topic) => {
                (topic, Some(self.servers[server].watches[topic].follower.on_subscribed(Some(term))), None)
            }
            Item::Plain(topic, id) => {
                self.servers[server].watches[topic].witness.plain(id)?;
                return Ok(());
            }
            Item::Message(topic, id) => {
                let Some(position) = self.ledger.sent(id).position else { return Ok(()) };
                self.payload[..4].copy_from_slice(&id.to_le_bytes());
                let verdict =
                    self.servers[server].watches[topic].follower.on_message(position, &self.payload);
                let ask = match verdict {
                    Verdict::Deliver => {
                        handed.0.push(Given::Message(position, id));
                        None
                    }
                    Verdict::Drop => {
                        self.counts.dropped += 1;
                        None
                    }
                    Verdict::Wait(ask) => {
                        self.counts.waited += 1;
                        ask
                    }
                };
                (topic, ask, None)
            }
            Item::Meta(topic, meta, stamp) => {
                let Server { link, watches, .. } = &mut self.servers[server];
                link.iter_mut().for_each(|link| link.answered[topic] = true);
                let follower = &mut watches[topic].follower;
                (topic, follower.on_meta(meta.as_ref(), &mut handed), Some(stamp))
            }
            Item::Messages(topic, meta, page, is_all, stamp) => {
                let mut bytes = vec![0; page.len() * self.setup.payload];
                let each = bytes.chunks_exact_mut(self.setup.payload).zip(&page);
                each.for_each(|(bytes, (_, id))| bytes[..4].copy_from_slice(&id.to_le_bytes()));
                let messages = page.iter().map(|(offset, _)| *offset);
                let messages = messages.zip(bytes.chunks_exact(self.setup.payload).map(Some));
                let follower = &mut self.servers[server].watches[topic].follower;
                (topic, follower.on_messages(meta.as_ref(), messages, is_all, &mut handed), Some(stamp))
            }
            Item::Refused(topic, stamp) => {
                let follower = &mut self.servers[server].watches[topic].follower;
                (topic, follower.on_refused(&mut handed), Some(stamp))
            }
        };
        self.note(server, topic, handed, stamp, term)?;
        if let Some(ask) = ask
            && let Some(link) = &mut self.servers[server].link
        {
            link.requests.push_back(Request::Ask(topic, ask));
        }
        Ok(())
    }

    /// Checks what a follower handed on.
    fn note(
        &mut self,
        server: usize,
        topic: usize,
        handed: Handed,
        stamp: Option<Stamp>,
        term: Term,
    ) -> Result<(), String> {
        for given in &handed.0 {
            self.tell(|| format!("  server {server} topic {topic}: {given:?}"));
        }
        let watch = &mut self.servers[server].watches[topic];
        if watch.follower.is_placed() {
            let first = handed.0.iter().find_map(|given| match given {
                Given::Message(_, id) => Some(*id),
                Given::Missed(_) => None,
            });
            match stamp {
                Some(stamp) => watch.witness.open(stamp.next, stamp.tip, false),
                None => {
                    first.into_iter().for_each(|id| watch.witness.open(id, self.ledger.sent(id).parent, true))
                }
            }
        }
        for given in handed.0 {
            match given {
                Given::Message(position, id) => {
                    self.counts.delivered += 1;
                    watch.witness.delivered(id, position, stamp, &self.ledger)?;
                }
                Given::Missed(missed) => {
                    let Some(stamp) = stamp else { return Err(format!("{missed:?} without an answer")) };
                    let kind = self.setup.kind;
                    watch.witness.missed(missed, stamp, kind, &self.ledger, &mut self.counts)?;
                }
            }
        }
        if let Some(stamp) = stamp {
            let is_empty = watch.follower.is_placed() && watch.follower.position().is_none();
            watch.witness.answered(stamp, is_empty, Some(term));
        }
        Ok(())
    }
}
