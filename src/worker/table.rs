//! The table of a worker's connections: where each one lies between its turns, and the care that all of them get
//! (heartbeat, token expiry).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use slab::Slab;

use super::connection::Connection;
use super::handle::Handle;
use super::inbox::Inbox;
use super::memory::Holder;
#[cfg(unix)]
use super::poller::Readiness;
use super::send_queue::SendQueue;
use super::shared_buffer;
use super::turns::{self, Turn};
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

/// What the end of a connection costs, as [`turns::spend`] counts: closing its socket and freeing what it had.
const END: u64 = 64;

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

/// Number of a connection in its worker's table.
pub(super) type Key = usize;

/// A connection's place.
struct Place {
    handle: Arc<Handle>,
    /// None before its client was told that it is connected, and while it has its turn.
    connection: Option<Box<Connection>>,
}

/// See the module.
#[derive(Default)]
struct Table {
    places: Slab<Place>,
    /// When which connection's token expires, in Unix milliseconds.
    expiries: BTreeSet<(u64, usize)>,
    care: Option<Care>,
    inbox: Option<Arc<Inbox>>,
    sweeping: bool,
}

/// The worker that this thread is, before it has connections.
pub(super) fn set_up(inbox: Arc<Inbox>, care: Care) {
    TABLE.with_borrow_mut(|table| {
        table.inbox = Some(inbox);
        table.care = Some(care);
    });
}

/// Gives a connection a place, and with it the care that all get.
pub(super) fn adopt(handle: &Arc<Handle>, expires_at: Option<u64>) -> Key {
    TABLE.with_borrow_mut(|table| {
        let key = table.places.insert(Place { handle: handle.clone(), connection: None });
        handle.set_key(key);
        if let Some(at) = expires_at {
            table.expiries.insert((at, key));
        }
        if let Some(care) = table.care
            && !std::mem::replace(&mut table.sweeping, true)
        {
            tokio::spawn(sweep(care));
        }
        key
    })
}

/// Puts a connection into its place: from now on it has turns, the first one at once.
pub(super) fn begin(key: Key, mut connection: Box<Connection>) {
    if connection.outstays(turns::is_late()) {
        return lose(connection);
    }
    let handle = connection.handle().clone();
    put_back(key, connection);
    handle.wake_here();
}

fn put_back(key: Key, connection: Box<Connection>) {
    let homeless = TABLE.with_borrow_mut(|table| match table.places.get_mut(key) {
        Some(place) => place.connection.replace(connection),
        None => Some(connection),
    });
    // Its end needs the table.
    drop(homeless);
}

/// Reads a little of connections that are about to have their turns: what has to come from memory for that comes for all of
/// them at once, where each would wait for its own.
pub(super) fn look_ahead<'a>(keys: impl Iterator<Item = &'a Key>) {
    TABLE.with_borrow(|table| {
        let seen = keys
            .filter_map(|&key| table.begun(key))
            .map(|(handle, connection)| handle.glance() ^ connection.glance());
        std::hint::black_box(seen.fold(0, |all, one| all ^ one));
    });
}

/// Gives a connection its turn, which is charged to it. One that has ended meanwhile, or has not begun, has none.
pub(super) fn take_turn(key: Key, turn: &Turn) {
    // A number is twice in the queue if it was woken for a connection that then ended, and again for its successor: what that
    // one said in its first turn goes out before it has the second.
    if shared_buffer::holds(key) {
        send_back();
    }
    let connection = TABLE.with_borrow_mut(|table| {
        let place = table.places.get_mut(key)?;
        place.handle.turn_comes();
        place.connection.take()
    });
    let Some(mut connection) = connection else { return };
    // A fault of ours in one connection must not be the end of the others: it ends, and the panic's message says where.
    match catch_unwind(AssertUnwindSafe(|| connection.turn(turn))) {
        Ok(false) => {
            turn.charge_to(connection.handle().account());
            connection.handle().turn_ends();
            put_back(key, connection);
        }
        Ok(true) | Err(_) => end(connection),
    }
}

/// Ends a connection outside its turns, with what it has left to do.
fn lose(mut connection: Box<Connection>) {
    let _ = catch_unwind(AssertUnwindSafe(|| connection.lose()));
    end(connection);
}

fn end(connection: Box<Connection>) {
    turns::spend(END);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(connection)));
}

/// Notes what sockets are ready for and gives their connections turns; answers of how many it was told. A number may be of
/// one that has ended, or of its successor: both do no harm.
#[cfg(unix)]
pub(super) fn notice(ready: impl Iterator<Item = (Key, Readiness)>) -> usize {
    let mut gone = Vec::new();
    let late = turns::is_late();
    let count = TABLE.with_borrow_mut(|table| {
        ready
            .map(|(key, readiness)| {
                let Some(place) = table.places.get_mut(key) else { return };
                let Some(connection) = &mut place.connection else {
                    if readiness.has_left() {
                        place.handle.note_left();
                    }
                    return;
                };
                // News of what it knows already wakes nobody: a Unix-domain socket has some whenever its peer reads.
                if !connection.socket().notice(readiness) {
                    return;
                }
                if gone.len() < SHED && connection.outstays(late) {
                    gone.extend(place.connection.take());
                } else {
                    place.handle.wake_here();
                }
            })
            .count()
    });
    gone.into_iter().for_each(lose);
    count
}

