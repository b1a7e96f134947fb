//! A Redis Cluster of a test's own: three masters, with a replica each where a test fails over.
//!
//! The nodes start with the finished layout in their `nodes.conf`, so that no test waits for them to meet.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use redis::Value;
use socket2::Socket;

use super::server::{RedisServer, private_dir, reserve_port};
use crate::broker::redis::router::slots::{SLOTS, TAGS, partition_of};
use crate::broker::redis::{RedisConfig, Server as RedisAt};
use crate::tests::harness::eventually;

/// Masters.
pub(crate) const MASTERS: usize = 3;
/// A node that answers nothing for so long has failed, in milliseconds.
pub(super) const NODE_TIMEOUT_MS: u64 = 1000;

/// See the module.
pub(crate) struct RedisCluster {
    /// The masters that it began with, then their replicas in the same order.
    pub nodes: Vec<RedisServer>,
    ids: Vec<String>,
    /// Keeps the ports of the cluster's bus ours.
    _buses: Vec<Socket>,
}

impl RedisCluster {
    /// Three masters, each with a third of the slots.
    pub(crate) fn start() -> RedisCluster {
        RedisCluster::of(MASTERS, &[])
    }

    /// Three masters, and a replica of each.
    pub(crate) fn with_replicas() -> RedisCluster {
        RedisCluster::of(2 * MASTERS, &[])
    }

    /// So many nodes, with these lines in the configuration of each.
    pub(crate) fn of(nodes: usize, lines: &[&str]) -> RedisCluster {
        let ids: Vec<String> = (1..=nodes).map(|n| format!("{n:040x}")).collect();
        let mut ports: Vec<_> = (0..nodes).map(|_| (reserve_port(), reserve_port())).collect();
        let addresses: Vec<_> = ports.iter().map(|(port, bus)| (port.1, bus.1)).collect();
        let mut cluster = RedisCluster { nodes: Vec::new(), ids, _buses: Vec::new() };
        for (index, (port, bus)) in ports.drain(..).enumerate() {
            let dir = private_dir();
            fs::write(dir.join("nodes.conf"), cluster.layout(&addresses, index)).unwrap();
            let own = [
                "cluster-enabled yes".to_owned(),
                "cluster-config-file nodes.conf".to_owned(),
                format!("cluster-port {}", bus.1),
                format!("cluster-node-timeout {NODE_TIMEOUT_MS}"),
                "cluster-replica-validity-factor 0".to_owned(),
                "cluster-allow-replica-migration no".to_owned(),
                "repl-diskless-sync-delay 0".to_owned(),
            ];
            let lines: Vec<&str> = own.iter().map(String::as_str).chain(lines.iter().copied()).collect();
            cluster.nodes.push(RedisServer::on_port(port, dir, &lines));
            cluster._buses.push(bus.0);
        }
        cluster.await_formed();
        cluster
    }

    /// The layout that node `me` starts with.
    fn layout(&self, addresses: &[(u16, u16)], me: usize) -> String {
        let mut layout = String::new();
        for (index, (port, bus)) in addresses.iter().enumerate() {
            let myself = if index == me { "myself," } else { "" };
            let (role, slots) = if index < MASTERS {
                let (first, end) = (index * SLOTS / MASTERS, (index + 1) * SLOTS / MASTERS);
                ("master -".to_owned(), format!(" {first}-{}", end - 1))
            } else {
                (format!("slave {}", self.ids[index - MASTERS]), String::new())
            };
            let epoch = index % MASTERS + 1;
            let id = &self.ids[index];
            writeln!(layout, "{id} 127.0.0.1:{port}@{bus} {myself}{role} 0 0 {epoch} connected{slots}")
                .unwrap();
        }
        writeln!(layout, "vars currentEpoch {MASTERS} lastVoteEpoch 0").unwrap();
        layout
    }

