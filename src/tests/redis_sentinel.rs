//! Servers whose Redis is found by Sentinels.

mod history;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::harness::{Server, eventually};
use super::redis_rig::fake::Word;
use super::redis_rig::sentinel::{NAME, Sentinels};
use super::redis_rig::traffic::{expect_soon, unix_ms};
use super::redis_rig::{FakeRedis, RedisServer, traffic, with};
use crate::broker::redis::{RedisConfig, Server as RedisAt};
use crate::events::Event;
use crate::events::broker_status::State;
use crate::outcome::{Answer, Status};

/// A link is given up well before a master is taken for down: nobody believes one that was replaced meanwhile.
fn config(sentinels: &Sentinels) -> RedisConfig {
    RedisConfig { command_timeout: Duration::from_millis(400), ..sentinels.config() }
}

fn two_servers(sentinels: &Sentinels) -> (Server, Server) {
    (Server::start_up(with(config(sentinels))), Server::start_up(with(config(sentinels))))
}

/// Waits until these servers, and no others, are connected to this Redis, and up.
fn await_there(sentinels: &Sentinels, index: usize, servers: &[&Server]) {
    eventually("the servers to follow", || {
        sentinels.subscribers(index) == Some(servers.len() as u64)
            && servers.iter().all(|server| server.engine.stats().broker.state == State::Up)
    });
}

/// The gaps that a server has told of, up to the one in which it came to the master that was named at this time. That one
/// lasts a while longer, as others may be slower.
fn gaps(server: &Server, named: u64) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    server.broker("the last gap", |status| {
        gaps.extend(status.gap);
        gaps.last().is_some_and(|(_, until)| *until >= named)
    });
    gaps
}

#[test]
fn a_killed_master_is_replaced_by_its_replica() {
    let sentinels = RefCell::new(Sentinels::start());
    let (one, two) = two_servers(&sentinels.borrow());
    let mut named = 0;
    let traffic = traffic::during(&one, &two, || {
        let mut sentinels = sentinels.borrow_mut();
        sentinels.redis[0].kill();
        sentinels.await_master(1);
        named = unix_ms();
        await_there(&sentinels, 1, &[&one, &two]);
        expect_soon(named);
    });
    traffic.expect_true_but_for(&gaps(&one, named), &gaps(&two, named));
    assert!(traffic.count(Status::Local) > 0 && traffic.count(Status::Published) > 0);
}

#[test]
fn a_master_that_was_replaced_is_left_although_it_goes_on_as_one() {
    let sentinels = RefCell::new(Sentinels::start());
    let (one, two) = two_servers(&sentinels.borrow());
    let mut named = 0;
    let traffic = traffic::during(&one, &two, || {
        let mut sentinels = sentinels.borrow_mut();
        sentinels.fail_over();
        sentinels.await_master(1);
        named = unix_ms();
        await_there(&sentinels, 1, &[&one, &two]);
        // The Sentinels turn the old one into a replica two seconds later.
        expect_soon(named);
    });
    traffic.expect_true_but_for(&gaps(&one, named), &gaps(&two, named));
}

#[test]
fn whoever_follows_first_tells_a_gap_that_covers_the_last() {
    let sentinels = RefCell::new(Sentinels::start());
    let (one, two) = two_servers(&sentinels.borrow());
    let mut named = 0;
    let traffic = traffic::during(&one, &two, || {
        let sentinels = sentinels.borrow();
        sentinels.fail_over();
        // Both are cut off again and again, and come back where the Sentinels say at that moment.
        eventually("the servers to follow", || {
            let _ = sentinels.redis[0].try_ask::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            sentinels.subscribers(1) == Some(2)
        });
        named = unix_ms();
        await_there(&sentinels, 1, &[&one, &two]);
    });
    traffic.expect_true_but_for(&gaps(&one, named), &gaps(&two, named));
}

#[test]
fn a_master_that_froze_is_left_and_not_believed_when_it_wakes() {
    let sentinels = RefCell::new(Sentinels::start());
    let (one, two) = two_servers(&sentinels.borrow());
    let mut told = Vec::new();
    let mut named = 0;
    let traffic = traffic::during(&one, &two, || {
        let mut sentinels = sentinels.borrow_mut();
        sentinels.redis[0].stop();
        sentinels.await_master(1);
        named = unix_ms();
        await_there(&sentinels, 1, &[&one, &two]);
        expect_soon(named);
        told.extend([&one, &two].map(|server| gaps(server, named)));
        sentinels.redis[0].resume();
        eventually("the old master to be a replica", || {
            // Its clients are cut off in that moment.
            let info = sentinels.redis[0].try_ask::<String>(&["INFO", "replication"]);
            info.is_ok_and(|info| info.contains("role:slave"))
        });
        await_there(&sentinels, 1, &[&one, &two]);
    });
    traffic.expect_true_but_for(&told[0], &told[1]);
    assert_eq!((one.gaps(), two.gaps()), (vec![], vec![]));
}

