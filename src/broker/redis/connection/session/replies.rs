//! What the server says: messages, confirmations and the answers to what was asked.

use codes::error::{Code, Error};
use redis::Value;

use super::super::asker::{Asker, Pending};
use super::super::lane::Batch;
use super::super::pipeline::{Change, Channel, write_subscriptions};
use super::{LATE, Session};
use crate::broker::redis::router::{Settled, SubscriptionRouter};
use crate::broker::redis::wire::resp::{self, Incoming};
use crate::broker::redis::wire::{refusal, text};
use crate::worker::scheduler::charge;

/// What each item costs, as [`charge`] counts.
const ANSWER: u64 = 2;
/// What a message costs, as [`charge`] counts, beside its deliveries.
const MESSAGE: u64 = 8;

impl Session {
    pub(super) fn on_item(&mut self, item: Incoming<'_>) -> Result<(), Error> {
        charge(ANSWER);
        match item {
            Incoming::Message { channel, payload } => {
                charge(MESSAGE);
                if self.probe.as_ref().is_some_and(|probe| probe.name.as_bytes() == channel) {
                    self.probe_arrived = true;
                } else {
                    self.router.message(channel, payload, &self.link, &mut self.gathered);
                }
                Ok(())
            }
            Incoming::Ignored => Ok(()),
            Incoming::Subscribed { channel } => {
                charge(MESSAGE);
                let Some(Asker::Subscribe { left, take }) = self.in_flight.asker_mut() else {
                    return Err(self.fail(Code::BrokerProtocol, "a confirmation that nobody waits for"));
                };
                *left -= 1;
                let (last, take) = (*left == 0, *take);
                self.router.confirmed(channel, &self.link, take);
                if last {
                    self.answer();
                }
                Ok(())
            }
            Incoming::Unsubscribed { channel, sharded: true } => {
                self.on_unsubscribed(channel);
                Ok(())
            }
            Incoming::Unsubscribed { .. } => {
                let Some(Asker::Unsubscribe { left }) = self.in_flight.asker_mut() else {
                    let what = "an end of a subscription that nobody asked for";
                    return Err(self.fail(Code::BrokerProtocol, what));
                };
                *left -= 1;
                if *left == 0 {
                    self.answer();
                }
                Ok(())
            }
            Incoming::Number(number) => self.on_reply(Ok(number.max(0) as u64)),
            Incoming::Other(value) => self.on_value(value),
        }
    }

    /// A subscription has ended, perhaps by itself: its slot has moved to another master.
    fn on_unsubscribed(&mut self, channel: &[u8]) {
        if self.probe.as_ref().is_some_and(|probe| probe.name.as_bytes() == channel) {
            self.probe = None;
        } else if let Some(partition) = self.router.wanted(channel) {
            if self.has_asked_to_end(channel) {
                return;
            }
            self.router.revoked(partition, &self.link);
        } else {
            return;
        }
        // A master that was replaced takes publishes still, as a replica, and knows no subscribers.
        if !self.verifying_role {
            self.verifying_role = true;
            let mut batch = Batch::default();
            resp::command(&mut batch.bytes, &[b"ROLE"]);
            batch.pending.push(Pending::new(batch.bytes.len(), Asker::VerifyRole, 0));
            self.in_flight.push(batch);
        }
    }

    /// A channel that was dropped and is wanted again: what follows will tell how it is.
    fn has_asked_to_end(&self, channel: &[u8]) -> bool {
        let line = [b"\r\n", channel, b"\r\n"].concat();
        matches!(self.in_flight.front(), Some(Pending { asker: Asker::ShardUnsubscribe, .. }))
            && self.in_flight.front_bytes().windows(line.len()).any(|window| window == line)
    }

    /// Takes the oldest command off: it is answered. Gives its bytes to `with`.
    fn answer_with<T>(&mut self, with: impl FnOnce(&SubscriptionRouter, Pending, &[u8]) -> T) -> Option<T> {
        let drops =
            matches!(self.in_flight.asker(), Some(Asker::Unsubscribe { .. } | Asker::ShardUnsubscribe));
        let (outcome, written) = self.in_flight.pop(|pending, bytes| with(&self.router, pending, bytes))?;
        self.answered = true;
        if drops {
            self.link.pipeline.dropped();
        }
        self.link.health.prove(written);
        if self.lagging && self.in_flight.oldest().is_none_or(|written| written.elapsed() < LATE) {
            self.lagging = false;
            self.router.link_lagging(&self.link, None);
        }
        Some(outcome)
    }

