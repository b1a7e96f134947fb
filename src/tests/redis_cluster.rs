//! Servers that share a Redis Cluster.

mod calls;
mod faults;
mod history;
mod misbehaviour;

use std::time::Duration;

use super::harness::{Server, eventually};
use super::redis_rig::{MASTERS, RedisCluster, with};
use crate::broker::redis::{Address, RedisConfig, Server as RedisAt};
use crate::events::broker_status::State;
use crate::outcome::{Answer, Delivery, Status};

/// Links are given up well before a node is taken for failed: nobody believes a master that was replaced meanwhile.
fn config(cluster: &RedisCluster) -> RedisConfig {
    RedisConfig { command_timeout: Duration::from_millis(500), ..cluster.config() }
}

fn server_on(cluster: &RedisCluster) -> Server {
    Server::start_up(with(config(cluster)))
}

fn two_servers(cluster: &RedisCluster) -> (Server, Server) {
    (server_on(cluster), server_on(cluster))
}

fn await_up(servers: &[&Server]) {
    eventually("the brokers to be up", || {
        servers.iter().all(|server| server.engine.stats().broker.state == State::Up)
    });
}

#[test]
fn users_on_every_master_are_reached_on_every_server() {
    let cluster = RedisCluster::start();
    let (one, two) = two_servers(&cluster);
    for master in 0..MASTERS {
        let user = RedisCluster::user_on(master, 0);
        let (mut a, mut b) = (one.connect_as(&user), two.connect_as(&user));
        assert_eq!(
            one.tell(&user, "hello"),
            Delivery { status: Status::Published, nodes: Some(2), local: 1, position: None }
        );
        a.expect_text("hello");
        b.expect_text("hello");
        a.text("{\"relayed\":1}");
        a.expect_text("{\"relayed\":1}");
        b.expect_text("{\"relayed\":1}");
    }
    assert_eq!(one.engine.stats().broker.state, State::Up);
}

#[test]
fn ready_means_that_every_master_is_connected() {
    let cluster = RedisCluster::start();
    for _ in 0..10 {
        let server = Server::start(with(config(&cluster)));
        assert_eq!(server.settled(server.engine.ready()), Ok(Answer::Done));
        for master in 0..MASTERS {
            let user = RedisCluster::user_on(master, 0);
            assert_eq!(server.tell(&user, "x").status, Status::Published, "master {master}");
        }
    }
}

#[test]
fn channels_spread_evenly_over_the_masters_and_come_back_without_crossing_slots() {
    const USERS: usize = 1500;
    let cluster = RedisCluster::start();
    let server = server_on(&cluster);
    let clients: Vec<_> = (0..USERS).map(|n| server.connect_as(&format!("user-{n}"))).collect();
    let channels = |node: usize| -> usize {
        let channels: Vec<String> = cluster.nodes[node].ask(&["PUBSUB", "SHARDCHANNELS", "actory:*:user:*"]);
        channels.len()
    };
    for node in 0..MASTERS {
        assert!((USERS / 4..USERS / 2).contains(&channels(node)), "node {node}: {}", channels(node));
        cluster.nodes[node].run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }
    eventually("all to be subscribed again", || (0..MASTERS).map(channels).sum::<usize>() == USERS);
    await_up(&[&server]);
    for node in &cluster.nodes {
        let errors: String = node.ask(&["INFO", "errorstats"]);
        assert!(!errors.contains("CROSSSLOT") && !errors.contains("MOVED"), "{errors}");
    }
    drop(clients);
}

#[test]
fn one_living_node_of_the_list_is_enough_to_find_the_others() {
    let cluster = RedisCluster::start();
    let dead = |port: u16| RedisAt::parse(&format!("redis://127.0.0.1:{port}")).unwrap();
    let mut config = config(&cluster);
    let living = config.servers.remove(1);
    config.servers = vec![dead(1), dead(2), living, dead(3)];
    let server = Server::start(with(config));
    assert_eq!(server.settled(server.engine.ready()), Ok(Answer::Done));
    for master in 0..MASTERS {
        assert_eq!(server.tell(&RedisCluster::user_on(master, 0), "x").status, Status::Published);
    }
}

#[test]
fn nodes_that_name_no_host_keep_their_links_by_whatever_name_one_is_asked() {
    let mut cluster = RedisCluster::of(MASTERS, &["cluster-preferred-endpoint-type unknown-endpoint"]);
    let mut config = config(&cluster);
    if let Address::Tcp(host, ..) = &mut config.servers[0].address {
        *host = "localhost".to_owned();
    }
    let server = Server::start_up(with(config));
    let user = RedisCluster::user_on(0, 0);
    let _client = server.connect_as(&user);
    let links = cluster.links();
    // With each move it asks again, now this node and now that one.
    for turn in 0..8 {
        cluster.migrate(RedisCluster::slot_of(&user), 1 - turn % 2);
        // Refused with a MOVED that names no host either, if it is there before the news is here.
        assert_eq!(server.tell(&user, "x").status, Status::Published);
        cluster.await_subscribers(&user, 1);
        await_up(&[&server]);
    }
    assert_eq!(cluster.links(), links);
    assert_eq!(server.tell(&user, "x").status, Status::Published);
}

#[test]
fn several_links_to_each_master_share_its_partitions() {
    let cluster = RedisCluster::start();
    let server = Server::start_up(with(RedisConfig { connections: 3, ..config(&cluster) }));
    for master in 0..MASTERS {
        for number in 0..20 {
            let user = RedisCluster::user_on(master, number);
            let mut client = server.connect_as(&user);
            assert_eq!(server.tell(&user, "x").nodes, Some(1));
            client.expect_text("x");
        }
        let clients: String = cluster.nodes[master].ask(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        assert_eq!(clients.lines().count(), 3);
    }
}
