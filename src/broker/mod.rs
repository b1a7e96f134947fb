//! Brokers carry a message to every server that has its recipients, this one included.
//!
//! Everything that is addressed to a user, a room or everyone goes through the broker, even when the recipient is
//! connected here: that is what gives all devices of a user one order. The outcome of a publish is told at once where it is
//! known at once, and later, by its ticket, where another server has to be asked.

pub mod history;
mod memory;
pub mod page_request;
pub mod redis;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::history::position::Place;
use codes::error::{Code, Error};
use protocol::frame::Message;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::events::broker_status::State;
use crate::outcome::{HistoryPage, Reply};
use crate::registry::recipients::{Channel, RelayTarget, Topic};
use crate::worker::receipts::Receipt;

use self::history::HistoryConfig;
use self::page_request::PageRequest;

pub use memory::MemoryBroker;

/// The broker's part of the statistics.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStats {
    /// Which one: `memory` or `redis`.
    pub kind: &'static str,
    /// See [`State`].
    pub state: State,
    /// Since when, in Unix milliseconds.
    pub since: u64,
    /// Code of the error for which it isn't up.
    pub code: Option<&'static str>,
    /// That error, in words.
    pub reason: Option<String>,
    /// Numbers.
    #[serde(flatten)]
    pub counts: BrokerCounts,
}

/// Numbers of the broker, since the start where it doesn't say "now".
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerCounts {
    /// Channels subscribed to, now.
    pub subscriptions: u64,
    /// Publishes without an answer, now.
    pub pending: u64,
    /// Bytes of them.
    pub pending_bytes: u64,
    /// Publishes that were taken for all servers.
    pub published: u64,
    /// Publishes that were served here only.
    pub local: u64,
    /// Publishes of which nobody knows.
    pub uncertain: u64,
    /// Messages that came from servers, this one included.
    pub received: u64,
    /// Such messages that were malformed, oversized or of an unknown kind, and were skipped.
    pub ignored: u64,
    /// Times that a link was lost after it had been up.
    pub gaps: u64,
    /// Connections that were accepted without a confirmed subscription.
    pub unconfirmed: u64,
    /// Messages that did not come, or came out of their order, and were read from a history.
    pub repaired: u64,
    /// Times that messages of a topic with a history were missed for good.
    pub missed: u64,
}

/// The confirmations that a new connection's subscriptions wait for.
#[derive(Debug, Default)]
pub struct Confirmations {
    /// Each with its topic's number among those that were asked for.
    confirmations: Vec<(usize, oneshot::Receiver<Place>)>,
    /// There are others, which can't be expected soon.
    incomplete: bool,
}

impl Confirmations {
    /// Waits for those that can be expected, or until `deadline`. `found` gets the place of each topic behind which all messages
    /// come, by its number. Answers whether all there are came.
    pub async fn wait(self, deadline: Instant, mut found: impl FnMut(usize, Place)) -> bool {
        let mut complete = !self.incomplete;
        for (index, confirmed) in self.confirmations {
            match tokio::time::timeout_at(deadline, confirmed).await {
                Ok(Ok(place)) => found(index, place),
                _ => complete = false,
            }
        }
        complete
    }
}

/// The options of a publish.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishOptions<'a> {
    /// Nobody gets it unless every server can.
    pub is_strict: bool,
    /// It gets no place in the history of its topic, even if the topic has one.
    pub is_fleeting: bool,
    /// Of several messages with the same one for a topic only the first is published; strict in any case. At most
    /// [`MAX_KEY_BYTES`](history::MAX_KEY_BYTES).
    pub idempotency_key: Option<&'a str>,
}

impl PublishOptions<'_> {
    /// # Errors
    /// `ERR_NO_HISTORY` if there is an idempotency key and nothing to keep it in.
    fn check(&self, history: &HistoryConfig, channel: Channel<'_>) -> Result<(), Error> {
        match (self.idempotency_key, channel.topic()) {
            (None, _) => Ok(()),
            (Some(_), Some(topic)) if !self.is_fleeting => history.check(topic).map(drop),
            (Some(_), _) => {
                let text = "idempotencyKey can't be used with history: false";
                Err(Error::new(Code::NoHistory, text))
            }
        }
    }
}

/// Strict or not, and nothing else.
impl From<bool> for PublishOptions<'_> {
    fn from(is_strict: bool) -> Self {
        PublishOptions { is_strict, ..PublishOptions::default() }
    }
}

