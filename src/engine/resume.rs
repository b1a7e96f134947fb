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

use crate::broker::Broker;
use crate::broker::history::HistoryConfig;
use crate::broker::page_reader::PageCallback;
use crate::outcome::HistoryPage;
use crate::registry::delivery::tell;
use crate::registry::recipients::Topic;
use crate::worker::handle::{ConnectionId, Handle};
use crate::worker::outgoing::Frames;
use crate::worker::scheduler;

/// Longest wait for the application to deal with a new connection, which it may put into rooms.
const GREETING: Duration = Duration::from_secs(5);
/// Between two looks whether a client has taken enough of what waits for it.
const PAUSE: Duration = Duration::from_millis(20);
/// Most messages of a page, which a client has to get in one piece.
const PAGE: u32 = 100;
/// Topics that are answered in one go.
const SLICE: usize = 32;

/// The resumptions that are under way.
#[derive(Debug)]
pub(super) struct Resumes {
    /// Itself, for tasks.
    me: Weak<Resumes>,
    broker: Arc<dyn Broker<Handle>>,
    history: HistoryConfig,
    outbox_limit: usize,
    all: Mutex<HashMap<ConnectionId, UnderWay>>,
}

#[derive(Debug)]
struct UnderWay {
    topics: VecDeque<Resumption>,
    /// It waits for the application.
    is_parked: bool,
    /// It has waited long enough.
    is_impatient: bool,
}

/// The next thing to do.
enum Step {
    /// Nothing is left, or the application has yet to say more.
    Rest,
    /// This topic is next.
    Topic(Resumption),
}

impl Resumes {
    pub(super) fn new(
        broker: Arc<dyn Broker<Handle>>,
        history: HistoryConfig,
        outbox_limit: usize,
    ) -> Arc<Resumes> {
        Arc::new_cyclic(|me| Resumes { me: me.clone(), broker, history, outbox_limit, all: Mutex::default() })
    }

    /// A client wants to resume these topics. False if it wants too many at once.
    pub(super) fn begin(&self, handle: &Arc<Handle>, topics: Vec<Resumption>) -> bool {
        let mut all = self.all.lock();
        if let Some(under_way) = all.get_mut(&handle.id) {
            let fits = under_way.topics.len() + topics.len() <= MAX_TOPICS;
            if fits {
                under_way.topics.extend(topics);
            }
            return fits;
        }
        let topics = topics.into();
        all.insert(handle.id, UnderWay { topics, is_parked: false, is_impatient: false });
        drop(all);
        self.spawn(handle);
        true
    }

    /// The application has dealt with a connection.
    pub(super) fn call(&self, handle: &Arc<Handle>) {
        let mut all = self.all.lock();
        let Some(under_way) = all.get_mut(&handle.id) else { return };
        if std::mem::take(&mut under_way.is_parked) {
            drop(all);
            self.spawn(handle);
        }
    }

    /// A connection has left.
    pub(super) fn forget(&self, handle: &Handle) {
        self.all.lock().remove(&handle.id);
    }

    fn next(&self, handle: &Arc<Handle>) -> Step {
        let mut all = self.all.lock();
        let Some(under_way) = all.get_mut(&handle.id) else { return Step::Rest };
        let Some(next) = under_way.topics.front() else {
            all.remove(&handle.id);
            return Step::Rest;
        };
        let waits = !under_way.is_impatient && !handle.is_greeted() && !is_member(handle, &next.topic);
        if waits {
            under_way.is_parked = true;
            drop(all);
            let (me, waiting) = (self.me.clone(), handle.clone());
            handle.inbox().spawn(async move {
                tokio::time::sleep(GREETING).await;
                if let Some(me) = me.upgrade() {
                    me.lose_patience(&waiting);
                    me.call(&waiting);
                }
            });
            return Step::Rest;
        }
        under_way.topics.pop_front().map_or(Step::Rest, Step::Topic)
    }

