//! A server without Node: an engine, a listener on a free port, and the events, taken when a test asks for them.
//!
//! Node's work before the hand-over is done here: accept, read the request's head, give the descriptor away.
//! Nothing sleeps; all waits are for a condition, with a generous deadline.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use auth::Identity;
use codes::error::Error;
use parking_lot::Mutex;
use protocol::frame::Message;
#[cfg(target_os = "linux")]
use rustix::process::{Resource, Rlimit};
use socket2::{Domain, Socket, Type};

use super::client::Client;
use crate::engine::config::{Auth, Config};
use crate::engine::{Engine, Taken, Ticket};
use crate::events::{Event, Interest};
use crate::outcome::{Answer, Delivery, Reply};
use crate::worker::bridge::Bridge;
use crate::worker::handle::ConnectionId;
use crate::worker::heartbeat::Heartbeat;

mod inbox;
mod request;

pub(super) use inbox::Inbox;
use request::upgrade;
pub(super) use request::{ACCEPT, KEY, Request};

/// Longest wait for something that has to come. Only a test that fails waits so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// A look for something that does not come lasts so long. It would come within a millisecond.
pub(super) const GLANCE: Duration = Duration::from_millis(60);

/// Events that all tests want; those of messages are for tests about events.
const LIFE: Interest = Interest(Interest::CONNECTION.0 | Interest::DISCONNECT.0 | Interest::SLOW.0);

/// A configuration for tests: everybody may connect, two workers, no pings between what is looked at.
pub(super) fn config() -> Config {
    let hour = Duration::from_secs(3600);
    let heartbeat = Heartbeat { interval: hour, timeout: hour };
    Config { threads: 2, heartbeat, ..Config::new(Auth::Anonymous) }
}

/// The outcome of a publish that is known at once, as it is without Redis.
pub(super) fn published(reply: Result<Reply, Error>) -> Delivery {
    match reply {
        Ok(Reply::Now(Answer::Delivery(delivery))) => delivery,
        other => panic!("{other:?}"),
    }
}

/// A user, in rooms.
pub(super) fn identity(user: &str, rooms: &[&str]) -> Identity {
    Identity {
        user_id: user.into(),
        rooms: rooms.iter().map(|room| (*room).into()).collect(),
        data: None,
        expires_at: None,
    }
}

/// Panics of worker threads, which their runtime would swallow.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn is_worker() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with("actory-ws"))
}

fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if is_worker() {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            tell(info);
        }));
    });
}

/// See the module.
pub(crate) struct Server {
    pub engine: Engine,
    listener: TcpListener,
    /// Held from `connect` to `accept`, so that the two ends belong together.
    accepting: Mutex<()>,
    inbox: Inbox,
}

impl Server {
    /// Starts an engine that tells of connections, but not of messages.
    pub(crate) fn start(config: Config) -> Server {
        config.validate().unwrap();
        Server::start_unchecked(config)
    }

