//! The places where a request carries its token. Nothing here verifies it.

use std::borrow::Cow;
use std::fmt;

use codes::error::Code;
use http::syntax::trim;
use http::{BEARER, Refusal, RequestHead};

/// The places that must be switched on; the `Authorization` header and the subprotocol list always are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Name of the cookie. Browsers send it whichever page connects, so it needs the origin check.
    pub cookie: Option<String>,
    /// Name of the query parameter. URLs end up in the logs of proxies.
    pub query: Option<String>,
}

impl Sources {
    /// The message for a client without a token: all the places where it could have been.
    pub(super) fn missing(&self) -> String {
        let mut places = vec![
            "the header Authorization: Bearer <token>".to_owned(),
            format!("the subprotocols ['{BEARER}', <token>]"),
        ];
        places.extend(self.query.as_ref().map(|name| format!("the query parameter '{name}'")));
        places.extend(self.cookie.as_ref().map(|name| format!("the cookie '{name}'")));
        format!("the request carries no token: it can be in {}", places.join(", or in "))
    }
}

/// A token as found, unverified and never empty. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(pub String);

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken([redacted])")
    }
}

/// The token of the first source that has one: header, subprotocol, query, cookie. A source that names a token
/// but holds none that could be read refuses the request: an invalid token is never skipped for the next source.
pub fn find(head: &RequestHead, sources: &Sources) -> Result<Option<BearerToken>, Refusal> {
    let places = [
        in_authorization(head),
        in_subprotocols(head),
        sources.query.as_deref().map_or(Ok(None), |name| in_query(head, name)),
        sources.cookie.as_deref().map_or(Ok(None), |name| in_cookies(head, name)),
    ];
    for found in places {
        match found {
            Ok(None) => {}
            Ok(Some(value)) if !value.is_empty() => return Ok(Some(BearerToken(value.into_owned()))),
            Ok(Some(_)) => return Err(Refusal::new(Code::TokenInvalid, "the token is empty")),
            Err(message) => return Err(Refusal::new(Code::TokenInvalid, message)),
        }
    }
    Ok(None)
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

/// The cookie of the name. Of two that differ nobody can say which the server has set: a page of a sibling host may set one for
/// all of their domain, with a longer path to be sent first (RFC 6265 section 8.6).
///
/// Names are taken byte for byte. Libraries trim more than browsers do, such as U+00A0: a sibling host may set a cookie of that and
/// `__Host-session`, which has no prefix for the browser, and would have one here.
fn in_cookies<'a>(head: &'a RequestHead, name: &str) -> Found<'a> {
    let pairs =
        head.headers_all("cookie").flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(key, _)| trim(key) == name).map(|(_, value)| unquote(trim(value)));
    let Some(found) = values.next() else { return Ok(None) };
    if values.any(|value| value != found) {
        return Err("there are several cookies with the token's name, and they differ");
    }
    Ok(Some(Cow::Borrowed(found)))
}

