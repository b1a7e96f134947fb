//! The sink of a router: whom its messages, and what became of its commands, are told to.

use std::fmt;

use codes::error::Error;

use super::asker::Asker;
use super::failure::{lost, uncertain};
use crate::events::broker_status::BrokerStatus;
use crate::registry::gathered::Gathered;
use crate::worker::intake::Intake;

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    /// Redis answered with a number.
    Number(u64),
    /// Redis refused it: nobody got it.
    Refused(Error),
    /// The link broke before the answer.
    Uncertain,
    /// It never left: here is what was to be published, if it was a publish.
    Unsent(Option<(&'a str, &'a [u8])>),
}

impl Outcome<'_> {
    /// The number that was asked for.
    ///
    /// # Errors
    /// `ERR_UNCERTAIN`, `ERR_BROKER_UNAVAILABLE`, or what Redis said.
    pub(crate) fn number(self) -> Result<u64, Error> {
        match self {
            Outcome::Number(number) => Ok(number),
            Outcome::Refused(error) => Err(error),
            Outcome::Uncertain => Err(uncertain()),
            Outcome::Unsent(_) => Err(lost()),
        }
    }
}

/// Whose messages these are.
pub(crate) trait Sink: fmt::Debug + Send + Sync {
    /// A message came. `name` is the channel's, without prefix and hash tag.
    fn message(&self, name: &str, payload: &[u8], gathered: &mut Gathered);

    /// What lets clients publish.
    fn intake(&self) -> Option<&Intake> {
        None
    }

    /// The turn is over in which these messages came.
    fn deliver(&self, _gathered: &mut Gathered) {}
    /// A message came that was too large to be taken, or on a channel whose name is no text.
    fn ignored(&self, why: &str);
    /// A command is answered, or never will be.
    fn settle(&self, asker: Asker, outcome: Outcome<'_>);
    /// Some were: there may be room for more.
    fn relieved(&self) {}
    /// The state of the links changed.
    fn status(&self, status: BrokerStatus);
    /// Whoever waits for the links to be up, or for a subscription, has an answer.
    fn ready(&self, tickets: Vec<u64>, outcome: Result<(), Error>);
    /// A subscription that was confirmed once has ended, for Redis forbids it.
    fn forbidden(&self, _name: &str, _error: Error) {}
    /// True if anybody is interested in a channel.
    fn in_use(&self, name: &str) -> bool;
    /// Largest payload that is taken, as it is on the wire.
    fn largest(&self) -> usize;
    /// True while messages are not taken because the embedder is behind. [`SubscriptionRouter::resume`](super::router::SubscriptionRouter::resume) ends it.
    fn is_congested(&self) -> bool {
        false
    }
}
