//! The sink of a router: whom its messages, and what became of its commands, are told to.

use std::fmt;

use codes::error::Error;
use history::follower::Missed;
use history::position::Position;

use super::asker::Asker;
use super::connection::reply::CommandOutcome;
use crate::events::broker_status::BrokerStatus;
use crate::registry::gathered::Gathered;
use crate::worker::intake::Intake;

/// Gets the messages that come, and what became of commands.
pub(crate) trait Sink: fmt::Debug + Send + Sync {
    /// A message came. `name` is the channel's, without prefix and hash tag; `position` its place, if it has one.
    fn message(&self, name: &str, payload: &[u8], position: Option<Position>, gathered: &mut Gathered);

    /// Lets clients publish, as far as there is room.
    fn intake(&self) -> Option<&Intake> {
        None
    }

    /// The turn is over in which these messages came.
    fn deliver(&self, _gathered: &mut Gathered) {}
    /// A message came that was too large to be taken, or on a channel whose name is no text.
    fn ignored(&self, why: &str);
    /// A command is answered, or never will be. `publish`: name and payload of one that never left.
    fn settle(&self, asker: Asker, outcome: CommandOutcome, publish: Option<(&str, &[u8])>);
    /// Some were: there may be room for more.
    fn relieved(&self) {}
    /// The state of the links changed.
    fn status(&self, status: BrokerStatus);
    /// These wait for the links to be up, or for a subscription, and have an answer.
    fn ready(&self, tickets: Vec<u64>, outcome: Result<(), Error>);
    /// A subscription that was confirmed once has ended, for Redis forbids it.
    fn forbidden(&self, _name: &str, _error: Error) {}
    /// A message came, but for the subscription: it was read from a history, or has waited for others.
    fn repaired(&self, name: &str, payload: &[u8], position: Position, gathered: &mut Gathered) {
        self.message(name, payload, Some(position), gathered);
    }
    /// Bytes that whoever listens can take at once, in any case.
    fn portion(&self) -> usize {
        self.largest()
    }
    /// True if whoever listens on a channel can take more messages at once than it was given.
    fn has_room(&self, _name: &str) -> bool {
        true
    }
    /// Messages of a topic with a history did not arrive, or may not have.
    fn missed(&self, _name: &str, _missed: Missed) {}
    /// True if anybody is interested in a channel.
    fn in_use(&self, name: &str) -> bool;
    /// Largest message that is taken, as it is published.
    fn largest_message(&self) -> usize {
        self.largest()
    }
    /// Largest payload that is taken, as it is on the wire.
    fn largest(&self) -> usize;
    /// True while messages are not taken because the embedder is behind. `SubscriptionRouter::resume` ends it.
    fn is_congested(&self) -> bool {
        false
    }
}
