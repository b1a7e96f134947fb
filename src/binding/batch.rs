//! Events on their way to JavaScript. A batch is an array: first a string that holds the numbers of all events
//! (`kind, id, number`, as UTF-16 units), then what each event carries. An object per event, or a value per number, would
//! cost more than all else that an event does. The array is made by JavaScript, from what it is called with: to set an
//! element from here costs more than to make the string that it is set to.

use std::collections::VecDeque;
use std::sync::Arc;

use codes::error::Error;
use napi::bindgen_prelude::{Array, Buffer, Function, JsValuesTupleIntoVec, Result, ToNapiValue};
use napi::{Env, JsValue, sys};
use napi_derive::napi;
use subprotocol::server_message::Body;

use super::constants::kind::*;
use super::history::{NativeHistoryPage, missed};
use super::outcome::{NativeBrokerStatus, NativeConnectionCount, NativeDelivery};
use crate::engine::Engine;
use crate::events::{Asked, AskedKind, Event, RefusedUpgrade};
use crate::outcome::Answer;
use crate::worker::bridge::Signal;
use crate::worker::handle::Handle;

/// The part of a connection that doesn't change over its life.
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
    /// The part of the request that is kept: `target\nname\nvalue\nname\nvalue…`.
    pub request: Option<String>,
    /// Public id.
    pub key: String,
}

/// Describes a connection of the engine's.
pub(super) fn describe(engine: &Engine, handle: &Handle) -> NativeInfo {
    NativeInfo {
        user_id: handle.user.to_string(),
        protocol: handle.peer.protocol.to_string(),
        remote_address: handle.peer.remote().to_owned(),
        data: handle.peer.data.as_deref().map(str::to_owned),
        request: handle.peer.request().map(str::to_owned),
        key: engine.public_id(handle.id),
    }
}

/// UTF-16 units of an event in the string of numbers: one for the kind, three each for the id and the number.
const UNITS: usize = 7;
/// The largest number that three units hold.
const MAX_NUMBER: u64 = (1 << 48) - 1;

/// The values of a batch.
pub struct Values(Vec<sys::napi_value>);

impl JsValuesTupleIntoVec for Values {
    fn into_vec(self, _env: sys::napi_env) -> Result<Vec<sys::napi_value>> {
        Ok(self.0)
    }
}

/// JavaScript's `(...values) => values`.
pub(super) type Collect<'env> = Function<'env, Values, Array<'env>>;

struct BatchWriter<'env> {
    env: &'env Env,
    values: Vec<sys::napi_value>,
    numbers: Vec<u16>,
    subjects: Vec<Arc<Handle>>,
}

impl BatchWriter<'_> {
    /// Keeps the connection of an event, unless it is that of the one before too.
    fn about(&mut self, handle: Arc<Handle>) {
        if self.subjects.last().is_none_or(|last| !Arc::ptr_eq(last, &handle)) {
            self.subjects.push(handle);
        }
    }

    fn put(&mut self, kind: u16, id: u64, number: u64, payload: impl ToNapiValue) -> Result<()> {
        let payload = payload.into_unknown(self.env)?;
        self.put_raw(kind, id, number, payload.raw());
        Ok(())
    }

    fn put_raw(&mut self, kind: u16, id: u64, number: u64, payload: sys::napi_value) {
        let number = number.min(MAX_NUMBER);
        self.numbers.extend([
            kind,
            id as u16,
            (id >> 16) as u16,
            (id >> 32) as u16,
            number as u16,
            (number >> 16) as u16,
            (number >> 32) as u16,
        ]);
        self.values.push(payload);
    }

    /// Most texts are ASCII, which V8 copies as it is where it need not look for more.
    fn put_text(&mut self, id: u64, text: &str) -> Result<()> {
        let text = if text.is_ascii() {
            self.env.create_string_latin1(text)?
        } else {
            self.env.create_string(text)?
        };
        self.put_raw(TEXT, id, 0, text.raw());
        Ok(())
    }

    /// The message, and its name.
    fn put_asked(
        &mut self,
        id: u64,
        ticket: u64,
        kind: AskedKind,
        data: Body,
        message_id: String,
    ) -> Result<()> {
        let kind = match kind {
            AskedKind::Message => SEND,
            AskedKind::Request => REQUEST,
            AskedKind::Join => JOIN,
            AskedKind::Leave => LEAVE,
        };
        let data = match data {
            Body::Text(text) => text.into_unknown(self.env)?,
            Body::Binary(bytes) => Buffer::from(bytes).into_unknown(self.env)?,
        };
        self.put(kind, id, ticket, vec![data, message_id.into_unknown(self.env)?])
    }

    /// The code and, behind a space, the message.
    fn put_error(&mut self, kind: u16, number: u64, error: &Error) -> Result<()> {
        self.put(kind, 0, number, format!("{} {}", error.code(), error.message))
    }

    fn put_answer(&mut self, ticket: u64, answer: Answer) -> Result<()> {
        match answer {
            Answer::Delivery(delivery) => self.put(SETTLED, 0, ticket, NativeDelivery::from(delivery)),
            Answer::Repeated(position) => self.put(SETTLED, 0, ticket, NativeDelivery::repeated(position)),
            Answer::Number(number) => self.put(SETTLED, 0, ticket, number as f64),
            Answer::ConnectionCount(census) => {
                self.put(SETTLED, 0, ticket, NativeConnectionCount::from(census))
            }
            Answer::History(page) => self.put(SETTLED, 0, ticket, NativeHistoryPage::from(*page)),
            Answer::Done => self.put(SETTLED, 0, ticket, ()),
        }
    }

    /// Events that speak of no connection.
    fn put_other(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Settled { ticket, result: Ok(answer) } => self.put_answer(ticket, answer)?,
            Event::Settled { ticket, result: Err(error) } => self.put_error(FAILED, ticket, &error)?,
            Event::Broker(status) => self.put(BROKER, 0, 0, NativeBrokerStatus::from(status))?,
            Event::Missed { topic, missed: what } => self.put(MISSED, 0, 0, missed(topic, what))?,
            Event::Channel { channel, payload } => {
                self.put(CHANNEL, 0, 0, vec![channel, payload])?;
            }
            Event::Refusal(refusal) => {
                let RefusedUpgrade { code, message, url, remote, origin } = *refusal;
                let told = [Some(code), Some(message), Some(url), Some(remote), origin];
                self.put(REFUSAL, 0, 0, told.to_vec())?;
            }
            Event::Forbidden { channel, error } => {
                self.put(FORBIDDEN, 0, 0, vec![channel, error.code().to_owned(), error.message])?;
            }
            Event::Problem(error) => self.put_error(PROBLEM, 0, &error)?,
            Event::Refused { ticket, code, message } => {
                self.put(REFUSED, 0, ticket, format!("{code} {message}"))?;
            }
            Event::Closed => self.put(CLOSED, 0, 0, ())?,
            Event::Bridge { id, signal: Signal::Readable } => self.put(BRIDGE_READABLE, id, 0, ())?,
            Event::Bridge { id, signal: Signal::Drain } => self.put(BRIDGE_DRAIN, id, 0, ())?,
            Event::Bridge { id, signal: Signal::Question } => self.put(BRIDGE_QUESTION, id, 0, ())?,
            Event::Bridge { id, signal: Signal::End { abort, refused } } => {
                self.put(BRIDGE_END, id, u64::from(abort) | u64::from(refused) << 1, ())?;
            }
            Event::Open { .. }
            | Event::Text { .. }
            | Event::Binary { .. }
            | Event::Asked { .. }
            | Event::Pong { .. }
            | Event::Drain { .. }
            | Event::Close { .. }
            | Event::Slow { .. }
            | Event::Upgraded { .. } => {}
        }
        Ok(())
    }
}

