//! Joining and leaving: the registry and the broker's subscriptions change together here.
//!
//! A group is registered first and subscribed then, and the other way round at its end, so that whatever the
//! broker brings finds its recipients.

use std::sync::Arc;
use std::time::Duration;

use codes::error::{Code, Error};
use history::position::Place;
use protocol::frame::Message;
use subprotocol::server_message;
use subprotocol::stream::Stream;
use tokio::runtime::Handle as Runtime;
use tokio::time::Instant;

use super::Shared;
use super::authorize::Permission;
use crate::broker::Confirmations;
use crate::events::AskedKind;
use crate::registry::recipients::Topic;
use crate::worker::handle::Handle;
use crate::worker::outgoing::Encoding;
use crate::worker::receipts::Receipt;
use crate::worker::scheduler;

/// Longest wait of a handshake for its subscriptions. After it the connection is accepted without.
const CONFIRMATION: Duration = Duration::from_secs(1);
/// Rooms that a connection joins at its beginning, or leaves at its end, in one go. A room takes some 200 ns, over Redis twice
/// that, and a worker runs about 60 tasks between two looks at the sockets.
const SLICE: usize = 64;
/// Cost of joining or leaving a room, as [`scheduler::charge`] counts.
const ROOM: u64 = 4;
/// Cost of reading claims, as a multiple of [`scheduler::bytes`].
const CLAIMS: u64 = 4;

impl Shared {
    /// Registers a connection, and waits until messages for it are sure to come here, or it is clear that they can't be. Answers
    /// the places behind which all of them come, if it is told: of its user, and then of its rooms.
    pub(super) async fn enroll(
        &self,
        handle: &Arc<Handle>,
        rooms: &[Arc<str>],
        deadline: Instant,
    ) -> Vec<Place> {
        let is_told = handle.encoding() == Encoding::Enveloped;
        // Before it is registered: what comes between the two, it gets besides.
        let mut places = Vec::new();
        if is_told {
            places.push(self.broker.place(Topic::User(&handle.user)));
        }
        self.registry.add(handle);
        let topics: Vec<Topic<'_>> = std::iter::once(Topic::User(&handle.user))
            .chain(rooms.iter().map(|room| Topic::Room(room)))
            .collect();
        let (user, topics_of_rooms) = topics.split_at(1);
        let mut covered: Vec<(usize, Confirmations)> =
            self.broker.subscribe(user).into_iter().map(|covered| (0, covered)).collect();
        for (number, (rooms, topics)) in rooms.chunks(SLICE).zip(topics_of_rooms.chunks(SLICE)).enumerate() {
            if number > 0 {
                tokio::task::yield_now().await;
            }
            let first = 1 + number * SLICE;
            for room in rooms {
                if is_told {
                    places.push(self.broker.place(Topic::Room(room)));
                }
                self.registry.join(handle, room, usize::MAX);
            }
            covered.extend(self.broker.subscribe(topics).map(|covered| (first, covered)));
            scheduler::charge(ROOM * rooms.len() as u64);
        }
        let deadline = deadline.min(Instant::now() + CONFIRMATION);
        let mut is_confirmed = true;
        for (first, slice) in covered {
            let found = |index: usize, found| {
                if let Some(place) = places.get_mut(first + index)
                    && *place == Place::Unknown
                {
                    *place = found;
                }
            };
            is_confirmed &= slice.wait(deadline, found).await;
        }
        if !is_confirmed {
            self.broker.note_unconfirmed(&topics);
        }
        places
    }

