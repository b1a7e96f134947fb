//! The numbers of the configuration: each with its option, its range and its unit.

use std::fmt;
use std::time::Duration;

use super::Config;

/// A number of the configuration: its option, its range, and how it is read and written.
/// [`Config::validate`] and the options' parser share this table, so that a range is written once.
pub struct Number {
    /// Full path of the option.
    pub path: &'static str,
    /// The unit that it counts, for messages.
    pub unit: &'static str,
    /// Smallest permitted value.
    pub min: u64,
    /// Largest permitted value.
    pub max: u64,
    /// True if `u64::MAX` stands for "no limit".
    pub unlimited: bool,
    /// Reads it.
    pub get: fn(&Config) -> u64,
    /// Writes it.
    pub set: fn(&mut Config, u64),
}

impl Number {
    /// Description of the expected value, for messages.
    pub fn expected(&self) -> String {
        format!("an integer from {} to {} ({})", self.min, self.max, self.unit)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

macro_rules! numbers {
    (@get usize $value:expr) => { u64::try_from($value).unwrap_or(u64::MAX) };
    (@get millis $value:expr) => { u64::try_from($value.as_millis()).unwrap_or(u64::MAX) };
    (@set usize $value:expr) => { usize::try_from($value).unwrap_or(usize::MAX) };
    (@set millis $value:expr) => { Duration::from_millis($value) };
    ($($path:literal, $kind:ident $($field:ident).+, $min:literal..=$max:literal $unit:literal, unlimited: $unlimited:literal;)+) => {
        /// Every number of the configuration, in the order of the documentation.
        pub const NUMBERS: &[Number] = &[$(Number {
            path: $path,
            unit: $unit,
            min: $min,
            max: $max,
            unlimited: $unlimited,
            get: |config| numbers!(@get $kind config.$($field).+),
            set: |config, value| config.$($field).+ = numbers!(@set $kind value),
        },)+];
    };
}

numbers! {
    "heartbeat.intervalMs", millis heartbeat.interval, 100..=3_600_000 "milliseconds", unlimited: false;
    "heartbeat.timeoutMs", millis heartbeat.timeout, 100..=3_600_000 "milliseconds", unlimited: false;
    "limits.maxPayload", usize limits.max_payload, 1..=268_435_456 "bytes", unlimited: false;
    "limits.outboxBytes", usize limits.outbox_bytes, 1024..=1_073_741_824 "bytes", unlimited: false;
    "limits.memoryBytes", usize limits.memory_bytes, 1_048_576..=1_099_511_627_776 "bytes", unlimited: true;
    "limits.maxConnections", usize limits.max_connections, 1..=10_000_000 "connections", unlimited: true;
    "limits.roomsPerConnection", usize limits.rooms_per_connection, 1..=1_000_000 "rooms", unlimited: false;
    "limits.handshakeTimeoutMs", millis limits.handshake_timeout, 10..=600_000 "milliseconds", unlimited: false;
    "limits.closeTimeoutMs", millis limits.close_timeout, 10..=600_000 "milliseconds", unlimited: false;
    "limits.messageTimeoutMs", millis limits.message_timeout, 100..=3_600_000 "milliseconds", unlimited: false;
    "limits.maxUrlBytes", usize limits.max_url_bytes, 16..=65_536 "bytes", unlimited: false;
    "limits.maxHeaderBytes", usize limits.max_header_bytes, 256..=1_048_576 "bytes", unlimited: false;
    "limits.eventBytesPerConnection", usize limits.event_bytes_per_connection, 1024..=1_073_741_824 "bytes", unlimited: false;
    "limits.eventBytes", usize limits.event_bytes, 65_536..=4_294_967_296 "bytes", unlimited: false;
    "limits.readBufferBytes", usize limits.read_buffer_bytes, 1..=16_777_216 "bytes", unlimited: false;
    "redis.connections", usize redis.connections, 1..=16 "connections", unlimited: false;
    "redis.connectTimeoutMs", millis redis.connect_timeout, 50..=60_000 "milliseconds", unlimited: false;
    "redis.commandTimeoutMs", millis redis.command_timeout, 100..=60_000 "milliseconds", unlimited: false;
    "redis.probeIntervalMs", millis redis.probe_interval, 100..=60_000 "milliseconds", unlimited: false;
    "redis.graceMs", millis redis.grace, 0..=3_600_000 "milliseconds", unlimited: false;
    "redis.pendingBytes", usize redis.pending_bytes, 65_536..=4_294_967_296 "bytes", unlimited: false;
    "threads", usize threads, 1..=64 "threads", unlimited: false;
}
