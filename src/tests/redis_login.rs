//! Logins with the rights that README.md names, and no others: its very lines.

use std::time::Duration;

use protocol::frame::Message;
use redis::Value;

use super::harness::{Request, Server, eventually};
use super::redis_rig::sentinel::Sentinels;
use super::redis_rig::{MASTERS, RedisCluster, RedisServer, with, with_redis};
use crate::broker::PublishOptions;
use crate::broker::history::{DEFAULT_BOUNDS, HistoryConfig};
use crate::broker::redis::{RedisConfig, Server as RedisAt};
use crate::engine::config::Config;
use crate::outcome::{Answer, ConnectionCount, Status};
use crate::registry::recipients::{Channel, Topic};

/// Lines for `redis.conf`, in the README's order.
fn logins() -> [String; 4] {
    let readme = include_str!("../../README.md");
    let lines = readme.lines().filter_map(|line| line.strip_prefix("ACL SETUSER "));
    let lines: Vec<String> = lines.map(|login| format!("user {login}")).collect();
    lines.try_into().expect("README.md has four lines with a login")
}

/// With the login, and with everything that it ever sends sent soon.
fn logged_in(redis: RedisConfig) -> RedisConfig {
    RedisConfig {
        username: Some("app".into()),
        password: Some("secret".into()),
        probe_interval: Duration::from_millis(100),
        grace: Duration::ZERO,
        ..redis
    }
}

/// The rights that were missed. Sentinels that turn a master into a replica cut everybody off: it is asked again then.
fn missed(redis: &RedisServer) -> Vec<Value> {
    let mut log = None;
    eventually("Redis' log of refusals", || {
        log = redis.try_ask(&["ACL", "LOG"]).ok();
        log.is_some()
    });
    log.unwrap()
}