    /// Removes a connection, which is open no more, from everything.
    pub(super) fn withdraw(self: &Arc<Self>, handle: &Arc<Handle>) {
        if self.registry.remove(handle) {
            self.broker.unsubscribe(Topic::User(&handle.user));
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
        let is_told = handle.encoding() == Encoding::Enveloped && !handle.rooms().lock().contains(room);
        let place = if is_told { self.broker.place(Topic::Room(room)) } else { Place::Unknown };
        if !self.registry.join(handle, room, limit) {
            let message = format!("the connection is in limits.roomsPerConnection ({limit}) rooms already");
            return Err(Error::new(Code::TooManyRooms, message));
        }
        // Nobody waits: this server's messages come after the subscription from here on in any case, and the broker tells a
        // gap for those of others if the confirmation takes long.
        let confirmations = self.broker.subscribe(&[Topic::Room(room)]);
        if is_told {
            self.tell_joined(handle, room, place, confirmations);
        }
        // It may have ended meanwhile, before there was a subscription to drop.
        if !self.registry.has(Topic::Room(room)) {
            self.broker.unsubscribe(Topic::Room(room));
        }
        Ok(())
    }

    /// A client wants to be in a room.
    pub(super) fn join_by_itself(&self, handle: &Arc<Handle>, room: Box<str>, receipt: Receipt) {
        match self.permission(handle, &room) {
            Permission::Granted => match self.join(handle, &room.into()) {
                Ok(()) => receipt.take(),
                Err(error) => receipt.refuse(error.code(), &error.message),
            },
            Permission::Asked => {
                self.events.push_asked(handle, Message::Text(&room), AskedKind::Join, receipt);
            }
            Permission::Refused => receipt.refuse(Code::JoinRefused.as_str(), "not permitted"),
        }
    }

    /// A client wants to be in a room no longer. That goes the way of a join, so that the two keep their order.
    pub(super) fn leave_by_itself(&self, handle: &Arc<Handle>, room: &str, receipt: Receipt) {
        match self.permission(handle, room) {
            Permission::Asked => {
                self.events.push_asked(handle, Message::Text(room), AskedKind::Leave, receipt);
            }
            Permission::Refused if !self.config.authorize.is_on() => {
                receipt.refuse(Code::JoinRefused.as_str(), "not permitted");
            }
            _ => {
                self.leave(handle, room);
                receipt.take();
            }
        }
    }

    fn permission(&self, handle: &Handle, room: &str) -> Permission {
        let renewed = handle.session().and_then(|session| session.renewed.lock().clone());
        let claims = renewed.as_deref().or(handle.peer.data.as_deref());
        scheduler::charge(ROOM + CLAIMS * scheduler::bytes(claims.map_or(0, str::len)));
        self.config.authorize.permission(claims, room)
    }

    /// Tells a client that it is in a room, once the place behind which all messages come is known, if that is soon.
    fn tell_joined(
        &self,
        handle: &Arc<Handle>,
        room: &Arc<str>,
        place: Place,
        confirmations: Option<Confirmations>,
    ) {
        let limit = self.config.limits.outbox_bytes;
        let Some(confirmations) = confirmations.filter(|_| place == Place::Unknown) else {
            return tell_joined(handle, room, place, limit);
        };
        let (member, room) = (handle.clone(), room.clone());
        handle.inbox().spawn(async move {
            let mut place = Place::Unknown;
            confirmations.wait(Instant::now() + CONFIRMATION, |_, found| place = found).await;
            tell_joined(&member, &room, place, limit);
        });
    }

    /// Takes a connection out of a room.
    pub(super) fn leave(&self, handle: &Arc<Handle>, room: &str) {
        let is_told = handle.encoding() == Encoding::Enveloped && handle.rooms().lock().contains(room);
        if self.registry.leave(handle, room) {
            self.broker.unsubscribe(Topic::Room(room));
        }
        if is_told {
            // Locked until it is said, as in `tell_joined`: the last of these words is true.
            let rooms = handle.rooms().lock();
            if !rooms.contains(room) {
                handle.push_text(&server_message::left(Stream::Room(room)), self.config.limits.outbox_bytes);
            }
        }
    }
}

fn tell_joined(handle: &Arc<Handle>, room: &str, place: Place, limit: usize) {
    let rooms = handle.rooms().lock();
    if rooms.contains(room) {
        handle.push_text(&server_message::joined(Stream::Room(room), place), limit);
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
        let slice = self.rooms.drain(self.rooms.len().saturating_sub(most)..);
        scheduler::charge(ROOM * slice.len() as u64);
        for room in slice {
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
    use crate::worker::Worker;
    use crate::worker::handle::Peer;
    use crate::worker::scheduler::Budget;

    fn engine() -> Engine {
        Engine::start(Config { threads: 1, ..Config::new(Auth::Anonymous) }, Box::new(|| {})).unwrap()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn handle(engine: &Engine) -> Arc<Handle> {
        let inbox = engine.inner.inboxes[0].clone();
        Arc::new(Handle::new(engine.shared().next_id(), "ada".into(), Peer::default(), inbox))
    }

    fn names(count: usize) -> Vec<Arc<str>> {
        (0..count).map(|n| format!("room {n}").into()).collect()
    }

    /// A connection that has been in so many rooms and has just ended.
    fn in_rooms(engine: &Engine, count: usize) -> Arc<Handle> {
        let shared = engine.shared();
        let handle = handle(engine);
        shared.registry.add(&handle);
        names(count).iter().for_each(|room| _ = shared.registry.join(&handle, room, usize::MAX));
        assert_eq!(shared.registry.room_count(), count);
        handle.shut();
        handle
    }

    #[test]
    fn a_connection_that_begins_in_many_rooms_joins_them_in_slices() {
        const ROOMS: usize = 5 * SLICE + 7;
        let engine = engine();
        let shared = engine.shared();
        let (handle, names) = (handle(&engine), names(ROOMS));
        let deadline = Instant::now() + Duration::from_secs(60);
        runtime().block_on(async {
            let others = async {
                let mut joined = 0;
                while joined < ROOMS {
                    let now = shared.registry.room_count();
                    // The two are polled in a changing order, so that one may be twice in a row.
                    assert!(now - joined <= 2 * SLICE, "{} in one go", now - joined);
                    joined = now;
                    tokio::task::yield_now().await;
                }
            };
            tokio::join!(shared.enroll(&handle, &names, deadline), others);
        });
        assert_eq!(shared.registry.rooms_of(&handle).len(), ROOMS);
        handle.shut();
        shared.withdraw(&handle);
        engine.abort();
    }

    #[test]
    fn rooms_that_are_left_are_paid_for() {
        let worker = Worker::of_test();
        let _is_worker = worker.enter();
        const MANY: usize = 32;
        let engine = engine();
        let budget = Budget::begin();
        for _ in 0..MANY {
            assert!(!budget.is_spent());
            engine.shared().withdraw(&in_rooms(&engine, SLICE));
        }
        assert!(budget.is_spent(), "{MANY} connections with {SLICE} rooms each");
        engine.abort();
    }

    #[test]
    fn a_connection_that_ends_in_many_rooms_leaves_them_in_slices_and_at_the_latest_with_its_worker() {
        const ROOMS: usize = 5 * SLICE + 7;
        let engine = engine();
        let shared = engine.shared();
        let rooms = || shared.registry.room_count();

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
