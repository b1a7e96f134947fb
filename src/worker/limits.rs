//! The limits of memory and time.

use std::time::Duration;

use codes::error::ConfigError;

/// See the module. All sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest message, over all its fragments. Default 1 MiB; 1 to 256 MiB. A connection can make us hold this much.
    pub max_payload: usize,
    /// Most bytes waiting to be written to one connection. Default 1 MiB; 1 KiB to 1 GiB.
    pub outbox_bytes: usize,
    /// Most bytes that all send queues hold for clients that are behind, and all unfinished messages with them; connections that
    /// made no progress for a second go first, and among them and then among the others those that hold most. Default no limit (`usize::MAX`), which the embedder replaces by a part of the machine's memory;
    /// 1 MiB to 1 TiB, and [`Limits::least_memory_bytes`] at least.
    pub memory_bytes: usize,
    /// Most connections at a time. Default no limit (`usize::MAX`); 1 to 10,000,000.
    pub max_connections: usize,
    /// Most rooms that one connection is in. Default 1,000; 1 to 1,000,000. A room costs about 250 bytes.
    pub rooms_per_connection: usize,
    /// Longest time from the upgrade to the 101. Default 10 s; 10 ms to 10 min.
    pub handshake_timeout: Duration,
    /// Longest wait for the peer's part of the closing handshake. Default 5 s; 10 ms to 10 min.
    pub close_timeout: Duration,
    /// Longest time that a message may take from its first frame to its end; a second longer for each 8 KiB of it that came.
    /// Default 60 s; 100 ms to 1 h.
    pub message_timeout: Duration,
    /// Longest request target. Default 8 KiB; 16 bytes to 64 KiB.
    pub max_url_bytes: usize,
    /// Most bytes of all request headers. Default 16 KiB; 256 bytes to 1 MiB.
    pub max_header_bytes: usize,
    /// Messages of one connection that wait for listeners; one message always fits. Default 256 KiB; 1 KiB to 1 GiB.
    pub event_bytes_per_connection: usize,
    /// The same over all connections; a reserve of as much is for those that have little waiting. Default 32 MiB; 64 KiB to 4
    /// GiB.
    pub event_bytes: usize,
    /// Read buffer of one worker thread, shared by all its connections. Default 64 KiB; 1 byte to 16 MiB.
    pub read_buffer_bytes: usize,
}

impl Limits {
    /// Fewest bytes that [`Limits::memory_bytes`] may be: twice as many as one permitted message takes, out or in. With fewer,
    /// a single one could exceed it, and would never get through.
    pub fn least_memory_bytes(&self) -> usize {
        self.outbox_bytes.max(self.max_payload).saturating_mul(2)
    }

    pub(crate) fn check_memory(&self) -> Result<(), ConfigError> {
        if self.memory_bytes >= self.least_memory_bytes() {
            return Ok(());
        }
        let (larger, bytes) = if self.outbox_bytes > self.max_payload {
            ("limits.outboxBytes", self.outbox_bytes)
        } else {
            ("limits.maxPayload", self.max_payload)
        };
        let expected = format!("at least twice {larger}, which is {bytes}");
        Err(ConfigError::out_of_range("limits.memoryBytes", &expected, &self.memory_bytes.to_string()))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload: 1 << 20,
            outbox_bytes: 1 << 20,
            memory_bytes: usize::MAX,
            max_connections: usize::MAX,
            rooms_per_connection: 1000,
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(60),
            max_url_bytes: 8 << 10,
            max_header_bytes: 16 << 10,
            event_bytes_per_connection: 256 << 10,
            event_bytes: 32 << 20,
            read_buffer_bytes: 64 << 10,
        }
    }
}
