//! Renewal: a client that speaks the subprotocol has a fresh token for a connection that is open.

use std::sync::Arc;

use auth::Identity;
use auth::token::BearerToken;
use codes::error::Code;
use protocol::frame::Message;

use super::config::Auth;
use super::shared::Shared;
use super::verification::verify;
use crate::worker::connections;
use crate::worker::handle::Handle;
use crate::worker::receipts::Receipt;

impl Shared {
    /// A client has a fresh token: its connection lasts as long as that. An invalid one changes nothing.
    pub(super) fn renew(&self, handle: &Arc<Handle>, token: Box<str>, receipt: Receipt) {
        let unauthorized = Code::Unauthorized.as_str();
        let Auth::Jwt(verifier) = &self.config.auth else {
            return receipt.refuse(unauthorized, "the application takes no tokens");
        };
        let (verifier, connection) = (verifier.clone(), handle.clone());
        handle.inbox().spawn(async move {
            let handle = connection;
            match verify(&verifier, Some(BearerToken(token.into())), handle.peer.remote()).await {
                Ok(identity) if identity.user_id != handle.user => {
                    receipt.refuse(unauthorized, "the token is another user's");
                }
                Ok(Identity { expires_at, data, .. }) => {
                    connections::renew(&handle, expires_at);
                    if let Some(session) = handle.session() {
                        *session.renewed.lock() = data;
                    }
                    let reply =
                        expires_at.map_or_else(|| "{}".to_owned(), |at| format!(r#"{{"expiresAt":{at}}}"#));
                    receipt.reply(Message::Text(&reply));
                }
                Err(refusal) => receipt.refuse(refusal.told_code(), &refusal.message),
            }
        });
    }
}
