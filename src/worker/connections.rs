//! The connections of a worker: where each one lies between its turns, and the care that all of them get
//! (heartbeat, token expiry).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use slab::Slab;

use super::connection::Connection;
use super::handle::{ConnectionId, Handle};
use super::inbox::Inbox;
use super::memory::Holder;
#[cfg(unix)]
use super::poller::Readiness;
use super::scheduler::{self, Budget};
use super::send_queue::SendQueue;
use super::shared_buffer;
use super::writer::{Flushed, LEFTOVER};

mod care;

pub(super) use care::Care;
use care::sweep;

/// Bytes of outboxes that are written between two looks at the sockets.
const FLUSH_BYTES: usize = 1 << 20;
/// Places that are looked at in one go: a lock for each that is taken.
const SLICE: usize = 4096;

/// Connections that are ended in one go because their clients have left and their seats are wanted. Others end in their turns.
#[cfg(unix)]
const SHED: usize = 64;

/// What the end of a connection costs, as [`scheduler::charge`] counts: closing its socket and freeing what it had.
const END: u64 = 64;

thread_local! {
    static CONNECTIONS: RefCell<Connections> = RefCell::default();
}

/// Number of a connection in its worker's table.
pub(super) type Token = usize;

/// A connection's place.
struct Slot {
    handle: Arc<Handle>,
    /// None before its client was told that it is connected, and while it has its turn.
    connection: Option<Box<Connection>>,
}

/// See the module.
#[derive(Default)]
struct Connections {
    slots: Slab<Slot>,
    /// When which connection's token expires, in Unix milliseconds.
    expiries: BTreeSet<(u64, usize)>,
    care: Option<Care>,
    inbox: Option<Arc<Inbox>>,
    sweeping: bool,
}

/// The worker that this thread is, before it has connections.
pub(super) fn set_up(inbox: Arc<Inbox>, care: Care) {
    CONNECTIONS.with_borrow_mut(|connections| {
        connections.inbox = Some(inbox);
        connections.care = Some(care);
    });
}

/// Gives a connection a place, and with it the care that all get.
pub(super) fn adopt(handle: &Arc<Handle>, expires_at: Option<u64>) -> Token {
    CONNECTIONS.with_borrow_mut(|connections| {
        let token = connections.slots.insert(Slot { handle: handle.clone(), connection: None });
        handle.set_token(token);
        if let Some(at) = expires_at {
            connections.expiries.insert((at, token));
        }
        if let Some(care) = connections.care
            && !std::mem::replace(&mut connections.sweeping, true)
        {
            tokio::spawn(sweep(care));
        }
        token
    })
}

/// Puts a connection into its place: from now on it has turns, the first one at once.
pub(super) fn begin(token: Token, mut connection: Box<Connection>) {
    if connection.outstays(scheduler::is_late()) {
        return shed_now(connection);
    }
    let handle = connection.handle().clone();
    put_back(token, connection);
    handle.wake_here();
}

fn put_back(token: Token, connection: Box<Connection>) {
    let homeless = CONNECTIONS.with_borrow_mut(|connections| match connections.slots.get_mut(token) {
        Some(slot) => slot.connection.replace(connection),
        None => Some(connection),
    });
    // Its end needs the table.
    drop(homeless);
}

/// Reads a little of connections that are about to have their turns: what has to come from memory for that comes for all of
/// them at once, where each would wait for its own.
pub(super) fn look_ahead<'a>(tokens: impl Iterator<Item = &'a Token>) {
    CONNECTIONS.with_borrow(|connections| {
        let seen = tokens
            .filter_map(|&token| connections.begun(token))
            .map(|(handle, connection)| handle.glance() ^ connection.glance());
        std::hint::black_box(seen.fold(0, |all, one| all ^ one));
    });
}

/// Gives a connection its turn, which is charged to it. One that has ended meanwhile, or has not begun, has none.
pub(super) fn take_turn(token: Token, budget: &Budget) {
    // A number is twice in the queue if it was woken for a connection that then ended, and again for its successor: what that
    // one said in its first turn goes out before it has the second.
    if shared_buffer::holds(token) {
        send_back();
    }
    let connection = CONNECTIONS.with_borrow_mut(|connections| {
        let slot = connections.slots.get_mut(token)?;
        slot.handle.turn_comes();
        slot.connection.take()
    });
    let Some(mut connection) = connection else { return };
    match guard(connection.handle().id, || connection.turn(budget)) {
        Ok(false) => {
            budget.charge_to(connection.handle().account());
            connection.handle().turn_ends();
            put_back(token, connection);
        }
        Ok(true) | Err(_) => end(connection),
    }
}

/// Ends a connection outside its turns, with what it has left to do.
fn shed_now(mut connection: Box<Connection>) {
    let _ = guard(connection.handle().id, || connection.shed_now());
    end(connection);
}

fn end(connection: Box<Connection>) {
    scheduler::charge(END);
    let _ = guard(connection.handle().id, || drop(connection));
}

/// A fault of ours in one connection must not be the end of the others: it ends, and the panic's message says where.
fn guard<T>(id: ConnectionId, work: impl FnOnce() -> T) -> Result<T, ()> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| tracing::error!(id, "a fault of ours ends a connection"))
}