#[test]
fn sentinels_may_go_one_by_one_and_the_master_is_still_found() {
    let mut sentinels = Sentinels::start();
    let (one, two) = two_servers(&sentinels);
    for index in 0..sentinels.sentinels.len() {
        if index == 1 {
            // This one looks alive.
            sentinels.sentinels[index].stop();
        } else {
            sentinels.sentinels[index].kill();
        }
        assert_eq!(one.tell("nobody", "x").status, Status::Published);
        if index < 2 {
            let begin = Instant::now();
            sentinels.redis[0].run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            await_there(&sentinels, 0, &[&one, &two]);
            assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        }
    }
    // The link that there is goes on; a new one can't be had, until there is a Sentinel again.
    assert_eq!(one.engine.stats().broker.state, State::Up);
    sentinels.redis[0].run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let down = one.broker("it to be down", |status| status.state == State::Down && status.error.is_some());
    assert!(down.gap.is_none());
    sentinels.sentinels[0].restart();
    await_there(&sentinels, 0, &[&one, &two]);
}

#[test]
fn a_master_that_one_sentinel_calls_by_name_and_another_by_address_is_one() {
    let redis = RedisServer::start();
    let port = redis.address().port();
    let names = ["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"];
    let sentinels = ["localhost", "127.0.0.1"].map(|host| {
        let monitor = format!("sentinel monitor {NAME} {host} {port} 1");
        RedisServer::with(&[&names[..], &[&monitor]].concat())
    });
    let named = |sentinel: &RedisServer| -> Vec<String> {
        sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])
    };
    assert_eq!(sentinels.each_ref().map(|sentinel| named(sentinel)[0].clone()), ["localhost", "127.0.0.1"]);
    let servers = sentinels.each_ref().map(|sentinel| RedisAt::parse(&sentinel.url()).unwrap());
    let config = RedisConfig { master_name: NAME.into(), ..RedisConfig::new(servers.into()) };
    let server = Server::start_up(with(config));
    let _ada = server.connect_as("ada");
    // Both are asked several times meanwhile.
    let trouble = server.event_within(Duration::from_secs(1), |event| match event {
        Event::Broker(status) => status.error.clone(),
        _ => None,
    });
    assert_eq!(trouble, None);
    assert_eq!((server.gaps(), server.engine.stats().broker.counts.gaps), (vec![], 0));
    assert_eq!(server.tell("ada", "x").nodes, Some(1));
}

#[test]
fn a_name_that_leads_nowhere_is_passed_over_where_another_sentinel_has_one_that_does() {
    let redis = RedisServer::start();
    let port = redis.address().port();
    // They call it by its address and by one where nobody listens, in one epoch.
    let sentinels = ["127.0.0.1", "127.0.0.2"]
        .map(|host| RedisServer::with(&[&format!("sentinel monitor {NAME} {host} {port} 1")]));
    let servers = sentinels.each_ref().map(|sentinel| RedisAt::parse(&sentinel.url()).unwrap());
    let config = RedisConfig {
        master_name: NAME.into(),
        probe_interval: Duration::from_millis(100),
        ..RedisConfig::new(servers.into())
    };
    let server = Server::start(with(config));
    // The gap of its start is told after it is up if it tries the other address first.
    let (mut refused, mut told) = (false, false);
    server.broker("it to be up", |status| {
        refused |= status.error.is_some();
        told |= status.gap.is_some();
        status.state == State::Up && (told || !refused)
    });
    let up = unix_ms();
    let trouble = server.event_within(Duration::from_secs(1), |event| match event {
        Event::Broker(status) => status.error.clone(),
        _ => None,
    });
    assert_eq!(trouble, None, "it stays");
    redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let (since, _) = server.broker("the gap", |status| status.gap.is_some()).gap.unwrap();
    assert!(since > up, "it begins when they were last asked, not with the process: {since} {up}");
}

/// A Sentinel's word, and the number of questions.
struct Mouth {
    word: Mutex<Option<Word>>,
    asked: AtomicUsize,
}

impl Mouth {
    fn saying(word: Word) -> Arc<Mouth> {
        Arc::new(Mouth { word: Mutex::new(Some(word)), asked: AtomicUsize::new(0) })
    }

