//! The connections of a worker: where each one lies between its turns, and the care that all of them get
//! (heartbeat, token expiry).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use protocol::endpoint::Holding;
use slab::Slab;

use super::Worker;
use super::connection::Connection;
use super::handle::{ConnectionId, Handle};
use super::memory::Holder;
#[cfg(unix)]
use super::poller::Readiness;
use super::scheduler::{Budget, Scheduler};
use super::send_queue::SendQueue;
use super::token::Token;
use super::writer::{Flushed, LEFTOVER};

mod care;

pub(super) use care::Care;
use care::sweep;

/// Bytes of send queues that are written between two looks at the sockets.
const FLUSH_BYTES: usize = 1 << 20;
/// Places that are looked at in one go: a lock for each that is taken.
const SLICE: usize = 4096;

/// Connections that are ended in one go because their clients have left and their seats are wanted. Others end in their turns.
#[cfg(unix)]
const SHED: usize = 64;

/// The cost of a connection's end, as [`charge`](super::scheduler::charge) counts: closing its socket and freeing what it had.
const END: u64 = 64;

/// A connection's place.
struct Slot {
    handle: Arc<Handle>,
    /// None before its client was told that it is connected, and while it has its turn.
    connection: Option<Box<Connection>>,
    /// When its token expires, in Unix milliseconds.
    expires_at: Option<u64>,
}

/// See the module.
pub(super) struct Connections {
    table: RefCell<Table>,
    care: Care,
}

#[derive(Default)]
struct Table {
    slots: Slab<Slot>,
    /// When which connection's token expires, in Unix milliseconds.
    expiries: BTreeSet<(u64, usize)>,
    sweeping: bool,
}

impl Connections {
    /// None, which are to get this care.
    pub(super) fn new(care: Care) -> Self {
        Connections { table: RefCell::default(), care }
    }

    /// Gives a connection a place, and with it the care that all get.
    pub(super) fn adopt(&self, handle: &Arc<Handle>, expires_at: Option<u64>) -> Token {
        let table = &mut *self.table.borrow_mut();
        let token = table.slots.insert(Slot { handle: handle.clone(), connection: None, expires_at });
        handle.set_token(token);
        if let Some(at) = expires_at {
            table.expiries.insert((at, token));
        }
        if !std::mem::replace(&mut table.sweeping, true) {
            tokio::spawn(sweep(self.care));
        }
        token
    }

    /// Puts a connection into its place: from now on it has turns, the first one at once.
    pub(super) fn begin(&self, token: Token, mut connection: Box<Connection>, worker: &Worker) {
        if connection.outstays(worker.scheduler.is_late()) {
            return shed_now(connection, worker);
        }
        let handle = connection.handle().clone();
        self.put_back(token, connection);
        handle.wake_on(worker);
    }

    fn put_back(&self, token: Token, connection: Box<Connection>) {
        let homeless = match self.table.borrow_mut().slots.get_mut(token) {
            Some(slot) => slot.connection.replace(connection),
            None => Some(connection),
        };
        // Its end needs the table.
        drop(homeless);
    }

