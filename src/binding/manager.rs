//! The manager as JavaScript sees it: the engine, one short method per call. The JavaScript side checks types and
//! ids before it calls; what gets here all the same ends in a clean error.

use std::sync::Arc;
use std::time::Duration;

use napi::bindgen_prelude::{Array, Either, Function, Result, Uint8ArraySlice, Unknown};
use napi::{Env, Error, Status};
use napi_derive::napi;
use parking_lot::Mutex;
use protocol::frame::Message;

use super::batch::{self, Collect};
use super::notify::notifier;
use super::options::{self, Environment};
use super::teardown::end_with;
use super::throw::throw_error;
use crate::engine::Engine;
use crate::engine::config::Auth;
use crate::events::Interest;
use crate::registry::recipients::Channel;
use crate::worker::handle::Handle;

mod connection;
mod history;
mod servers;
mod upgrade;

type Data<'a> = Either<String, Uint8ArraySlice<'a>>;

fn message<'a>(data: &'a Data<'_>) -> Message<'a> {
    match data {
        Either::A(text) => Message::Text(text),
        Either::B(bytes) => Message::Binary(bytes),
    }
}

/// An engine, owned by the JavaScript environment that made it.
#[napi]
pub struct NativeManager {
    engine: Arc<Engine>,
    /// The connections that the latest batch speaks of, so that `describe` knows them also after their end.
    subjects: Mutex<Vec<Arc<Handle>>>,
}

#[napi]
impl NativeManager {
    /// Starts an engine, for a manager with a server or without one (`serverless`). `wake` is called on the JavaScript thread when `drain` has something; it does not
    /// keep the event loop alive.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        env: Env,
        options: Unknown<'_>,
        jwt_secret: Option<String>,
        redis_url: Option<String>,
        memory: f64,
        serverless: bool,
        wake: Function<'_, (), ()>,
    ) -> Result<Self> {
        let environment = Environment { jwt_secret, redis_url, memory: Some(memory as u64), serverless };
        let config = options::parse(&env, options, environment)?;
        let engine = Engine::start(config, notifier(wake)?).map_err(|error| throw_error(&env, &error))?;
        let engine = Arc::new(engine);
        let weak = Arc::downgrade(&engine);
        end_with(&env, weak)?;
        Ok(NativeManager { engine, subjects: Mutex::default() })
    }

    /// Name within the process.
    #[napi(getter, catch_unwind)]
    pub fn name(&self) -> String {
        self.engine.config().name.clone()
    }

    /// Pathname of the upgrades to take.
    #[napi(getter, catch_unwind)]
    pub fn path(&self) -> String {
        self.engine.config().path.clone()
    }

    /// True if other servers are reached through Redis.
    #[napi(getter, catch_unwind)]
    pub fn has_redis(&self) -> bool {
        self.engine.config().redis.is_on()
    }

    /// Most rooms of an identity.
    #[napi(getter, catch_unwind)]
    pub fn max_rooms(&self) -> u32 {
        self.engine.config().limits.rooms_per_connection as u32
    }

    /// Name of the way in which clients are let in.
    #[napi(getter, catch_unwind)]
    pub fn auth_mode(&self) -> &'static str {
        match self.engine.config().auth {
            Auth::Anonymous => "anonymous",
            Auth::Jwt(_) => "jwt",
            Auth::Callback => "authenticate",
            Auth::Nobody => "nobody",
        }
    }

    /// Sets which kinds of events cross.
    #[napi(catch_unwind)]
    pub fn set_interest(&self, bits: u32) {
        self.engine.set_interest(Interest(bits as u8));
    }

    /// A batch of at most `max` events, as `collect` makes an array of it; null: there is nothing left.
    /// Sends from here on go out with `flush`.
    #[napi(catch_unwind, ts_args_type = "collect: (...values: unknown[]) => unknown[], max: number")]
    pub fn drain<'env>(
        &self,
        env: &'env Env,
        collect: Collect<'env>,
        max: u32,
    ) -> Result<Option<Array<'env>>> {
        let events = self.engine.drain(max as usize);
        if events.is_empty() {
            self.subjects.lock().clear();
            return Ok(None);
        }
        // Out of memory, or the environment is going: nobody will flush.
        let (batch, subjects) =
            batch::write(env, &collect, &self.engine, events).inspect_err(|_| self.engine.flush())?;
        *self.subjects.lock() = subjects;
        Ok(Some(batch))
    }

    /// Lets go what was sent since `drain`.
    #[napi(catch_unwind)]
    pub fn flush(&self) {
        self.engine.flush();
    }

    /// Sends to a user's connections here; how many.
    #[napi(catch_unwind)]
    pub fn local_send_to_user(&self, env: Env, user_id: String, data: Data<'_>) -> Result<u32> {
        self.deliver_local(&env, Channel::User(&user_id), &data)
    }

    /// Sends to all connections here; how many.
    #[napi(catch_unwind)]
    pub fn local_broadcast(&self, env: Env, data: Data<'_>) -> Result<u32> {
        self.deliver_local(&env, Channel::Everyone, &data)
    }

    fn deliver_local(&self, env: &Env, channel: Channel<'_>, data: &Data<'_>) -> Result<u32> {
        self.engine.deliver_local(channel, message(data)).map_err(|error| throw_error(env, &error))
    }

    /// Number of connections.
    #[napi(catch_unwind)]
    pub fn size(&self) -> u32 {
        self.engine.len() as u32
    }

    /// Number of users.
    #[napi(catch_unwind)]
    pub fn user_count(&self) -> u32 {
        self.engine.user_count() as u32
    }

    /// Ids of all users.
    #[napi(catch_unwind)]
    pub fn users(&self) -> Vec<String> {
        self.engine.users().iter().map(ToString::to_string).collect()
    }

    /// Ids of all connections.
    #[napi(catch_unwind)]
    pub fn ids(&self) -> Vec<f64> {
        ids(&self.engine.members(Channel::Everyone))
    }

    /// Ids of a user's connections.
    #[napi(catch_unwind)]
    pub fn ids_of_user(&self, user_id: String) -> Vec<f64> {
        ids(&self.engine.members(Channel::User(&user_id)))
    }

    /// Ids of a room's connections.
    #[napi(catch_unwind)]
    pub fn ids_in_room(&self, room: String) -> Vec<f64> {
        ids(&self.engine.members(Channel::Room(&room)))
    }

    /// All counters, as JSON.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> Result<String> {
        serde_json::to_string(&self.engine.stats())
            .map_err(|error| Error::new(Status::GenericFailure, error.to_string()))
    }

    /// Closes everything; CLOSED tells when it is done.
    #[napi(catch_unwind)]
    pub fn shutdown(&self, drain_ms: f64, code: u32, reason: String) {
        let drain = Duration::from_millis(drain_ms.clamp(0.0, 86_400_000.0) as u64);
        self.engine.shutdown(drain, code as u16, &reason);
    }
}

fn ids(handles: &[Arc<Handle>]) -> Vec<f64> {
    let mut ids: Vec<f64> = handles.iter().map(|handle| handle.id as f64).collect();
    ids.sort_unstable_by(f64::total_cmp);
    ids
}