    fn sentinel(self: &Arc<Mouth>) -> FakeRedis {
        let mouth = self.clone();
        FakeRedis::sentinel(move || {
            mouth.asked.fetch_add(1, Ordering::SeqCst);
            *mouth.word.lock()
        })
    }

    /// Waits until it has told several times what it says now.
    fn await_heard(&self) {
        let before = self.asked.load(Ordering::SeqCst);
        eventually("it to be asked", || self.asked.load(Ordering::SeqCst) > before + 9);
    }
}

fn named_by(sentinels: &[FakeRedis; 2]) -> RedisConfig {
    let servers = sentinels.each_ref().map(|sentinel| RedisAt::parse(&sentinel.url()).unwrap());
    RedisConfig { master_name: NAME.into(), ..RedisConfig::new(servers.into()) }
}

#[test]
fn a_sentinel_that_goes_takes_no_link_along_although_the_others_name_what_no_dns_knows() {
    let redis = RedisServer::start();
    let port = redis.address().port();
    let word = |host| Word { epoch: 3, host, port };
    let mouths = [(); 2].map(|()| Mouth::saying(word("127.0.0.1")));
    *mouths[1].word.lock() = None;
    let sentinels = mouths.each_ref().map(Mouth::sentinel);
    let server = Server::start_up(with(named_by(&sentinels)));
    *mouths[1].word.lock() = Some(word("no-such-host.invalid"));
    mouths.iter().for_each(|mouth| mouth.await_heard());
    *mouths[0].word.lock() = None;
    mouths.iter().for_each(|mouth| mouth.await_heard());
    let counts = server.engine.stats().broker.counts;
    assert_eq!((server.broker_events().len(), counts.gaps), (0, 0), "it stays");
}

#[test]
fn a_master_that_is_named_by_hand_in_the_same_epoch_is_followed() {
    let redis = [(); 2].map(|()| RedisServer::start());
    let [old, new] =
        redis.each_ref().map(|redis| Word { epoch: 0, host: "127.0.0.1", port: redis.address().port() });
    let mouths = [(); 2].map(|()| Mouth::saying(old));
    let sentinels = mouths.each_ref().map(Mouth::sentinel);
    let server = Server::start_up(with(named_by(&sentinels)));
    mouths.iter().for_each(|mouth| mouth.await_heard());
    *mouths[0].word.lock() = Some(new);
    mouths.iter().for_each(|mouth| mouth.await_heard());
    assert_eq!(server.broker_events().len(), 0, "one still names the old one");
    *mouths[1].word.lock() = Some(new);
    server.broker("it to be left", |status| status.state == State::Down);
    server.expect_up();
    let there: (String, u64) = redis[1].ask(&["PUBSUB", "NUMSUB", "actory:all"]);
    assert_eq!(there.1, 1);
}

#[test]
fn a_master_that_no_sentinel_knows_is_said_to_be_unknown() {
    let mut sentinels = Sentinels::start();
    sentinels.sentinels[2].kill();
    let server = Server::start(with(RedisConfig { master_name: "nobody".into(), ..config(&sentinels) }));
    let error = server.settled(server.engine.ready()).unwrap_err();
    assert_eq!(error.code(), "ERR_BROKER_ROLE", "{error:?}");
    assert!(error.message.contains("knows no master 'nobody'"), "{error:?}");
}

#[test]
fn a_server_starts_while_only_one_sentinel_of_its_list_lives() {
    let mut sentinels = Sentinels::start();
    sentinels.sentinels[0].stop();
    sentinels.sentinels[1].kill();
    let begin = Instant::now();
    let server = Server::start(with(config(&sentinels)));
    assert_eq!(server.settled(server.engine.ready()), Ok(Answer::Done));
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(server.tell("nobody", "x").nodes, Some(0));
}

#[test]
fn the_options_login_is_the_masters_and_the_urls_are_the_sentinels() {
    let redis = ["requirepass of-redis", "masterauth of-redis"];
    let auth = format!("sentinel auth-pass {NAME} of-redis");
    let login = ["requirepass of-sentinels", "sentinel sentinel-pass of-sentinels", &auth];
    let sentinels = Sentinels::with(&redis, &login);
    let mut config = config(&sentinels);
    let refused = |config: &RedisConfig| {
        let server = Server::start(with(config.clone()));
        server.settled(server.engine.ready()).unwrap_err().code()
    };
    assert_eq!(refused(&config), "ERR_BROKER_AUTH");
    config.servers.iter_mut().for_each(|server| server.password = Some("of-sentinels".into()));
    assert_eq!(refused(&config), "ERR_BROKER_AUTH");
    config.password = Some("of-redis".into());
    let server = Server::start_up(with(config));
    assert_eq!(server.tell("nobody", "x").status, Status::Published);
}