    fn answer(&mut self) {
        self.answer_with(|_, _, _| ());
    }

    /// The oldest command, a publish or a question, has come to this.
    fn settle(&mut self, settled: Settled) {
        // The embedder may do next what would overtake it, such as to close a connection. What never left is served here.
        let is_for_embedder = self.in_flight.asker().is_some_and(|asker| !asker.is_client());
        if is_for_embedder || matches!(settled, Settled::Unsent) || self.router.has_parked() {
            self.router.sink.deliver(&mut self.gathered);
        }
        let answered = self.answer_with(|router, pending, bytes| {
            let len = pending.len;
            router.settle(pending, bytes, settled);
            len
        });
        self.settled += answered.unwrap_or(0);
    }

    /// The oldest command has to go elsewhere.
    fn park(&mut self) {
        let link = self.link.clone();
        let answered = self.answer_with(|router, pending, bytes| {
            let len = pending.len;
            router.park(pending, bytes, &link);
            len
        });
        self.settled += answered.unwrap_or(0);
    }

    fn on_reply(&mut self, reply: Result<u64, Error>) -> Result<(), Error> {
        match self.in_flight.asker() {
            None => Err(self.fail(Code::BrokerProtocol, "an answer that nobody waits for")),
            Some(Asker::Subscribe { .. }) => Err(match reply {
                Err(error) => error,
                Ok(_) => self.fail(Code::BrokerProtocol, "a number instead of a confirmation"),
            }),
            // Not worth a link: a channel that nobody needs.
            Some(Asker::Unsubscribe { .. }) => {
                self.answer();
                Ok(())
            }
            // Two commands, and no telling which of them was refused, and so whether another answer follows.
            Some(Asker::ShardUnsubscribe) => Err(match reply {
                Err(error) => error,
                Ok(_) => self.fail(Code::BrokerProtocol, "a number instead of a PONG"),
            }),
            Some(Asker::Probe) => match reply {
                Err(error) if !self.unprobed => Err(error),
                _ => {
                    self.answer();
                    Ok(())
                }
            },
            Some(Asker::Role) => {
                // ROLE is forbidden here: the probe has to do.
                self.answer();
                self.on_probed()
            }
            Some(Asker::VerifyRole) => {
                self.answer();
                self.role_verified();
                Ok(())
            }
            Some(_) if self.verifying_role && reply.is_ok() => {
                let unverified = self.answer_with(|_, pending, _| (pending, reply.unwrap_or(0)));
                self.settled += unverified.as_ref().map_or(0, |(pending, _)| pending.len);
                self.unverified.extend(unverified);
                Ok(())
            }
            Some(_) => {
                self.settle(match reply {
                    Ok(number) => Settled::Number(number),
                    Err(error) => Settled::Refused(error),
                });
                Ok(())
            }
        }
    }

