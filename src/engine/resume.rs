//! Resumption: a client that was away gets what it missed of its topics, one after the other, a page at a time.
//!
//! The connection is in its topics before they are read, so each message is among those that are read, or comes live, or both.
//! The client puts the two together, see docs/protocol.md.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use codes::error::Error;
use hashbrown::HashMap;
use history::meta::Reason;
use history::position::{Place, Position};
use parking_lot::Mutex;
use protocol::frame::{Message, append};
use subprotocol::client_message::{MAX_TOPICS, Resumption};
use subprotocol::server_message::{self, Resumed};
use subprotocol::stream::Stream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::broker::history::HistoryConfig;
use crate::broker::page_request::PageRequest;
use crate::outcome::HistoryPage;
use crate::registry::recipients::Topic;
use crate::worker::handle::{ConnectionId, Handle};
use crate::worker::outgoing::Frames;
use crate::worker::scheduler;

/// Longest wait for the application to deal with a new connection, which it may put into rooms.
const GREETING: Duration = Duration::from_secs(5);
/// Longest wait for a topic's subscription.
const CONFIRMATION: Duration = Duration::from_secs(1);
/// Shortest and longest pause between two looks whether a client has taken enough of what waits for it.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Most messages of a page, which a client has to get in one piece.
const PAGE: u32 = 100;
/// Most bytes of a page.
const PAGE_BYTES: usize = 64 << 10;
/// A page of more bytes takes its time: so many of these are written, and then the worker looks at its sockets.
const LARGE: usize = 8 << 10;
const LARGE_PAGES: usize = 4;
/// The shortest time of tokio's clock, which passes only when a worker has looked at its sockets.
const LOOK: Duration = Duration::from_millis(1);
/// Topics that are answered in one go.
const SLICE: usize = 4;
/// The cost of a topic that a client names, as [`scheduler::charge`] counts.
const TOPIC: u64 = 2;

/// The resumptions that are under way.
#[derive(Debug)]
pub(super) struct Resumes {
    broker: Arc<dyn Broker<Handle>>,
    history: HistoryConfig,
    outbox_limit: usize,
    large_pages: Semaphore,
    /// Itself, for tasks.
    me: Weak<Resumes>,
    all: Mutex<HashMap<ConnectionId, UnderWay>>,
}

/// The topics that one connection resumes, the one that is being answered included.
#[derive(Debug)]
struct UnderWay {
    topics: VecDeque<Resumption>,
    /// The application has dealt with the connection, or the connection has left.
    changed: Arc<Notify>,
}

impl Resumes {
    pub(super) fn new(
        broker: Arc<dyn Broker<Handle>>,
        history: HistoryConfig,
        outbox_limit: usize,
    ) -> Arc<Resumes> {
        Arc::new_cyclic(|me| Resumes {
            broker,
            history,
            outbox_limit,
            large_pages: Semaphore::new(LARGE_PAGES),
            me: me.clone(),
            all: Mutex::default(),
        })
    }

    /// A client wants to resume these topics. False if it wants too many at once.
    pub(super) fn begin(&self, handle: &Arc<Handle>, topics: Vec<Resumption>) -> bool {
        scheduler::charge(TOPIC * topics.len() as u64);
        let mut all = self.all.lock();
        if let Some(under_way) = all.get_mut(&handle.id) {
            let fits = under_way.topics.len() + topics.len() <= MAX_TOPICS;
            if fits {
                under_way.topics.extend(topics);
            }
            return fits;
        }
        all.insert(handle.id, UnderWay { topics: topics.into(), changed: Arc::default() });
        drop(all);
        handle.inbox().spawn(run(self.me.clone(), handle.clone()));
        true
    }

    /// The application has dealt with a connection.
    pub(super) fn call(&self, handle: &Handle) {
        if let Some(under_way) = self.all.lock().get(&handle.id) {
            under_way.changed.notify_one();
        }
    }

    /// A connection has left.
    pub(super) fn forget(&self, handle: &Handle) {
        if let Some(under_way) = self.all.lock().remove(&handle.id) {
            under_way.changed.notify_one();
        }
    }

    /// The topic to be answered next. None: there is none, and the resumption is over.
    fn next(&self, handle: &Handle) -> Option<(Resumption, Arc<Notify>)> {
        let mut all = self.all.lock();
        let under_way = all.get(&handle.id)?;
        let next = under_way.topics.front().cloned().map(|next| (next, under_way.changed.clone()));
        if next.is_none() {
            all.remove(&handle.id);
        }
        next
    }

    /// It is answered.
    fn pop(&self, handle: &Handle) {
        if let Some(under_way) = self.all.lock().get_mut(&handle.id) {
            under_way.topics.pop_front();
        }
    }

