//! The opening handshake (RFC 6455 section 4.2), as pure functions of the request head: no socket, no clock.
//!
//! Checks run from cheap to dear: sizes, the request itself, the origin, then the token is looked for.
//! Nothing a peer sends panics, and no message repeats a token.

mod forwarded;
mod headers;
mod kept;
mod origin;
mod refusal;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use sha1::{Digest, Sha1};

use super::auth::token::{self, Token};
use super::config::{Auth, BEARER, Config, RejectWith};
use super::error::Code;

pub use forwarded::{Client, HOPS, ProxyHeader, TrustProxy};
pub use headers::HeaderLines;
pub(super) use kept::keep;
pub use origin::{OriginPattern, check_origin};
pub use refusal::{Own, Refusal};

/// What the key is hashed with (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The version this server speaks (RFC 6455 section 4.1).
const VERSION: &str = "13";
/// Padded base64. Unused bits of the last character are ignored: section 4.2.1 asks for no more than 16 decoded bytes.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Request line and headers of an upgrade, as they came.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method, such as `GET`.
    pub method: String,
    /// The request target: path and query.
    pub target: String,
    /// Major and minor HTTP version.
    pub version: (u8, u8),
    /// Name and value of each header line; repeated headers stay separate.
    pub headers: Vec<(String, String)>,
}

impl RequestHead {
    /// Parses `method\nurl\nhttpVersion\nname\nvalue\nname\nvalue…`; `None` if it is not of that form.
    pub fn parse_joined(joined: &str) -> Option<Self> {
        let mut lines = joined.split('\n');
        let (method, target, version) = (lines.next()?, lines.next()?, lines.next()?);
        let (major, minor) = version.split_once('.')?;
        let mut headers = Vec::new();
        while let Some(name) = lines.next() {
            headers.push((name.to_owned(), lines.next()?.to_owned()));
        }
        Some(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: (parse_digits(major)?, parse_digits(minor)?),
            headers,
        })
    }

    /// The value of the first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_all(name).next()
    }

    /// The values of all headers of this name, in order, without white space around them.
    pub fn headers_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(header, _)| header.eq_ignore_ascii_case(name));
        named.map(|(_, value)| trim(value))
    }

    /// The elements of a comma-separated header over all its lines. Empty ones mean nothing (RFC 9110 section 5.6.1.2).
    pub(in crate::engine) fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let elements = self.headers_all(name).flat_map(|value| value.split(',')).map(trim);
        elements.filter(|element| !element.is_empty())
    }

    /// Whether a body follows the head, be it an empty one in chunks. Its bytes would be taken for frames.
    fn has_body(&self) -> bool {
        let is_zero = |length: &str| length.bytes().all(|digit| digit == b'0');
        self.header("transfer-encoding").is_some() || !self.list("content-length").all(is_zero)
    }

    /// The value of a header that must come exactly once.
    fn single(&self, name: &str) -> Option<&str> {
        let mut values = self.headers_all(name);
        values.next().filter(|_| values.next().is_none())
    }

    fn header_bytes(&self) -> usize {
        // ": " and CRLF are four bytes a line.
        self.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
    }
}

/// A request that may be upgraded.
#[derive(Clone, Debug)]
pub struct Accept {
    /// `Sec-WebSocket-Accept` of the answer.
    pub accept_key: String,
    /// The first of the app's subprotocols that the client offered.
    pub protocol: Option<String>,
    /// Whether the client offered `bearer`, the subprotocol that carries a token.
    pub bearer: bool,
    /// The first that it offered, if that is needed for [`Accept::farewell`].
    first: Option<String>,
    /// The token as found, unverified. Always `None` unless [`Auth::Jwt`].
    pub token: Option<Token>,
}

impl Accept {
    /// The subprotocol to answer with: the app's, else `bearer` if it was offered, because a browser
    /// fails the connection when it offered some and none comes back. Never the token that follows `bearer`.
    pub fn answer(&self) -> Option<&str> {
        self.protocol.as_deref().or(self.bearer.then_some(BEARER))
    }

    /// The subprotocol to answer with where a close frame follows at once: any, or a browser that offered some sees no close code.
    pub fn farewell(&self) -> Option<&str> {
        self.answer().or(self.first.as_deref())
    }
}

/// All checks: sizes, RFC 6455, the origin, and that the token (if one is wanted) has a readable place.
/// Whether the token is there and valid is the verifier's to say. `tls` is [`Client::tls`].
pub fn check(head: &RequestHead, tls: bool, config: &Config) -> Result<Accept, Refusal> {
    let mut accept = accept(head, config)?;
    check_origin(head, tls, &config.origins)?;
    if let Auth::Jwt(verifier) = &config.auth {
        accept.token = token::find(head, verifier.sources())?;
    }
    Ok(accept)
}

