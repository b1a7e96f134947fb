//! The upgrades of a manager: which are taken, and who their clients are.

use auth::{Identity, parse_id};
use codes::error::Code;
use http::{HeaderLines, Own, Refusal, RequestHead};
use napi::Env;
use napi::bindgen_prelude::{Either, Result, Uint8ArraySlice};
use napi_derive::napi;

use super::NativeManager;
use crate::binding::bridge::NativeBridge;
use crate::binding::constants::flag::{CUT, REPORT, TLS, TRUSTED};
use crate::binding::throw::{throw, throw_error};
use crate::engine::{Admission, Taken, Upgrade, denial};
use crate::worker::client_session::IdentifiedBy;

/// The identity of a client, as `authenticate` and `handleUpgrade` say it.
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

/// A refusal of `authenticate`'s own.
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
        Ok(Admission {
            identity,
            protocol: self.protocol.map(Into::into),
            headers,
            identified_by: IdentifiedBy::Embedder,
        })
    }
}

/// The immediate result of an upgrade.
#[napi(object, object_from_js = false)]
pub struct NativeTicket {
    /// Number under which events speak of it.
    pub ticket: f64,
    /// True if `authenticated` has to be called.
    pub authenticate: bool,
    /// The client's address.
    pub remote_address: String,
    /// The bridge, if the socket had no descriptor.
    pub bridge: Option<NativeBridge>,
}

#[napi]
impl NativeManager {
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
}
