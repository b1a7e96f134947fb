//! The probe of a session: a message that it publishes to itself.

use std::time::Duration;

use tokio::time::Instant;

use super::super::command::RedisChannel;

/// See the module.
#[derive(Debug)]
pub(super) struct Probe {
    pub channel: ProbeChannel,
    round: ProbeRound,
    sent: Instant,
}

/// The channel that it is published on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProbeChannel {
    /// That is still to be found.
    Unknown,
    On(RedisChannel),
    /// The login may not probe: the server's answers have to do.
    Forbidden,
}

/// The progress of the last probe. `alone`: nothing was unanswered when it was sent.
#[derive(Clone, Copy, Debug)]
enum ProbeRound {
    Sent { alone: bool },
    Arrived { alone: bool },
    Over,
}

impl Probe {
    pub(super) fn new() -> Probe {
        Probe { channel: ProbeChannel::Unknown, round: ProbeRound::Over, sent: Instant::now() }
    }

    /// True if that is the name of its channel.
    pub(super) fn is_on(&self, name: &[u8]) -> bool {
        matches!(&self.channel, ProbeChannel::On(channel) if channel.name.as_bytes() == name)
    }

    /// Its channel is elsewhere: another one has to be found.
    pub(super) fn lose_channel(&mut self) {
        if self.channel != ProbeChannel::Forbidden {
            self.channel = ProbeChannel::Unknown;
        }
    }

    pub(super) fn begin(&mut self, alone: bool) {
        self.round = ProbeRound::Sent { alone };
        self.sent = Instant::now();
    }

    /// Its message is here.
    pub(super) fn arrive(&mut self) {
        if let ProbeRound::Sent { alone } = self.round {
            self.round = ProbeRound::Arrived { alone };
        }
    }

    /// The command after it is answered. Answers whether its message is here, if it was to come, and how long that took, if Redis
    /// had nothing else to do for us.
    pub(super) fn end(&mut self) -> (bool, Option<Duration>) {
        let (is_here, alone) = match std::mem::replace(&mut self.round, ProbeRound::Over) {
            ProbeRound::Sent { alone } => (!matches!(self.channel, ProbeChannel::On(_)), alone),
            ProbeRound::Arrived { alone } => (true, alone),
            ProbeRound::Over => (true, false),
        };
        (is_here, alone.then(|| self.sent.elapsed()))
    }

    /// True if it is time for another one.
    pub(super) fn is_due(&self, interval: Duration) -> bool {
        matches!(self.round, ProbeRound::Over) && self.sent.elapsed() >= interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_has_to_arrive_where_it_was_sent_and_only_one_that_went_alone_says_how_far_redis_is() {
        let mut probe = Probe::new();
        let mut round = |channel: Option<ProbeChannel>, alone, arrives| {
            if let Some(channel) = channel {
                probe.channel = channel;
            }
            probe.begin(alone);
            assert!(!probe.is_due(Duration::ZERO), "it is under way");
            if arrives {
                probe.arrive();
            }
            let (is_here, time) = probe.end();
            assert!(probe.is_due(Duration::ZERO) && !probe.is_due(Duration::from_secs(3600)));
            (is_here, time.is_some())
        };
        assert_eq!(round(None, false, false), (true, false), "it has no channel");
        let channel = RedisChannel { name: "c".into(), sharded: false };
        assert_eq!(round(Some(ProbeChannel::On(channel)), true, false), (false, true));
        assert_eq!(round(None, true, true), (true, true));
        assert_eq!(round(None, false, true), (true, false));
        assert_eq!(round(Some(ProbeChannel::Forbidden), false, false), (true, false));
        probe.lose_channel();
        assert_eq!(probe.channel, ProbeChannel::Forbidden, "for good");
    }
}
