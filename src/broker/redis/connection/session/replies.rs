//! A session hears its server: messages, and replies to commands.

use codes::error::Error;

use super::super::batch::Batch;
use super::super::command::{self, Asked, Command, Pending};
use super::super::reply::{CommandOutcome, RefusalKind, ReplyStep};
use super::phase::{AnswerFlow, SessionPhase};
use super::probe::ProbeChannel;
use super::{LATE, Session};
use crate::broker::redis::router::routes::Routes;
use crate::broker::redis::wire::resp::Incoming;
use crate::worker::scheduler::charge;

/// The cost of each item, as [`charge`] counts.
const ANSWER: u64 = 2;
/// The cost of a message, as [`charge`] counts, beside its deliveries.
const MESSAGE: u64 = 8;

impl Session {
    pub(super) fn on_item(&mut self, item: Incoming<'_>) -> Result<(), Error> {
        charge(ANSWER);
        match item {
            Incoming::Message { channel, payload } => {
                charge(MESSAGE);
                if self.probe.is_on(channel) {
                    self.probe.arrive();
                } else {
                    self.router.message(channel, payload, &self.link, &mut self.gathered);
                }
                Ok(())
            }
            Incoming::Ignored => Ok(()),
            Incoming::Unsubscribed { channel, sharded: true } => {
                self.on_unsubscribed(channel);
                Ok(())
            }
            reply => self.on_reply(&reply),
        }
    }

    fn on_reply(&mut self, reply: &Incoming<'_>) -> Result<(), Error> {
        let Some(oldest) = self.in_flight.front_mut() else { return Err(self.replier.unasked()) };
        let partition = usize::from(oldest.partition);
        match oldest.command.on_reply(reply, &self.replier)? {
            ReplyStep::Wait => {}
            ReplyStep::Done => self.answer(),
            ReplyStep::Settle(settled) => self.settle(settled),
            // The slot went elsewhere, as the command before it has found.
            ReplyStep::Count(_) if self.router.routes.is_parked(partition) => self.park(),
            ReplyStep::Count(number) => self.settle(CommandOutcome::Number(number)),
            ReplyStep::Park => self.park(),
            ReplyStep::Demoted(error) => {
                self.park();
                self.repair.demoted.get_or_insert(error);
            }
            ReplyStep::Confirm { channel, take, last } => {
                charge(MESSAGE);
                self.router.subscriptions.confirmed(channel, &self.link, take);
                // The link is up when it is known how far its topics are, too: another probe goes behind those questions.
                if self.link.is_asked() {
                    self.phase.go(SessionPhase::Subscribing, SessionPhase::SubscribingAgain);
                }
                if last {
                    self.answer();
                }
            }
            ReplyStep::Revoke => {
                self.answer();
                self.router.subscriptions.revoked(partition, &self.link);
            }
            ReplyStep::Forbid(error) => return self.on_forbidden(error),
            ReplyStep::Unprobed(why, error) => {
                match why {
                    // Its slot went elsewhere, and with it the reason to expect it back.
                    RefusalKind::Moved => {
                        self.probe.lose_channel();
                        self.router.partitions.stale.notify_one();
                    }
                    // Of channels that are not ours the login may know some, and those are not the probe's.
                    RefusalKind::Forbidden if self.router.partitions.has_foreign_channels() => {
                        self.probe.channel = ProbeChannel::Forbidden;
                    }
                    _ if self.probe.channel == ProbeChannel::Forbidden => {}
                    _ => return Err(error),
                }
                self.answer();
            }
            ReplyStep::Probed => {
                self.answer();
                return self.on_probed();
            }
            ReplyStep::Verified => {
                self.answer();
                self.role_verified();
            }
            ReplyStep::Formats { has_old } => {
                self.answer();
                self.router.partitions.note_old_servers(has_old);
            }
            ReplyStep::Meta(meta) => self.on_meta(meta.as_ref()),
            ReplyStep::Messages(part) => self.on_messages(&part),
            ReplyStep::Unread(why) => self.on_unread(why),
            ReplyStep::Reload(error) if self.is_futile() => self.settle(CommandOutcome::Refused(error)),
            ReplyStep::Reload(_) => self.reload(),
            ReplyStep::Loaded => self.on_loaded(),
        }
        Ok(())
    }

    /// A subscription has ended, perhaps by itself: its slot has moved to another master.
    fn on_unsubscribed(&mut self, channel: &[u8]) {
        if self.probe.is_on(channel) {
            self.probe.lose_channel();
        } else if let Some(partition) = self.router.subscriptions.wanted(channel) {
            if self.has_asked_to_end(channel) {
                return;
            }
            self.router.subscriptions.revoked(partition, &self.link);
        } else {
            return;
        }
        // A master that was replaced takes publishes still, as a replica, and knows no subscribers.
        if self.unverified.is_none() {
            self.unverified = Some(Vec::new());
            let mut batch = Batch::default();
            batch.add(0, Command::VerifyRole, None, command::role);
            self.in_flight.push(batch);
        }
    }

