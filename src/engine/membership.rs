//! Who joins and leaves what: the registry and the broker's subscriptions change together here.
//!
//! A group is registered first and subscribed then, and the other way round at its end, so that whatever the
//! broker brings finds its recipients.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::broker::Topic;
use super::handle::Handle;

/// Longest wait of a handshake for its subscriptions. After it the connection is accepted without.
const CONFIRMATION: Duration = Duration::from_secs(1);

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

    /// Removes a connection from everything.
    pub(super) fn withdraw(&self, handle: &Arc<Handle>) {
        self.registry.remove(handle, |topic| self.broker.uncover(topic));
    }

    /// Puts a connection into a room.
    pub(super) fn join(&self, handle: &Arc<Handle>, room: &Arc<str>) {
        self.registry.join(handle, room);
        // Nobody waits: what this server publishes from here on comes after the subscription in any case, and of what others
        // publish the broker tells a gap if the confirmation takes long.
        drop(self.broker.cover(&[Topic::Room(room)]));
        // It may have ended meanwhile, before there was a subscription to drop.
        if !self.registry.has(Topic::Room(room)) {
            self.broker.uncover(Topic::Room(room));
        }
    }

    /// Takes a connection out of a room.
    pub(super) fn leave(&self, handle: &Arc<Handle>, room: &str) {
        if self.registry.leave(handle, room) {
            self.broker.uncover(Topic::Room(room));
        }
    }
}
