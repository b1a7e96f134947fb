//! One life of a link: from subscribing to everything to the first doubt.

mod phase;
mod probe;
mod repair;
mod replies;
mod supervision;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use codes::error::{Code, Error};
use tokio::task::yield_now;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::batch::Batch;
use super::command::Asked;
use super::in_flight::InFlight;
use super::link::Link;
use super::reply::{CommandOutcome, ReplySource};
use super::script::MasterLife;
use crate::broker::redis::config::Server;
use crate::broker::redis::router::SubscriptionRouter;
use crate::broker::redis::router::slots::PARTITIONS;
use crate::broker::redis::wire::Wire;
use crate::broker::redis::wire::read_buffer::{Next, ReadBuffer};
use crate::broker::redis::wire::resp::MAX_REPLY;
use crate::registry::gathered::Gathered;
use crate::worker::intake::Demand;
use crate::worker::scheduler::{Budget, charge};
use phase::{AnswerFlow, SessionPhase};
use probe::Probe;
use repair::Repair;

/// Reads of one turn, before others get theirs.
const READS_PER_TURN: usize = 4;
/// After more ticks of nothing but reading it is time to judge, and to probe: some senders never pause.
const TICKS_OF_READING: u32 = 3;
/// No more is taken from the pipeline while so much waits to be written.
const MAX_UNWRITTEN: usize = 1 << 20;
/// The cost of a channel that is subscribed anew, as [`charge`] counts.
const CHANNEL: u64 = 8;
/// Bytes to write that cost one unit.
const WRITTEN: usize = 64;
/// The cost of a command that is given up, and the bytes of it that cost one more: connections here may be served with it.
const LOST: u64 = 8;
const LOST_BYTES: usize = 256;
/// An answer that takes longer is late, which the embedder is told.
const LATE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    router: Arc<SubscriptionRouter>,
    link: Arc<Link>,
    replier: ReplySource,
    wire: Wire,
    read_buffer: ReadBuffer,
    /// Messages of this turn that are not delivered yet.
    gathered: Gathered,
    in_flight: InFlight,
    tick: Interval,
    /// That have passed and were not acted on.
    ticks: u32,
    phase: SessionPhase,
    answers: AnswerFlow,
    probe: Probe,
    /// Answers that came since subscriptions have ended by themselves: this may no longer be a master, whose answers count.
    unverified: Option<Vec<(Asked, CommandOutcome)>>,
    repair: Repair,
    /// Bytes of publishes that were answered, and not yet given back to the pipeline.
    settled: usize,
}

impl Session {
    /// A session on a connection that was greeted.
    pub(super) fn new(
        router: Arc<SubscriptionRouter>,
        link: Arc<Link>,
        server: Server,
        wire: Wire,
        life: Option<MasterLife>,
    ) -> Session {
        let period =
            (router.config.probe_interval / 4).clamp(Duration::from_millis(25), Duration::from_millis(250));
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let read_buffer = match life {
            // With messages of a history.
            Some(_) => ReadBuffer::with_replies(MAX_REPLY + router.sink.largest()),
            None => ReadBuffer::default(),
        };
        let replier = ReplySource { server, is_sharded: router.partitions.is_sharded(), life };
        link.set_term(life.map(|life| life.term));
        Session {
            router,
            link,
            replier,
            wire,
            read_buffer,
            gathered: Gathered::default(),
            in_flight: InFlight::default(),
            tick,
            ticks: 0,
            phase: SessionPhase::Subscribing,
            answers: AnswerFlow::Awaited(Instant::now()),
            probe: Probe::new(),
            unverified: None,
            repair: Repair::default(),
            settled: 0,
        }
    }

