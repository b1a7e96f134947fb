//! Who joins and leaves what: the registry and the broker's subscriptions change together here.
//!
//! A group is registered first and subscribed then, and the other way round at its end, so that whatever the
//! broker brings finds its recipients.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle as Runtime;
use tokio::time::Instant;

use super::Shared;
use super::broker::Topic;
use super::error::{Code, Error};
use super::handle::Handle;

/// Longest wait of a handshake for its subscriptions. After it the connection is accepted without.
const CONFIRMATION: Duration = Duration::from_secs(1);
/// Rooms that a connection leaves at its end between two looks at the sockets. A room takes some 200 ns, over Redis twice that.
const SLICE: usize = 512;

impl Shared {
    /// Registers a connection, and waits until messages for it are sure to come here, or it is clear that they can't be.
    pub(super) async fn enroll(&self, handle: &Arc<Handle>, rooms: &[Arc<str>], deadline: Instant) {
        self.registry.add(handle, rooms);
        let topics: Vec<Topic<'_>> = std::iter::once(Topic::User(&handle.user))
            .chain(rooms.iter().map(|room| Topic::Room(room)))
            .collect();
        if let Some(covered) = self.broker.cover(&topics)
            && !covered.wait(deadline.min(Instant::now() + CONFIRMATION)).await
        {
            self.broker.note_unconfirmed(&topics);
        }
    }

    /// Removes a connection, which is open no more, from everything.
    pub(super) fn withdraw(self: &Arc<Self>, handle: &Arc<Handle>) {
        if self.registry.remove(handle) {
            self.broker.uncover(Topic::User(&handle.user));
        }
        let rooms = self.registry.rooms_of(handle);
        if !rooms.is_empty() {
            Leaving { shared: self.clone(), handle: handle.clone(), rooms }.begin();
        }
    }

    /// Puts a connection into a room.
    ///
    /// # Errors
    /// `ERR_TOO_MANY_ROOMS`
    pub(super) fn join(&self, handle: &Arc<Handle>, room: &Arc<str>) -> Result<(), Error> {
        let limit = self.config.limits.rooms_per_connection;
        if !self.registry.join(handle, room, limit) {
            let message = format!("the connection is in limits.roomsPerConnection ({limit}) rooms already");
            return Err(Error::new(Code::TooManyRooms, message));
        }
        // Nobody waits: what this server publishes from here on comes after the subscription in any case, and of what others
        // publish the broker tells a gap if the confirmation takes long.
        drop(self.broker.cover(&[Topic::Room(room)]));
        // It may have ended meanwhile, before there was a subscription to drop.
        if !self.registry.has(Topic::Room(room)) {
            self.broker.uncover(Topic::Room(room));
        }
        Ok(())
    }

    /// Takes a connection out of a room.
    pub(super) fn leave(&self, handle: &Arc<Handle>, room: &str) {
        if self.registry.leave(handle, room) {
            self.broker.uncover(Topic::Room(room));
        }
    }
}

/// A connection that has ended, and the rooms that it has yet to leave.
struct Leaving {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    rooms: Vec<Arc<str>>,
}

impl Leaving {
    /// Leaves all, in slices if they are many.
    fn begin(mut self) {
        self.leave(SLICE);
        // Without a runtime the worker is at its end, and nobody waits any more.
        if !self.rooms.is_empty()
            && let Ok(runtime) = Runtime::try_current()
        {
            runtime.spawn(async move {
                while !self.rooms.is_empty() {
                    tokio::task::yield_now().await;
                    self.leave(SLICE);
                }
            });
        }
    }

    fn leave(&mut self, most: usize) {
        for room in self.rooms.drain(self.rooms.len().saturating_sub(most)..) {
            self.shared.leave(&self.handle, &room);
        }
    }
}

impl Drop for Leaving {
    /// A worker that ends drops what it has yet to do.
    fn drop(&mut self) {
        self.leave(usize::MAX);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::config::{Auth, Config};
    use crate::engine::handle::Peer;

    fn in_rooms(engine: &Engine, count: usize) -> Arc<Handle> {
        let shared = engine.shared();
        let mailbox = engine.inner.mailboxes[0].clone();
        let handle = Arc::new(Handle::new(shared.next_id(), "ada".into(), Peer::default(), mailbox));
        let rooms: Vec<Arc<str>> = (0..count).map(|n| format!("room {n}").into()).collect();
        shared.registry.add(&handle, &rooms);
        assert_eq!(shared.registry.room_count(), count);
        handle.shut();
        handle
    }

    #[test]
    fn a_connection_that_ends_in_many_rooms_leaves_them_in_slices_and_at_the_latest_with_its_worker() {
        const ROOMS: usize = 5 * SLICE + 7;
        let engine =
            Engine::start(Config { threads: 1, ..Config::new(Auth::Anonymous) }, Box::new(|| {})).unwrap();
        let shared = engine.shared();
        let rooms = || shared.registry.room_count();
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();

        let handle = in_rooms(&engine, ROOMS);
        runtime().block_on(async {
            shared.withdraw(&handle);
            let mut left = ROOMS;
            while left > 0 {
                // Others have a turn with so many gone.
                let now = rooms();
                assert!(left - now <= SLICE, "{} in one go", left - now);
                left = now;
                tokio::task::yield_now().await;
            }
        });

        let handle = in_rooms(&engine, ROOMS);
        let ended = runtime();
        ended.block_on(async { shared.withdraw(&handle) });
        assert!(rooms() > 0);
        drop(ended);
        assert_eq!(rooms(), 0, "its task was dropped");

        let handle = in_rooms(&engine, ROOMS);
        shared.withdraw(&handle);
        assert_eq!(rooms(), 0, "there is no runtime");
        engine.abort();
    }
}
