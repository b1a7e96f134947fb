//! The Redis servers and their use.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use codes::error::{Code, ConfigError, Error, quote};
use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::broker::history::HistoryConfig;

/// Most bytes of a prefix.
pub const MAX_PREFIX_BYTES: usize = 64;
/// The words behind the prefix in the names of channels. A prefix with one of these between its colons would lie among
/// the channels of another app: under `shop`, `shop:user:messages` is the channel of the user `messages`.
pub(super) const RESERVED: [&str; 7] = ["all", "control", "messages", "node", "probe", "room", "user"];
/// Most URLs of one option.
pub const MAX_URLS: usize = 64;

/// The servers' way to each other. Off unless it has a server.
#[derive(Clone)]
pub struct RedisConfig {
    /// One server; some nodes of a Redis Cluster; or the Sentinels. Which of these it is the servers say themselves.
    pub servers: Vec<Server>,
    /// User name instead of the one in the URL. Behind Sentinels, of the master.
    pub username: Option<String>,
    /// Password likewise. Empty: none.
    pub password: Option<String>,
    /// The master that Sentinels are asked for. Default `mymaster`.
    pub master_name: String,
    /// The beginning of all channels, to tell apps apart: Pub/Sub knows no database number. Default `actory`;
    /// 1 to 64 bytes without braces, and none of [`RESERVED`] between its colons.
    pub prefix: String,
    /// The topics that have a history: the engine's `history`. A [`PubSub`](super::PubSub) has none.
    pub history: HistoryConfig,
    /// The route of messages for users. Default [`Routing::User`].
    pub routing: Routing,
    /// Connections per Redis server. Default 1; 1 to 16. Each carries the channels of a share of all users.
    pub connections: usize,
    /// Longest wait for a connection, its TLS and its login. Default 2 s; 50 ms to 1 min.
    pub connect_timeout: Duration,
    /// A connection that owes answers and gives none for so long is given up. Default 3 s; 100 ms to 1 min. Below the time
    /// after which a cluster or Sentinels replace a master, or one that stood still would be believed when it wakes.
    pub command_timeout: Duration,
    /// The time between messages of each connection to itself. Default 1 s; 100 ms to 1 min.
    pub probe_interval: Duration,
    /// A subscription outlives its last connection by so long. Default 5 s; up to 1 h.
    pub grace: Duration,
    /// Most bytes of publishes that wait for Redis. Default 64 MiB; 64 KiB to 4 GiB.
    pub pending_bytes: usize,
    /// For `rediss://` URLs.
    pub tls: TlsOptions,
}

/// The route of messages for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// To a channel of each user's own, which only servers that have the user subscribe to.
    User,
    /// To one channel that all servers listen on, in the guide's format: for living together with servers that know
    /// nothing else. Every server sees every message.
    Shared,
}

/// The certificates and the key of TLS. PEM each.
#[derive(Clone, Default)]
pub struct TlsOptions {
    /// Trusted instead of the system's certificate authorities.
    pub ca: Option<Vec<u8>>,
    /// Shown to the server.
    pub cert: Option<Vec<u8>>,
    /// The certificate's key.
    pub key: Option<Vec<u8>>,
    /// Name in the server's certificate, if it isn't the URL's host.
    pub servername: Option<String>,
    /// Takes any certificate: anybody on the way can read and change everything.
    pub insecure: bool,
}

/// A Redis server.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Where.
    pub address: Address,
    /// Login, if the URL has one.
    pub username: Option<String>,
    /// See `username`.
    pub password: Option<String>,
}

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// Host, port, and whether by TLS.
    Tcp(String, u16, bool),
    /// Path of a Unix-domain socket.
    Unix(PathBuf),
}

impl Address {
    /// True if TLS is spoken there.
    pub fn is_tls(&self) -> bool {
        matches!(self, Address::Tcp(_, _, true))
    }