impl<'env> BatchWriter<'env> {
    fn new(env: &'env Env, events: usize) -> Self {
        // The first is the string of numbers.
        let mut values = Vec::with_capacity(events + 1);
        values.push(std::ptr::null_mut());
        BatchWriter { env, values, numbers: Vec::with_capacity(events * UNITS), subjects: Vec::new() }
    }

    fn finish(mut self, collect: &Collect<'env>) -> Result<(Array<'env>, Vec<Arc<Handle>>)> {
        self.values[0] = self.env.create_string_utf16(&self.numbers)?.raw();
        Ok((collect.call(Values(self.values))?, self.subjects))
    }
}

/// Writes a batch. With it come the connections that it speaks of without describing them: JavaScript may not know
/// them yet, and they may be gone from the registry.
pub(super) fn write<'env>(
    env: &'env Env,
    collect: &Collect<'env>,
    engine: &Engine,
    events: VecDeque<Event>,
) -> Result<(Array<'env>, Vec<Arc<Handle>>)> {
    let mut out = BatchWriter::new(env, events.len());
    for event in events {
        match event {
            Event::Text { handle, text } => {
                out.put_text(handle.id, &text)?;
                out.about(handle);
            }
            Event::Binary { handle, bytes } => {
                out.put(BINARY, handle.id, 0, Buffer::from(bytes))?;
                out.about(handle);
            }
            Event::Asked { handle, asked } => {
                let Asked { kind, data, message_id, receipt } = *asked;
                let ticket = engine.hold(receipt);
                out.put_asked(handle.id, ticket, kind, data, message_id)?;
                out.about(handle);
            }
            Event::Pong { handle, bytes } => {
                out.put(PONG, handle.id, 0, Buffer::from(bytes))?;
                out.about(handle);
            }
            Event::Drain { handle } => {
                out.put(DRAIN, handle.id, 0, ())?;
                out.about(handle);
            }
            Event::Open { handle, ticket } => {
                out.put(OPEN, handle.id, ticket, describe(engine, &handle))?;
            }
            Event::Close { handle, code, reason, by } => {
                out.put(CLOSE, handle.id, u64::from(code) | (by as u64) << 16, String::from(reason))?;
                out.about(handle);
            }
            Event::Slow { handle, dropped } => {
                out.put(SLOW, handle.id, dropped.bytes, dropped.messages as f64)?;
                out.about(handle);
            }
            Event::Upgraded { handle, ticket } => {
                out.put(UPGRADED, handle.id, ticket, describe(engine, &handle))?;
            }
            other => out.put_other(other)?,
        }
    }
    out.finish(collect)
}

/// Writes a batch of events that speak of no connection.
pub(super) fn write_unconnected<'env>(
    env: &'env Env,
    collect: &Collect<'env>,
    events: VecDeque<Event>,
) -> Result<Array<'env>> {
    let mut out = BatchWriter::new(env, events.len());
    events.into_iter().try_for_each(|event| out.put_other(event))?;
    Ok(out.finish(collect)?.0)
}
