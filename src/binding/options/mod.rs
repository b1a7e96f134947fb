//! The options of `new WebSocketManager(server, options)`: from JavaScript to a [`Config`], or an error that names the
//! option. [`OPTIONS`] and the engine's [`NUMBERS`] are the one list of what there is.

#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

use napi::bindgen_prelude::Unknown;
use napi::{Env, Status};

use self::value::{Value, Wrong, join};
use crate::engine::auth::jwt::{JwtOptions, Key, MAX_LEEWAY_SECONDS, Verifier, parse_algorithm};
use crate::engine::config::{Auth, Config, NUMBERS, Number, Origins, RejectWith, Relay};
use crate::engine::error::{Code, ConfigError, ErrorClass, quote};

/// Parses the options, `undefined` included. `jwt_secret` is what the environment has for when `auth` is left out.
///
/// # Errors
/// `Status::PendingException`: a `TypeError` or `RangeError` with a `code` is pending, or what a getter threw.
pub(crate) fn parse(env: &Env, options: Unknown<'_>, jwt_secret: Option<String>) -> napi::Result<Config> {
    let options = value::read(options, "", &members)?;
    build(options, jwt_secret).map_err(|error| throw(env, error.kind, &error.message))
}

/// What JavaScript calls the way of authentication: `anonymous`, `jwt` or `authenticate`.
pub(crate) fn auth_mode(config: &Config) -> &'static str {
    match config.auth {
        Auth::Anonymous => "anonymous",
        Auth::Jwt(_) => "jwt",
        Auth::Callback => "authenticate",
    }
}

/// Full paths of all options; those that hold others come before them.
pub(crate) fn option_paths() -> Vec<&'static str> {
    OPTIONS.iter().map(|option| option.path).chain(NUMBERS.iter().map(|number| number.path)).collect()
}

/// Throws an error of the code's class, with `code`, in JavaScript. Return what comes back at once.
pub(crate) fn throw(env: &Env, code: Code, message: &str) -> napi::Error {
    // A NUL would end the message, or the process' patience with it.
    let message = message.replace('\0', "\\0");
    let thrown = match code.class() {
        ErrorClass::Type => env.throw_type_error(&message, Some(code.as_str())),
        ErrorClass::Range => env.throw_range_error(&message, Some(code.as_str())),
        ErrorClass::Error => env.throw_error(&message, Some(code.as_str())),
    };
    // It can only fail when the environment is going away; then nobody will see this either.
    thrown.err().unwrap_or_else(|| napi::Error::new(Status::PendingException, ""))
}

/// An option that is no plain number.
struct Opt {
    path: &'static str,
    /// What it takes, to follow "must be".
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
    opt("auth.jwt.audience", "a non-empty string or an array of such", |draft, value| {
        draft.jwt().options.audiences = value.one_or_more()?;
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
    opt("relay", "'user', 'rooms' or false", |draft, value| {
        draft.config.relay = match value {
            Value::Flag(false) => Relay::Off,
            Value::Flag(true) => return Err(Wrong::Value),
            value => match value.text()?.as_str() {
                "user" => Relay::User,
                "rooms" => Relay::Rooms,
                _ => return Err(Wrong::Value),
            },
        };
        Ok(())
    }),
    opt("heartbeat", "an object", |_, value| value.object()),
    opt("limits", "an object", |_, value| value.object()),
];

/// What is known so far.
struct Draft {
    config: Config,
    auth: Option<AuthDraft>,
}

#[derive(Default)]
struct AuthDraft {
    anonymous: bool,
    authenticate: bool,
    jwt: Option<JwtDraft>,
}

#[derive(Default)]
struct JwtDraft {
    secret: Option<Vec<u8>>,
    public_key: Option<Vec<u8>>,
    options: JwtOptions,
}

impl Draft {
    fn auth(&mut self) -> &mut AuthDraft {
        self.auth.get_or_insert_default()
    }

    fn jwt(&mut self) -> &mut JwtDraft {
        self.auth().jwt.get_or_insert_default()
    }
}

fn build(options: Value, jwt_secret: Option<String>) -> Result<Config, ConfigError> {
    let mut draft = Draft { config: Config::new(Auth::Anonymous), auth: None };
    match options {
        Value::Undefined => {}
        Value::Object(members) => apply_members(&mut draft, "", members)?,
        other => return Err(ConfigError::invalid("options", "an object", &other.kind())),
    }
    let Draft { mut config, auth } = draft;
    config.auth = match auth {
        Some(auth) => auth.build()?,
        None => from_environment(jwt_secret)?,
    };
    config.validate()?;
    Ok(config)
}

fn apply_members(
    draft: &mut Draft,
    path: &str,
    members: Vec<(String, Value)>,
) -> Result<(), ConfigError> {
    members.into_iter().try_for_each(|(name, value)| apply(draft, path, &name, value))
}

fn apply(draft: &mut Draft, parent: &str, name: &str, value: Value) -> Result<(), ConfigError> {
    let path = join(parent, name);
    let (got, kind) = (value.describe(), value.kind());
    if let Some(Number { min, max, set, .. }) = NUMBERS.iter().find(|number| number.path == path) {
        todo!("{got}{kind}{min}{max}{set:?}")
    }
    Ok(())
}
