//! A draft of a configuration: what is known of it while its options are read.

use std::sync::Arc;

use auth::jwt::{JwtOptions, Key, Verifier};
use codes::error::ConfigError;

use super::history::HistoryDraft;
use super::redis_server;
use crate::engine::config::{Auth, Config};

/// One part in so many of the process' memory is the default of `limits.memoryBytes`, within its range, and with room for
/// two of the largest messages.
const MEMORY_SHARE: u64 = 4;
const LEAST_MEMORY: u64 = 1 << 20;
const MOST_MEMORY: u64 = 1 << 40;

/// The options that are known so far.
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) auth: Option<AuthDraft>,
    pub(super) without_redis: bool,
    pub(super) history: HistoryDraft,
}

#[derive(Default)]
pub(super) struct AuthDraft {
    pub(super) anonymous: bool,
    pub(super) authenticate: bool,
    pub(super) jwt: Option<JwtDraft>,
}

#[derive(Default)]
pub(super) struct JwtDraft {
    pub(super) secret: Option<Vec<u8>>,
    pub(super) public_key: Option<Vec<u8>>,
    pub(super) options: JwtOptions,
}

impl Draft {
    pub(super) fn new() -> Self {
        Draft {
            config: Config::new(Auth::Anonymous),
            auth: None,
            without_redis: false,
            history: HistoryDraft::default(),
        }
    }

    /// Adds what the environment says of Redis to what the options do.
    pub(super) fn complete_redis(&mut self, url: Option<String>) -> Result<(), ConfigError> {
        let redis = &mut self.config.redis;
        if redis.servers.is_empty()
            && !self.without_redis
            && let Some(url) = url.filter(|url| !url.is_empty())
        {
            redis.servers.push(redis_server(&url, " (it is from the environment's REDIS_URL)")?);
        }
        Ok(())
    }

    /// Takes a part of the memory that there is, unless an option says how much.
    pub(super) fn complete_memory(&mut self, memory: Option<u64>) {
        let limits = &mut self.config.limits;
        if limits.memory_bytes == usize::MAX
            && let Some(memory) = memory
        {
            let part = (memory / MEMORY_SHARE).clamp(LEAST_MEMORY, MOST_MEMORY);
            limits.memory_bytes =
                usize::try_from(part).unwrap_or(usize::MAX).max(limits.least_memory_bytes());
        }
    }

    pub(super) fn auth(&mut self) -> &mut AuthDraft {
        self.auth.get_or_insert_default()
    }

    pub(super) fn jwt(&mut self) -> &mut JwtDraft {
        self.auth().jwt.get_or_insert_default()
    }
}

impl AuthDraft {
    pub(super) fn build(self) -> Result<Auth, ConfigError> {
        let refuse = |got: &str| {
            let expected = "'anonymous', { jwt: {…} } or { authenticate: function }";
            Err(ConfigError::invalid("auth", expected, got))
        };
        match (self.anonymous, self.jwt, self.authenticate) {
            (true, ..) => Ok(Auth::Anonymous),
            (_, Some(_), true) => refuse("an object with both"),
            (_, Some(jwt), false) => jwt.build(),
            (_, None, true) => Ok(Auth::Callback),
            (_, None, false) => refuse("an object with neither"),
        }
    }
}

impl JwtDraft {
    pub(super) fn build(self) -> Result<Auth, ConfigError> {
        let key = match (self.secret, self.public_key) {
            (Some(secret), None) => Key::Secret(secret),
            (None, Some(pem)) => Key::PublicPem(pem),
            (secret, _) => {
                let got = if secret.is_some() {
                    "both"
                } else {
                    "neither (undefined, as of an environment variable that is not set, is left out)"
                };
                return Err(ConfigError::invalid(
                    "auth.jwt",
                    "an object with either secret or publicKey",
                    got,
                ));
            }
        };
        Ok(Auth::Jwt(Arc::new(Verifier::new(key, self.options)?)))
    }
}