    /// Runs to the first doubt, and answers what it is. [`Session::give_up`] has to follow.
    pub(super) async fn run(&mut self) -> Error {
        self.link.forget_asks();
        self.give_up_questions();
        self.link.pipeline.begin();
        self.link.health.begin_subscribing();
        let mut budget = Budget::begin();
        for partition in 0..2 * PARTITIONS {
            let channels = self.router.subscriptions.channels_of(&self.link, partition);
            charge(CHANNEL * channels.len() as u64);
            let mut batch = Batch::default();
            batch.subscribe(channels, 0);
            self.in_flight.push(batch);
            if budget.is_spent() {
                yield_now().await;
                budget = Budget::begin();
            }
        }
        self.send_probe();
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Gives up what is under way, in its order, and then closes the pipeline: messages published meanwhile are added to it, and
    /// given up too. A turn's work at a time, for this may be all that `redis.pendingBytes` allows.
    pub(super) async fn give_up(mut self) {
        self.link.pipeline.end();
        self.give_up_questions();
        let mut drained = 0;
        let mut budget = Budget::begin();
        loop {
            if budget.is_spent() {
                self.relieve();
                yield_now().await;
                budget = Budget::begin();
            }
            if self.give_up_oldest() {
                continue;
            }
            // As much came meanwhile as was there: who publishes has to wait.
            let shut = drained > 2 * self.router.config.pending_bytes;
            let Some(batch) = self.link.pipeline.drain(shut) else { break };
            drained += batch.bytes.len();
            self.in_flight.push(batch);
        }
        // Dropping it closes the pipeline.
    }

    /// False if there is nothing that was taken from the pipeline.
    fn give_up_oldest(&mut self) -> bool {
        let Session { router, in_flight, unverified, repair, settled, .. } = self;
        if let Some(unverified) = unverified.take() {
            unverified.into_iter().for_each(|(asked, _)| fail(router, asked, &[], true));
            return true;
        }
        // Redis did not know the script: they were not executed.
        if let Some(again) = repair.again.take() {
            *settled += again.counted();
            again.give_up(|asked, bytes| fail(router, asked, bytes, false));
            return true;
        }
        let given_up = in_flight.give_up(|pending, bytes, written| {
            *settled += pending.counted();
            if let Some(asked) = pending.into_asked() {
                fail(router, asked, bytes, written);
            }
        });
        given_up.is_some()
    }

    /// Gives back what was answered, and lets others in for it.
    fn relieve(&mut self) {
        if self.settled > 0 {
            self.link.pipeline.answered(std::mem::take(&mut self.settled));
            self.router.sink.relieved();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match self.turn(cx) {
            // Everything that it was asked is answered, and what came before the answers has been read.
            Poll::Pending
                if self.link.is_retired() && self.in_flight.is_empty() && !self.read_buffer.is_unread() =>
            {
                Poll::Ready(Error::new(Code::BrokerConnect, "no longer needed"))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                // After the sockets were looked at and what they woke has run. Were it just woken, the runtime would come back
                // to it many times before it looks, and one server's flood would keep everybody else's unread.
                let _ = std::pin::pin!(yield_now()).poll(cx);
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
        let begun = Budget::begin_shared();
        let mut more = false;
        for read in 0..READS_PER_TURN {
            match self.poll_read(cx, &begun) {
                Poll::Ready(done) => done?,
                Poll::Pending => break,
            }
            more = self.read_buffer.is_unread() || read + 1 == READS_PER_TURN;
            if more {
                break;
            }
        }
        if self.in_flight.is_empty()
            && let Some(error) = self.repair.demoted.take()
        {
            return Poll::Ready(Err(error));
        }
        // Only now: where this process stood still, the answers have been waiting all the while.
        if self.ticks > if more { TICKS_OF_READING } else { 0 } {
            self.ticks = 0;
            self.on_tick()?;
        }
        self.ask();
        loop {
            if self.repair.is_ready()
                && self.in_flight.unwritten() < MAX_UNWRITTEN
                && self.in_flight.pace() > 0
            {
                let spare = self.in_flight.spare();
                let demand = self.router.sink.intake().map_or(Demand::Little, |intake| {
                    intake.pace().adapt(|epoch| self.in_flight.is_first_too_much(epoch));
                    intake.demand()
                });
                let rest = self.in_flight.room_for_rest(demand);
                for mut batch in self.link.pipeline.take(cx.waker(), spare, rest) {
                    charge((batch.bytes.len() / WRITTEN) as u64);
                    if let Some(life) = self.replier.life {
                        batch.place_term(life.term);
                    }
                    self.in_flight.push(batch);
                }
            }
            match self.in_flight.poll_write(Pin::new(&mut self.wire), cx) {
                Poll::Ready(Ok(true)) if begun.is_spent() => {
                    more = true;
                    break;
                }
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) | Poll::Pending => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.lost(&error))),
            }
        }
        if more { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn lost(&self, error: &io::Error) -> Error {
        self.replier.server.error(Code::BrokerConnect, error)
    }

    fn fail(&self, code: Code, what: &str) -> Error {
        self.replier.server.error(code, what)
    }

    /// Ready: something was read and dealt with, as far as the turn had time for it.
    fn poll_read(&mut self, cx: &mut Context<'_>, budget: &Budget) -> Poll<Result<(), Error>> {
        if self.router.sink.is_congested() {
            self.answers = AnswerFlow::Unread;
            return Poll::Pending;
        }
        if self.answers == AnswerFlow::Unread {
            self.answers = AnswerFlow::Awaited(Instant::now());
            self.in_flight.restart_clock();
        }
        if self.read_buffer.is_unread() {
            return Poll::Ready(self.understand(budget));
        }
        match ready!(self.read_buffer.poll_read(Pin::new(&mut self.wire), cx)) {
            Err(error) => Poll::Ready(Err(self.lost(&error))),
            Ok(0) => Poll::Ready(Err(self.fail(Code::BrokerConnect, "Redis closed the connection"))),
            Ok(_) => Poll::Ready(self.understand(budget)),
        }
    }

    fn understand(&mut self, budget: &Budget) -> Result<(), Error> {
        let limit = self.router.sink.largest();
        // Items are slices of it, and dealing with them needs the rest of the session.
        let mut read_buffer = std::mem::take(&mut self.read_buffer);
        let outcome = loop {
            if budget.is_spent() {
                break Ok(());
            }
            match read_buffer.next(limit) {
                Ok(Next::Item(item)) => {
                    if let Err(error) = self.on_item(item) {
                        break Err(error);
                    }
                }
                Ok(Next::Oversized) => self.router.sink.ignored(&format!("it is larger than {limit} bytes")),
                Ok(Next::Incomplete) => break Ok(()),
                Err(_) => break Err(self.fail(Code::BrokerProtocol, "what answers is no Redis")),
            }
        };
        self.read_buffer = read_buffer;
        self.router.sink.deliver(&mut self.gathered);
        self.relieve();
        outcome
    }
}

/// Settles a publish or a question that is not answered.
fn fail(router: &SubscriptionRouter, asked: Asked, bytes: &[u8], written: bool) {
    charge(LOST + (bytes.len() / LOST_BYTES) as u64);
    router.routes.settle(
        asked,
        bytes,
        if written { CommandOutcome::Uncertain } else { CommandOutcome::Unsent },
    );
}

impl Drop for Session {
    /// Also where the task is dropped with its worker: nothing that was asked stays without an answer.
    fn drop(&mut self) {
        while self.give_up_oldest() {}
        self.give_up_questions();
        self.link.pipeline.answered(std::mem::take(&mut self.settled));
        let router = &self.router;
        self.link.pipeline.close(|rest| rest.give_up(|asked, bytes| fail(router, asked, bytes, false)));
        self.router.sink.relieved();
    }
}
