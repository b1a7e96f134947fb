use std::collections::VecDeque;

use crate::follower::{Ask, Follower, Missed, Outlet};
use crate::meta::Meta;
use crate::position::{Position, Term};

use super::witness::{Stamp, Witness};

/// Items that a server sends over its link.
#[derive(Clone, Copy)]
pub(super) enum Request {
    Subscribe(usize),
    Ask(usize, Ask),
}

/// Items that the store sends.
pub(super) enum Item {
    Confirmed(usize),
    Message(usize, u32),
    Plain(usize, u32),
    Meta(usize, Option<Meta>, Stamp),
    Messages(usize, Option<Meta>, Vec<(u64, u32)>, bool, Stamp),
    Refused(usize, Stamp),
}

/// A link to a node of the store.
pub(super) struct Link {
    pub(super) node: usize,
    pub(super) term: Term,
    pub(super) subscribed: Vec<bool>,
    /// The follower knows how far the topic is here.
    pub(super) answered: Vec<bool>,
    pub(super) requests: VecDeque<Request>,
    pub(super) items: VecDeque<Item>,
    /// The same of a second link, if messages are read over one.
    pub(super) reads: VecDeque<Request>,
    pub(super) pages: VecDeque<Item>,
}

/// A topic that a server subscribes to.
pub(super) struct Watch {
    pub(super) follower: Follower,
    pub(super) witness: Witness,
}

/// A server.
pub(super) struct Server {
    pub(super) link: Option<Link>,
    pub(super) last_node: Option<usize>,
    pub(super) watches: Vec<Watch>,
    /// Topic and number of publishes whose outcome it does not know.
    pub(super) uncertain: VecDeque<(usize, u32)>,
    pub(super) refuses: bool,
}

impl Server {
    pub(super) fn new(server: usize, topics: usize, trust: bool) -> Server {
        let watch = |topic| Watch { follower: Follower::new(trust), witness: Witness::new(server, topic) };
        Server {
            link: None,
            last_node: None,
            watches: (0..topics).map(watch).collect(),
            uncertain: VecDeque::new(),
            refuses: false,
        }
    }
}

/// The messages that a follower hands on, in their order.
#[derive(Default)]
pub(super) struct Handed(pub(super) Vec<Given>);

#[derive(Clone, Copy, Debug)]
pub(super) enum Given {
    Message(Position, u32),
    Missed(Missed),
}

impl Outlet for Handed {
    fn deliver(&mut self, position: Position, payload: &[u8]) {
        self.0.push(Given::Message(position, id_of(payload)));
    }

    fn missed(&mut self, missed: Missed) {
        self.0.push(Given::Missed(missed));
    }
}

pub(super) fn id_of(payload: &[u8]) -> u32 {
    u32::from_le_bytes(payload[..4].try_into().unwrap())
}
