//! Pub/Sub on channels by name, without connections: what `RedisPubSub` stands on.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use codes::error::{Code, Error};
use parking_lot::Mutex;

use crate::broker::redis::{PubSub, RedisConfig};
use crate::events::Event;
use crate::events::broker_status::{BrokerStatus, State};
use crate::outcome::{Answer, Reply};
use crate::tests::harness::{Inbox, PATIENCE, Server, eventually};
use crate::tests::redis_rig::fake::{Line, bulk, message};
use crate::tests::redis_rig::{FakeRedis, Listener, RedisServer, Tap, with, with_redis};

mod login;

/// A core, and its events.
struct Subject {
    core: Arc<PubSub>,
    inbox: Inbox,
}

impl Subject {
    fn start(url: &str) -> Subject {
        Subject::with(with_redis(url).redis)
    }

    fn with(config: RedisConfig) -> Subject {
        let inbox = Inbox::default();
        Subject { core: Arc::new(PubSub::start(config, inbox.notify()).unwrap()), inbox }
    }

    /// One whose link says nothing of its own accord for a long time.
    fn patient(url: &str) -> Subject {
        let long = Duration::from_secs(30);
        Subject::with(RedisConfig { probe_interval: long, command_timeout: long, ..with_redis(url).redis })
    }

    fn event_within<T>(&self, patience: Duration, pick: impl FnMut(&Event) -> Option<T>) -> Option<T> {
        self.inbox.event_within(|| self.core.drain(256), patience, pick)
    }

    fn settled(&self, reply: Result<Reply, Error>) -> Result<Answer, Error> {
        match reply? {
            Reply::Now(answer) => Ok(answer),
            Reply::Later(number) => self
                .event_within(PATIENCE, |event| match event {
                    Event::Settled { ticket, result } if *ticket == number => Some(result.clone()),
                    _ => None,
                })
                .expect("waited in vain for an answer"),
        }
    }

    fn subscribe(&self, channel: &str) {
        assert_eq!(self.settled(self.core.subscribe(channel)), Ok(Answer::Done));
    }