    fn on_value(&mut self, value: Value) -> Result<(), Error> {
        match value {
            Value::ServerError(error) => {
                let details = error.details().unwrap_or_default();
                // From one server alone it is a refusal like any other.
                let moved = error.code() == "MOVED" && self.router.is_sharded();
                // Nobody serves the slot, or the cluster.
                let unserved = error.code() == "CLUSTERDOWN" && self.router.is_sharded();
                match self.in_flight.asker() {
                    Some(asker) if asker.is_counted() && (moved || unserved) => {
                        // Nobody got it: it may go where it belongs.
                        if moved {
                            self.park();
                        } else {
                            self.settle(Settled::Unsent);
                            self.router.stale.notify_one();
                        }
                        Ok(())
                    }
                    // Its PONG follows.
                    Some(Asker::ShardUnsubscribe) if moved || unserved => Ok(()),
                    Some(Asker::Subscribe { .. }) if moved || unserved => {
                        let partition =
                            self.in_flight.front().map_or(0, |pending| usize::from(pending.partition));
                        self.answer();
                        self.router.revoked(partition, &self.link);
                        Ok(())
                    }
                    Some(Asker::Subscribe { .. }) if error.code() == "NOPERM" => {
                        self.on_forbidden(refusal(&self.server, error.code(), details))
                    }
                    // Of channels that are not ours the login may know some, and those are not the probe's.
                    Some(Asker::Probe) if error.code() == "NOPERM" && self.router.has_foreign_channels() => {
                        self.do_without_probe();
                        self.answer();
                        Ok(())
                    }
                    Some(Asker::Probe) if moved => {
                        // Its slot went elsewhere, and with it the reason to expect it back.
                        self.answer();
                        self.probe = None;
                        self.router.stale.notify_one();
                        Ok(())
                    }
                    _ => {
                        let error = refusal(&self.server, error.code(), details);
                        self.on_reply(Err(error))
                    }
                }
            }
            Value::Array(elements) => match self.in_flight.asker() {
                Some(asker @ (Asker::Role | Asker::VerifyRole)) => {
                    let verifies = matches!(asker, Asker::VerifyRole);
                    self.answer();
                    match elements.first().and_then(text) {
                        Some("master") if verifies => {
                            self.role_verified();
                            Ok(())
                        }
                        Some("master") => self.on_probed(),
                        role => {
                            let text = format!("the server is a {}", role.unwrap_or("stranger"));
                            Err(self.fail(Code::BrokerRole, &text))
                        }
                    }
                }
                // The slot went elsewhere, as the command before it has found.
                Some(Asker::Number { .. }) if self.is_parked() => {
                    self.park();
                    Ok(())
                }
                // PUBSUB NUMSUB: the channel, and its number.
                Some(Asker::Number { .. }) => match elements.get(1) {
                    Some(Value::Int(number)) => self.on_reply(Ok((*number).max(0) as u64)),
                    _ => Err(self.fail(Code::BrokerProtocol, "unexpected answer to PUBSUB NUMSUB")),
                },
                _ => Err(self.fail(Code::BrokerProtocol, "an unexpected array")),
            },
            Value::SimpleString(_)
                if matches!(self.in_flight.front(), Some(Pending { asker: Asker::ShardUnsubscribe, .. })) =>
            {
                self.answer();
                Ok(())
            }
            _ => Err(self.fail(Code::BrokerProtocol, "an answer of an unexpected type")),
        }
    }

    /// The login may not listen on one of the channels of the oldest command: the others are asked for again.
    fn on_forbidden(&mut self, error: Error) -> Result<(), Error> {
        let asked = self.answer_with(|_, pending, bytes| {
            let Asker::Subscribe { take, .. } = pending.asker else { return None };
            let mut arguments = resp::read_command(bytes).filter_map(|text| std::str::from_utf8(text).ok());
            let sharded = arguments.next() == Some("SSUBSCRIBE");
            let channels = arguments.map(|name| (pending.partition, Channel { name: name.into(), sharded }));
            Some((channels.collect::<Vec<_>>(), take))
        });
        let Some((mut channels, take)) = asked.flatten() else { return Ok(()) };
        if let [(_, channel)] = channels.as_slice() {
            if self.probe.as_ref() != Some(channel) {
                return self.router.forbidden(&channel.name, take, error);
            }
            if !self.router.has_foreign_channels() {
                return Err(error);
            }
            self.do_without_probe();
            return Ok(());
        }
        // Channels that were dropped meanwhile must not come back.
        channels.retain(|(_, channel)| self.router.wanted(channel.name.as_bytes()).is_some());
        let mut batch = Batch::default();
        let rest = channels.split_off(channels.len() / 2);
        for channels in [channels, rest] {
            write_subscriptions(&mut batch, channels, Change::Subscribe { take });
        }
        self.in_flight.push(batch);
        self.asked_again = true;
        Ok(())
    }

    /// The login may not use the probe's channel: that the server answers is all there is to go by.
    fn do_without_probe(&mut self) {
        self.probe = None;
        self.unprobed = true;
    }

    /// True if the oldest command's partition waits to be found.
    fn is_parked(&self) -> bool {
        self.in_flight.front().is_some_and(|pending| self.router.is_parked(usize::from(pending.partition)))
    }

    /// It is a master: what it has answered counts.
    fn role_verified(&mut self) {
        self.verifying_role = false;
        self.router.sink.deliver(&mut self.gathered);
        for (pending, number) in self.unverified.drain(..) {
            self.router.settle(pending, &[], Settled::Number(number));
        }
    }
}
