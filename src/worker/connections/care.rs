//! The care of a worker's connections: a sweeper that turns the wheels, and looks for who has had its time.

use std::sync::Arc;
use std::time::Duration;

use codes::close;
use protocol::frame;
use tokio::time::{Instant, MissedTickBehavior};

use super::Table;
use crate::time_of_day::unix_ms;
use crate::worker;
use crate::worker::connection::Connection;
use crate::worker::handle::Handle;
use crate::worker::heartbeat::{Heartbeat, Wheel};
use crate::worker::inbox::Inbox;
use crate::worker::socket::Socket;

/// The number of looks at an unfinished message within its time: it may take a fourth longer.
const LOOKS: u32 = 4;

/// Longest time between two looks at the connections. Tokens expire no later than this.
const LONGEST_TICK: Duration = Duration::from_millis(100);

/// The settings of the care that all connections of a worker get.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Care {
    pub heartbeat: Heartbeat,
    /// See [`Limits::message_timeout`](crate::worker::limits::Limits::message_timeout).
    pub message_timeout: Duration,
}

/// Runs while the worker has connections.
pub(super) async fn sweep(Care { heartbeat, message_timeout }: Care) {
    let epoch = Instant::now();
    let mut wheel = Wheel::new(heartbeat.interval, heartbeat.timeout, 0);
    let mut messages = Wheel::new(message_timeout / LOOKS, message_timeout, 0);
    // As often as either wheel asks for: one that is turned less often takes that for a standstill.
    let period = wheel.tick().min(messages.tick()).min(LONGEST_TICK);
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let now = tick.tick().await.saturating_duration_since(epoch).as_millis() as u64;
        let now = now.max(epoch.elapsed().as_millis() as u64);
        let goes_on = worker::with(|worker| {
            let table = &mut *worker.connections.table.borrow_mut();
            table.turn(&mut wheel, now, &worker.inbox);
            table.look_for_overdue(&mut messages, now, message_timeout);
            table.expire();
            table.sweeping = !table.slots.is_empty();
            table.sweeping
        });
        if goes_on != Some(true) {
            return;
        }
    }
}

/// A time as the heartbeat counts it for a connection: without those in which nobody could have heard from the peer.
fn clock(socket: &Socket, now: u64) -> u64 {
    now.saturating_sub(socket.stood_still())
}

impl Table {
    fn slot<'a>(
        &'a self,
        wheel: &Wheel,
        slot: usize,
    ) -> impl Iterator<Item = (&'a Arc<Handle>, &'a Connection)> + use<'a> {
        let tokens = (slot..self.slots.capacity()).step_by(wheel.slots());
        tokens.filter_map(|token| self.begun(token))
    }

    /// Finds connections whose unfinished message takes too long. Time in which one isn't read doesn't count.
    fn look_for_overdue(&self, wheel: &mut Wheel, now: u64, timeout: Duration) {
        let turn = wheel.turn(now);
        for (slot, _) in turn.ping.slots(wheel) {
            for (handle, connection) in self.slot(wheel, slot) {
                let assembler = connection.endpoint().assembler();
                if assembler.is_idle() {
                    continue;
                }
                if turn.stalled || handle.is_stopped() {
                    assembler.restart_clock();
                } else if assembler.is_overdue(clock(connection.socket(), now), timeout)
                    // Its end may lie unread with us: the next look will tell.
                    && !handle.is_woken()
                    && !connection.has_unread()
                {
                    handle.declare_overdue();
                }
            }
        }
    }

    fn turn(&self, wheel: &mut Wheel, now: u64, inbox: &Inbox) {
        let turn = wheel.turn(now);
        if turn.stalled {
            for (handle, connection) in self.slots.iter().filter_map(|(_, slot)| slot.begun()) {
                handle.restart_clock(clock(connection.socket(), now));
            }
        } else {
            for (slot, _) in turn.check.slots(wheel) {
                for (handle, connection) in self.slot(wheel, slot) {
                    let socket = connection.socket();
                    let now = clock(socket, now);
                    if !handle.is_overdue(now, wheel.timeout_ms()) {
                        continue;
                    }
                    // It was heard from, or may have been: it has yet to have the turn that shows.
                    if handle.is_woken() || connection.has_unread() {
                        handle.restart_clock(now);
                    } else {
                        socket.suspect(handle);
                    }
                }
            }
        }
        for (slot, due) in turn.ping.slots(wheel) {
            for (handle, connection) in self.slot(wheel, slot).filter(|(handle, _)| handle.is_open()) {
                let socket = connection.socket();
                handle.on_ping(clock(socket, due));
                handle.push_control(&frame::PING);
                socket.expect_pong();
                inbox.counters.pings.add(1);
            }
        }
    }

    fn expire(&mut self) {
        if self.expiries.is_empty() {
            return;
        }
        let now = unix_ms();
        while let Some(&(at, token)) = self.expiries.first()
            && at <= now
        {
            self.expiries.pop_first();
            if let Some(slot) = self.slots.get(token) {
                slot.handle.close(close::TOKEN_EXPIRED, "token expired");
            }
        }
    }
}
