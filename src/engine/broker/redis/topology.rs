//! Where Redis is: one server, the master that Sentinels name, or the masters of a cluster.
//!
//! Which of these it is the servers say themselves, in their answer to `HELLO`. A cluster is asked for its slots
//! (`CLUSTER SLOTS`) at the start, from time to time, and whenever a link sees a sign that they have moved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use codes::error::{Code, Error};
use redis::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::clock;
use super::config::{Address, Server};
use super::hub::{Hub, Place};
use super::link::Link;
use super::sentinel;
use super::slots::{PARTITIONS, TAGS};
use super::wire::{Mode, Wire, text, unexpected};
use crate::engine::time_of_day::unix_ms;

/// Between two attempts to find a server that answers.
const SEARCH: Duration = Duration::from_millis(150);
/// Between two looks at what has expired.
const TICK: Duration = Duration::from_millis(500);
/// Between two looks at a cluster in which nothing seems to happen, in which a master is missing, in which publishes wait
/// for a slot to be found, and of which there are new signs.
const CALM: Duration = Duration::from_secs(5);
const AILING: Duration = Duration::from_millis(200);
const BUSY: Duration = Duration::from_millis(50);
const SIGN: Duration = Duration::from_millis(10);
/// The same after an answer that the signs have not changed.
const UNHEEDED: Duration = Duration::from_millis(100);
/// How long after a master was lost other masters may still hear on the cluster's bus what it had handed to its own
/// clients: who subscribed there at once would get it twice. No longer than the next look at what ails.
const ECHO: Duration = AILING;
/// How long a node is waited for before the next one is asked as well.
const TURN: Duration = Duration::from_millis(100);

/// How a link finds its server, each time it connects.
#[derive(Clone, Copy, Debug)]
pub enum Finder {
    /// The one it was made for.
    Given,
    /// By asking the Sentinels.
    Sentinel,
}

impl Finder {
    /// Where to connect to, and the Sentinels' epoch in which that is so; 0 without Sentinels.
    ///
    /// # Errors
    /// That no Sentinel knows a master.
    pub async fn find(self, given: &Server, hub: &Arc<Hub>) -> Result<(Server, u64), Error> {
        match self {
            Finder::Given => Ok((given.clone(), 0)),
            Finder::Sentinel => sentinel::find_master(hub).await,
        }
    }
}

/// Finds out what there is, makes the links, and looks after them until the hub is closed.
pub async fn supervise(hub: Arc<Hub>) {
    let Some((mode, server)) = discover(&hub).await else { return };
    hub.set_sharded(mode == Mode::Cluster);
    if mode == Mode::Cluster {
        return Cluster { hub, links: BTreeMap::new(), made: 0, masters: Vec::new() }.run().await;
    }
    let finder = if mode == Mode::Sentinel { Finder::Sentinel } else { Finder::Given };
    let made: Vec<Made> = (0..hub.config.connections).map(|number| make(&hub, number, &server)).collect();
    for index in 0..2 * PARTITIONS {
        let (link, _) = &made[index % PARTITIONS % made.len()];
        hub.assign(index, Some(link.clone()));
    }
    made.into_iter().for_each(|made| run(&hub, made, finder));
    if mode == Mode::Sentinel {
        hub.set_agreed(clock::now());
        sentinel::watch(&hub);
    }
    while !hub.is_closed() {
        let _ = tokio::time::timeout(TICK, hub.closing()).await;
        hub.sink.relieved();
        hub.expire(Instant::now()).await;
        hub.report_regained();
    }
}

/// A link that does not run yet, and where it will.
type Made = (Arc<Link>, Place);

/// Makes a link that is to run when all others are made: the first to connect must not look like all.
fn make(hub: &Arc<Hub>, number: usize, server: &Server) -> Made {
    let place = hub.place();
    let link = Link::new(number, server.clone(), &place, hub.budget.clone());
    hub.add_link(link.clone());
    (link, place)
}

fn run(hub: &Arc<Hub>, (link, place): Made, finder: Finder) {
    place.runtime.spawn(link.run(hub.clone(), finder));
}

/// Asks servers in turn until one gives an answer of use, and the next one also while the one before takes its time: one
/// that stands still must not hold up the question.
///
/// # Errors
/// What one of them said.
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

/// Tries the configured servers until one answers. None once the hub is closed.
async fn discover(hub: &Arc<Hub>) -> Option<(Mode, Server)> {
    while !hub.is_closed() {
        let greet = |server| greet(server, hub.clone());
        match ask_in_turn(hub.config.servers.clone(), greet).await {
            Ok(found) => {
                hub.found_track();
                return Some(found);
            }
            Err(error) => hub.lost_track(error),
        }
        hub.expire(Instant::now()).await;
        let _ = tokio::time::timeout(SEARCH, hub.closing()).await;
    }
    None
}

