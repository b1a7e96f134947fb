//! Receipts: what the messages of a session have come to that its client wants to hear of.
//!
//! A client that comes back sends again what it has not heard of, under the same ids. As long as its session is known here, that
//! is found out: nothing is taken twice.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Weak};

use codes::error::Code;
use hashbrown::HashMap;
use parking_lot::Mutex;
use protocol::frame::Message;
use subprotocol::server_message::{self, Body};

/// Most messages of a session that wait for an answer, and as many that had one are remembered: a client that keeps to it can have
/// no others to send again.
pub(crate) const MAX_UNANSWERED: usize = 256;

/// The one who hears of a message: its client, by a connection.
pub(crate) trait Correspondent: std::fmt::Debug + Send + Sync {
    /// Queues this, as `Handle::push` does.
    fn tell(self: Arc<Self>, body: &Body, outbox_limit: usize);
}

/// The receipts of one session.
#[derive(Debug)]
pub(crate) struct Receipts {
    session: Box<str>,
    outbox_limit: usize,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Messages that began.
    count: u64,
    pending: HashMap<u64, Pending>,
    /// Messages that were dealt with, by the hash of their id, the latest last: taken, or refused for a reason.
    settled: VecDeque<(u64, Option<Box<Fault>>)>,
}

/// A message that has no answer yet.
#[derive(Debug)]
struct Pending {
    id: Box<str>,
    kind: Kind,
    /// The connection that gets the answer: the latest that sent it.
    connection: Weak<dyn Correspondent>,
    /// Those who have yet to take it.
    missing: u32,
    outcome: Outcome,
}

/// What a message is that comes a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The same one.
    Lasting,
    /// Another one.
    Passing,
}

#[derive(Debug, Default)]
enum Outcome {
    #[default]
    Taken,
    /// Somebody who had it went away. Sent again it is a new one.
    Dropped,
    Refused(Fault),
    Replied(Body),
}

/// The reason why a message was refused.
#[derive(Clone, Debug)]
struct Fault {
    /// Of this package, or the application's own.
    code: Box<str>,
    message: Box<str>,
}

/// The beginning of a message.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is new.
    New(Receipt),
    /// It came before: the client hears of it now, or when it is dealt with.
    Known,
    /// Too many wait for an answer already. Gives the id back.
    Full(Box<str>),
}

impl Receipts {
    /// Those of a new session. Answers larger than `outbox_limit` are no answers.
    pub(crate) fn new(session: &str, outbox_limit: usize) -> Arc<Receipts> {
        Arc::new(Receipts {
            session: session.into(),
            outbox_limit,
            hasher: RandomState::new(),
            state: Mutex::default(),
        })
    }