/// Sizes and RFC 6455 alone, neither origin nor token. For those who bring their own identity, and for
/// `rejectWith: 'close'`, which must accept what [`check`] refused with 401 or 403.
pub fn accept(head: &RequestHead, config: &Config) -> Result<Accept, Refusal> {
    check_sizes(head, config)?;
    check_request(head)?;
    let accept_key = accept_key(head)?;
    let (protocol, bearer) = choose_protocol(head, &config.protocols)?;
    // Without `bearer` none of them is a token.
    let may_close = config.reject_with == RejectWith::Close && protocol.is_none() && !bearer;
    let first = head.list("sec-websocket-protocol").next().filter(|_| may_close).map(str::to_owned);
    Ok(Accept { accept_key, protocol, bearer, first, token: None })
}

/// The answer that completes the handshake, with [`Accept::answer`] or another offered subprotocol, and what the embedder adds.
pub fn response_101(accept: &Accept, protocol: Option<&str>, headers: &HeaderLines) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
        accept.accept_key
    );
    // Anything but a token could end the header line.
    if let Some(protocol) = protocol.filter(|protocol| is_token(protocol)) {
        response.push_str("Sec-WebSocket-Protocol: ");
        response.push_str(protocol);
        response.push_str("\r\n");
    }
    [response.as_bytes(), headers.as_bytes(), b"\r\n"].concat()
}

/// Whether this is a token (RFC 9110 section 5.6.2).
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn check_sizes(head: &RequestHead, config: &Config) -> Result<(), Refusal> {
    let limits = &config.limits;
    if head.target.len() > limits.max_url_bytes {
        let message = format!("the request target is longer than {} bytes", limits.max_url_bytes);
        return Err(Refusal::new(Code::UrlTooLong, message));
    }
    if head.header_bytes() > limits.max_header_bytes {
        let message = format!("the request headers are larger than {} bytes", limits.max_header_bytes);
        return Err(Refusal::new(Code::HeadersTooLarge, message));
    }
    Ok(())
}

/// RFC 6455 section 4.2.1, items 1 to 4 and 6.
fn check_request(head: &RequestHead) -> Result<(), Refusal> {
    if head.method != "GET" {
        return Err(Refusal::new(Code::BadMethod, "the method of a WebSocket upgrade must be GET"));
    }
    if !matches!(head.version, (1, 1..)) {
        return Err(Refusal::new(Code::BadHttpVersion, "a WebSocket upgrade needs HTTP/1.1"));
    }
    if head.has_body() {
        return Err(Refusal::new(Code::BadBody, "a WebSocket upgrade may have no body"));
    }
    if head.single("host").and_then(origin::Authority::parse).is_none() {
        return Err(Refusal::new(Code::BadHost, "there must be exactly one Host header with a valid host"));
    }
    if !head.list("upgrade").any(|token| token.eq_ignore_ascii_case("websocket")) {
        return Err(Refusal::new(Code::BadUpgrade, "the Upgrade header must name websocket"));
    }
    if !head.list("connection").any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return Err(Refusal::new(Code::BadConnection, "the Connection header must name upgrade"));
    }
    // A missing version gets the same 426 as a wrong one: the answer tells the client what is spoken here.
    if head.single("sec-websocket-version") != Some(VERSION) {
        return Err(Refusal::new(Code::BadVersion, "Sec-WebSocket-Version must be 13"));
    }
    Ok(())
}

/// RFC 6455 section 4.2.1 item 5, and the answer to it (section 4.2.2 item 5.4).
fn accept_key(head: &RequestHead) -> Result<String, Refusal> {
    let key = head.single("sec-websocket-key").filter(|key| {
        let mut nonce = [0; 18];
        key.len() == 24 && KEY_BASE64.decode_slice(key, &mut nonce) == Ok(16)
    });
    let Some(key) = key else {
        let message = "there must be exactly one Sec-WebSocket-Key, 16 bytes in base64";
        return Err(Refusal::new(Code::BadKey, message));
    };
    let digest = Sha1::new_with_prefix(key).chain_update(GUID).finalize();
    Ok(general_purpose::STANDARD.encode(digest))
}

/// The app's subprotocol that was offered, and whether `bearer` was (RFC 6455 section 4.2.2 item 5.5).
fn choose_protocol(head: &RequestHead, wanted: &[String]) -> Result<(Option<String>, bool), Refusal> {
    let mut offered = HashSet::new();
    let mut secret = None;
    let mut previous = "";
    for protocol in head.list("sec-websocket-protocol") {
        if !is_token(protocol) {
            return Err(Refusal::new(Code::BadProtocol, "Sec-WebSocket-Protocol must be a list of tokens"));
        }
        if !offered.insert(protocol) {
            return Err(Refusal::new(Code::BadProtocol, "Sec-WebSocket-Protocol names a subprotocol twice"));
        }
        if previous == BEARER {
            secret = Some(protocol);
        }
        previous = protocol;
    }
    // A token follows `bearer`; to choose it would echo it.
    let choice = wanted.iter().find(|name| offered.contains(name.as_str()) && secret != Some(name.as_str()));
    Ok((choice.cloned(), offered.contains(BEARER)))
}

/// Without the optional white space around it (RFC 9110 section 5.6.3).
pub(in crate::engine) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A decimal number of nothing but digits; `str::parse` would take a sign as well.
fn parse_digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
