//! The masters of a cluster, and the links to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use codes::error::{Code, Error};
use tokio::time::Instant;

use super::map::{Map, Node, ask_for_slots, have_moved};
use super::{Finder, Made, TICK, ask_in_turn, make, run};
use crate::broker::redis::config::{Address, Server};
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::router::SubscriptionRouter;
use crate::broker::redis::router::slots::PARTITIONS;
use crate::time_of_day::unix_ms;

/// Between two looks at a cluster in which nothing seems to happen, in which a master is missing, in which publishes wait
/// for a slot to be found, and of which there are new signs.
const CALM: Duration = Duration::from_secs(5);
const AILING: Duration = Duration::from_millis(200);
const BUSY: Duration = Duration::from_millis(50);
const SIGN: Duration = Duration::from_millis(10);
/// The same after an answer that the signs have not changed.
const UNHEEDED: Duration = Duration::from_millis(100);
/// The echo of a lost master: other masters may still hear so long on the cluster's bus of messages that it had handed to
/// its own clients. A link that subscribed there at once would get them twice. No longer than the next look at what ails.
const ECHO: Duration = AILING;

/// The masters of a cluster and the links to them.
pub(super) struct Cluster {
    router: Arc<SubscriptionRouter>,
    links: BTreeMap<Address, Vec<Arc<Link>>>,
    made: usize,
    /// The master of each partition, as last said.
    masters: Vec<Option<Node>>,
}

impl Cluster {
    pub(super) fn new(router: Arc<SubscriptionRouter>) -> Self {
        Cluster { router, links: BTreeMap::new(), made: 0, masters: Vec::new() }
    }

    pub(super) async fn run(mut self) {
        while !self.router.is_closed() {
            let changed = match self.ask_around().await {
                Ok(map) => {
                    let masters = self.recognize(map);
                    let changed = masters != self.masters;
                    let moved = have_moved(&self.masters, &masters);
                    self.apply(&masters);
                    self.masters = masters;
                    if moved {
                        tracing::info!(masters = self.links.len(), "slots moved");
                    }
                    changed
                }
                Err(error) => {
                    self.router.lost_track(error);
                    false
                }
            };
            let looked = Instant::now();
            loop {
                self.router.subscriptions.expire(Instant::now()).await;
                self.router.report_regained();
                self.router.routes.unpark().await;
                let calm = if self.router.links.is_ailing() { AILING } else { CALM };
                let pause = if self.router.routes.is_moving() { BUSY } else { TICK.min(calm) };
                let stale =
                    tokio::time::timeout(pause, self.router.partitions.stale.notified()).await.is_ok();
                if self.router.is_closed() {
                    return;
                }
                if stale || self.router.routes.is_moving() {
                    // Signs come in swarms: a moved slot refuses many publishes. And one that nobody serves goes on refusing.
                    let sign = if changed || self.router.routes.is_moving() { SIGN } else { UNHEEDED };
                    tokio::time::sleep_until(looked + sign).await;
                    break;
                }
                if looked.elapsed() >= calm {
                    break;
                }
            }
        }
    }

    /// The masters, each where the link to it goes already, if it works: another node may call one otherwise, and those
    /// that name no host are where the one is that was asked. A link to such a one has time for an attempt besides, or it would
    /// be made anew with each look, wherever its node is away.
    fn recognize(&self, map: Map) -> Vec<Option<Node>> {
        let attempt = self.router.config.connect_timeout;
        let known = |node: &Node| {
            let before =
                self.masters.iter().flatten().find(|before| before.id == node.id && !node.id.is_empty())?;
            let is_tried = node.borrowed && before.address.port() == node.address.port();
            let works = |link: &Arc<Link>| {
                let health = &link.health;
                health.is_up() || is_tried && (health.is_hopeful() || health.is_down_for_less_than(attempt))
            };
            let stranger = |other: &Node| other.address == before.address && other.id != node.id;
            let links = self.links.get(&before.address)?;
            let stays = links.iter().any(works) && !map.nodes.iter().any(stranger);
            stays.then(|| before.clone())
        };
        let masters = map.masters.iter();
        masters.map(|node| node.as_ref().map(|node| known(node).unwrap_or_else(|| node.clone()))).collect()
    }

    /// Asks servers until one says who has which slot.
    async fn ask_around(&self) -> Result<Map, Error> {
        let mut servers: Vec<Server> = self.links.keys().map(|address| self.server(address)).collect();
        for server in &self.router.config.servers {
            if !self.links.contains_key(&server.address) {
                servers.push(self.router.config.with_login(server));
            }
        }
        // Another one each time: the first may be the one that is out of date.
        let begin = (unix_ms() / 50) as usize % servers.len().max(1);
        servers.rotate_left(begin);
        ask_in_turn(servers, |server| ask_for_slots(server, self.router.clone())).await
    }

    fn server(&self, address: &Address) -> Server {
        // All nodes of a cluster have one login: that of the first URL, or of the options.
        let first = &self.router.config.servers[0];
        let server = Server {
            address: address.clone(),
            username: first.username.clone(),
            password: first.password.clone(),
        };
        self.router.config.with_login(&server)
    }

