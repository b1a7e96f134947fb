//! The manager as JavaScript sees it: the engine, one short method per call. The JavaScript side checks types and
//! ids before it calls; what gets here all the same ends in a clean error.

use std::sync::Arc;
use std::time::Duration;

use napi::bindgen_prelude::{Array, Either, FnArgs, Function, Result, Uint8ArraySlice, Unknown, Utf16String};
use napi::{Env, Error, Status};
use napi_derive::napi;
use parking_lot::Mutex;

use super::batch::{self, Collect, NativeInfo};
use super::bridge::NativeBridge;
use super::options::{self, Environment};
use super::outcome::{Outcome, outcome};
use super::protocol::flag::{CUT, REPORT, TLS, TRUSTED};
use super::raise::{throw, throw_error};
use super::teardown::end_with;
use super::text;
use super::wake::notifier;
use crate::engine::auth::{Identity, parse_id};
use crate::engine::broker::{Channel, Reply};
use crate::engine::config::Auth;
use crate::engine::error::{self, Code};
use crate::engine::events::Interest;
use crate::engine::frame::Message;
use crate::engine::handle::Handle;
use crate::engine::handshake::{HeaderLines, Own, Refusal, RequestHead};
use crate::engine::{Admission, Engine, Taken, Upgrade, denial};

type Data<'a> = Either<String, Uint8ArraySlice<'a>>;

fn message<'a>(data: &'a Data<'_>) -> Message<'a> {
    match data {
        Either::A(text) => Message::Text(text),
        Either::B(bytes) => Message::Binary(bytes),
    }
}

/// Who a client is, as `authenticate` and `handleUpgrade` say it.
#[napi(object)]
pub struct NativeIdentity {
    /// The user.
    pub user_id: String,
    /// Rooms to be in from the beginning.
    pub rooms: Option<Vec<String>>,
    /// When the connection has to end, in Unix milliseconds.
    pub expires_at: Option<f64>,
    /// Subprotocol, one that was offered.
    pub protocol: Option<String>,
    /// Names and values of headers of the 101, by turns.
    pub headers: Option<Vec<String>>,
}

/// How `authenticate` refuses a client by itself.
#[napi(object)]
pub struct NativeRefusal {
    /// HTTP status, 400 to 599.
    pub status: u32,
    /// Code that the client is told.
    pub code: String,
    /// Sentence that the client is told.
    pub reason: String,
    /// Close code, 4000 to 4999.
    pub close_code: u32,
    /// Names and values of headers of the answer, by turns.
    pub headers: Vec<String>,
}

impl From<NativeRefusal> for Refusal {
    fn from(refusal: NativeRefusal) -> Self {
        let NativeRefusal { status, code, reason, close_code, headers } = refusal;
        let own = Own { code, close_code: close_code as u16, headers: lines(&headers) };
        Refusal::own(status as u16, own, reason)
    }
}

fn lines(headers: &[String]) -> HeaderLines {
    let mut lines = HeaderLines::default();
    headers.as_chunks().0.iter().for_each(|[name, value]| lines.push(name, value));
    lines
}

impl NativeIdentity {
    fn parse(self, env: &Env) -> Result<Admission> {
        let check = |text: &str| {
            parse_id(text).map_err(|error| throw(env, Code::InvalidIdentity, &format!("an id {error}")))
        };
        let rooms = self.rooms.unwrap_or_default();
        let identity = Identity {
            user_id: check(&self.user_id)?,
            rooms: rooms.iter().map(|room| check(room)).collect::<Result<_>>()?,
            data: None,
            expires_at: self.expires_at.map(|at| at.max(0.0) as u64),
        };
        let headers = lines(&self.headers.unwrap_or_default());
        Ok(Admission { identity, protocol: self.protocol.map(Into::into), headers })
    }
}

/// What became of an upgrade on the spot.
#[napi(object, object_from_js = false)]
pub struct NativeTicket {
    /// Number under which events speak of it.
    pub ticket: f64,
    /// Whether `authenticated` has to be called.
    pub authenticate: bool,
    /// The client's address.
    pub remote_address: String,
    /// The bridge, if the socket had no descriptor.
    pub bridge: Option<NativeBridge>,
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

    /// Whether other servers are reached through Redis.
    #[napi(getter, catch_unwind)]
    pub fn has_redis(&self) -> bool {
        self.engine.config().redis.is_on()
    }

    /// Most rooms of an identity.
    #[napi(getter, catch_unwind)]
    pub fn max_rooms(&self) -> u32 {
        self.engine.config().limits.rooms_per_connection as u32
    }

    /// Who decides who may connect.
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

