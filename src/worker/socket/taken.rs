//! A socket before it is a connection's: taken from Node, answered where it is refused, and registered.

use std::io::{self, IoSlice};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
#[cfg(unix)]
use std::sync::atomic::AtomicU8;

use protocol::endpoint::MAX_SCRAP;
#[cfg(unix)]
use rustix::io::Errno;
#[cfg(unix)]
use rustix::net::RecvFlags;
#[cfg(unix)]
use tokio::io::Interest;

use super::Socket;
#[cfg(unix)]
use super::{Native, duplicate, send, send_all, shutdown, wait, watch};
use crate::worker::bridge::{Bridge, Carried};
#[cfg(unix)]
use crate::worker::poller::{self, Readiness};
use crate::worker::token::Token;

/// A socket that is ours, before it has a connection. It is waited for by tokio, and only if there is need to: most
/// handshakes are answered on the spot.
#[derive(Debug)]
pub enum Taken {
    /// TCP, or a Unix-domain socket.
    #[cfg(unix)]
    Native(OwnedFd),
    /// Bytes that Node carries: TLS, or any other stream.
    Bridge(Carried),
}

impl Taken {
    /// The socket behind a bridge.
    pub fn bridge(bridge: Arc<Bridge>) -> Taken {
        Taken::Bridge(Carried::new(bridge))
    }

    /// Duplicates a descriptor (`F_DUPFD_CLOEXEC`) that stays open for the length of the call. The original may
    /// be closed afterwards: that sends nothing to the peer, the connection lives on in the duplicate.
    ///
    /// # Errors
    /// The error of `fcntl`, and `InvalidInput` for what is neither a TCP nor a Unix stream socket.
    #[cfg(unix)]
    pub fn duplicate(descriptor: i32) -> io::Result<Taken> {
        let socket = socket2::Socket::from(duplicate(descriptor)?);
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
    /// The error of the socket.
    pub(crate) async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            #[cfg(unix)]
            Taken::Native(fd) => send_all(fd.as_fd(), bytes).await,
            Taken::Bridge(bridge) => bridge.write_all(bytes).await,
        }
    }

    /// Ends our direction after what was written, and drops what the peer still sends, until it ends its own or has sent
    /// [`MAX_SCRAP`]. To be run under a deadline.
    pub(crate) async fn finish(&self) {
        let mut left = MAX_SCRAP;
        match self {
            #[cfg(unix)]
            Taken::Native(fd) => {
                shutdown(fd.as_fd());
                let mut watched = None;
                // If it can't be watched, it is closed at once.
                while drop_what_is_there(fd.as_fd(), &mut left)
                    && wait(&mut watched, fd.as_fd(), Interest::READABLE).await.is_ok()
                {}
            }
            Taken::Bridge(bridge) => {
                bridge.dismiss();
                bridge.closed_by_peer().await;
            }
        }
    }

    /// Writes what the socket takes of a refusal at once, and closes it. Bytes that came from the peer by then are dropped first,
    /// or closing would send a reset that overtakes the answer.
    pub(crate) fn dismiss(self, answer: &[u8]) {
        match self {
            #[cfg(unix)]
            Taken::Native(fd) => {
                let _ = send(fd.as_fd(), &[IoSlice::new(answer)]);
                shutdown(fd.as_fd());
                drop_what_is_there(fd.as_fd(), &mut MAX_SCRAP.clone());
            }
            Taken::Bridge(bridge) => {
                let _ = bridge.try_write(&[IoSlice::new(answer)]);
                bridge.dismiss();
            }
        }
    }

    /// Completes when the peer has closed its direction. Nothing is read: early frames stay where they are.
    pub(crate) async fn closed_by_peer(&self) {
        match self {
            #[cfg(unix)]
            Taken::Native(fd) => {
                // If that is not possible, the deadline is all that ends the wait.
                let Ok(fd) = watch(fd.as_fd(), Interest::READABLE) else {
                    return std::future::pending().await;
                };
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

    /// Has the worker that this thread is watch the socket for the connection with this number in its table.
    ///
    /// # Errors
    /// The error of the system when it has no room for one more that is watched.
    pub(crate) fn register(self, token: Token) -> io::Result<Socket> {
        Ok(match self {
            #[cfg(unix)]
            Taken::Native(fd) => {
                bound_unsent(fd.as_fd());
                poller::register(fd.as_fd(), token)?;
                // Nobody is told what it becomes ready for before the connection has its place.
                Socket::Native(Native { fd, ready: AtomicU8::new(Readiness::UNKNOWN.0) })
            }
            Taken::Bridge(bridge) => {
                let _ = token;
                Socket::Bridge(bridge)
            }
        })
    }
}

/// Reads and drops what has come, at most `left` bytes. True if more may come: neither the end has, nor all of those bytes.
#[cfg(unix)]
fn drop_what_is_there(fd: BorrowedFd<'_>, left: &mut usize) -> bool {
    let mut scrap = [0; 4096];
    while *left > 0 {
        match rustix::net::recv(fd, &mut scrap, RecvFlags::empty()) {
            Ok((n @ 1.., _)) => *left = left.saturating_sub(n),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Ok(_) | Err(_) => return false,
        }
    }
    false
}

/// Bytes that the kernel takes for a client beyond what it can send at once (`TCP_NOTSENT_LOWAT`, tcp(7)). Without it, it
/// takes up to the maximum of `tcp_wmem`, 4 MiB by default, for a client that reads nothing. Measured on loopback: it holds
/// 150 to 200 KB then instead of 4.2 MB. 16 KiB double the waits of a fast reader and cost it a tenth; 64 to 256 KiB
/// cost it nothing. A fixed `SO_SNDBUF` would also bound what is on its way, and so the speed over a long way.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT: u32 = 128 * 1024;

/// Leaves what a client doesn't read to its send queue, which counts it. Elsewhere than on Linux the option bounds no write
/// (macOS), or doesn't exist. A Unix-domain socket has no such option, and a send buffer that never grows.
#[cfg(unix)]
fn bound_unsent(fd: BorrowedFd<'_>) {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket2::SockRef::from(&fd).set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = fd;
}
