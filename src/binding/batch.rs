//! Events on their way to JavaScript: a batch is one flat array `kind, id, a, b, kind, id, a, b, …`.
//! One array of primitives costs a fraction of an object per event.

use std::collections::VecDeque;
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::{Array, Buffer, Result, ToNapiValue};
use napi_derive::napi;

use crate::engine::Engine;
use crate::engine::events::Event;
use crate::engine::handle::Handle;

const OPEN: u32 = 1;
const TEXT: u32 = 2;
const BINARY: u32 = 3;
const CLOSE: u32 = 4;
const SLOW: u32 = 5;
const UPGRADED: u32 = 6;
const REFUSED: u32 = 7;
const CLOSED: u32 = 8;
const BRIDGE_READABLE: u32 = 9;
const BRIDGE_DRAIN: u32 = 10;
const BRIDGE_END: u32 = 11;

/// What doesn't change over a connection's life.
#[napi(object)]
pub struct NativeInfo {
    /// The user it belongs to.
    pub user_id: String,
    /// Subprotocol, empty if none.
    pub protocol: String,
    /// The client's address.
    pub remote_address: String,
    /// JSON of a JWT's claims.
    pub data: Option<String>,
    /// Public id.
    pub key: String,
}

/// Describes a connection.
pub(super) fn describe(engine: &Engine, handle: &Handle) -> NativeInfo {
    NativeInfo {
        user_id: handle.user.to_string(),
        protocol: handle.peer.protocol.to_string(),
        remote_address: handle.peer.remote.to_string(),
        data: handle.peer.data.as_deref().map(str::to_owned),
        key: engine.public_id(handle.id),
    }
}

struct Writer<'env> {
    array: Array<'env>,
    at: u32,
    subjects: Vec<Arc<Handle>>,
}

impl Writer<'_> {
    /// Keeps the connection of an event, unless it is that of the one before too.
    fn about(&mut self, handle: Arc<Handle>) {
        if self.subjects.last().is_none_or(|last| !Arc::ptr_eq(last, &handle)) {
            self.subjects.push(handle);
        }
    }

    fn put<A: ToNapiValue, B: ToNapiValue>(&mut self, kind: u32, id: u64, a: A, b: B) -> Result<()> {
        self.array.set(self.at, kind)?;
        self.array.set(self.at + 1, id as f64)?;
        self.array.set(self.at + 2, a)?;
        self.array.set(self.at + 3, b)?;
        self.at += 4;
        Ok(())
    }
}

/// Writes a batch. With it come the connections that it speaks of without describing them: JavaScript may not know
/// them yet, and they may be gone from the registry.
pub(super) fn write<'env>(
    env: &'env Env,
    engine: &Engine,
    events: VecDeque<Event>,
) -> Result<(Array<'env>, Vec<Arc<Handle>>)> {
    let array = env.create_array(events.len() as u32 * 4)?;
    let mut out = Writer { array, at: 0, subjects: Vec::new() };
    for event in events {
        match event {
            Event::Text { handle, text } => {
                out.put(TEXT, handle.id, text, 0)?;
                out.about(handle);
            }
            Event::Binary { handle, bytes } => {
                out.put(BINARY, handle.id, Buffer::from(bytes), 0)?;
                out.about(handle);
            }
            Event::Open { handle, ticket } => {
                out.put(OPEN, handle.id, ticket as f64, describe(engine, &handle))?;
            }
            Event::Close { handle, code, reason } => {
                out.put(CLOSE, handle.id, u32::from(code), String::from(reason))?;
                out.about(handle);
            }
            Event::Slow { handle, dropped } => {
                out.put(SLOW, handle.id, dropped.bytes as f64, dropped.messages as f64)?;
                out.about(handle);
            }
            Event::Upgraded { handle, ticket } => {
                out.put(UPGRADED, handle.id, ticket as f64, describe(engine, &handle))?;
            }
            Event::Refused { ticket, code, message } => {
                out.put(REFUSED, 0, ticket as f64, format!("{code} {message}"))?;
            }
            Event::Closed => out.put(CLOSED, 0, 0, 0)?,
            Event::BridgeReadable { id } => out.put(BRIDGE_READABLE, id, 0, 0)?,
            Event::BridgeDrain { id } => out.put(BRIDGE_DRAIN, id, 0, 0)?,
            Event::BridgeEnd { id, abort } => out.put(BRIDGE_END, id, u32::from(abort), 0)?,
        }
    }
    Ok((out.array, out.subjects))
}
