//! The opening handshake: the checks of a request (RFC 6455, section 4.2.1), and the 101 that accepts it (section 4.2.2).

use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use codes::error::Code;
use sha1::{Digest, Sha1};

use crate::head::RequestHead;
use crate::header_lines::HeaderLines;
use crate::origin::Authority;
use crate::refusal::Refusal;
use crate::syntax::is_token;

/// The subprotocol under which browsers send their token; an app can't have it for its own.
pub const BEARER: &str = "bearer";
/// Hashed together with the key (RFC 6455 section 1.3).
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

/// The rules for a request beyond RFC 6455.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Longest request target, in bytes.
    pub max_url_bytes: usize,
    /// Largest sum of the header lines, in bytes.
    pub max_header_bytes: usize,
    /// Subprotocols of the app, most wanted first.
    pub protocols: &'a [String],
    /// A subprotocol beside those, less wanted than any of them.
    pub own_protocol: Option<&'a str>,
    /// True if a refusal may be a close frame behind a 101.
    pub closes: bool,
}

/// A request that may be upgraded.
#[derive(Clone, Debug)]
pub struct Accept {
    /// `Sec-WebSocket-Accept` of the answer.
    pub accept_key: String,
    /// The first of the app's subprotocols that the client offered.
    pub protocol: Option<String>,
    /// True if the client offered `bearer`, the subprotocol that carries a token.
    pub bearer: bool,
    /// The first that it offered, if that is needed for [`Accept::farewell`].
    first: Option<String>,
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

/// Checks sizes and what RFC 6455 asks for; neither the origin nor a token.
///
/// # Errors
/// The refusal that the client gets.
pub fn accept(head: &RequestHead, rules: &Rules<'_>) -> Result<Accept, Refusal> {
    check_sizes(head, rules)?;
    check_request(head)?;
    let accept_key = accept_key(head)?;
    let (protocol, bearer) = choose_protocol(head, rules)?;
    // Without `bearer` none of them is a token.
    let may_close = rules.closes && protocol.is_none() && !bearer;
    let first = head.list("sec-websocket-protocol").next().filter(|_| may_close).map(str::to_owned);
    Ok(Accept { accept_key, protocol, bearer, first })
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

fn check_sizes(head: &RequestHead, rules: &Rules<'_>) -> Result<(), Refusal> {
    if head.target.len() > rules.max_url_bytes {
        let message = format!("the request target is longer than {} bytes", rules.max_url_bytes);
        return Err(Refusal::new(Code::UrlTooLong, message));
    }
    if head.header_bytes() > rules.max_header_bytes {
        let message = format!("the request headers are larger than {} bytes", rules.max_header_bytes);
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
    if head.single("host").and_then(Authority::parse).is_none() {
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
fn choose_protocol(head: &RequestHead, rules: &Rules<'_>) -> Result<(Option<String>, bool), Refusal> {
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
    let mut wanted = rules.protocols.iter().map(String::as_str).chain(rules.own_protocol);
    let choice = wanted.find(|name| offered.contains(name) && secret != Some(*name));
    Ok((choice.map(str::to_owned), offered.contains(BEARER)))
}
