//! A Redis that speaks TLS, by an authority of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use socket2::Socket;

use super::server::{RedisServer, private_dir, reserve_port};
use super::with_redis;
use crate::engine::broker::redis::{RedisConfig, TlsOptions};

/// Wants to see a certificate of who connects, by the same authority.
pub struct TlsRedis {
    pub server: RedisServer,
    port: u16,
    options: TlsOptions,
    _reservation: Socket,
}

impl TlsRedis {
    pub fn start() -> TlsRedis {
        let dir = certificates();
        let [ca, cert, key] = ["ca.pem", "redis.pem", "redis.key"].map(|name| dir.join(name));
        let read = |path: &Path| Some(fs::read(path).unwrap());
        let options =
            TlsOptions { ca: read(&ca), cert: read(&cert), key: read(&key), ..TlsOptions::default() };
        let (reservation, port) = reserve_port();
        let lines = [
            format!("tls-port {port}"),
            format!("tls-cert-file {}", cert.display()),
            format!("tls-key-file {}", key.display()),
            format!("tls-ca-cert-file {}", ca.display()),
            "tls-auth-clients yes".to_owned(),
        ];
        let server = RedisServer::in_dir(dir, &lines.each_ref().map(String::as_str));
        TlsRedis { server, port, options, _reservation: reservation }
    }

    /// How it is reached.
    pub fn config(&self) -> RedisConfig {
        let config = with_redis(&format!("rediss://localhost:{}", self.port)).redis;
        RedisConfig { tls: self.options.clone(), ..config }
    }
}

/// A certificate authority, and a certificate for `localhost` by it.
fn certificates() -> PathBuf {
    let dir = private_dir();
    let openssl = |arguments: &str| {
        let made = Command::new("openssl").args(arguments.split(' ')).current_dir(&dir).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    fs::write(dir.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    openssl(&format!("req {key} -keyout redis.key -out redis.csr -subj /CN=localhost"));
    openssl(
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out redis.pem",
    );
    dir
}
