//! The options of `new WebSocketManager(server, options)`: from JavaScript to a [`Config`], or an error that names the
//! option. [`OPTIONS`] and the engine's [`NUMBERS`] are the one list of what there is.

mod draft;
mod history;
#[cfg(test)]
mod tests;
mod unknown;
mod value;

use std::sync::Arc;

use auth::jwt::{Audience, JwtOptions, Key, MAX_LEEWAY_SECONDS, Verifier, parse_algorithm};
use codes::error::{Code, ConfigError};
use http::{HOPS, Origins, ProxyHeader, TrustProxy};
use napi::Env;
use napi::bindgen_prelude::Unknown;

use self::draft::{AuthDraft, Draft};
use self::history::HistoryDraft;
use self::unknown::{members, unknown, unknown_at};
use self::value::{Known, Value, Wrong, explain, join};
use super::throw::throw;
use crate::broker::redis::{MAX_URLS, RedisConfig, Routing, Server};
use crate::engine::config::{Auth, Config, NUMBERS, RejectWith, Relay};

/// The values of the process' environment for options that are left out.
#[derive(Default)]
pub(crate) struct Environment {
    /// `JWT_SECRET`, for `auth`.
    pub(crate) jwt_secret: Option<String>,
    /// `REDIS_URL`, for `redis.url`.
    pub(crate) redis_url: Option<String>,
    /// Bytes of memory that the process may use, for `limits.memoryBytes`.
    pub(crate) memory: Option<u64>,
    /// True if the manager has no server. Without a rule of who may connect, only clients may that the application vouches for.
    pub(crate) serverless: bool,
}

/// Parses the options of a manager, `undefined` included.
///
/// # Errors
/// `Status::PendingException`: a `TypeError` or `RangeError` with a `code` is pending, or what a getter threw.
pub(crate) fn parse(env: &Env, options: Unknown<'_>, environment: Environment) -> napi::Result<Config> {
    let options = value::read(options, "", &known)?;
    build(options, environment).map_err(|error| throw(env, error.kind, &error.message))
}

/// Parses what a manager's option `redis` takes, by itself. A URL has to come from somewhere.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_redis(
    env: &Env,
    options: Unknown<'_>,
    redis_url: Option<String>,
) -> napi::Result<RedisConfig> {
    let options = value::read(options, "redis", &known)?;
    build_redis(options, redis_url).map_err(|error| throw(env, error.kind, &error.message))
}

/// Full paths of all options; those that hold others come before them.
pub(crate) fn option_paths() -> Vec<&'static str> {
    OPTIONS.iter().map(|option| option.path).chain(NUMBERS.iter().map(|number| number.path)).collect()
}

/// The members of an option.
fn known(path: &str) -> Known {
    Known { names: members(path), others: (path == history::ROOMS).then_some(history::EACH_ROOM) }
}

/// An option that is no plain number.
struct Opt {
    path: &'static str,
    /// Description of the values that it takes, to follow "must be".
    expected: &'static str,
    set: fn(&mut Draft, Value) -> Result<(), Wrong>,
}

const fn opt(
    path: &'static str,
    expected: &'static str,
    set: fn(&mut Draft, Value) -> Result<(), Wrong>,
) -> Opt {
    Opt { path, expected, set }
}