    /// Waits until all nodes have heard from each other, and replicas have their master's data.
    fn await_formed(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            eventually("the nodes of the cluster to meet", || {
                let nodes: String = node.ask(&["CLUSTER", "NODES"]);
                let heard = |line: &str| line.contains("myself") || line.split(' ').nth(5) != Some("0");
                nodes.lines().all(heard)
            });
            if index >= MASTERS {
                eventually("a replica to have its master's data", || {
                    node.ask::<String>(&["INFO", "replication"]).contains("master_link_status:up")
                });
            }
        }
    }

    /// A configuration with the URLs of the masters that it began with.
    pub(crate) fn config(&self) -> RedisConfig {
        let servers = self.nodes[..MASTERS].iter().map(|node| RedisAt::parse(&node.url()).unwrap());
        RedisConfig::new(servers.collect())
    }

    /// The slot of a user's channel.
    pub(crate) fn slot_of(user: &str) -> usize {
        TAGS[partition_of(user)].slot
    }

    /// A user whose channel is on the master that began as number `master`. Others get other users.
    pub(crate) fn user_on(master: usize, number: usize) -> String {
        let mut users = (0..).map(|n| format!("user-{n}"));
        users
            .by_ref()
            .filter(|user| RedisCluster::slot_of(user) * MASTERS / SLOTS == master)
            .nth(number)
            .unwrap()
    }

    /// The subscribers at each master that it began with: the numbers of their connections.
    pub(crate) fn links(&self) -> Vec<Vec<String>> {
        let of = |node: &RedisServer| {
            let clients: String = node.ask(&["CLIENT", "LIST", "TYPE", "pubsub"]);
            clients.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
        };
        self.nodes[..MASTERS].iter().map(of).collect()
    }

    /// The node that serves a slot, as the nodes that live say it.
    pub(crate) fn owner(&mut self, slot: usize) -> Option<usize> {
        let alive: Vec<usize> = (0..self.nodes.len()).filter(|index| self.nodes[*index].is_alive()).collect();
        let says = |index: &usize| -> Option<u16> {
            let rows: Vec<Vec<Value>> = self.nodes[*index].ask(&["CLUSTER", "SLOTS"]);
            rows.iter().find_map(|row| match (&row[0], &row[1], &row[2]) {
                (Value::Int(first), Value::Int(last), Value::Array(node))
                    if (*first..=*last).contains(&(slot as i64)) =>
                {
                    redis::from_redis_value::<u16>(node[1].clone()).ok()
                }
                _ => None,
            })
        };
        let mut answers: Vec<Option<u16>> = alive.iter().map(says).collect();
        answers.dedup();
        let [Some(port)] = answers[..] else { return None };
        self.nodes.iter().position(|node| node.address().port() == port)
    }

    /// The same, once they agree.
    pub(crate) fn await_owner(&mut self, slot: usize) -> usize {
        let mut owner = None;
        eventually("the nodes to agree whose the slot is", || {
            owner = self.owner(slot);
            owner.is_some()
        });
        owner.unwrap()
    }

    fn info(&self, node: usize) -> String {
        self.nodes[node].try_ask(&["INFO", "replication"]).unwrap_or_default()
    }

    /// The nodes that are masters.
    pub(crate) fn masters(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.info(*node).contains("role:master")).collect()
    }

    /// The replica of a node, once it has its data.
    pub(crate) fn await_replica(&self, master: usize) -> usize {
        let port = format!("master_port:{}\r", self.nodes[master].address().port());
        let mut replica = None;
        eventually("the master to have a replica", || {
            replica = (0..self.nodes.len()).find(|node| {
                let info = self.info(*node);
                info.contains(&port) && info.contains("master_link_status:up")
            });
            replica.is_some()
        });
        replica.unwrap()
    }

    /// Waits until so many servers of ours are subscribed to a user's channel, on the node that serves it.
    pub(crate) fn await_subscribers(&mut self, user: &str, servers: usize) {
        let slot = RedisCluster::slot_of(user);
        let pattern = format!("actory:*:user:{user}");
        eventually("the servers to subscribe", || {
            let Some(owner) = self.owner(slot) else { return false };
            let channels: Vec<String> = self.nodes[owner].ask(&["PUBSUB", "SHARDCHANNELS", &pattern]);
            channels.first().is_some_and(|channel| {
                self.nodes[owner].ask::<(String, usize)>(&["PUBSUB", "SHARDNUMSUB", channel]).1 == servers
            })
        });
    }

    /// Moves a slot to another master, as `redis-cli --cluster reshard` does: the new owner is told first.
    pub(crate) fn migrate(&mut self, slot: usize, to: usize) {
        let from = self.await_owner(slot);
        let slot = slot.to_string();
        let set = |node: usize, what: &[&str]| {
            self.nodes[node].run(&[&["CLUSTER", "SETSLOT", &slot], what].concat());
        };
        set(to, &["IMPORTING", &self.ids[from]]);
        set(from, &["MIGRATING", &self.ids[to]]);
        set(to, &["NODE", &self.ids[to]]);
        set(from, &["NODE", &self.ids[to]]);
    }

    /// The same with the slot's keys, as long as there are any: then the slot changes hands.
    pub(crate) fn migrate_with_keys(&mut self, slot: usize, to: usize) {
        let from = self.await_owner(slot);
        let port = self.nodes[to].address().port().to_string();
        let number = slot.to_string();
        let set = |node: usize, what: &[&str]| {
            self.nodes[node].run(&[&["CLUSTER", "SETSLOT", &number], what].concat());
        };
        set(to, &["IMPORTING", &self.ids[from]]);
        set(from, &["MIGRATING", &self.ids[to]]);
        loop {
            let keys: Vec<String> = self.nodes[from].ask(&["CLUSTER", "GETKEYSINSLOT", &number, "10"]);
            if keys.is_empty() {
                break;
            }
            let head = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "REPLACE", "KEYS"];
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            self.nodes[from].run(&[&head[..], &keys].concat());
        }
        set(to, &["NODE", &self.ids[to]]);
        set(from, &["NODE", &self.ids[to]]);
    }

    /// Moves all slots of a master to another one.
    pub(crate) fn give_away(&mut self, from: usize, to: usize) {
        let id = self.ids[to].clone();
        // The claim with the larger epoch counts. With a smaller one, a third node that has not heard of the change yet tells the new
        // owner that it owns nothing, and the nodes disagree for ever.
        self.nodes[to].run(&["CLUSTER", "BUMPEPOCH"]);
        for slot in from * SLOTS / MASTERS..(from + 1) * SLOTS / MASTERS {
            for node in [to, from] {
                self.nodes[node].run(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id]);
            }
        }
    }

    /// Makes the replica of a slot's master the master, while both live.
    pub(crate) fn fail_over(&mut self, slot: usize) {
        let replica = {
            let master = self.await_owner(slot);
            self.await_replica(master)
        };
        let mut asked: Option<Instant> = None;
        eventually("the replica to be promoted", || {
            // A master that has just come may overhear it; after five seconds the replica gives up.
            if asked.is_none_or(|at| at.elapsed() > Duration::from_secs(6)) {
                self.nodes[replica].run(&["CLUSTER", "FAILOVER"]);
                asked = Some(Instant::now());
            }
            self.owner(slot) == Some(replica)
        });
    }

    /// Waits until the replica of a master is the master.
    pub(crate) fn await_promotion(&mut self, master: usize) {
        eventually("the replica to be promoted", || {
            self.owner(master * SLOTS / MASTERS) == Some(master + MASTERS)
        });
    }
}
