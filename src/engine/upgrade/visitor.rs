//! A visitor: what is kept of a request once it was examined, and what is told of it where it is refused.

use std::sync::Arc;

use codes::error::Code;
use http::redact;
use http::{Accept, BEARER, Refusal, RequestHead};
use protocol::frame;
use subprotocol::session;
use tokio::sync::oneshot;

use super::{Upgrade, Who, denial};
use crate::engine::config::{Auth, RejectWith};
use crate::engine::request::{accept_page, check, keep};
use crate::engine::shared::Shared;
use crate::events::{self, Event, Interest};

/// The part of a request that is kept. Its head is dropped once it was examined, so that a client which waits costs little.
pub(super) struct Visitor {
    pub shared: Arc<Shared>,
    pub ticket: u64,
    pub report: bool,
    /// The client's address.
    pub remote: Box<str>,
    /// The values of the 101. None if the request is not valid.
    pub(super) accept: Option<Accept>,
    /// True if it is a HEAD request, whose answer has no body.
    is_head: bool,
    /// The part of the request that the connection keeps.
    pub(super) request: Option<Box<str>>,
    /// The name of the session that the client goes on with.
    pub(super) session: Option<Box<str>>,
    /// For the event of a refusal. None if nobody listened when it came.
    seen: Option<Box<Seen>>,
}

/// The parts of a request that the event of a refusal shows, each at most [`MAX_SHOWN`] bytes.
struct Seen {
    url: String,
    origin: Option<String>,
}

/// Longest URL and origin that an event shows.
const MAX_SHOWN: usize = 1024;

impl Seen {
    fn of(head: &RequestHead) -> Seen {
        let origin = head.header("origin").map(|origin| shorten(redact::origin(origin)));
        Seen { url: shorten(redact::target(&head.target)), origin }
    }
}

fn shorten(mut text: String) -> String {
    if text.len() > MAX_SHOWN {
        let fits = |at: &usize| text.is_char_boundary(*at);
        text.truncate((0..=MAX_SHOWN - '…'.len_utf8()).rev().find(fits).unwrap_or(0));
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

impl Visitor {
    /// Counts the refusal and tells of it. Returns the answer that the client gets.
    pub(super) fn refuse(&self, refusal: &Refusal) -> Vec<u8> {
        self.shared.count_refused(refusal.code, &refusal.message, &self.remote);
        self.report_refusal(refusal.told_code(), &refusal.message);
        if let Some(Seen { url, origin }) = self.seen.as_deref() {
            self.shared.events.push_refusal(|| events::RefusedUpgrade {
                code: refusal.told_code().to_owned(),
                message: refusal.message.clone(),
                url: url.clone(),
                remote: self.remote.clone().into(),
                origin: origin.clone(),
            });
        }
        match (refusal.close_code(), &self.accept) {
            (Some(code), Some(accept)) if self.shared.config.reject_with == RejectWith::Close => {
                let mut answer = http::response_101(accept, accept.farewell(), &refusal.lines());
                answer.extend_from_slice(&frame::encode_close(code, refusal.told_code()));
                answer
            }
            _ if self.is_head => refusal.head(),
            _ => refusal.response(),
        }
    }

    pub(super) fn report_refusal(&self, code: &str, message: &str) {
        report_refusal(&self.shared, self.report.then_some(self.ticket), code, message);
    }

    /// Answers to the question who it is come too late from here on.
    pub(super) fn forget(&self) {
        self.shared.asking.lock().remove(&self.ticket);
    }
}

/// The event of an upgrade that the embedder has refused itself.
pub(super) fn refusal_of(
    head: &RequestHead,
    remote: String,
    code: Code,
    message: String,
) -> events::RefusedUpgrade {
    let Seen { url, origin } = Seen::of(head);
    events::RefusedUpgrade { code: code.as_str().to_owned(), message, url, remote, origin }
}

/// Tells the embedder, if it asked for it with this ticket.
pub(super) fn report_refusal(shared: &Shared, report: Option<u64>, code: &str, message: &str) {
    if let Some(ticket) = report {
        shared.events.push(Event::Refused { ticket, code: code.to_owned(), message: message.to_owned() });
    }
}

/// Looks at a request: what is kept of it, and how it is found out who it is.
pub(super) fn examine(
    shared: &Arc<Shared>,
    upgrade: Upgrade,
    remote: Box<str>,
    ticket: u64,
) -> (Visitor, Result<Who, Refusal>) {
    let config = &shared.config;
    let Upgrade { head, tls, is_cut, report, admission, .. } = upgrade;
    let checked = match admission {
        _ if is_cut => Err(Refusal::new(Code::HeadersTooLarge, "too many headers")),
        // A client that the embedder vouches for needs no token; the page it comes from is checked all the same.
        Some(_) => accept_page(&head, tls, config).map(|accept| (accept, None)),
        None => check(&head, tls, config),
    };
    let (accept, token, refusal) = match checked {
        Ok((accept, token)) => (Some(accept), token, None),
        // With `rejectWith: 'close'` a refusal that has a close code is told after a 101.
        Err(refusal) => {
            let accept = refusal.close_code().and_then(|_| http::accept(&head, &config.rules()).ok());
            (accept, None, Some(refusal))
        }
    };
    let visitor = Visitor {
        shared: shared.clone(),
        ticket,
        report,
        remote,
        accept,
        is_head: head.method == "HEAD",
        request: refusal.is_none().then(|| keep(&head, config)).flatten(),
        session: session::offered(head.list("sec-websocket-protocol"), BEARER).map(Into::into),
        seen: shared.events.wants(Interest::REFUSED).then(|| Box::new(Seen::of(&head))),
    };
    if let Some(refusal) = refusal {
        return (visitor, Err(refusal));
    }
    let who = match (admission, &config.auth) {
        (Some(admission), _) => Who::Known(Box::new(admission)),
        (None, Auth::Anonymous) => Who::Anyone,
        (None, Auth::Jwt(_)) => Who::Bearer(token),
        (None, Auth::Nobody) => return (visitor, Err(denial(Code::Unauthorized))),
        (None, Auth::Callback) => {
            let (answer, asked) = oneshot::channel();
            shared.asking.lock().insert(ticket, answer);
            Who::Asked(asked)
        }
    };
    (visitor, Ok(who))
}