/// All options but the plain numbers.
const OPTIONS: &[Opt] = &[
    opt("name", "a string of 1 to 64 bytes", |draft, value| {
        draft.config.name = value.text()?;
        Ok(())
    }),
    opt("path", "a string that begins with '/'", |draft, value| {
        draft.config.path = value.text()?;
        Ok(())
    }),
    opt("protocols", "an array of strings, at most 32", |draft, value| {
        draft.config.protocols = value.texts()?;
        Ok(())
    }),
    opt("keepHeaders", "an array of names of headers, at most 32", |draft, value| {
        let names = value.texts()?;
        draft.config.keep_headers = Some(names.iter().map(|name| name.to_ascii_lowercase()).collect());
        Ok(())
    }),
    opt("auth", "'anonymous', { jwt: {…} } or { authenticate: function }", |draft, value| {
        draft.auth = Some(match value {
            Value::Text(text) if text == "anonymous" => AuthDraft { anonymous: true, ..AuthDraft::default() },
            Value::Text(_) => return Err(Wrong::Value),
            value => value.object().map(|()| AuthDraft::default())?,
        });
        Ok(())
    }),
    opt("auth.authenticate", "a function", |draft, value| {
        value.function()?;
        draft.auth().authenticate = true;
        Ok(())
    }),
    opt("auth.jwt", "an object", |draft, value| {
        value.object()?;
        draft.jwt();
        Ok(())
    }),
    opt("auth.jwt.secret", "a string or a Uint8Array", |draft, value| {
        draft.jwt().secret = Some(value.bytes()?);
        Ok(())
    }),
    opt("auth.jwt.publicKey", "a PEM string or a Uint8Array", |draft, value| {
        draft.jwt().public_key = Some(value.bytes()?);
        Ok(())
    }),
    opt("auth.jwt.algorithms", "a non-empty array of strings", |draft, value| {
        let names = value.texts()?;
        if names.is_empty() {
            return Err(Wrong::Value);
        }
        let algorithms = names.iter().map(|name| parse_algorithm(name));
        draft.jwt().options.algorithms = algorithms.collect::<Result<_, _>>()?;
        Ok(())
    }),
    opt("auth.jwt.issuer", "a non-empty string or an array of such", |draft, value| {
        draft.jwt().options.issuers = value.one_or_more()?;
        Ok(())
    }),
    opt("auth.jwt.audience", "a non-empty string, an array of such, or false", |draft, value| {
        draft.jwt().options.audience = match value {
            Value::Flag(false) => Audience::Any,
            value => Audience::OneOf(value.one_or_more()?),
        };
        Ok(())
    }),
    opt("auth.jwt.userIdClaim", "a non-empty string", |draft, value| {
        draft.jwt().options.user_id_claim = value.text()?;
        Ok(())
    }),
    opt("auth.jwt.leewaySeconds", "an integer from 0 to 300 (seconds)", |draft, value| {
        draft.jwt().options.leeway_seconds = value.integer(0, MAX_LEEWAY_SECONDS)?;
        Ok(())
    }),
    opt("auth.jwt.requireExp", "a boolean", |draft, value| {
        draft.jwt().options.require_exp = value.flag()?;
        Ok(())
    }),
    opt("auth.jwt.allowShortSecret", "a boolean", |draft, value| {
        draft.jwt().options.allow_short_secret = value.flag()?;
        Ok(())
    }),
    opt("auth.jwt.cookie", "the name of a cookie, a string", |draft, value| {
        draft.jwt().options.sources.cookie = Some(value.text()?);
        Ok(())
    }),
    opt("auth.jwt.query", "the name of a query parameter, a string", |draft, value| {
        draft.jwt().options.sources.query = Some(value.text()?);
        Ok(())
    }),
    opt("rejectWith", "'http' or 'close'", |draft, value| {
        draft.config.reject_with = match value.text()?.as_str() {
            "http" => RejectWith::Http,
            "close" => RejectWith::Close,
            _ => return Err(Wrong::Value),
        };
        Ok(())
    }),
    opt("allowedOrigins", "'*' or an array of strings like 'https://example.com'", |draft, value| {
        draft.config.origins = match value {
            Value::Text(text) if text == "*" => Origins::Any,
            Value::Text(_) => return Err(Wrong::Value),
            value => {
                let texts = value.texts()?;
                Origins::List(texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
            }
        };
        Ok(())
    }),
    opt(
        "trustProxy",
        "false, the number of proxies (1 to 16), or their addresses, a string or an array of such",
        |draft, value| {
            draft.config.trust_proxy = match value {
                Value::Flag(false) => TrustProxy::Nobody,
                // `true` is none: that would be to believe the leftmost address of the header, which the client can make up.
                Value::Number(_) => TrustProxy::Hops(value.integer(*HOPS.start(), *HOPS.end())?),
                value => TrustProxy::parse(&value.one_or_more()?)?,
            };
            Ok(())
        },
    ),
    opt("proxyHeader", "'x-forwarded-for' or 'forwarded'", |draft, value| {
        draft.config.proxy_header = match value.text()?.as_str() {
            "x-forwarded-for" => ProxyHeader::XForwardedFor,
            "forwarded" => ProxyHeader::Forwarded,
            _ => return Err(Wrong::Value),
        };
        Ok(())
    }),
    opt("relay", "'user', 'rooms' or false", |draft, value| {
        draft.config.relay = match value {
            Value::Flag(false) => Relay::Off,
            value => match value.text()?.as_str() {
                "user" => Relay::User,
                "rooms" => Relay::Rooms,
                _ => return Err(Wrong::Value),
            },
        };
        Ok(())
    }),
    opt("redis", "an object, such as { url }, or false", |draft, value| {
        match value {
            Value::Flag(false) => draft.without_redis = true,
            value => value.object()?,
        }
        Ok(())
    }),
    opt("redis.url", "a non-empty string or an array of such", |draft, value| {
        let urls = value.one_or_more()?;
        if urls.len() > MAX_URLS {
            return Err(Wrong::Value);
        }
        let servers = urls.iter().map(|url| redis_server(url, ""));
        draft.config.redis.servers = servers.collect::<Result<_, _>>()?;
        Ok(())
    }),
    opt("redis.username", "a non-empty string", |draft, value| {
        draft.config.redis.username = Some(value.non_empty()?);
        Ok(())
    }),
    opt("redis.password", "a string", |draft, value| {
        draft.config.redis.password = Some(value.text()?);
        Ok(())
    }),
    opt("redis.masterName", "a non-empty string", |draft, value| {
        draft.config.redis.master_name = value.text()?;
        Ok(())
    }),
    opt("redis.prefix", "a string of 1 to 64 bytes without braces", |draft, value| {
        draft.config.redis.prefix = value.text()?;
        Ok(())
    }),
    opt("redis.routing", "'user' or 'shared'", |draft, value| {
        draft.config.redis.routing = match value.text()?.as_str() {
            "user" => Routing::User,
            "shared" => Routing::Shared,
            _ => return Err(Wrong::Value),
        };
        Ok(())
    }),
    opt("redis.tls", "an object", |_, value| value.object()),
    opt("redis.tls.ca", "a PEM string or a Uint8Array", |draft, value| {
        draft.config.redis.tls.ca = Some(value.bytes()?);
        Ok(())
    }),
    opt("redis.tls.cert", "a PEM string or a Uint8Array", |draft, value| {
        draft.config.redis.tls.cert = Some(value.bytes()?);
        Ok(())
    }),
    opt("redis.tls.key", "a PEM string or a Uint8Array", |draft, value| {
        draft.config.redis.tls.key = Some(value.bytes()?);
        Ok(())
    }),
    opt("redis.tls.servername", "a non-empty string", |draft, value| {
        draft.config.redis.tls.servername = Some(value.non_empty()?);
        Ok(())
    }),
    opt("redis.tls.rejectUnauthorized", "a boolean", |draft, value| {
        draft.config.redis.tls.insecure = !value.flag()?;
        Ok(())
    }),
    opt("authorize", "an object", |_, value| value.object()),
    opt("authorize.join", "a function", |draft, value| {
        value.function()?;
        draft.config.authorize.asks = true;
        Ok(())
    }),
    opt("authorize.claim", "a non-empty string", |draft, value| {
        draft.config.authorize.claim = Some(value.non_empty()?);
        Ok(())
    }),
    opt("history", "true, false or an object", |draft, value| {
        draft.history = HistoryDraft::new(value)?;
        Ok(())
    }),
    opt("history.size", history::SIZE, |draft, value| draft.history.all.set_size(value)),
    opt("history.ttlMs", history::TTL, |draft, value| draft.history.all.set_ttl(value)),
    opt("history.users", history::KEPT, |draft, value| draft.history.users.set(value)),
    opt("history.users.size", history::SIZE, |draft, value| draft.history.users.bounds.set_size(value)),
    opt("history.users.ttlMs", history::TTL, |draft, value| draft.history.users.bounds.set_ttl(value)),
    opt(history::ROOMS, "true, false or an object of bounds or of patterns", |draft, value| {
        draft.history.rooms.set(value)
    }),
    opt("history.rooms.size", history::SIZE, |draft, value| draft.history.rooms.bounds.set_size(value)),
    opt("history.rooms.ttlMs", history::TTL, |draft, value| draft.history.rooms.bounds.set_ttl(value)),
    opt("history.trustFailover", "a boolean", |draft, value| {
        draft.history.trust_failover = value.flag()?;
        Ok(())
    }),
    opt("heartbeat", "an object", |_, value| value.object()),
    opt("limits", "an object", |_, value| value.object()),
];

/// Options whose value no message shows: a slip may put the secret into any of them.
const SECRETS: [&str; 10] = [
    "auth",
    "auth.jwt",
    "auth.jwt.secret",
    "auth.jwt.publicKey",
    "redis",
    "redis.url",
    "redis.username",
    "redis.password",
    "redis.tls",
    "redis.tls.key",
];

fn build(options: Value, environment: Environment) -> Result<Config, ConfigError> {
    let mut draft = Draft::new();
    match options {
        Value::Undefined => {}
        Value::Object(members) => apply_members(&mut draft, "", members)?,
        other => return Err(ConfigError::invalid("options", "an object", &other.kind())),
    }
    draft.complete_redis(environment.redis_url)?;
    draft.complete_memory(environment.memory);
    let Draft { mut config, auth, history, .. } = draft;
    config.history = history.build();
    config.auth = match auth {
        Some(auth) => auth.build()?,
        None => from_environment(environment.jwt_secret, environment.serverless)?,
    };
    config.validate()?;
    Ok(config)
}

fn build_redis(options: Value, redis_url: Option<String>) -> Result<RedisConfig, ConfigError> {
    let mut draft = Draft::new();
    match options {
        Value::Undefined => {}
        Value::Object(members) => apply_members(&mut draft, "redis", members)?,
        other => return Err(ConfigError::invalid("redis", "an object", &other.kind())),
    }
    draft.complete_redis(redis_url)?;
    if !draft.config.redis.is_on() {
        let got = "neither it nor REDIS_URL in the environment";
        return Err(ConfigError::invalid("redis.url", "a non-empty string or an array of such", got));
    }
    draft.config.validate()?;
    Ok(draft.config.redis)
}

/// The server of a URL; `whence` is added to the error.
fn redis_server(url: &str, whence: &str) -> Result<Server, ConfigError> {
    Server::parse(url).map_err(|why| {
        let message = format!("redis.url must be a redis://, rediss:// or unix:// URL{whence}: {why}");
        ConfigError::new(Code::OptionOutOfRange, "redis.url", message)
    })
}

fn from_environment(jwt_secret: Option<String>, serverless: bool) -> Result<Auth, ConfigError> {
    let Some(secret) = jwt_secret.filter(|secret| !secret.is_empty()) else {
        if serverless {
            return Ok(Auth::Nobody);
        }
        let message = "the option auth is missing and JWT_SECRET is not set, or empty: say who may connect, by \
                       auth: { jwt: {…} }, auth: { authenticate } or auth: 'anonymous'";
        return Err(ConfigError::new(Code::AuthRequired, "auth", message));
    };
    let verifier = Verifier::new(Key::Secret(secret.into_bytes()), JwtOptions::default());
    let verifier = verifier.map_err(|error| {
        ConfigError::new(error.kind, "auth", format!("{} (from the environment's JWT_SECRET)", error.message))
    })?;
    Ok(Auth::Jwt(Arc::new(verifier)))
}

fn apply_members(draft: &mut Draft, path: &str, members: Vec<(String, Value)>) -> Result<(), ConfigError> {
    members.into_iter().try_for_each(|(name, value)| apply(draft, path, &name, value))
}

fn apply(draft: &mut Draft, parent: &str, name: &str, value: Value) -> Result<(), ConfigError> {
    // By its name and place: joined, a name with a dot in it would look like a member of another option.
    if !members(parent).contains(&name) {
        return Err(unknown(parent, name));
    }
    let path = join(parent, name);
    let got = if SECRETS.contains(&path.as_str()) { value.kind() } else { value.describe() };
    let mut inner = Vec::new();
    let value = match value {
        Value::Undefined => return Ok(()),
        Value::Object(members) if path == history::ROOMS && history::are_patterns(&members) => {
            let unknown = |place: &str, name: &str| unknown_at(place, history::ROOMS, name);
            return draft.history.set_patterns(members, &unknown);
        }
        Value::Object(members) => {
            inner = members;
            Value::Object(Vec::new())
        }
        value => value,
    };
    if let Some(number) = NUMBERS.iter().find(|number| number.path == path) {
        let result =
            value.integer(number.min, number.max).map(|value| (number.set)(&mut draft.config, value));
        explain(result, &path, &number.expected(), &got)?;
    } else if let Some(option) = OPTIONS.iter().find(|option| option.path == path) {
        explain((option.set)(draft, value), &path, option.expected, &got)?;
    }
    apply_members(draft, &path, inner)
}
