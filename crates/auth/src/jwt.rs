//! Verification of JSON Web Tokens (RFC 7519). `ring` checks the signature; the claims are checked here,
//! where the time comes in as an argument.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
pub use jsonwebtoken::Algorithm;
use jsonwebtoken::AlgorithmFamily;

use super::integer::{self, integer};
use super::key::{self, VerifyingKey};
use super::members::{JsonMembers, Member};
use super::token::{BearerToken, Sources};
use super::{Identity, parse_id};
use codes::error::{Code, ConfigError, quote};
use http::Refusal;
use http::syntax::is_token;

/// Longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;
/// Largest [`JwtOptions::leeway_seconds`].
pub const MAX_LEEWAY_SECONDS: u64 = 300;
/// The last moment a JavaScript `Date` can hold, in Unix milliseconds.
const LAST_DATE_MS: u64 = 8_640_000_000_000_000;

/// The key that tokens are signed with.
#[derive(Clone)]
pub enum Key {
    /// The shared secret of HS256, HS384 and HS512.
    Secret(Vec<u8>),
    /// A public key in PEM: RSA (SubjectPublicKeyInfo or PKCS#1), EC P-256 or P-384, Ed25519.
    PublicPem(Vec<u8>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret([redacted])",
            Self::PublicPem(_) => "PublicPem([redacted])",
        })
    }
}

/// The rules that a token must fulfil, and the places where it is found.
#[derive(Clone, Debug)]
pub struct JwtOptions {
    /// Permitted algorithms; all of the key's family. Empty: HS256 for a secret, else what the key is.
    pub algorithms: Vec<Algorithm>,
    /// Permitted `iss`. Empty: not checked.
    pub issuers: Vec<String>,
    /// Whom tokens are for. Default: nobody is named.
    pub audience: Audience,
    /// The claim that holds the user id, a string or an integer. Default `sub`.
    pub user_id_claim: String,
    /// Difference of clocks that is allowed for `exp` and `nbf`. Default 5 s; at most 300 s.
    pub leeway_seconds: u64,
    /// True if a token without `exp` is refused. Default true. An `exp` that is there is always checked.
    pub require_exp: bool,
    /// True if the secret may be shorter than the hash of an algorithm (RFC 7518 section 3.2). Default false.
    pub allow_short_secret: bool,
    /// Further places that may carry the token. Default none.
    pub sources: Sources,
}

/// The rule for `aud` (RFC 7519 section 4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// It is not looked at.
    Any,
    /// One of these must be in it. If none is named, it must not be there: the token is for somebody else.
    OneOf(Vec<String>),
}

impl Default for JwtOptions {
    fn default() -> Self {
        Self {
            algorithms: Vec::new(),
            issuers: Vec::new(),
            audience: Audience::OneOf(Vec::new()),
            user_id_claim: "sub".to_owned(),
            leeway_seconds: 5,
            require_exp: true,
            allow_short_secret: false,
            sources: Sources::default(),
        }
    }
}

/// Verifies tokens against one key. `Debug` shows neither key nor secret.
pub struct Verifier {
    key: VerifyingKey,
    options: JwtOptions,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("key", &self.key).field("options", &self.options).finish()
    }
}

impl Verifier {
    /// Checks that key and options fit. Errors name the option under `auth.jwt`.
    pub fn new(key: Key, mut options: JwtOptions) -> Result<Self, ConfigError> {
        let key = match key {
            Key::Secret(secret) => key::secret(&secret)?,
            Key::PublicPem(pem) => key::public(&pem)?,
        };
        if options.algorithms.is_empty() {
            options.algorithms.push(key.default_algorithm());
        }
        for algorithm in &options.algorithms {
            check_algorithm(*algorithm, &key)?;
            if !options.allow_short_secret {
                check_length(*algorithm, &key)?;
            }
        }
        check_options(&options)?;
        Ok(Self { key, options })
    }

    /// The further places that may carry the token.
    pub fn sources(&self) -> &Sources {
        &self.options.sources
    }

    /// [`verify`](Self::verify) for a token that may be missing.
    pub fn authenticate(&self, token: Option<&BearerToken>, now_unix_secs: u64) -> Result<Identity, Refusal> {
        match token {
            Some(token) => self.verify(&token.0, now_unix_secs),
            None => Err(Refusal::new(Code::TokenMissing, self.options.sources.missing())),
        }
    }

    /// True if a signature takes so long that it must not be checked while others wait: see [`verify`](Self::verify).
    pub fn is_dear(&self) -> bool {
        self.key.is_public()
    }

