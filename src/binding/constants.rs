//! Numbers that JavaScript and the addon speak in. They are sent over once, so that neither side repeats what the other has.

use std::collections::BTreeMap;

use auth::MAX_ID_BYTES;
use codes::close::ClosedBy;
use http::BEARER;
use napi_derive::napi;
use protocol::frame::{MAX_CONTROL, MAX_REASON};

use crate::broker::history::{MAX_KEY_BYTES, MAX_READ};
use crate::events::Interest;

/// A module of constants, and `ALL` of them by name.
macro_rules! constants {
    ($(#[$doc:meta])* $module:ident: $type:ty { $($name:ident = $value:literal,)+ }) => {
        $(#[$doc])*
        pub(super) mod $module {
            $(pub(in crate::binding) const $name: $type = $value;)+
            pub(in crate::binding) const ALL: &[(&str, $type)] = &[$((stringify!($name), $name),)+];
        }
    };
}

constants! {
    /// Kinds of events in a batch.
    kind: u16 {
        OPEN = 1,
        TEXT = 2,
        BINARY = 3,
        CLOSE = 4,
        SLOW = 5,
        UPGRADED = 6,
        REFUSED = 7,
        CLOSED = 8,
        BRIDGE_READABLE = 9,
        BRIDGE_DRAIN = 10,
        BRIDGE_END = 11,
        SETTLED = 12,
        FAILED = 13,
        BROKER = 14,
        CHANNEL = 15,
        PROBLEM = 16,
        FORBIDDEN = 17,
        REFUSAL = 18,
        BRIDGE_QUESTION = 19,
        PONG = 20,
        DRAIN = 21,
        MISSED = 22,
        SEND = 23,
        REQUEST = 24,
        JOIN = 25,
        LEAVE = 26,
    }
}

constants! {
    /// Flags of `upgrade`.
    flag: u32 {
        REPORT = 1,
        TRUSTED = 2,
        TLS = 4,
        CUT = 8,
    }
}

/// See the module.
#[napi(object, object_from_js = false)]
pub(super) struct NativeConstants {
    /// Kinds of events in a batch, by name.
    pub kinds: BTreeMap<String, u32>,
    /// Flags of `upgrade`, by name.
    pub flags: BTreeMap<String, u32>,
    /// Bits of `setInterest`, by the event's name.
    pub interests: BTreeMap<String, u32>,
    /// The sides that end a connection, in the order of the numbers that a CLOSE event has above the code's 16 bits.
    pub closed_by: Vec<String>,
    /// The subprotocol before a token.
    pub bearer: String,
    /// Most bytes of a user id or a room's name.
    pub max_id_bytes: u32,
    /// Most bytes of a close frame's reason.
    pub max_reason_bytes: u32,
    /// Most bytes that a ping carries.
    pub max_ping_bytes: u32,
    /// Most bytes of an idempotency key.
    pub max_key_bytes: u32,
    /// Most messages of a page of a history.
    pub max_page: u32,
}

/// See [`NativeConstants`].
#[napi(catch_unwind)]
pub(super) fn constants() -> NativeConstants {
    NativeConstants {
        kinds: kind::ALL.iter().map(|(name, kind)| ((*name).into(), u32::from(*kind))).collect(),
        flags: flag::ALL.iter().map(|(name, flag)| ((*name).into(), *flag)).collect(),
        interests: Interest::NAMED.iter().map(|(name, bits)| ((*name).into(), u32::from(bits.0))).collect(),
        closed_by: ClosedBy::ALL.iter().map(|by| by.as_str().into()).collect(),
        bearer: BEARER.into(),
        max_id_bytes: MAX_ID_BYTES as u32,
        max_reason_bytes: MAX_REASON as u32,
        max_ping_bytes: MAX_CONTROL as u32,
        max_key_bytes: MAX_KEY_BYTES as u32,
        max_page: MAX_READ,
    }
}
