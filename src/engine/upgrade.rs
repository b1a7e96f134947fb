//! An upgrade: from a socket that was taken over, with the head of its request, to an open connection or a refusal.
//!
//! Runs as a task on the worker that will own the connection. Everything before the 101 is under one deadline.
//! Nothing is read from the socket meanwhile: early frames wait in the kernel.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use auth::Identity;
use auth::token::BearerToken;
use codes::error::{Code, Error};
use http::{Accept, HeaderLines, Refusal, RequestHead};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::config::Auth;
use super::verification::verify;
use super::{Engine, closed, conversation};
use crate::events::{Event, Interest};
use crate::random_name::random_name;
use crate::worker::bridge::{Bridge, Carrier};
use crate::worker::client_session::{ClientSession, IdentifiedBy};
use crate::worker::connection::Connection;
use crate::worker::handle::{Handle, Peer};
use crate::worker::inbox::Inbox;
use crate::worker::limiter::Permit;
use crate::worker::outgoing::Encoding;
use crate::worker::registration::Registration;
use crate::worker::socket::{LINGER, Taken};
use visitor::{Visitor, examine, refusal_of, report_refusal};

mod visitor;

/// An upgrade request, as it comes from Node.
#[derive(Debug)]
pub struct Upgrade {
    /// The request.
    pub head: RequestHead,
    /// Bytes that the client sent after its head.
    pub first: Vec<u8>,
    /// The peer's address; `unix:` for a Unix-domain socket, empty if there is none. [`Engine::upgrade`] makes it the
    /// client's.
    pub remote: String,
    /// True if the peer's connection is TLS. [`Engine::upgrade`] makes it the client's.
    pub tls: bool,
    /// True if the embedder may have dropped some of its headers. It is refused then: one of those might say otherwise.
    pub is_cut: bool,
    /// True if an [`Event::Upgraded`] or [`Event::Refused`] shall tell the outcome.
    pub report: bool,
    /// The client's identity, if the embedder knows it already.
    pub admission: Option<Admission>,
}

/// A client that is let in, and what the embedder adds to its 101.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The client's identity.
    pub identity: Identity,
    /// The subprotocol, which the client must have offered; `None`: by the configuration.
    pub protocol: Option<Box<str>>,
    /// Further headers.
    pub headers: HeaderLines,
    /// The one who said so.
    pub identified_by: IdentifiedBy,
}

impl From<Identity> for Admission {
    fn from(identity: Identity) -> Self {
        Admission {
            identity,
            protocol: None,
            headers: HeaderLines::default(),
            identified_by: IdentifiedBy::Embedder,
        }
    }
}

const LEFT: &str = "the client left during the handshake";

/// The immediate result of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Number under which events speak of it.
    pub number: u64,
    /// The embedder has to say who it is, with [`Engine::settle`].
    pub ask: bool,
    /// The client's address; empty if it has none or that isn't known.
    pub remote: String,
}

/// The embedder's answer for [`Auth::Callback`].
pub type Answer = Result<Admission, Refusal>;

/// The way to find out who the client is.
enum Who {
    Anyone,
    Bearer(Option<BearerToken>),
    Asked(oneshot::Receiver<Answer>),
    Known(Box<Admission>),
}

impl Engine {
    /// Takes an upgrade. Returns at once; the rest happens on a worker.
    ///
    /// # Errors
    /// `ERR_CLOSED` after [`Engine::shutdown`]. A request that is refused is no error here: the client is told.
    pub fn upgrade(&self, taken: Taken, mut upgrade: Upgrade) -> Result<Ticket, Error> {
        let inner = &self.inner;
        if inner.shutting_down.load(Ordering::Acquire) {
            inner.shared.count_refused(Code::ShuttingDown.as_str(), "", &upgrade.remote);
            return Err(closed());
        }
        let shared = &inner.shared;
        let config = &shared.config;
        let peer = http::Client { address: std::mem::take(&mut upgrade.remote), tls: upgrade.tls };
        let client = peer.behind(&upgrade.head, &config.trust_proxy, config.proxy_header);
        let remote = client.address;
        upgrade.tls = client.tls;
        let number = inner.last_ticket.fetch_add(1, Ordering::Relaxed) + 1;
        let first = std::mem::take(&mut upgrade.first);
        let (visitor, decision) = examine(shared, upgrade, remote.clone().into(), number);
        let ticket = Ticket { number, ask: matches!(decision, Ok(Who::Asked(_))), remote };
        let index = inner.next_worker.fetch_add(1, Ordering::Relaxed);
        let workers = inner.workers.lock();
        let Some(worker) = workers.get(index % workers.len().max(1)) else {
            visitor.forget();
            return Err(closed());
        };
        let refusal = match decision {
            Err(refusal) => refusal,
            Ok(who) => match shared.limiter.enter() {
                Some(permit) => {
                    let attempt = Attempt { visitor, inbox: worker.inbox.clone(), first, permit };
                    worker.runtime.spawn(attempt.run(taken, who));
                    return Ok(ticket);
                }
                None => {
                    visitor.forget();
                    Refusal::new(Code::TooManyConnections, "the server is full")
                }
            },
        };
        let answer = visitor.refuse(&refusal);
        match shared.limiter.linger() {
            Some(permit) => drop(worker.runtime.spawn(linger(taken, answer, permit))),
            None => taken.dismiss(&answer),
        }
        Ok(Ticket { ask: false, ..ticket })
    }

