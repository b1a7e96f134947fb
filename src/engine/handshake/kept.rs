//! What is kept of a request for as long as its connection lasts.

use super::{Config, RequestHead};
use crate::engine::config::Auth;
use crate::engine::redact;

/// The target and the headers that [`Config::keep_headers`] names, in its order: `target\nname\nvalue\nname\nvalue…`. None if nothing
/// is to be kept. Several headers of one name are one, as Node joins them. The parameter that carries the token has no value.
pub(in crate::engine) fn keep(head: &RequestHead, config: &Config) -> Option<Box<str>> {
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