    /// None for a socket.
    pub(super) fn port(&self) -> Option<u16> {
        if let Address::Tcp(_, port, _) = self { Some(*port) } else { None }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port, _) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions").finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("servers", &self.servers)
            .field("prefix", &self.prefix)
            .field("routing", &self.routing)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// An error that names the server.
    pub fn error(&self, kind: Code, what: impl fmt::Display) -> Error {
        Error::new(kind, format!("Redis at {}: {what}", self.address))
    }

    /// User name and password, if there is either. A user whose password is empty is one that Redis wants none of (`nopass`).
    pub(super) fn login(&self) -> Option<(&str, &str)> {
        let [username, password] =
            [&self.username, &self.password].map(|text| text.as_deref().filter(|text| !text.is_empty()));
        match (username, password) {
            (None, None) => None,
            (username, password) => Some((username.unwrap_or("default"), password.unwrap_or_default())),
        }
    }

    /// Parses `redis://[user[:password]@]host[:port][/db]`, `rediss://…`, `unix:///path[?user=…&pass=…]`.
    /// The database number is accepted and means nothing: Pub/Sub knows none.
    ///
    /// # Errors
    /// The fault, in words; never repeats the URL, which may hold a password.
    pub fn parse(url: &str) -> Result<Server, String> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(
            scheme,
            Some("redis" | "rediss" | "unix" | "redis+unix" | "valkey" | "valkeys" | "valkey+unix")
        ) {
            return Err(scheme.map_or_else(
                || "it has no scheme".to_owned(),
                |scheme| format!("its scheme is {}", quote(scheme)),
            ));
        }
        let info = url.into_connection_info().map_err(|_| {
            "its host, port or path can't be read (in a password, characters like # / ? @ have to be percent-encoded)"
                .to_owned()
        })?;
        let address = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Address::Tcp(host.clone(), *port, false),
            ConnectionAddr::TcpTls { host, port, .. } => Address::Tcp(host.clone(), *port, true),
            ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
            _ => return Err("unknown kind of address".to_owned()),
        };
        let login = info.redis_settings();
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Server { address, username: owned(login.username()), password: owned(login.password()) })
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        RedisConfig {
            servers: Vec::new(),
            username: None,
            password: None,
            master_name: "mymaster".to_owned(),
            prefix: "actory".to_owned(),
            history: HistoryConfig::default(),
            routing: Routing::User,
            connections: 1,
            connect_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(3),
            probe_interval: Duration::from_secs(1),
            grace: Duration::from_secs(5),
            pending_bytes: 64 << 20,
            tls: TlsOptions::default(),
        }
    }
}

impl RedisConfig {
    /// All defaults, and these servers.
    pub fn new(servers: Vec<Server>) -> Self {
        RedisConfig { servers, ..RedisConfig::default() }
    }

    /// True if there is a Redis at all.
    pub fn is_on(&self) -> bool {
        !self.servers.is_empty()
    }

    /// True if a server is reached by TLS; those that it names are then, too.
    pub fn is_tls(&self) -> bool {
        self.servers.iter().any(|server| server.address.is_tls())
    }

