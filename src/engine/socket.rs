//! The socket of a connection: taken over from Node by its descriptor, or a bridge where there is none.
//!
//! The only place with `unsafe` code: a descriptor's number, which is all that Node can give, is borrowed for as
//! long as it takes to duplicate it.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::bridge::Bridge;
use super::handle::Handle;

/// A socket that is ours but not yet registered with a worker.
#[derive(Debug)]
pub enum Taken {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// A Unix-domain socket.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
    /// Bytes that Node carries: TLS, or any other stream.
    Bridge(Arc<Bridge>),
}

impl Taken {
    /// Duplicates a descriptor (`F_DUPFD_CLOEXEC`) that stays open for the length of the call. The original may
    /// be closed afterwards: that sends nothing to the peer, the connection lives on in the duplicate.
    ///
    /// # Errors
    /// What `fcntl` says, and `InvalidInput` for what is neither a TCP nor a Unix stream socket.
    #[cfg(unix)]
    #[allow(unsafe_code)]
    pub fn duplicate(descriptor: i32) -> io::Result<Taken> {
        use std::os::fd::BorrowedFd;

        if descriptor < 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a descriptor"));
        }
        // SAFETY: the number isn't -1, and the caller keeps it open during this call. Were it closed or another's
        // all the same, `fcntl` would fail or we would own a duplicate of that: no memory depends on it.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let socket = socket2::Socket::from(borrowed.try_clone_to_owned()?);
        let address = socket.local_addr()?;
        if socket.r#type()? != socket2::Type::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a stream socket"));
        }
        socket.set_nonblocking(true)?;
        if address.is_ipv4() || address.is_ipv6() {
            // Small frames must not wait for an acknowledgement; we coalesce ourselves.
            socket.set_tcp_nodelay(true)?;
            Ok(Taken::Tcp(socket.into()))
        } else if address.is_unix() {
            Ok(Taken::Unix(socket.into()))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a TCP nor a Unix socket"))
        }
    }

    /// There are no descriptors to take here.
    ///
    /// # Errors
    /// Always `Unsupported`: use a bridge.
    #[cfg(not(unix))]
    pub fn duplicate(_descriptor: i32) -> io::Result<Taken> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "no descriptors on this platform"))
    }

    /// Registers the socket with the runtime of the current thread.
    pub(super) fn register(self) -> io::Result<Socket> {
        Ok(match self {
            Taken::Tcp(stream) => Socket::Tcp(TcpStream::from_std(stream)?),
            #[cfg(unix)]
            Taken::Unix(stream) => Socket::Unix(UnixStream::from_std(stream)?),
            Taken::Bridge(bridge) => Socket::Bridge(bridge),
        })
    }
}

/// A registered socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    #[cfg(unix)]
    Unix(UnixStream),
    /// See [`Taken::Bridge`].
    Bridge(Arc<Bridge>),
}