    /// Counts an upgrade that was refused before it got here.
    pub fn count_refused(&self, code: Code) {
        self.shared().count_refused(code.as_str(), "", "");
    }

    /// Counts an upgrade that was refused before it got here, and tells of it.
    pub fn note_refusal(&self, head: &RequestHead, remote: String, code: Code, message: String) {
        self.shared().count_refused(code.as_str(), &message, &remote);
        self.shared().events.push_refusal(|| refusal_of(head, remote, code, message));
    }

    /// Answers who the client of an upgrade is. False if that comes too late.
    pub fn settle(&self, ticket: u64, answer: Answer) -> bool {
        let asked = self.shared().asking.lock().remove(&ticket);
        asked.is_some_and(|asked| asked.send(answer).is_ok())
    }

    /// A bridge for an upgrade whose socket has no descriptor.
    pub fn bridge(&self) -> Arc<Bridge> {
        let events: Arc<dyn Carrier> = self.shared().events.clone();
        Bridge::new(self.shared().next_id(), Arc::downgrade(&events))
    }
}

/// An upgrade on its way.
struct Attempt {
    visitor: Visitor,
    inbox: Arc<Inbox>,
    first: Vec<u8>,
    permit: Permit,
}

impl Attempt {
    /// Runs to the end. The connection goes on by itself, and this task's memory is freed.
    async fn run(self, socket: Taken, who: Who) {
        let shared = self.visitor.shared.clone();
        let deadline = Instant::now() + shared.config.limits.handshake_timeout;
        let mut closing = shared.closing.subscribe();
        let outcome = tokio::select! {
            biased;
            who = self.identify(who) => who,
            _ = closing.wait_for(|closing| *closing) => Err(Refusal::new(Code::ShuttingDown, "the server is shutting down")),
            () = tokio::time::sleep_until(deadline) => Err(Refusal::new(Code::HandshakeTimeout, "the handshake took too long")),
            () = socket.closed_by_peer() => {
                self.visitor.report_refusal(Code::Handover.as_str(), LEFT);
                self.visitor.forget();
                return;
            }
        };
        self.visitor.forget();
        match outcome {
            Ok(admission) => Box::pin(self.open(socket, admission, deadline)).await,
            Err(refusal) => {
                let (answer, mut permit) = self.refuse(&refusal);
                if permit.linger() {
                    linger(socket, answer, permit).await;
                } else {
                    socket.dismiss(&answer);
                }
            }
        }
    }

    /// Refuses. Only what is left has to be kept while the client lingers.
    fn refuse(self, refusal: &Refusal) -> (Vec<u8>, Permit) {
        (self.visitor.refuse(refusal), self.permit)
    }

    async fn identify(&self, who: Who) -> Result<Admission, Refusal> {
        match who {
            Who::Known(admission) => Ok(*admission),
            Who::Anyone => Ok(anonymous()),
            Who::Bearer(token) => {
                let identity = self.verify(token).await?;
                Ok(Admission { identified_by: IdentifiedBy::Token, ..identity.into() })
            }
            Who::Asked(answer) => match answer.await {
                Ok(answer) => answer,
                Err(_) => Err(Refusal::new(Code::ShuttingDown, "the server is shutting down")),
            },
        }
    }

    async fn verify(&self, token: Option<BearerToken>) -> Result<Identity, Refusal> {
        let Auth::Jwt(verifier) = &self.visitor.shared.config.auth else {
            return Err(Refusal::new(Code::Internal, "no verifier"));
        };
        verify(verifier, token, &self.visitor.remote).await
    }