    /// Checks that the values fit; the numbers are in the engine's table.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=MAX_PREFIX_BYTES).contains(&self.prefix.len()) || self.prefix.contains(['{', '}']) {
            let expected = "a string of 1 to 64 bytes without braces";
            return Err(ConfigError::out_of_range("redis.prefix", expected, &quote(&self.prefix)));
        }
        if let Some(segment) = self.prefix.split(':').find(|segment| RESERVED.contains(segment)) {
            let expected = format!("a string without the segment '{segment}', which names channels");
            return Err(ConfigError::out_of_range("redis.prefix", &expected, &quote(&self.prefix)));
        }
        if self.master_name.is_empty() {
            return Err(ConfigError::out_of_range("redis.masterName", "a non-empty string", "''"));
        }
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            let got = if self.tls.key.is_some() { "only the key" } else { "only the certificate" };
            return Err(ConfigError::invalid(
                "redis.tls",
                "an object with both cert and key, or neither",
                got,
            ));
        }
        if self.is_tls() {
            super::wire::tls::client_config(&self.tls, Arc::default)
                .map_err(|why| ConfigError::out_of_range("redis.tls", "usable certificates", &why))?;
        }
        Ok(())
    }

    /// A server with the login of the options, where they have one.
    pub(super) fn with_login(&self, server: &Server) -> Server {
        Server {
            address: server.address.clone(),
            username: self.username.clone().or_else(|| server.username.clone()),
            password: self.password.clone().or_else(|| server.password.clone()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn urls_of_every_kind_are_understood() {
        let tcp = |host: &str, port, tls| Address::Tcp(host.to_owned(), port, tls);
        let cases = [
            ("redis://localhost", tcp("localhost", 6379, false), None, None),
            ("redis://:secret@10.0.0.1:7000/3", tcp("10.0.0.1", 7000, false), None, Some("secret")),
            (
                "rediss://app:p%40ss@cache.example",
                tcp("cache.example", 6379, true),
                Some("app"),
                Some("p@ss"),
            ),
            ("redis://[::1]:6380", tcp("::1", 6380, false), None, None),
            ("unix:///run/redis.sock", Address::Unix("/run/redis.sock".into()), None, None),
        ];
        for (url, address, username, password) in cases {
            let server = Server::parse(url).unwrap();
            assert_eq!(server.address, address, "{url}");
            assert_eq!(
                (server.username.as_deref(), server.password.as_deref()),
                (username, password),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_redis_url_is_refused_without_its_password() {
        for url in ["", "localhost:6379", "http://localhost", "redis://", "redis://u:secret@:x"] {
            let error = Server::parse(url).unwrap_err();
            assert!(!error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let mut config = RedisConfig::new(vec![Server::parse("redis://u:hush@h").unwrap()]);
        config.password = Some("hush".into());
        config.tls.key = Some(b"hush".to_vec());
        assert!(!format!("{config:?} {:?}", config.tls).contains("hush"));
    }

    #[test]
    fn prefixes_and_half_a_key_pair_are_refused_by_name() {
        let option = |change: fn(&mut RedisConfig)| {
            let mut config = RedisConfig::default();
            change(&mut config);
            config.validate().err().map(|error| error.option)
        };
        assert_eq!(option(|_| {}), None);
        assert_eq!(option(|c| c.prefix.clear()).as_deref(), Some("redis.prefix"));
        assert_eq!(option(|c| c.prefix = "a{b".into()).as_deref(), Some("redis.prefix"));
        assert_eq!(option(|c| c.prefix = "x".repeat(65)).as_deref(), Some("redis.prefix"));
        for reserved in
            ["shop:user", "user", "room:shop", "a:node:b", "x:messages", "all", "control", "probe:"]
        {
            let config = RedisConfig { prefix: reserved.into(), ..RedisConfig::default() };
            let error = config.validate().unwrap_err();
            let segment = reserved.split(':').find(|segment| RESERVED.contains(segment)).unwrap();
            assert_eq!((error.option.as_str(), error.kind), ("redis.prefix", Code::OptionOutOfRange));
            assert!(error.to_string().contains(&format!("'{segment}'")), "{error}");
        }
        for prefix in ["app:prod", "users", "my-room", "User", "shop:", ":", "user-service"] {
            let config = RedisConfig { prefix: prefix.into(), ..RedisConfig::default() };
            assert_eq!(config.validate(), Ok(()), "{prefix}");
        }
        assert_eq!(option(|c| c.master_name.clear()).as_deref(), Some("redis.masterName"));
        assert_eq!(option(|c| c.tls.cert = Some(Vec::new())).as_deref(), Some("redis.tls"));
    }
}
