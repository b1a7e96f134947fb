//! The pages that may connect: the `Origin` header (RFC 6454) against the `Host` header or a list.

use std::fmt;
use std::str::FromStr;

use codes::error::{Code, ConfigError, quote};

use crate::head::RequestHead;
use crate::redact;
use crate::refusal::Refusal;
use crate::syntax::parse_digits;

/// The values of the `Origin` header that may connect. Requests without one always may: they come from no browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Host and port as in the `Host` header; a missing port is 80 or 443 by the origin's scheme. That is `http`, `https`,
    /// `ws` or `wss`, but not `http` where the client's connection is known to be TLS.
    SameHost,
    /// Any, `null` too: there is no check.
    Any,
    /// Those that fit one of these.
    List(Vec<OriginPattern>),
}

impl Origins {
    /// The entry that lets in a page of anybody's, if there is one: any page can have a frame whose origin is `null`.
    pub fn open_to_any_page(&self) -> Option<&'static str> {
        match self {
            Self::SameHost => None,
            Self::Any => Some("*"),
            Self::List(patterns) => patterns.iter().any(OriginPattern::is_null).then_some("null"),
        }
    }
}

/// Refuses a page from an origin that is not permitted. A request without `Origin` comes from no browser and passes.
/// `tls` tells whether the client's connection is known to be TLS.
pub fn check_origin(head: &RequestHead, tls: bool, permitted: &Origins) -> Result<(), Refusal> {
    if *permitted == Origins::Any {
        return Ok(());
    }
    let mut sent = head.headers_all("origin");
    let Some(text) = sent.next() else { return Ok(()) };
    let refuse = |message: String| Err(Refusal::new(Code::OriginRefused, message));
    if sent.next().is_some() {
        return refuse("there is more than one Origin header".to_owned());
    }
    let Some(origin) = Origin::parse(text) else {
        return refuse(format!(
            "the origin {} is neither scheme://host[:port] nor null",
            quote(&redact::origin(text))
        ));
    };
    let host = head.header("host").unwrap_or_default();
    match permitted {
        Origins::Any => Ok(()),
        Origins::SameHost if !origin.is_host(host) => {
            refuse(format!("the origin {} is not the host {}; see allowedOrigins", quote(text), quote(host)))
        }
        // Anybody on the way of a page without TLS can write it.
        Origins::SameHost if tls && origin.is_plain_page() => refuse(format!(
            "the origin {} is a page without TLS, and the connection is with TLS; see allowedOrigins",
            quote(text)
        )),
        Origins::SameHost => Ok(()),
        Origins::List(patterns) if patterns.iter().any(|pattern| pattern.matches(&origin)) => Ok(()),
        Origins::List(_) => refuse(format!("the origin {} is not in allowedOrigins", quote(text))),
    }
}

/// An origin that may connect: `scheme://host[:port]`, or `scheme://*.host[:port]`, where `*` stands for exactly one label.
/// A missing port is the default one of `http`, `https`, `ws` and `wss`. Schemes other than these may have no host, such as
/// `file://`. And `null`, as which browsers show every origin that they don't want to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    /// The host itself, or with `any_subdomain` all behind its first label.
    origin: Origin,
    any_subdomain: bool,
}

impl OriginPattern {
    /// True if this is `null`. Any page can get itself that origin, in a frame.
    pub fn is_null(&self) -> bool {
        self.origin == Origin::Null
    }

    fn matches(&self, origin: &Origin) -> bool {
        let (Origin::Tuple { scheme, authority }, Origin::Tuple { scheme: wanted, authority: place }) =
            (origin, &self.origin)
        else {
            return *origin == self.origin;
        };
        let host = if self.any_subdomain {
            match authority.host.split_once('.') {
                Some((label, rest)) if !label.is_empty() => rest,
                _ => return false,
            }
        } else {
            &authority.host
        };
        *host == place.host && scheme == wanted && origin.port() == self.origin.port()
    }
}