    async fn resume(&self, handle: &Arc<Handle>, next: &Resumption) {
        let Some(stream) = Stream::parse(&next.topic) else { return };
        let answer = |place, lost| {
            let resumed = Resumed { stream, place, has_more: false, lost };
            handle.push_text(&server_message::resumed(&resumed), self.outbox_limit);
        };
        let topic = match stream {
            Stream::User => Topic::User(&handle.user),
            Stream::Room(room) => Topic::Room(room),
            Stream::All => return answer(Place::Unknown, Some("no-history")),
        };
        if !is_member(handle, &next.topic) {
            return answer(Place::Unknown, Some("not-member"));
        }
        if self.history.bounds_of(topic).is_none() {
            return answer(Place::Unknown, Some("no-history"));
        }
        let after = match next.place {
            Place::Unknown => return answer(Place::Unknown, Some("no-position")),
            Place::Beginning => None,
            Place::After(position) => Some(position),
        };
        match self.await_place(handle, next, topic).await {
            // A page that is read before the subscription is there may lack a message that does not come by itself either.
            Place::Unknown => answer(Place::Unknown, Some("unavailable")),
            // Everything behind it comes by itself.
            known if after.is_some() && known == next.place => answer(known, None),
            _ => {
                let request =
                    PageRequest { after, limit: PAGE, bytes: PAGE_BYTES.min(self.outbox_limit / 4) };
                match self.broker.page(topic, request).await {
                    Ok(Ok(page)) => self.send(handle, stream, after, &page).await,
                    Ok(Err(Error { .. })) | Err(_) => answer(Place::Unknown, Some("unavailable")),
                }
            }
        }
    }

    /// The place in a topic behind which all messages come, once its subscription is there, if that is soon.
    async fn await_place(&self, handle: &Handle, next: &Resumption, topic: Topic<'_>) -> Place {
        let place = self.broker.place(topic);
        if place != Place::Unknown {
            return place;
        }
        if let Some(confirmations) = self.broker.subscribe(&[topic]) {
            confirmations.wait(Instant::now() + CONFIRMATION, |_, _| {}).await;
        }
        // It may have left meanwhile, before there was a subscription to drop.
        if !handle.is_open() || !is_member(handle, &next.topic) {
            self.broker.unsubscribe(topic);
        }
        self.broker.place(topic)
    }

    /// Sends a page, and says what it is.
    async fn send(
        &self,
        handle: &Arc<Handle>,
        stream: Stream<'_>,
        after: Option<Position>,
        page: &HistoryPage,
    ) {
        let bytes: usize = page.messages.iter().map(|kept| kept.payload.len()).sum();
        let turn = match bytes {
            ..=LARGE => None,
            _ => self.large_pages.acquire().await.ok(),
        };
        let mut frames = Vec::new();
        let mut messages = 1;
        for kept in &page.messages {
            let text = kept.is_text.then(|| std::str::from_utf8(&kept.payload).ok()).flatten();
            let message = text.map_or(Message::Binary(&kept.payload), Message::Text);
            if let Some(body) = server_message::message(Some(stream), Some(kept.position), true, message) {
                append(&mut frames, body.as_message());
                messages += 1;
            }
        }
        let lost = page.lost.or_else(|| cut_off(after, page)).map(Reason::as_str);
        let resumed = Resumed { stream, place: page.position.into(), has_more: page.has_more, lost };
        append(&mut frames, Message::Text(&server_message::resumed(&resumed)));
        scheduler::charge(scheduler::bytes(frames.len()));
        if turn.is_some() {
            tokio::time::sleep(LOOK).await;
        }
        drop(turn);
        // A large page must not make a client that is behind count as too slow.
        let rest = self.outbox_limit.saturating_sub(frames.len());
        await_room(handle, rest).await;
        handle.push(&Frames::of(frames, messages), self.outbox_limit);
    }
}

/// Answers a connection's topics until none is left, on its worker.
async fn run(me: Weak<Resumes>, handle: Arc<Handle>) {
    for number in 1.. {
        let Some(resumes) = me.upgrade() else { return };
        let Some((next, changed)) = resumes.next(&handle) else { return };
        if !handle.is_greeted() && !is_member(&handle, &next.topic) {
            let _ = tokio::time::timeout(GREETING, changed.notified()).await;
            handle.mark_greeted();
        }
        await_room(&handle, resumes.outbox_limit / 8).await;
        if !handle.is_open() {
            return resumes.forget(&handle);
        }
        resumes.resume(&handle, &next).await;
        resumes.pop(&handle);
        if number % SLICE == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until no more than so many bytes wait for a client, or it has left.
async fn await_room(handle: &Handle, most: usize) {
    let mut pause = PAUSES.0;
    while handle.is_open() && handle.buffered() > most {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// True if a connection is in a topic.
fn is_member(handle: &Handle, topic: &str) -> bool {
    match Stream::parse(topic) {
        Some(Stream::User | Stream::All) => true,
        Some(Stream::Room(room)) => handle.rooms().lock().contains(room),
        None => false,
    }
}

/// The reason for which a client that knew the topic before its first message has missed some.
fn cut_off(after: Option<Position>, page: &HistoryPage) -> Option<Reason> {
    let first = page.messages.first().map(|kept| kept.position.offset);
    let is_whole = match (first, page.position) {
        (Some(first), _) => first == 1,
        (None, Some(last)) => last.offset == 0,
        (None, None) => true,
    };
    (after.is_none() && !is_whole).then_some(Reason::Trimmed)
}
