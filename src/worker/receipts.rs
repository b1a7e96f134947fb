//! Receipts: a client hears by them whether its messages were taken.
//!
//! A client that comes back sends again what it has not heard of, under the same ids. As long as its session is known here, that
//! is found out: nothing is taken twice.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use codes::error::Code;
use hashbrown::HashMap;
use parking_lot::Mutex;
use protocol::frame::Message;
use ring::digest::{SHA256, digest};
use subprotocol::server_message::{self, Body};

/// Most messages of a session that wait for an answer, and as many that had one are remembered: a client that keeps to it can have
/// no others to send again.
pub(crate) const MAX_UNANSWERED: usize = 256;
/// Most different refusals of a session that are remembered. There are fewer in this package.
const MAX_FAULTS: usize = 16;
/// Most messages of a session in such a time that get a key, by which a broker finds them again: it keeps each for minutes.
const MAX_KEYS: (u32, Duration) = (1000, Duration::from_secs(10));
/// Bytes of a message's name before it is written as text: nobody guesses one, and no two are alike.
const NAME_BYTES: usize = 16;

/// The one who hears of a message: its client, by a connection.
pub(crate) trait Correspondent: std::fmt::Debug + Send + Sync {
    /// Queues this, as `Handle::push` does.
    fn tell(self: Arc<Self>, body: &Body, outbox_limit: usize);

    /// Its number: a later connection has a larger one.
    fn number(&self) -> u64;
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
    /// Number of the latest connection that has sent a [`Kind::Send`].
    latest: u64,
    /// Those of [`Kind::Question`] among the pending.
    questions: usize,
    /// Keys that were given since then.
    keys: Option<(Instant, u32)>,
    pending: HashMap<u64, Pending>,
    /// Messages that were dealt with, by the hash of their id, the latest last: taken, or refused for a reason.
    settled: VecDeque<(u64, Option<Arc<Fault>>)>,
    /// The refusals among those, each once.
    faults: Vec<Arc<Fault>>,
}

/// A message that has no answer yet.
#[derive(Debug)]
struct Pending {
    id: Arc<str>,
    kind: Kind,
    /// The connection that gets the answer: the latest of those that sent it, and its number.
    connection: Weak<dyn Correspondent>,
    number: u64,
    /// Those who have yet to take it.
    missing: u32,
    outcome: Outcome,
}

/// A kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is taken once, however often it comes under the same id.
    Send,
    /// It is answered each time. Nobody waits for the answer once its connection has left.
    Question,
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// It came before, or comes again: the client hears of it now, or when it is dealt with.
    Known,
    /// Too many wait for an answer already. Gives the id back.
    Full(Box<str>),
}

impl Receipts {
    /// Those of a new session, which has this name among all. Answers larger than `outbox_limit` are no answers.
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
        if kind == Kind::Send {
            // The client has left the earlier connection, and sends again all that it has not heard of. Messages of it that are read
            // late would be taken twice, once the later one has gone on.
            if connection.number() < state.latest {
                return Begun::Known;
            }
            state.latest = connection.number();
        }
        state.count += 1;
        let number = if kind == Kind::Question { state.count } else { 0 };
        let key = self.hasher.hash_one((number, &id));
        if let Some(pending) = state.pending.get_mut(&key) {
            pending.number = connection.number();
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
        let waiting = match kind {
            Kind::Send => state.pending.len() - state.questions,
            Kind::Question => state.questions,
        };
        if waiting >= MAX_UNANSWERED {
            return Begun::Full(id);
        }
        state.questions += usize::from(kind == Kind::Question);
        let is_keyed = kind == Kind::Send && state.take_key();
        let id: Arc<str> = id.into();
        let pending = Pending {
            id: id.clone(),
            kind,
            number: connection.number(),
            connection: Arc::downgrade(&connection),
            missing: 1,
            outcome: Outcome::Taken,
        };
        state.pending.insert(key, pending);
        Begun::New(Receipt { receipts: self.clone(), key, id, is_keyed, is_done: false })
    }

