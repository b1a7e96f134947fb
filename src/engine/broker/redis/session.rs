//! One life of a link: from subscribing to everything to the first doubt.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::config::Server;
use super::hub::{Hub, Settled};
use super::link::Link;
use super::pipeline::{Asker, Batch, Change, Channel, Pending, write_subscriptions};
use super::received::{Next, Received};
use super::resp::{self, Incoming};
use super::unanswered::Unanswered;
use super::wire::{Wire, refusal, text};
use crate::engine::error::{Code, Error};
use crate::engine::turns::{Turn, spend};

/// What a message costs, as [`spend`] counts, beside its deliveries.
const MESSAGE: u64 = 8;
/// Reads of one turn, before others get theirs.
const READS_PER_TURN: usize = 4;
/// After more ticks of nothing but reading it is time to judge, and to probe: some senders never pause.
const TICKS_OF_READING: u32 = 3;
/// No more is taken from the pipeline while so much waits to be written.
const MAX_UNWRITTEN: usize = 1 << 20;
/// An answer that takes longer is late, which the embedder is told.
const LATE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Session {
    hub: Arc<Hub>,
    link: Arc<Link>,
    server: Server,
    wire: Wire,
    received: Received,
    /// There may be more in it than one turn had time for.
    unread: bool,
    unanswered: Unanswered,
    tick: Interval,
    /// That have passed and were not acted on.
    ticks: u32,
    /// Something was answered since the last tick, and when that was last so.
    answered: bool,
    progress: Instant,
    probe: Option<Channel>,
    /// The login may not probe: what the server answers has to do.
    unprobed: bool,
    probe_arrived: bool,
    probing: bool,
    last_probe: Instant,
    /// Subscriptions have ended by themselves: this may no longer be a master, whose answers count.
    doubt: bool,
    /// Answers that came since.
    doubted: Vec<(Pending, u64)>,
    open: bool,
    /// Subscriptions were asked for once more since the last probe.
    asked_again: bool,
    lagging: bool,
    /// The embedder is behind, so nothing is read.
    congested: bool,
}

impl Session {
    /// A session on a connection that was greeted.
    pub fn new(hub: Arc<Hub>, link: Arc<Link>, server: Server, wire: Wire) -> Session {
        let period =
            (hub.config.probe_interval / 4).clamp(Duration::from_millis(25), Duration::from_millis(250));
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Session {
            hub,
            link,
            server,
            wire,
            received: Received::default(),
            unread: false,
            unanswered: Unanswered::default(),
            tick,
            ticks: 0,
            answered: false,
            progress: Instant::now(),
            probe: None,
            unprobed: false,
            probe_arrived: false,
            probing: false,
            last_probe: Instant::now(),
            doubt: false,
            doubted: Vec::new(),
            open: false,
            asked_again: false,
            lagging: false,
            congested: false,
        }
    }