    fn publish(&self, channel: &str, payload: &str) -> Result<u64, Error> {
        match self.settled(self.core.publish(channel, payload.as_bytes())) {
            Ok(Answer::Number(number)) => Ok(number),
            Err(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn message_within(&self, patience: Duration) -> Option<(String, String)> {
        self.event_within(patience, |event| match event {
            Event::Channel { channel, payload } => Some((channel.clone(), payload.clone())),
            _ => None,
        })
    }

    fn expect(&self, channel: &str, payload: &str) {
        let got = self.message_within(PATIENCE).expect("waited in vain for a message");
        assert_eq!((got.0.as_str(), got.1.as_str()), (channel, payload));
    }

    /// Waits for it to tell of this. Its words before are dropped.
    fn status(&self, pick: impl Fn(&BrokerStatus) -> bool) -> BrokerStatus {
        let next = || {
            self.event_within(PATIENCE, |event| match event {
                Event::Broker(status) => Some(status.clone()),
                _ => None,
            })
        };
        std::iter::from_fn(next).find(pick).expect("waited in vain for a state")
    }
}

/// Waits until a stalled tap holds back more bytes than these.
fn more_is_held(tap: &Tap, than: usize) -> usize {
    eventually("it to be on its way", || tap.held() > than);
    tap.held()
}

#[test]
fn messages_come_on_the_channels_that_are_subscribed_and_on_no_others() {
    let redis = RedisServer::start();
    let (one, two) = (Subject::start(&redis.url()), Subject::start(&redis.url()));
    for subject in [&one, &two] {
        assert_eq!(subject.settled(Ok(subject.core.ready())), Ok(Answer::Done));
    }
    // Names as others choose them: with braces, spaces, and what looks like ours.
    let channels = ["news", "a {b}:c d", "factory:user:ada", "user:ada", "ö"];
    channels.iter().for_each(|channel| one.subscribe(channel));
    two.subscribe("news");
    assert_eq!(two.publish("news", "1"), Ok(2));
    assert_eq!(two.publish("other", "2"), Ok(0));
    for channel in &channels[1..] {
        assert_eq!(two.publish(channel, "{}"), Ok(1));
    }
    one.expect("news", "1");
    two.expect("news", "1");
    channels[1..].iter().for_each(|channel| one.expect(channel, "{}"));
    one.core.unsubscribe("news");
    eventually("it to be unsubscribed", || redis.subscribers("news") == 1);
    assert_eq!(two.publish("news", "3"), Ok(1));
    two.expect("news", "3");
    // Again, and twice: an answer comes for each.
    one.subscribe("news");
    one.subscribe("news");
    assert_eq!(two.publish("news", "4"), Ok(2));
    one.expect("news", "4");
}

#[test]
fn channels_of_a_manager_can_be_neither_published_to_nor_listened_on() {
    let redis = RedisServer::start();
    let config = RedisConfig { prefix: "shop:one".into(), ..with_redis(&redis.url()).redis };
    let server = Server::start_up(with(config));
    let mut ada = server.connect_as("ada");
    let subject = Subject::start(&redis.url());
    // The same Redis, which no URL says.
    let by_name = Subject::start(&redis.url().replace("127.0.0.1", "localhost"));
    // Its own `prefix` says which manager it is used beside; others of the process are known.
    for channel in ["shop:one:user:ada", "shop:one:control", "shop:one:{12}:user:ada", "actory:messages"] {
        let code = |reply: Result<Reply, Error>| reply.unwrap_err().code();
        for subject in [&subject, &by_name] {
            assert_eq!(code(subject.core.subscribe(channel)), "ERR_ARG_OUT_OF_RANGE", "{channel}");
            assert_eq!(code(subject.core.publish(channel, b"true")), "ERR_ARG_OUT_OF_RANGE", "{channel}");
        }
        if channel.starts_with("shop") {
            assert_eq!(
                code(server.engine.publish_raw(channel, b"true")),
                "ERR_ARG_OUT_OF_RANGE",
                "{channel}"
            );
        }
    }
    subject.subscribe("shop:news");
    assert_eq!(server.settled(server.engine.publish_raw("shop:news", b"1")), Ok(Answer::Number(1)));
    subject.expect("shop:news", "1");
    by_name.subscribe("news");
    server.tell("ada", "the first");
    ada.expect_text("the first");
}

#[test]
fn the_last_word_counts_when_subscriptions_come_and_go_at_once() {
    let redis = RedisServer::start();
    let subject = Subject::start(&redis.url());
    assert_eq!(subject.settled(Ok(subject.core.ready())), Ok(Answer::Done));
    for _ in 0..200 {
        let first = subject.core.subscribe("gone");
        subject.core.unsubscribe("gone");
        let second = subject.core.subscribe("kept");
        subject.core.unsubscribe("kept");
        let third = subject.core.subscribe("kept");
        for reply in [first, second] {
            // Confirmed before it was dropped, or dropped before.
            assert!(matches!(
                subject.settled(reply),
                Ok(Answer::Done) | Err(Error { kind: Code::Closed, .. })
            ));
        }
        assert_eq!(subject.settled(third), Ok(Answer::Done));
        assert_eq!(subject.publish("kept", "1"), Ok(1));
        subject.expect("kept", "1");
        assert_eq!(subject.publish("gone", "1"), Ok(0));
        subject.core.unsubscribe("kept");
    }
    eventually("nothing to be left", || redis.subscribers("kept") == 0);
}

#[test]
fn subscriptions_survive_whatever_happens_to_the_link() {
    let mut redis = RedisServer::start();
    let subject = Subject::start(&redis.url());
    subject.subscribe("news");
    redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let back = subject.status(|status| status.gap.is_some());
    assert_eq!(back.state, State::Up);
    assert_eq!(subject.publish("news", "1"), Ok(1));
    subject.expect("news", "1");
    redis.kill();
    subject.status(|status| status.state == State::Down);
    assert_eq!(subject.publish("news", "lost").unwrap_err().kind, Code::BrokerUnavailable);
    // Also those that were made, and dropped, while it was away.
    let late = subject.core.subscribe("late");
    subject.core.unsubscribe("news");
    redis.restart();
    assert_eq!(subject.settled(late), Ok(Answer::Done));
    subject.status(|status| status.gap.is_some());
    assert_eq!(redis.ask::<u64>(&["PUBLISH", "late", "2"]), 1);
    assert_eq!(redis.subscribers("news"), 0);
    subject.expect("late", "2");
}

#[test]
fn a_subscription_is_not_taken_for_confirmed_by_one_that_was_dropped_before_it() {
    // Redis comes to the end of the first subscription, and takes its time before it comes to the second.
    let (ends, end) = mpsc::channel();
    let ends = Mutex::new(Some(ends));
    let (go_on, told) = mpsc::channel();
    let told = Mutex::new(told);
    let fake =
        FakeRedis::start(move |command| match (command[0].as_str(), command.get(1).map(String::as_str)) {
            ("SUBSCRIBE", Some("news")) if ends.lock().is_some() => {
                // The message behind the confirmation tells the test that it was read.
                Line::Instead(format!(
                    ">3\r\n{}{}:1\r\n{}",
                    bulk("subscribe"),
                    bulk("news"),
                    message("other", "confirmed")
                ))
            }
            ("UNSUBSCRIBE", Some("news")) => {
                if let Some(ends) = ends.lock().take() {
                    let _ = ends.send(());
                }
                let _ = told.lock().recv_timeout(PATIENCE);
                Line::Usual
            }
            _ => Line::Usual,
        });
    let tap = Tap::before(fake.address());
    let subject = Subject::patient(&tap.url());
    subject.subscribe("other");
    assert_eq!(subject.settled(Ok(subject.core.ready())), Ok(Answer::Done));
    tap.stall();
    let first = subject.core.subscribe("news");
    let held = more_is_held(&tap, 0);
    subject.core.unsubscribe("news");
    assert_eq!(subject.settled(first).unwrap_err().kind, Code::Closed);
    let held = more_is_held(&tap, held);
    let Ok(Reply::Later(second)) = subject.core.subscribe("news") else { panic!("confirmed at once") };
    more_is_held(&tap, held);
    tap.open();
    end.recv_timeout(PATIENCE).expect("the first subscription to end");
    let mut confirmed = 0;
    subject
        .event_within(PATIENCE, |event| match event {
            Event::Settled { ticket, .. } if *ticket == second => {
                confirmed += 1;
                None
            }
            Event::Channel { channel, .. } => (channel == "other").then_some(()),
            _ => None,
        })
        .expect("waited in vain for what follows the confirmation");
    assert_eq!(confirmed, 0, "what was published now nobody would hear, and nobody be told of");
    go_on.send(()).unwrap();
    assert_eq!(subject.settled(Ok(Reply::Later(second))), Ok(Answer::Done));
}

#[test]
fn what_is_not_utf8_is_skipped_and_told_of() {
    let redis = RedisServer::start();
    let subject = Subject::start(&redis.url());
    subject.subscribe("news");
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    // Repaired it would be JSON.
    let receivers = redis::cmd("PUBLISH").arg("news").arg(&b"\"\xff\""[..]).query::<u64>(&mut connection);
    assert_eq!(receivers.unwrap(), 1);
    let told = subject.event_within(PATIENCE, |event| match event {
        Event::Problem(error) => Some(error.clone()),
        Event::Channel { payload, .. } => panic!("got {payload}"),
        _ => None,
    });
    let told = told.unwrap();
    assert_eq!(told.kind, Code::BadMessage);
    assert!(told.message.contains("news"), "{told:?}");
}

#[test]
fn a_refusal_does_not_end_a_subscription_that_was_asked_for_later() {
    let first = Mutex::new(true);
    let fake = FakeRedis::start(move |command| {
        if command[0] == "SUBSCRIBE" && command[1] == "news" && std::mem::take(&mut *first.lock()) {
            return Line::Instead(
                "-NOPERM this user has no permissions to access one of the channels\r\n".into(),
            );
        }
        Line::Usual
    });
    let tap = Tap::before(fake.address());
    let subject = Subject::patient(&tap.url());
    assert_eq!(subject.settled(Ok(subject.core.ready())), Ok(Answer::Done));
    tap.stall();
    let first = subject.core.subscribe("news");
    let held = more_is_held(&tap, 0);
    subject.core.unsubscribe("news");
    assert_eq!(subject.settled(first).unwrap_err().kind, Code::Closed);
    let held = more_is_held(&tap, held);
    let second = subject.core.subscribe("news");
    more_is_held(&tap, held);
    tap.open();
    assert_eq!(subject.settled(second), Ok(Answer::Done));
    assert_eq!(subject.publish("news", "1"), Ok(1));
    subject.expect("news", "1");
}

#[test]
fn what_was_written_and_not_answered_is_uncertain() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    let subject = Subject::start(&tap.url());
    assert_eq!(subject.settled(Ok(subject.core.ready())), Ok(Answer::Done));
    tap.stall();
    let reply = subject.core.publish("news", b"1");
    eventually("it to be on its way", || tap.held() > 0);
    tap.cut();
    assert_eq!(subject.settled(reply).unwrap_err().kind, Code::Uncertain);
}

#[test]
fn an_embedder_that_does_not_take_messages_slows_the_link_down_and_loses_none() {
    let redis = RedisServer::start();
    redis.run(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0"]);
    let subject = Subject::with(RedisConfig {
        command_timeout: Duration::from_millis(200),
        probe_interval: Duration::from_millis(100),
        ..with_redis(&redis.url()).redis
    });
    subject.subscribe("bulk");
    let payload = "x".repeat(1 << 20);
    for _ in 0..80 {
        assert_eq!(redis.ask::<u64>(&["PUBLISH", "bulk", &payload]), 1);
    }
    // Long enough for a link that was blamed for it to be given up.
    std::thread::park_timeout(Duration::from_millis(600));
    for _ in 0..80 {
        subject.expect("bulk", &payload);
    }
    assert_eq!(subject.core.status().state, State::Up);
    assert_eq!(subject.publish("bulk", "end"), Ok(1));
    subject.expect("bulk", "end");
}

#[test]
fn close_answers_everybody_and_ends_at_its_deadline() {
    let redis = RedisServer::start();
    let subject = Subject::start(&redis.url());
    assert_eq!(subject.settled(Ok(subject.core.ready())), Ok(Answer::Done));
    subject.subscribe("news");
    let mut listener = Listener::on(&redis, &["news"]);
    let sent = subject.core.publish("news", b"last");
    subject.core.close(PATIENCE);
    assert_eq!(subject.settled(sent), Ok(Answer::Number(2)), "what is under way is waited for");
    listener.expect("news", "last");
    subject.event_within(PATIENCE, |event| matches!(event, Event::Closed).then_some(())).expect("the end");
    assert_eq!(subject.core.publish("news", b"x").unwrap_err().kind, Code::Closed);
    assert_eq!(subject.core.subscribe("news").unwrap_err().kind, Code::Closed);
    assert_eq!(redis.subscribers("news"), 1, "the listener");

    let subject = Subject::start(&redis.url());
    assert_eq!(subject.settled(Ok(subject.core.ready())), Ok(Answer::Done));
    redis.stop();
    let sent = subject.core.publish("news", b"stuck");
    let covered = subject.core.subscribe("stuck");
    let begun = Instant::now();
    subject.core.close(Duration::from_millis(200));
    assert_eq!(subject.settled(sent).unwrap_err().kind, Code::Uncertain);
    assert_eq!(subject.settled(covered).unwrap_err().kind, Code::Closed);
    subject.event_within(PATIENCE, |event| matches!(event, Event::Closed).then_some(())).expect("the end");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn whoever_waits_for_a_redis_that_never_comes_is_answered_at_the_end() {
    let mut redis = RedisServer::start();
    redis.kill();
    let subject = Subject::start(&redis.url());
    let covered = subject.core.subscribe("news");
    let ready = Ok(subject.core.ready());
    assert_eq!(subject.settled(ready).unwrap_err().kind, Code::BrokerConnect);
    let ready = Ok(subject.core.ready());
    subject.core.close(Duration::from_millis(100));
    assert_eq!(subject.settled(covered).unwrap_err().kind, Code::Closed);
    let code = subject.settled(ready).unwrap_err().kind;
    assert!(matches!(code, Code::BrokerConnect | Code::Closed), "{code}");
}