    /// A connection has left: nobody waits for the answers to its questions.
    pub(crate) fn leave(&self, number: u64) {
        let mut state = self.state.lock();
        if state.questions > 0 {
            state.pending.retain(|_, pending| pending.kind == Kind::Send || pending.number != number);
            state.questions = state.pending.values().filter(|pending| pending.kind == Kind::Question).count();
        }
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
        match (kind, &outcome) {
            (Kind::Question, _) => state.questions -= 1,
            (Kind::Send, Outcome::Dropped) => {}
            (Kind::Send, Outcome::Refused(fault)) => state.note(key, Some(fault)),
            (Kind::Send, _) => state.note(key, None),
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

impl State {
    /// Notes that a message was dealt with.
    fn note(&mut self, key: u64, fault: Option<&Fault>) {
        if self.settled.len() >= MAX_UNANSWERED {
            self.settled.pop_front();
        }
        let fault = fault.map(|fault| self.shared(fault));
        self.settled.push_back((key, fault));
    }

    /// The same refusal as it is kept for all messages.
    fn shared(&mut self, fault: &Fault) -> Arc<Fault> {
        if let Some(known) = self.faults.iter().find(|known| ***known == *fault) {
            return known.clone();
        }
        if self.faults.len() >= MAX_FAULTS {
            self.faults.remove(0);
        }
        let fault = Arc::new(fault.clone());
        self.faults.push(fault.clone());
        fault
    }

    /// True if one more message may have a key.
    fn take_key(&mut self) -> bool {
        let (most, time) = MAX_KEYS;
        let (since, given) = self.keys.get_or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() > time {
            (*since, *given) = (Instant::now(), 0);
        }
        *given += 1;
        *given <= most
    }
}

/// The part of somebody who has to take a message. Dropped, it was not taken.
#[derive(Debug)]
pub struct Receipt {
    receipts: Arc<Receipts>,
    key: u64,
    id: Arc<str>,
    is_keyed: bool,
    is_done: bool,
}

impl Receipt {
    /// The part of somebody else.
    pub(crate) fn another(&self) -> Receipt {
        if let Some(pending) = self.receipts.state.lock().pending.get_mut(&self.key) {
            pending.missing += 1;
        }
        Receipt { receipts: self.receipts.clone(), id: self.id.clone(), is_done: false, ..*self }
    }

    /// The message's name, which is the same each time that it is sent, on whatever server, and no other message's. It tells nothing
    /// of the session.
    pub(crate) fn message_id(&self) -> String {
        let text = format!("{}.{}", self.receipts.session, self.id);
        URL_SAFE_NO_PAD.encode(&digest(&SHA256, text.as_bytes()).as_ref()[..NAME_BYTES])
    }

    /// The key by which a broker finds a message that it had before. None: the session has had too many.
    pub(crate) fn idempotency_key(&self) -> Option<String> {
        self.is_keyed.then(|| format!("client:{}", self.message_id()))
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
        let body = server_message::reply(&self.id, message)
            .filter(|body| body.as_message().payload().len() <= limit);
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
    struct Client(Mutex<Vec<String>>, u64);

    impl Correspondent for Client {
        fn tell(self: Arc<Self>, body: &Body, _: usize) {
            let Body::Text(text) = body else { panic!("{body:?}") };
            self.0.lock().push(text.clone());
        }

        fn number(&self) -> u64 {
            self.1
        }
    }

    fn connection() -> Arc<Client> {
        Arc::default()
    }

    fn begin(receipts: &Arc<Receipts>, connection: &Arc<Client>, id: &str) -> Receipt {
        match receipts.begin(connection, id.into(), Kind::Send) {
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
        let name = first.message_id();
        assert_eq!((name.len(), &name), (22, &second.message_id()));
        assert!(begin(&Receipts::new("t", 1 << 20), &ada, "1").message_id() != name, "of another session");
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
        let (receipts, ada) = (Receipts::new("s", 1 << 20), connection());
        let back = Arc::new(Client(Mutex::default(), 2));
        let again = |id: &str| assert!(matches!(receipts.begin(&back, id.into(), Kind::Send), Begun::Known));
        let first = begin(&receipts, &ada, "1");
        again("1");
        // Read late of the connection before.
        for id in ["1", "0"] {
            assert!(matches!(receipts.begin(&ada, id.into(), Kind::Send), Begun::Known));
        }
        assert!(told(&ada, || assert_eq!(told(&back, || first.take()), [ACK])).is_empty());
        assert_eq!(told(&back, || again("1")), [ACK]);
        begin(&receipts, &back, "2").refuse("ERR_X", "x");
        let refusal = r#"{"type":"error","code":"ERR_X","message":"x","id":"2"}"#;
        assert_eq!(told(&back, || again("2")), [refusal]);
    }

    #[test]
    fn only_so_many_wait_for_an_answer_and_as_many_are_remembered() {
        let (receipts, ada) = (Receipts::new("s", 1 << 20), connection());
        let waiting: Vec<_> = (0..MAX_UNANSWERED).map(|id| begin(&receipts, &ada, &id.to_string())).collect();
        assert!(matches!(receipts.begin(&ada, "x".into(), Kind::Send), Begun::Full(id) if &*id == "x"));
        let ask = || receipts.begin(&ada, "x".into(), Kind::Question);
        let asked: Vec<_> = (0..MAX_UNANSWERED).map(|_| ask()).collect();
        assert!(matches!(ask(), Begun::Full(_)));
        receipts.leave(ada.number());
        assert!(matches!(ask(), Begun::New(_)), "those of a connection that has left count no more");
        drop(asked);
        waiting.into_iter().for_each(Receipt::take);
        for id in 0..MAX_UNANSWERED {
            assert!(matches!(receipts.begin(&ada, id.to_string().into(), Kind::Send), Begun::Known));
        }
        begin(&receipts, &ada, "x").take();
        begin(&receipts, &ada, "0").take();
    }

    #[test]
    fn a_reply_is_told_once_and_one_that_is_too_large_is_an_error() {
        let (receipts, ada) = (Receipts::new("s", 100), connection());
        let ask = || match receipts.begin(&ada, "1".into(), Kind::Question) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod bounds {
    use super::*;

    #[test]
    fn a_refusal_is_remembered_for_each_message_and_kept_once() {
        let mut state = State::default();
        let fault = |code: &str| Fault { code: code.into(), message: "m".into() };
        (0..100).for_each(|key| state.note(key, Some(&fault("E")).filter(|_| key % 2 == 0)));
        assert_eq!((state.settled.len(), state.faults.len()), (100, 1));
        let refused = state.settled.iter().filter_map(|(_, fault)| fault.as_ref());
        assert!(refused.clone().all(|fault| Arc::ptr_eq(fault, &state.faults[0])));
        assert_eq!(refused.count(), 50);
        (0..1000).for_each(|key| state.note(key, Some(&fault(&key.to_string()))));
        assert_eq!((state.settled.len(), state.faults.len()), (MAX_UNANSWERED, MAX_FAULTS));
    }

    #[test]
    fn a_session_has_so_many_keys_in_some_time() {
        let mut state = State::default();
        assert!((0..MAX_KEYS.0).all(|_| state.take_key()));
        assert!(!state.take_key());
        state.keys.as_mut().unwrap().0 -= MAX_KEYS.1 * 2;
        assert!(state.take_key());
    }
}