    /// Reads a little of connections that are about to have their turns: the memory for that is fetched for all of
    /// them at once, where each would wait for its own.
    pub(super) fn look_ahead<'a>(&self, tokens: impl Iterator<Item = &'a Token>) {
        let table = self.table.borrow();
        let seen = tokens
            .filter_map(|&token| table.begun(token))
            .map(|(handle, connection)| handle.glance() ^ connection.glance());
        std::hint::black_box(seen.fold(0, |all, one| all ^ one));
    }

    /// Gives a connection its turn, which is charged to it. One that has ended meanwhile, or has not begun, has none.
    pub(super) fn take_turn(&self, token: Token, budget: &Budget, worker: &Worker) {
        // A number is twice in the queue if it was woken for a connection that then ended, and again for its successor: the answers
        // of that one's first turn go out before it has the second.
        if worker.buffer.holds(token) {
            self.send_back(worker);
        }
        let connection = self.table.borrow_mut().slots.get_mut(token).and_then(|slot| {
            slot.handle.turn_comes();
            slot.connection.take()
        });
        let Some(mut connection) = connection else { return };
        match guard(connection.handle().id, || connection.turn(budget, worker)) {
            Ok(false) => {
                worker.scheduler.charge_to(connection.handle().account(), budget);
                connection.handle().turn_ends(&worker.scheduler);
                self.put_back(token, connection);
            }
            Ok(true) | Err(_) => end(connection, worker),
        }
    }

    /// Notes what sockets are ready for and gives their connections turns; answers of how many it was told. A number may be of
    /// one that has ended, or of its successor: both do no harm.
    #[cfg(unix)]
    pub(super) fn notice(&self, ready: impl Iterator<Item = (Token, Readiness)>, worker: &Worker) -> usize {
        let mut gone = Vec::new();
        let late = worker.scheduler.is_late();
        let mut table = self.table.borrow_mut();
        let notice = |(token, readiness): (Token, Readiness)| {
            let Some(slot) = table.slots.get_mut(token) else { return };
            let Some(connection) = &mut slot.connection else {
                if readiness.has_left() {
                    slot.handle.note_left();
                }
                return;
            };
            // News of what it knows already wakes nobody: a Unix-domain socket has some whenever its peer reads.
            if !connection.socket().notice(readiness) {
                return;
            }
            if gone.len() < SHED && connection.outstays(late) {
                gone.extend(slot.connection.take());
            } else {
                slot.handle.wake_on(worker);
            }
        };
        let count = ready.map(notice).count();
        drop(table);
        gone.into_iter().for_each(|connection| shed_now(connection, worker));
        count
    }

    /// Takes back what [`Connections::adopt`] gave. The last that is heard of a connection.
    pub(super) fn release(&self, token: Token) {
        let table = &mut *self.table.borrow_mut();
        if let Some(slot) = table.slots.try_remove(token) {
            // Those that still hold its handle must not wake a successor.
            slot.handle.set_token(Token::MAX);
            if let Some(at) = slot.expires_at {
                table.expiries.remove(&(at, token));
            }
        }
        if table.slots.is_empty() && table.slots.capacity() > 1024 {
            table.slots = Slab::new();
        }
    }

    /// A connection has a fresh token.
    fn renew(&self, handle: &Handle, expires_at: Option<u64>) {
        let table = &mut *self.table.borrow_mut();
        let token = handle.token();
        let Some(slot) = table.slots.get_mut(token).filter(|slot| slot.handle.id == handle.id) else {
            return;
        };
        if let Some(at) = std::mem::replace(&mut slot.expires_at, expires_at) {
            table.expiries.remove(&(at, token));
        }
        if let Some(at) = expires_at {
            table.expiries.insert((at, token));
        }
    }

    /// Ends all connections on the spot.
    pub(super) fn clear(&self) {
        let slots = |table: &mut Table| {
            table.slots.iter_mut().filter_map(|(_, slot)| slot.connection.take()).collect()
        };
        let connections: Vec<_> = slots(&mut self.table.borrow_mut());
        drop(connections);
    }

    /// Has connections written soon to which other threads have pushed. A number may be of one that has ended, or of its
    /// successor with nothing to write: both do no harm.
    pub(super) fn flush_soon(&self, tokens: Vec<Token>, scheduler: &Scheduler) {
        let table = self.table.borrow();
        for token in tokens {
            if let Some((handle, _)) = table.begun(token) {
                scheduler.flush(token, handle.account());
            }
        }
    }

    /// Writes what others pushed to connections. A number may be of one that has ended, or of its successor
    /// with nothing to write: both do no harm.
    ///
    /// All send queues are taken first: the memory for that is fetched for many at once, where a system call
    /// between two of them would have each wait for its own. Those that would be too much for one go stay in `tokens`.
    pub(super) fn flush(
        &self,
        tokens: &mut Vec<Token>,
        queues: &mut Vec<(Token, Result<Box<SendQueue>, Flushed>)>,
        worker: &Worker,
    ) {
        let table = self.table.borrow();
        let (mut taken, mut bytes) = (0, 0);
        for &token in &*tokens {
            taken += 1;
            let Some((handle, _)) = table.begun(token) else { continue };
            let send_queue = handle.writer().take().map(|(send_queue, len)| {
                bytes += len;
                send_queue
            });
            queues.push((token, send_queue));
            if bytes >= FLUSH_BYTES {
                break;
            }
        }
        tokens.drain(..taken);
        for (token, send_queue) in queues.drain(..) {
            let Some((handle, connection)) = table.begun(token) else { continue };
            write(token, connection, &worker.scheduler, || match send_queue {
                Ok(send_queue) => handle.writer().write(send_queue, connection.socket(), &worker.inbox),
                Err(flushed) => flushed,
            });
        }
    }

    /// Sends back what connections said to themselves in their turns.
    pub(super) fn send_back(&self, worker: &Worker) {
        let table = self.table.borrow();
        let Worker { scheduler, inbox, buffer, .. } = worker;
        buffer.take_all(|token, frames, messages| {
            let Some((handle, connection)) = table.begun(token) else { return };
            let (budget, writer) = (scheduler.begin(), handle.writer());
            write(token, connection, scheduler, || {
                writer.write_directly(frames, messages, connection.socket(), inbox)
            });
            scheduler.charge_to(handle.account(), &budget);
        });
    }

    /// Appends to `found` the holders among a [`SLICE`] of the places. Answers how many places there are.
    fn hold(&self, first: usize, found: &mut Vec<Holder>) -> usize {
        let table = self.table.borrow();
        let tokens = first..table.slots.capacity().min(first + SLICE);
        found.extend(tokens.filter_map(|token| {
            let (handle, connection) = table.begun(token)?;
            let Holding { waiting, unfinished } = connection.holding();
            let bytes = waiting + unfinished;
            let counts = if handle.is_open() { bytes > 0 } else { bytes > LEFTOVER };
            counts.then(|| Holder { handle: handle.clone(), bytes, unfinished, stuck: connection.stuck() })
        }));
        table.slots.capacity()
    }
}

