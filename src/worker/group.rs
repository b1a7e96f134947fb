//! Connections that get the same messages, in one order.

use std::sync::Arc;

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;
use parking_lot::Mutex;

use super::handle::{ConnectionId, Handle};

/// See the module. Delivery holds its lock, so every member gets its messages in one order.
#[derive(Debug, Default)]
pub struct Group {
    pub(crate) members: Mutex<Members>,
}

/// Most users have one connection, which needs no table.
#[derive(Debug, Default)]
pub(crate) enum Members {
    #[default]
    None,
    One(Arc<Handle>),
    Many(Table),
}

/// More or less in the order in which they came, for that is how they lie in memory, ours and the kernel's: a fan-out
/// that goes by it meets fewer cache misses than one that goes criss-cross.
type Table = IndexMap<ConnectionId, Arc<Handle>, DefaultHashBuilder>;

impl Members {
    pub(crate) fn insert(&mut self, handle: Arc<Handle>) {
        *self = match std::mem::take(self) {
            Members::None => Members::One(handle),
            Members::One(other) if other.id == handle.id => Members::One(other),
            Members::One(other) => {
                Members::Many([(other.id, other), (handle.id, handle)].into_iter().collect())
            }
            Members::Many(mut table) => {
                table.insert(handle.id, handle);
                Members::Many(table)
            }
        };
    }

    /// Answers whether it was there.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> bool {
        match self {
            Members::One(handle) if handle.id == id => {
                *self = Members::None;
                true
            }
            Members::None | Members::One(_) => false,
            Members::Many(table) => {
                let removed = table.swap_remove(&id).is_some();
                match table.len() {
                    0 => *self = Members::None,
                    // A burst must not keep its table for ever.
                    len if len < table.capacity() / 8 => table.shrink_to(len * 2),
                    _ => {}
                }
                removed
            }
        }
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Arc<Handle>> {
        match self {
            Members::One(handle) if handle.id == id => Some(handle),
            Members::None | Members::One(_) => None,
            Members::Many(table) => table.get(&id),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Members::None)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Members::None => 0,
            Members::One(_) => 1,
            Members::Many(table) => table.len(),
        }
    }

    /// Tells a user's connections, of which one has come or gone, whether one is all that there is.
    pub(crate) fn tell_sole(&self) {
        let len = self.len();
        if len <= 2 {
            self.for_each(|handle| handle.writer().set_sole(len == 1));
        }
    }

    fn for_each(&self, visit: impl FnMut(&Arc<Handle>)) {
        match self {
            Members::None => {}
            Members::One(handle) => std::iter::once(handle).for_each(visit),
            Members::Many(table) => table.values().for_each(visit),
        }
    }
}

impl Group {
    /// Visits every member while the group is locked, so that what is pushed comes in one order for all.
    pub fn for_each(&self, visit: impl FnMut(&Arc<Handle>)) {
        self.members.lock().for_each(visit);
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.lock().len()
    }

    /// A copy of the list, for work that takes longer or that changes groups.
    pub fn snapshot(&self) -> Vec<Arc<Handle>> {
        let mut handles = Vec::new();
        self.for_each(|handle| handles.push(handle.clone()));
        handles
    }
}
