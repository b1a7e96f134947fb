//! Messages that came in one turn for groups with many members: each member gets a group's together, in one push.
//!
//! A push for each message and member would take a server longer than the sender, and Redis, take for the message. A flood for
//! a user with hundreds of connections here, from a client of another server, would fill Redis' output buffer for this one, and
//! Redis would cut the link (redis.conf, `client-output-buffer-limit pubsub`). A group's messages keep their order.

use std::slice::from_ref;
use std::sync::Arc;

use hashbrown::HashMap;
use history::position::Position;
use protocol::frame::{self, Message};
use subprotocol::stream::Stream;

use super::delivery::push_to;
use super::recipients::Topic;
use crate::worker::group::Group;
use crate::worker::outgoing::{Outgoing, Stamps};

/// Smaller groups get their messages one by one.
const MANY: usize = 8;
/// Bytes of frames that are pushed at once, at most an eighth of a send queue.
const BLOCK: usize = 16 << 10;
/// Pushes that a turn may leave for its end.
const PUSHES: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    blocks: Vec<Block>,
    /// Index of a group's block, by the group's address.
    places: HashMap<usize, usize>,
    /// Number of pushes that the blocks take.
    pushes: usize,
}

#[derive(Debug)]
struct Block {
    group: Arc<Group>,
    /// The room's name. None: it is a user's.
    room: Option<Box<str>>,
    frames: Vec<u8>,
    messages: u32,
    positions: Vec<Option<Position>>,
}

impl Block {
    fn deliver(&mut self, outbox_limit: usize) {
        if self.messages > 0 {
            let stream = self.room.as_deref().map_or(Stream::User, Stream::Room);
            let stamps = Stamps { stream: Some(stream), positions: &self.positions };
            push_to(&self.group, &Outgoing::of(&mut self.frames, self.messages, stamps), outbox_limit);
            self.frames.clear();
            self.positions.clear();
            self.messages = 0;
        }
    }
}

impl Gathered {
    /// Takes a message for a topic's group in, and delivers what is too much to wait, or not worth it.
    pub(crate) fn add(
        &mut self,
        topic: Topic<'_>,
        group: Arc<Group>,
        message: Message<'_>,
        position: Option<Position>,
        outbox_limit: usize,
    ) {
        let address = Arc::as_ptr(&group) as usize;
        let place = match self.places.get(&address) {
            Some(place) => *place,
            None => {
                let members = group.len();
                if members < MANY {
                    let stream = Some(topic.channel().stream());
                    let stamps = Stamps { stream, positions: from_ref(&position) };
                    push_to(&group, &Outgoing::new(message, stamps), outbox_limit);
                    return;
                }
                self.pushes += members;
                self.places.insert(address, self.blocks.len());
                let room = match topic {
                    Topic::User(_) => None,
                    Topic::Room(room) => Some(room.into()),
                };
                let (frames, positions) = (Vec::new(), Vec::new());
                self.blocks.push(Block { group, room, frames, messages: 0, positions });
                self.blocks.len() - 1
            }
        };
        let block = &mut self.blocks[place];
        frame::append(&mut block.frames, message);
        block.messages += 1;
        block.positions.push(position);
        if block.frames.len() >= BLOCK.min(outbox_limit / 8) {
            block.deliver(outbox_limit);
        }
        if self.pushes >= PUSHES {
            self.deliver(outbox_limit);
        }
    }

    /// Delivers all.
    pub(crate) fn deliver(&mut self, outbox_limit: usize) {
        self.blocks.iter_mut().for_each(|block| block.deliver(outbox_limit));
        self.blocks.clear();
        self.places.clear();
        self.pushes = 0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use crate::worker::handle::{Handle, Peer};
    use crate::worker::inbox::Inbox;

    const LIMIT: usize = 1 << 20;

    /// A registry with so many connections, of users who have `MANY` each, but for the last.
    fn crowd(many: usize) -> (Registry, Vec<Arc<Handle>>) {
        let registry = Registry::default();
        let inbox = Arc::new(Inbox::of_test(0));
        let add = |n: usize| {
            let user = (n / MANY).to_string();
            let handle = Arc::new(Handle::new(n as u64, user.into(), Peer::default(), inbox.clone()));
            registry.add(&handle);
            handle
        };
        let handles = (0..many).map(add).collect();
        (registry, handles)
    }

    #[test]
    fn members_of_a_large_group_get_everything_at_the_end_of_the_turn_in_its_order() {
        let (registry, handles) = crowd(MANY + 1);
        let mut gathered = Gathered::default();
        for number in 0..10 {
            let text = number.to_string();
            gathered.add(Topic::User("0"), registry.user("0").unwrap(), Message::Text(&text), None, LIMIT);
        }
        gathered.add(Topic::User("1"), registry.user("1").unwrap(), Message::Text("x"), None, LIMIT);
        assert_eq!(
            (handles[0].buffered(), handles[MANY].buffered()),
            (0, 3),
            "a small group waits for nothing"
        );
        gathered.deliver(LIMIT);
        gathered.deliver(LIMIT);
        for handle in &handles[..MANY] {
            assert_eq!(handle.buffered(), 30);
            handle.writer().unblock();
            let (outbox, _) = handle.writer().take().unwrap();
            assert_eq!(outbox.messages(), 10);
            outbox.with_slices(|slices| {
                let digits: Vec<u8> = slices[0].chunks(3).map(|frame| frame[2]).collect();
                assert_eq!(digits, b"0123456789");
            });
        }
    }

    #[test]
    fn a_turn_leaves_no_more_than_so_much_for_its_end() {
        let (registry, handles) = crowd(PUSHES);
        let mut gathered = Gathered::default();
        let large = "x".repeat(BLOCK);
        gathered.add(Topic::User("0"), registry.user("0").unwrap(), Message::Text(&large), None, LIMIT);
        assert_eq!(handles[0].buffered(), BLOCK + 4, "a block is full");
        for n in 1..PUSHES / MANY {
            assert_eq!(handles[MANY].buffered(), 0);
            let user = n.to_string();
            gathered.add(Topic::User(&user), registry.user(&user).unwrap(), Message::Text("x"), None, LIMIT);
        }
        assert!(handles[MANY..].iter().all(|handle| handle.buffered() == 3));
    }
}