    /// Brings links and partitions into line with what the cluster says.
    fn apply(&mut self, masters: &[Option<Node>]) {
        if masters.iter().all(Option::is_some) {
            self.router.links.set_trouble(None);
        } else {
            let text = "some slots of the cluster have no master";
            self.router.lost_track(Error::new(Code::BrokerRole, text));
        }
        let mut made = Vec::new();
        for Node { address, .. } in masters.iter().flatten() {
            if !self.links.contains_key(address) {
                let server = self.server(address);
                let links: Vec<Made> = (0..self.router.config.connections)
                    .map(|_| {
                        self.made += 1;
                        make(&self.router, self.made, &server)
                    })
                    .collect();
                self.links.insert(address.clone(), links.iter().map(|(link, _)| link.clone()).collect());
                made.extend(links);
            }
        }
        let mut awaited = Vec::new();
        for (index, master) in masters.iter().enumerate() {
            let links = master.as_ref().and_then(|node| self.links.get(&node.address));
            let link = links.map(|links| links[index % links.len()].clone());
            awaited.extend(self.router.assign(index, link));
        }
        self.links.retain(|address, links| {
            let needed = masters.iter().flatten().any(|master| master.address == *address);
            if !needed {
                links.iter().for_each(|link| link.retire());
            }
            needed
        });
        self.spread_plain();
        made.into_iter().for_each(|made| run(&self.router, made, Finder::Given));
        self.router.report(None);
        if !awaited.is_empty() {
            let router = self.router.clone();
            tokio::spawn(async move {
                for confirmed in awaited {
                    // A link that fails meanwhile tells of the gap when it is back.
                    let _ = confirmed.await;
                }
                router.report_regained();
            });
        }
    }

    /// Any master serves channels without a hash tag: they stay where they are while there is a link that works, so that
    /// nothing comes twice or is missed when slots move.
    fn spread_plain(&self) {
        let links: Vec<&Arc<Link>> = self.links.values().flatten().collect();
        let up: Vec<&Arc<Link>> = links.iter().filter(|link| link.health.is_up()).copied().collect();
        let candidates = if up.is_empty() { &links } else { &up };
        for index in PARTITIONS..2 * PARTITIONS {
            let stays = |link: &Arc<Link>| {
                let alive = link.health.is_up() || link.health.is_down_for_less_than(ECHO);
                !link.is_retired() && (alive || up.is_empty())
            };
            if candidates.is_empty() || self.router.routes.link_of(index).as_ref().is_some_and(stays) {
                continue;
            }
            self.router.assign(index, Some(candidates[index % candidates.len()].clone()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use history::position::Position;

    use super::*;
    use crate::broker::redis::asker::Asker;
    use crate::broker::redis::config::RedisConfig;
    use crate::broker::redis::connection::reply::CommandOutcome;
    use crate::broker::redis::sink::Sink;
    use crate::events::broker_status::BrokerStatus;
    use crate::registry::gathered::Gathered;
    use crate::worker::heartbeat::Heartbeat;
    use crate::worker::limits::Limits;
    use crate::worker::memory::Memory;
    use crate::worker::quota::Quota;
    use crate::worker::thread::WorkerThread;

    /// Nobody listens.
    #[derive(Debug)]
    struct Deaf;

    impl Sink for Deaf {
        fn message(&self, _: &str, _: &[u8], _: Option<Position>, _: &mut Gathered) {}
        fn ignored(&self, _: &str) {}
        fn settle(&self, _: Asker, _: CommandOutcome, _: Option<(&str, &[u8])>) {}
        fn status(&self, _: BrokerStatus) {}
        fn ready(&self, _: Vec<u64>, _: Result<(), Error>) {}
        fn in_use(&self, _: &str) -> bool {
            false
        }
        fn largest(&self) -> usize {
            1
        }
    }

    #[test]
    fn a_master_that_names_no_host_keeps_a_link_that_is_down_for_an_attempt() {
        let mut worker = WorkerThread::start(
            0,
            tracing::Span::none(),
            0,
            Heartbeat::default(),
            Limits::default(),
            Memory::new(usize::MAX),
        )
        .unwrap();
        let config = RedisConfig {
            connect_timeout: Duration::from_secs(3600),
            ..RedisConfig::new(vec![Server::parse("redis://one:7000").unwrap()])
        };
        let router = |config: RedisConfig| {
            let quota = Arc::new(Quota::new(1 << 20));
            let workers = std::slice::from_ref(&worker);
            Arc::new(SubscriptionRouter::new(
                config,
                "app:".into(),
                "node".into(),
                Arc::new(Deaf),
                Arc::default(),
                quota,
                workers,
            ))
        };
        // The node as the node `host` tells of it.
        let node = |host: &str, port, borrowed| Node {
            id: "id".into(),
            address: Address::Tcp(host.into(), port, false),
            borrowed,
        };
        let recognized = |cluster: &Cluster, told: &Node| {
            let map = Map { masters: vec![Some(told.clone())], nodes: vec![told.clone()] };
            cluster.recognize(map).pop().unwrap().unwrap()
        };
        let cluster = |config: RedisConfig| {
            let router = router(config);
            let known = node("one", 7001, true);
            let server = Server { address: known.address.clone(), username: None, password: None };
            let (link, _) = make(&router, 1, &server);
            let links = BTreeMap::from([(known.address.clone(), vec![link.clone()])]);
            (Cluster { router, links, made: 1, masters: vec![Some(known.clone())] }, known, link)
        };
        let away = || Error::new(Code::BrokerConnect, "away");
        let (patient, known, link) = cluster(config.clone());
        let elsewhere = node("two", 7001, true);
        assert_eq!(recognized(&patient, &elsewhere), known, "it is being made");
        patient.router.link_down(&link, away());
        assert_eq!(recognized(&patient, &elsewhere), known, "it has just failed");
        for moved in [node("two", 7002, true), node("two", 7001, false)] {
            assert_eq!(recognized(&patient, &moved), moved);
        }
        patient.router.link_up(&link);
        assert_eq!(recognized(&patient, &node("two", 7001, false)), known);
        // One that has had its time.
        let (hasty, _, link) = cluster(RedisConfig { connect_timeout: Duration::ZERO, ..config });
        hasty.router.link_down(&link, away());
        assert_eq!(recognized(&hasty, &elsewhere), elsewhere);
        worker.stop();
    }
}