async fn greet(server: Server, hub: Arc<Hub>) -> Result<(Mode, Server), Error> {
    let with_login = hub.config.with_login(&server);
    let mut answer = Wire::connect(&with_login, &hub.config, &hub.tls).await;
    if with_login != server && matches!(&answer, Err(error) if error.kind == Code::BrokerAuth) {
        // The options' login may be the master's, and this a Sentinel with another one.
        answer = Wire::connect(&server, &hub.config, &hub.tls).await;
    }
    let (_, mode) = answer?;
    if mode == Mode::Standalone && hub.config.servers.len() > 1 {
        // Servers of one app would each settle on another one, and never hear of each other.
        let what =
            "of several URLs each has to be a Sentinel or a node of a Redis Cluster, and this is neither";
        return Err(server.error(Code::BrokerRole, what));
    }
    Ok((mode, with_login))
}

/// A node of a cluster, as one of them told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    /// What it calls itself, whoever is asked. Empty if the cluster doesn't say.
    id: String,
    address: Address,
    /// Whether it names no host, so that its own is that of the node that was asked.
    borrowed: bool,
}

/// What a node told of its cluster.
#[derive(Debug, Default)]
struct Map {
    /// The master of each partition.
    masters: Vec<Option<Node>>,
    /// All nodes that serve slots, replicas too.
    nodes: Vec<Node>,
}

/// Asks a node who has which slot.
async fn ask_for_slots(server: Server, hub: Arc<Hub>) -> Result<Map, Error> {
    let command = redis::cmd("CLUSTER").arg("SLOTS").get_packed_command();
    let (mut wire, _) = Wire::connect(&server, &hub.config, &hub.tls).await?;
    let answer = tokio::time::timeout(hub.config.command_timeout, wire.ask(&command, &server)).await;
    let Ok(answer) = answer else {
        return Err(server.error(Code::BrokerTimeout, "no answer"));
    };
    let map = read_slots(&answer?, &server).ok_or_else(|| unexpected(&server, "CLUSTER SLOTS"))?;
    if map.masters.iter().all(Option::is_none) {
        return Err(server.error(Code::BrokerRole, "the cluster has no master for any slot"));
    }
    Ok(map)
}

/// Rows of first slot, last slot, master, replicas.
fn read_slots(slots: &Value, asked: &Server) -> Option<Map> {
    let Value::Array(rows) = slots else { return None };
    let mut map = Map { masters: vec![None; PARTITIONS], nodes: Vec::new() };
    for row in rows {
        let Value::Array(row) = row else { return None };
        let [Value::Int(first), Value::Int(last), nodes @ ..] = &row[..] else { return None };
        let [master, replicas @ ..] = nodes else { return None };
        let master = read_node(master, asked)?;
        for (partition, tag) in TAGS.iter().enumerate() {
            if (*first..=*last).contains(&(tag.slot as i64)) {
                map.masters[partition] = Some(master.clone());
            }
        }
        map.nodes.push(master);
        // Nothing goes to a replica: one that can't be read costs nobody their master.
        map.nodes.extend(replicas.iter().filter_map(|node| read_node(node, asked)));
    }
    Some(map)
}

/// A list of host, port, id, and a list of what else is known of it.
fn read_node(node: &Value, asked: &Server) -> Option<Node> {
    let Value::Array(node) = node else { return None };
    let Some(Value::Int(port)) = node.get(1) else { return None };
    let said = |host: Option<&Value>| {
        host.and_then(text).filter(|host| !matches!(*host, "" | "?")).map(str::to_owned)
    };
    let host = said(node.first()).or_else(|| match node.first().and_then(text) {
        // It has no host name, which it should be called by.
        Some("?") => said(node.get(3).and_then(ip)),
        // It doesn't know its own, or won't tell.
        _ => None,
    });
    let borrowed = host.is_none();
    let host = host.unwrap_or_else(|| match &asked.address {
        Address::Tcp(host, ..) => host.clone(),
        Address::Unix(_) => "127.0.0.1".to_owned(),
    });
    Some(Node {
        id: node.get(2).and_then(text).unwrap_or_default().to_owned(),
        address: Address::Tcp(host, u16::try_from(*port).ok()?, asked.address.is_tls()),
        borrowed,
    })
}

