//! The one who asks something of Redis.

use std::sync::Arc;

use crate::worker::handle::Handle;

/// One who waits for the outcome of a publish or a question.
#[derive(Debug)]
pub(crate) enum Asker {
    /// The client whose message it relays. `cost`: see [`Intake::begin`](crate::worker::intake::Intake::begin); `first`: see
    /// [`Asker::goes_first`]; `epoch`: see `Pace`.
    Sender { sender: Arc<Handle>, cost: u32, first: bool, epoch: u8 },
    /// The embedder, about a publish. `local`: connections here that the message is for; `shared`: the number of
    /// subscribers says nothing about the user.
    Publish { ticket: u64, strict: bool, local: u32, shared: bool },
    /// The embedder, about how many subscribers got a message on a channel of its own.
    Receivers { ticket: u64 },
    /// The embedder, about how many subscribers a channel has. Its command is no publish.
    Subscribers { ticket: u64 },
    /// The count over all servers with this ticket: the number of subscribers is the number of answers to expect.
    Count { ticket: u64 },
    /// Nobody.
    Nobody,
}

impl Asker {
    /// True if it waits for no client's flood. Clients' messages keep their order: of one whose message goes first none is
    /// behind.
    pub(crate) fn goes_first(&self) -> bool {
        !matches!(self, Asker::Sender { first: false, .. })
    }

    /// Its cost, of that which clients may have going first, if it was let go first in this epoch.
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

    /// True if connections here get the message if it never left.
    pub(crate) fn may_be_served_here(&self) -> bool {
        matches!(self, Asker::Sender { .. } | Asker::Publish { strict: false, .. })
    }

    /// True if its command is a message of somebody's, whose place among others counts.
    pub(crate) fn is_message(&self) -> bool {
        matches!(self, Asker::Sender { .. } | Asker::Publish { .. })
    }
}
