//! One connection of a manager, by its id.

use auth::parse_id;
use codes::error::Code;
use napi::Env;
use napi::bindgen_prelude::{FnArgs, Function, Result, Utf16String};
use napi_derive::napi;
use protocol::frame::Message;

use super::{Data, NativeManager, message};
use crate::binding::batch::{self, NativeInfo};
use crate::binding::throw::{throw, throw_error};
use crate::binding::utf16;
use crate::engine::Answered;

#[napi]
impl NativeManager {
    /// Queues a message to one connection; whether it was queued.
    #[napi(catch_unwind)]
    pub fn send(&self, env: Env, id: f64, data: Data<'_>) -> Result<bool> {
        self.engine.send(id as u64, message(&data)).map_err(|error| throw_error(&env, &error))
    }

    /// `send` for text alone, which is most of what is sent, as a function by itself: a method looks for its object in
    /// what JavaScript calls it on, and holds it for the length of the call, which costs more than the message.
    #[napi(catch_unwind, ts_return_type = "(id: number, text: string) => boolean")]
    pub fn text_sender<'env>(
        &self,
        env: &'env Env,
    ) -> Result<Function<'env, FnArgs<(f64, Utf16String)>, bool>> {
        let engine = self.engine.clone();
        env.create_function_from_closure("sendText", move |call| {
            let (id, text): (f64, Utf16String) = call.args()?;
            let text = utf16::from_utf16(&text);
            engine.send(id as u64, Message::Text(&text)).map_err(|error| throw_error(call.env, &error))
        })
    }

    /// Closes one connection. 1005: without a code.
    #[napi(catch_unwind)]
    pub fn close(&self, id: f64, code: u32, reason: String) {
        if let Some(handle) = self.engine.get(id as u64) {
            handle.close(code as u16, &reason);
        }
    }

    /// Ends one connection without a close handshake, also one that is closing.
    #[napi(catch_unwind)]
    pub fn terminate(&self, id: f64) {
        if let Some(handle) = self.engine.find(id as u64) {
            handle.terminate();
        }
    }

    /// Pings the client of one connection; whether that was queued.
    #[napi(catch_unwind)]
    pub fn ping(&self, id: f64, data: Data<'_>) -> bool {
        self.engine.ping(id as u64, message(&data).payload())
    }

    /// Has one connection not read until `resume`.
    #[napi(catch_unwind)]
    pub fn pause(&self, id: f64) {
        if let Some(handle) = self.engine.get(id as u64) {
            handle.halt();
        }
    }

    /// Has it read again.
    #[napi(catch_unwind)]
    pub fn resume(&self, id: f64) {
        if let Some(handle) = self.engine.get(id as u64) {
            handle.go_on();
        }
    }

    /// Notes that the application has dealt with a connection's beginning: see `Engine::greeted`.
    #[napi(catch_unwind)]
    pub fn greeted(&self, id: f64) {
        self.engine.greeted(id as u64);
    }

    /// Says of the message with this ticket that it was taken.
    #[napi(catch_unwind)]
    pub fn taken(&self, ticket: f64) {
        // Only data can be too large.
        let _ = self.engine.answer(ticket as u64, Answered::Taken);
    }

    /// Says of the message with this ticket that nobody took it, because its connection is gone.
    #[napi(catch_unwind)]
    pub fn dropped(&self, ticket: f64) {
        let _ = self.engine.answer(ticket as u64, Answered::Dropped);
    }

    /// Refuses the message with this ticket.
    #[napi(catch_unwind)]
    pub fn refuse(&self, ticket: f64, code: String, message: String) {
        let _ = self.engine.answer(ticket as u64, Answered::Refused { code: &code, message: &message });
    }

    /// Answers the request with this ticket.
    #[napi(catch_unwind)]
    pub fn reply(&self, env: Env, ticket: f64, data: Data<'_>) -> Result<()> {
        let answer = Answered::Reply(message(&data));
        self.engine.answer(ticket as u64, answer).map_err(|error| throw_error(&env, &error))
    }

    /// True if a connection is open: registered, and not asked to close.
    #[napi(catch_unwind)]
    pub fn is_open(&self, id: f64) -> bool {
        self.engine.get(id as u64).is_some_and(|handle| handle.is_open())
    }

    /// Puts a connection into a room.
    #[napi(catch_unwind)]
    pub fn join(&self, env: Env, id: f64, room: String) -> Result<()> {
        let room =
            parse_id(&room).map_err(|error| throw(&env, Code::InvalidArg, &format!("room {error}")))?;
        self.engine.join(id as u64, &room).map_err(|error| throw_error(&env, &error))
    }

    /// Takes a connection out of a room.
    #[napi(catch_unwind)]
    pub fn leave(&self, id: f64, room: String) {
        self.engine.leave(id as u64, &room);
    }

    /// Describes a connection that is open, or that the latest batch speaks of.
    #[napi(catch_unwind)]
    pub fn describe(&self, id: f64) -> Option<NativeInfo> {
        let id = id as u64;
        let subject = || self.subjects.lock().iter().find(|handle| handle.id == id).cloned();
        self.engine.get(id).or_else(subject).map(|handle| batch::describe(&self.engine, &handle))
    }

    /// The rooms a connection is in.
    #[napi(catch_unwind)]
    pub fn rooms(&self, id: f64) -> Vec<String> {
        self.engine.rooms_of(id as u64).iter().map(ToString::to_string).collect()
    }

    /// Bytes not yet handed to the kernel. If there are any, DRAIN tells when there are none.
    #[napi(catch_unwind)]
    pub fn buffered_amount(&self, id: f64) -> f64 {
        self.engine.find(id as u64).map_or(0.0, |handle| handle.watch_buffered() as f64)
    }

    /// JavaScript holds an object for the connection from now on. False: it is gone.
    #[napi(catch_unwind)]
    pub fn mark_seen(&self, id: f64) -> bool {
        self.engine.get(id as u64).is_some_and(|handle| {
            handle.mark_seen();
            handle.is_open()
        })
    }
}
