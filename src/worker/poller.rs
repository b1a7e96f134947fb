//! The poller of a worker: says which sockets of its connections have something to read, or room to write again.
//!
//! Edge-triggered (epoll(7), kqueue(2); by mio, as tokio's). It is not tokio's own, which keeps a state of its own per socket
//! that costs a lock and two counted references each time that a connection waits for its next message: here whom it
//! concerns is a number in the worker's table. tokio watches this one, as one descriptor among its others.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry};
use tokio::io::unix::AsyncFd;

use super::token::Token;
use super::{Worker, socket};

/// Events that are taken at once.
const EVENTS: usize = 1024;

/// The registry of a worker's sockets. None without a poller: nobody is watched.
#[derive(Debug, Default)]
pub(super) struct Watch(RefCell<Option<Registry>>);

/// The readiness of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness(pub(super) u8);

/// There is something to read.
const READABLE: u8 = 1;
/// There is room for a write.
const WRITABLE: u8 = 2;
/// There is the end of the stream, or an error, behind what there is to read: no event tells of it again.
const ENDED: u8 = 4;
/// The same, known and not supposed.
const LEFT: u8 = 8;

impl Readiness {
    /// The peer has ended its direction.
    #[cfg(test)]
    pub(super) const LEFT: Readiness = Readiness(ENDED | LEFT);

    /// Not known yet: to be asked of the kernel.
    pub(super) const UNKNOWN: Readiness = Readiness(READABLE | WRITABLE | ENDED);

    fn of(event: &Event) -> Self {
        let bit = |bit: u8, is: bool| if is { bit } else { 0 };
        Readiness(
            bit(READABLE, event.is_readable())
                | bit(WRITABLE, event.is_writable() || event.is_write_closed() || event.is_error())
                | bit(ENDED | LEFT, event.is_read_closed() || event.is_error()),
        )
    }

    pub(super) fn may_read(self) -> bool {
        self.0 & (READABLE | ENDED) != 0
    }

    pub(super) fn may_write(self) -> bool {
        self.0 & WRITABLE != 0
    }

    pub(super) fn has_left(self) -> bool {
        self.0 & LEFT != 0
    }

    /// All was read that there was.
    pub(super) fn emptied(self) -> Self {
        Readiness(self.0 & !READABLE)
    }

    /// There was nothing to read, and no end either.
    pub(super) fn not_readable(self) -> Self {
        Readiness(self.0 & !(READABLE | ENDED))
    }

    pub(super) fn not_writable(self) -> Self {
        Readiness(self.0 & !WRITABLE)
    }

    pub(super) fn with(self, other: Self) -> Self {
        Readiness(self.0 | other.0)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Poller {
    poll: AsyncFd<Poll>,
    registry: Registry,
}

impl Poller {
    /// To be called in the runtime of its worker.
    ///
    /// # Errors
    /// The error of the system when it gives no descriptor.
    pub(super) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        Ok(Poller { poll: socket::watch_poll(poll)?, registry })
    }

    /// Watches the sockets of a worker that has no connections yet. To be run on its thread.
    pub(super) fn watch_for(self, worker: &Worker) -> impl Future<Output = ()> + use<> {
        worker.watch.0.replace(Some(self.registry));
        serve(self.poll)
    }
}

/// Without its poller a worker would hear of nobody any more.
struct Deaf;

impl Drop for Deaf {
    fn drop(&mut self) {
        super::with(|worker| {
            worker.watch.0.take();
            worker.connections.clear();
        });
    }
}

/// Gives connections whose sockets have become ready a turn. If it should ever end before its worker, so do all connections,
/// and new ones are refused.
async fn serve(mut poll: AsyncFd<Poll>) {
    let _deaf = Deaf;
    let mut events = Events::with_capacity(EVENTS);
    while let Ok(mut ready) = poll.readable_mut().await {
        match ready.get_inner_mut().poll(&mut events, Some(Duration::ZERO)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Not heard of.
            Err(_) => return,
        }
        let sockets = events.iter().map(|event| (event.token().0, Readiness::of(event)));
        let noticed = super::with(|worker| {
            worker.scheduler.look_at_clock();
            worker.connections.notice(sockets, worker)
        });
        if noticed.is_none_or(|count| count < EVENTS) {
            ready.clear_ready();
        }
    }
}

/// Watches a socket for the connection with this number in the table.
///
/// # Errors
/// The error of the system when it has no room for one more that is watched.
pub(super) fn register(fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
    with_registry(|registry| {
        registry.register(
            &mut SourceFd(&fd.as_raw_fd()),
            mio::Token(token),
            Interest::READABLE | Interest::WRITABLE,
        )
    })
}

/// Stops that. Closing the descriptor would not do it while Node has another of the same socket.
pub(super) fn deregister(fd: BorrowedFd<'_>) {
    // One that isn't registered any more need not be deregistered.
    let _ = with_registry(|registry| registry.deregister(&mut SourceFd(&fd.as_raw_fd())));
}

fn with_registry(call: impl FnOnce(&Registry) -> io::Result<()>) -> io::Result<()> {
    super::with(|worker| worker.watch.0.borrow().as_ref().map(call))
        .flatten()
        .unwrap_or_else(|| Err(io::Error::other("this thread is no worker")))
}