    /// The same, with limits that nobody may set.
    pub(crate) fn start_unchecked(config: Config) -> Server {
        watch_for_panics();
        let inbox = Inbox::default();
        let engine = Engine::start(config, inbox.notify()).unwrap();
        engine.set_interest(LIFE);
        Server {
            engine,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            accepting: Mutex::default(),
            inbox,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// A TCP connection: the client's end, and the one that Node would have.
    pub(crate) fn pair(&self) -> (TcpStream, TcpStream) {
        let _guard = self.accepting.lock();
        let client = TcpStream::connect(self.address()).unwrap();
        (client, self.listener.accept().unwrap().0)
    }

    /// Connects, asks for an upgrade and hands the socket over.
    pub(crate) fn request(&self, request: Request) -> (Client, Result<Ticket, Error>) {
        let (client, node) = self.pair();
        self.hand_over(client.into(), node.into(), request)
    }

    /// Sends the request over `client` and hands over `node`, the other end, as Node would.
    pub(crate) fn hand_over(
        &self,
        client: Socket,
        mut node: Socket,
        request: Request,
    ) -> (Client, Result<Ticket, Error>) {
        let head = request.bytes();
        let mut client = Client::new(client);
        client.send(&[&head[..], &request.early].concat());
        let mut read = vec![0; head.len() + request.taken];
        node.read_exact(&mut read).unwrap();
        let taken = Taken::duplicate(node.as_raw_fd()).unwrap();
        drop(node);
        let upgrade = upgrade(&read[..head.len()], read[head.len()..].into(), &request);
        (client, self.engine.upgrade(taken, upgrade))
    }

    /// An upgrade over a bridge. The head came through Node's parser; the rest is fed by the caller.
    pub(crate) fn bridge(&self, request: &Request) -> (Arc<Bridge>, Ticket) {
        self.try_bridge(request).unwrap()
    }

    /// None after a shutdown.
    pub(crate) fn try_bridge(&self, request: &Request) -> Option<(Arc<Bridge>, Ticket)> {
        let bridge = self.engine.bridge();
        let upgrade = upgrade(&request.bytes(), Vec::new(), request);
        let ticket = self.engine.upgrade(Taken::bridge(bridge.clone()), upgrade).ok()?;
        Some((bridge, ticket))
    }

    /// An open connection.
    pub(crate) fn open(&self, request: Request) -> Client {
        let (mut client, ticket) = self.request(request);
        let number = ticket.unwrap().number;
        client.response().expect_101();
        client.handle = Some(self.event("the connection to open", |event| match event {
            Event::Open { handle, ticket } if *ticket == number => Some(handle.clone()),
            _ => None,
        }));
        client
    }

    /// An open connection of a user that nobody else is.
    pub(crate) fn connect(&self) -> Client {
        self.open(Request::default())
    }

    /// An open connection of this user.
    pub(crate) fn connect_as(&self, user: &str) -> Client {
        self.open(Request::of(user, &[]))
    }

    /// The times that the embedder was told that there are events, or told itself in [`Server::event`].
    pub(crate) fn rings(&self) -> usize {
        self.inbox.bell.rings()
    }

    /// Waits for an event, and takes it. Events before it are kept for who asks later.
    pub(crate) fn event<T>(&self, what: &str, pick: impl FnMut(&Event) -> Option<T>) -> T {
        self.event_within(PATIENCE, pick).unwrap_or_else(|| panic!("waited in vain for {what}"))
    }

    /// See [`Server::event`].
    pub(crate) fn event_within<T>(
        &self,
        patience: Duration,
        pick: impl FnMut(&Event) -> Option<T>,
    ) -> Option<T> {
        let drain = || {
            // Until there is nothing: only then what was taken counts as dealt with, and ends may come that wait for that.
            let mut all = VecDeque::new();
            loop {
                let batch = self.engine.drain(256);
                self.engine.flush();
                if batch.is_empty() {
                    return all;
                }
                all.extend(batch);
            }
        };
        self.inbox.event_within(drain, patience, pick)
    }

    /// The end of a connection, as the embedder is told.
    pub(crate) fn ended(&self, id: ConnectionId) -> (u16, String) {
        self.event("the connection's end", |event| match event {
            Event::Close { handle, code, reason, .. } if handle.id == id => Some((*code, reason.to_string())),
            _ => None,
        })
    }

    /// The code and message with which an upgrade was refused, as the embedder is told.
    pub(crate) fn refused(&self, number: u64) -> (String, String) {
        self.event("the refusal", |event| match event {
            Event::Refused { ticket, code, message } if *ticket == number => {
                Some((code.clone(), message.clone()))
            }
            _ => None,
        })
    }

    /// Sends to a client that does not read until the kernel takes no more, and some more.
    pub(crate) fn clog(&self, client: &Client) {
        let message = "x".repeat(60_000);
        eventually("the way to the client to be full", || {
            while client.handle().buffered() < 300_000 {
                assert_eq!(self.engine.send(client.id(), Message::Text(&message)), Ok(true));
            }
            std::thread::park_timeout(GLANCE);
            client.handle().buffered() >= 300_000
        });
    }

    /// Has the next event that a worker notifies of end in a panic, and waits for it. For a process of its own only.
    pub(crate) fn fault(&self, cause: impl FnOnce()) {
        self.drop_events();
        self.inbox.bell.broken.store(true, Ordering::SeqCst);
        cause();
        eventually("the panic", || PANICS.swap(0, Ordering::SeqCst) == 1);
    }

    /// Runs `work` while the only worker stands still, so that all that is sent meanwhile lies there when it goes on. A
    /// connection is opened for that; its client is returned.
    pub(crate) fn while_held(&self, work: impl FnOnce()) -> Client {
        assert_eq!(self.engine.config().threads, 1);
        self.drop_events();
        let gate = self.inbox.bell.gate.lock();
        let (client, ticket) = self.request(Request::of("who holds the worker", &[]));
        ticket.unwrap();
        eventually("the worker to tell of it", || self.inbox.bell.held.load(Ordering::SeqCst) == 1);
        work();
        drop(gate);
        client
    }

    /// Takes all events and forgets them.
    pub(crate) fn drop_events(&self) {
        self.inbox.forget();
        while !self.engine.drain(usize::MAX).is_empty() {
            self.engine.flush();
        }
    }

    /// Waits until nothing is left: no connection, user, room or handshake.
    pub(crate) fn expect_empty(&self) {
        eventually("nobody to be left", || {
            let stats = self.engine.stats();
            stats.connections + stats.users + stats.rooms + stats.handshakes == 0
        });
    }

    /// Waits for the end of a shutdown.
    pub(crate) fn expect_closed(&self) {
        self.event("the engine to close", |event| matches!(event, Event::Closed).then_some(()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.engine.abort();
        if !std::thread::panicking() {
            assert_eq!(
                PANICS.load(Ordering::SeqCst),
                0,
                "a worker panicked, of this server or of another test's"
            );
        }
    }
}

/// Sets a flag when it goes, also when that is because of a panic: other threads of the test wait for it.
pub(super) struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Waits for something of which no event tells.
pub(super) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// A client's socket and Node's, with answers to earlier requests between them, so many bytes: the kernel takes not one byte
/// more until the client reads. Unix-domain sockets, between which nothing else moves.
pub(super) fn full_pair() -> (Socket, Socket, usize) {
    let (client, mut node) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    node.set_nonblocking(true).unwrap();
    let mut ahead = 0;
    for chunk in [&[b'x'; 64 * 1024][..], b"x"] {
        while let Ok(n) = node.write(chunk) {
            ahead += n;
        }
    }
    (client, node, ahead)
}

/// Runs a scenario in a process of its own: one that counts the descriptors or threads of the whole process.
pub(super) fn alone(test: &str, scenario: impl FnOnce()) {
    const MARK: &str = "ACTORY_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return scenario();
    }
    let run = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let output = [run.stdout, run.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(run.status.success() && output.contains("1 passed"), "{output}");
}

/// Leaves this process memory for the stacks of so many threads more, or of any number. For a process of its own, in which no
/// thread has ended: its stack is used again.
#[cfg(target_os = "linux")]
pub(super) fn allow_threads(number: Option<u64>) {
    const MIB: u64 = 1 << 20;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmSize:")).unwrap();
    let size = line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024;
    // A stack has 2 MiB.
    let current = number.map(|number| size + 2 * number * MIB + MIB);
    rustix::process::setrlimit(Resource::As, Rlimit { current, maximum: None }).unwrap();
}
