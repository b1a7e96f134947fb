//! Sockets and epoll, thin over `nix`. Sockets stay in blocking mode; each call says `MSG_DONTWAIT` instead.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, sockopt};
use nix::sys::socket::{bind, connect, recv, send, setsockopt, socket};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Most events that one wait takes.
pub const EVENTS: usize = 1024;

/// See [`Poll::wait_awake`].
const LOOK: Duration = Duration::from_micros(50);

/// Edge-triggered epoll. A handler reads until a `recv` comes back short (or would block), not until it blocks:
/// that saves one system call a turn.
pub struct Poll {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Poll {
    /// An epoll of its own.
    pub fn new() -> io::Result<Poll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Poll { epoll, events: vec![EpollEvent::empty(); EVENTS] })
    }

    /// Watches for reading.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(interest(false), token))?)
    }

    /// Watches for reading, and for writing too if `writing`.
    pub fn modify(&self, fd: impl AsFd, token: u64, writing: bool) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(interest(writing), token))?)
    }

    /// Stops watching.
    pub fn delete(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits at most `timeout` milliseconds (`None`: for ever) and hands out `(token, writable)` into `ready`, cleared first.
    pub fn wait(&mut self, timeout: Option<u16>, ready: &mut Vec<(u64, bool)>) -> io::Result<()> {
        ready.clear();
        let timeout = timeout.map_or(EpollTimeout::NONE, EpollTimeout::from);
        match self.epoll.wait(&mut self.events, timeout) {
            Ok(n) => ready.extend(
                self.events[..n].iter().map(|e| (e.data(), e.events().contains(EpollFlags::EPOLLOUT))),
            ),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The same without ever sleeping: looks every [`LOOK`]. Between looks nothing is touched that the server touches too.
    pub fn wait_awake(&mut self, timeout: Duration, ready: &mut Vec<(u64, bool)>) -> io::Result<()> {
        let end = Instant::now() + timeout;
        loop {
            self.wait(Some(0), ready)?;
            let now = Instant::now();
            if !ready.is_empty() || now >= end {
                return Ok(());
            }
            while now.elapsed() < LOOK {
                std::hint::spin_loop();
            }
        }
    }
}

/// Readiness at regular times, to be watched by a [`Poll`], whose own timeout knows no less than a millisecond.
pub struct Ticks(TimerFd);

impl Ticks {
    /// The first tick is one `gap` away.
    pub fn new(gap: Duration) -> io::Result<Ticks> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::Interval(gap.into()), TimerSetTimeFlags::empty())?;
        Ok(Ticks(timer))
    }

    /// Takes the ticks that there were. Blocks where there was none.
    pub fn take(&self) -> io::Result<()> {
        Ok(self.0.wait()?)
    }
}

impl AsFd for Ticks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn interest(writing: bool) -> EpollFlags {
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    if writing { flags | EpollFlags::EPOLLOUT } else { flags }
}

/// One `recv`. `None`: nothing there now. `Some(0)`: the other side is done.
#[inline]
pub fn read_now(stream: &TcpStream, buf: &mut [u8]) -> io::Result<Option<usize>> {
    match recv(stream.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT) {
        Ok(n) => Ok(Some(n)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One `send`; says how many bytes went (0: none would go now).
#[inline]
pub fn write_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match send(stream.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
        Ok(n) => Ok(n),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Connects to a loopback server. Connection `n` takes its source address by turns from 127.0.0.1 to 127.0.0.16,
/// so that many thousands do not run short of ports.
pub fn dial(port: u16, n: usize) -> io::Result<TcpStream> {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::IpBindAddressNoPort, &true)?;
    let source = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1 + (n % 16) as u8), 0));
    bind(fd.as_raw_fd(), &source)?;
    let server = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    connect(fd.as_raw_fd(), &server)?;
    let stream = TcpStream::from(fd);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Keeps the kernel from taking more than some kilobytes for who doesn't read them: it would take megabytes else.
pub fn narrow(stream: &TcpStream) -> io::Result<()> {
    Ok(setsockopt(stream, sockopt::RcvBuf, &4096)?)
}

/// `GET path` of the server under test, waiting for the answer; any status but 200 is an error.
pub fn http_get(port: u16, path: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    if &head[9..] == b"200" { Ok(()) } else { Err(io::Error::other(format!("GET {path} was refused"))) }
}

/// Raises the descriptor limit as far as it goes.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Ends this process after `limit`, whatever it is doing then: no run outlives its runner by much.
pub fn end_after(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        eprintln!("ended: {} s are over", limit.as_secs());
        std::process::exit(3);
    });
}
