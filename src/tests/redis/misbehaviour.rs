//! A Redis that says what no healthy one says. The links survive it, nothing grows without bound, and every question is
//! answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use codes::error::Code;
use protocol::frame::Message;

use crate::broker::redis::RedisConfig;
use crate::engine::config::Config;
use crate::events::Event;
use crate::events::broker_status::State;
use crate::outcome::{Reply, Status};
use crate::registry::recipients::Channel;
use crate::tests::harness::{Server, eventually};
use crate::tests::redis_rig::fake::{Command, FakeRedis, Line, bulk, message};
use crate::tests::redis_rig::{with, with_redis};

/// Gives up soon.
fn hasty(fake: &FakeRedis) -> Config {
    with(RedisConfig {
        connect_timeout: Duration::from_millis(500),
        command_timeout: Duration::from_millis(500),
        probe_interval: Duration::from_millis(100),
        ..with_redis(&fake.url()).redis
    })
}

fn is_for_ada(command: &Command) -> bool {
    command[0] == "PUBLISH" && command[1] == "actory:user:ada"
}

/// A fake that does something once, when a message for ada is published; and a server that publishes one.
fn once(line: impl Fn() -> Line + Send + Sync + 'static) -> (FakeRedis, Server, Status) {
    let done = AtomicBool::new(false);
    let fake = FakeRedis::start(move |command| {
        if is_for_ada(command) && !done.swap(true, Ordering::SeqCst) { line() } else { Line::Usual }
    });
    let server = Server::start_up(hasty(&fake));
    let mut ada = server.connect_as("ada");
    let sent = server.tell("ada", "one");
    server.expect_up();
    assert_eq!(server.tell("ada", "two").status, Status::Published);
    while ada.next_text() != "two" {}
    (fake, server, sent.status)
}

#[test]
fn a_reply_that_breaks_off_in_the_middle_proves_nothing() {
    for half in
        ["", ":", ":1", ":1\r", ">3\r\n$7\r\nmessage\r\n$15\r\nactory:user:ada\r\n$4\r\nto", "$100\r\nx"]
    {
        let (_fake, server, sent) = once(|| Line::Last(half.to_owned()));
        assert_eq!(sent, Status::Uncertain, "{half:?}");
        assert_eq!(server.engine.stats().broker.counts.gaps, 1);
    }
}

#[test]
fn an_answer_that_nobody_waits_for_is_no_answer_to_another_question() {
    // The first is taken for the answer, the second has no question; those that follow can't be trusted.
    let (_fake, server, sent) = once(|| Line::Before(":7\r\n".to_owned()));
    assert!(matches!(sent, Status::Published | Status::Uncertain));
    assert_eq!(server.engine.stats().broker.counts.gaps, 1);
    for odd in [
        "+OK\r\n",
        "$2\r\nhi\r\n",
        "*1\r\n:1\r\n",
        "*2\r\n$1\r\nc\r\n:3\r\n",
        "_\r\n",
        "%1\r\n+a\r\n:1\r\n",
        "garbage\r\n",
        "$-7\r\n",
    ] {
        let (_fake, server, sent) = once(|| Line::Instead(odd.to_owned()));
        assert_eq!(sent, Status::Uncertain, "{odd:?}");
        assert_eq!(server.engine.stats().broker.counts.gaps, 1);
    }
}

#[test]
fn a_reply_without_an_end_is_not_hoarded() {
    for (begin, rest) in [
        ("$99999999999\r\n", "x".repeat(1 << 20)),
        ("*99999999999\r\n", ":1\r\n".repeat(1 << 15)),
        ("+", "x".repeat(1 << 16)),
        (">3\r\n$99999999999\r\n", "x".repeat(1 << 20)),
        (">3\r\n$7\r\nmessage\r\n$99999999999\r\n", "x".repeat(1 << 20)),
    ] {
        let text = format!("{begin}{rest}");
        let (_fake, server, sent) = once(move || Line::Forever(text.clone()));
        assert_eq!(sent, Status::Uncertain, "{begin:?}");
        assert_eq!(server.engine.stats().broker.counts.gaps, 1);
    }
}

