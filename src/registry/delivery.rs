//! Fan-out on this server: from a channel to the outboxes of its connections.

use std::sync::Arc;

use protocol::frame::Message;

use super::Registry;
use crate::registry::recipients::{Audience, Channel};
use crate::worker::group::Group;
use crate::worker::handle::{Handle, Pushed};
use crate::worker::outgoing::Outgoing;
use crate::worker::scheduler;

/// What a push costs, as [`scheduler::charge`] counts, beside the bytes that it copies.
const PUSH: u64 = 1;

/// Puts a message into the outbox of every connection here that the channel names. The frame is encoded once.
/// Answers into how many. A recipient that is too slow is closed and not waited for.
pub(crate) fn deliver(
    registry: &Registry,
    channel: Channel<'_>,
    message: Message<'_>,
    outbox_limit: usize,
) -> u32 {
    let frame = Outgoing::new(message);
    let push = |group: &Group| push_to(group, &frame, outbox_limit);
    match channel {
        Channel::User(user) => registry.user(user).map_or(0, |group| push(&group)),
        Channel::Room(room) => registry.room(room).map_or(0, |group| push(&group)),
        Channel::Everyone => registry.everyone().iter().map(push).sum(),
    }
}

/// The same for a message of a connection here.
pub(crate) fn relay(
    registry: &Registry,
    to: Audience<'_>,
    message: Message<'_>,
    sender: &Handle,
    outbox_limit: usize,
) -> u32 {
    match to {
        // Without a lookup.
        Audience::OwnUser => {
            let group = sender.user_group().get();
            group.map_or(0, |group| push_to(group, &Outgoing::new(message), outbox_limit))
        }
        Audience::Room(room) => deliver(registry, Channel::Room(room), message, outbox_limit),
    }
}

/// Puts a frame into the outbox of every member. Answers into how many.
pub(crate) fn push_to(group: &Group, frame: &Outgoing<'_>, outbox_limit: usize) -> u32 {
    let (mut queued, mut pushed) = (0, 0);
    group.for_each(|handle: &Arc<Handle>| {
        pushed += 1;
        queued += u32::from(handle.push(frame, outbox_limit) == Pushed::Queued);
    });
    scheduler::charge(pushed * (PUSH + scheduler::bytes(frame.copied_len())));
    queued
}

/// How many connections here a channel names.
pub(crate) fn count(registry: &Registry, channel: Channel<'_>) -> u32 {
    let count = match channel {
        Channel::User(user) => registry.count(Some(user)),
        Channel::Room(room) => registry.room(room).map_or(0, |group| group.len() as u64),
        Channel::Everyone => registry.count(None),
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}
