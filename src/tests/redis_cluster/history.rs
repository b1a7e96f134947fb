//! Histories in a cluster, whose slots move and whose masters are replaced.

use std::cell::RefCell;

use history::follower::Missed;
use history::meta::Reason;

use super::{await_up, config};
use crate::outcome::Status;
use crate::tests::harness::{Server, eventually};
use crate::tests::redis_rig::kept::{await_kept, keeping, misses};
use crate::tests::redis_rig::traffic::Traffic;
use crate::tests::redis_rig::{MASTERS, RedisCluster, traffic};

/// Sends messages for a user on the first master while something happens to the cluster.
fn during(cluster: RedisCluster, fault: impl Fn(&mut RedisCluster, &str)) -> (Traffic, [Vec<Missed>; 2]) {
    let cluster = RefCell::new(cluster);
    let start = || Server::start_up(keeping(config(&cluster.borrow())));
    let (one, two) = (start(), start());
    let user = RedisCluster::user_on(0, 0);
    let traffic = traffic::during_for(&user, &one, &two, || {
        let mut cluster = cluster.borrow_mut();
        // The replica, if there is one.
        await_kept(cluster.nodes.get(MASTERS).unwrap_or(&cluster.nodes[0]));
        fault(&mut cluster, &user);
        cluster.await_subscribers(&user, 2);
        await_up(&[&one, &two]);
    });
    let missed = [&one, &two].map(misses);
    traffic.expect_kept(&missed[0], &missed[1]);
    (traffic, missed)
}

fn expect_only(reason: Reason, missed: &[Vec<Missed>; 2]) {
    assert!(missed.iter().flatten().all(|missed| missed.reason == reason), "{missed:?}");
}

#[test]
fn what_is_published_while_a_slot_moves_with_its_keys_arrives_once_and_in_order() {
    let (traffic, missed) = during(RedisCluster::start(), |cluster, user| {
        for to in [1, 2, 0, 2, 1, 0] {
            cluster.migrate_with_keys(RedisCluster::slot_of(user), to);
            cluster.await_subscribers(user, 2);
        }
    });
    assert_eq!(traffic.count(Status::Published), traffic.sent.len());
    // Another master gives places: nobody can know that it has everything.
    expect_only(Reason::Failover, &missed);
}

#[test]
fn what_a_killed_master_had_acknowledged_arrives_or_is_told_as_missed() {
    let (_, missed) = during(RedisCluster::with_replicas(), |cluster, _| {
        cluster.nodes[0].kill();
        cluster.await_promotion(0);
    });
    expect_only(Reason::Failover, &missed);
    assert!(missed.iter().all(|missed| !missed.is_empty()));
}

#[test]
fn what_is_published_during_a_commanded_failover_arrives_or_is_told_as_missed() {
    let (_, missed) = during(RedisCluster::with_replicas(), |cluster, user| {
        cluster.fail_over(RedisCluster::slot_of(user));
    });
    expect_only(Reason::Failover, &missed);
}

#[test]
fn what_a_master_that_froze_had_acknowledged_arrives_or_is_told_as_missed() {
    let (_, missed) = during(RedisCluster::with_replicas(), |cluster, _| {
        cluster.nodes[0].stop();
        eventually("its replica to be promoted", || {
            cluster.nodes[MASTERS].ask::<String>(&["INFO", "replication"]).contains("role:master")
        });
        cluster.nodes[0].resume();
        cluster.await_promotion(0);
    });
    expect_only(Reason::Failover, &missed);
}