#[test]
fn an_enormous_message_is_passed_over_and_a_link_that_brings_nothing_else_is_given_up() {
    let head = ">3\r\n$7\r\nmessage\r\n$15\r\nactory:user:ada\r\n$99999999999\r\n";
    let text = format!("{head}{}", "x".repeat(1 << 20));
    let (_fake, server, sent) = once(move || Line::Forever(text.clone()));
    assert_eq!(sent, Status::Uncertain);
    assert_eq!(server.engine.stats().broker.counts.ignored, 1);
}

#[test]
fn unknown_pushes_are_passed_over() {
    let pushes =
        [">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n", ">1\r\n+hello\r\n", ">4\r\n:1\r\n:2\r\n:3\r\n_\r\n"];
    let odd = pushes.concat() + &message("nobodys", "x") + &message("actory:unheard-of", "x");
    let fake = FakeRedis::start(
        move |command| if is_for_ada(command) { Line::Before(odd.clone()) } else { Line::Usual },
    );
    let server = Server::start_up(hasty(&fake));
    let mut ada = server.connect_as("ada");
    for n in 0..10 {
        assert_eq!(server.tell("ada", &n.to_string()).nodes, Some(1));
        ada.expect_text(&n.to_string());
    }
    assert_eq!(server.engine.stats().broker.counts.gaps, 0);
}

#[test]
fn a_refused_publish_fails_with_its_reason_and_the_link_lives() {
    for (answer, code) in [
        ("-LOADING Redis is loading the dataset in memory", Code::BrokerConnect),
        ("-BUSY Redis is busy running a script", Code::BrokerConnect),
        ("-READONLY You can't write against a read only replica.", Code::BrokerRole),
        ("-NOPERM this user has no permissions to access one of the channels", Code::BrokerAuth),
        ("-MISCONF Redis is configured to save RDB snapshots", Code::BrokerFull),
        ("-OOM command not allowed when used memory > 'maxmemory'.", Code::BrokerFull),
        ("-MOVED 1 127.0.0.1:1", Code::BrokerProtocol),
        ("-", Code::BrokerProtocol),
    ] {
        let fake = FakeRedis::start(move |command| match is_for_ada(command) {
            true => Line::Instead(format!("{answer}\r\n")),
            false => Line::Usual,
        });
        let server = Server::start_up(hasty(&fake));
        let mut ada = server.connect_as("ada");
        let refused = server.settled(server.engine.publish(Channel::User("ada"), Message::Text("1"), false));
        assert_eq!(refused.unwrap_err().kind, code, "{answer}");
        ada.text("1");
        ada.expect_error(code.as_str());
        // Others are served.
        assert_eq!(server.tell("bob", "1").status, Status::Published);
        ada.expect_alive();
        let stats = server.engine.stats().broker;
        assert_eq!((stats.state, stats.counts.gaps, stats.counts.pending), (State::Up, 0, 0));
    }
}

#[test]
fn a_link_whose_subscriptions_are_refused_or_forgotten_is_not_up() {
    let forget = |command: &Command| {
        let confirm = |channel: &String| format!(">3\r\n{}{}:1\r\n", bulk("subscribe"), bulk(channel));
        command[2..].iter().map(confirm).collect::<String>()
    };
    type Refuse = fn(&Command, fn(&Command) -> String) -> String;
    let cases: [(Refuse, &str); 4] = [
        (|_, _| "-ERR no\r\n".into(), "ERR_BROKER_PROTOCOL"),
        (|_, _| "-NOPERM no\r\n".into(), "ERR_BROKER_AUTH"),
        (|_, _| ":1\r\n".into(), "ERR_BROKER_PROTOCOL"),
        // One is missing when the next answer comes.
        (|command, forget| forget(command), "ERR_BROKER_PROTOCOL"),
    ];
    for (refuse, code) in cases {
        let fake = FakeRedis::start(move |command| {
            match command[0] == "SUBSCRIBE" && !command[1].contains(":probe:") {
                true => Line::Instead(refuse(command, forget)),
                false => Line::Usual,
            }
        });
        let server = Server::start(hasty(&fake));
        let ready = server.settled(server.engine.ready());
        assert_eq!(ready.unwrap_err().code(), code);
        assert_eq!(server.tell("ada", "1").status, Status::Local);
    }
}