/// Takes back what [`adopt`] gave. The last that is heard of a connection.
pub(super) fn release(key: Key, expires_at: Option<u64>) {
    TABLE.with_borrow_mut(|table| {
        if let Some(place) = table.places.try_remove(key) {
            // Those that still hold its handle must not wake a successor.
            place.handle.set_key(Key::MAX);
        }
        if let Some(at) = expires_at {
            table.expiries.remove(&(at, key));
        }
        if table.places.is_empty() && table.places.capacity() > 1024 {
            table.places = Slab::new();
        }
    });
}

/// Ends all connections on the spot.
pub(super) fn clear() {
    let connections: Vec<_> = TABLE.with_borrow_mut(|table| {
        table.places.iter_mut().filter_map(|(_, place)| place.connection.take()).collect()
    });
    drop(connections);
}

/// Has connections written soon to which other threads have pushed. A number may be of one that has ended, or of its successor
/// with nothing to write: both do no harm.
pub(super) fn flush_soon(keys: Vec<Key>) {
    TABLE.with_borrow(|table| {
        for key in keys {
            if let Some((handle, _)) = table.begun(key) {
                turns::flush(key, handle.account());
            }
        }
    });
}

/// Writes what others pushed to connections. A number may be of one that has ended, or of its successor
/// with nothing to write: both do no harm.
///
/// All outboxes are taken first: what has to come from memory for that comes for many at once, where a system call
/// between two of them would have each wait for its own. Those that would be too much for one go stay in `keys`.
pub(super) fn flush(keys: &mut Vec<Key>, outboxes: &mut Vec<(Key, Result<Box<SendQueue>, Flushed>)>) {
    TABLE.with_borrow(|table| {
        let Some(inbox) = &table.inbox else {
            keys.clear();
            return;
        };
        let (mut taken, mut bytes) = (0, 0);
        for &key in &*keys {
            taken += 1;
            let Some((handle, _)) = table.begun(key) else { continue };
            let send_queue = handle.writer().take().map(|(send_queue, len)| {
                bytes += len;
                send_queue
            });
            outboxes.push((key, send_queue));
            if bytes >= FLUSH_BYTES {
                break;
            }
        }
        keys.drain(..taken);
        for (key, send_queue) in outboxes.drain(..) {
            let Some((handle, connection)) = table.begun(key) else { continue };
            write(key, connection, || match send_queue {
                Ok(send_queue) => handle.writer().write(send_queue, connection.socket(), inbox),
                Err(flushed) => flushed,
            });
        }
    });
}

/// Sends back what connections said to themselves in their turns.
pub(super) fn send_back() {
    TABLE.with_borrow(|table| {
        let Some(inbox) = &table.inbox else { return };
        shared_buffer::take_all(|key, frames, messages| {
            let Some((handle, connection)) = table.begun(key) else { return };
            let (turn, writer) = (Turn::begin(), handle.writer());
            write(key, connection, || writer.write_directly(frames, messages, connection.socket(), inbox));
            turn.charge_to(handle.account());
        });
    });
}

/// Writes to a connection whose turn it is not, and has it do what that leaves to do. As in a turn, a fault of ours is its
/// end and nobody else's.
fn write(key: Key, connection: &Connection, write: impl FnOnce() -> Flushed) {
    let handle = connection.handle();
    match catch_unwind(AssertUnwindSafe(write)) {
        Ok(Flushed::Done) => {}
        Ok(Flushed::Drained) => connection.drained(),
        Ok(Flushed::Blocked) => handle.wake_here(),
        Ok(Flushed::More) => turns::flush(key, handle.account()),
        Ok(Flushed::Lost) | Err(_) => handle.declare_lost(),
    }
}

/// The connections of this worker whose clients are behind, or whose message is unfinished, but for those that are closing
/// already and hold next to nothing. Looks at the sockets after each [`SLICE`] of them.
pub(super) async fn holders() -> Vec<Holder> {
    let mut found = Vec::new();
    let mut first = 0;
    loop {
        turns::look_at_clock();
        let end = TABLE.with_borrow(|table| {
            let keys = first..table.places.capacity().min(first + SLICE);
            found.extend(keys.filter_map(|key| {
                let (handle, connection) = table.begun(key)?;
                let (waiting, unfinished) = connection.holding();
                let bytes = waiting + unfinished;
                let counts = if handle.is_open() { bytes > 0 } else { bytes > LEFTOVER };
                counts.then(|| {
                    let (handle, stuck) = (handle.clone(), connection.stuck());
                    Holder { handle, bytes, unfinished, stuck }
                })
            }));
            table.places.capacity()
        });
        first += SLICE;
        if first >= end {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

impl Place {
    /// Pushes from before its client was told that it is connected wait for that, and nobody waits for the client.
    fn begun(&self) -> Option<(&Arc<Handle>, &Connection)> {
        Some((&self.handle, self.connection.as_deref()?))
    }
}

impl Table {
    fn begun(&self, key: Key) -> Option<(&Arc<Handle>, &Connection)> {
        self.places.get(key)?.begun()
    }
}
