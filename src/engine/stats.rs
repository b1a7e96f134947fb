//! Counters. Each worker has its own and is their only writer; a reader adds them up.

use std::collections::BTreeMap;

use codes::close::{self, ClosedBy};
use parking_lot::Mutex;
use serde::Serialize;

use crate::broker::BrokerStats;
use crate::worker::counters::{Counter, WorkerCounters};

/// Counters that any thread may raise, and rarely does.
#[derive(Debug, Default)]
pub struct SharedCounters {
    refused: Mutex<BTreeMap<&'static str, u64>>,
    closed: Mutex<CloseCounts>,
    closed_by_peer: Mutex<CloseCounts>,
}

/// Ended connections by close code: as many counters as there are codes that [have one](close::is_counted), and one for the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CloseCounts {
    /// By code.
    #[serde(flatten)]
    pub by_code: BTreeMap<u16, u64>,
    /// With any other code.
    #[serde(skip_serializing_if = "is_zero")]
    pub other: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl CloseCounts {
    fn add(&mut self, code: u16) {
        *if close::is_counted(code) { self.by_code.entry(code).or_default() } else { &mut self.other } += 1;
    }
}

impl SharedCounters {
    /// Counts a refused handshake by its error code.
    pub fn refused(&self, code: &'static str) {
        *self.refused.lock().entry(code).or_default() += 1;
    }

    /// Counts an ended connection by its close code and who chose that.
    pub fn closed(&self, code: u16, by: ClosedBy) {
        let counts = if by == ClosedBy::Peer { &self.closed_by_peer } else { &self.closed };
        counts.lock().add(code);
    }
}

/// A reading of everything, in the shape that JavaScript sees.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Open connections.
    pub connections: usize,
    /// Users with at least one.
    pub users: usize,
    /// Rooms with at least one.
    pub rooms: usize,
    /// Sockets that are no open connection: handshakes under way, connections that are being closed, and refused clients
    /// that linger.
    pub handshakes: usize,
    /// Connections opened since the start.
    pub opened: u64,
    /// Handshakes refused since the start, by error code.
    pub refused: BTreeMap<&'static str, u64>,
    /// Connections that this side ended since the start, or that broke.
    pub closed: CloseCounts,
    /// Connections that their client closed since the start.
    pub closed_by_peer: CloseCounts,
    /// Messages.
    pub messages: MessageStats,
    /// Bytes.
    pub bytes: ByteStats,
    /// Pings sent by the heartbeat.
    pub pings: u64,
    /// Bytes of messages that wait for JavaScript.
    pub event_bytes: usize,
    /// Bytes of memory that send queues hold for clients that are behind.
    pub outbox_bytes: usize,
    /// Bytes of memory that unfinished messages hold, those that are on their way to many rooms among them.
    pub unfinished_bytes: usize,
    /// Bytes that both may hold together.
    pub memory_limit_bytes: usize,
    /// Worker threads.
    pub threads: usize,
    /// The state of the links between servers.
    pub broker: BrokerStats,
}

/// See [`WorkerCounters`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageStats {
    /// Read.
    pub received: u64,
    /// Handed to the kernel.
    pub sent: u64,
    /// Passed on by the relay.
    pub relayed: u64,
    /// Refused by the relay, with an error frame.
    pub not_relayed: u64,
    /// Queued, then dropped.
    pub dropped: u64,
    /// Ignored, for they came after the close had begun.
    pub after_close: u64,
}

/// See [`WorkerCounters`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ByteStats {
    /// Payload bytes read.
    pub received: u64,
    /// Bytes written, frame heads included.
    pub sent: u64,
}

impl Stats {
    /// Adds the counters up; the caller fills in figures that are measured, not counted.
    pub fn collect<'a>(
        workers: impl Iterator<Item = &'a WorkerCounters> + Clone,
        shared: &SharedCounters,
        broker: BrokerStats,
    ) -> Stats {
        let sum = |pick: fn(&WorkerCounters) -> &Counter| workers.clone().map(|w| pick(w).get()).sum();
        Stats {
            connections: 0,
            users: 0,
            rooms: 0,
            handshakes: 0,
            opened: sum(|w| &w.opened),
            refused: shared.refused.lock().clone(),
            closed: shared.closed.lock().clone(),
            closed_by_peer: shared.closed_by_peer.lock().clone(),
            messages: MessageStats {
                received: sum(|w| &w.messages_in),
                sent: sum(|w| &w.messages_out),
                relayed: sum(|w| &w.messages_relayed),
                not_relayed: sum(|w| &w.messages_not_relayed),
                dropped: sum(|w| &w.messages_dropped),
                after_close: sum(|w| &w.messages_after_close),
            },
            bytes: ByteStats { received: sum(|w| &w.bytes_in), sent: sum(|w| &w.bytes_out) },
            pings: sum(|w| &w.pings),
            event_bytes: 0,
            outbox_bytes: 0,
            unfinished_bytes: 0,
            memory_limit_bytes: 0,
            threads: workers.clone().count(),
            broker,
        }
    }
}
