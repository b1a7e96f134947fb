//! Calls that concern all servers of a cluster.

use std::sync::Arc;
use std::time::Duration;

use protocol::frame::Message;

use super::{config, two_servers};
use crate::broker::redis::{PubSub, RedisConfig};
use crate::events::Event;
use crate::outcome::{Answer, ConnectionCount, Reply, Status};
use crate::registry::recipients::Channel;
use crate::tests::harness::{Inbox, PATIENCE, Request, Server, eventually};
use crate::tests::redis_rig::{MASTERS, RedisCluster, with};

#[test]
fn everyone_and_rooms_are_reached_and_counted_on_all_servers() {
    let cluster = RedisCluster::start();
    let (one, two) = two_servers(&cluster);
    let users: Vec<String> = (0..MASTERS).map(|master| RedisCluster::user_on(master, 0)).collect();
    let mut clients: Vec<_> = users
        .iter()
        .flat_map(|user| [&one, &two].map(|server| server.open(Request::of(user, &[&format!("of {user}")]))))
        .collect();
    let everyone = one.delivery(one.engine.publish(Channel::Everyone, Message::Text("all"), false));
    assert_eq!((everyone.status, everyone.nodes, everyone.local), (Status::Published, Some(2), 3));
    clients.iter_mut().for_each(|client| client.expect_text("all"));
    for (user, pair) in users.iter().zip(clients.chunks_mut(2)) {
        let room = format!("of {user}");
        let sent = two.delivery(two.engine.publish(Channel::Room(&room), Message::Binary(b"room"), false));
        assert_eq!((sent.nodes, sent.local), (Some(2), 1));
        pair.iter_mut().for_each(|client| client.expect(super::super::client::BINARY, b"room"));
        let of_user = one.settled(one.engine.count(Some(user)));
        assert_eq!(
            of_user,
            Ok(Answer::ConnectionCount(ConnectionCount { connections: 2, servers: 2, complete: true }))
        );
    }
    let all = two.settled(two.engine.count(None));
    assert_eq!(
        all,
        Ok(Answer::ConnectionCount(ConnectionCount { connections: 6, servers: 2, complete: true }))
    );
}

#[test]
fn a_login_needs_no_more_than_is_documented() {
    let user = "user app on >secret resetchannels &actory:* -@all +@connection +@pubsub +cluster|slots";
    let cluster = RedisCluster::of(MASTERS, &[user]);
    let config = RedisConfig {
        username: Some("app".into()),
        password: Some("secret".into()),
        grace: Duration::ZERO,
        ..config(&cluster)
    };
    let [one, two] = [config.clone(), config].map(|config| Server::start_up(with(config)));
    for number in 0..10 {
        let user = RedisCluster::user_on(number % MASTERS, number);
        let mut client = two.connect_as(&user);
        assert_eq!(one.tell(&user, "hello").status, Status::Published);
        client.expect_text("hello");
        assert_eq!(one.settled(one.engine.is_online(&user)), Ok(Answer::Number(1)));
        drop(client);
        eventually("it to be gone", || one.settled(one.engine.is_online(&user)) == Ok(Answer::Number(0)));
    }
    assert_eq!(two.engine.stats().broker.counts.gaps, 0);
}

#[test]
fn a_user_is_disconnected_on_all_servers() {
    let cluster = RedisCluster::start();
    let (one, two) = two_servers(&cluster);
    for master in 0..MASTERS {
        let user = RedisCluster::user_on(master, 0);
        let mut clients = [&one, &two].map(|server| server.connect_as(&user));
        let out = one.delivery(one.engine.disconnect_user(&user, 4002, "out", false));
        assert_eq!((out.status, out.nodes, out.local), (Status::Published, Some(2), 1));
        clients.iter_mut().for_each(|client| assert_eq!(client.expect_close(4002), "out"));
    }
}

#[test]
fn who_is_online_is_known_also_while_slots_move_unnoticed() {
    let mut cluster = RedisCluster::start();
    let (one, two) = two_servers(&cluster);
    for number in 0..5 {
        let user = RedisCluster::user_on(0, number);
        let online = || one.settled(one.engine.is_online(&user));
        assert_eq!(online(), Ok(Answer::Number(0)));
        let _client = two.connect_as(&user);
        assert_eq!(online(), Ok(Answer::Number(1)));
        // Nothing tells `one` of it: it has no channel there.
        cluster.migrate(RedisCluster::slot_of(&user), 1);
        cluster.await_subscribers(&user, 1);
        assert_eq!(online(), Ok(Answer::Number(1)), "{user}");
    }
}

#[test]
fn channels_of_the_embedders_own_cross_the_cluster_under_any_name() {
    let cluster = RedisCluster::start();
    let start = || {
        let inbox = Inbox::default();
        (Arc::new(PubSub::start(config(&cluster), inbox.notify()).unwrap()), inbox)
    };
    let subjects = [start(), start()];
    let wait = |(core, inbox): &(Arc<PubSub>, Inbox), what: &str, wanted: &dyn Fn(&Event) -> bool| {
        let found = inbox.event_within(|| core.drain(256), PATIENCE, |event| wanted(event).then_some(()));
        found.unwrap_or_else(|| panic!("waited in vain for {what}"));
    };
    for subject in &subjects {
        if subject.0.ready() != Reply::Now(Answer::Done) {
            wait(subject, "the links", &|event| matches!(event, Event::Settled { result: Ok(_), .. }));
        }
    }
    for name in ["news", "{tag}:news", "factory:{1}:user:ada", "{", "}{"] {
        for subject in &subjects {
            subject.0.subscribe(name).unwrap();
            wait(subject, "the confirmation", &|event| matches!(event, Event::Settled { result: Ok(_), .. }));
        }
        subjects[0].0.publish(name, b"hello").unwrap();
        for subject in &subjects {
            wait(
                subject,
                "the message",
                &|event| matches!(event, Event::Channel { channel, payload } if channel == name && payload == "hello"),
            );
        }
    }
    for (core, _) in &subjects {
        core.close(Duration::ZERO);
    }
}
