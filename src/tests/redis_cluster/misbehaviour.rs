//! Nodes, and logins, that behave as healthy ones rarely do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use codes::error::{Code, Error};
use parking_lot::Mutex;
use protocol::frame::Message;

use super::config;
use crate::broker::redis::RedisConfig;
use crate::events::Event;
use crate::outcome::{Answer, Delivery, Reply, Status};
use crate::registry::recipients::Channel;
use crate::tests::harness::{Server, eventually};
use crate::tests::redis_rig::fake::Line;
use crate::tests::redis_rig::{FakeRedis, MASTERS, RedisCluster, with, with_redis};

type Outcome = Result<Answer, Error>;

/// The outcomes of publishes, by their texts.
fn outcomes(server: &Server, asked: Vec<(String, Result<Reply, Error>)>) -> Vec<(String, Outcome)> {
    let mut outcomes = Vec::new();
    let mut tickets = Vec::new();
    for (text, reply) in asked {
        match reply {
            Ok(Reply::Later(ticket)) => tickets.push((ticket, text)),
            Ok(Reply::Now(answer)) => outcomes.push((text, Ok(answer))),
            Err(error) => outcomes.push((text, Err(error))),
        }
    }
    while !tickets.is_empty() {
        let (number, result) = server.event("an answer", |event| match event {
            Event::Settled { ticket, result } => Some((*ticket, result.clone())),
            _ => None,
        });
        if let Some(index) = tickets.iter().position(|(ticket, _)| *ticket == number) {
            outcomes.push((tickets.swap_remove(index).1, result));
        }
    }
    outcomes
}

fn status(outcome: &Outcome) -> Option<Status> {
    match outcome {
        Ok(Answer::Delivery(Delivery { status, .. })) => Some(*status),
        _ => None,
    }
}

#[test]
fn a_login_that_may_not_end_subscriptions_is_told_of_and_no_answer_is_taken_for_anothers() {
    let cluster = RedisCluster::of(MASTERS, &["user app on >secret ~* &* +@all -sunsubscribe -ping"]);
    let server = Server::start_up(with(RedisConfig {
        username: Some("app".into()),
        password: Some("secret".into()),
        grace: Duration::ZERO,
        ..config(&cluster)
    }));
    let user = RedisCluster::user_on(0, 0);
    let mut client = server.connect_as(&user);
    drop((1..20).map(|n| server.connect_as(&RedisCluster::user_on(0, n))).collect::<Vec<_>>());
    let mut asked = Vec::new();
    let mut publish = |text: String| {
        let reply = server.engine.publish(Channel::User(&user), Message::Text(&text), false);
        asked.push((text, reply));
    };
    let mut number = 0;
    eventually("the login to be blamed", || {
        number += 1;
        publish(number.to_string());
        server.engine.stats().broker.counts.gaps > 0
    });
    let error = server.broker("what is wrong", |status| status.error.is_some()).error.unwrap();
    assert_eq!(error.kind, Code::BrokerAuth);
    assert!(error.message.contains("sunsubscribe"), "{error:?}");
    eventually("the user to be reached again", || {
        number += 1;
        let text = number.to_string();
        let reply = server.engine.publish(Channel::User(&user), Message::Text(&text), false);
        let reached = matches!(reply, Ok(Reply::Later(_)));
        asked.push((text, reply));
        reached
    });
    let outcomes = outcomes(&server, asked);
    // The other clients may have gone one after the other, each with an end that is refused.
    eventually("the link to stay", || server.tell(&user, "end").status == Status::Published);
    let got: Vec<String> =
        std::iter::from_fn(|| Some(client.next_text()).filter(|text| text != "end")).collect();
    for (text, outcome) in outcomes {
        let times = got.iter().filter(|other| **other == text).count();
        match status(&outcome) {
            Some(Status::Published | Status::Local) => assert_eq!(times, 1, "{text}: {outcome:?}"),
            Some(Status::Uncertain) => assert!(times <= 1, "{text}: {outcome:?}"),
            None => panic!("{text}: {outcome:?}"),
        }
    }
}

#[test]
fn what_a_node_refused_is_not_called_published_if_later_messages_overtook_it() {
    // The new owner of a slot learns of that between two commands of one pipeline.
    let first = Mutex::new(true);
    let fake = FakeRedis::cluster(move |command| {
        let for_ada = command[0] == "SPUBLISH" && command[1].ends_with("user:ada");
        if for_ada && std::mem::take(&mut *first.lock()) {
            return Line::Instead("-MOVED 0 127.0.0.1:1\r\n".into());
        }
        Line::Usual
    });
    let server = Server::start_up(with_redis(&fake.url()));
    let mut client = server.connect_as("ada");
    let asked = ["m1", "m2", "m3"].map(|text| {
        (text.to_owned(), server.engine.publish(Channel::User("ada"), Message::Text(text), false))
    });
    let mut outcomes = outcomes(&server, asked.into());
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    let statuses: Vec<_> = outcomes.iter().map(|(_, outcome)| status(outcome).unwrap()).collect();
    let got: Vec<String> = (0..3).map(|_| client.next_text()).collect();
    let published: Vec<&String> = got
        .iter()
        .filter(|text| {
            outcomes.iter().any(|(name, outcome)| name == *text && status(outcome) == Some(Status::Published))
        })
        .collect();
    assert!(published.is_sorted(), "{got:?}: {statuses:?}");
    assert_eq!(statuses[1..], [Status::Published, Status::Published], "{got:?}");
    assert_eq!(server.tell("ada", "m4").status, Status::Published);
    client.expect_text("m4");
    eventually("nothing to wait for Redis", || {
        let counts = server.engine.stats().broker.counts;
        (counts.pending, counts.pending_bytes) == (0, 0)
    });
}

#[test]
fn a_slot_that_nobody_serves_is_asked_after_now_and_then() {
    let asked = Arc::new(AtomicU64::new(0));
    let counter = asked.clone();
    let fake = FakeRedis::cluster(move |command| match command[0].as_str() {
        "CLUSTER" => {
            counter.fetch_add(1, Ordering::Relaxed);
            Line::Usual
        }
        "SPUBLISH" if command[1].ends_with("user:ada") => {
            Line::Instead("-CLUSTERDOWN Hash slot not served\r\n".into())
        }
        _ => Line::Usual,
    });
    let server = Server::start_up(with_redis(&fake.url()));
    let mut client = server.connect_as("ada");
    let begun = Instant::now();
    let before = asked.load(Ordering::Relaxed);
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(server.tell("ada", "hello").status, Status::Local);
        client.expect_text("hello");
    }
    let often = asked.load(Ordering::Relaxed) - before;
    let most = begun.elapsed().as_millis() as u64 / 100 + 3;
    assert!((1..=most).contains(&often), "{often} times");
}
