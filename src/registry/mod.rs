//! The connections of this server, by id, by user and by room.
//!
//! Sharded, and locked for short: a lookup holds a shard just long enough to clone a reference. Users, rooms and
//! "everyone" are all [`Group`]s.
//! No I/O happens here.

pub(crate) mod delivery;
pub(crate) mod gathered;
pub mod recipients;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::hash_map::Entry;
use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;

use crate::registry::recipients::Topic;
use crate::worker::group::Group;
use crate::worker::handle::{ConnectionId, Handle};
use crate::worker::outgoing::Encoding;

/// A power of two; enough that threads rarely meet on one.
const SHARDS: usize = 32;

type Shard = Mutex<HashMap<Arc<str>, Arc<Group>>>;

/// Groups by name.
#[derive(Debug)]
struct Index {
    /// They are those of users: see [`Members::tell_sole`](crate::worker::group::Members::tell_sole).
    of_users: bool,
    shards: Box<[Shard]>,
    hasher: DefaultHashBuilder,
    len: AtomicUsize,
}

impl Index {
    fn new(of_users: bool) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Index { of_users, shards, hasher: Default::default(), len: AtomicUsize::new(0) }
    }

    fn shard(&self, name: &str) -> &Shard {
        use std::hash::BuildHasher;
        let hash = self.hasher.hash_one(name) as usize;
        &self.shards[(hash >> 7) % SHARDS]
    }

    fn get(&self, name: &str) -> Option<Arc<Group>> {
        self.shard(name).lock().get(name).cloned()
    }

    /// Answers the group.
    fn join(&self, name: &Arc<str>, handle: &Arc<Handle>) -> Arc<Group> {
        let mut shard = self.shard(name).lock();
        let group = match shard.entry(name.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.len.fetch_add(1, Ordering::Relaxed);
                entry.insert(Arc::default())
            }
        };
        let mut members = group.members.lock();
        members.insert(handle.clone());
        if self.of_users {
            members.tell_sole();
        }
        drop(members);
        group.clone()
    }

    /// Answers whether the member was the group's last.
    fn leave(&self, name: &str, id: ConnectionId) -> bool {
        let mut shard = self.shard(name).lock();
        let Some(group) = shard.get(name) else { return false };
        let empty = {
            let mut members = group.members.lock();
            let removed = members.remove(id);
            if removed && self.of_users {
                members.tell_sole();
            }
            removed && members.is_empty()
        };
        if empty {
            shard.remove(name);
            self.len.fetch_sub(1, Ordering::Relaxed);
            // A burst of a million users must not keep its table for ever.
            if shard.len() < shard.capacity() / 8 {
                let len = shard.len();
                shard.shrink_to(len * 2);
            }
        }
        empty
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.shards.iter().flat_map(|shard| shard.lock().keys().cloned().collect::<Vec<_>>()).collect()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Registry {
    connections: ById,
    users: Index,
    rooms: Index,
    /// Number of connections that speak the subprotocol.
    enveloped: AtomicUsize,
    /// Connections that were removed while JavaScript had objects for them, until they are over.
    ending: ById,
}

impl Default for Registry {
    fn default() -> Self {
        Registry {
            connections: ById::default(),
            users: Index::new(true),
            rooms: Index::new(false),
            enveloped: AtomicUsize::new(0),
            ending: ById::default(),
        }
    }
}

#[derive(Debug)]
struct ById {
    shards: Box<[Group]>,
    len: AtomicUsize,
}

impl Default for ById {
    fn default() -> Self {
        ById { shards: (0..SHARDS).map(|_| Group::default()).collect(), len: AtomicUsize::new(0) }
    }
}

impl ById {
    fn shard(&self, id: ConnectionId) -> &Group {
        &self.shards[(id as usize) % SHARDS]
    }
}

fn is_enveloped(handle: &Handle) -> usize {
    usize::from(handle.encoding() == Encoding::Enveloped)
}

impl Registry {
    /// Adds a connection under its id and its user.
    pub fn add(&self, handle: &Arc<Handle>) {
        self.connections.shard(handle.id).members.lock().insert(handle.clone());
        self.connections.len.fetch_add(1, Ordering::Relaxed);
        self.enveloped.fetch_add(is_enveloped(handle), Ordering::Relaxed);
        let group = self.users.join(&handle.user, handle);
        let _ = handle.user_group().set(group);
    }

    /// Removes a connection, but for its rooms: it has to [`leave`](Registry::leave) them. Answers whether it was its user's
    /// last. Calling it again does nothing.
    pub fn remove(&self, handle: &Arc<Handle>) -> bool {
        let mut members = self.connections.shard(handle.id).members.lock();
        if !members.remove(handle.id) {
            return false;
        }
        // Under the lock of where it was, so that it is found in one of both at any time.
        if handle.is_seen() {
            self.ending.shard(handle.id).members.lock().insert(handle.clone());
        }
        drop(members);
        self.connections.len.fetch_sub(1, Ordering::Relaxed);
        self.enveloped.fetch_sub(is_enveloped(handle), Ordering::Relaxed);
        self.users.leave(&handle.user, handle.id)
    }

    /// Puts a connection into a room. Does nothing if it is there already, or is no longer open. False if it is in `limit`
    /// others.
    pub fn join(&self, handle: &Arc<Handle>, room: &Arc<str>, limit: usize) -> bool {
        // The lock on the list makes joins and leaving exclude each other.
        let mut rooms = handle.rooms().lock();
        if !handle.is_open() || rooms.contains(room) {
            return true;
        }
        if rooms.len() >= limit {
            return false;
        }
        rooms.add(room.clone());
        self.rooms.join(room, handle);
        true
    }

    /// Takes a connection out of a room. Answers whether it was the room's last.
    pub fn leave(&self, handle: &Handle, room: &str) -> bool {
        let mut rooms = handle.rooms().lock();
        rooms.remove(room) && self.rooms.leave(room, handle.id)
    }

    /// The connections of a topic.
    pub(crate) fn group(&self, topic: Topic<'_>) -> Option<Arc<Group>> {
        match topic {
            Topic::User(user) => self.user(user),
            Topic::Room(room) => self.room(room),
        }
    }

    /// True if a group has a member.
    pub fn has(&self, topic: Topic<'_>) -> bool {
        match topic {
            Topic::User(user) => self.users.get(user).is_some(),
            Topic::Room(room) => self.rooms.get(room).is_some(),
        }
    }

    /// Number of a user's connections, or of all.
    pub fn count(&self, user: Option<&str>) -> u64 {
        match user {
            Some(user) => self.user(user).map_or(0, |group| group.len() as u64),
            None => self.len() as u64,
        }
    }

    /// Closes all connections of a user. Answers how many.
    pub fn disconnect_user(&self, user: &str, code: u16, reason: &str) -> u32 {
        let members = self.user(user).map_or_else(Vec::new, |group| group.snapshot());
        members.iter().for_each(|handle| handle.close(code, reason));
        members.len() as u32
    }

    /// The rooms that a connection is in.
    pub fn rooms_of(&self, handle: &Handle) -> Vec<Arc<str>> {
        handle.rooms().lock().iter().cloned().collect()
    }

    /// Looks a connection up.
    pub fn get(&self, id: ConnectionId) -> Option<Arc<Handle>> {
        self.connections.shard(id).members.lock().get(id).cloned()
    }

    /// Looks a connection up that JavaScript has an object for, and that may be closing.
    pub fn find(&self, id: ConnectionId) -> Option<Arc<Handle>> {
        self.get(id).or_else(|| self.ending.shard(id).members.lock().get(id).cloned())
    }

    /// The connection is over.
    pub fn forget(&self, handle: &Handle) {
        if handle.is_seen() {
            self.ending.shard(handle.id).members.lock().remove(handle.id);
        }
    }

    /// The connections of a user.
    pub fn user(&self, user: &str) -> Option<Arc<Group>> {
        self.users.get(user)
    }

    /// The connections in a room.
    pub fn room(&self, room: &str) -> Option<Arc<Group>> {
        self.rooms.get(room)
    }

    /// All connections, in parts. One order holds per part and so per connection.
    pub fn everyone(&self) -> &[Group] {
        &self.connections.shards
    }

    /// True if a connection speaks the subprotocol.
    pub(crate) fn has_enveloped(&self) -> bool {
        self.enveloped.load(Ordering::Relaxed) > 0
    }

    /// Number of connections.
    pub fn len(&self) -> usize {
        self.connections.len.load(Ordering::Relaxed)
    }

    /// True if nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of users with a connection.
    pub fn user_count(&self) -> usize {
        self.users.len.load(Ordering::Relaxed)
    }

    /// Number of rooms with a connection.
    pub fn room_count(&self) -> usize {
        self.rooms.len.load(Ordering::Relaxed)
    }

    /// Names of all users with a connection.
    pub fn users(&self) -> Vec<Arc<str>> {
        self.users.names()
    }
}
