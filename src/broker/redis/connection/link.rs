//! A link: the one connection over which a share of the channels is subscribed and published, for ever.
//!
//! The `redis` crate's own connections give up after some tries, and drop what fails on the way; here a link connects,
//! subscribes to everything, serves, and on any doubt begins again. Subscriptions and publishes share one RESP3
//! connection, so Redis' answers and messages come in one order: an answer proves that every message before it has
//! arrived, and what was not wholly written to a connection that is closed is never executed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use codes::error::{Code, Error};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::pipeline::Pipeline;
use super::session::Session;
use crate::broker::redis::clock;
use crate::broker::redis::config::{Address, Server};
use crate::broker::redis::router::health::Health;
use crate::broker::redis::router::{Runner, SubscriptionRouter};
use crate::broker::redis::topology::Finder;
use crate::broker::redis::topology::sentinel::Word;
use crate::broker::redis::wire::Wire;
use crate::worker::quota::Quota;

/// Between two attempts, at least and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(300));

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    /// Tells a server's links apart.
    pub number: usize,
    /// The server it was made for; Sentinels may name another one later.
    pub server: Server,
    /// What is to be written.
    pub pipeline: Pipeline,
    /// See [`Health`].
    pub health: Health,
    /// When it was made.
    pub born: u64,
    /// Where it is connected, or is about to be, in the words by which that was found.
    word: Mutex<Option<Word>>,
    /// Where it last was.
    last_address: Mutex<Option<Address>>,
    retired: AtomicBool,
    changed: Notify,
    supersede: Mutex<Option<(Word, Error)>>,
    superseded: Notify,
}

impl Link {
    /// A link that runs at `runner`, once [`Link::run`] does.
    pub(crate) fn new(number: usize, server: Server, runner: &Runner, quota: Arc<Quota>) -> Arc<Link> {
        Arc::new(Link {
            number,
            server,
            pipeline: Pipeline::new(runner.inbox.clone(), quota),
            health: Health::default(),
            born: clock::now(),
            word: Mutex::default(),
            last_address: Mutex::default(),
            retired: AtomicBool::new(false),
            changed: Notify::new(),
            supersede: Mutex::default(),
            superseded: Notify::new(),
        })
    }

    /// Ends it: its server has no part of the channels any more.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.changed.notify_one();
        self.pipeline.nudge();
    }

    /// See [`Link::retire`].
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Where it is connected, or is about to be, in the words by which that was found.
    pub(crate) fn word(&self) -> Option<Word> {
        self.word.lock().clone()
    }

    /// Ends its connection, if it still is the one that these words have led to, for this reason.
    pub(crate) fn supersede(&self, word: Word, error: Error) {
        *self.supersede.lock() = Some((word, error));
        self.superseded.notify_one();
    }

    async fn superseded(&self) -> Error {
        loop {
            let supersede = self.supersede.lock().take();
            if let Some((_, error)) = supersede.filter(|(word, _)| self.word().as_ref() == Some(word)) {
                return error;
            }
            self.superseded.notified().await;
        }
    }

    /// What was published before this time has arrived, if it was to come over this link.
    pub(crate) fn proven(&self) -> u64 {
        self.health.proven().max(self.born)
    }

    /// Runs until it is retired.
    pub(crate) async fn run(self: Arc<Self>, router: Arc<SubscriptionRouter>, finder: Finder) {
        let mut pause = BACK_OFF.0;
        while !self.is_retired() {
            let begin = Instant::now();
            let mut session = None;
            let error = tokio::select! {
                error = self.attempt(&router, finder, &mut session) => error,
                error = self.superseded() => error,
            };
            *self.word.lock() = None;
            let retired = self.is_retired();
            if !retired {
                tracing::debug!(node = router.node, link = self.number, code = error.code(), "link down");
                router.link_down(&self, error);
                router.stale.notify_one();
            }
            if let Some(session) = session {
                session.give_up().await;
            }
            if retired {
                break;
            }
            if begin.elapsed() > BACK_OFF.1 {
                pause = BACK_OFF.0;
            }
            tokio::select! {
                () = tokio::time::sleep(jitter(pause)) => {}
                () = self.retirement() => {}
            }
            pause = (pause * 2).min(BACK_OFF.1);
        }
        router.remove_link(&self);
        router.report(None);
    }

    async fn retirement(&self) {
        while !self.is_retired() {
            self.changed.notified().await;
        }
    }

    /// Connects and serves. Answers why that is over, and leaves what there was to serve in `session`.
    async fn attempt(
        self: &Arc<Self>,
        router: &Arc<SubscriptionRouter>,
        finder: Finder,
        session: &mut Option<Session>,
    ) -> Error {
        match self.connect(router, finder).await {
            Ok((server, wire)) => {
                let session = session.insert(Session::new(router.clone(), self.clone(), server, wire));
                session.run().await
            }
            Err(error) => error,
        }
    }

    /// Connects, unless it is retired first.
    async fn connect(
        &self,
        router: &Arc<SubscriptionRouter>,
        finder: Finder,
    ) -> Result<(Server, Wire), Error> {
        let connect = async {
            let (server, epoch) = finder.find(&self.server, router).await?;
            *self.word.lock() = Some(Word { epoch, master: server.address.clone() });
            let before = self.last_address.lock().replace(server.address.clone());
            // It may be another name of the same server. Then the gap ends later than it had to.
            if before.is_some_and(|before| before != server.address) {
                tracing::info!(node = router.node, link = self.number, server = %server.address, "Redis moved");
                router.expect_stragglers();
            }
            let (wire, _) = Wire::connect(&server, &router.config, &router.tls).await?;
            Ok((server, wire))
        };
        tokio::select! {
            connected = connect => connected,
            () = self.retirement() => Err(Error::new(Code::BrokerConnect, "no longer needed")),
        }
    }
}

/// Half of it to all of it, so that servers that lost Redis together don't come back together.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0; 1];
    let _ = getrandom::fill(&mut byte);
    pause.mul_f64(0.5 + f64::from(byte[0]) / 512.0)
}