/// The address among what else is known of a node: names and values by turns, or a map.
fn ip(known: &Value) -> Option<&Value> {
    match known {
        Value::Array(list) => {
            list.chunks_exact(2).find(|pair| text(&pair[0]) == Some("ip")).map(|pair| &pair[1])
        }
        Value::Map(map) => map.iter().find(|(name, _)| text(name) == Some("ip")).map(|(_, value)| value),
        _ => None,
    }
}

/// The masters of a cluster and the links to them.
struct Cluster {
    hub: Arc<Hub>,
    links: BTreeMap<Address, Vec<Arc<Link>>>,
    made: usize,
    /// The master of each partition, as last said.
    masters: Vec<Option<Node>>,
}

impl Cluster {
    async fn run(mut self) {
        while !self.hub.is_closed() {
            let changed = match self.ask_around().await {
                Ok(map) => {
                    let masters = self.recognize(map);
                    let changed = masters != self.masters;
                    self.apply(&masters);
                    self.masters = masters;
                    changed
                }
                Err(error) => {
                    self.hub.lost_track(error);
                    false
                }
            };
            let looked = Instant::now();
            loop {
                self.hub.expire(Instant::now()).await;
                self.hub.report_regained();
                self.hub.unpark().await;
                let calm = if self.hub.is_ailing() { AILING } else { CALM };
                let pause = if self.hub.is_moving() { BUSY } else { TICK.min(calm) };
                let stale = tokio::time::timeout(pause, self.hub.stale.notified()).await.is_ok();
                if self.hub.is_closed() {
                    return;
                }
                if stale || self.hub.is_moving() {
                    // Signs come in swarms: a moved slot refuses many publishes. And one that nobody serves goes on refusing.
                    let sign = if changed || self.hub.is_moving() { SIGN } else { UNHEEDED };
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
        let attempt = self.hub.config.connect_timeout;
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
        for server in &self.hub.config.servers {
            if !self.links.contains_key(&server.address) {
                servers.push(self.hub.config.with_login(server));
            }
        }
        // Another one each time: the first may be the one that is out of date.
        let begin = (unix_ms() / 50) as usize % servers.len().max(1);
        servers.rotate_left(begin);
        ask_in_turn(servers, |server| ask_for_slots(server, self.hub.clone())).await
    }

    fn server(&self, address: &Address) -> Server {
        // All nodes of a cluster have one login: that of the first URL, or of the options.
        let first = &self.hub.config.servers[0];
        let server = Server {
            address: address.clone(),
            username: first.username.clone(),
            password: first.password.clone(),
        };
        self.hub.config.with_login(&server)
    }

    /// Brings links and partitions into line with what the cluster says.
    fn apply(&mut self, masters: &[Option<Node>]) {
        if masters.iter().all(Option::is_some) {
            self.hub.found_track();
        } else {
            let text = "some slots of the cluster have no master";
            self.hub.lost_track(Error::new(Code::BrokerRole, text));
        }
        let mut made = Vec::new();
        for Node { address, .. } in masters.iter().flatten() {
            if !self.links.contains_key(address) {
                let server = self.server(address);
                let links: Vec<Made> = (0..self.hub.config.connections)
                    .map(|_| {
                        self.made += 1;
                        make(&self.hub, self.made, &server)
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
            awaited.extend(self.hub.assign(index, link));
        }
        self.links.retain(|address, links| {
            let needed = masters.iter().flatten().any(|master| master.address == *address);
            if !needed {
                links.iter().for_each(|link| link.retire());
            }
            needed
        });
        self.spread_plain();
        made.into_iter().for_each(|made| run(&self.hub, made, Finder::Given));
        self.hub.report(None);
        if !awaited.is_empty() {
            let hub = self.hub.clone();
            tokio::spawn(async move {
                for confirmed in awaited {
                    // A link that fails meanwhile tells of the gap when it is back.
                    let _ = confirmed.await;
                }
                hub.report_regained();
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
            if candidates.is_empty() || self.hub.link_of(index).as_ref().is_some_and(stays) {
                continue;
            }
            self.hub.assign(index, Some(candidates[index % candidates.len()].clone()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::engine::broker::BrokerStatus;
    use crate::engine::broker::budget::Budget;
    use crate::engine::broker::redis::asker::Asker;
    use crate::engine::broker::redis::config::RedisConfig;
    use crate::engine::broker::redis::hub::{Outcome, Sink};
    use crate::engine::gathered::Gathered;
    use crate::engine::heartbeat::Heartbeat;
    use crate::engine::limits::Limits;
    use crate::engine::memory::Memory;
    use crate::engine::worker::Worker;

    /// A node in a row of `CLUSTER SLOTS`.
    fn row(host: Value, known: Vec<Value>) -> Value {
        let node = Value::Array(vec![host, Value::Int(7001), bulk("id"), Value::Array(known)]);
        Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(16_383), node])])
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn a_replica_that_cannot_be_read_costs_no_master() {
        let at = |host: &str, port| Value::Array(vec![bulk(host), Value::Int(port), bulk(host)]);
        let slots = |nodes: [Value; 3]| {
            let row = [Value::Int(0), Value::Int(16_383)].into_iter().chain(nodes).collect();
            Value::Array(vec![Value::Array(row)])
        };
        let asked = Server::parse("redis://h:7000").unwrap();
        let map = read_slots(&slots([at("a", 7001), at("b", 70_000), at("c", 7003)]), &asked).unwrap();
        let ids: Vec<&str> = map.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(ids, ["a", "c"]);
        assert!(map.masters.iter().flatten().all(|master| master.id == "a"));
        assert!(read_slots(&slots([at("a", 70_000), at("b", 7002), at("c", 7003)]), &asked).is_none());
    }

    /// Nobody listens.
    #[derive(Debug)]
    struct Deaf;

    impl Sink for Deaf {
        fn message(&self, _: &str, _: &[u8], _: &mut Gathered) {}
        fn ignored(&self, _: &str) {}
        fn settle(&self, _: Asker, _: Outcome<'_>) {}
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
        let mut worker =
            Worker::start(0, 0, Heartbeat::default(), Limits::default(), Memory::new(usize::MAX)).unwrap();
        let config = RedisConfig {
            connect_timeout: Duration::from_secs(3600),
            ..RedisConfig::new(vec![Server::parse("redis://one:7000").unwrap()])
        };
        let hub = |config: RedisConfig| {
            let budget = Arc::new(Budget::new(1 << 20));
            let workers = std::slice::from_ref(&worker);
            Arc::new(Hub::new(
                config,
                "app:".into(),
                "node".into(),
                Arc::new(Deaf),
                Arc::default(),
                budget,
                workers,
            ))
        };
        // What it is called when the node `host` is asked.
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
            let hub = hub(config);
            let known = node("one", 7001, true);
            let server = Server { address: known.address.clone(), username: None, password: None };
            let (link, _) = make(&hub, 1, &server);
            let links = BTreeMap::from([(known.address.clone(), vec![link.clone()])]);
            (Cluster { hub, links, made: 1, masters: vec![Some(known.clone())] }, known, link)
        };
        let away = || Error::new(Code::BrokerConnect, "away");
        let (patient, known, link) = cluster(config.clone());
        let elsewhere = node("two", 7001, true);
        assert_eq!(recognized(&patient, &elsewhere), known, "it is being made");
        patient.hub.link_down(&link, away());
        assert_eq!(recognized(&patient, &elsewhere), known, "it has just failed");
        for moved in [node("two", 7002, true), node("two", 7001, false)] {
            assert_eq!(recognized(&patient, &moved), moved);
        }
        patient.hub.link_up(&link);
        assert_eq!(recognized(&patient, &node("two", 7001, false)), known);
        // One that has had its time.
        let (hasty, _, link) = cluster(RedisConfig { connect_timeout: Duration::ZERO, ..config });
        hasty.hub.link_down(&link, away());
        assert_eq!(recognized(&hasty, &elsewhere), elsewhere);
        worker.stop();
    }

    #[test]
    fn a_node_that_names_no_host_is_where_the_one_is_that_was_asked() {
        let ip = || vec![bulk("ip"), bulk("10.0.0.7")];
        for (host, known, url, expected) in [
            (bulk("10.0.0.5"), ip(), "redis://h:7000", "10.0.0.5:7001"),
            (bulk(""), vec![], "redis://h:7000", "h:7001"),
            (Value::Nil, ip(), "redis://h:7000", "h:7001"),
            (bulk("?"), vec![], "redis://h:7000", "h:7001"),
            // It should be called by a host name, and has none.
            (bulk("?"), ip(), "redis://h:7000", "10.0.0.7:7001"),
            (bulk("?"), vec![bulk("ip"), bulk("")], "redis://h:7000", "h:7001"),
            (bulk(""), vec![], "unix:///run/redis.sock", "127.0.0.1:7001"),
        ] {
            let map = read_slots(&row(host.clone(), known), &Server::parse(url).unwrap()).unwrap();
            let master = map.masters[0].as_ref().unwrap();
            assert_eq!(
                (master.address.to_string().as_str(), master.id.as_str()),
                (expected, "id"),
                "{host:?} {url}"
            );
        }
    }
}
