//! Which pages may connect: the `Origin` header (RFC 6454) against the `Host` header or a list.

use std::fmt;
use std::str::FromStr;

use super::{Refusal, RequestHead, parse_digits};
use crate::engine::config::Origins;
use crate::engine::error::{Code, ConfigError, quote};

/// Refuses a page from an origin that is not permitted. A request without `Origin` comes from no browser and passes.
pub fn check_origin(head: &RequestHead, permitted: &Origins) -> Result<(), Refusal> {
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
        return refuse(format!("the origin {} is not scheme://host[:port]", quote(text)));
    };
    let host = head.header("host").unwrap_or_default();
    match permitted {
        Origins::Any => Ok(()),
        Origins::SameHost if origin.is_host(host) => Ok(()),
        Origins::SameHost => {
            refuse(format!("the origin {} is not the host {}; see allowedOrigins", quote(text), quote(host)))
        }
        Origins::List(patterns) if patterns.iter().any(|pattern| pattern.matches(&origin)) => Ok(()),
        Origins::List(_) => refuse(format!("the origin {} is not in allowedOrigins", quote(text))),
    }
}

/// An origin that may connect: `scheme://host[:port]`, or `scheme://*.host[:port]`, where `*` stands
/// for exactly one label. A missing port is the default one of `http` and `https`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    /// What the host must be, or with `any_subdomain` what must follow its first label.
    origin: Origin,
    any_subdomain: bool,
}

impl OriginPattern {
    fn matches(&self, origin: &Origin) -> bool {
        let host = if self.any_subdomain {
            match origin.authority.host.split_once('.') {
                Some((label, rest)) if !label.is_empty() => rest,
                _ => return false,
            }
        } else {
            &origin.authority.host
        };
        *host == self.origin.authority.host
            && origin.scheme == self.origin.scheme
            && origin.port() == self.origin.port()
    }
}

impl FromStr for OriginPattern {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wildcard = text.split_once("://*.").map(|(scheme, host)| format!("{scheme}://{host}"));
        let origin = Origin::parse(wildcard.as_deref().unwrap_or(text));
        // `*.[::1]` would be nonsense.
        let fits = |origin: &Origin| wildcard.is_none() || !origin.authority.host.starts_with('[');
        match origin.filter(fits) {
            Some(origin) => Ok(Self { origin, any_subdomain: wildcard.is_some() }),
            None => Err(ConfigError::out_of_range(
                "allowedOrigins",
                "'*' or a list of scheme://host[:port], with '*.' for one leading label at most \
                 (no path, no trailing slash, ASCII host)",
                &quote(text),
            )),
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Authority { host, port } = &self.origin.authority;
        let wildcard = if self.any_subdomain { "*." } else { "" };
        write!(f, "{}://{wildcard}{host}", self.origin.scheme)?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    /// In lower case.
    scheme: String,
    authority: Authority,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let authority = Authority::parse(authority)?;
        valid.then(|| Self { scheme: scheme.to_ascii_lowercase(), authority })
    }

    fn port(&self) -> Option<u16> {
        self.authority.port.or_else(|| self.default_port())
    }

    fn default_port(&self) -> Option<u16> {
        match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        }
    }

    /// Whether this is the origin of pages served under this `Host` header. A missing port is the scheme's on both
    /// sides, so that it holds behind a proxy that ends TLS. Schemes other than http and https have no `Host`.
    fn is_host(&self, host: &str) -> bool {
        let (Some(default), Some(host)) = (self.default_port(), Authority::parse(host)) else { return false };
        self.authority.host == host.host && self.port() == Some(host.port.unwrap_or(default))
    }
}

/// `host[:port]`, as in `Host` and in an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// In lower case; an IPv6 address keeps its brackets.
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// `None` unless it is a host name or address with at most a port: no user, no path, no white space.
    pub(super) fn parse(text: &str) -> Option<Self> {
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