impl FromStr for OriginPattern {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wildcard = text.split_once("://*.").map(|(scheme, host)| format!("{scheme}://{host}"));
        let origin = Origin::parse(wildcard.as_deref().unwrap_or(text));
        // `*.[::1]` would be nonsense.
        let takes_label = |origin: &Origin| match origin {
            Origin::Null => false,
            Origin::Tuple { authority, .. } => !authority.host.is_empty() && !authority.host.starts_with('['),
        };
        let fits = |origin: &Origin| wildcard.is_none() || takes_label(origin);
        match origin.filter(fits) {
            Some(origin) => Ok(Self { origin, any_subdomain: wildcard.is_some() }),
            None => Err(ConfigError::out_of_range(
                "allowedOrigins",
                "'*' or a list of scheme://host[:port], with '*.' for one leading label at most \
                 (no path, no trailing slash, ASCII host), 'file://' or 'null'",
                &quote(text),
            )),
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin::Tuple { scheme, authority: Authority { host, port } } = &self.origin else {
            return f.write_str(NULL);
        };
        let wildcard = if self.any_subdomain { "*." } else { "" };
        write!(f, "{scheme}://{wildcard}{host}")?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The form of an opaque origin (RFC 6454 section 7.1).
const NULL: &str = "null";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Null,
    Tuple {
        /// In lower case.
        scheme: String,
        /// With an empty host where the scheme has none.
        authority: Authority,
    },
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        if text == NULL {
            return Some(Self::Null);
        }
        let (scheme, authority) = text.split_once("://")?;
        let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let scheme = scheme.to_ascii_lowercase();
        let authority = match authority {
            "" if default_port(&scheme).is_none() => Authority::default(),
            authority => Authority::parse(authority)?,
        };
        valid.then_some(Self::Tuple { scheme, authority })
    }

    fn port(&self) -> Option<u16> {
        let Self::Tuple { scheme, authority } = self else { return None };
        authority.port.or_else(|| default_port(scheme))
    }

    /// True if this is the origin of pages served under this `Host` header, or one that an app, which has none, made of the
    /// URL that it connects to. A missing port is the scheme's on both sides, so that it holds behind a proxy that ends TLS.
    fn is_host(&self, host: &str) -> bool {
        let (Self::Tuple { scheme, authority }, Some(host)) = (self, Authority::parse(host)) else {
            return false;
        };
        let Some(default) = default_port(scheme) else { return false };
        authority.host == host.host && self.port() == Some(host.port.unwrap_or(default))
    }

    /// True if this is the origin of pages without TLS. None is of `ws`, so no browser sends that.
    fn is_plain_page(&self) -> bool {
        matches!(self, Self::Tuple { scheme, .. } if scheme == "http")
    }
}