    /// The identity that a token proves at this time. Costs one signature check: less than 1 µs for a secret, 26 µs for RSA of
    /// 2048 bits, 100 µs of 4096, 50 µs for Ed25519, 90 µs for P-256 and 0.7 ms for P-384.
    pub fn verify(&self, token: &str, now_unix_secs: u64) -> Result<Identity, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid("the token is longer than 8 KiB"));
        }
        let payload = self.verified_payload(token)?;
        let claims = members("claims", &payload)?;
        let expires_at = self.check_times(&claims, now_unix_secs)?;
        self.check_issuer_and_audience(&claims)?;
        let user_id = self.user_id(&claims)?;
        Ok(Identity { user_id, rooms: Vec::new(), data: Some(payload.into_boxed_str()), expires_at })
    }

    /// The claims as JSON text, once the signature over them holds.
    fn verified_payload(&self, token: &str) -> Result<String, Refusal> {
        let parts = token.rsplit_once('.').and_then(|(signed, signature)| {
            let (header, payload) = signed.split_once('.')?;
            Some((signed, header, payload, signature))
        });
        let Some((signed, header, payload, signature)) = parts else {
            return Err(invalid("the token is not of the form header.claims.signature"));
        };
        let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid("the token is not base64url"));
        let algorithm = self.algorithm(decode(header)?)?;
        let (signature, claims) = (decode(signature)?, decode(payload)?);
        if !self.key.verify(algorithm, signed.as_bytes(), &signature) {
            return Err(invalid("the token's signature does not fit"));
        }
        String::from_utf8(claims).map_err(|_| invalid("the token's claims are not UTF-8"))
    }

    /// The algorithm that a header (RFC 7515 section 4) names. Keys that it brings along, its type and the like are not looked
    /// at: nothing here depends on them.
    fn algorithm(&self, header: Vec<u8>) -> Result<Algorithm, Refusal> {
        let header = String::from_utf8(header).map_err(|_| invalid("the token's header is not UTF-8"))?;
        let header = members("header", &header)?;
        // Names only algorithms that this package knows; "none" is not among them.
        let named = header.get("alg").and_then(Member::text).and_then(|name| String::from_utf8(name).ok());
        let algorithm = named.and_then(|name| Algorithm::from_str(&name).ok());
        let algorithm =
            algorithm.ok_or_else(|| invalid("the token's header names no algorithm that is supported"))?;
        if !self.options.algorithms.contains(&algorithm) {
            return Err(invalid("the token is signed with an algorithm that is not permitted"));
        }
        // Section 4.1.11: listed names must be understood, and a list that is empty, or none, must not be there.
        if header.get("crit").is_some() {
            return Err(invalid("the token's header needs an extension that is not supported"));
        }
        // Never for a token (RFC 7797 section 7): the claims would not be in base64url.
        if header.get("b64").is_some_and(|encoded| !encoded.is_true()) {
            return Err(invalid("the token's header says that its claims are not base64url"));
        }
        Ok(algorithm)
    }

    /// `exp`, `nbf` and `iat` (RFC 7519 section 4.1.4 to 4.1.6). Returns when the token ends, leeway included.
    fn check_times(&self, claims: &JsonMembers<'_>, now: u64) -> Result<Option<u64>, Refusal> {
        let leeway = self.options.leeway_seconds;
        // Tells an age that nobody asks for; a number it has to be.
        number(claims, "iat")?;
        if let Some(from) = number(claims, "nbf")?
            && from > now.saturating_add(leeway) as f64
        {
            return Err(invalid("the token is not valid yet"));
        }
        let Some(until) = number(claims, "exp")? else {
            return if self.options.require_exp { Err(invalid("the token has no exp")) } else { Ok(None) };
        };
        let until = until + leeway as f64;
        if until <= now as f64 {
            return Err(Refusal::new(Code::TokenExpired, "the token has expired"));
        }
        // A float to integer cast saturates.
        Ok(Some(((until * 1000.0) as u64).min(LAST_DATE_MS)))
    }

    fn check_issuer_and_audience(&self, claims: &JsonMembers<'_>) -> Result<(), Refusal> {
        let among = |permitted: &[String], claim: Member<'_>| {
            claim.text().is_some_and(|claim| permitted.iter().any(|permitted| permitted.as_bytes() == claim))
        };
        let issuers = &self.options.issuers;
        if !issuers.is_empty() && !claims.get("iss").is_some_and(|iss| among(issuers, iss)) {
            return Err(invalid("the token's iss is not one that is permitted"));
        }
        let Audience::OneOf(audiences) = &self.options.audience else { return Ok(()) };
        let fits = |aud: Member<'_>| {
            aud.elements().unwrap_or_else(|| vec![aud]).into_iter().any(|aud| among(audiences, aud))
        };
        match (claims.get("aud"), audiences.is_empty()) {
            (None, true) => Ok(()),
            (Some(_), true) => {
                Err(invalid("the token is for an audience (aud), and auth.jwt.audience names none"))
            }
            (Some(aud), false) if fits(aud) => Ok(()),
            _ => Err(invalid("the token's aud is not one that is permitted")),
        }
    }

    fn user_id(&self, claims: &JsonMembers<'_>) -> Result<Arc<str>, Refusal> {
        let name = &self.options.user_id_claim;
        let refuse = |why: &str| Err(invalid(format!("the token's {name} {why}")));
        let Some(claim) = claims.get(name) else { return Err(invalid(format!("the token has no {name}"))) };
        let id = match (claim.text().map(String::from_utf8), claim.number().map(integer)) {
            (Some(Ok(text)), _) => text,
            (Some(Err(_)), _) => return refuse("holds half of a character (a lone surrogate)"),
            (None, Some(Ok(number))) => number.to_string(),
            (None, Some(Err(integer::IntegerFault::Unsafe))) => {
                return refuse(
                    "is beyond 2^53 - 1, where JavaScript takes different numbers for one: make it a string",
                );
            }
            (None, Some(Err(integer::IntegerFault::Fraction)) | None) => {
                return refuse("is neither a string nor an integer");
            }
        };
        parse_id(&id).or_else(|error| refuse(&error.to_string()))
    }
}

