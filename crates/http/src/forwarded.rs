//! The client behind proxies: its address, and whether its connection is TLS. `X-Forwarded-For` and
//! `X-Forwarded-Proto` tell, or `Forwarded` (RFC 7239).
//!
//! Each proxy adds its own client's address at the right end, so the header is read from there. An element is believed if
//! the proxy that wrote it is trusted. The client may have made up the elements further left; they never decide how
//! something to the right of them is read.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use codes::error::{ConfigError, quote};
use ipnet::{IpNet, Ipv4Net};

use crate::head::RequestHead;
use crate::syntax::{is_token, trim};

/// Stands for the address of a peer on a Unix-domain socket, as in nginx's `$remote_addr`.
pub(crate) const UNIX: &str = "unix:";
/// Number of proxies that is allowed if only their number is known.
pub const HOPS: RangeInclusive<u64> = 1..=16;

/// The proxies that are believed about a request's origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TrustProxy {
    /// Nobody: the client is who connects.
    #[default]
    Nobody,
    /// So many proxies, whoever they are: the peer is the first of them.
    Hops(u64),
    /// Those at these places.
    Listed(Vec<Proxy>),
}

/// The place of a proxy that is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// At the other end of a Unix-domain socket.
    Unix,
    /// At an address of this network.
    Network(IpNet),
}

/// The header that proxies write. Only one is read: a proxy that sets one lets the other pass as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`: addresses, separated by commas. `X-Forwarded-Proto` goes with it.
    #[default]
    XForwardedFor,
    /// `Forwarded`: parameters `for` and `proto` of each element.
    Forwarded,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// As Node saw it, [`UNIX`], or empty where that is not known.
    pub address: String,
    /// True if the connection is known to be TLS.
    pub tls: bool,
}

impl Client {
    /// The client behind this one, if that is a proxy.
    ///
    /// Its address is the last one, from the peer leftwards through the header, that is not trusted; if all are, the leftmost.
    /// Empty if that is no address (`unknown`, an obfuscated identifier, rubbish). If the peer is the client, its address is
    /// answered as it is, but [`UNIX`] as empty.
    pub fn behind(self, head: &RequestHead, trust: &TrustProxy, header: ProxyHeader) -> Self {
        let peer = Hop::of_peer(&self.address);
        let mut hop = peer;
        let mut distance = 0;
        let mut hops = hops(head, header);
        while trust.covers(&hop, distance)
            && let Some(next) = hops.next()
        {
            hop = next;
            distance += 1;
        }
        let address = match distance {
            0 if self.address == UNIX => String::new(),
            0 => self.address,
            _ => hop.to_string(),
        };
        let told = if trust.covers(&peer, 0) { told_tls(head, header, distance) } else { None };
        Self { address, tls: told.unwrap_or(self.tls) }
    }
}

impl TrustProxy {
    /// Parses addresses, networks such as `10.0.0.0/8`, and the names `loopback`, `linklocal`, `uniquelocal` and `unix`.
    pub fn parse(texts: &[String]) -> Result<Self, ConfigError> {
        let mut places = Vec::new();
        for text in texts {
            match text.as_str() {
                "unix" => places.push(Proxy::Unix),
                "loopback" => {
                    places.extend([
                        v4([127, 0, 0, 0], 8),
                        Proxy::Network(IpAddr::V6(Ipv6Addr::LOCALHOST).into()),
                    ]);
                }
                "linklocal" => places.extend([v4([169, 254, 0, 0], 16), v6(0xfe80, 10)]),
                "uniquelocal" => places.extend([
                    v4([10, 0, 0, 0], 8),
                    v4([172, 16, 0, 0], 12),
                    v4([192, 168, 0, 0], 16),
                    v6(0xfc00, 7),
                ]),
                text => places.push(Proxy::Network(network(text)?)),
            }
        }
        Ok(Self::Listed(places))
    }

    /// True if who is this many hops away from us is believed; 0 is the peer.
    fn covers(&self, hop: &Hop, distance: u64) -> bool {
        match self {
            Self::Nobody => false,
            Self::Hops(number) => distance < *number,
            Self::Listed(places) => places.iter().any(|place| match (place, hop) {
                (Proxy::Unix, Hop::Unix) => true,
                (Proxy::Network(network), Hop::Ip(address)) => network.contains(address),
                _ => false,
            }),
        }
    }
}

fn v4(address: [u8; 4], prefix: u8) -> Proxy {
    Proxy::Network(IpNet::new_assert(Ipv4Addr::from(address).into(), prefix))
}

fn v6(first: u16, prefix: u8) -> Proxy {
    Proxy::Network(IpNet::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0).into(), prefix))
}

/// An address, or a network in CIDR notation. IPv4 in IPv6 becomes IPv4, as all addresses that are compared with it do.
fn network(text: &str) -> Result<IpNet, ConfigError> {
    let refuse = |expected: &str| Err(ConfigError::out_of_range("trustProxy", expected, &quote(text)));
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => match text.parse::<IpNet>() {
            Ok(network) => network,
            Err(_) => {
                return refuse(
                    "addresses like '10.0.0.1', networks like '10.0.0.0/8', or the names \
                     'loopback', 'linklocal', 'uniquelocal', 'unix'",
                );
            }
        },
    };
    // Somebody who writes 10.1.2.3/8 may mean one address, and would trust 16 million.
    if network != network.trunc() {
        return refuse(&format!("networks without bits behind their prefix, such as '{}'", network.trunc()));
    }
    let IpNet::V6(wide) = network else { return Ok(network) };
    let mapped = wide.addr().to_ipv4_mapped().zip(wide.prefix_len().checked_sub(96));
    Ok(mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4))
}

