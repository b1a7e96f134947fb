//! A request by the configuration: whether it may be upgraded, and what is kept of it for as long as its connection lasts.

use auth::token::{self, BearerToken};
use http::{Accept, Refusal, RequestHead, redact};

use super::config::{Auth, Config};

#[cfg(test)]
mod tests;

/// Checks all but the token: sizes, RFC 6455 and the origin. `tls` is [`http::Client::tls`].
pub(super) fn accept_page(head: &RequestHead, tls: bool, config: &Config) -> Result<Accept, Refusal> {
    let accept = http::accept(head, &config.rules())?;
    http::check_origin(head, tls, &config.origins)?;
    Ok(accept)
}

/// All checks, from cheap to dear: the last one is that the token, if one is wanted, has a readable place. The verifier finds out
/// whether it is there and valid.
pub(super) fn check(
    head: &RequestHead,
    tls: bool,
    config: &Config,
) -> Result<(Accept, Option<BearerToken>), Refusal> {
    let accept = accept_page(head, tls, config)?;
    let token = match &config.auth {
        Auth::Jwt(verifier) => token::find(head, verifier.sources())?,
        _ => None,
    };
    Ok((accept, token))
}

/// The target and the headers that [`Config::keep_headers`] names, in its order: `target\nname\nvalue\nname\nvalue…`. None if nothing
/// is to be kept. Several headers of one name are one, as Node joins them. The parameter that carries the token has no value.
pub(super) fn keep(head: &RequestHead, config: &Config) -> Option<Box<str>> {
    let names = config.keep_headers.as_ref()?;
    let secret = match &config.auth {
        Auth::Jwt(verifier) => verifier.sources().query.as_deref(),
        _ => None,
    };
    let mut kept =
        secret.map_or_else(|| head.target.clone(), |name| redact::parameter_of(&head.target, name));
    for name in names {
        let values: Vec<&str> = head.headers_all(name).collect();
        if !values.is_empty() {
            let separator = if name == "cookie" { "; " } else { ", " };
            kept.extend(["\n", name, "\n", &values.join(separator)]);
        }
    }
    Some(kept.into())
}