/// The algorithm of this name; the error names what is supported.
pub fn parse_algorithm(name: &str) -> Result<Algorithm, ConfigError> {
    Algorithm::from_str(name).map_err(|_| {
        let hint = if name == "ES512" { " (ES512 is not supported)" } else { "" };
        ConfigError::out_of_range(
            ALGORITHMS,
            &format!(
                "some of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA{hint}"
            ),
            &quote(name),
        )
    })
}

const ALGORITHMS: &str = "auth.jwt.algorithms";

/// An algorithm that the key can't verify would only be noticed when every token is refused; one of another family
/// would be the door to forging tokens with the public key as an HMAC secret.
fn check_algorithm(algorithm: Algorithm, key: &VerifyingKey) -> Result<(), ConfigError> {
    if key.fits(algorithm) {
        return Ok(());
    }
    let default = key.default_algorithm();
    let expected = match default.family() {
        AlgorithmFamily::Hmac => "HS256, HS384 or HS512 with auth.jwt.secret".to_owned(),
        AlgorithmFamily::Rsa => "RS256, RS384, RS512, PS256, PS384 or PS512 with an RSA key".to_owned(),
        AlgorithmFamily::Ec | AlgorithmFamily::Ed => format!("{default:?} with this public key"),
    };
    Err(ConfigError::out_of_range(ALGORITHMS, &expected, &quote(&format!("{algorithm:?}"))))
}

/// RFC 7518 section 3.2: from one token a shorter secret can be found by trying, without a single request.
fn check_length(algorithm: Algorithm, key: &VerifyingKey) -> Result<(), ConfigError> {
    let (least, got) = (key::least_bytes(algorithm), key.secret_bytes());
    if got.is_none_or(|got| got >= least) {
        return Ok(());
    }
    let expected = format!("at least {least} bytes long for {algorithm:?} (see auth.jwt.allowShortSecret)");
    Err(ConfigError::out_of_range("auth.jwt.secret", &expected, "a shorter one"))
}

fn check_options(options: &JwtOptions) -> Result<(), ConfigError> {
    let refuse = |option: &str, expected: &str, got: &str| {
        Err(ConfigError::out_of_range(&format!("auth.jwt.{option}"), expected, got))
    };
    let audiences: &[String] = match &options.audience {
        Audience::Any => &[],
        Audience::OneOf(audiences) => audiences,
    };
    for (option, list) in [("issuer", &options.issuers[..]), ("audience", audiences)] {
        if list.iter().any(String::is_empty) {
            return refuse(option, "a non-empty string, or several", "''");
        }
    }
    if options.user_id_claim.is_empty() {
        return refuse("userIdClaim", "a non-empty string", "''");
    }
    if options.leeway_seconds > MAX_LEEWAY_SECONDS {
        return refuse(
            "leewaySeconds",
            "an integer from 0 to 300 (seconds)",
            &options.leeway_seconds.to_string(),
        );
    }
    if let Some(name) = options.sources.cookie.as_deref().filter(|name| !is_token(name)) {
        return refuse("cookie", "a cookie name", &quote(name));
    }
    if options.sources.query.as_deref() == Some("") {
        return refuse("query", "the name of a query parameter", "''");
    }
    Ok(())
}

/// A part of the token that is a JSON object.
fn members<'a>(part: &str, text: &'a str) -> Result<JsonMembers<'a>, Refusal> {
    JsonMembers::parse(text).map_err(|fault| invalid(format!("the token's {part} {fault}")))
}

/// A NumericDate (RFC 7519 section 2): seconds, not necessarily whole. One that is too large for a number is infinite, as
/// `JSON.parse` has it.
fn number(claims: &JsonMembers<'_>, name: &str) -> Result<Option<f64>, Refusal> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    match claim.number().and_then(|number| number.parse().ok()) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(invalid(format!("the token's {name} is not a number"))),
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::TokenInvalid, message)
}

#[cfg(test)]
mod tests;