/// The value without the quotes that it may stand in (RFC 6265 section 4.1.1).
fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str, headers: &[(&str, &str)]) -> RequestHead {
        RequestHead {
            method: "GET".into(),
            target: target.into(),
            version: (1, 1),
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        }
    }

    fn all_sources() -> Sources {
        Sources { cookie: Some("session".into()), query: Some("token".into()) }
    }

    /// The token under all sources, or the code of the refusal.
    fn found(target: &str, headers: &[(&str, &str)]) -> Result<Option<String>, &'static str> {
        let found = find(&head(target, headers), &all_sources());
        found.map(|token| token.map(|token| token.0)).map_err(|refusal| refusal.code)
    }

    fn at(value: &str) -> Result<Option<String>, &'static str> {
        Ok(Some(value.into()))
    }

    const INVALID: Result<Option<String>, &str> = Err("ERR_TOKEN_INVALID");

    #[test]
    fn the_header_goes_before_the_subprotocol_before_the_query_before_the_cookie() {
        let header = ("authorization", "Bearer h");
        let protocol = ("Sec-WebSocket-Protocol", "bearer, p");
        let cookie = ("Cookie", "session=c");
        let query = "/?token=q";
        assert_eq!(found(query, &[cookie, protocol, header]), at("h"));
        assert_eq!(found(query, &[cookie, protocol]), at("p"));
        assert_eq!(found(query, &[cookie]), at("q"));
        assert_eq!(found("/", &[cookie]), at("c"));
        assert_eq!(found("/", &[]), Ok(None));
    }

    #[test]
    fn query_and_cookie_are_read_only_if_they_are_named() {
        let head = head("/?token=q", &[("Cookie", "session=c")]);
        assert_eq!(find(&head, &Sources::default()), Ok(None));
    }

    #[test]
    fn the_scheme_of_the_header_has_no_case_and_others_are_left_alone() {
        assert_eq!(found("/", &[("Authorization", "bEARER  x")]), at("x"));
        assert_eq!(found("/?token=q", &[("Authorization", "Basic YTpi")]), at("q"));
        assert_eq!(found("/?token=q", &[("Authorization", "Bearerx y")]), at("q"));
        let both = [("Authorization", "Basic YTpi"), ("Authorization", "Bearer x")];
        assert_eq!(found("/", &both), at("x"));
    }

    #[test]
    fn a_source_without_a_readable_token_refuses_instead_of_leaving_it_to_the_next() {
        let cookie = ("Cookie", "session=c");
        assert_eq!(found("/", &[("Authorization", "Bearer"), cookie]), INVALID);
        assert_eq!(
            found("/", &[("Authorization", "Bearer a"), ("Authorization", "Bearer b"), cookie]),
            INVALID
        );
        assert_eq!(found("/", &[("Sec-WebSocket-Protocol", "chat, bearer"), cookie]), INVALID);
        assert_eq!(found("/?token=", &[cookie]), INVALID);
        assert_eq!(found("/?token", &[cookie]), INVALID);
        assert_eq!(found("/?token=a&token=b", &[cookie]), INVALID);
        assert_eq!(found("/", &[("Cookie", "session=")]), INVALID);
    }

    #[test]
    fn the_token_of_the_subprotocols_is_what_follows_bearer() {
        for lines in [&["bearer, x.y"][..], &["chat, bearer,x.y, mqtt"], &["bearer", "x.y"]] {
            let headers: Vec<_> = lines.iter().map(|line| ("Sec-WebSocket-Protocol", *line)).collect();
            assert_eq!(found("/", &headers), at("x.y"), "{lines:?}");
        }
        assert_eq!(found("/", &[("Sec-WebSocket-Protocol", "Bearer, x.y")]), Ok(None));
    }

    #[test]
    fn the_query_is_percent_decoded() {
        assert_eq!(found("/a?b=c&%74oken=x%2Ey&d", &[]), at("x.y"));
        assert_eq!(found("/?token=a?b=c", &[]), at("a?b=c"));
        assert_eq!(found("/?token=%ff%", &[]), at("\u{fffd}%"));
        assert_eq!(found("/token=a?BearerToken=b", &[]), Ok(None));
    }

    #[test]
    fn cookies_of_the_name_are_read_if_they_are_one() {
        let headers = [("cookie", "a=session; session=\"x=y\" ;session=x=y"), ("Cookie", "session=x=y")];
        assert_eq!(found("/", &headers), at("x=y"));
        for others in ["session=z", "session=", "session=X=Y"] {
            assert_eq!(found("/", &[("Cookie", &format!("session=x=y; {others}"))]), INVALID, "{others}");
            assert_eq!(found("/", &[("Cookie", "session=x=y"), ("Cookie", others)]), INVALID, "{others}");
        }
        assert_eq!(found("/", &[("Cookie", "a=b"), ("Cookie", ";;=;x; session=w")]), at("w"));
        assert_eq!(found("/", &[("Cookie", "Session=x; session2=y; session")]), Ok(None));
        assert_eq!(found("/", &[("Cookie", "a=b;\t session =\t\"x\" ")]), at("x"));
    }

    #[test]
    fn the_name_of_a_cookie_is_no_other_that_looks_like_it() {
        // White space to Unicode, and parts of a name to browsers.
        for odd in ['\u{85}', '\u{a0}', '\u{b}', '\u{c}', '\u{feff}'] {
            for cookie in [
                format!("{odd}session=evil"),
                format!("session{odd}=evil"),
                format!("a=b; {odd}session=evil"),
            ] {
                assert_eq!(found("/", &[("Cookie", &cookie)]), Ok(None), "{cookie:?}");
                let both = format!("session=x; {cookie}");
                assert_eq!(found("/", &[("Cookie", &both)]), at("x"), "{both:?}");
            }
            let value = format!("{odd}x");
            assert_eq!(found("/", &[("Cookie", &format!("session={value}"))]), at(&value));
        }
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let token = BearerToken("hunter2".into());
        assert_eq!(format!("{token:?}"), "BearerToken([redacted])");
    }
}
