//! The stream bridge as JavaScript sees it.

use std::sync::Arc;

use napi::bindgen_prelude::{Buffer, Uint8ArraySlice};
use napi_derive::napi;

use crate::worker::bridge::Bridge;

/// Carries the bytes of a socket that has no descriptor. See the engine's `bridge`.
#[napi]
pub struct NativeBridge {
    bridge: Arc<Bridge>,
}

impl NativeBridge {
    pub(super) fn new(bridge: Arc<Bridge>) -> Self {
        NativeBridge { bridge }
    }
}

#[napi]
impl NativeBridge {
    /// Number under which events speak of it.
    #[napi(getter, catch_unwind)]
    pub fn id(&self) -> f64 {
        self.bridge.id() as f64
    }

    /// Bytes that the socket read. False: pause it until BRIDGE_DRAIN.
    #[napi(catch_unwind)]
    pub fn feed(&self, chunk: Uint8ArraySlice<'_>) -> bool {
        self.bridge.feed(&chunk)
    }

    /// The socket's readable side ended.
    #[napi(catch_unwind)]
    pub fn end(&self) {
        self.bridge.end();
    }

    /// The socket failed or closed.
    #[napi(catch_unwind)]
    pub fn abort(&self) {
        self.bridge.abort();
    }

    /// The next bytes for the socket, null if there are none now. `ack` has to come before more are given.
    #[napi(catch_unwind)]
    pub fn take(&self) -> Option<Buffer> {
        self.bridge.take().map(Buffer::from)
    }

    /// The loop has turned since BRIDGE_QUESTION.
    #[napi(catch_unwind)]
    pub fn answer(&self) {
        self.bridge.answer();
    }

    /// The socket has passed on what was taken.
    #[napi(catch_unwind)]
    pub fn ack(&self) {
        self.bridge.ack();
    }
}
