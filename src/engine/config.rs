//! One configuration of the engine: every option, its default and its permitted range in one place.

use std::sync::Arc;
use std::thread::available_parallelism;

use auth::jwt::Verifier;
use codes::error::{Code, ConfigError, quote};
use http::syntax::is_token;
use http::{BEARER, Origins, ProxyHeader, Rules, TrustProxy};

use super::authorize::Authorize;
use crate::broker::history::HistoryConfig;
use crate::broker::redis::{RedisConfig, Routing};
use crate::worker::heartbeat::Heartbeat;
use crate::worker::limits::Limits;

mod number;

pub use number::{NUMBERS, Number};

/// Most subprotocols an app can name.
pub const MAX_PROTOCOLS: usize = 32;
/// Most headers that an app can have kept.
pub const MAX_KEPT: usize = 32;
/// Most bytes of [`Config::name`].
pub const MAX_NAME_BYTES: usize = 64;
/// Most bytes of [`Config::path`].
pub const MAX_PATH_BYTES: usize = 1024;

/// Everything a manager can be told. [`Config::new`] has all defaults; [`Config::validate`] says whether the values fit.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name within the process. Default `default`; 1 to 64 bytes.
    pub name: String,
    /// Pathname whose upgrades are taken; a trailing slash is ignored on both sides.
    /// Default `/api/websocket`; at most 1,024 bytes, begins with `/`, no `?` and no `#`.
    pub path: String,
    /// Subprotocols of the app, most wanted first. Default none; at most 32 unique tokens (RFC 9110 section 5.6.2).
    pub protocols: Vec<String>,
    /// Names of the request's headers, in lower case, that are kept with its target for as long as the connection lasts. Default
    /// none: nothing of the request is kept. At most 32 unique tokens.
    pub keep_headers: Option<Vec<String>>,
    /// The clients that may connect. No default.
    pub auth: Auth,
    /// The way in which a browser learns that it was refused. Default [`RejectWith::Http`].
    pub reject_with: RejectWith,
    /// The pages that may connect. Default [`Origins::SameHost`].
    pub origins: Origins,
    /// The proxies that are believed about a request's origin. Default [`TrustProxy::Nobody`].
    pub trust_proxy: TrustProxy,
    /// The header in which they say so. Default [`ProxyHeader::XForwardedFor`].
    pub proxy_header: ProxyHeader,
    /// When peers are asked for a sign of life.
    pub heartbeat: Heartbeat,
    /// Bounds of memory and time.
    pub limits: Limits,
    /// The recipients of a client's message. Default [`Relay::User`].
    pub relay: Relay,
    /// The Redis that servers reach each other through. Default none: this server is on its own.
    pub redis: RedisConfig,
    /// The topics whose last messages are kept. Default none. Needs [`Routing::User`].
    pub history: HistoryConfig,
    /// The rooms that clients may join by themselves. Default none.
    pub authorize: Authorize,
    /// Worker threads. Default the number of available cores, at most 4; 1 to 64.
    /// Each costs a thread and a read buffer.
    pub threads: usize,
}

/// The clients that may connect, and the way to find that out.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Everybody; each connection is a user of its own under a random id.
    Anonymous,
    /// The bearer of a valid JWT.
    Jwt(Arc<Verifier>),
    /// Clients that a callback outside the engine lets in.
    Callback,
    /// Nobody but those whom the embedder vouches for.
    Nobody,
}

/// Whom a client's message is sent to without the app's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relay {
    /// All connections of the sender's own user.
    User,
    /// The rooms the connection is in.
    Rooms,
    /// Nobody.
    Off,
}

/// The form of a refusal for want of valid credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectWith {
    /// By an HTTP answer. Browsers show scripts nothing but 1006.
    Http,
    /// By accepting, and closing at once with 4001, 4401 or 4403, which scripts can see.
    Close,
}

impl Config {
    /// All defaults but `auth`, which has none.
    pub fn new(auth: Auth) -> Self {
        Self {
            name: "default".to_owned(),
            path: "/api/websocket".to_owned(),
            protocols: Vec::new(),
            keep_headers: None,
            auth,
            reject_with: RejectWith::Http,
            origins: Origins::SameHost,
            trust_proxy: TrustProxy::default(),
            proxy_header: ProxyHeader::default(),
            heartbeat: Heartbeat::default(),
            limits: Limits::default(),
            relay: Relay::User,
            redis: RedisConfig::default(),
            history: HistoryConfig::default(),
            authorize: Authorize::default(),
            threads: available_parallelism().map_or(1, |cores| cores.get().min(4)),
        }
    }

