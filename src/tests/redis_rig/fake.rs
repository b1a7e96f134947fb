//! A server that is no Redis, or one that behaves as no real one can be made to.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use redis::{Parser, Value};

/// A command's name and arguments.
pub(crate) type Command = Vec<String>;

/// A script's decision about a command.
pub(crate) enum Line {
    /// A healthy server's answer.
    Usual,
    /// This instead.
    Instead(String),
    /// This and the healthy answer.
    Before(String),
    /// This, and the end of the connection.
    Last(String),
    /// This again and again, until the other side has had enough.
    Forever(String),
}

/// A Sentinel's name for the master, and the failover that made it.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    pub epoch: u64,
    pub host: &'static str,
    pub port: u16,
}

type Script = dyn Fn(&Command) -> Line + Send + Sync;

/// Answers what a link asks as a healthy server does, but for what its script says. It knows no other connections: who
/// publishes is the only one who may get it.
pub(crate) struct FakeRedis {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl FakeRedis {
    pub(crate) fn start(script: impl Fn(&Command) -> Line + Send + Sync + 'static) -> FakeRedis {
        let script: Arc<Script> = Arc::new(script);
        FakeRedis::serve(move |stream| converse(stream, &script))
    }

    /// One that is the only node of a cluster.
    pub(crate) fn cluster(script: impl Fn(&Command) -> Line + Send + Sync + 'static) -> FakeRedis {
        let own_port = Arc::new(OnceLock::<u16>::new());
        let port = own_port.clone();
        let fake = FakeRedis::start(move |command| {
            let line = script(command);
            if !matches!(line, Line::Usual) {
                return line;
            }
            Line::Instead(match command[0].as_str() {
                "HELLO" => greeting("cluster"),
                "CLUSTER" => {
                    let port = port.get().copied().unwrap_or_default();
                    format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n{}:{port}\r\n", bulk("127.0.0.1"))
                }
                "SSUBSCRIBE" => {
                    let confirm = |name: &String| format!(">3\r\n{}{}:1\r\n", bulk("ssubscribe"), bulk(name));
                    command[1..].iter().map(confirm).collect()
                }
                "SPUBLISH" => {
                    let [kind, name, payload] = ["smessage", &command[1], &command[2]].map(bulk);
                    format!(">3\r\n{kind}{name}{payload}:1\r\n")
                }
                _ => return Line::Usual,
            })
        });
        let _ = own_port.set(fake.address().port());
        fake
    }

    /// A Sentinel that names this master, and hangs up on whoever asks while there is none.
    pub(crate) fn sentinel(word: impl Fn() -> Option<Word> + Send + Sync + 'static) -> FakeRedis {
        FakeRedis::start(move |command| {
            let Some(Word { epoch, host, port }) = word() else { return Line::Last(String::new()) };
            let [key, epoch, host, port] =
                ["config-epoch", &epoch.to_string(), host, &port.to_string()].map(bulk);
            match (command[0].as_str(), command.get(1).map(String::as_str)) {
                ("HELLO", _) => Line::Instead(greeting("sentinel")),
                ("SENTINEL", Some("MASTER")) => Line::Instead(format!("%1\r\n{key}{epoch}")),
                ("SENTINEL", _) => Line::Instead(format!("*2\r\n{host}{port}")),
                _ => Line::Usual,
            }
        })
    }

    /// A healthy one that is slow of speech: its words come byte by byte.
    pub(crate) fn dribbling() -> FakeRedis {
        let script: Arc<Script> = Arc::new(|_: &Command| Line::Usual);
        FakeRedis::serve(move |stream| {
            // Both ends of a way on which nothing waits for more.
            let (near, mut far) = UnixStream::pair().unwrap();
            let mut to = stream.try_clone().unwrap();
            to.set_nodelay(true).unwrap();
            thread::spawn(move || {
                let mut byte = [0];
                while far.read_exact(&mut byte).is_ok() && to.write_all(&byte).is_ok() {}
                let _ = to.shutdown(Shutdown::Both);
            });
            converse_over(stream, near, &script);
        })
    }

    /// A server that says the same to everybody, once it has been spoken to, and then nothing.
    pub(crate) fn saying(what: &'static [u8]) -> FakeRedis {
        FakeRedis::serve(move |mut stream| {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(what);
            while matches!(stream.read(&mut buffer), Ok(1..)) {}
        })
    }

    fn serve(with: impl Fn(TcpStream) + Clone + Send + 'static) -> FakeRedis {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        thread::spawn({
            let over = over.clone();
            move || {
                for stream in listener.incoming().flatten() {
                    if over.load(Ordering::Acquire) {
                        return;
                    }
                    let with = with.clone();
                    thread::spawn(move || with(stream));
                }
            }
        });
        FakeRedis { address, over }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Ends the wait for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

/// A bulk string.
pub(crate) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn greeting(mode: &str) -> String {
    let fields = ["server", "redis", "version", "7.0.15", "mode", mode].map(bulk);
    format!("%3\r\n{}", fields.concat())
}

/// A message as Pub/Sub pushes it.
pub(crate) fn message(channel: &str, payload: &str) -> String {
    format!(">3\r\n{}{}{}", bulk("message"), bulk(channel), bulk(payload))
}

fn converse(stream: TcpStream, script: &Arc<Script>) {
    let reader = stream.try_clone().unwrap();
    converse_over(reader, stream, script);
}

fn converse_over(reader: TcpStream, mut writer: impl Write, script: &Arc<Script>) {
    let mut reader = BufReader::new(reader);
    let mut parser = Parser::new();
    let mut subscribed: Vec<String> = Vec::new();
    while let Ok(Value::Array(arguments)) = parser.parse_value(&mut reader) {
        let command: Command =
            arguments.iter().map(|value| redis::from_redis_value_ref(value).unwrap()).collect();
        let line = script(&command);
        let mut usual = || answer(&command, &mut subscribed);
        let answer = match &line {
            Line::Usual => usual(),
            Line::Before(text) => format!("{text}{}", usual()),
            Line::Instead(text) | Line::Last(text) | Line::Forever(text) => text.clone(),
        };
        let mut said = writer.write_all(answer.as_bytes());
        while matches!(line, Line::Forever(_)) && said.is_ok() {
            said = writer.write_all(answer.as_bytes());
        }
        if said.is_err() || matches!(line, Line::Last(_)) {
            return;
        }
    }
}

fn answer(command: &Command, subscribed: &mut Vec<String>) -> String {
    match command[0].as_str() {
        "HELLO" => greeting("standalone"),
        "SUBSCRIBE" => {
            subscribed.extend_from_slice(&command[1..]);
            let confirm = |channel: &String| format!(">3\r\n{}{}:1\r\n", bulk("subscribe"), bulk(channel));
            command[1..].iter().map(confirm).collect()
        }
        "UNSUBSCRIBE" => {
            subscribed.retain(|channel| !command[1..].contains(channel));
            let confirm = |channel: &String| format!(">3\r\n{}{}:1\r\n", bulk("unsubscribe"), bulk(channel));
            command[1..].iter().map(confirm).collect()
        }
        "PUBLISH" if subscribed.contains(&command[1]) => {
            format!("{}:1\r\n", message(&command[1], &command[2]))
        }
        "PUBLISH" => ":0\r\n".to_owned(),
        "ROLE" => format!("*3\r\n{}:0\r\n*0\r\n", bulk("master")),
        "PUBSUB" => format!("*2\r\n{}:0\r\n", bulk(&command[2])),
        other => format!("-ERR unknown command '{other}'\r\n"),
    }
}