/// Notes what sockets are ready for and gives their connections turns; answers of how many it was told. A number may be of
/// one that has ended, or of its successor: both do no harm.
#[cfg(unix)]
pub(super) fn notice(ready: impl Iterator<Item = (Token, Readiness)>) -> usize {
    let mut gone = Vec::new();
    let late = scheduler::is_late();
    let count = CONNECTIONS.with_borrow_mut(|connections| {
        ready
            .map(|(token, readiness)| {
                let Some(slot) = connections.slots.get_mut(token) else { return };
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
                    slot.handle.wake_here();
                }
            })
            .count()
    });
    gone.into_iter().for_each(shed_now);
    count
}

/// Takes back what [`adopt`] gave. The last that is heard of a connection.
pub(super) fn release(token: Token, expires_at: Option<u64>) {
    CONNECTIONS.with_borrow_mut(|connections| {
        if let Some(slot) = connections.slots.try_remove(token) {
            // Those that still hold its handle must not wake a successor.
            slot.handle.set_token(Token::MAX);
        }
        if let Some(at) = expires_at {
            connections.expiries.remove(&(at, token));
        }
        if connections.slots.is_empty() && connections.slots.capacity() > 1024 {
            connections.slots = Slab::new();
        }
    });
}

/// Ends all connections on the spot.
pub(super) fn clear() {
    let connections: Vec<_> = CONNECTIONS.with_borrow_mut(|connections| {
        connections.slots.iter_mut().filter_map(|(_, slot)| slot.connection.take()).collect()
    });
    drop(connections);
}

/// Has connections written soon to which other threads have pushed. A number may be of one that has ended, or of its successor
/// with nothing to write: both do no harm.
pub(super) fn flush_soon(tokens: Vec<Token>) {
    CONNECTIONS.with_borrow(|connections| {
        for token in tokens {
            if let Some((handle, _)) = connections.begun(token) {
                scheduler::flush(token, handle.account());
            }
        }
    });
}

/// Writes what others pushed to connections. A number may be of one that has ended, or of its successor
/// with nothing to write: both do no harm.
///
/// All outboxes are taken first: what has to come from memory for that comes for many at once, where a system call
/// between two of them would have each wait for its own. Those that would be too much for one go stay in `tokens`.
pub(super) fn flush(tokens: &mut Vec<Token>, outboxes: &mut Vec<(Token, Result<Box<SendQueue>, Flushed>)>) {
    CONNECTIONS.with_borrow(|connections| {
        let Some(inbox) = &connections.inbox else {
            tokens.clear();
            return;
        };
        let (mut taken, mut bytes) = (0, 0);
        for &token in &*tokens {
            taken += 1;
            let Some((handle, _)) = connections.begun(token) else { continue };
            let send_queue = handle.writer().take().map(|(send_queue, len)| {
                bytes += len;
                send_queue
            });
            outboxes.push((token, send_queue));
            if bytes >= FLUSH_BYTES {
                break;
            }
        }
        tokens.drain(..taken);
        for (token, send_queue) in outboxes.drain(..) {
            let Some((handle, connection)) = connections.begun(token) else { continue };
            write(token, connection, || match send_queue {
                Ok(send_queue) => handle.writer().write(send_queue, connection.socket(), inbox),
                Err(flushed) => flushed,
            });
        }
    });
}

/// Sends back what connections said to themselves in their turns.
pub(super) fn send_back() {
    CONNECTIONS.with_borrow(|connections| {
        let Some(inbox) = &connections.inbox else { return };
        shared_buffer::take_all(|token, frames, messages| {
            let Some((handle, connection)) = connections.begun(token) else { return };
            let (budget, writer) = (Budget::begin(), handle.writer());
            write(token, connection, || writer.write_directly(frames, messages, connection.socket(), inbox));
            budget.charge_to(handle.account());
        });
    });
}

/// Writes to a connection whose turn it is not, and has it do what that leaves to do. As in a turn, a fault of ours is its
/// end and nobody else's.
fn write(token: Token, connection: &Connection, write: impl FnOnce() -> Flushed) {
    let handle = connection.handle();
    match guard(handle.id, write) {
        Ok(Flushed::Done) => {}
        Ok(Flushed::Drained) => connection.drained(),
        Ok(Flushed::Blocked) => handle.wake_here(),
        Ok(Flushed::More) => scheduler::flush(token, handle.account()),
        Ok(Flushed::Lost) | Err(_) => handle.declare_lost(),
    }
}

/// The connections of this worker whose clients are behind, or whose message is unfinished, but for those that are closing
/// already and hold next to nothing. Looks at the sockets after each [`SLICE`] of them.
pub(super) async fn holders() -> Vec<Holder> {
    let mut found = Vec::new();
    let mut first = 0;
    loop {
        scheduler::look_at_clock();
        let end = CONNECTIONS.with_borrow(|connections| {
            let tokens = first..connections.slots.capacity().min(first + SLICE);
            found.extend(tokens.filter_map(|token| {
                let (handle, connection) = connections.begun(token)?;
                let (waiting, unfinished) = connection.holding();
                let bytes = waiting + unfinished;
                let counts = if handle.is_open() { bytes > 0 } else { bytes > LEFTOVER };
                counts.then(|| {
                    let (handle, stuck) = (handle.clone(), connection.stuck());
                    Holder { handle, bytes, unfinished, stuck }
                })
            }));
            connections.slots.capacity()
        });
        first += SLICE;
        if first >= end {
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

impl Connections {
    fn begun(&self, token: Token) -> Option<(&Arc<Handle>, &Connection)> {
        self.slots.get(token)?.begun()
    }
}