    /// Takes the socket of an upgrade: the request's head as [`RequestHead::parse_joined`] reads it, what came behind it, the
    /// socket's descriptor or -1 for a bridge, who is at its other end, [`REPORT`], [`TRUSTED`], [`TLS`] and [`CUT`], and
    /// with [`TRUSTED`] the identity.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments, reason = "one crossing per upgrade, and an object would cost more")]
    pub fn upgrade(
        &self,
        env: Env,
        head: String,
        first: Option<Uint8ArraySlice<'_>>,
        fd: i32,
        peer_address: String,
        flags: u32,
        identity: Option<NativeIdentity>,
    ) -> Result<NativeTicket> {
        let Some(head) = RequestHead::parse_joined(&head) else {
            return Err(throw(&env, Code::Handover, "the request's head can't be read"));
        };
        let admission = match identity {
            Some(identity) if flags & TRUSTED != 0 => Some(identity.parse(&env)?),
            _ => None,
        };
        let (taken, bridge) = if fd < 0 {
            let bridge = self.engine.bridge();
            (Taken::bridge(bridge.clone()), Some(NativeBridge::new(bridge)))
        } else {
            let taken = Taken::duplicate(fd).map_err(|error| {
                self.engine.count_refused(Code::Handover);
                throw(&env, Code::Handover, &format!("can't take the socket: {error}"))
            })?;
            (taken, None)
        };
        let upgrade = Upgrade {
            head,
            first: first.map(|bytes| bytes.to_vec()).unwrap_or_default(),
            remote: peer_address,
            tls: flags & TLS != 0,
            is_cut: flags & CUT != 0,
            report: flags & REPORT != 0,
            admission,
        };
        let ticket = self.engine.upgrade(taken, upgrade).map_err(|error| throw_error(&env, &error))?;
        Ok(NativeTicket {
            ticket: ticket.number as f64,
            authenticate: ticket.ask,
            remote_address: ticket.remote,
            bridge,
        })
    }

    /// Notes that an upgrade was refused without us: its head as for [`Self::upgrade`], the peer's address, a code of
    /// ours, and what the client was told.
    #[napi(catch_unwind)]
    pub fn refused(&self, head: String, peer_address: String, code: String, message: String) {
        if let (Some(head), Some(code)) = (RequestHead::parse_joined(&head), Code::parse(&code)) {
            self.engine.note_refusal(&head, peer_address, code, message);
        }
    }

    /// Says who the client of an upgrade is, or how it is refused: by a code of ours, or as the application says. False: too late.
    #[napi(catch_unwind)]
    pub fn authenticated(
        &self,
        env: Env,
        ticket: f64,
        identity: Option<NativeIdentity>,
        refusal: Option<Either<String, NativeRefusal>>,
    ) -> Result<bool> {
        let answer = match (identity, refusal) {
            (Some(identity), _) => Ok(identity.parse(&env)?),
            (None, Some(Either::B(refusal))) => Err(refusal.into()),
            (None, Some(Either::A(code))) => Err(denial(Code::parse(&code).unwrap_or(Code::Unauthorized))),
            (None, None) => Err(denial(Code::Unauthorized)),
        };
        Ok(self.engine.settle(ticket as u64, answer))
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
            let text = text::from_utf16(&text);
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

    /// Whether a connection is open: registered, and not asked to close.
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

    /// Publishes to a user. Strict: to nobody unless every server can be reached.
    #[napi(catch_unwind)]
    pub fn send_to_user(&self, env: Env, user_id: String, data: Data<'_>, strict: bool) -> Result<Outcome> {
        answer(&env, self.engine.publish(Channel::User(&user_id), message(&data), strict))
    }

    /// Publishes to a room.
    #[napi(catch_unwind)]
    pub fn send_to_room(&self, env: Env, room: String, data: Data<'_>, strict: bool) -> Result<Outcome> {
        answer(&env, self.engine.publish(Channel::Room(&room), message(&data), strict))
    }

    /// Publishes to everyone.
    #[napi(catch_unwind)]
    pub fn broadcast(&self, env: Env, data: Data<'_>, strict: bool) -> Result<Outcome> {
        answer(&env, self.engine.publish(Channel::Everyone, message(&data), strict))
    }

    /// Publishes on a channel of the application's own; how many subscribers were handed it.
    #[napi(catch_unwind)]
    pub fn publish(&self, env: Env, channel: String, payload: String) -> Result<Outcome> {
        answer(&env, self.engine.publish_raw(&channel, payload.as_bytes()))
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

    /// Closes a user's connections on all servers.
    #[napi(catch_unwind)]
    pub fn disconnect_user(
        &self,
        env: Env,
        user_id: String,
        code: u32,
        reason: String,
        strict: bool,
    ) -> Result<Outcome> {
        answer(&env, self.engine.disconnect_user(&user_id, code as u16, &reason, strict))
    }

    /// On how many servers a user has a connection, at most.
    #[napi(catch_unwind)]
    pub fn is_online(&self, env: Env, user_id: String) -> Result<Outcome> {
        answer(&env, self.engine.is_online(&user_id))
    }

    /// Counts the connections of a user, or all, on all servers.
    #[napi(catch_unwind)]
    pub fn count(&self, env: Env, user_id: Option<String>) -> Result<Outcome> {
        answer(&env, self.engine.count(user_id.as_deref()))
    }

    /// Comes to null when the broker is up.
    #[napi(catch_unwind)]
    pub fn ready(&self, env: Env) -> Result<Outcome> {
        answer(&env, self.engine.ready())
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

fn answer(env: &Env, reply: std::result::Result<Reply, error::Error>) -> Result<Outcome> {
    reply.map(outcome).map_err(|error| throw_error(env, &error))
}

fn ids(handles: &[Arc<Handle>]) -> Vec<f64> {
    let mut ids: Vec<f64> = handles.iter().map(|handle| handle.id as f64).collect();
    ids.sort_unstable_by(f64::total_cmp);
    ids
}