impl Socket {
    /// Reads what is there into `buffer`, or answers `WouldBlock`. 0 is the end of the stream. A read that doesn't fill the
    /// buffer has emptied the socket (edge-triggered epoll(7) permits that conclusion): the next one would block.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        macro_rules! read {
            ($stream:expr) => {{
                let mut short = 0;
                let done = $stream.try_io(Interest::READABLE, || {
                    match rustix::net::recv($stream, &mut *buffer, RecvFlags::empty())?.0 {
                        // Has tokio forget the readiness.
                        n if n > 0 && n < buffer.len() => {
                            short = n;
                            Err(io::ErrorKind::WouldBlock.into())
                        }
                        n => Ok(n),
                    }
                });
                if short > 0 { Ok(short) } else { done }
            }};
        }
        match self {
            Socket::Tcp(stream) => read!(stream),
            #[cfg(unix)]
            Socket::Unix(stream) => read!(stream),
            Socket::Bridge(bridge) => bridge.try_read(buffer),
        }
    }

    /// Completes when there may be something to read, or the end.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Tcp(stream) => stream.poll_read_ready(cx),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.poll_read_ready(cx),
            Socket::Bridge(bridge) => bridge.poll_read_ready(cx).map(Ok),
        }
    }

    /// Writes what the kernel takes, or answers `WouldBlock`.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Socket::Tcp(stream), [one]) => try_send(stream, one),
            (Socket::Tcp(stream), many) => stream.try_write_vectored(many),
            #[cfg(unix)]
            (Socket::Unix(stream), many) => stream.try_write_vectored(many),
            (Socket::Bridge(bridge), many) => bridge.try_write(many),
        }
    }

    /// Completes when there may be room for a write.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Tcp(stream) => stream.poll_write_ready(cx),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.poll_write_ready(cx),
            Socket::Bridge(bridge) => bridge.poll_write_ready(cx),
        }
    }

    /// Writes all of `bytes`.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            std::future::poll_fn(|cx| self.poll_write_ready(cx)).await?;
            match self.try_write(&[IoSlice::new(bytes)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends our direction after what was written, and drops what the peer still sends until it ends its own:
    /// closing at once could send a reset that overtakes our last bytes. To be run under a deadline.
    pub(super) async fn finish(&self) {
        let mut scrap = [0; 1024];
        self.shutdown();
        while std::future::poll_fn(|cx| self.poll_read_ready(cx)).await.is_ok() {
            match self.try_read(&mut scrap) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// Ends our direction: the peer reads an end of stream after what was written.
    pub(super) fn shutdown(&self) {
        // That the peer is gone already is no news worth having.
        let _ = match self {
            Socket::Tcp(stream) => socket2::SockRef::from(stream).shutdown(Shutdown::Write),
            #[cfg(unix)]
            Socket::Unix(stream) => socket2::SockRef::from(stream).shutdown(Shutdown::Write),
            Socket::Bridge(bridge) => {
                bridge.shutdown();
                Ok(())
            }
        };
    }

    /// Whether what was written is on its way without us: the kernel sees to it, a bridge's carrier has to take it
    /// first. If not, the connection is woken when it is.
    pub(super) fn poll_passed_on(&self, cx: &mut Context<'_>) -> bool {
        match self {
            Socket::Bridge(bridge) => bridge.poll_taken(cx),
            _ => true,
        }
    }

    /// Milliseconds, of all since it was taken, in which it carried nothing whatever the peer did.
    pub(super) fn stood_still(&self) -> u64 {
        match self {
            Socket::Bridge(bridge) => bridge.stood_still().as_millis() as u64,
            _ => 0,
        }
    }

    /// A ping is about to go out.
    pub(super) fn expect_pong(&self) {
        if let Socket::Bridge(bridge) = self {
            bridge.ask(None);
        }
    }

    /// Nothing has come from the peer in time: ends its connection, unless that lies in the way to it.
    pub(super) fn suspect(&self, handle: &Arc<Handle>) {
        match self {
            Socket::Bridge(bridge) => bridge.ask(Some(handle)),
            _ => handle.declare_dead(),
        }
    }

    /// True for a socket whose bytes Node carries.
    pub(super) fn is_bridge(&self) -> bool {
        matches!(self, Socket::Bridge(_))
    }

    /// Makes the coming drop a reset (RST): what the kernel still holds for the peer is thrown away, its memory
    /// is free at once, and the peer learns that it did not get everything.
    pub(super) fn reset_on_drop(&self) {
        match self {
            Socket::Tcp(stream) => {
                let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
            }
            #[cfg(unix)]
            Socket::Unix(_) => {}
            Socket::Bridge(bridge) => bridge.abort_on_drop(),
        }
    }

    /// Completes when the peer has closed its direction. For the time before the connection is open, in which
    /// nothing is read: early frames stay where they are.
    pub(super) async fn closed_by_peer(&self) {
        loop {
            let closed = match self {
                Socket::Tcp(stream) => stream.ready(Interest::READABLE).await.map(|r| r.is_read_closed()),
                #[cfg(unix)]
                Socket::Unix(stream) => stream.ready(Interest::READABLE).await.map(|r| r.is_read_closed()),
                Socket::Bridge(bridge) => {
                    bridge.closed_by_peer().await;
                    Ok(true)
                }
            };
            if closed.unwrap_or(true) {
                return;
            }
            // Readable because of early frames: readiness can't say more, so look again from time to time.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
}

/// `send` costs less than `writev` with one slice, and asking the kernel at once less than asking tokio's readiness first,
/// which lies in memory that nothing else of a write touches. tokio has to know only that the socket is full.
fn try_send(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    match rustix::net::send(stream, bytes, rustix::net::SendFlags::NOSIGNAL) {
        Err(rustix::io::Errno::WOULDBLOCK) => {}
        done => return Ok(done?),
    }
    stream.try_write(bytes)
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Socket::Bridge(bridge) = self {
            bridge.dropped();
        }
    }
}
