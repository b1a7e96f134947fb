//! Faults of a cluster, with numbered traffic under each.

use std::cell::RefCell;
use std::time::Duration;

use super::{await_up, config, server_on, two_servers};
use crate::broker::redis::{RedisConfig, Routing};
use crate::events::Event;
use crate::events::broker_status::State;
use crate::outcome::Status;
use crate::tests::harness::{Server, eventually};
use crate::tests::redis_rig::traffic::{Traffic, expect_soon, unix_ms};
use crate::tests::redis_rig::{MASTERS, RedisCluster, traffic, with};

/// The gaps that a server has told of, up to one that ends after this time.
fn gaps(server: &Server, after: u64) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    server.broker("the gap", |status| {
        gaps.extend(status.gap);
        gaps.last().is_some_and(|(_, until)| *until >= after)
    });
    gaps.extend(server.gaps());
    gaps
}

fn expect_true(traffic: &Traffic, one: &Server, two: &Server, since: u64) {
    traffic.expect_true_but_for(&gaps(one, since), &gaps(two, since));
}

#[test]
fn a_killed_master_is_replaced_by_its_replica() {
    let cluster = RefCell::new(RedisCluster::with_replicas());
    let (one, two) = two_servers(&cluster.borrow());
    let (user, bystander) = (RedisCluster::user_on(0, 0), RedisCluster::user_on(1, 0));
    let mut client = two.connect_as(&bystander);
    let mut since = 0;
    let traffic = traffic::during_for(&user, &one, &two, || {
        let mut cluster = cluster.borrow_mut();
        since = unix_ms();
        cluster.nodes[0].kill();
        eventually("it to be noticed", || one.engine.stats().broker.state == State::Degraded);
        // The other masters' users notice nothing.
        assert_eq!(one.tell(&bystander, "meanwhile").nodes, Some(1));
        client.expect_text("meanwhile");
        cluster.await_promotion(0);
        let promoted = unix_ms();
        cluster.await_subscribers(&user, 2);
        await_up(&[&one, &two]);
        expect_soon(promoted);
    });
    expect_true(&traffic, &one, &two, since);
    assert!(traffic.count(Status::Local) > 0 && traffic.count(Status::Published) > 0);
}

#[test]
fn a_commanded_failover_is_followed_and_what_the_replaced_master_said_is_not_believed() {
    let cluster = RefCell::new(RedisCluster::with_replicas());
    let (one, two) = two_servers(&cluster.borrow());
    let user = RedisCluster::user_on(0, 0);
    let mut since = 0;
    let traffic = traffic::during_for(&user, &one, &two, || {
        let mut cluster = cluster.borrow_mut();
        since = unix_ms();
        cluster.fail_over(RedisCluster::slot_of(&user));
        cluster.await_subscribers(&user, 2);
        await_up(&[&one, &two]);
    });
    expect_true(&traffic, &one, &two, since);
    // As a replica it takes publishes and counts nobody: that is not to be taken for "offline everywhere".
    let published = traffic.sent.iter().filter(|sent| sent.delivery.status == Status::Published);
    assert!(published.map(|sent| sent.delivery.nodes).all(|nodes| nodes != Some(0)), "{:?}", traffic.sent);
}

#[test]
fn a_master_that_froze_is_replaced_and_not_believed_when_it_wakes() {
    let cluster = RefCell::new(RedisCluster::with_replicas());
    let (one, two) = two_servers(&cluster.borrow());
    let user = RedisCluster::user_on(0, 0);
    let mut since = 0;
    let mut traffic = traffic::during_for(&user, &one, &two, || {
        let mut cluster = cluster.borrow_mut();
        since = unix_ms();
        cluster.nodes[0].stop();
        eventually("its replica to be promoted", || {
            cluster.nodes[MASTERS].ask::<String>(&["INFO", "replication"]).contains("role:master")
        });
        let promoted = unix_ms();
        eventually("both to be there", || {
            [&one, &two].iter().all(|server| server.engine.stats().broker.state == State::Up)
        });
        expect_soon(promoted);
        cluster.nodes[0].resume();
        cluster.await_promotion(0);
        cluster.await_subscribers(&user, 2);
        await_up(&[&one, &two]);
    });
    traffic.forgive_repeats_of(since);
    expect_true(&traffic, &one, &two, since);
}