    /// A message came.
    pub(crate) fn begin<C: Correspondent + 'static>(
        self: &Arc<Self>,
        connection: &Arc<C>,
        id: Box<str>,
        kind: Kind,
    ) -> Begun {
        let connection: Arc<dyn Correspondent> = connection.clone();
        let mut state = self.state.lock();
        state.count += 1;
        let number = if kind == Kind::Passing { state.count } else { 0 };
        let key = self.hasher.hash_one((number, &id));
        if let Some(pending) = state.pending.get_mut(&key) {
            pending.connection = Arc::downgrade(&connection);
            return Begun::Known;
        }
        if let Some((_, fault)) = state.settled.iter().find(|(settled, _)| *settled == key) {
            let told = match fault {
                None => server_message::ack(&id),
                Some(fault) => server_message::error(Some(&id), &fault.code, &fault.message),
            };
            drop(state);
            connection.tell(&Body::Text(told), self.outbox_limit);
            return Begun::Known;
        }
        if state.pending.len() >= MAX_UNANSWERED {
            return Begun::Full(id);
        }
        let connection = Arc::downgrade(&connection);
        let pending = Pending { id, kind, connection, missing: 1, outcome: Outcome::Taken };
        state.pending.insert(key, pending);
        Begun::New(Receipt { receipts: self.clone(), key, is_done: false })
    }

    fn settle(&self, key: u64, outcome: Outcome) {
        let mut state = self.state.lock();
        let Some(pending) = state.pending.get_mut(&key) else { return };
        pending.missing -= 1;
        // The first refusal counts, and a refusal more than that nothing is known.
        match (&pending.outcome, outcome) {
            (Outcome::Refused(_), _) | (_, Outcome::Taken) | (Outcome::Dropped, Outcome::Replied(_)) => {}
            (_, outcome) => pending.outcome = outcome,
        }
        if pending.missing > 0 {
            return;
        }
        let Some(Pending { id, kind, connection, outcome, .. }) = state.pending.remove(&key) else { return };
        let fault = match &outcome {
            Outcome::Refused(fault) => Some(Box::new(fault.clone())),
            _ => None,
        };
        if kind == Kind::Lasting && !matches!(outcome, Outcome::Dropped) {
            if state.settled.len() >= MAX_UNANSWERED {
                state.settled.pop_front();
            }
            state.settled.push_back((key, fault));
        }
        drop(state);
        let Some(connection) = connection.upgrade() else { return };
        let told = match outcome {
            // The connection that it came on has ended, as a rule. One that has sent it again meanwhile waits.
            Outcome::Dropped => {
                let why = "its connection ended before the message was taken";
                Body::Text(server_message::error(Some(&id), Code::Listener.as_str(), why))
            }
            Outcome::Taken => Body::Text(server_message::ack(&id)),
            Outcome::Refused(Fault { code, message }) => {
                Body::Text(server_message::error(Some(&id), &code, &message))
            }
            Outcome::Replied(body) => body,
        };
        connection.tell(&told, self.outbox_limit);
    }
}

/// The part of somebody who has to take a message. Dropped, it was not taken.
#[derive(Debug)]
pub struct Receipt {
    receipts: Arc<Receipts>,
    key: u64,
    is_done: bool,
}

impl Receipt {
    /// The part of somebody else.
    pub(crate) fn another(&self) -> Receipt {
        if let Some(pending) = self.receipts.state.lock().pending.get_mut(&self.key) {
            pending.missing += 1;
        }
        Receipt { receipts: self.receipts.clone(), key: self.key, is_done: false }
    }

    /// The message's name, which is the same each time that it is sent and no other message's.
    pub(crate) fn message_id(&self) -> String {
        let state = self.receipts.state.lock();
        let id = state.pending.get(&self.key).map_or("", |pending| &pending.id);
        format!("{}.{id}", self.receipts.session)
    }

    /// It is taken.
    pub(crate) fn take(self) {
        self.settle(Outcome::Taken);
    }

    /// It can't be taken.
    pub(crate) fn refuse(self, code: &str, message: &str) {
        self.settle(Outcome::Refused(Fault { code: code.into(), message: message.into() }));
    }

    /// It is answered.
    pub(crate) fn reply(self, message: Message<'_>) {
        let limit = self.receipts.outbox_limit;
        let id = match self.receipts.state.lock().pending.get(&self.key) {
            Some(pending) => pending.id.clone(),
            None => return,
        };
        let body =
            server_message::reply(&id, message).filter(|body| body.as_message().payload().len() <= limit);
        match body {
            Some(body) => self.settle(Outcome::Replied(body)),
            None => self.refuse(Code::TooLarge.as_str(), "the reply is larger than limits.outboxBytes"),
        }
    }

