//! Supervision: a session finds out that its server is gone, no master any more, or delivers nothing.

use codes::error::{Code, Error};
use tokio::time::Instant;

use super::super::asker::{Asker, Pending};
use super::super::lane::Batch;
use super::super::pipeline::{Change, write_subscriptions};
use super::{LATE, Session};
use crate::broker::redis::wire::resp;

impl Session {
    /// Publishes to itself, and asks whether the server is still a master.
    pub(super) fn send_probe(&mut self) {
        let mut batch = Batch::default();
        if self.probe.is_none()
            && !self.unprobed
            && let Some((partition, channel)) = self.router.probe_channel(&self.link)
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
        // Otherwise its answer waits for those to the commands before it.
        self.probes_alone = self.open && self.in_flight.is_empty();
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
        self.in_flight.push(batch);
    }

    /// The answer to the command after the probe is here: so must be the probe.
    pub(super) fn on_probed(&mut self) -> Result<(), Error> {
        self.probing = false;
        if self.probes_alone {
            self.in_flight.note_round_trip(self.last_probe.elapsed());
        }
        if self.probe.is_some() && !self.probe_arrived {
            return Err(self.fail(Code::BrokerConnect, "the connection answers but delivers no messages"));
        }
        if !self.open && std::mem::take(&mut self.asked_again) {
            self.send_probe();
        } else if !self.open {
            // Everything is confirmed, for the probe was sent after the subscriptions.
            self.open = true;
            self.link.pipeline.open();
            self.router.link_up(&self.link);
            if self.router.has_parked() {
                let router = self.router.clone();
                tokio::spawn(async move { router.unpark().await });
            }
        }
        Ok(())
    }

    pub(super) fn on_tick(&mut self) -> Result<(), Error> {
        if self.congested {
            return Ok(());
        }
        if std::mem::take(&mut self.answered) {
            self.progress = Instant::now();
        }
        if let Some(written) = self.in_flight.oldest() {
            // Many commands at once may take their time, as long as there is progress.
            if written.max(self.progress).elapsed() >= self.router.config.command_timeout {
                let ms = self.router.config.command_timeout.as_millis();
                return Err(self.fail(Code::BrokerTimeout, &format!("no answer within {ms} ms")));
            }
            if written.elapsed() >= LATE && self.open && !self.lagging {
                self.lagging = true;
                let error = self.fail(Code::BrokerTimeout, "answers are late");
                self.router.link_lagging(&self.link, Some(error));
            }
        }
        if !self.probing
            && !self.link.is_retired()
            && self.last_probe.elapsed() >= self.router.config.probe_interval
        {
            self.send_probe();
        }
        Ok(())
    }
}
