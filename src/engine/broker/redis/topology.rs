//! Where Redis is: one server, the master that Sentinels name, or the masters of a cluster.
//!
//! Which of these it is the servers say themselves, in their answer to `HELLO`. A cluster is asked for its slots
//! (`CLUSTER SLOTS`) at the start, from time to time, and whenever a link sees a sign that they have moved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
use crate::engine::error::{Code, Error};
use crate::engine::worker::unix_ms;

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
        let nodes: Vec<Node> = nodes.iter().map(|node| read_node(node, asked)).collect::<Option<_>>()?;
        let master = nodes.first()?;
        for (partition, tag) in TAGS.iter().enumerate() {
            if (*first..=*last).contains(&(tag.slot as i64)) {
                map.masters[partition] = Some(master.clone());
            }
        }
        map.nodes.extend(nodes);
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
    let host = host.unwrap_or_else(|| match &asked.address {
        Address::Tcp(host, ..) => host.clone(),
        Address::Unix(_) => "127.0.0.1".to_owned(),
    });
    Some(Node {
        id: node.get(2).and_then(text).unwrap_or_default().to_owned(),
        address: Address::Tcp(host, u16::try_from(*port).ok()?, asked.address.is_tls()),
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
    /// that name no host are where the one is that was asked.
    fn recognize(&self, map: Map) -> Vec<Option<Node>> {
        let known = |node: &Node| {
            let before =
                self.masters.iter().flatten().find(|before| before.id == node.id && !node.id.is_empty())?;
            let works = |links: &Vec<Arc<Link>>| links.iter().any(|link| link.health.is_up());
            let stranger = |other: &Node| other.address == before.address && other.id != node.id;
            let stays = self.links.get(&before.address).is_some_and(works) && !map.nodes.iter().any(stranger);
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

    /// A node in a row of `CLUSTER SLOTS`.
    fn row(host: Value, known: Vec<Value>) -> Value {
        let node = Value::Array(vec![host, Value::Int(7001), bulk("id"), Value::Array(known)]);
        Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(16_383), node])])
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
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
