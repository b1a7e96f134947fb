//! Renewal: a client that speaks the subprotocol has a fresh token for a connection that is open.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use auth::Identity;
use auth::jwt::MAX_TOKEN_BYTES;
use auth::token::BearerToken;
use codes::error::Code;
use protocol::frame::Message;

use super::config::Auth;
use super::shared::Shared;
use super::verification::verify;
use crate::time_of_day::unix_ms;
use crate::worker::client_session::IdentifiedBy;
use crate::worker::connections;
use crate::worker::handle::Handle;
use crate::worker::receipts::Receipt;
use crate::worker::scheduler;

/// The cost of a token beside its bytes, as [`scheduler::charge`] counts. One that takes longer is verified on a thread of its own.
const TOKEN: u64 = 16;

impl Shared {
    /// A client has a fresh token: its connection lasts as long as that. An invalid one changes nothing.
    pub(super) fn renew(&self, handle: &Arc<Handle>, token: Box<str>, receipt: Receipt) {
        if token.len() > MAX_TOKEN_BYTES {
            return receipt.refuse(Code::TokenInvalid.as_str(), "the token is longer than 8 KiB");
        }
        let session = handle.session().filter(|session| session.identified_by == IdentifiedBy::Token);
        let (Auth::Jwt(verifier), Some(session)) = (&self.config.auth, session) else {
            return receipt.refuse(Code::Unauthorized.as_str(), "the connection did not begin with a token");
        };
        if session.is_renewing.swap(true, Ordering::Relaxed) {
            return receipt.refuse(Code::TooManyUnanswered.as_str(), "a token is being verified already");
        }
        scheduler::charge(TOKEN + scheduler::bytes(token.len()));
        let (verifier, connection) = (verifier.clone(), handle.clone());
        handle.inbox().spawn(async move {
            let token = BearerToken(token.into());
            let verified = verify(&verifier, Some(token), connection.peer.remote()).await;
            let Some(session) = connection.session() else { return };
            session.is_renewing.store(false, Ordering::Relaxed);
            match verified {
                Ok(identity) if identity.user_id != connection.user => {
                    receipt.refuse(Code::Unauthorized.as_str(), "the token is another user's");
                }
                Ok(Identity { expires_at, data, .. }) => {
                    connections::renew(&connection, expires_at);
                    *session.renewed.lock() = data;
                    let expires = expires_at.map_or_else(String::new, |at| format!(r#","expiresAt":{at}"#));
                    receipt.reply(Message::Text(&format!(r#"{{"now":{}{expires}}}"#, unix_ms())));
                }
                Err(refusal) => receipt.refuse(refusal.told_code(), &refusal.message),
            }
        });
    }
}
