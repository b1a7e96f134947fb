//! The map of a cluster: who has which slot, as a node told it.

use std::sync::Arc;

use codes::error::{Code, Error};
use redis::Value;

use crate::broker::redis::config::{Address, Server};
use crate::broker::redis::router::SubscriptionRouter;
use crate::broker::redis::router::slots::{PARTITIONS, TAGS};
use crate::broker::redis::wire::{Wire, text, unexpected};

/// A node of a cluster, as one of them told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its own name, whoever is asked. Empty if the cluster doesn't say.
    pub(super) id: String,
    pub(super) address: Address,
    /// True if it names no host, so that its own is that of the node that was asked.
    pub(super) borrowed: bool,
}

impl Node {
    /// True if both are the same node, by whatever name.
    fn is(&self, other: &Node) -> bool {
        if self.id.is_empty() || other.id.is_empty() {
            return self.address == other.address;
        }
        self.id == other.id
    }
}

/// True if partitions have another master than they had. Nothing has moved at the first look, before which there were none.
pub(super) fn have_moved(before: &[Option<Node>], now: &[Option<Node>]) -> bool {
    let same = |(before, now): (&Option<Node>, &Option<Node>)| match (before, now) {
        (Some(before), Some(now)) => before.is(now),
        (None, None) => true,
        _ => false,
    };
    !before.iter().zip(now).all(same)
}

/// A cluster, as a node told of it.
#[derive(Debug, Default)]
pub(super) struct Map {
    /// The master of each partition.
    pub(super) masters: Vec<Option<Node>>,
    /// All nodes that serve slots, replicas too.
    pub(super) nodes: Vec<Node>,
}

/// Asks a node who has which slot.
pub(super) async fn ask_for_slots(server: Server, router: Arc<SubscriptionRouter>) -> Result<Map, Error> {
    let command = redis::cmd("CLUSTER").arg("SLOTS").get_packed_command();
    let (mut wire, _) = Wire::connect(&server, &router.config, &router.tls).await?;
    let answer = tokio::time::timeout(router.config.command_timeout, wire.ask(&command, &server)).await;
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
    fn a_slot_moves_to_another_node_and_not_to_another_name_of_it() {
        let node = |id: &str, host: &str| {
            let address = Address::Tcp(host.to_owned(), 7001, false);
            Some(Node { id: id.to_owned(), address, borrowed: false })
        };
        let ada = [node("ada", "10.0.0.1"), None];
        for (before, now, moved) in [
            (&[][..], &ada[..], false),
            (&ada, &ada, false),
            (&ada, &[node("ada", "one.example"), None], false),
            (&ada, &[node("bob", "10.0.0.1"), None], true),
            (&ada, &[node("ada", "10.0.0.1"), node("bob", "10.0.0.2")], true),
            (&ada, &[None, None], true),
            // One that does not say who it is goes by its name.
            (&ada, &[node("", "10.0.0.1"), None], false),
            (&ada, &[node("", "10.0.0.2"), None], true),
        ] {
            assert_eq!(have_moved(before, now), moved, "{before:?} {now:?}");
        }
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