#[test]
fn slots_that_migrate_take_their_users_along() {
    let cluster = RefCell::new(RedisCluster::start());
    let (one, two) = two_servers(&cluster.borrow());
    let user = RedisCluster::user_on(0, 0);
    let links = cluster.borrow().links();
    let mut since = 0;
    let traffic = traffic::during_for(&user, &one, &two, || {
        let mut cluster = cluster.borrow_mut();
        for to in [1, 2, 0, 2, 1, 0] {
            since = unix_ms();
            cluster.migrate(RedisCluster::slot_of(&user), to);
            cluster.await_subscribers(&user, 2);
        }
    });
    expect_true(&traffic, &one, &two, since);
    assert_eq!(traffic.count(Status::Published), traffic.sent.len());
    // No link was lost over it.
    assert_eq!(cluster.borrow().links(), links);
}

#[test]
fn a_master_that_loses_all_its_slots_is_left() {
    let cluster = RefCell::new(RedisCluster::start());
    let (one, two) = two_servers(&cluster.borrow());
    let user = RedisCluster::user_on(2, 0);
    let mut since = 0;
    let traffic = traffic::during_for(&user, &one, &two, || {
        let mut cluster = cluster.borrow_mut();
        since = unix_ms();
        cluster.give_away(2, 0);
        cluster.await_subscribers(&user, 2);
        eventually("nobody to be connected there", || {
            let clients: String = cluster.nodes[2].ask(&["CLIENT", "LIST", "TYPE", "pubsub"]);
            clients.is_empty()
        });
        await_up(&[&one, &two]);
    });
    expect_true(&traffic, &one, &two, since);
    assert_eq!(traffic.count(Status::Published), traffic.sent.len());
}

#[test]
fn all_masters_may_die_and_come_back() {
    let cluster = RefCell::new(RedisCluster::start());
    let (one, two) = two_servers(&cluster.borrow());
    let user = RedisCluster::user_on(1, 0);
    let mut since = 0;
    let traffic = traffic::during_for(&user, &one, &two, || {
        let mut cluster = cluster.borrow_mut();
        since = unix_ms();
        cluster.nodes.iter_mut().for_each(|node| node.kill());
        for server in [&one, &two] {
            let down = server.broker("it to be down", |status| status.state == State::Down);
            assert!(down.error.is_some());
        }
        assert_eq!(one.tell("nobody", "x").status, Status::Local);
        cluster.nodes.iter_mut().for_each(|node| node.restart());
        let back = unix_ms();
        await_up(&[&one, &two]);
        expect_soon(back);
    });
    expect_true(&traffic, &one, &two, since);
}

#[test]
fn a_slot_that_nobody_serves_harms_no_other() {
    let cluster = RedisCluster::start();
    let server = server_on(&cluster);
    let user = RedisCluster::user_on(0, 0);
    let slot = RedisCluster::slot_of(&user);
    let bystander = (0..)
        .map(|number| RedisCluster::user_on(0, number))
        .find(|user| RedisCluster::slot_of(user) != slot)
        .unwrap();
    let (mut client, mut other) = (server.connect_as(&user), server.connect_as(&bystander));
    let links = cluster.links();
    for node in &cluster.nodes {
        node.run(&["CLUSTER", "DELSLOTS", &slot.to_string()]);
    }
    eventually("it to be noticed", || server.engine.stats().broker.state == State::Degraded);
    assert_eq!(server.engine.stats().broker.code, Some("ERR_BROKER_ROLE"));
    assert_eq!(server.tell(&user, "local").status, Status::Local);
    client.expect_text("local");
    assert_eq!(server.tell(&bystander, "x").status, Status::Published);
    other.expect_text("x");
    cluster.nodes[0].run(&["CLUSTER", "ADDSLOTS", &slot.to_string()]);
    await_up(&[&server]);
    assert_eq!(server.tell(&user, "served").nodes, Some(1));
    client.expect_text("served");
    assert_eq!(cluster.links(), links);
}

