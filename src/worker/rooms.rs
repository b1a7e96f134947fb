//! The rooms that one connection is in: a list while they are few, a table once they are many.

use std::sync::Arc;

use hashbrown::DefaultHashBuilder;
use indexmap::IndexSet;

/// More than this are looked up in a table.
const FEW: usize = 16;

type Table = IndexSet<Arc<str>, DefaultHashBuilder>;

/// See the module. In a changing order.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    names: Names,
    /// See [`Rooms::list`].
    list: Option<Arc<[Arc<str>]>>,
}

#[derive(Debug)]
enum Names {
    Few(Vec<Arc<str>>),
    Many(Box<Table>),
}

impl Default for Names {
    fn default() -> Self {
        Names::Few(Vec::new())
    }
}

impl Rooms {
    /// True if this room is one of them.
    pub(crate) fn contains(&self, room: &str) -> bool {
        match &self.names {
            Names::Few(list) => list.iter().any(|name| &**name == room),
            Names::Many(table) => table.contains(room),
        }
    }

    /// Adds a room that is none of them.
    pub(crate) fn add(&mut self, room: Arc<str>) {
        debug_assert!(!self.contains(&room));
        self.list = None;
        match &mut self.names {
            Names::Few(list) if list.len() < FEW => list.push(room),
            Names::Few(list) => {
                let table = std::mem::take(list).into_iter().chain([room]).collect();
                self.names = Names::Many(Box::new(table));
            }
            Names::Many(table) => {
                table.insert(room);
            }
        }
    }

    /// Removes a room. Answers whether it was one of them.
    pub(crate) fn remove(&mut self, room: &str) -> bool {
        self.list = None;
        match &mut self.names {
            Names::Few(list) => {
                let at = list.iter().position(|name| &**name == room);
                at.map(|at| list.swap_remove(at)).is_some()
            }
            Names::Many(table) => {
                let removed = table.swap_remove(room);
                if table.is_empty() {
                    self.names = Names::default();
                }
                removed
            }
        }
    }

    /// Their number.
    pub(crate) fn len(&self) -> usize {
        match &self.names {
            Names::Few(list) => list.len(),
            Names::Many(table) => table.len(),
        }
    }

    /// True if there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, to go through without a lock. Made when it is asked for first after a change: many rooms that are joined
    /// one by one cost one list.
    pub(crate) fn list(&mut self) -> Arc<[Arc<str>]> {
        if let Some(list) = &self.list {
            return list.clone();
        }
        let list: Arc<[Arc<str>]> = self.iter().cloned().collect();
        self.list = Some(list.clone());
        list
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        let (list, table) = match &self.names {
            Names::Few(list) => (&list[..], None),
            Names::Many(table) => (&[][..], Some(table.iter())),
        };
        list.iter().chain(table.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_rooms_come_and_go_alike() {
        let name = |n: usize| Arc::<str>::from(format!("room {n}"));
        for count in [1, FEW, FEW + 1, 1000] {
            let mut rooms = Rooms::default();
            assert!(rooms.is_empty() && !rooms.remove("room 0"));
            (0..count).for_each(|n| rooms.add(name(n)));
            assert_eq!((rooms.len(), rooms.iter().count()), (count, count));
            assert!((0..count).all(|n| rooms.contains(&name(n))) && !rooms.contains("room"));
            let list = rooms.list();
            assert!(list.iter().eq(rooms.iter()) && Arc::ptr_eq(&list, &rooms.list()), "it is made once");
            let mut names: Vec<_> = rooms.iter().cloned().collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
            for n in 0..count {
                assert!(rooms.remove(&name(n)) && !rooms.remove(&name(n)));
                assert_eq!(rooms.len(), count - n - 1);
                assert!(rooms.list().iter().eq(rooms.iter()), "it is made anew");
            }
            assert!(matches!(rooms.names, Names::Few(_)), "an empty table holds nothing");
        }
    }
}
