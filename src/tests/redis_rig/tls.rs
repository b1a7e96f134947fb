//! A Redis that speaks TLS.

use std::fs;
use std::path::Path;
use std::process::Command;

use socket2::Socket;

use super::server::{RedisServer, private_dir, reserve_port};
use super::with_redis;
use crate::broker::redis::{RedisConfig, TlsOptions};

/// The arguments of openssl for a key.
pub(crate) const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// See the module.
pub(crate) struct TlsRedis {
    pub server: RedisServer,
    port: u16,
    options: TlsOptions,
    _reservation: Socket,
}

impl TlsRedis {
    /// One with a certificate for `localhost` by an authority. Wants to see one by the same of who connects.
    pub(crate) fn start() -> TlsRedis {
        let make = [
            &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"),
            &format!("req {KEY} -keyout redis.key -out redis.csr -subj /CN=localhost"),
            "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out redis.pem",
        ];
        let mut redis = TlsRedis::with(&make, &["tls-auth-clients yes"]);
        redis.options.cert = Some(redis.file("redis.pem"));
        redis.options.key = Some(redis.file("redis.key"));
        redis
    }

    /// One with `redis.pem` and `redis.key`, which openssl makes when it is told so. `ca.pem` is the authority, where it is made. The files `names` and `kind` have extensions.
    pub(crate) fn with(make: &[&str], lines: &[&str]) -> TlsRedis {
        let dir = private_dir();
        fs::write(dir.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
        fs::write(dir.join("kind"), "extendedKeyUsage=serverAuth").unwrap();
        make.iter().for_each(|arguments| openssl(&dir, arguments));
        let [ca, cert, key] = ["ca.pem", "redis.pem", "redis.key"].map(|name| dir.join(name));
        let ca = if ca.exists() { ca } else { cert.clone() };
        let options = TlsOptions { ca: Some(fs::read(&ca).unwrap()), ..TlsOptions::default() };
        let (reservation, port) = reserve_port();
        let own = [
            format!("tls-port {port}"),
            format!("tls-cert-file {}", cert.display()),
            format!("tls-key-file {}", key.display()),
            format!("tls-ca-cert-file {}", ca.display()),
        ];
        let lines: Vec<&str> = own.iter().map(String::as_str).chain(lines.iter().copied()).collect();
        let server = RedisServer::in_dir(dir, &lines);
        TlsRedis { server, port, options, _reservation: reservation }
    }

    /// The bytes of one of its files.
    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.server.dir().join(name)).unwrap()
    }

    /// The way to it.
    pub(crate) fn config(&self) -> RedisConfig {
        let config = with_redis(&format!("rediss://localhost:{}", self.port)).redis;
        RedisConfig { tls: self.options.clone(), ..config }
    }
}

/// Runs openssl there.
pub(crate) fn openssl(dir: &Path, arguments: &str) {
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