    fn lose_patience(&self, handle: &Handle) {
        if let Some(under_way) = self.all.lock().get_mut(&handle.id) {
            under_way.is_impatient = true;
        }
    }

    /// Goes on with a connection's resumption, on its worker.
    fn spawn(&self, handle: &Arc<Handle>) {
        let (me, task) = (self.me.clone(), handle.clone());
        handle.inbox().spawn(async move {
            let mut topics = 0;
            while let Some(resumes) = me.upgrade() {
                if !task.is_open() {
                    return resumes.forget(&task);
                }
                // A page must not be more than the client can take.
                if task.buffered() > resumes.outbox_limit / 2 {
                    drop(resumes);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                let Step::Topic(next) = resumes.next(&task) else { return };
                if !resumes.resume(&task, next) {
                    return;
                }
                topics += 1;
                if topics % SLICE == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }

    /// Answers for a topic. False if that takes a while: then it goes on by itself.
    fn resume(&self, handle: &Arc<Handle>, next: Resumption) -> bool {
        let Some(stream) = Stream::parse(&next.topic) else { return true };
        let limit = self.outbox_limit;
        let answer = |place, lost| {
            let resumed = Resumed { stream, place, has_more: false, lost };
            tell(handle, &server_message::resumed(&resumed), limit);
        };
        let topic = match stream {
            Stream::User => Topic::User(&handle.user),
            Stream::Room(room) => Topic::Room(room),
            Stream::All => {
                answer(Place::Unknown, Some("no-history"));
                return true;
            }
        };
        if !is_member(handle, &next.topic) {
            answer(Place::Unknown, Some("not-member"));
            return true;
        }
        if self.history.bounds_of(topic).is_none() {
            answer(Place::Unknown, Some("no-history"));
            return true;
        }
        if next.place == Place::Unknown {
            answer(Place::Unknown, Some("no-position"));
            return true;
        }
        let known = self.broker.place(topic);
        // What is read before the subscription is there may lack a message that does not come by itself either.
        if known == Place::Unknown {
            answer(Place::Unknown, Some("unavailable"));
            return true;
        }
        let after = match next.place {
            // Everything behind it comes by itself.
            Place::After(_) if known == next.place => {
                answer(next.place, None);
                return true;
            }
            Place::Unknown => None,
            Place::Beginning => None,
            Place::After(position) => Some(position),
        };
        let (me, reader) = (self.me.clone(), handle.clone());
        let name = next.topic.clone();
        let take = PageCallback::new(move |page| {
            let Some(me) = me.upgrade() else { return };
            me.deliver(&reader, &name, after, page);
            me.spawn(&reader);
        });
        self.broker.read_for(topic, after, PAGE, limit / 4, take);
        false
    }

    /// Sends a page, and says what it is.
    fn deliver(
        &self,
        handle: &Arc<Handle>,
        topic: &str,
        after: Option<Position>,
        page: Result<HistoryPage, Error>,
    ) {
        let Some(stream) = Stream::parse(topic) else { return };
        let mut frames = Vec::new();
        let mut messages = 1;
        let resumed = match &page {
            Ok(page) => {
                for kept in &page.messages {
                    let text = kept.is_text.then(|| std::str::from_utf8(&kept.payload).ok()).flatten();
                    let message = text.map_or(Message::Binary(&kept.payload), Message::Text);
                    if let Some(body) =
                        server_message::message(Some(stream), Some(kept.position), true, message)
                    {
                        append(&mut frames, body.as_message());
                        messages += 1;
                    }
                }
                let lost = page.lost.or_else(|| cut_off(after, page));
                let place = page.position.into();
                Resumed { stream, place, has_more: page.has_more, lost: lost.map(Reason::as_str) }
            }
            Err(_) => Resumed { stream, place: Place::Unknown, has_more: false, lost: Some("unavailable") },
        };
        append(&mut frames, Message::Text(&server_message::resumed(&resumed)));
        scheduler::charge(scheduler::bytes(frames.len()));
        handle.push(&Frames::of(frames, messages), self.outbox_limit);
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
