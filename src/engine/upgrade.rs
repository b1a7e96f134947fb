//! An upgrade: from a socket that was taken over, with the head of its request, to an open connection or a refusal.
//!
//! Runs as a task on the worker that will own the connection. Everything before the 101 is under one deadline.
//! Nothing is read from the socket meanwhile: early frames wait in the kernel.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Shared;
use super::auth::Identity;
use super::auth::token::Sources;
use super::config::{Auth, RejectWith};
use super::connection::Connection;
use super::error::Code;
use super::events::{self, Event, Interest};
use super::frame;
use super::handle::{Handle, Peer};
use super::handshake::{self, Accept, Refusal, RequestHead};
use super::live::Live;
use super::mailbox::Mailbox;
use super::socket::Taken;
use super::tenure::Tenure;
use super::worker::unix_ms;

/// An upgrade request, as it comes from Node.
#[derive(Debug)]
pub struct Upgrade {
    /// The request.
    pub head: RequestHead,
    /// Bytes that the client sent after its head.
    pub first: Vec<u8>,
    /// The peer's address; `unix:` for a Unix-domain socket, empty if there is none. [`super::Engine::upgrade`] makes it the
    /// client's.
    pub remote: String,
    /// Whether an [`Event::Upgraded`] or [`Event::Refused`] shall tell the outcome.
    pub report: bool,
    /// Who it is, if the embedder knows already.
    pub identity: Option<Identity>,
}

const LEFT: &str = "the client left during the handshake";

/// What became of an upgrade on the spot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Number under which events speak of it.
    pub number: u64,
    /// The embedder has to say who it is, with [`super::Engine::settle`].
    pub ask: bool,
    /// The client's address; empty if it has none or that isn't known.
    pub remote: String,
}

/// The embedder's answer for [`Auth::Callback`].
pub type Answer = Result<Identity, Code>;

/// How it is found out who the client is.
pub(super) enum Who {
    Anyone,
    Bearer(Accept),
    Asked(oneshot::Receiver<Answer>),
    Known(Identity),
}

/// An upgrade on its way.
pub(super) struct Attempt {
    pub shared: Arc<Shared>,
    pub mailbox: Arc<Mailbox>,
    pub upgrade: Upgrade,
    pub ticket: u64,
    /// The 101 that a valid request gets.
    pub response: Vec<u8>,
    pub protocol: String,
    pub decision: Result<Who, Refusal>,
    pub live: Live,
}

impl Attempt {
    /// Runs to the end. The connection goes on by itself, and this task's memory is freed.
    pub(super) async fn run(mut self, socket: Taken) {
        let deadline = Instant::now() + self.shared.config.limits.handshake_timeout;
        let decision = std::mem::replace(&mut self.decision, Ok(Who::Anyone));
        let outcome = match decision {
            Err(refusal) => Err(refusal),
            Ok(who) => {
                let mut closing = self.shared.closing.subscribe();
                tokio::select! {
                    biased;
                    who = self.identify(who) => who,
                    _ = closing.wait_for(|closing| *closing) => Err(Refusal::new(Code::ShuttingDown, "the server is shutting down")),
                    () = tokio::time::sleep_until(deadline) => Err(Refusal::new(Code::HandshakeTimeout, "the handshake took too long")),
                    () = socket.closed_by_peer() => {
                        self.report_refusal(Code::Handover.as_str(), LEFT);
                        self.forget();
                        return;
                    }
                }
            }
        };
        self.forget();
        match outcome {
            Ok(identity) => self.open(socket, identity, deadline).await,
            Err(refusal) => self.refuse(socket, &refusal).await,
        }
    }

    /// Answers to the question who it is come too late from here on.
    fn forget(&self) {
        self.shared.asking.lock().remove(&self.ticket);
    }

