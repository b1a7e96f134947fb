//! Verification of tokens: of handshakes, and of fresh ones on a connection.

use std::sync::Arc;

use auth::Identity;
use auth::jwt::Verifier;
use auth::token::BearerToken;
use http::Refusal;

use crate::time_of_day::unix_ms;
use crate::worker::turnstile;

/// Finds out whose token it is, on a worker. One that takes long to verify waits for its turn; `remote` is the client's address.
pub(super) async fn verify(
    verifier: &Arc<Verifier>,
    token: Option<BearerToken>,
    remote: &str,
) -> Result<Identity, Refusal> {
    if token.is_none() || !verifier.is_dear() {
        return verifier.authenticate(token.as_ref(), unix_ms() / 1000);
    }
    let verifier = verifier.clone();
    let verify = move || verifier.authenticate(token.as_ref(), unix_ms() / 1000);
    let turned_away = |(code, reason)| Err(Refusal::new(code, reason));
    turnstile::pass(remote, verify).await.unwrap_or_else(turned_away)
}
