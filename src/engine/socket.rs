//! The socket of a connection: taken over from Node by its descriptor, or a bridge where there is none.
//!
//! The only place with `unsafe` code: a descriptor's number, which is all that Node can give, is borrowed for as
//! long as it takes to duplicate it, and tokio wants it promised that what it watches stays open.

#[cfg(unix)]
use std::cell::Cell;
use std::io::{self, IoSlice};
#[cfg(unix)]
use std::net::Shutdown;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::Context;

#[cfg(unix)]
use rustix::io::Errno;
#[cfg(unix)]
use rustix::net::RecvFlags;
#[cfg(unix)]
use tokio::io::Interest;
#[cfg(unix)]
use tokio::io::unix::AsyncFd;

use super::bridge::Bridge;
use super::handle::Handle;
#[cfg(unix)]
use super::poller::{self, Readiness};
use super::table::Key;

/// A socket that is ours, before its connection has turns. It is waited for by tokio, and only if there is need to: most
/// handshakes are answered on the spot.
#[derive(Debug)]
pub enum Taken {
    /// TCP, or a Unix-domain socket.
    #[cfg(unix)]
    Native(OwnedFd),
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
        } else if !address.is_unix() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a TCP nor a Unix socket"));
        }
        Ok(Taken::Native(socket.into()))
    }

    /// There are no descriptors to take here.
    ///
    /// # Errors
    /// Always `Unsupported`: use a bridge.
    #[cfg(not(unix))]
    pub fn duplicate(_descriptor: i32) -> io::Result<Taken> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "no descriptors on this platform"))
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// What the socket says.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        match self {
            #[cfg(unix)]
            Taken::Native(fd) => {
                let mut watched = None;
                while !bytes.is_empty() {
                    match send(fd.as_fd(), &[IoSlice::new(bytes)]) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(n) => bytes = &bytes[n..],
                        Err(Errno::INTR) => {}
                        Err(Errno::AGAIN) => wait(&mut watched, fd, Interest::WRITABLE).await?,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Taken::Bridge(bridge) => {
                while !bytes.is_empty() {
                    std::future::poll_fn(|cx| bridge.poll_write_ready(cx)).await;
                    match bridge.try_write(&[IoSlice::new(bytes)]) {
                        Ok(n) => bytes = &bytes[n..],
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends our direction after what was written, and drops what the peer still sends until it ends its own:
    /// closing at once could send a reset that overtakes our last bytes. To be run under a deadline.
    pub(super) async fn finish(&self) {
        let mut scrap = [0; 1024];
        match self {
            #[cfg(unix)]
            Taken::Native(fd) => {
                shutdown(fd.as_fd());
                let mut watched = None;
                loop {
                    match rustix::net::recv(fd, &mut scrap, RecvFlags::empty()) {
                        Ok((1.., _)) | Err(Errno::INTR) => {}
                        Err(Errno::AGAIN) => {
                            if wait(&mut watched, fd, Interest::READABLE).await.is_err() {
                                return;
                            }
                        }
                        Ok(_) | Err(_) => return,
                    }
                }
            }
            Taken::Bridge(bridge) => {
                bridge.shutdown();
                loop {
                    std::future::poll_fn(|cx| bridge.poll_read_ready(cx)).await;
                    match bridge.try_read(&mut scrap) {
                        Ok(1..) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Ok(0) | Err(_) => return,
                    }
                }
            }
        }
    }

    /// Completes when the peer has closed its direction. Nothing is read: early frames stay where they are.
    pub(super) async fn closed_by_peer(&self) {
        match self {
            #[cfg(unix)]
            Taken::Native(fd) => {
                let Ok(fd) = watch(fd.as_fd(), Interest::READABLE) else { return };
                loop {
                    match fd.readable().await {
                        Ok(ready) if !ready.ready().is_read_closed() => {}
                        _ => return,
                    }
                    // Readable because of early frames: readiness can't say more, so look again from time to time.
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
            Taken::Bridge(bridge) => bridge.closed_by_peer().await,
        }
    }

    /// Gives the socket to the connection that has this number in the table of the worker that this thread is.
    ///
    /// # Errors
    /// What the system says when it has no room for one more that is watched.
    pub(super) fn settle(self, key: Key) -> io::Result<Socket> {
        Ok(match self {
            #[cfg(unix)]
            Taken::Native(fd) => {
                poller::register(fd.as_fd(), key)?;
                Socket::Native(Native { fd, ready: Cell::default() })
            }
            Taken::Bridge(bridge) => {
                let _ = key;
                Socket::Bridge(bridge)
            }
        })
    }
}

/// Has tokio watch a descriptor that belongs to what it is given.
///
/// # Errors
/// What the system says when it has no room for one more that is watched.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(super) fn watch<T: Owns>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: whoever implements `Owns` has one and the same descriptor, open, for as long as it lives.
    unsafe { AsyncFd::register_with_interest(inner, interest) }.map_err(Into::into)
}

/// Has a descriptor.
///
/// # Safety
/// It has to be one and the same, and open, for as long as the value lives.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(super) unsafe trait Owns: AsRawFd {}
// SAFETY: what is borrowed stays.
#[cfg(unix)]
#[allow(unsafe_code)]
unsafe impl Owns for BorrowedFd<'_> {}
// SAFETY: it opens one when it is made, and closes it when it is dropped.
#[cfg(unix)]
#[allow(unsafe_code)]
unsafe impl Owns for mio::Poll {}

/// Waits with a watch that is made when it is needed first.
#[cfg(unix)]
async fn wait<'a>(
    watched: &mut Option<AsyncFd<BorrowedFd<'a>>>,
    fd: &'a OwnedFd,
    interest: Interest,
) -> io::Result<()> {
    let watched = match watched {
        Some(watched) => watched,
        None => watched.insert(watch(fd.as_fd(), interest)?),
    };
    watched.ready(interest).await?.clear_ready();
    Ok(())
}

/// A socket of a connection that has turns: its [`poller`] says what it is ready for.
#[derive(Debug)]
pub enum Socket {
    /// See [`Taken::Native`].
    #[cfg(unix)]
    Native(Native),
    /// See [`Taken::Bridge`].
    Bridge(Arc<Bridge>),
}

/// See [`Taken::Native`].
#[cfg(unix)]
#[derive(Debug)]
pub struct Native {
    fd: OwnedFd,
    ready: Cell<Readiness>,
}

#[cfg(unix)]
impl Native {
    /// Reads until the kernel says that there is no more, or could say so: what did not fill the buffer has emptied the socket
    /// (edge-triggered epoll(7) permits that conclusion), and the next read would block.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.ready.get();
        if !ready.may_read() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::empty()) {
            Ok((n, _)) => {
                if n < buffer.len() {
                    self.ready.set(ready.emptied());
                }
                Ok(n)
            }
            Err(error) => {
                if error == Errno::AGAIN {
                    self.ready.set(ready.not_readable());
                }
                Err(error.into())
            }
        }
    }

    /// Asks the kernel whatever the readiness: it knows best.
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(send(self.fd.as_fd(), slices).inspect_err(|&error| {
            if error == Errno::AGAIN {
                self.ready.set(self.ready.get().not_writable());
            }
        })?)
    }
}

impl Socket {
    /// Reads what is there into `buffer`, or answers `WouldBlock`. 0 is the end of the stream.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => socket.read(buffer),
            Socket::Bridge(bridge) => bridge.try_read(buffer),
        }
    }

    /// Whether there may be something to read, or the end. If not, the connection is woken when there is.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> bool {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => socket.ready.get().may_read(),
            Socket::Bridge(bridge) => bridge.poll_read_ready(cx).is_ready(),
        }
    }

    /// Writes what the kernel takes, or answers `WouldBlock`.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => socket.write(slices),
            Socket::Bridge(bridge) => bridge.try_write(slices),
        }
    }

    /// Whether there may be room for a write. If not, the connection is woken when there is.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> bool {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => socket.ready.get().may_write(),
            Socket::Bridge(bridge) => bridge.poll_write_ready(cx).is_ready(),
        }
    }

    /// What the poller says. Readiness that it isn't does no harm: the kernel will say so.
    #[cfg(unix)]
    pub(super) fn notice(&self, ready: Readiness) {
        if let Socket::Native(socket) = self {
            socket.ready.set(socket.ready.get().and(ready));
        }
    }

    /// Ends our direction: the peer reads an end of stream after what was written.
    pub(super) fn shutdown(&self) {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => shutdown(socket.fd.as_fd()),
            Socket::Bridge(bridge) => bridge.shutdown(),
        }
    }

    /// Whether what was written is on its way without us: the kernel sees to it, a bridge's carrier has to take it
    /// first. If not, the connection is woken when it is.
    pub(super) fn poll_passed_on(&self, cx: &mut Context<'_>) -> bool {
        match self {
            #[cfg(unix)]
            Socket::Native(_) => true,
            Socket::Bridge(bridge) => bridge.poll_taken(cx),
        }
    }

    /// Milliseconds, of all since it was taken, in which it carried nothing whatever the peer did.
    pub(super) fn stood_still(&self) -> u64 {
        match self {
            #[cfg(unix)]
            Socket::Native(_) => 0,
            Socket::Bridge(bridge) => bridge.stood_still().as_millis() as u64,
        }
    }

    /// A ping is about to go out.
    pub(super) fn expect_pong(&self) {
        match self {
            #[cfg(unix)]
            Socket::Native(_) => {}
            Socket::Bridge(bridge) => bridge.ask(None),
        }
    }

    /// Nothing has come from the peer in time: ends its connection, unless that lies in the way to it.
    pub(super) fn suspect(&self, handle: &Arc<Handle>) {
        match self {
            #[cfg(unix)]
            Socket::Native(_) => handle.declare_dead(),
            Socket::Bridge(bridge) => bridge.ask(Some(handle)),
        }
    }

    /// True for a socket whose bytes Node carries.
    pub(super) fn is_bridge(&self) -> bool {
        matches!(self, Socket::Bridge(_))
    }

    /// Makes the coming drop a reset (RST): what the kernel still holds for the peer is thrown away, its memory
    /// is free at once, and the peer learns that it did not get everything. A Unix-domain socket knows no such thing, and
    /// loses nothing by it.
    pub(super) fn reset_on_drop(&self) {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => {
                let _ = socket2::SockRef::from(&socket.fd).set_linger(Some(std::time::Duration::ZERO));
            }
            Socket::Bridge(bridge) => bridge.abort_on_drop(),
        }
    }
}

/// As bare system calls. `send` costs less than `writev` with one slice.
#[cfg(unix)]
fn send(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
    #[cfg(target_os = "linux")]
    if let [bytes] = slices {
        return rustix::net::send(fd, bytes, rustix::net::SendFlags::NOSIGNAL);
    }
    rustix::io::writev(fd, slices)
}

#[cfg(unix)]
fn shutdown(fd: BorrowedFd<'_>) {
    // That the peer is gone already is no news worth having.
    let _ = socket2::SockRef::from(&fd).shutdown(Shutdown::Write);
}

impl Drop for Socket {
    fn drop(&mut self) {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => poller::deregister(socket.fd.as_fd()),
            Socket::Bridge(bridge) => bridge.dropped(),
        }
    }
}
