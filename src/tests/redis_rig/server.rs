//! A `redis-server` of a test's own, on a free port, that can be killed, stopped, restarted and told what to do.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo, RedisResult};
use socket2::{Domain, Socket, Type};

use crate::tests::harness::{PATIENCE, eventually};

/// See the module. Lives on the thread that started it: the system kills it when that ends, however it ends.
pub(crate) struct RedisServer {
    child: Child,
    /// It watches over others.
    sentinel: bool,
    port: u16,
    dir: PathBuf,
    /// For the rig's own connection.
    password: Option<String>,
    /// Bound and never listening: keeps the port ours while the server is down.
    _reservation: Socket,
}

impl RedisServer {
    /// Starts one with the system's defaults, but without persistence.
    pub(crate) fn start() -> RedisServer {
        RedisServer::with(&[])
    }

    /// Starts one with these lines in its configuration.
    pub(crate) fn with(lines: &[&str]) -> RedisServer {
        RedisServer::in_dir(private_dir(), lines)
    }

    /// Starts one with its files in `dir`, which may hold some already and is removed at the end.
    pub(crate) fn in_dir(dir: PathBuf, lines: &[&str]) -> RedisServer {
        RedisServer::on_port(reserve_port(), dir, lines)
    }

    /// The same on this port.
    pub(crate) fn on_port((reservation, port): (Socket, u16), dir: PathBuf, lines: &[&str]) -> RedisServer {
        let config = format!(
            "bind 127.0.0.1\nport {port}\ndir {dir}\nunixsocket {dir}/redis.sock\nlogfile {dir}/log\n\
             save \"\"\nappendonly no\ndaemonize no\n{}\n",
            lines.join("\n"),
            dir = dir.display(),
        );
        fs::write(dir.join("redis.conf"), config).unwrap();
        let password = lines.iter().find_map(|line| line.strip_prefix("requirepass ")).map(str::to_owned);
        let sentinel = lines.iter().any(|line| line.starts_with("sentinel "));
        let child = launch(&dir, sentinel);
        let server = RedisServer { child, sentinel, port, dir, password, _reservation: reservation };
        server.await_start();
        server
    }

    /// Waits until it answers.
    fn await_start(&self) {
        eventually("redis-server to answer", || self.try_command::<String>(&redis::cmd("PING")).is_ok());
    }

    /// Its URL, without a login.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The folder of its files.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// URL of its Unix-domain socket.
    pub(crate) fn unix_url(&self) -> String {
        format!("unix://{}", self.dir.join("redis.sock").display())
    }

    /// True if its process lives.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, on the same port and empty.
    pub(crate) fn restart(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.kill();
        }
        self.child = launch(&self.dir, self.sentinel);
        self.await_start();
    }

    /// Halts the process: its connections live and nothing answers.
    pub(crate) fn stop(&self) {
        self.signal("STOP");
    }

    /// Ends [`RedisServer::stop`].
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Asks it something, over a connection for this one command.
    pub(crate) fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// The same of what may be refused.
    pub(crate) fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        let (name, arguments) = command.split_first().unwrap();
        self.try_command(redis::cmd(name).arg(arguments))
    }

    /// Tells it to do something; its answer doesn't matter.
    pub(crate) fn run(&self, command: &[&str]) {
        self.ask::<redis::Value>(command);
    }

    /// The number of a channel's subscribers.
    pub(crate) fn subscribers(&self, channel: &str) -> u64 {
        self.ask::<(String, u64)>(&["PUBSUB", "NUMSUB", channel]).1
    }

    /// Sends it a command whose arguments are bytes.
    pub(crate) fn send<T: FromRedisValue>(&self, command: &Cmd) -> T {
        self.try_command(command).unwrap()
    }

    fn try_command<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let info = self.unix_url().into_connection_info()?;
        let login = info.redis_settings().clone();
        let login = match &self.password {
            Some(password) => login.set_password(password),
            None => login,
        };
        let mut connection = Client::open(info.set_redis_settings(login))?.get_connection()?;
        connection.set_read_timeout(Some(PATIENCE))?;
        command.query(&mut connection)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// `setpriv` makes the system kill it when whoever started it is gone, however that ended.
fn launch(dir: &Path, sentinel: bool) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server"])
        .arg(dir.join("redis.conf"))
        .args(sentinel.then_some("--sentinel"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server and setpriv are needed to test")
}

/// A new directory that nobody else has.
pub(crate) fn private_dir() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("actory-redis-{}-{number}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    dir
}

/// A port that nobody else is given while the socket lives, and that a server with `SO_REUSEADDR` may listen on.
pub(super) fn reserve_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}
