//! Histories behind Sentinels: a replica that takes its master's place may lack what that had acknowledged.

use std::cell::RefCell;

use history::meta::Reason;

use super::{await_there, config};
use crate::tests::harness::Server;
use crate::tests::redis_rig::kept::{await_kept, keeping, misses};
use crate::tests::redis_rig::sentinel::Sentinels;
use crate::tests::redis_rig::traffic;

fn two_keeping_servers(sentinels: &Sentinels) -> (Server, Server) {
    (Server::start_up(keeping(config(sentinels))), Server::start_up(keeping(config(sentinels))))
}

/// Sends messages while something happens to the Sentinels' master, after which the other Redis is the master.
fn expect_kept(fault: impl FnOnce(&mut Sentinels)) {
    let sentinels = RefCell::new(Sentinels::start());
    let (one, two) = two_keeping_servers(&sentinels.borrow());
    let traffic = traffic::during(&one, &two, || {
        let mut sentinels = sentinels.borrow_mut();
        await_kept(&sentinels.redis[1]);
        fault(&mut sentinels);
        sentinels.await_master(1);
        await_there(&sentinels, 1, &[&one, &two]);
    });
    let missed = [&one, &two].map(misses);
    traffic.expect_kept(&missed[0], &missed[1]);
    for missed in missed {
        assert!(!missed.is_empty(), "each is told, for it can't know what the replica lacked");
        assert!(missed.iter().all(|missed| missed.reason == Reason::Failover), "{missed:?}");
    }
}

#[test]
fn what_a_killed_master_had_acknowledged_arrives_or_is_told_as_missed() {
    expect_kept(|sentinels| sentinels.redis[0].kill());
}

#[test]
fn what_a_replaced_master_goes_on_to_acknowledge_arrives_or_is_told_as_missed() {
    expect_kept(|sentinels| sentinels.fail_over());
}

#[test]
fn what_a_master_that_froze_had_acknowledged_arrives_or_is_told_as_missed() {
    expect_kept(|sentinels| sentinels.redis[0].stop());
}