    async fn identify(&self, who: Who) -> Result<Identity, Refusal> {
        match who {
            Who::Known(identity) => Ok(identity),
            Who::Anyone => Ok(anonymous()),
            Who::Bearer(accept) => {
                let Auth::Jwt(verifier) = &self.shared.config.auth else {
                    return Err(Refusal::new(Code::Internal, "no verifier"));
                };
                verifier.authenticate(accept.token.as_ref(), unix_ms() / 1000)
            }
            Who::Asked(answer) => match answer.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(code)) => Err(Refusal::new(code, told(code))),
                Err(_) => Err(Refusal::new(Code::ShuttingDown, "the server is shutting down")),
            },
        }
    }

    async fn open(self, socket: Taken, identity: Identity, deadline: Instant) {
        // Given back last.
        let live = self.live;
        let shared = self.shared;
        // The ticket's number stays with the connection, so that the embedder can tell at any time which upgrade it
        // came from.
        let id = self.ticket;
        let peer =
            Peer { protocol: self.protocol.into(), remote: self.upgrade.remote.into(), data: identity.data };
        let handle = Arc::new(Handle::new(id, identity.user_id, peer, self.mailbox));
        let report = self.upgrade.report.then_some(id);
        let tenure = Tenure::begin(shared.clone(), handle.clone(), identity.expires_at);
        let socket = match socket.register(tenure.key) {
            Ok(socket) => socket,
            Err(error) => {
                shared.counters.refused(Code::Handover.as_str());
                let message = format!("the socket can't be watched: {error}");
                return report_refusal(&shared, report, Code::Handover.as_str(), &message);
            }
        };
        // From here on it ends before the socket does, as in a connection.
        let mut tenure = tenure;
        // Registered before the client can know that it is connected: whatever is sent to its user from the
        // moment it sees the connection open reaches it.
        shared.enroll(&handle, &identity.rooms, deadline).await;
        // The way to the client may be full of answers to earlier requests that it doesn't read.
        match tokio::time::timeout_at(deadline, socket.write_all(&self.response)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return report_refusal(&shared, report, Code::Handover.as_str(), LEFT),
            Err(_) => {
                let code = Code::HandshakeTimeout.as_str();
                shared.counters.refused(code);
                return report_refusal(&shared, report, code, "the client did not take the answer");
            }
        }
        tenure.announced();
        if let Some(ticket) = report {
            handle.mark_seen();
            shared.events.push(Event::Upgraded { handle: handle.clone(), ticket });
        }
        if shared.events.wants(Interest::CONNECTION) {
            handle.mark_seen();
            shared.events.push(Event::Open { handle, ticket: id });
        }
        Connection::begin(tenure, socket, self.upgrade.first, live);
    }

    fn report_refusal(&self, code: &'static str, message: &str) {
        report_refusal(&self.shared, self.upgrade.report.then_some(self.ticket), code, message);
    }

    fn describe(&self, refusal: &Refusal) -> events::Refusal {
        let RequestHead { target, .. } = &self.upgrade.head;
        let url = match &self.shared.config.auth {
            Auth::Jwt(verifier) => verifier.sources().redact(target),
            _ => Sources::default().redact(target),
        };
        events::Refusal {
            code: refusal.code,
            message: refusal.message.clone(),
            url,
            remote: self.upgrade.remote.clone(),
            origin: self.upgrade.head.header("origin").map(str::to_owned),
        }
    }

    async fn refuse(mut self, socket: Taken, refusal: &Refusal) {
        self.shared.counters.refused(refusal.code);
        self.report_refusal(refusal.code, &refusal.message);
        self.shared.events.push_refusal(|| self.describe(refusal));
        self.live.stand_up();
        let answer = match refusal.close_code() {
            Some(code)
                if self.shared.config.reject_with == RejectWith::Close && !self.response.is_empty() =>
            {
                let mut answer = self.response.clone();
                answer.extend(frame::encode_close(code, refusal.code));
                answer
            }
            _ => refusal.response(),
        };
        let farewell = async {
            if socket.write_all(&answer).await.is_ok() {
                socket.finish().await;
            }
        };
        // Never holds the socket longer than this, whatever the client does.
        let _ = tokio::time::timeout(self.shared.config.limits.close_timeout, farewell).await;
    }
}

/// Tells the embedder, if it asked for it with this ticket.
fn report_refusal(shared: &Shared, report: Option<u64>, code: &'static str, message: &str) {
    if let Some(ticket) = report {
        shared.events.push(Event::Refused { ticket, code, message: message.to_owned() });
    }
}

/// What a client is told that `authenticate` does not let in. How that function fails is not for strangers.
fn told(code: Code) -> &'static str {
    match code {
        Code::Unauthorized => "not permitted",
        Code::TokenExpired => "the token has expired",
        _ => "the server can't find out who you are",
    }
}

fn anonymous() -> Identity {
    Identity { user_id: random_name().into(), rooms: Vec::new(), data: None, expires_at: None }
}

/// 128 random bits in 22 characters.
pub(super) fn random_name() -> String {
    let mut bytes = [0; 16];
    // Only fails where the system has no randomness at all; the name is an address then, not yet a secret.
    if getrandom::fill(&mut bytes).is_err() {
        bytes[..8].copy_from_slice(&unix_ms().to_ne_bytes());
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Looks at a request: what is answered if all goes well, and how it is found out who it is.
pub(super) fn examine(
    shared: &Shared,
    upgrade: &mut Upgrade,
    ticket: u64,
) -> (Vec<u8>, String, Result<Who, Refusal>) {
    let config = &shared.config;
    let checked = match upgrade.identity {
        // Who is vouched for needs no token; the page it comes from is checked all the same.
        Some(_) => handshake::accept(&upgrade.head, config)
            .and_then(|accept| handshake::check_origin(&upgrade.head, &config.origins).map(|()| accept)),
        None => handshake::check(&upgrade.head, config),
    };
    let accept = match checked {
        Ok(accept) => accept,
        Err(refusal) => {
            // With `rejectWith: 'close'` a refusal that has a close code is told after a 101.
            let accept = refusal.close_code().and_then(|_| handshake::accept(&upgrade.head, config).ok());
            let response =
                accept.map_or_else(Vec::new, |accept| handshake::response_101(&accept, accept.answer()));
            return (response, String::new(), Err(refusal));
        }
    };
    let response = handshake::response_101(&accept, accept.answer());
    let protocol = accept.answer().unwrap_or_default().to_owned();
    let who = match (upgrade.identity.take(), &config.auth) {
        (Some(identity), _) => Who::Known(identity),
        (None, Auth::Anonymous) => Who::Anyone,
        (None, Auth::Jwt(_)) => Who::Bearer(accept),
        (None, Auth::Callback) => {
            let (answer, asked) = oneshot::channel();
            shared.asking.lock().insert(ticket, answer);
            Who::Asked(asked)
        }
    };
    (response, protocol, Ok(who))
}