/// The port that a missing one stands for. Other schemes have no `Host` either.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// `host[:port]`, as in `Host` and in an origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Authority {
    /// In lower case; an IPv6 address keeps its brackets.
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// `None` unless it is a host name or address with at most a port: no user, no path, no white space.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let end =
            if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (host, rest) = text.split_at(end);
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let valid = match inner {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b))
            }
        };
        let port = match rest {
            "" | ":" => None,
            _ => Some(parse_digits(rest.strip_prefix(':')?)?),
        };
        valid.then(|| Self { host: host.to_ascii_lowercase(), port })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Checks that a page of this origin may connect to this host.
    fn outcome(origins: &[&str], host: &str, permitted: &Origins) -> Result<(), &'static str> {
        let lines = origins.iter().map(|origin| ("oRigin".to_owned(), (*origin).to_owned()));
        let head = RequestHead {
            method: "GET".into(),
            target: "/".into(),
            version: (1, 1),
            headers: lines.chain([("Host".to_owned(), host.to_owned())]).collect(),
        };
        check_origin(&head, false, permitted).map_err(|refusal| {
            assert_eq!((refusal.status, refusal.close_code()), (403, Some(4403)));
            refusal.code
        })
    }

    fn list(patterns: &[&str]) -> Origins {
        Origins::List(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect())
    }

    const REFUSED: Result<(), &str> = Err("ERR_ORIGIN_REFUSED");

    #[test]
    fn a_request_without_origin_passes() {
        for permitted in [Origins::SameHost, Origins::Any, list(&["https://a.b"])] {
            assert_eq!(outcome(&[], "example.com", &permitted), Ok(()));
        }
    }

    #[test]
    fn by_default_a_page_connects_to_the_host_it_came_from() {
        for (origin, host) in [
            ("https://example.com", "example.com"),
            ("http://example.com", "example.com:80"),
            ("https://example.com", "example.com:443"),
            ("https://example.com:443", "example.com"),
            ("https://EXAMPLE.com", "Example.COM"),
            ("http://localhost:3000", "localhost:3000"),
            ("http://[::1]:3000", "[::1]:3000"),
            // Of apps, that make it of the URL.
            ("ws://localhost:3000", "localhost:3000"),
            ("ws://example.com", "example.com:80"),
            ("wss://example.com", "example.com"),
            ("wss://example.com", "example.com:443"),
            ("WSS://Example.com:443", "example.com"),
            ("wss://example.com:8443", "example.com:8443"),
        ] {
            assert_eq!(outcome(&[origin], host, &Origins::SameHost), Ok(()), "{origin} {host}");
        }
    }

    #[test]
    fn by_default_a_page_of_another_host_or_port_is_refused() {
        for (origin, host) in [
            ("https://evil.example", "example.com"),
            ("https://sub.example.com", "example.com"),
            ("https://example.com.evil.example", "example.com"),
            ("http://example.com", "example.com:443"),
            ("https://example.com", "example.com:80"),
            ("http://localhost:3001", "localhost:3000"),
            ("http://localhost", "localhost:3000"),
            ("chrome-extension://abc", "abc"),
            ("ws://evil.example", "example.com"),
            ("wss://example.com", "example.com:80"),
            ("ws://example.com", "example.com:443"),
            ("wss://", "example.com"),
            ("wss://example.com/", "example.com"),
            ("file://", "example.com"),
            ("file://", ""),
            ("null", "null"),
            ("example.com", "example.com"),
            ("https://example.com/", "example.com"),
            ("https://user@example.com", "example.com"),
            ("https://example.com", ""),
            ("", "example.com"),
        ] {
            assert_eq!(outcome(&[origin], host, &Origins::SameHost), REFUSED, "{origin} {host}");
        }
    }

    #[test]
    fn null_and_several_origins_are_refused_unless_any_is_permitted() {
        for origins in [&["null"][..], &["https://a.b", "https://a.b"], &["https://a.b https://a.b"]] {
            assert_eq!(outcome(origins, "a.b", &Origins::SameHost), REFUSED);
            assert_eq!(outcome(origins, "a.b", &list(&["https://a.b"])), REFUSED);
            assert_eq!(outcome(origins, "a.b", &Origins::Any), Ok(()));
        }
    }

    #[test]
    fn a_list_permits_its_origins_and_no_others_whatever_the_host() {
        let permitted =
            list(&["https://a.b", "http://localhost:3000", "capacitor://localhost", "https://[::1]"]);
        for origin in [
            "https://a.b",
            "https://A.B:443",
            "http://localhost:3000",
            "capacitor://localhost",
            "https://[::1]:443",
        ] {
            assert_eq!(outcome(&[origin], "x.y", &permitted), Ok(()), "{origin}");
        }
        for origin in ["http://a.b", "https://a.b:8443", "https://c.a.b", "http://localhost", "https://x.y"] {
            assert_eq!(outcome(&[origin], "x.y", &permitted), REFUSED, "{origin}");
        }
        assert_eq!(outcome(&["https://a.b"], "a.b", &list(&[])), REFUSED);
    }

    #[test]
    fn origins_without_a_host_are_let_in_where_they_are_named() {
        let permitted = list(&["file://", "null", "content://"]);
        for origin in ["file://", "FILE://", "null", "content://"] {
            assert_eq!(outcome(&[origin], "a.b", &permitted), Ok(()), "{origin}");
        }
        for origin in ["file:///", "file://a.b", "app://", "Null", "nul", "", "https://a.b"] {
            assert_eq!(outcome(&[origin], "a.b", &permitted), REFUSED, "{origin}");
        }
        assert_eq!(outcome(&["null"], "a.b", &list(&["file://"])), REFUSED);
        assert_eq!(outcome(&["file://"], "a.b", &list(&["null"])), REFUSED);
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let permitted = list(&["https://*.example.com", "http://*.local:3000"]);
        for origin in ["https://a.example.com", "https://b-1.EXAMPLE.com:443", "http://box.local:3000"] {
            assert_eq!(outcome(&[origin], "x", &permitted), Ok(()), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://a.b.example.com",
            "https://evilexample.com",
            "https://a.example.com.evil.example",
            "http://a.example.com",
            "https://a.example.com:8443",
            "http://box.local",
        ] {
            assert_eq!(outcome(&[origin], "x", &permitted), REFUSED, "{origin}");
        }
    }

    #[test]
    fn patterns_that_could_never_match_are_config_errors() {
        for text in [
            "",
            "*",
            "Null",
            "null ",
            "wss://",
            "file:",
            "file:///",
            "file://:80",
            "file://*.",
            "a.b",
            "https://",
            "https://a.b/",
            "https://a.b/c",
            "https://*",
            "https://*.",
            "*://a.b",
            "https://a.*.b",
            "https://*.*.b",
            "https://a*.b",
            "https://a.b:*",
            "https://a.b:x",
            "https://ä.de",
            "https://*.[::1]",
            "//a.b",
            "1s://a.b",
            "https://*.a.b://*.c",
        ] {
            let error = text.parse::<OriginPattern>().unwrap_err();
            assert_eq!((error.code(), error.option.as_str()), ("ERR_OPTION_OUT_OF_RANGE", "allowedOrigins"));
        }
    }

    #[test]
    fn patterns_are_shown_as_they_are_written() {
        for text in ["https://a.b", "https://*.a.b:8443", "http://[::1]:3000", "file://", "null"] {
            assert_eq!(text.parse::<OriginPattern>().unwrap().to_string(), text);
        }
    }
}