#[test]
fn the_shared_channel_crosses_a_cluster_and_does_not_move_with_its_slots() {
    let cluster = RefCell::new(RedisCluster::start());
    let shared = || {
        let config = RedisConfig { routing: Routing::Shared, ..config(&cluster.borrow()) };
        Server::start_up(with(config))
    };
    let (one, two) = (shared(), shared());
    let traffic = traffic::during_for("ada", &one, &two, || {
        let mut cluster = cluster.borrow_mut();
        // The guide's servers publish so, on any node.
        for node in 0..MASTERS {
            let mut bob = two.connect_as("bob");
            cluster.nodes[node].run(&["PUBLISH", "actory:messages", r#"{"userId":"bob","data":{"n":1}}"#]);
            bob.expect_text(r#"{"n":1}"#);
        }
        // The slot that its name would have.
        cluster.migrate(RedisCluster::slot_of("messages"), 0);
        cluster.migrate(RedisCluster::slot_of("messages"), 1);
        cluster.migrate(RedisCluster::slot_of("messages"), 2);
    });
    traffic.expect_untouched();
}

#[test]
fn the_shared_channel_survives_the_master_that_it_is_subscribed_on() {
    let cluster = RefCell::new(RedisCluster::with_replicas());
    let shared = || {
        let config = RedisConfig { routing: Routing::Shared, ..config(&cluster.borrow()) };
        Server::start_up(with(config))
    };
    let (one, two) = (shared(), shared());
    let mut since = 0;
    let traffic = traffic::during_for("ada", &one, &two, || {
        let mut cluster = cluster.borrow_mut();
        let serves = |node: &usize| cluster.nodes[*node].subscribers("actory:messages") > 0;
        let node = (0..MASTERS).find(serves).unwrap();
        since = unix_ms();
        cluster.nodes[node].kill();
        let living: Vec<usize> = (0..MASTERS).filter(|other| *other != node).collect();
        eventually("both to be subscribed elsewhere", || {
            living.iter().map(|node| cluster.nodes[*node].subscribers("actory:messages")).sum::<u64>() == 2
        });
        expect_soon(since);
        cluster.await_promotion(node);
        await_up(&[&one, &two]);
    });
    expect_true(&traffic, &one, &two, since);
}

#[test]
fn any_faults_in_any_order_leave_nothing_unaccounted_for() {
    let cluster = RefCell::new(RedisCluster::with_replicas());
    let start = || {
        let config = RedisConfig { connections: 2, ..config(&cluster.borrow()) };
        Server::start_up(with(config))
    };
    let (one, two) = (start(), start());
    let user = RedisCluster::user_on(0, 0);
    let slot = RedisCluster::slot_of(&user);
    let mut since = 0;
    let traffic = traffic::during_for(&user, &one, &two, || {
        let mut cluster = cluster.borrow_mut();
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        // For whoever has to find out what went wrong.
        println!("faults: {random:?}");
        for byte in random {
            let some = usize::from(byte >> 3);
            let while_it_lasts = Duration::from_millis(some as u64 * 7);
            since = unix_ms();
            let owner = cluster.await_owner(slot);
            match byte % 8 {
                0..=2 => {
                    let others: Vec<_> =
                        cluster.masters().into_iter().filter(|node| *node != owner).collect();
                    cluster.migrate(slot, others[some % others.len()]);
                }
                3 => cluster.nodes[owner].run(&["CLIENT", "KILL", "TYPE", "pubsub"]),
                4 => cluster.fail_over(slot),
                5 => {
                    cluster.await_replica(owner);
                    cluster.nodes[owner].kill();
                    eventually("a replica to be promoted", || {
                        cluster.owner(slot).is_some_and(|node| node != owner)
                    });
                    cluster.nodes[owner].restart();
                }
                6 => {
                    cluster.nodes[owner].stop();
                    std::thread::park_timeout(while_it_lasts);
                    cluster.nodes[owner].resume();
                }
                _ => cluster.nodes[owner].run(&[
                    "CLIENT",
                    "PAUSE",
                    &while_it_lasts.as_millis().to_string(),
                    "ALL",
                ]),
            }
        }
        cluster.await_subscribers(&user, 2);
        await_up(&[&one, &two]);
    });
    // The last word comes after half a second.
    let gaps = [&one, &two].map(|server| {
        let mut gaps = Vec::new();
        while let Some(more) = server.event_within(Duration::from_millis(700), |event| match event {
            Event::Broker(status) => Some(status.gap),
            _ => None,
        }) {
            gaps.extend(more);
        }
        gaps
    });
    traffic.expect_true_but_for(&gaps[0], &gaps[1]);
}
