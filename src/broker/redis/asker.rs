//! The one who asks something of Redis.

use std::sync::Arc;

use codes::error::Error;
use history::meta::Reason;
use tokio::sync::oneshot;

use super::connection::script::LogPart;
use crate::broker::history::{no_page, page, resume};
use crate::broker::page_request::PageRequest;
use crate::outcome::{HistoryPage, KeptMessage};
use crate::worker::handle::Handle;
use crate::worker::receipts::Receipt;

/// One who waits for the outcome of a publish or a question.
#[derive(Debug)]
pub(crate) enum Asker {
    /// The client whose message it relays. `cost`: see [`Intake::begin`](crate::worker::intake::Intake::begin); `first`: see
    /// [`Asker::goes_first`]; `epoch`: see `Pace`.
    /// `kept`: see [`Asker::is_kept`].
    Sender {
        sender: Arc<Handle>,
        cost: u32,
        first: bool,
        epoch: u8,
        kept: bool,
        receipt: Option<Box<Receipt>>,
    },
    /// The embedder, about a publish. `local`: connections here that the message is for; `shared`: the number of
    /// subscribers says nothing about the user.
    Publish { ticket: u64, strict: bool, local: u32, shared: bool, kept: bool },
    /// The embedder, about how many subscribers got a message on a channel of its own.
    Receivers { ticket: u64 },
    /// The embedder, about how many subscribers a channel has. Its command is no publish.
    Subscribers { ticket: u64 },
    /// The count over all servers with this ticket: the number of subscribers is the number of answers to expect.
    Count { ticket: u64 },
    /// The embedder, about the history of a topic.
    History(Box<HistoryQuestion>),
    /// Nobody.
    Nobody,
}

/// Whoever gets a page of a history.
#[derive(Debug)]
pub(crate) enum PageReader {
    /// The embedder, by an event with this ticket.
    Embedder(u64),
    /// A client, by a task of its own.
    Client(oneshot::Sender<Result<HistoryPage, Error>>),
}

/// A question for messages of a topic.
#[derive(Debug)]
pub(crate) struct HistoryQuestion {
    pub reader: PageReader,
    /// The channel's, without prefix and hash tag.
    pub name: Box<str>,
    pub request: PageRequest,
    /// The offset that is asked for, which may turn out to be another one.
    pub from: u64,
    /// Messages that are kept of the topic.
    pub size: u32,
}

impl Asker {
    /// True if its message gets a place in its topic's history: a script publishes it.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Asker::Sender { kept: true, .. } | Asker::Publish { kept: true, .. })
    }

    /// True if its command is a script's.
    pub(crate) fn is_script(&self) -> bool {
        self.is_kept() || matches!(self, Asker::History(_))
    }

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

impl HistoryQuestion {
    /// `size`: messages that are kept of the topic.
    pub(crate) fn new(name: String, request: PageRequest, size: u32, reader: PageReader) -> Box<Self> {
        let from = request.after.map_or(1, |after| after.offset.saturating_add(1));
        Box::new(HistoryQuestion { reader, name: name.into(), request, from, size })
    }

    /// The page that these messages are, and who gets it; or the question for others.
    pub(crate) fn answer(
        mut self: Box<Self>,
        part: LogPart,
        trust: bool,
    ) -> Result<(HistoryPage, PageReader), Box<Self>> {
        let Some(meta) = part.meta.as_ref().map(|meta| meta.continued(part.term)) else {
            return Ok((no_page(self.request.after), self.reader));
        };
        let resume = resume(&meta, self.request.after, trust);
        if resume.from != self.from {
            self.from = resume.from;
            return Err(self);
        }
        let messages = part.messages.iter().filter_map(|(offset, message)| {
            let (kind, payload) = message.as_deref()?.split_first()?;
            Some(KeptMessage { position: meta.at(*offset), is_text: *kind == b't', payload: payload.into() })
        });
        let ends = part.messages.first().zip(part.messages.last());
        let found = ends.map(|((first, _), (last, _))| (*first, *last));
        let has_more = !part.is_all && found.is_some_and(|(_, last)| last < meta.offset);
        let mut page = page(&meta, self.request.after, resume, found, messages.collect(), has_more);
        if part.messages.iter().any(|(_, message)| message.is_none()) {
            page.lost.get_or_insert(Reason::Unreadable);
        }
        Ok((page, self.reader))
    }
}