/// Carries messages to the members of groups, on whatever server they are. Every broker has to. [`Counting`] and
/// [`RawChannels`] are traits of their own because a broker may lack what they need; a history or presence would come beside them.
/// A `Producer` is a client that relays; how much of it may be under way is between it and the broker.
pub trait Fanout<Producer> {
    /// Hands a message to every server that has a recipient. Does not block.
    ///
    /// # Errors
    /// `ERR_BROKER_UNAVAILABLE` if it is strict, `ERR_BROKER_OVERLOADED`, `ERR_NOT_REPRESENTABLE`, `ERR_NO_HISTORY` for an
    /// idempotency key: nobody got it.
    fn publish(
        &self,
        channel: Channel<'_>,
        message: Message<'_>,
        options: PublishOptions<'_>,
    ) -> Result<Reply, Error>;

    /// The same for a message of a client, which is told of what goes wrong later. With a `receipt` it is told by that, and a message
    /// that comes again is published once if its topic has a history.
    ///
    /// # Errors
    /// As above; and `ERR_BROKER_UNAVAILABLE` if only connections here got it.
    fn relay(
        &self,
        to: RelayTarget<'_>,
        message: Message<'_>,
        producer: &Arc<Producer>,
        receipt: Option<&Receipt>,
    ) -> Result<(), Error>;

    /// Closes a user's connections on all servers. With `strict`, none unless all can be.
    ///
    /// # Errors
    /// `ERR_BROKER_UNAVAILABLE` if `strict`, `ERR_BROKER_OVERLOADED`.
    fn disconnect_user(&self, user: &str, code: u16, reason: &str, strict: bool) -> Result<Reply, Error>;

    /// True if this is the only server: all members of a group are connected here.
    fn is_alone(&self) -> bool;

    /// Asks for the messages of groups that have a new member. None if they come already.
    fn subscribe(&self, topics: &[Topic<'_>]) -> Option<Confirmations>;

    /// A connection was accepted although not all of these groups' subscriptions are confirmed: until they are, messages
    /// may pass it by.
    fn note_unconfirmed(&self, topics: &[Topic<'_>]);

    /// A group lost its last member.
    fn unsubscribe(&self, topic: Topic<'_>);
}

/// Counts connections on all servers. Apart from [`Fanout`]: a broker that only carries messages has no answers to count.
pub trait Counting {
    /// On how many servers a user is connected, at most; 0 is certain.
    ///
    /// # Errors
    /// `ERR_BROKER_UNAVAILABLE` if the user isn't here and nobody else can be asked.
    fn is_online(&self, user: &str) -> Result<Reply, Error>;

    /// Counts connections: a user's, or all.
    ///
    /// # Errors
    /// `ERR_BROKER_OVERLOADED`
    fn count(&self, user: Option<&str>) -> Result<Reply, Error>;
}

/// Publishes on channels of the embedder's own. Apart from [`Fanout`]: not every broker has channels that others can listen on.
pub trait RawChannels {
    /// Hands a payload to whoever listens on a channel.
    ///
    /// # Errors
    /// `ERR_BROKER_UNAVAILABLE`, `ERR_BROKER_OVERLOADED`.
    fn publish_raw(&self, channel: &str, payload: &[u8]) -> Result<Reply, Error>;
}

/// Keeps the last messages of topics. Apart from [`Fanout`]: a broker may have nothing to keep them in.
pub trait History {
    /// Reads messages of a topic.
    ///
    /// # Errors
    /// `ERR_NO_HISTORY`, `ERR_BROKER_UNAVAILABLE`, `ERR_BROKER_OVERLOADED`.
    fn read(&self, topic: Topic<'_>, request: PageRequest) -> Result<Reply, Error>;

    /// The same for a client. Nothing comes if the broker ends.
    fn page(&self, topic: Topic<'_>, request: PageRequest) -> oneshot::Receiver<Result<HistoryPage, Error>>;

    /// The place in a topic behind which all messages come to connections here from now on.
    fn place(&self, topic: Topic<'_>) -> Place;
}

/// All that an engine asks of a broker.
pub trait Broker<Producer>:
    Fanout<Producer> + Counting + RawChannels + History + fmt::Debug + Send + Sync
{
    /// Answers when the way to all other servers is up; the ticket fails with the next failure before that.
    fn ready(&self) -> Reply;

    /// A reading of its state.
    fn stats(&self) -> BrokerStats;

    /// Waits for answers that are due, at most so long, and gives up the others. Blocks.
    fn close(&self, patience: Duration);
}
