//! The reading of a connection: what it is stopped by, and what the heartbeat makes of that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Handle;
use super::flags::{CALLED, HALTED, HELD, PAUSED};

impl Handle {
    /// Has it not read until [`Handle::go_on`]. Messages read already are routed.
    pub fn halt(&self) {
        self.flags.fetch_or(HALTED, Ordering::SeqCst);
    }

    /// Lets a halted connection be read again.
    pub fn go_on(self: &Arc<Self>) {
        // As in `resume`.
        self.mark_alive();
        if self.flags.fetch_and(!HALTED, Ordering::SeqCst) & HALTED != 0 {
            self.inbox.wake(self);
        }
    }

    /// Notes that the connection isn't read for now, or is again. Answers what was.
    pub(crate) fn set_paused(&self, paused: bool) -> bool {
        let before = if paused {
            self.flags.fetch_or(PAUSED, Ordering::SeqCst)
        } else {
            self.flags.fetch_and(!PAUSED, Ordering::SeqCst)
        };
        before & PAUSED != 0
    }

    /// True while the connection isn't read because JavaScript is behind.
    pub(crate) fn is_paused(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & PAUSED != 0
    }

    /// Lets a paused connection be read again.
    pub(crate) fn resume(self: &Arc<Self>) {
        // Its signs of life lie unread: the heartbeat, which may come by first, must not take it for dead.
        self.mark_alive();
        if self.set_paused(false) {
            self.inbox.wake(self);
        }
    }

    /// The connection isn't read until it is [called](Handle::call).
    pub(in crate::worker) fn set_held(&self) {
        self.flags.fetch_or(HELD, Ordering::SeqCst);
    }

    /// True from [`Handle::set_held`] to [`Handle::call`].
    pub(in crate::worker) fn is_held(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & HELD != 0
    }

    /// Lets a held connection be read again.
    pub(in crate::worker) fn call(self: &Arc<Self>) {
        // As in `resume`.
        self.mark_alive();
        self.flags.fetch_or(CALLED, Ordering::SeqCst);
        self.flags.fetch_and(!HELD, Ordering::SeqCst);
        self.inbox.wake(self);
    }

    /// True if it was called, and not asked since.
    pub(in crate::worker) fn was_called(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & CALLED != 0
            && self.flags.fetch_and(!CALLED, Ordering::SeqCst) & CALLED != 0
    }

    /// True while the connection isn't read, for whichever reason.
    pub(in crate::worker) fn is_stopped(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & (PAUSED | HELD | HALTED) != 0
    }

    /// Something arrived.
    pub(in crate::worker) fn mark_alive(&self) {
        if !self.alive.load(Ordering::Relaxed) {
            self.alive.store(true, Ordering::Relaxed);
        }
    }

    /// The heartbeat's ping hand came by: notes the ping that is to be sent now.
    pub(in crate::worker) fn on_ping(&self, now: u64) {
        if self.alive.swap(false, Ordering::Relaxed) || self.awaiting_since.load(Ordering::Relaxed) == 0 {
            self.awaiting_since.store(now.max(1), Ordering::Relaxed);
        }
    }

    /// The heartbeat's deadline hand came by. True if the peer has been silent for `timeout` since a ping.
    /// The clock stands still while we don't read.
    pub(in crate::worker) fn is_overdue(&self, now: u64, timeout: u64) -> bool {
        let since = self.awaiting_since.load(Ordering::Relaxed);
        if since == 0 {
            return false;
        }
        if self.alive.load(Ordering::Relaxed) {
            self.awaiting_since.store(0, Ordering::Relaxed);
            return false;
        }
        if self.is_stopped() {
            self.restart_clock(now);
            return false;
        }
        now.saturating_sub(since) >= timeout
    }

    /// Lets the wait for an answer begin anew, after a time in which nobody could have read it.
    pub(in crate::worker) fn restart_clock(&self, now: u64) {
        if self.awaiting_since.load(Ordering::Relaxed) != 0 {
            self.awaiting_since.store(now.max(1), Ordering::Relaxed);
        }
    }
}
