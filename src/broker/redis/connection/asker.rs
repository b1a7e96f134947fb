//! Who asks something of Redis, and the commands that wait for its answers.

use std::sync::Arc;

use tokio::time::Instant;

use crate::worker::handle::Handle;

/// Who waits for what a command answers.
#[derive(Debug)]
pub(crate) enum Asker {
    /// The client whose message it relays. `cost`: see [`Intake::begin`](crate::broker::Intake::begin); `first`: see
    /// [`Asker::goes_first`]; `epoch`: see `Pace`.
    Sender { sender: Arc<Handle>, cost: u32, first: bool, epoch: u8 },
    /// The embedder, about a publish. `local`: connections here that the message is for; `shared`: the number of
    /// subscribers says nothing about the user.
    Publish { ticket: u64, strict: bool, local: u32, shared: bool },
    /// The embedder, about how many subscribers got the message, or there are.
    Number { ticket: u64 },
    /// The count over all servers with this ticket: the number of subscribers is the number of answers to expect.
    Count { ticket: u64 },
    /// Nobody.
    Nobody,
    /// The supervision: `PUBLISH` to itself.
    Probe,
    /// The supervision: `ROLE`, after which the probe's own message must be here.
    Role,
    /// So many confirmations. `take`: see `Pipeline::subscribe`.
    Subscribe { left: usize, take: u64 },
    /// So many confirmations.
    Unsubscribe { left: usize },
    /// The `PONG` after an `SUNSUBSCRIBE`: its confirmations look like those of slots that move away, and may be missing.
    ShardUnsubscribe,
    /// The supervision: `ROLE`, because subscriptions have ended by themselves.
    VerifyRole,
}

impl Asker {
    /// True if it waits for no client's flood. Clients' messages keep their order: of one whose message goes first none is
    /// behind.
    pub(crate) fn goes_first(&self) -> bool {
        !matches!(self, Asker::Sender { first: false, .. })
    }

    /// What it costs of that which clients may have going first, if it was let go first in this epoch.
    pub(crate) fn first_units(&self, of: u8) -> u32 {
        match self {
            Asker::Sender { cost, first: true, epoch, .. } if *epoch == of => *cost,
            _ => 0,
        }
    }

    /// True if a client asks, by what it sent.
    pub(crate) fn is_client(&self) -> bool {
        matches!(self, Asker::Sender { .. })
    }

    /// True if its command is a message of somebody's, whose place among others counts.
    pub(crate) fn is_message(&self) -> bool {
        matches!(self, Asker::Sender { .. } | Asker::Publish { .. })
    }

    /// True if its command was added by `Pipeline::add`. The others are the session's own.
    pub(crate) fn is_counted(&self) -> bool {
        match self {
            Asker::Sender { .. }
            | Asker::Publish { .. }
            | Asker::Number { .. }
            | Asker::Count { .. }
            | Asker::Nobody => true,
            Asker::Probe
            | Asker::Role
            | Asker::VerifyRole
            | Asker::Subscribe { .. }
            | Asker::Unsubscribe { .. }
            | Asker::ShardUnsubscribe => false,
        }
    }
}

/// A command that was added and not yet answered.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Bytes of it.
    pub len: usize,
    /// See [`Asker`].
    pub asker: Asker,
    /// The partition that it belongs to.
    pub partition: u16,
    /// Since when it waits to be taken where its partition lies, if it was refused before.
    pub since: Option<Instant>,
}

impl Pending {
    /// One that was not refused before.
    pub(crate) fn new(len: usize, asker: Asker, partition: u16) -> Pending {
        Pending { len, asker, partition, since: None }
    }
}