#[test]
fn a_redis_that_answers_and_delivers_nothing_is_found_out() {
    let deaf = Arc::new(AtomicBool::new(true));
    let fake = FakeRedis::start({
        let deaf = deaf.clone();
        move |command| match command[0] == "PUBLISH" && deaf.load(Ordering::SeqCst) {
            true => Line::Instead(":1\r\n".into()),
            false => Line::Usual,
        }
    });
    let server = Server::start(hasty(&fake));
    let ready = server.settled(server.engine.ready());
    assert_eq!(ready.unwrap_err().kind, Code::BrokerConnect);
    deaf.store(false, Ordering::SeqCst);
    server.expect_up();
    deaf.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    server.broker("the broker to be down", |status| status.state == State::Down);
    assert!(begun.elapsed() < Duration::from_secs(2));
    deaf.store(false, Ordering::SeqCst);
    server.broker("a gap", |status| status.gap.is_some());
}

#[test]
fn a_redis_that_speaks_byte_by_byte_is_understood() {
    let fake = FakeRedis::dribbling();
    let server = Server::start_up(hasty(&fake));
    let mut ada = server.connect_as("ada");
    for n in 0..20 {
        let text = format!("{n}{}", "ü".repeat(n * 10));
        assert_eq!(server.tell("ada", &text).nodes, Some(1));
        ada.expect_text(&text);
    }
    assert_eq!(server.engine.stats().broker.counts.gaps, 0);
}

#[test]
fn every_question_is_answered_once_whatever_breaks() {
    // Each connection ends after some answers, in one way or another.
    let asked = AtomicUsize::new(0);
    let fake = FakeRedis::start(move |command| {
        if command[0] == "HELLO" {
            return Line::Usual;
        }
        match asked.fetch_add(1, Ordering::SeqCst) % 97 {
            13 => Line::Last(":".into()),
            41 => Line::Instead("-LOADING not now\r\n".into()),
            59 => Line::Instead("nonsense\r\n".into()),
            83 => Line::Before(":5\r\n".into()),
            _ => Line::Usual,
        }
    });
    let server = Server::start_up(hasty(&fake));
    let mut open = std::collections::HashSet::new();
    let mut now = 0;
    for round in 0..2000 {
        let reply = match round % 5 {
            0 => server.engine.is_online("bob"),
            1 => server.engine.count(None),
            2 => server.engine.publish_raw("news", b"x"),
            3 => server.engine.disconnect_user("bob", 4002, "", false),
            _ => server.engine.publish(Channel::User("ada"), Message::Text("x"), round % 2 == 0),
        };
        match reply {
            Ok(Reply::Later(ticket)) => assert!(open.insert(ticket)),
            Ok(Reply::Now(_)) | Err(_) => now += 1,
        }
        if round % 100 == 0 {
            eventually("the broker to be up", || server.engine.stats().broker.state == State::Up);
        }
    }
    assert!(open.len() > 100, "{now} of 2000 at once");
    server.engine.shutdown(Duration::ZERO, 1001, "");
    loop {
        let ticket = server.event("an answer or the end", |event| match event {
            Event::Settled { ticket, .. } => Some(Some(*ticket)),
            Event::Closed => Some(None),
            _ => None,
        });
        let Some(ticket) = ticket else { break };
        assert!(open.remove(&ticket), "{ticket} was answered twice");
    }
    assert!(open.is_empty(), "{} are never answered", open.len());
    eventually("nothing to be pending", || server.engine.stats().broker.counts.pending == 0);
}

#[test]
fn a_redis_that_is_slow_and_makes_progress_is_kept() {
    let fake = FakeRedis::start(|command| {
        if is_for_ada(command) {
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Line::Usual
    });
    let server = Server::start_up(hasty(&fake));
    let begun = Instant::now();
    let publish =
        |n: usize| server.engine.publish(Channel::User("ada"), Message::Text(&n.to_string()), false);
    let replies: Vec<_> = (0..15).map(publish).collect();
    for reply in replies {
        assert_eq!(server.delivery(reply).status, Status::Published);
    }
    assert!(begun.elapsed() > 2 * server.engine.config().redis.command_timeout);
    assert_eq!(server.engine.stats().broker.counts.gaps, 0);
    server.broker("it to have been late", |status| status.state == State::Degraded);
}