/// Ends a connection outside its turns, with what it has left to do.
fn shed_now(mut connection: Box<Connection>, worker: &Worker) {
    let _ = guard(connection.handle().id, || connection.shed_now(worker));
    end(connection, worker);
}

fn end(connection: Box<Connection>, worker: &Worker) {
    worker.scheduler.charge(END);
    let _ = guard(connection.handle().id, || drop(connection));
}

/// A fault of ours in one connection must not be the end of the others: it ends, and the panic's message says where.
fn guard<T>(id: ConnectionId, work: impl FnOnce() -> T) -> Result<T, ()> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| tracing::error!(id, "a fault of ours ends a connection"))
}

/// Writes to a connection whose turn it is not, and has it do what that leaves to do. As in a turn, a fault of ours is its
/// end and nobody else's.
fn write(token: Token, connection: &Connection, scheduler: &Scheduler, write: impl FnOnce() -> Flushed) {
    let handle = connection.handle();
    match guard(handle.id, write) {
        Ok(Flushed::Done) => {}
        Ok(Flushed::Drained) => connection.drained(),
        Ok(Flushed::Blocked) => handle.wake_here(),
        Ok(Flushed::More) => scheduler.flush(token, handle.account()),
        Ok(Flushed::Lost) | Err(_) => handle.declare_lost(),
    }
}

/// A connection of this worker has a fresh token, which expires then, in Unix milliseconds.
pub(crate) fn renew(handle: &Handle, expires_at: Option<u64>) {
    super::with(|worker| worker.connections.renew(handle, expires_at));
}

/// The connections of this worker whose clients are behind, or whose message is unfinished, but for those that are closing
/// already and hold next to nothing. Looks at the sockets after each [`SLICE`] of them.
pub(super) async fn holders() -> Vec<Holder> {
    let mut found = Vec::new();
    let mut first = 0;
    loop {
        let end = super::with(|worker| {
            worker.scheduler.look_at_clock();
            worker.connections.hold(first, &mut found)
        });
        first += SLICE;
        if end.is_none_or(|end| first >= end) {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

impl Slot {
    /// Pushes from before its client was told that it is connected wait for that, and nobody waits for the client.
    fn begun(&self) -> Option<(&Arc<Handle>, &Connection)> {
        Some((&self.handle, self.connection.as_deref()?))
    }
}

impl Table {
    fn begun(&self, token: Token) -> Option<(&Arc<Handle>, &Connection)> {
        self.slots.get(token)?.begun()
    }
}
