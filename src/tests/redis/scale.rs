//! Many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use protocol::frame::Message;

use crate::events::broker_status::{BrokerStatus, State};
use crate::registry::recipients::Channel;
use crate::tests::client::Client;
use crate::tests::harness::{Request, Server, alone, eventually};
use crate::tests::redis_rig::{RedisServer, with_redis};

/// Fills a process of 20,000 descriptors, of which a connection takes two here.
const CROWD: usize = 9_500;

#[test]
fn a_crowd_that_connects_at_once_gets_what_is_published_right_after_each_open() {
    alone(
        "tests::redis::scale::a_crowd_that_connects_at_once_gets_what_is_published_right_after_each_open",
        || {
            let redis = RedisServer::start();
            let (here, other) = (Server::on(&redis.url()), Server::on(&redis.url()));
            let begun = Instant::now();
            let next = AtomicUsize::new(0);
            // All upgrades are under way before the first answer is looked at.
            let clients: Vec<Client> = std::thread::scope(|scope| {
                let connect = || {
                    std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < CROWD))
                        .map(|n| (n, here.request(Request::of(&format!("user-{n}"), &[])).0))
                        .collect::<Vec<_>>()
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(connect)).collect();
                let mut clients: Vec<_> =
                    threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
                clients.sort_by_key(|(n, _)| *n);
                clients.into_iter().map(|(_, client)| client).collect()
            });
            let mut clients: Vec<_> = clients.into_iter().enumerate().collect();
            for (n, client) in &mut clients {
                client.response().expect_101();
                let sent =
                    other.engine.publish(Channel::User(&format!("user-{n}")), Message::Text("welcome"), true);
                sent.unwrap();
            }
            for (_, client) in &mut clients {
                client.expect_text("welcome");
            }
            println!("{CROWD} clients: {:?}", begun.elapsed());
            let counts = here.engine.stats().broker.counts;
            assert_eq!((counts.unconfirmed, counts.gaps), (0, 0));
            // All leave at once as well.
            drop(clients);
            here.expect_empty();
        },
    );
}

#[test]
fn a_hundred_thousand_channels_are_subscribed_again_soon_after_a_restart() {
    const ROOMS: usize = 1_000;
    const CLIENTS: usize = 100;
    let mut redis = RedisServer::start();
    let server = Server::on(&redis.url());
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for (n, client) in clients.iter().enumerate() {
        for room in 0..ROOMS {
            server.engine.join(client.id(), &Arc::from(format!("{n}/{room}"))).unwrap();
        }
    }
    let subscribed =
        |redis: &RedisServer| redis.ask::<Vec<String>>(&["PUBSUB", "CHANNELS", "actory:room:*"]).len();
    eventually("all to be subscribed", || subscribed(&redis) == CLIENTS * ROOMS);
    redis.kill();
    server.broker("the broker to be down", |status| status.state == State::Down);
    redis.restart();
    let back = Instant::now();
    let status = server.broker("a gap", |status| status.gap.is_some());
    let took = back.elapsed();
    println!("{} channels again after {took:?}", CLIENTS * ROOMS);
    assert_eq!(status.state, State::Up);
    assert_eq!(subscribed(&redis), CLIENTS * ROOMS);
    // Two seconds in a build for production: see the bench. A debug build on a busy machine gets more.
    assert!(took.as_secs() < 15, "{took:?}");
    let sent = server.delivery(server.engine.publish(Channel::Room("7/7"), Message::Text("x"), false));
    assert_eq!(sent.nodes, Some(1));
    clients[7].expect_text("x");
}

#[test]
fn several_links_share_the_channels_and_keep_each_ones_order() {
    let redis = RedisServer::start();
    let config = || {
        let mut config = with_redis(&redis.url());
        config.redis.connections = 4;
        config
    };
    let (one, two) = (Server::start_up(config()), Server::start_up(config()));
    let users: Vec<String> = (0..40).map(|n| format!("user-{n}")).collect();
    let mut clients: Vec<Client> = users.iter().map(|user| two.connect_as(user)).collect();
    for n in 0..100 {
        for user in &users {
            one.engine.publish(Channel::User(user), Message::Text(&n.to_string()), false).unwrap();
        }
    }
    for client in &mut clients {
        (0..100).for_each(|n| client.expect_text(&n.to_string()));
    }
    let links: Vec<String> = redis.ask(&["PUBSUB", "CHANNELS", "actory:probe:*"]);
    assert_eq!(links.len(), 8);
    // One of four is lost: the others go on, which is told.
    let pubsub = redis.ask::<String>(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    let id = pubsub.split_once("id=").unwrap().1.split(' ').next().unwrap();
    redis.run(&["CLIENT", "KILL", "ID", id]);
    let mut told = [Vec::new(), Vec::new()];
    let lost_and_back = |told: &Vec<BrokerStatus>| {
        told.iter().any(|status| status.state == State::Degraded)
            && told.last().is_some_and(|status| status.state == State::Up)
    };
    eventually("one link to be lost and back", || {
        for (told, server) in told.iter_mut().zip([&one, &two]) {
            told.extend(server.broker_events());
        }
        told.iter().any(lost_and_back)
    });
    assert!(told.iter().flatten().all(|status| status.state != State::Down), "{told:?}");
    // A link of the server without users may have had no channel to miss anything on.
    let [_, with_users] = told;
    assert!(
        !lost_and_back(&with_users) || with_users.iter().any(|status| status.gap.is_some()),
        "{with_users:?}"
    );
}
