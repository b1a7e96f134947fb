//! The topology of Redis: one server, the master that Sentinels name, or the masters of a cluster.
//!
//! Which of these it is the servers say themselves, in their answer to `HELLO`. A cluster is asked for its slots
//! (`CLUSTER SLOTS`) at the start, from time to time, and whenever a link sees a sign that they have moved.

mod cluster;
mod map;
pub(crate) mod sentinel;

use std::sync::Arc;
use std::time::Duration;

use codes::error::{Code, Error};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::broker::redis::clock;
use crate::broker::redis::config::Server;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::connection::reconnect;
use crate::broker::redis::router::SubscriptionRouter;
use crate::broker::redis::router::slots::PARTITIONS;
use crate::broker::redis::wire::{Mode, Wire};
use crate::worker::inbox::Inbox;

use cluster::Cluster;

/// Between two attempts to find a server that answers.
const SEARCH: Duration = Duration::from_millis(150);
/// Between two looks at what has expired.
const TICK: Duration = Duration::from_millis(500);
/// Longest wait for a node before the next one is asked as well.
const TURN: Duration = Duration::from_millis(100);

/// The way in which a link finds its server, each time it connects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finder {
    /// The one it was made for.
    Given,
    /// By asking the Sentinels.
    Sentinel,
}

impl Finder {
    /// The server to use, and the Sentinels' epoch in which that is so; 0 without Sentinels.
    ///
    /// # Errors
    /// That no Sentinel knows a master.
    pub(crate) async fn find(
        self,
        given: &Server,
        router: &Arc<SubscriptionRouter>,
    ) -> Result<(Server, u64), Error> {
        match self {
            Finder::Given => Ok((given.clone(), 0)),
            Finder::Sentinel => sentinel::find_master(router).await,
        }
    }
}

/// Finds out what there is, makes the links, and looks after them until the router is closed.
pub(crate) async fn supervise(router: Arc<SubscriptionRouter>) {
    let Some((mode, server)) = discover(&router).await else { return };
    tracing::info!(?mode, server = %server.address, "Redis found");
    router.partitions.set_sharded(mode == Mode::Cluster);
    if mode == Mode::Cluster {
        return Cluster::new(router).run().await;
    }
    let finder = if mode == Mode::Sentinel { Finder::Sentinel } else { Finder::Given };
    let made: Vec<Made> =
        (0..router.config.connections).map(|number| make(&router, number, &server)).collect();
    for index in 0..2 * PARTITIONS {
        let (link, _) = &made[index % PARTITIONS % made.len()];
        router.assign(index, Some(link.clone()));
    }
    made.into_iter().for_each(|made| run(&router, made, finder));
    if mode == Mode::Sentinel {
        router.subscriptions.set_agreed(clock::now());
        sentinel::watch(&router);
    }
    while !router.is_closed() {
        let _ = tokio::time::timeout(TICK, router.closing()).await;
        router.sink.relieved();
        router.subscriptions.expire(Instant::now()).await;
        if router.routes.has_parked() {
            router.routes.unpark().await;
        }
        router.report_regained();
    }
}

/// A link that does not run yet, and where it will.
type Made = (Arc<Link>, Arc<Inbox>);

/// Makes a link that is to run when all others are made: the first to connect must not look like all.
fn make(router: &Arc<SubscriptionRouter>, number: usize, server: &Server) -> Made {
    let worker = router.next_worker().clone();
    let link = Link::new(number, server.clone(), worker.clone(), router.routes.quota.clone());
    router.links.add(link.clone());
    (link, worker)
}

fn run(router: &Arc<SubscriptionRouter>, (link, worker): Made, finder: Finder) {
    worker.spawn(reconnect::run(link, router.clone(), finder));
}

/// Asks servers in turn until one gives an answer of use, and the next one also while the one before takes its time: one
/// that stands still must not hold up the question.
///
/// # Errors
/// The error of one of them.
async fn ask_in_turn<T, F>(servers: Vec<Server>, ask: impl Fn(Server) -> F) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let mut trouble = Error::new(Code::BrokerConnect, "no server to ask");
    let mut servers = servers.into_iter();
    let mut asked = JoinSet::new();
    loop {
        let patience = match servers.next() {
            Some(server) => {
                asked.spawn(ask(server));
                TURN
            }
            None if asked.is_empty() => return Err(trouble),
            None => Duration::MAX,
        };
        match tokio::time::timeout(patience, asked.join_next()).await {
            Ok(Some(Ok(Ok(answer)))) => return Ok(answer),
            // That one can't be reached says less than what another one said.
            Ok(Some(Ok(Err(error)))) if trouble.kind == Code::BrokerConnect => trouble = error,
            _ => {}
        }
    }
}

/// Tries the configured servers until one answers. None once the router is closed.
async fn discover(router: &Arc<SubscriptionRouter>) -> Option<(Mode, Server)> {
    while !router.is_closed() {
        let greet = |server| greet(server, router.clone());
        match ask_in_turn(router.config.servers.clone(), greet).await {
            Ok(found) => {
                router.links.set_trouble(None);
                return Some(found);
            }
            Err(error) => router.lost_track(error),
        }
        router.subscriptions.expire(Instant::now()).await;
        let _ = tokio::time::timeout(SEARCH, router.closing()).await;
    }
    None
}

async fn greet(server: Server, router: Arc<SubscriptionRouter>) -> Result<(Mode, Server), Error> {
    let with_login = router.config.with_login(&server);
    let mut answer = Wire::connect(&with_login, &router.config, &router.tls).await;
    if with_login != server && matches!(&answer, Err(error) if error.kind == Code::BrokerAuth) {
        // The options' login may be the master's, and this a Sentinel with another one.
        answer = Wire::connect(&server, &router.config, &router.tls).await;
    }
    let (_, mode) = answer?;
    if mode == Mode::Standalone && router.config.servers.len() > 1 {
        // Servers of one app would each settle on another one, and never hear of each other.
        let what =
            "of several URLs each has to be a Sentinel or a node of a Redis Cluster, and this is neither";
        return Err(server.error(Code::BrokerRole, what));
    }
    Ok((mode, with_login))
}