    /// True if the channel was dropped, and is wanted again: later replies will tell how it is.
    fn has_asked_to_end(&self, channel: &[u8]) -> bool {
        let line = [b"\r\n", channel, b"\r\n"].concat();
        matches!(self.in_flight.front(), Some(Pending { command: Command::ShardUnsubscribe, .. }))
            && self.in_flight.front_bytes().windows(line.len()).any(|window| window == line)
    }

    /// Takes the oldest command off: it is answered. Gives its bytes to `with`.
    pub(super) fn answer_with<T>(&mut self, with: impl FnOnce(&Routes, Pending, &[u8]) -> T) -> Option<T> {
        let drops = self.in_flight.front().is_some_and(|pending| {
            matches!(pending.command, Command::Unsubscribe { .. } | Command::ShardUnsubscribe)
        });
        let is_read = self.in_flight.front().is_some_and(|pending| pending.command.is_read());
        self.repair.reads -= usize::from(is_read);
        let (outcome, written) =
            self.in_flight.pop(|pending, bytes| with(&self.router.routes, pending, bytes))?;
        self.answers = AnswerFlow::Coming;
        if drops {
            self.link.pipeline.dropped();
        }
        self.link.health.prove(written);
        if self.phase == SessionPhase::Late
            && self.in_flight.oldest().is_none_or(|written| written.elapsed() < LATE)
        {
            self.phase = SessionPhase::Open;
            self.router.link_caught_up(&self.link);
        }
        Some(outcome)
    }

    pub(super) fn answer(&mut self) {
        self.answer_with(|_, _, _| ());
    }

    /// The oldest command, a publish or a question, has come to this.
    fn settle(&mut self, settled: CommandOutcome) {
        if matches!(settled, CommandOutcome::Number(_) | CommandOutcome::Placed { .. }) {
            self.give_up_overtaken();
        }
        if matches!(settled, CommandOutcome::Placed { .. } | CommandOutcome::Log(_)) {
            self.repair.unknown_since = None;
        }
        if self.unverified.is_some()
            && matches!(settled, CommandOutcome::Number(_) | CommandOutcome::Placed { .. })
        {
            let held = self.end(|_, asked, _| (asked, settled));
            return self.unverified.get_or_insert_default().extend(held);
        }
        // The embedder may do next what would overtake it, such as to close a connection. A message that never left is served here.
        let asker = self.in_flight.front().and_then(|pending| pending.command.asker());
        let is_for_embedder = asker.is_some_and(|asker| !asker.is_client());
        let is_unserved = matches!(settled, CommandOutcome::Unsent);
        if is_for_embedder || is_unserved || self.router.routes.has_parked() {
            self.router.sink.deliver(&mut self.gathered);
        }
        self.end(|routes, asked, bytes| routes.settle(asked, bytes, settled));
        if is_unserved {
            self.router.partitions.stale.notify_one();
        }
    }

    /// The oldest command has to go elsewhere.
    fn park(&mut self) {
        let link = self.link.clone();
        self.end(|routes, asked, bytes| routes.park(asked, bytes, &link));
    }

    /// Takes the oldest command off, a publish or a question. Gives it to `with`, and its bytes.
    fn end<T>(&mut self, with: impl FnOnce(&Routes, Asked, &[u8]) -> T) -> Option<T> {
        let (len, outcome) = self.answer_with(|routes, pending, bytes| {
            (pending.counted(), pending.into_asked().map(|asked| with(routes, asked, bytes)))
        })?;
        self.settled += len;
        outcome
    }

    /// The login may not listen on one of the channels of the oldest command: the others are asked for again.
    fn on_forbidden(&mut self, error: Error) -> Result<(), Error> {
        let asked = self.answer_with(|_, pending, bytes| {
            let Command::Subscribe { take, .. } = pending.command else { return None };
            let channels = command::read_channels(bytes).map(|channel| (pending.partition, channel));
            Some((channels.collect::<Vec<_>>(), take))
        });
        let Some((mut channels, take)) = asked.flatten() else { return Ok(()) };
        if let [(_, channel)] = channels.as_slice() {
            if !self.probe.is_on(channel.name.as_bytes()) {
                return self.router.subscriptions.forbidden(&channel.name, take, error);
            }
            if !self.router.partitions.has_foreign_channels() {
                return Err(error);
            }
            self.probe.channel = ProbeChannel::Forbidden;
            return Ok(());
        }
        // Channels that were dropped meanwhile must not come back.
        channels.retain(|(_, channel)| self.router.subscriptions.wanted(channel.name.as_bytes()).is_some());
        let mut batch = Batch::default();
        let rest = channels.split_off(channels.len() / 2);
        for channels in [channels, rest] {
            batch.subscribe(channels, take);
        }
        self.in_flight.push(batch);
        self.phase.go(SessionPhase::Subscribing, SessionPhase::SubscribingAgain);
        Ok(())
    }

    /// It is a master: its answers count.
    fn role_verified(&mut self) {
        let unverified = self.unverified.take();
        self.router.sink.deliver(&mut self.gathered);
        for (asked, outcome) in unverified.into_iter().flatten() {
            self.router.routes.settle(asked, &[], outcome);
        }
    }
}