    fn settle(mut self, outcome: Outcome) {
        self.is_done = true;
        self.receipts.settle(self.key, outcome);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.is_done {
            self.receipts.settle(self.key, Outcome::Dropped);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Client(Mutex<Vec<String>>);

    impl Correspondent for Client {
        fn tell(self: Arc<Self>, body: &Body, _: usize) {
            let Body::Text(text) = body else { panic!("{body:?}") };
            self.0.lock().push(text.clone());
        }
    }

    fn connection() -> Arc<Client> {
        Arc::default()
    }

    fn begin(receipts: &Arc<Receipts>, connection: &Arc<Client>, id: &str) -> Receipt {
        match receipts.begin(connection, id.into(), Kind::Lasting) {
            Begun::New(receipt) => receipt,
            other => panic!("{other:?}"),
        }
    }

    /// All that a connection got by this.
    fn told(connection: &Arc<Client>, act: impl FnOnce()) -> Vec<String> {
        connection.0.lock().clear();
        act();
        std::mem::take(&mut connection.0.lock())
    }

    const ACK: &str = r#"{"type":"ack","id":"1"}"#;

    #[test]
    fn a_message_is_taken_once_everybody_has_taken_it() {
        let (receipts, ada) = (Receipts::new("s", 1 << 20), connection());
        let first = begin(&receipts, &ada, "1");
        let [second, third] = [first.another(), first.another()];
        assert_eq!(first.message_id(), "s.1");
        assert!(told(&ada, || first.take()).is_empty());
        assert!(told(&ada, || third.take()).is_empty());
        assert_eq!(told(&ada, || second.take()), [ACK]);
    }

    #[test]
    fn a_refusal_of_one_is_told_when_the_others_are_done_and_a_message_that_was_dropped_may_come_again() {
        let (receipts, ada) = (Receipts::new("s", 1 << 20), connection());
        let first = begin(&receipts, &ada, "1");
        let second = first.another();
        assert!(told(&ada, || first.refuse("ERR_X", "x")).is_empty());
        let refusal = r#"{"type":"error","code":"ERR_X","message":"x","id":"1"}"#;
        assert_eq!(told(&ada, || drop(second)), [refusal]);
        let third = begin(&receipts, &ada, "3");
        let fourth = third.another();
        assert!(told(&ada, || drop(third)).is_empty());
        let dropped = told(&ada, || fourth.take());
        assert!(dropped[0].contains("ERR_LISTENER"), "{dropped:?}");
        begin(&receipts, &ada, "3").take();
    }

    #[test]
    fn a_message_that_is_sent_again_is_not_taken_again_and_the_connection_that_sent_it_last_hears_of_it() {
        let (receipts, ada, back) = (Receipts::new("s", 1 << 20), connection(), connection());
        let again =
            |id: &str| assert!(matches!(receipts.begin(&back, id.into(), Kind::Lasting), Begun::Known));
        let first = begin(&receipts, &ada, "1");
        again("1");
        assert!(told(&ada, || assert_eq!(told(&back, || first.take()), [ACK])).is_empty());
        assert_eq!(told(&back, || again("1")), [ACK]);
        begin(&receipts, &ada, "2").refuse("ERR_X", "x");
        let refusal = r#"{"type":"error","code":"ERR_X","message":"x","id":"2"}"#;
        assert_eq!(told(&back, || again("2")), [refusal]);
    }

    #[test]
    fn only_so_many_wait_for_an_answer_and_as_many_are_remembered() {
        let (receipts, ada) = (Receipts::new("s", 1 << 20), connection());
        let waiting: Vec<_> = (0..MAX_UNANSWERED).map(|id| begin(&receipts, &ada, &id.to_string())).collect();
        assert!(matches!(receipts.begin(&ada, "x".into(), Kind::Passing), Begun::Full(id) if &*id == "x"));
        waiting.into_iter().for_each(Receipt::take);
        for id in 0..MAX_UNANSWERED {
            assert!(matches!(receipts.begin(&ada, id.to_string().into(), Kind::Lasting), Begun::Known));
        }
        begin(&receipts, &ada, "x").take();
        begin(&receipts, &ada, "0").take();
    }

    #[test]
    fn a_reply_is_told_once_and_one_that_is_too_large_is_an_error() {
        let (receipts, ada) = (Receipts::new("s", 100), connection());
        let ask = || match receipts.begin(&ada, "1".into(), Kind::Passing) {
            Begun::New(receipt) => receipt,
            other => panic!("{other:?}"),
        };
        let reply = r#"{"type":"reply","id":"1","data":[1]}"#;
        assert_eq!(told(&ada, || ask().reply(Message::Text("[1]"))), [reply]);
        assert_eq!(told(&ada, || ask().reply(Message::Text("[1]"))), [reply], "the id may be used again");
        let told = told(&ada, || ask().reply(Message::Binary(&[0; 100])));
        assert!(told[0].contains("ERR_TOO_LARGE"), "{told:?}");
    }
}
