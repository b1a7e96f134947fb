//! The end of an endpoint: by either side's close frame, by a command, with its peer, or because its time is up.
//!
//! | begins with | leads to |
//! |---|---|
//! | our close frame ([`Endpoint::begin_close`]) | `Closing`: the peer's is awaited |
//! | the peer's last word: a close frame, its end, a violation ([`Endpoint::conclude`]) | `Settling`, if the application may have an answer to what came before; then `Flushing` or `Draining` |
//! | a socket that failed ([`Endpoint::on_failure`]), a termination, a deadline | `Over` |

use codes::close::{self, ClosedBy};

use super::{Commands, Deadline, Effect, Endpoint, Holding, Host, Phase};
use crate::assembler::Violation;
use crate::frame;

/// The end of a peer that doesn't keep up: code and reason.
pub const SLOW: (u16, &str) = (close::SLOW_CONSUMER, "too slow");
const SILENT: &str = "no answer to ping";

fn leave<K>(code: u16, reason: &str, by: ClosedBy, host: &mut impl Host<K>) {
    host.on_effect(Effect::Leave { code, reason, by });
}

fn send_close<K>(code: u16, reason: &str, host: &mut impl Host<K>) {
    host.on_effect(Effect::Send(&frame::encode_close(code, reason)));
}

fn wait<K>(deadline: Deadline, host: &mut impl Host<K>) {
    host.on_effect(Effect::Wait(deadline));
}

impl<K: Default> Endpoint<K> {
    /// Carries out commands. `holding` is what it held before.
    pub fn on_commands(&mut self, commands: Commands, holding: Holding, host: &mut impl Host<K>) {
        let Holding { waiting, unfinished } = holding;
        // By now it may hold nothing.
        let evict = commands.has(Commands::EVICT) && waiting + unfinished > 0;
        if commands.gives_up(|| host.is_held()) {
            host.on_effect(Effect::GiveUp);
        }
        if commands.has(Commands::TERMINATE) {
            // With the code that it was to be closed with, if that comes only now.
            match host.take_close() {
                Some(request) => leave(request.code, &request.reason, ClosedBy::Server, host),
                None => leave(close::ABNORMAL, "", ClosedBy::Server, host),
            }
            let reset = host.buffered() > 0;
            return self.over(reset, host);
        }
        let is_slow = commands.has(Commands::SLOW) || (evict && waiting >= unfinished);
        if is_slow && matches!(self.phase, Phase::Open | Phase::Settling) {
            host.on_effect(Effect::Shed);
        }
        // A peer that has said its last answers no ping either.
        if is_slow || commands.has(Commands::SETTLED | Commands::CLOSE) {
            self.on_settled(host);
        }
        if commands.has(Commands::DEAD) && self.phase == Phase::Open {
            // The frame is said for the record; nobody is likely to read it, so nothing is waited for.
            if is_slow {
                send_close(SLOW.0, SLOW.1, host);
            } else {
                leave(close::HEARTBEAT, SILENT, ClosedBy::Network, host);
                send_close(close::HEARTBEAT, SILENT, host);
            }
            self.forget(host);
            self.phase = Phase::Flushing;
            return wait(Deadline::Offered, host);
        }
        if is_slow && self.phase == Phase::Open {
            send_close(SLOW.0, SLOW.1, host);
            self.phase = Phase::Closing;
            wait(Deadline::Close, host);
        }
        if evict && unfinished > 0 && matches!(self.phase, Phase::Open | Phase::Closing) {
            self.fail(Violation::NO_ROOM, host);
        }
        if evict && host.clings() {
            // It would hold that until the deadline: a frame that is half out, or a close that its peer doesn't take.
            return self.over(true, host);
        }
        if commands.has(Commands::CLOSE)
            && let Some(request) = host.take_close()
        {
            self.begin_close(request.code, &request.reason, host);
        }
    }

    /// Begins the close handshake from our side. An end that waits for the application comes at once: nobody may answer any more.
    fn begin_close(&mut self, code: u16, reason: &str, host: &mut impl Host<K>) {
        if self.phase == Phase::Open {
            leave(code, reason, ClosedBy::Server, host);
            send_close(code, reason, host);
            self.phase = Phase::Closing;
            wait(Deadline::Close, host);
        } else {
            self.on_settled(host);
        }
    }

    /// The peer broke the rules (RFC 6455, section 7.1.7: fail the connection).
    pub(super) fn fail(&mut self, Violation { code, reason }: Violation, host: &mut impl Host<K>) {
        self.conclude(code, reason, ClosedBy::Server, host);
    }

