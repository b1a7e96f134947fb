//! Fan-out on this server: from a channel to the send queues of its connections.

use std::slice::from_ref;
use std::sync::Arc;

use history::position::Position;
use protocol::frame::Message;

use super::Registry;
use subprotocol::stream::Stream;

use crate::registry::recipients::{Channel, RelayTarget};
use crate::worker::group::Group;
use crate::worker::handle::{Handle, Pushed};
use crate::worker::outgoing::{Encoding, Frames, Outgoing, Stamps};
use crate::worker::scheduler;

/// Cost of a push, as [`scheduler::charge`] counts, beside the bytes that it copies.
const PUSH: u64 = 1;

/// Puts a message into the send queue of every connection here that the channel names. It is encoded once for each kind of them.
/// Returns the number of those who take it. A recipient that is too slow is closed and not waited for.
pub(crate) fn deliver(
    registry: &Registry,
    channel: Channel<'_>,
    message: Message<'_>,
    position: Option<Position>,
    outbox_limit: usize,
) -> u32 {
    let stamps = Stamps { stream: Some(channel.stream()), positions: from_ref(&position) };
    let message = Outgoing::new(message, stamps);
    let push = |group: &Group| push_to(group, &message, outbox_limit);
    match channel {
        Channel::User(user) => registry.user(user).map_or(0, |group| push(&group)),
        Channel::Room(room) => registry.room(room).map_or(0, |group| push(&group)),
        Channel::Everyone => registry.everyone().iter().map(push).sum(),
    }
}

/// The same for a message of a connection here.
pub(crate) fn relay(
    registry: &Registry,
    to: RelayTarget<'_>,
    message: Message<'_>,
    position: Option<Position>,
    sender: &Handle,
    outbox_limit: usize,
) -> u32 {
    match to {
        // Without a lookup.
        RelayTarget::OwnUser => {
            let group = sender.user_group().get();
            let stamps = Stamps { stream: Some(Stream::User), positions: from_ref(&position) };
            group.map_or(0, |group| push_to(group, &Outgoing::new(message, stamps), outbox_limit))
        }
        RelayTarget::Room(room) => deliver(registry, Channel::Room(room), message, position, outbox_limit),
    }
}

/// Puts messages into the send queue of every member. Returns the number of those who take them.
pub(crate) fn push_to(group: &Group, messages: &Outgoing<'_>, outbox_limit: usize) -> u32 {
    let (mut queued, mut cost) = (0, 0);
    group.for_each(|handle: &Arc<Handle>| {
        let frames = messages.frames(handle.encoding());
        cost += PUSH + scheduler::bytes(frames.copied_len());
        queued += u32::from(handle.push(frames, outbox_limit) == Pushed::Queued);
    });
    scheduler::charge(cost);
    queued
}

/// Tells members that speak the subprotocol something that is no message for the others.
pub(crate) fn notify(group: &Group, body: &str, outbox_limit: usize) {
    let (frames, mut cost) = (Frames::text(body), 0);
    group.for_each(|handle: &Arc<Handle>| {
        cost += PUSH;
        if handle.encoding() == Encoding::Enveloped {
            handle.push(&frames, outbox_limit);
        }
    });
    scheduler::charge(cost);
}

/// Number of connections here that a channel names.
pub(crate) fn count(registry: &Registry, channel: Channel<'_>) -> u32 {
    let count = match channel {
        Channel::User(user) => registry.count(Some(user)),
        Channel::Room(room) => registry.room(room).map_or(0, |group| group.len() as u64),
        Channel::Everyone => registry.count(None),
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::handle::Peer;
    use crate::worker::inbox::Inbox;
    use crate::worker::outgoing::Encoding;
    use crate::worker::outgoing::tests::take_fragmented;

    #[test]
    fn a_fan_out_encodes_a_message_once_for_each_kind_among_its_recipients_and_for_no_other() {
        let registry = Registry::default();
        let inbox = Arc::new(Inbox::of_test(0));
        let add = |id: u64, user: &str, encoding| {
            let handle = Handle::new(id, user.into(), Peer::default(), inbox.clone());
            let handle = Arc::new(handle.with_encoding(encoding));
            registry.add(&handle);
            handle
        };
        let plain = [1, 2].map(|id| add(id, "plain", Encoding::Plain));
        let send = |channel: Channel<'_>| deliver(&registry, channel, Message::Text("abc"), None, 1 << 20);
        assert_eq!((send(Channel::Everyone), take_fragmented()), (2, 0), "nobody is of that kind");
        let fragmented = [3, 4, 5].map(|id| add(id, "other", Encoding::Fragmented));
        assert_eq!((send(Channel::User("plain")), take_fragmented()), (2, 0), "none of them is meant");
        assert_eq!((send(Channel::User("other")), take_fragmented()), (3, 1));
        let buffered = |handles: &[Arc<Handle>]| -> Vec<usize> {
            handles.iter().map(|handle| handle.buffered()).collect()
        };
        assert_eq!((buffered(&plain), buffered(&fragmented)), (vec![10; 2], vec![7; 3]));
    }
}