    /// The rules that a request has to fit.
    pub fn rules(&self) -> Rules<'_> {
        Rules {
            max_url_bytes: self.limits.max_url_bytes,
            max_header_bytes: self.limits.max_header_bytes,
            protocols: &self.protocols,
            own_protocol: Some(subprotocol::NAME),
            closes: self.reject_with == RejectWith::Close,
        }
    }

    /// Checks that every value is a permitted one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_name(&self.name)?;
        check_path(&self.path)?;
        check_protocols(&self.protocols)?;
        check_kept(self.keep_headers.as_deref().unwrap_or_default())?;
        self.redis.validate()?;
        self.history.validate()?;
        if self.history.is_on() && self.redis.is_on() && self.redis.routing == Routing::Shared {
            let text = "history needs redis.routing 'user': the shared channel has no place for positions";
            return Err(ConfigError::new(Code::InvalidOption, "history", text));
        }
        if self.authorize.claim.is_some() && !matches!(self.auth, Auth::Jwt(_)) {
            let text = "authorize.claim needs auth.jwt: only a token has claims";
            return Err(ConfigError::new(Code::InvalidOption, "authorize.claim", text));
        }
        for number in NUMBERS {
            let value = (number.get)(self);
            if number.unlimited && value == u64::MAX {
                continue;
            }
            if !(number.min..=number.max).contains(&value) {
                return Err(ConfigError::out_of_range(number.path, &number.expected(), &value.to_string()));
            }
        }
        self.limits.check_memory()?;
        if let Auth::Jwt(verifier) = &self.auth
            && verifier.sources().cookie.is_some()
            && let Some(open) = self.origins.open_to_any_page()
        {
            let message = format!(
                "auth.jwt.cookie can't be used with allowedOrigins '{open}': any page could connect as its visitor"
            );
            return Err(ConfigError::new(Code::OptionOutOfRange, "auth.jwt.cookie", message));
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) {
        return Ok(());
    }
    Err(ConfigError::out_of_range("name", "a string of 1 to 64 bytes", &quote(name)))
}

fn check_path(path: &str) -> Result<(), ConfigError> {
    if path.starts_with('/') && path.len() <= MAX_PATH_BYTES && !path.contains(['?', '#']) {
        return Ok(());
    }
    let expected = "a pathname that begins with '/', without '?' and '#', of at most 1024 bytes";
    Err(ConfigError::out_of_range("path", expected, &quote(path)))
}

fn check_protocols(protocols: &[String]) -> Result<(), ConfigError> {
    let refuse = |expected: &str, got: String| Err(ConfigError::out_of_range("protocols", expected, &got));
    if protocols.len() > MAX_PROTOCOLS {
        return refuse("at most 32 subprotocols", protocols.len().to_string());
    }
    for (i, protocol) in protocols.iter().enumerate() {
        if !is_token(protocol) {
            return refuse("a list of tokens (letters, digits and !#$%&'*+-.^_`|~)", quote(protocol));
        }
        if protocol.eq_ignore_ascii_case(BEARER) {
            return refuse("a list without 'bearer', which is reserved for tokens", quote(protocol));
        }
        if protocols[..i].contains(protocol) {
            return refuse("a list without duplicates", format!("{} twice", quote(protocol)));
        }
    }
    Ok(())
}

