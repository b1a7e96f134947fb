//! The results of calls, and the state of the links between servers, as JavaScript sees them.

use history::position::Position;
use napi::bindgen_prelude::{Either, Either5, Null};
use napi_derive::napi;

use super::history::NativeHistoryPage;
use crate::events::broker_status::{BrokerStatus, State};
use crate::outcome::{Answer, ConnectionCount, Delivery, Reply, Status};

/// Outcome of publishing.
#[napi(object, object_from_js = false)]
pub struct NativeDelivery {
    /// `published`, `local` or `uncertain`.
    pub status: &'static str,
    /// Servers that have the recipient, at most; null if that isn't known.
    pub nodes: Either<u32, Null>,
    /// Connections here.
    pub local: u32,
    /// The message's place in its history, left out if it has none: a null would cost a tenth of the call.
    pub position: Option<String>,
    /// True if it is an earlier message's, with the same idempotency key; else left out.
    pub repeated: Option<bool>,
}

impl From<Delivery> for NativeDelivery {
    fn from(delivery: Delivery) -> Self {
        NativeDelivery {
            status: match delivery.status {
                Status::Published => "published",
                Status::Local => "local",
                Status::Uncertain => "uncertain",
            },
            nodes: delivery.nodes.map_or(Either::B(Null), Either::A),
            local: delivery.local,
            position: delivery.position.map(|position| position.to_string()),
            repeated: None,
        }
    }
}

impl NativeDelivery {
    /// Of a message that was published before. Its recipients are not known.
    pub(super) fn repeated(position: Option<Position>) -> Self {
        NativeDelivery {
            repeated: Some(true),
            ..NativeDelivery::from(Delivery { status: Status::Published, nodes: None, local: 0, position })
        }
    }
}

/// A count over all servers.
#[napi(object, object_from_js = false)]
pub struct NativeConnectionCount {
    /// Connections.
    pub connections: f64,
    /// Servers that answered.
    pub servers: u32,
    /// True if all did.
    pub complete: bool,
}

impl From<ConnectionCount> for NativeConnectionCount {
    fn from(census: ConnectionCount) -> Self {
        NativeConnectionCount {
            connections: census.connections as f64,
            servers: census.servers,
            complete: census.complete,
        }
    }
}

/// State of the links between servers.
#[napi(object, object_from_js = false)]
pub(super) struct NativeBrokerStatus {
    /// `up`, `degraded` or `down`.
    pub state: &'static str,
    /// Since when, in Unix milliseconds.
    pub since: f64,
    /// Code of what keeps it from being up.
    pub code: Option<&'static str>,
    /// The same in words.
    pub message: Option<String>,
    /// Since when messages may have been lost, if some may.
    pub gap_since: Option<f64>,
    /// Until when.
    pub gap_until: Option<f64>,
}

impl From<BrokerStatus> for NativeBrokerStatus {
    fn from(status: BrokerStatus) -> Self {
        let (code, message) = status.error.map(|error| (error.code(), error.message)).unzip();
        let (gap_since, gap_until) = status.gap.map(|(since, until)| (since as f64, until as f64)).unzip();
        NativeBrokerStatus {
            state: match status.state {
                State::Up => "up",
                State::Degraded => "degraded",
                State::Down => "down",
            },
            since: status.since as f64,
            code,
            message,
            gap_since,
            gap_until,
        }
    }
}

/// The result of a call: a number that it asked for, a negative one, which is the ticket that a later event settles
/// turned around, null if there is nothing to tell, a delivery, a count, or a part of a history.
pub(super) type Outcome = Either5<f64, Null, NativeDelivery, NativeConnectionCount, NativeHistoryPage>;

/// A reply of the engine's, for JavaScript.
pub(super) fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Later(ticket) => Either5::A(-(ticket as f64)),
        Reply::Now(Answer::Number(number)) => Either5::A(number as f64),
        Reply::Now(Answer::Done) => Either5::B(Null),
        Reply::Now(Answer::Delivery(delivery)) => Either5::C(delivery.into()),
        Reply::Now(Answer::Repeated(position)) => Either5::C(NativeDelivery::repeated(position)),
        Reply::Now(Answer::ConnectionCount(census)) => Either5::D(census.into()),
        Reply::Now(Answer::History(page)) => Either5::E((*page).into()),
    }
}
