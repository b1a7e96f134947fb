//! The socket of a connection: taken over from Node by its descriptor, or a bridge where there is none.
//!
//! The only place with `unsafe` code: a descriptor's number, which is all that Node can give, is borrowed for as
//! long as it takes to duplicate it, and tokio wants it promised that what it watches stays open.

use std::io::{self, IoSlice};
#[cfg(unix)]
use std::net::Shutdown;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
#[cfg(unix)]
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Context;

#[cfg(unix)]
use rustix::io::Errno;
#[cfg(unix)]
use rustix::net::RecvFlags;
#[cfg(unix)]
use tokio::io::Interest;
#[cfg(unix)]
use tokio::io::unix::AsyncFd;

use super::bridge::Carried;
use super::handle::Handle;
#[cfg(unix)]
use super::poller::{self, Readiness};
use super::scheduler;

mod taken;
#[cfg(all(test, unix))]
mod tests;

pub use taken::Taken;

/// The time that a peer to whom nothing more will be said may take to read our last frame.
pub(crate) const LINGER: std::time::Duration = std::time::Duration::from_millis(300);

/// Duplicates a descriptor (`F_DUPFD_CLOEXEC`) that stays open for the length of the call.
///
/// # Errors
/// The error of `fcntl`, and `InvalidInput` for a negative number.
#[cfg(unix)]
#[allow(unsafe_code)]
fn duplicate(descriptor: i32) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a descriptor"));
    }
    // SAFETY: the number isn't -1, and the caller keeps it open during this call. Were it closed or another's
    // all the same, `fcntl` would fail or we would own a duplicate of that: no memory depends on it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    borrowed.try_clone_to_owned()
}

/// Has tokio watch a poller.
///
/// # Errors
/// The error of the system when it has no room for one more that is watched.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(super) fn watch_poll(poll: mio::Poll) -> io::Result<AsyncFd<mio::Poll>> {
    // SAFETY: a poller opens one descriptor when it is made and closes it when it is dropped, and `poller` puts no other one in
    // its place. Were it to, tokio would watch a wrong descriptor or none: no memory depends on it.
    Ok(unsafe { AsyncFd::register_with_interest(poll, Interest::READABLE) }?)
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn watch(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: the descriptor stays open while borrowed, and nobody here puts another one in its place.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Waits with a watch that is made when it is needed first.
#[cfg(unix)]
async fn wait<'a>(
    watched: &mut Option<AsyncFd<BorrowedFd<'a>>>,
    fd: BorrowedFd<'a>,
    interest: Interest,
) -> io::Result<()> {
    let watched = match watched {
        Some(watched) => watched,
        None => watched.insert(watch(fd, interest)?),
    };
    watched.ready(interest).await?.clear_ready();
    Ok(())
}

/// A socket of a connection: the worker's [`poller`] says what it is ready for.
#[derive(Debug)]
pub(crate) enum Socket {
    /// See [`Taken::Native`].
    #[cfg(unix)]
    Native(Native),
    /// See [`Taken::Bridge`].
    Bridge(Carried),
}

/// See [`Taken::Native`].
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Native {
    fd: OwnedFd,
    /// The worker's own.
    ready: AtomicU8,
}

#[cfg(unix)]
impl Native {
    fn ready(&self) -> Readiness {
        Readiness(self.ready.load(Ordering::Relaxed))
    }

    fn set_ready(&self, ready: Readiness) {
        self.ready.store(ready.0, Ordering::Relaxed);
    }

    /// Reads until the kernel says that there is no more, or could say so: a read that did not fill the buffer has emptied the
    /// socket (edge-triggered epoll(7) permits that conclusion), and the next read would block.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.ready();
        if !ready.may_read() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::empty()) {
            Ok((n, _)) => {
                if n < buffer.len() {
                    self.set_ready(ready.emptied());
                }
                Ok(n)
            }
            Err(error) => {
                if error == Errno::AGAIN {
                    self.set_ready(ready.not_readable());
                }
                Err(error.into())
            }
        }
    }

    /// Asks the kernel whatever the readiness: it knows best.
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(send(self.fd.as_fd(), slices).inspect_err(|&error| {
            if error == Errno::AGAIN {
                self.set_ready(self.ready().not_writable());
            }
        })?)
    }
}