fn check_kept(names: &[String]) -> Result<(), ConfigError> {
    let refuse = |expected: &str, got: String| Err(ConfigError::out_of_range("keepHeaders", expected, &got));
    if names.len() > MAX_KEPT {
        return refuse("at most 32 names of headers", names.len().to_string());
    }
    for (i, name) in names.iter().enumerate() {
        if !is_token(name) {
            return refuse("a list of names of headers", quote(name));
        }
        if names[..i].contains(name) {
            return refuse("a list without duplicates", format!("{} twice", quote(name)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(Auth::Anonymous)
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(config().validate(), Ok(()));
    }

    #[test]
    fn every_number_takes_its_bounds_and_nothing_outside_them() {
        for number in NUMBERS {
            let below = number.min.checked_sub(1).map(|below| (below, false));
            let others = [(number.min, true), (number.max, true), (number.max + 1, false)];
            for (value, valid) in below.into_iter().chain(others) {
                let mut config = config();
                if number.path == "limits.memoryBytes" {
                    (config.limits.outbox_bytes, config.limits.max_payload) = (1024, 1024);
                }
                (number.set)(&mut config, value);
                assert_eq!((number.get)(&config), value, "{number:?}");
                match config.validate() {
                    Ok(()) => assert!(valid, "{number:?} took {value}"),
                    Err(error) => {
                        assert!(!valid, "{error}");
                        assert_eq!(error.code(), "ERR_OPTION_OUT_OF_RANGE");
                        assert_eq!(error.option, number.path);
                        assert!(error.message.contains(&value.to_string()), "{error}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_memory_has_room_for_two_messages_of_the_largest_kind() {
        let validated = |memory_bytes, outbox_bytes, max_payload| {
            let mut config = config();
            config.limits = Limits { memory_bytes, outbox_bytes, max_payload, ..config.limits };
            config.validate().map_err(|error| (error.option.clone(), error.code(), error.message))
        };
        assert_eq!(validated(2 << 20, 1 << 20, 1 << 20), Ok(()));
        assert_eq!(validated(usize::MAX, 1 << 20, 256 << 20), Ok(()));
        for (outbox_bytes, max_payload, larger) in
            [(1 << 20, 3 << 20, "limits.maxPayload"), (3 << 20, 1 << 20, "limits.outboxBytes")]
        {
            assert_eq!(validated(6 << 20, outbox_bytes, max_payload), Ok(()));
            let message =
                format!("limits.memoryBytes must be at least twice {larger}, which is 3145728, got 6291455");
            assert_eq!(
                validated((6 << 20) - 1, outbox_bytes, max_payload),
                Err(("limits.memoryBytes".to_owned(), "ERR_OPTION_OUT_OF_RANGE", message))
            );
        }
    }

    #[test]
    fn no_limit_is_a_valid_number_of_connections_and_of_bytes_of_all_outboxes_only() {
        for number in NUMBERS {
            let mut config = config();
            (number.set)(&mut config, u64::MAX);
            let unlimited = ["limits.memoryBytes", "limits.maxConnections"].contains(&number.path);
            assert_eq!(config.validate().is_ok(), unlimited, "{number:?}");
        }
    }

    #[test]
    fn names_paths_and_subprotocols_outside_their_range_are_refused_by_name() {
        let refused = |change: fn(&mut Config)| {
            let mut config = config();
            change(&mut config);
            config.validate().err().map(|error| (error.option.clone(), error.code()))
        };
        let code = "ERR_OPTION_OUT_OF_RANGE";
        for change in [|c: &mut Config| c.name.clear(), |c: &mut Config| c.name = "x".repeat(65)] {
            assert_eq!(refused(change), Some(("name".to_owned(), code)));
        }
        let paths: [fn(&mut Config); 5] = [
            |c| c.path.clear(),
            |c| c.path = "ws".into(),
            |c| c.path = "/a?b".into(),
            |c| c.path = "/a#b".into(),
            |c| c.path = "/".repeat(1025),
        ];
        for change in paths {
            assert_eq!(refused(change), Some(("path".to_owned(), code)));
        }
        let kept: [fn(&mut Config); 4] = [
            |c| c.keep_headers = Some(vec![String::new()]),
            |c| c.keep_headers = Some(vec!["user agent".into()]),
            |c| c.keep_headers = Some(vec!["a".into(), "b".into(), "a".into()]),
            |c| c.keep_headers = Some((0..33).map(|i| format!("h{i}")).collect()),
        ];
        for change in kept {
            assert_eq!(refused(change), Some(("keepHeaders".to_owned(), code)));
        }
        let protocols: [fn(&mut Config); 5] = [
            |c| c.protocols = vec![String::new()],
            |c| c.protocols = vec!["a b".into()],
            |c| c.protocols = vec!["Bearer".into()],
            |c| c.protocols = vec!["a".into(), "b".into(), "a".into()],
            |c| c.protocols = (0..33).map(|i| format!("p{i}")).collect(),
        ];
        for change in protocols {
            assert_eq!(refused(change), Some(("protocols".to_owned(), code)));
        }
    }
}
