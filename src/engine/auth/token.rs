//! Where a request carries its token. Nothing here verifies it.

use std::borrow::Cow;
use std::fmt;

use cookie::Cookie;

use crate::engine::config::BEARER;
use crate::engine::error::Code;
use crate::engine::handshake::{Refusal, RequestHead};

/// The places that must be switched on; the `Authorization` header and the subprotocol list always are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Name of the cookie. Browsers send it whichever page connects, so it needs the origin check.
    pub cookie: Option<String>,
    /// Name of the query parameter. URLs end up in logs; see [`redact_target`].
    pub query: Option<String>,
}

/// Where a token was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// `Authorization: Bearer <token>`
    Header,
    /// `Sec-WebSocket-Protocol: bearer, <token>`
    Subprotocol,
    /// `?<name>=<token>`
    Query,
    /// `Cookie: <name>=<token>`
    Cookie,
}

/// A token as found, unverified. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The token; never empty.
    pub value: String,
    /// Where it was.
    pub source: TokenSource,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("value", &"[redacted]").field("source", &self.source).finish()
    }
}

/// The token of the first source that has one: header, subprotocol, query, cookie. A source that names a token
/// but holds none that could be read refuses the request: what is invalid is never skipped for the next source.
pub fn find(head: &RequestHead, sources: &Sources) -> Result<Option<Token>, Refusal> {
    let places = [
        (TokenSource::Header, in_authorization(head)),
        (TokenSource::Subprotocol, in_subprotocols(head)),
        (TokenSource::Query, sources.query.as_deref().map_or(Ok(None), |name| in_query(head, name))),
        (TokenSource::Cookie, Ok(sources.cookie.as_deref().and_then(|name| in_cookies(head, name)))),
    ];
    for (source, found) in places {
        match found {
            Ok(None) => {}
            Ok(Some(value)) if !value.is_empty() => {
                return Ok(Some(Token { value: value.into_owned(), source }));
            }
            Ok(Some(_)) => return Err(Refusal::new(Code::TokenInvalid, "the token is empty")),
            Err(message) => return Err(Refusal::new(Code::TokenInvalid, message)),
        }
    }
    Ok(None)
}

/// The request target with every value of this query parameter replaced, for logs and events.
pub fn redact_target<'a>(target: &'a str, param: &str) -> Cow<'a, str> {
    let Some((path, query)) = target.split_once('?') else { return Cow::Borrowed(target) };
    // Percent signs may hide a name, so that names are compared as `in_query` reads them.
    let names_it = |pair: &str| form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| name == param);
    let mut redacted = false;
    let pairs: Vec<Cow<'_, str>> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if names_it(pair) => {
                redacted = true;
                Cow::Owned(format!("{name}=[redacted]"))
            }
            _ => Cow::Borrowed(pair),
        })
        .collect();
    if redacted { Cow::Owned(format!("{path}?{}", pairs.join("&"))) } else { Cow::Borrowed(target) }
}

type Found<'a> = Result<Option<Cow<'a, str>>, &'static str>;

/// Other schemes are not ours to judge: a browser sends `Basic` by itself to a site behind a password.
fn in_authorization(head: &RequestHead) -> Found<'_> {
    let mut found = None;
    for value in head.headers_all("authorization") {
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        if !scheme.eq_ignore_ascii_case(BEARER) {
            continue;
        }
        if found.replace(Cow::Borrowed(token.trim_start_matches(' '))).is_some() {
            return Err("there is more than one Authorization header with a token");
        }
    }
    Ok(found)
}

fn in_subprotocols(head: &RequestHead) -> Found<'_> {
    let mut offered = head.list("sec-websocket-protocol").skip_while(|protocol| *protocol != BEARER);
    match (offered.next(), offered.next()) {
        (None, _) => Ok(None),
        (Some(_), None) => Err("Sec-WebSocket-Protocol names bearer, but no token follows it"),
        (Some(_), Some(token)) => Ok(Some(Cow::Borrowed(token))),
    }
}

fn in_query<'a>(head: &'a RequestHead, name: &str) -> Found<'a> {
    let Some((_, query)) = head.target.split_once('?') else { return Ok(None) };
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(param, _)| param == name);
    let found = values.next().map(|(_, value)| value);
    if values.next().is_some() {
        return Err("the query has more than one token");
    }
    Ok(found)
}

/// The first cookie of the name: browsers send the one with the most specific path first (RFC 6265 section 5.4).
fn in_cookies<'a>(head: &'a RequestHead, name: &str) -> Option<Cow<'a, str>> {
    let mut cookies = head.headers_all("cookie").flat_map(Cookie::split_parse).flatten();
    let found = cookies.find(|cookie| cookie.name() == name)?;
    Some(Cow::Owned(found.value_trimmed().to_owned()))
}
