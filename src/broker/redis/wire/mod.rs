//! A connection to a Redis server: TCP, TLS or a Unix-domain socket, and the greeting on it.

mod certificate;
mod name;
pub(crate) mod read_buffer;
pub(crate) mod resp;
pub(crate) mod tls;
mod verifier;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use codes::error::{Code, Error};
use redis::Value;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::broker::redis::config::{Address, RedisConfig, Server};
use resp::{Incoming, Parsed};
use tls::Tls;

/// Largest reply to a question: the slots of a cluster of a thousand nodes take a tenth of it.
const MAX_ANSWER: usize = 4 << 20;

/// A connection. Boxed TLS, so that the plain one stays small.
#[derive(Debug)]
pub(crate) enum Wire {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    #[cfg(unix)]
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! delegate {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Wire::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            #[cfg(unix)]
            Wire::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Wire::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_shutdown(cx))
    }
}

/// The kind of server that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One server, or a master with replicas.
    Standalone,
    /// A node of a Redis Cluster.
    Cluster,
    /// A Sentinel, which knows where the master is.
    Sentinel,
}

impl Wire {
    /// Connects and greets, within `redis.connectTimeoutMs`.
    ///
    /// # Errors
    /// `ERR_BROKER_CONNECT`, `ERR_BROKER_AUTH`, `ERR_BROKER_TOO_OLD`, `ERR_BROKER_TIMEOUT` or `ERR_BROKER_PROTOCOL`;
    /// the message names the server.
    pub(crate) async fn connect(
        server: &Server,
        config: &RedisConfig,
        tls: &Tls,
    ) -> Result<(Wire, Mode), Error> {
        let attempt = async {
            let mut wire = Wire::open(server, config, tls)
                .await
                .map_err(|error| server.error(Code::BrokerConnect, error))?;
            let mode = wire.greet(server).await?;
            Ok((wire, mode))
        };
        match tokio::time::timeout(config.connect_timeout, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let ms = config.connect_timeout.as_millis();
                let hint = if server.address.is_tls() { " by TLS (redis:// is without)" } else { "" };
                Err(server.error(Code::BrokerTimeout, format!("no connection within {ms} ms{hint}")))
            }
        }
    }

    async fn open(server: &Server, config: &RedisConfig, tls: &Tls) -> io::Result<Wire> {
        match &server.address {
            Address::Tcp(host, port, encrypted) => {
                let stream = name::connect(&name::look_up(host, *port).await?).await?;
                stream.set_nodelay(true)?;
                // The kernel must not deliver later what is given up here: by then something newer may have been.
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                if !encrypted {
                    return Ok(Wire::Tcp(stream));
                }
                let name = config.tls.servername.clone().unwrap_or_else(|| host.clone());
                let name = ServerName::try_from(name).map_err(io::Error::other)?;
                let client = tls.client().map_err(io::Error::other)?;
                Ok(Wire::Tls(Box::new(TlsConnector::from(client).connect(name, stream).await?)))
            }
            #[cfg(unix)]
            Address::Unix(path) => Ok(Wire::Unix(UnixStream::connect(path).await?)),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// `HELLO 3`: login and protocol in one. Servers before 6.0 don't know it.
    async fn greet(&mut self, server: &Server) -> Result<Mode, Error> {
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        if let Some((username, password)) = server.login() {
            hello.arg("AUTH").arg(username).arg(password);
        }
        let reply = self.ask(&hello.get_packed_command(), server).await?;
        let Value::Map(fields) = &reply else {
            return Err(unexpected(server, "HELLO"));
        };
        let field = |name: &str| {
            fields.iter().find(|(key, _)| text(key) == Some(name)).and_then(|(_, value)| text(value))
        };
        let mode = match field("mode") {
            Some("cluster") => Mode::Cluster,
            Some("sentinel") => Mode::Sentinel,
            _ => Mode::Standalone,
        };
        let major = field("version").and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        if mode == Mode::Cluster && major.is_some_and(|major| major < 7) {
            let what = "a cluster needs Redis 7.0 or later, for sharded Pub/Sub";
            return Err(server.error(Code::BrokerTooOld, what));
        }
        Ok(mode)
    }

    /// Sends a command and waits for its reply. Only for a connection without subscriptions.
    ///
    /// # Errors
    /// The server's error, as one of our codes; or that the connection is lost.
    pub(crate) async fn ask(&mut self, command: &[u8], server: &Server) -> Result<Value, Error> {
        let lost = |error: io::Error| server.error(Code::BrokerConnect, error);
        self.write_all(command).await.map_err(lost)?;
        self.flush().await.map_err(lost)?;
        let mut buffer = Vec::new();
        loop {
            match resp::parse(&buffer, MAX_ANSWER) {
                Ok(Parsed::Item(Incoming::Other(Value::ServerError(error)), _)) => {
                    return Err(refusal(server, error.code(), error.details().unwrap_or_default()));
                }
                Ok(Parsed::Item(Incoming::Other(value), _)) => return Ok(value),
                Ok(Parsed::Item(Incoming::Text(text), _)) => return Ok(Value::BulkString(text.to_vec())),
                Ok(Parsed::Item(Incoming::Number(number), _)) => return Ok(Value::Int(number)),
                Ok(Parsed::Incomplete) if buffer.len() < MAX_ANSWER => {}
                _ => {
                    return Err(server.error(Code::BrokerProtocol, "what answers is no Redis"));
                }
            }
            if self.read_buf(&mut buffer).await.map_err(lost)? == 0 {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// An error reply as one of our errors.
pub(crate) fn refusal(server: &Server, code: &str, details: &str) -> Error {
    let kind = match code {
        "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => Code::BrokerAuth,
        "NOPROTO" => Code::BrokerTooOld,
        // HELLO is as old as 6.0.
        "ERR" if details.starts_with("unknown command") => Code::BrokerTooOld,
        "ERR" if details.starts_with("max number of clients") => Code::BrokerConnect,
        "ERR" if details.contains("AUTH") || details.contains("password") => Code::BrokerAuth,
        "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" => Code::BrokerRole,
        "LOADING" | "BUSY" => Code::BrokerConnect,
        "OOM" | "NOREPLICAS" | "MISCONF" => Code::BrokerFull,
        _ => Code::BrokerProtocol,
    };
    if matches!(code, "NOAUTH" | "WRONGPASS")
        && server.login().is_none_or(|(_, password)| password.is_empty())
    {
        let wanted = "it wants a password, which redis.url or redis.password has to say";
        return server.error(kind, format!("{wanted}: {}", repeat(server, code, details)));
    }
    server.error(kind, repeat(server, code, details))
}

/// An error reply as it may be told: on one line, and without the password. A server that doesn't know a command repeats its
/// arguments, and those of `HELLO` have the password.
fn repeat(server: &Server, code: &str, details: &str) -> String {
    let details = details.split(", with args beginning with").next().unwrap_or_default();
    let mut text = format!("{code} {details}");
    if let Some((_, password)) = server.login()
        && !password.is_empty()
    {
        text = text.replace(password, "***");
    }
    text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
}

/// An answer of the wrong shape.
pub(crate) fn unexpected(server: &Server, command: &str) -> Error {
    server.error(Code::BrokerProtocol, format!("unexpected answer to {command}"))
}

/// A string of whatever kind.
pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}