/// The number of times that the server was asked whether it is a master.
fn probes(redis: &RedisServer) -> Option<u64> {
    let stats: String = redis.ask(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_role:calls="))?;
    line.split(',').next()?.parse().ok()
}

/// Does all that servers do for users of these names.
fn use_all(one: &Server, two: &Server, users: &[String]) {
    for user in users {
        let (mut here, mut there) =
            (one.open(Request::of(user, &["den"])), two.open(Request::of(user, &["den"])));
        for channel in [Channel::User(user), Channel::Room("den"), Channel::Everyone] {
            let delivery = one.delivery(one.engine.publish(channel, Message::Text("hello"), true));
            assert_eq!((delivery.status, delivery.nodes), (Status::Published, Some(2)));
            here.expect_text("hello");
            there.expect_text("hello");
        }
        there.text("{\"relayed\":1}");
        here.expect_text("{\"relayed\":1}");
        there.expect_text("{\"relayed\":1}");
        let all = ConnectionCount { connections: 2, servers: 2, complete: true };
        assert_eq!(one.settled(one.engine.count(Some(user))), Ok(Answer::ConnectionCount(all)));
        assert_eq!(one.settled(one.engine.is_online("nobody")), Ok(Answer::Number(0)));
        let delivery = two.delivery(two.engine.disconnect_user(user, 4002, "", true));
        assert_eq!(delivery.status, Status::Published);
        here.expect_close(4002);
        there.expect_close(4002);
        drop((here, there));
        // Keys of those who are gone are left.
        let online = || one.settled(one.engine.is_online(user)) == Ok(Answer::Number(0));
        eventually("the user's channel to be left", online);
    }
}

fn ada() -> Vec<String> {
    vec!["ada".to_owned()]
}

#[test]
fn the_login_for_one_redis_is_enough() {
    let redis = RedisServer::with(&[&logins()[0]]);
    let [one, two] = [(); 2].map(|()| Server::start_up(with(logged_in(with_redis(&redis.url()).redis))));
    let before = probes(&redis);
    use_all(&one, &two, &ada());
    eventually("the servers to ask how it is", || probes(&redis) > before);
    assert_eq!(missed(&redis), []);
}

/// The rights that `+@connection` gives are missed in a cluster alone: its links send `PING`.
const OF_CLUSTERS: [&str; 2] = ["+@connection", "+cluster|slots"];

#[test]
fn the_login_for_one_redis_has_no_right_too_many() {
    let login = &logins()[0];
    let rights: Vec<&str> = login.split(' ').filter(|word| word.starts_with(['+', '&'])).collect();
    assert!(rights.len() > 3, "{login}");
    for right in rights.into_iter().filter(|right| !OF_CLUSTERS.contains(right)) {
        let redis = RedisServer::with(&[&login.replace(&format!(" {right}"), "")]);
        let _server = Server::start(with(logged_in(with_redis(&redis.url()).redis)));
        eventually(&format!("{right} to be missed"), || !missed(&redis).is_empty());
    }
}

#[test]
fn the_login_for_a_cluster_has_no_right_too_many() {
    let login = &logins()[2];
    for right in OF_CLUSTERS {
        let without = login.replace(&format!(" {right}"), "");
        assert_ne!(&without, login);
        let cluster = RedisCluster::of(MASTERS, &[&without]);
        let server = Server::start(with(logged_in(cluster.config())));
        // Its subscription has to end for a PING to follow.
        eventually(&format!("{right} to be missed"), || {
            drop(server.connect_as(&RedisCluster::user_on(0, 0)));
            cluster.nodes.iter().any(|node| !missed(node).is_empty())
        });
    }
}

#[test]
fn the_logins_for_sentinels_and_their_master_are_enough() {
    let [redis, sentinel, ..] = logins();
    let mut sentinels = Sentinels::with(&[&redis], &[&sentinel]);
    let urls = sentinels.sentinels.iter().map(|each| each.url().replace("//", "//app:secret@"));
    let servers = urls.map(|url| RedisAt::parse(&url).unwrap()).collect();
    let config = logged_in(RedisConfig { servers, ..sentinels.config() });
    let [one, two] = [(); 2].map(|()| Server::start_up(with(config.clone())));
    use_all(&one, &two, &ada());
    sentinels.fail_over();
    sentinels.await_master(1);
    eventually("both to have followed", || sentinels.subscribers(1) == Some(2));
    [&one, &two].iter().for_each(|server| server.expect_up());
    use_all(&one, &two, &ada());
    for each in sentinels.redis.iter().chain(&sentinels.sentinels) {
        assert_eq!(missed(each), []);
    }
}

#[test]
fn the_login_for_a_cluster_is_enough() {
    let cluster = RedisCluster::of(MASTERS, &[&logins()[2]]);
    let [one, two] = [(); 2].map(|()| Server::start_up(with(logged_in(cluster.config()))));
    let users: Vec<String> = (0..MASTERS).map(|master| RedisCluster::user_on(master, 0)).collect();
    use_all(&one, &two, &users);
    for node in &cluster.nodes {
        assert_eq!(missed(node), []);
    }
}

/// Some are rare: a topic has to have seen many masters, for instance.
#[test]
fn the_login_for_a_history_may_do_all_that_is_in_the_scripts() {
    let scripts = include_str!("../broker/redis/connection/script.rs");
    let commands: Vec<&str> =
        scripts.split("call('").skip(1).filter_map(|rest| rest.split('\'').next()).collect();
    assert!(commands.len() > 10, "{commands:?}");
    let [.., login] = logins();
    // Of Pub/Sub it may do all.
    for command in commands.into_iter().filter(|command| !["VERB", "PUBSUB"].contains(command)) {
        let right = format!("+{}", command.to_lowercase());
        assert!(login.split(' ').any(|word| word == right), "{right}");
    }
}

#[test]
fn the_login_for_one_redis_with_a_history_is_enough_and_the_one_without_is_not() {
    let [plain, .., with_history] = logins();
    for (login, is_enough) in [(with_history, true), (plain, false)] {
        let redis = RedisServer::with(&[&login]);
        let history = HistoryConfig { users: Some(DEFAULT_BOUNDS), ..HistoryConfig::default() };
        let config = Config { history, ..with(logged_in(with_redis(&redis.url()).redis)) };
        if !is_enough {
            let _server = Server::start(config);
            eventually("a right to be missed", || !missed(&redis).is_empty());
            continue;
        }
        let [one, two] = [(); 2].map(|()| Server::start_up(config.clone()));
        use_all(&one, &two, &ada());
        let keyed = PublishOptions { idempotency_key: Some("k"), ..PublishOptions::default() };
        let publish = || one.engine.publish(Channel::User("ada"), Message::Text("kept"), keyed);
        let first = one.delivery(publish()).position;
        assert!(first.is_some());
        assert_eq!(one.settled(publish()), Ok(Answer::Repeated(first)));
        let page = two.settled(two.engine.history(Topic::User("ada"), None, 100));
        assert!(matches!(page, Ok(Answer::History(page)) if page.position == first));
        assert_eq!(missed(&redis), []);
    }
}