    /// The peer ended its direction. Its messages before are still answered, in case that it reads on.
    pub fn on_end(&mut self, host: &mut impl Host<K>) {
        self.conclude(close::ABNORMAL, "", ClosedBy::Network, host);
    }

    /// The socket failed or ended under us.
    pub fn on_failure(&mut self, host: &mut impl Host<K>) {
        host.on_effect(Effect::GiveUp);
        leave(close::ABNORMAL, "", ClosedBy::Network, host);
        self.over(false, host);
    }

    /// Nothing of the peer's counts any more: it began the close handshake or answered ours, left, or broke the rules. Its
    /// messages before are answered first: if the application has yet to deal with messages, the end waits for that.
    pub(super) fn conclude(&mut self, code: u16, reason: &str, by: ClosedBy, host: &mut impl Host<K>) {
        self.forget(host);
        if self.phase == Phase::Open && host.must_settle() {
            host.on_effect(Effect::WillLeave { code, reason, by });
            self.phase = Phase::Settling;
            return wait(Deadline::Close, host);
        }
        self.conclude_now(code, reason, by, host);
    }

    /// The application has dealt with what the peer said last, or took too long.
    fn on_settled(&mut self, host: &mut impl Host<K>) {
        if self.phase == Phase::Settling
            && let Some((code, reason, by)) = host.take_end()
        {
            self.conclude_now(code, &reason, by, host);
        }
    }

    fn conclude_now(&mut self, code: u16, reason: &str, by: ClosedBy, host: &mut impl Host<K>) {
        leave(code, reason, by, host);
        let is_settled = self.phase == Phase::Settling;
        let is_first = self.phase == Phase::Open || is_settled;
        if is_first && by != ClosedBy::Network {
            send_close(code, reason, host);
        }
        match by {
            ClosedBy::Network if self.phase == Phase::HalfClosed => return self.over(false, host),
            ClosedBy::Server => self.phase = Phase::Draining,
            ClosedBy::Peer | ClosedBy::Network => self.phase = Phase::Flushing,
        }
        if is_settled {
            // The deadline for the application is that for the end as well.
            wait(Deadline::NotBeforeLinger, host);
        } else if is_first || by != ClosedBy::Network {
            wait(Deadline::Close, host);
        }
    }

    /// All that waited for the peer is with the kernel.
    pub fn on_written(&mut self, host: &mut impl Host<K>) {
        if !matches!(self.phase, Phase::Flushing | Phase::Draining) {
            return;
        }
        host.on_effect(Effect::EndWriting);
        if self.phase == Phase::Flushing {
            self.over(false, host);
        } else {
            self.phase = Phase::HalfClosed;
        }
    }

    /// The deadline has passed. `written`: nothing waits for the peer.
    pub fn on_deadline(&mut self, written: bool, host: &mut impl Host<K>) {
        if self.phase == Phase::Settling {
            self.on_settled(host);
            host.on_effect(Effect::Wake);
        } else if self.phase != Phase::Over {
            self.over(!written, host);
        }
    }

    /// Not more is read of a peer that was told its fault and goes on sending. It gets a moment to read that, for its end can't
    /// be seen any more.
    pub(super) fn linger(&mut self, host: &mut impl Host<K>) {
        if self.phase == Phase::HalfClosed && self.scrap != u32::MAX {
            self.scrap = u32::MAX;
            wait(Deadline::Linger, host);
        }
    }

    fn forget(&mut self, host: &mut impl Host<K>) {
        host.with_spares(|spares| self.assembler.clear(spares));
    }

    /// The end, now.
    fn over(&mut self, reset: bool, host: &mut impl Host<K>) {
        if reset {
            host.on_effect(Effect::Reset);
        }
        self.phase = Phase::Over;
    }
}

/// Code and reason of a close frame's payload, as they are to be sent back: 1005 if it has none, and 1002 if its code is one
/// that nobody may send (see [`close::SENDABLE`]).
///
/// # Errors
/// 1002 for half a code, 1007 for a reason that is not UTF-8.
pub fn read_close(payload: &[u8]) -> Result<(u16, &str), Violation> {
    match payload {
        [] => Ok((close::NO_STATUS, "")),
        [_] => Err(Violation::HALF_A_CODE),
        [high, low, reason @ ..] => match std::str::from_utf8(reason) {
            Ok(reason) => match u16::from_be_bytes([*high, *low]) {
                code if close::is_sendable(code) => Ok((code, reason)),
                _ => Ok((close::PROTOCOL, "Protocol violation")),
            },
            Err(_) => Err(Violation::BAD_UTF8),
        },
    }
}