    async fn open(self, socket: Taken, admission: Admission, deadline: Instant) {
        // Given back last.
        let permit = self.permit;
        let Admission { identity, protocol, headers, identified_by } = admission;
        let Visitor { shared, ticket: id, report, remote, accept, request, session, .. } = self.visitor;
        let protocol = protocol.or_else(|| accept.as_ref().and_then(Accept::answer).map(Into::into));
        let mut response =
            accept.map_or_else(Vec::new, |accept| http::response_101(&accept, protocol.as_deref(), &headers));
        let protocol = protocol.unwrap_or_default();
        // The ticket's number stays with the connection, so that the embedder can tell at any time which upgrade it
        // came from.
        let peer = Peer::new(protocol, remote, request.as_deref(), identity.data);
        let mut handle = Handle::new(id, identity.user_id, peer, self.inbox);
        if handle.encoding() == Encoding::Enveloped {
            let name = session.unwrap_or_else(|| random_name().into());
            handle = handle.in_session(ClientSession::new(&name, identified_by));
        }
        let handle = Arc::new(handle);
        let report = report.then_some(id);
        let registration = Registration::begin(shared.clone(), handle.clone(), identity.expires_at);
        let socket = match socket.register(registration.token) {
            Ok(socket) => socket,
            Err(error) => {
                let message = format!("the socket can't be watched: {error}");
                shared.count_refused(Code::Handover.as_str(), &message, handle.peer.remote());
                return report_refusal(&shared, report, Code::Handover.as_str(), &message);
            }
        };
        // From here on it ends before the socket does, as in a connection.
        let mut registration = registration;
        // Registered before the client can know that it is connected: all messages to its user from the
        // moment it sees the connection open reach it.
        let places = shared.enroll(&handle, &identity.rooms, deadline).await;
        if handle.encoding() == Encoding::Enveloped {
            response.extend(conversation::hello(
                &handle,
                &shared.public_id(id),
                shared.config.heartbeat,
                &identity.rooms,
                &places,
                identity.expires_at.filter(|_| identified_by == IdentifiedBy::Token),
            ));
        }
        // The way to the client may be full of answers to earlier requests that it doesn't read.
        match tokio::time::timeout_at(deadline, socket.write_all(&response)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return report_refusal(&shared, report, Code::Handover.as_str(), LEFT),
            Err(_) => {
                let code = Code::HandshakeTimeout.as_str();
                const UNTAKEN: &str = "the client did not take the answer";
                shared.count_refused(code, UNTAKEN, handle.peer.remote());
                return report_refusal(&shared, report, code, UNTAKEN);
            }
        }
        registration.announced();
        tracing::debug!(id, remote = handle.peer.remote(), "connection opened");
        if let Some(ticket) = report {
            handle.mark_seen();
            shared.events.push(Event::Upgraded { handle: handle.clone(), ticket });
        }
        if report.is_none() && !shared.events.wants(Interest::CONNECTION) {
            handle.mark_greeted();
        }
        if shared.events.wants(Interest::CONNECTION) {
            handle.mark_seen();
            shared.events.push(Event::Open { handle, ticket: id });
        }
        Connection::begin(registration, socket, self.first, permit);
    }
}

/// Answers a client that was refused, and closes once it has closed, or after a while. Closing at once could send a reset that
/// overtakes the answer (RFC 9112 section 9.6).
async fn linger(socket: Taken, answer: Vec<u8>, permit: Permit) {
    let farewell = async {
        if socket.write_all(&answer).await.is_ok() {
            socket.finish().await;
        }
    };
    let _ = tokio::time::timeout(LINGER, farewell).await;
    drop(socket);
    // Counts for as long as its descriptor is open.
    drop(permit);
}

/// The refusal of a client that the embedder does not let in. An internal failure of the check is not for strangers.
pub fn denial(code: Code) -> Refusal {
    let told = match code {
        Code::Unauthorized => "not permitted",
        Code::TokenExpired => "the token has expired",
        _ => "the server can't find out who you are",
    };
    Refusal::new(code, told)
}

fn anonymous() -> Admission {
    let identity =
        Identity { user_id: random_name().into(), rooms: Vec::new(), data: None, expires_at: None };
    Admission { identified_by: IdentifiedBy::Nobody, ..identity.into() }
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::engine::config::Config;

    fn upgrade() -> Upgrade {
        let headers = [
            ("Host", "localhost"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        Upgrade {
            head: RequestHead {
                method: "GET".into(),
                target: "/".into(),
                version: (1, 1),
                headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
            },
            first: vec![0; 1000],
            remote: "127.0.0.1".into(),
            tls: false,
            is_cut: false,
            report: false,
            admission: None,
        }
    }

    #[test]
    fn nothing_of_a_refused_request_is_kept_while_its_client_lingers() {
        let config = Config { threads: 1, ..Config::new(Auth::Callback) };
        let engine = Engine::start(config, Box::new(|| {})).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // An inbox stands for all that an attempt has.
        let holders = || Arc::strong_count(&engine.inner.inboxes[0]);
        let lingering = || engine.shared().limiter.count();
        let refuse = || {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let node = listener.accept().unwrap().0;
            let ticket = engine.upgrade(Taken::duplicate(node.as_raw_fd()).unwrap(), upgrade()).unwrap();
            let asked = holders();
            assert!(engine.settle(ticket.number, Err(denial(Code::Unauthorized))));
            client.read_exact(&mut [0; 12]).unwrap();
            (client, asked)
        };
        let lets_go_first = || {
            let (_client, asked) = refuse();
            loop {
                let lingers = lingering() > 0;
                if !lingers || holders() < asked {
                    break lingers;
                }
                std::thread::yield_now();
            }
        };
        // The worker has begun for certain once it has answered.
        drop(refuse());
        while lingering() > 0 {
            std::thread::yield_now();
        }
        // This thread may be late.
        assert!((0..5).any(|_| lets_go_first()));
        engine.abort();
    }
}