impl Socket {
    /// Reads what is there into `buffer`, or answers `WouldBlock`. 0 is the end of the stream.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            #[cfg(unix)]
            Socket::Native(socket) => socket.read(buffer),
            Socket::Bridge(bridge) => bridge.try_read(buffer),
        };
        spend_on(&read);
        read
    }

    /// True if there may be something to read, or the end. If not, the connection is woken when there is.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> bool {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => socket.ready().may_read(),
            Socket::Bridge(bridge) => bridge.poll_read_ready(cx).is_ready(),
        }
    }

    /// Has the connection woken when the peer ends its direction, though it doesn't read.
    pub(super) fn await_end(&self, cx: &mut Context<'_>) {
        match self {
            // The poller says so.
            #[cfg(unix)]
            Socket::Native(_) => {}
            Socket::Bridge(bridge) => bridge.await_end(cx),
        }
    }

    /// True if bytes lie there that were not read. Asks the kernel.
    pub(super) fn has_unread(&self) -> bool {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => rustix::io::ioctl_fionread(&socket.fd).is_ok_and(|len| len > 0),
            Socket::Bridge(bridge) => bridge.has_unread(),
        }
    }

    /// True if the peer is known to have ended its direction, whether or not all is read that came before.
    pub(super) fn has_left(&self) -> bool {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => socket.ready().has_left(),
            Socket::Bridge(bridge) => bridge.has_left(),
        }
    }

    /// Writes what the kernel takes, or answers `WouldBlock`.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = match self {
            #[cfg(unix)]
            Socket::Native(socket) => socket.write(slices),
            Socket::Bridge(bridge) => bridge.try_write(slices),
        };
        spend_on(&written);
        written
    }

    /// True if there may be room for a write. If not, the connection is woken when there is.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> bool {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => socket.ready().may_write(),
            Socket::Bridge(bridge) => bridge.poll_write_ready(cx).is_ready(),
        }
    }

    /// Notes the poller's news. True if it is news. Readiness that it isn't does no harm: the kernel will say so.
    #[cfg(unix)]
    pub(super) fn notice(&self, ready: Readiness) -> bool {
        match self {
            Socket::Native(socket) => {
                let before = socket.ready();
                socket.set_ready(before.with(ready));
                socket.ready() != before
            }
            Socket::Bridge(_) => false,
        }
    }

    /// Has the next read ask the kernel, whatever the poller has said so far.
    pub(super) fn look_again(&self) {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => socket.set_ready(socket.ready().with(Readiness::UNKNOWN)),
            Socket::Bridge(_) => {}
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The error of the socket.
    pub(crate) async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            #[cfg(unix)]
            Socket::Native(socket) => send_all(socket.fd.as_fd(), bytes).await,
            Socket::Bridge(bridge) => bridge.write_all(bytes).await,
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

    /// True if what was written is on its way without us: the kernel sees to it, a bridge's carrier has to take it
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

    /// Makes the coming drop a reset (RST): the kernel throws away the bytes that it still holds for the peer, their memory
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

/// Notes what it took to move so many bytes.
fn spend_on(moved: &io::Result<usize>) {
    if let Ok(n) = moved {
        scheduler::charge(scheduler::CALL + scheduler::bytes(*n));
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
async fn send_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    let mut watched = None;
    while !bytes.is_empty() {
        match send(fd, &[IoSlice::new(bytes)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(&mut watched, fd, Interest::WRITABLE).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn shutdown(fd: BorrowedFd<'_>) {
    // That the peer is gone already is no news worth having.
    let _ = socket2::SockRef::from(&fd).shutdown(Shutdown::Write);
}

#[cfg(unix)]
impl Drop for Native {
    fn drop(&mut self) {
        poller::deregister(self.fd.as_fd());
    }
}
