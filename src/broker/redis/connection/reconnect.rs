//! A link: the one connection over which a share of the channels is subscribed and published, for ever.
//!
//! The `redis` crate's own connections give up after some tries, and drop what fails on the way; here a link connects,
//! subscribes to everything, serves, and on any doubt begins again. Subscriptions and publishes share one RESP3
//! connection, so Redis' answers and messages come in one order: an answer proves that every message before it has
//! arrived, and Redis never executes a command that was not wholly written before its connection closed.

use std::sync::Arc;
use std::time::Duration;

use codes::error::{Code, Error, shorten};
use tokio::time::Instant;

use super::link::{Link, Word};
use super::script::{self, MasterLife};
use super::session::Session;
use crate::broker::redis::config::Server;
use crate::broker::redis::router::SubscriptionRouter;
use crate::broker::redis::topology::Finder;
use crate::broker::redis::wire::Wire;

/// Between two attempts, at least and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(300));

/// Runs a link until it is retired.
pub(crate) async fn run(link: Arc<Link>, router: Arc<SubscriptionRouter>, finder: Finder) {
    let mut pause = BACK_OFF.0;
    while !link.is_retired() {
        let begin = Instant::now();
        let mut session = None;
        let attempt = async {
            match connect(&link, &router, finder).await {
                Ok((server, wire, life)) => {
                    session.insert(Session::new(router.clone(), link.clone(), server, wire, life)).run().await
                }
                Err(error) => error,
            }
        };
        let error = tokio::select! {
            error = attempt => error,
            error = link.superseded() => error,
        };
        *link.word.lock() = None;
        let retired = link.is_retired();
        if !retired {
            let reason = || shorten(&error.message, 200);
            tracing::debug!(link = link.number, code = error.code(), reason = reason(), "link down");
            router.link_down(&link, error);
            router.partitions.stale.notify_one();
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
            () = link.retirement() => {}
        }
        pause = (pause * 2).min(BACK_OFF.1);
    }
    router.links.remove(&link);
    router.report(None);
}

/// Connects, unless it is retired first.
async fn connect(
    link: &Link,
    router: &Arc<SubscriptionRouter>,
    finder: Finder,
) -> Result<(Server, Wire, Option<MasterLife>), Error> {
    let connect = async {
        let (server, epoch) = finder.find(&link.server, router).await?;
        *link.word.lock() = Some(Word { epoch, master: server.address.clone() });
        let before = link.last_address.lock().replace(server.address.clone());
        // It may be another name of the same server. Then the gap ends later than it had to.
        if before.is_some_and(|before| before != server.address) {
            let server = &server.address;
            tracing::debug!(link = link.number, %server, "server named anew");
            router.subscriptions.expect_stragglers();
        }
        let (mut wire, _) = Wire::connect(&server, &router.config, &router.tls).await?;
        let life = match router.subscriptions.has_histories() {
            true => Some(prepare_histories(&mut wire, &server, router).await?),
            false => None,
        };
        Ok((server, wire, life))
    };
    tokio::select! {
        connected = connect => connected,
        () = link.retirement() => Err(Error::new(Code::BrokerConnect, "no longer needed")),
    }
}

/// Loads the scripts, and asks for the master's term. Both belong to a server's life: nothing of them outlasts the connection.
async fn prepare_histories(
    wire: &mut Wire,
    server: &Server,
    router: &SubscriptionRouter,
) -> Result<MasterLife, Error> {
    for text in script::texts(router.partitions.is_sharded()) {
        let mut load = Vec::new();
        script::load(&mut load, text);
        wire.ask(&load, server).await?;
    }
    let mut questions = [Vec::new(), Vec::new()];
    script::ask_run(&mut questions[0]);
    script::ask_term(&mut questions[1]);
    let run = script::run(&wire.ask(&questions[0], server).await?);
    let info = wire.ask(&questions[1], server).await?;
    let term = script::term(&info, run).map_err(|why| server.error(Code::BrokerRole, why))?;
    Ok(MasterLife { term, run })
}

/// Half of it to all of it, so that servers that lost Redis together don't come back together.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0; 1];
    let _ = getrandom::fill(&mut byte);
    pause.mul_f64(0.5 + f64::from(byte[0]) / 512.0)
}
