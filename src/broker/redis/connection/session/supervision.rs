//! Supervision: a session finds out that its server is gone, no master any more, or delivers nothing.

use codes::error::{Code, Error};
use tokio::time::Instant;

use super::super::batch::Batch;
use super::super::command::{self, Command};
use super::phase::{AnswerFlow, SessionPhase};
use super::probe::ProbeChannel;
use super::{LATE, Session};

impl Session {
    /// Publishes to itself, and asks whether the server is still a master.
    pub(super) fn send_probe(&mut self) {
        self.recheck_some();
        let mut batch = Batch::default();
        if self.probe.channel == ProbeChannel::Unknown
            && let Some((partition, channel)) =
                self.router.subscriptions.probe_channel(&self.link, &self.router.node)
        {
            batch.subscribe(vec![(partition, channel.clone())], 0);
            self.probe.channel = ProbeChannel::On(channel);
        }
        // Otherwise its answer waits for those to the commands before it.
        let is_open = matches!(self.phase, SessionPhase::Open | SessionPhase::Late);
        self.probe.begin(is_open && self.in_flight.is_empty());
        if let ProbeChannel::On(channel) = &self.probe.channel {
            batch.add(0, Command::Probe, None, |out| command::probe(out, channel));
        }
        self.ask_formats(&mut batch);
        self.ask_term(&mut batch);
        batch.add(0, Command::Role, None, command::role);
        self.in_flight.push(batch);
    }

    /// The answer to the command after the probe is here: so must be the probe.
    pub(super) fn on_probed(&mut self) -> Result<(), Error> {
        let (is_here, round_trip) = self.probe.end();
        if let Some(time) = round_trip {
            self.in_flight.note_round_trip(time);
        }
        if !is_here {
            return Err(self.fail(Code::BrokerConnect, "the connection answers but delivers no messages"));
        }
        if self.phase.go(SessionPhase::SubscribingAgain, SessionPhase::Subscribing) {
            self.ask();
            self.send_probe();
        } else if self.phase.go(SessionPhase::Subscribing, SessionPhase::Open) {
            // Everything is confirmed, for the probe was sent after the subscriptions.
            self.link.pipeline.open();
            self.router.link_up(&self.link);
            if self.router.routes.has_parked() {
                let router = self.router.clone();
                tokio::spawn(async move { router.routes.unpark().await });
            }
        }
        Ok(())
    }

    pub(super) fn on_tick(&mut self) -> Result<(), Error> {
        self.ask_again();
        let progress = match self.answers {
            AnswerFlow::Coming => Instant::now(),
            AnswerFlow::Awaited(since) => since,
            AnswerFlow::Unread => return Ok(()),
        };
        self.answers = AnswerFlow::Awaited(progress);
        if let Some(written) = self.in_flight.oldest() {
            // Many commands at once may take their time, as long as there is progress.
            if written.max(progress).elapsed() >= self.router.config.command_timeout {
                let ms = self.router.config.command_timeout.as_millis();
                return Err(self.fail(Code::BrokerTimeout, &format!("no answer within {ms} ms")));
            }
            if written.elapsed() >= LATE && self.phase.go(SessionPhase::Open, SessionPhase::Late) {
                let error = self.fail(Code::BrokerTimeout, "answers are late");
                self.router.link_late(&self.link, error);
            }
        }
        if !self.link.is_retired() && self.probe.is_due(self.router.config.probe_interval) {
            self.send_probe();
        }
        Ok(())
    }
}