    /// Runs to the first doubt, and answers what it is. What is under way is given up in order, and before anybody
    /// can find the link down.
    pub async fn run(mut self) -> Error {
        self.link.pipeline.begin();
        self.hub.link_subscribing(&self.link);
        let mut batch = Batch::default();
        write_subscriptions(&mut batch, self.hub.channels_of(&self.link), Change::Subscribe { take: 0 });
        self.unanswered.push(batch);
        self.send_probe();
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match self.turn(cx) {
            // Everything that it was asked is answered, and what came before the answers has been read.
            Poll::Pending if self.link.is_retired() && self.unanswered.is_empty() && !self.unread => {
                Poll::Ready(Error::new(Code::BrokerConnect, "no longer needed"))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                // After the sockets were looked at and what they woke has run. Were it just woken, the runtime would come back
                // to it many times before it looks, and one server's flood would keep everybody else's unread.
                let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(error),
        }
    }

    /// Ready(Ok): there is more to do.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.tick.poll_tick(cx).is_ready() {
            self.ticks += 1;
        }
        let begun = Turn::begin();
        let mut more = false;
        for read in 0..READS_PER_TURN {
            match self.poll_read(cx, &begun) {
                Poll::Ready(done) => done?,
                Poll::Pending => break,
            }
            more = self.unread || read + 1 == READS_PER_TURN;
            if more {
                break;
            }
        }
        // Only now: where this process stood still, the answers have been waiting all the while.
        if self.ticks > if more { TICKS_OF_READING } else { 0 } {
            self.ticks = 0;
            self.on_tick()?;
        }
        loop {
            if self.unanswered.unwritten() < MAX_UNWRITTEN {
                let spare = self.unanswered.spare();
                self.unanswered.push(self.link.pipeline.take(cx.waker(), spare));
            }
            match self.unanswered.poll_write(Pin::new(&mut self.wire), cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) | Poll::Pending => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.lost(&error))),
            }
        }
        if more { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn lost(&self, error: &io::Error) -> Error {
        self.server.error(Code::BrokerConnect, error)
    }

    fn fail(&self, code: Code, what: &str) -> Error {
        self.server.error(code, what)
    }

    // Reading.

    /// Ready: something was read and dealt with, as far as the turn had time for it.
    fn poll_read(&mut self, cx: &mut Context<'_>, turn: &Turn) -> Poll<Result<(), Error>> {
        if self.hub.sink.is_congested() {
            self.congested = true;
            return Poll::Pending;
        }
        if std::mem::take(&mut self.congested) {
            // Answers lie unread because of us: the clock begins anew.
            self.unanswered.restart_clock();
        }
        if self.unread {
            return Poll::Ready(self.understand(turn));
        }
        match ready!(self.received.poll_read(Pin::new(&mut self.wire), cx)) {
            Err(error) => Poll::Ready(Err(self.lost(&error))),
            Ok(0) => Poll::Ready(Err(self.fail(Code::BrokerConnect, "Redis closed the connection"))),
            Ok(_) => Poll::Ready(self.understand(turn)),
        }
    }

    fn understand(&mut self, turn: &Turn) -> Result<(), Error> {
        let limit = self.hub.sink.largest();
        // Items are slices of it, and dealing with them needs the rest of the session.
        let mut received = std::mem::take(&mut self.received);
        self.unread = false;
        let outcome = loop {
            if turn.is_over() {
                self.unread = true;
                break Ok(());
            }
            match received.next(limit) {
                Ok(Next::Item(item)) => {
                    if let Err(error) = self.on_item(item) {
                        break Err(error);
                    }
                }
                Ok(Next::Oversized) => self.hub.sink.ignored(&format!("it is larger than {limit} bytes")),
                Ok(Next::Incomplete) => break Ok(()),
                Err(_) => break Err(self.fail(Code::BrokerProtocol, "what answers is no Redis")),
            }
        };
        self.received = received;
        outcome
    }

    fn on_item(&mut self, item: Incoming<'_>) -> Result<(), Error> {
        match item {
            Incoming::Message { channel, payload } => {
                spend(MESSAGE);
                if self.probe.as_ref().is_some_and(|probe| probe.name.as_bytes() == channel) {
                    self.probe_arrived = true;
                } else {
                    self.hub.message(channel, payload, &self.link);
                }
                Ok(())
            }
            Incoming::Ignored => Ok(()),
            Incoming::Subscribed { channel } => {
                let Some(Asker::Subscribe { left, take }) = self.unanswered.asker_mut() else {
                    return Err(self.fail(Code::BrokerProtocol, "a confirmation that nobody waits for"));
                };
                *left -= 1;
                let (last, take) = (*left == 0, *take);
                self.hub.confirmed(channel, &self.link, take);
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
                let Some(Asker::Unsubscribe { left }) = self.unanswered.asker_mut() else {
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
        } else if let Some(partition) = self.hub.wanted(channel) {
            if self.has_asked_to_end(channel) {
                return;
            }
            self.hub.revoked(partition, &self.link);
        } else {
            return;
        }
        // A master that was replaced takes publishes still, as a replica, and knows no subscribers.
        if !self.doubt {
            self.doubt = true;
            let mut batch = Batch::default();
            resp::command(&mut batch.bytes, &[b"ROLE"]);
            batch.pending.push(Pending::new(batch.bytes.len(), Asker::Doubt, 0));
            self.unanswered.push(batch);
        }
    }

    /// A channel that was dropped and is wanted again: what follows will tell how it is.
    fn has_asked_to_end(&self, channel: &[u8]) -> bool {
        let line = [b"\r\n", channel, b"\r\n"].concat();
        matches!(self.unanswered.front(), Some(Pending { asker: Asker::ShardUnsubscribe, .. }))
            && self.unanswered.front_bytes().windows(line.len()).any(|window| window == line)
    }

    /// Takes the oldest command off: it is answered. Gives its bytes to `with`.
    fn answer_with<T>(&mut self, with: impl FnOnce(&Hub, Pending, &[u8]) -> T) -> Option<T> {
        let (outcome, taken_at) = self.unanswered.pop(|pending, bytes| with(&self.hub, pending, bytes))?;
        self.answered = true;
        self.link.health.prove(taken_at);
        if self.lagging && self.unanswered.oldest().is_none_or(|taken| taken.elapsed() < LATE) {
            self.lagging = false;
            self.hub.link_lagging(&self.link, None);
        }
        Some(outcome)
    }

    fn answer(&mut self) {
        self.answer_with(|_, _, _| ());
    }

    /// The oldest command, a publish or a question, has come to this.
    fn settle(&mut self, settled: Settled) {
        let answered = self.answer_with(|hub, pending, bytes| {
            let len = pending.len;
            hub.settle(pending, bytes, settled);
            len
        });
        self.link.pipeline.answered(answered.unwrap_or(0));
    }

    /// The oldest command has to go elsewhere.
    fn park(&mut self) {
        let link = self.link.clone();
        let answered = self.answer_with(|hub, pending, bytes| {
            let len = pending.len;
            hub.park(pending, bytes, &link);
            len
        });
        self.link.pipeline.answered(answered.unwrap_or(0));
    }

    fn on_reply(&mut self, reply: Result<u64, Error>) -> Result<(), Error> {
        match self.unanswered.asker() {
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
            Some(Asker::Doubt) => {
                self.answer();
                self.believe();
                Ok(())
            }
            Some(_) if self.doubt && reply.is_ok() => {
                let doubted = self.answer_with(|_, pending, _| (pending, reply.unwrap_or(0)));
                self.link.pipeline.answered(doubted.as_ref().map_or(0, |(pending, _)| pending.len));
                self.doubted.extend(doubted);
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
                let moved = error.code() == "MOVED" && self.hub.is_sharded();
                // Nobody serves the slot, or the cluster.
                let unserved = error.code() == "CLUSTERDOWN" && self.hub.is_sharded();
                match self.unanswered.asker() {
                    Some(
                        Asker::Sender(_)
                        | Asker::Publish { .. }
                        | Asker::Number { .. }
                        | Asker::Count { .. }
                        | Asker::Nobody,
                    ) if moved || unserved => {
                        // Nobody got it: it may go where it belongs.
                        if moved {
                            self.park();
                        } else {
                            self.settle(Settled::Unsent);
                            self.hub.stale.notify_one();
                        }
                        Ok(())
                    }
                    // Its PONG follows.
                    Some(Asker::ShardUnsubscribe) if moved || unserved => Ok(()),
                    Some(Asker::Subscribe { .. }) if moved || unserved => {
                        let partition =
                            self.unanswered.front().map_or(0, |pending| usize::from(pending.partition));
                        self.answer();
                        self.hub.revoked(partition, &self.link);
                        Ok(())
                    }
                    Some(Asker::Subscribe { .. }) if error.code() == "NOPERM" => {
                        self.on_forbidden(refusal(&self.server, error.code(), details))
                    }
                    // Of channels that are not ours the login may know some, and those are not the probe's.
                    Some(Asker::Probe) if error.code() == "NOPERM" && self.hub.has_foreign_channels() => {
                        self.do_without_probe();
                        self.answer();
                        Ok(())
                    }
                    Some(Asker::Probe) if moved => {
                        // Its slot went elsewhere, and with it the reason to expect it back.
                        self.answer();
                        self.probe = None;
                        self.hub.stale.notify_one();
                        Ok(())
                    }
                    _ => {
                        let error = refusal(&self.server, error.code(), details);
                        self.on_reply(Err(error))
                    }
                }
            }
            Value::Array(elements) => match self.unanswered.asker() {
                Some(asker @ (Asker::Role | Asker::Doubt)) => {
                    let doubt = matches!(asker, Asker::Doubt);
                    self.answer();
                    match elements.first().and_then(text) {
                        Some("master") if doubt => {
                            self.believe();
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
                if matches!(
                    self.unanswered.front(),
                    Some(Pending { asker: Asker::ShardUnsubscribe, .. })
                ) =>
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
                return self.hub.forbidden(&channel.name, take, error);
            }
            if !self.hub.has_foreign_channels() {
                return Err(error);
            }
            self.do_without_probe();
            return Ok(());
        }
        // What was dropped meanwhile must not come back.
        channels.retain(|(_, channel)| self.hub.wanted(channel.name.as_bytes()).is_some());
        let mut batch = Batch::default();
        let rest = channels.split_off(channels.len() / 2);
        for channels in [channels, rest] {
            write_subscriptions(&mut batch, channels, Change::Subscribe { take });
        }
        self.unanswered.push(batch);
        self.asked_again = true;
        Ok(())
    }

    /// The login may not use the probe's channel: that the server answers is all there is to go by.
    fn do_without_probe(&mut self) {
        self.probe = None;
        self.unprobed = true;
    }

    /// Whether the oldest command's partition waits to be found.
    fn is_parked(&self) -> bool {
        self.unanswered.front().is_some_and(|pending| self.hub.is_parked(usize::from(pending.partition)))
    }

    /// It is a master: what it has answered counts.
    fn believe(&mut self) {
        self.doubt = false;
        for (pending, number) in self.doubted.drain(..) {
            self.hub.settle(pending, &[], Settled::Number(number));
        }
    }

    // Supervision.

    /// Publishes to itself, and asks whether the server is still a master.
    fn send_probe(&mut self) {
        let mut batch = Batch::default();
        if self.probe.is_none()
            && !self.unprobed
            && let Some((partition, channel)) = self.hub.probe_channel(&self.link)
        {
            write_subscriptions(
                &mut batch,
                vec![(partition, channel.clone())],
                Change::Subscribe { take: 0 },
            );
            self.probe = Some(channel);
        }
        self.probe_arrived = false;
        self.probing = true;
        self.last_probe = Instant::now();
        let mut push = |asker, arguments: &[&[u8]]| {
            let begin = batch.bytes.len();
            resp::command(&mut batch.bytes, arguments);
            batch.pending.push(Pending::new(batch.bytes.len() - begin, asker, 0));
        };
        if let Some(channel) = &self.probe {
            let verb: &[u8] = if channel.sharded { b"SPUBLISH" } else { b"PUBLISH" };
            push(Asker::Probe, &[verb, channel.name.as_bytes(), b"probe"]);
        }
        push(Asker::Role, &[b"ROLE"]);
        self.unanswered.push(batch);
    }

    /// The answer to the command after the probe is here: so must be the probe.
    fn on_probed(&mut self) -> Result<(), Error> {
        self.probing = false;
        if self.probe.is_some() && !self.probe_arrived {
            return Err(self.fail(Code::BrokerConnect, "the connection answers but delivers no messages"));
        }
        if !self.open && std::mem::take(&mut self.asked_again) {
            self.send_probe();
        } else if !self.open {
            // Everything is confirmed, for the probe was sent after the subscriptions.
            self.open = true;
            self.link.pipeline.open();
            self.hub.link_up(&self.link);
        }
        Ok(())
    }

    fn on_tick(&mut self) -> Result<(), Error> {
        if self.congested {
            return Ok(());
        }
        if std::mem::take(&mut self.answered) {
            self.progress = Instant::now();
        }
        if let Some(taken) = self.unanswered.oldest() {
            // Many commands at once may take their time, as long as there is progress.
            if taken.max(self.progress).elapsed() >= self.hub.config.command_timeout {
                let ms = self.hub.config.command_timeout.as_millis();
                return Err(self.fail(Code::BrokerTimeout, &format!("no answer within {ms} ms")));
            }
            if taken.elapsed() >= LATE && self.open && !self.lagging {
                self.lagging = true;
                let error = self.fail(Code::BrokerTimeout, "answers are late");
                self.hub.link_lagging(&self.link, Some(error));
            }
        }
        if !self.probing
            && !self.link.is_retired()
            && self.last_probe.elapsed() >= self.hub.config.probe_interval
        {
            self.send_probe();
        }
        Ok(())
    }
}

impl Drop for Session {
    /// Also where the task is dropped with its worker: nothing that was asked stays without an answer.
    fn drop(&mut self) {
        let Session { hub, link, unanswered, doubted, .. } = self;
        let settle = |pending: Pending, bytes: &[u8], written: bool| match &pending.asker {
            Asker::Probe
            | Asker::Role
            | Asker::Doubt
            | Asker::Subscribe { .. }
            | Asker::Unsubscribe { .. }
            | Asker::ShardUnsubscribe => {}
            _ => {
                let settled = if written { Settled::Uncertain } else { Settled::Unsent };
                hub.settle(pending, bytes, settled);
            }
        };
        for (pending, _) in doubted.drain(..) {
            settle(pending, &[], true);
        }
        unanswered.give_up(settle);
        link.pipeline.close(|rest| {
            let mut at = 0;
            for pending in rest.pending {
                let end = at + pending.len;
                settle(pending, &rest.bytes[at..end], false);
                at = end;
            }
        });
    }
}