/// Whom a proxy got a request from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Ip(IpAddr),
    Unix,
    /// No address: the proxy doesn't know or doesn't tell, or what it says can't be read.
    Hidden,
}

impl Hop {
    fn of_peer(peer: &str) -> Self {
        // Link-local addresses come with their interface: fe80::1%eth0.
        let address = peer.split('%').next().unwrap_or(peer);
        if peer == UNIX { Self::Unix } else { address.parse().map_or(Self::Hidden, Self::ip) }
    }

    /// An address as proxies write it: of IPv6 with or without brackets, with or without a port behind it.
    fn of_node(node: &str) -> Self {
        if node == UNIX {
            return Self::Unix;
        }
        if let Ok(address) = node.parse() {
            return Self::ip(address);
        }
        let (address, port) = if let Some(rest) = node.strip_prefix('[') {
            let Some((host, port)) = rest.split_once(']') else { return Self::Hidden };
            // Brackets need no port behind them.
            (host.parse().map(IpAddr::V6), if port.is_empty() { ":0" } else { port })
        } else {
            let (host, port) = node.split_at(node.find(':').unwrap_or(node.len()));
            (host.parse().map(IpAddr::V4), port)
        };
        match address {
            Ok(address) if port.strip_prefix(':').is_some_and(is_port) => Self::ip(address),
            _ => Self::Hidden,
        }
    }

    fn ip(address: IpAddr) -> Self {
        Self::Ip(address.to_canonical())
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Ip(address) = self { write!(f, "{address}") } else { Ok(()) }
    }
}

/// A number, or an obfuscated port (RFC 7239 section 6).
fn is_port(text: &str) -> bool {
    let obfuscated = text.strip_prefix('_').is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    });
    obfuscated || ((1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
}

/// The hops that a header names, from right to left. Nothing is read before it is asked for.
fn hops(head: &RequestHead, header: ProxyHeader) -> impl Iterator<Item = Hop> {
    let name = match header {
        ProxyHeader::XForwardedFor => "x-forwarded-for",
        ProxyHeader::Forwarded => "forwarded",
    };
    elements(head, name, header).map(move |element| match header {
        ProxyHeader::XForwardedFor => Hop::of_node(element),
        ProxyHeader::Forwarded => parameter(element, "for").map_or(Hop::Hidden, |node| Hop::of_node(&node)),
    })
}

/// True if the connection of the client, so many hops away, is TLS, if proxies say so. Of `X-Forwarded-Proto` there may be
/// fewer elements than proxies, because many replace it: then the leftmost counts.
fn told_tls(head: &RequestHead, header: ProxyHeader, distance: u64) -> Option<bool> {
    let nearer = usize::try_from(distance).unwrap_or(usize::MAX).saturating_sub(1);
    let scheme = match header {
        ProxyHeader::XForwardedFor => {
            let element = elements(head, "x-forwarded-proto", header).take(nearer.saturating_add(1)).last();
            element.map(Cow::Borrowed)
        }
        ProxyHeader::Forwarded => {
            let element = elements(head, "forwarded", header).nth(nearer);
            element.and_then(|element| parameter(element, "proto"))
        }
    };
    // Traefik says `ws` and `wss` of an upgrade.
    let is = |names: [&str; 2]| {
        names.iter().any(|name| scheme.as_deref().is_some_and(|it| it.eq_ignore_ascii_case(name)))
    };
    match () {
        () if is(["https", "wss"]) => Some(true),
        () if is(["http", "ws"]) => Some(false),
        () => None,
    }
}

/// The elements of a header from right to left, over all its lines.
fn elements<'a>(
    head: &'a RequestHead,
    name: &'static str,
    header: ProxyHeader,
) -> impl Iterator<Item = &'a str> {
    let lines = head.headers.iter().rev().filter(move |(header, _)| header.eq_ignore_ascii_case(name));
    // Empty elements of a list mean nothing (RFC 9110 section 5.6.1.2).
    lines.flat_map(move |(_, line)| entries(line, header)).filter(|element| !element.is_empty())
}

/// The elements of a line, from right to left.
fn entries(line: &str, header: ProxyHeader) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let comma = match header {
            ProxyHeader::XForwardedFor => line.rfind(','),
            ProxyHeader::Forwarded => last_comma(line),
        };
        rest = comma.map(|comma| &line[..comma]);
        Some(trim(comma.map_or(line, |comma| &line[comma + 1..])))
    })
}

/// Position before the last element of a `Forwarded` header: the last comma outside of quotes, seen from the right. From
/// the left, a quote that a client opens would swallow what the proxies added behind it.
fn last_comma(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quoted = false;
    for (at, byte) in bytes.iter().enumerate().rev() {
        match byte {
            b',' if !quoted => return Some(at),
            b'"' if quoted => {
                let escapes = bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
                quoted = escapes % 2 == 1;
            }
            b'"' => quoted = true,
            _ => {}
        }
    }
    None
}

/// The parameter of this name of a `Forwarded` element; `None` if there isn't exactly one, or the element can't be read.
fn parameter<'a>(element: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    let mut found = None;
    let mut rest = element;
    loop {
        // There may be nothing between two semicolons (RFC 7239 section 4).
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return found;
        }
        let (name, behind) = rest.split_once('=').filter(|(name, _)| is_token(name))?;
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = behind.find(';').unwrap_or(behind.len());
                let (value, behind) = behind.split_at_checked(end)?;
                (Cow::Borrowed(trim(value)), behind)
            }
        };
        rest = trim(behind);
        if !(rest.is_empty() || rest.starts_with(';')) {
            return None;
        }
        if name.eq_ignore_ascii_case(wanted) && found.replace(value).is_some() {
            return None;
        }
    }
}

/// The text before the closing quote, and the text behind it.
fn unquote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Cow::Owned(value), &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}
