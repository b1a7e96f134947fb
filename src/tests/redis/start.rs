//! Finding Redis: every kind of URL and login, and what is said of one that can't be used.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use codes::error::Error;
use parking_lot::Mutex;

use crate::broker::redis::RedisConfig;
#[cfg(target_os = "linux")]
use crate::engine::config::Config;
use crate::events::broker_status::State;
use crate::outcome::{Answer, Delivery, Reply, Status};
use crate::tests::harness::{Request, Server, eventually};
#[cfg(target_os = "linux")]
use crate::tests::harness::{allow_threads, alone};
use crate::tests::redis_rig::fake::Line;
use crate::tests::redis_rig::traffic::unix_ms;
use crate::tests::redis_rig::{FakeRedis, KEY, RedisServer, Tap, TlsRedis, with, with_redis};

/// Two servers with this configuration reach each other's users.
fn expect_company(redis: &RedisConfig) {
    let [one, two] = [(); 2].map(|()| Server::start_up(with(redis.clone())));
    let mut ada = two.connect_as("ada");
    assert_eq!(
        one.tell("ada", "hello"),
        Delivery { status: Status::Published, nodes: Some(1), local: 0, position: None }
    );
    ada.expect_text("hello");
}

/// A server with this configuration says by `ready()`, by an event and in its statistics why its broker is down.
fn expect_trouble(redis: RedisConfig, code: &str) -> Server {
    let server = Server::start(with(RedisConfig { connect_timeout: Duration::from_millis(300), ..redis }));
    let ready = server.settled(server.engine.ready());
    assert_eq!(ready.unwrap_err().code(), code);
    let told = server.broker("it to be told", |status| status.error.is_some());
    assert_eq!((told.state, told.error.as_ref().map(Error::code)), (State::Down, Some(code)));
    let stats = server.engine.stats().broker;
    assert_eq!((stats.state, stats.code), (State::Down, Some(code)));
    // It serves who is here, and it keeps trying.
    let mut ada = server.connect_as("ada");
    assert_eq!(
        server.tell("ada", "alone"),
        Delivery { status: Status::Local, nodes: None, local: 1, position: None }
    );
    ada.expect_text("alone");
    let ready = server.settled(server.engine.ready());
    assert_eq!(ready.unwrap_err().code(), code);
    server
}

#[test]
fn a_redis_that_is_not_there_yet_is_found_when_it_comes() {
    let mut redis = RedisServer::start();
    redis.kill();
    let server = expect_trouble(with_redis(&redis.url()).redis, "ERR_BROKER_CONNECT");
    let mut bob = server.connect_as("bob");
    redis.restart();
    let back = Instant::now();
    server.expect_up();
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
    assert_eq!(server.settled(server.engine.ready()), Ok(Answer::Done));
    assert_eq!(server.tell("bob", "hello").status, Status::Published);
    bob.expect_text("hello");
}

#[test]
#[cfg(target_os = "linux")]
fn a_name_that_no_thread_can_look_up_is_looked_up_again() {
    alone("tests::redis::start::a_name_that_no_thread_can_look_up_is_looked_up_again", || {
        let redis = RedisServer::start();
        let url = format!("redis://localhost:{}", redis.address().port());
        allow_threads(Some(1));
        let server = Server::start(Config { threads: 1, ..with_redis(&url) });
        let down = server.broker("it to be told", |status| status.error.is_some());
        assert_eq!(down.error.unwrap().code(), "ERR_BROKER_CONNECT");
        allow_threads(None);
        server.expect_up();
    });
}

#[test]
fn the_first_link_tells_of_the_time_that_was_spent_alone() {
    let mut redis = RedisServer::start();
    redis.kill();
    let server = expect_trouble(with_redis(&redis.url()).redis, "ERR_BROKER_CONNECT");
    redis.restart();
    let status = server.broker("a gap", |status| status.gap.is_some());
    assert_eq!(status.state, State::Up);
    assert_eq!(server.engine.stats().broker.counts.gaps, 1, "as many as are told of");
}

#[test]
fn a_redis_that_is_there_at_once_leaves_no_gap() {
    let redis = RedisServer::start();
    let server = Server::start(with_redis(&redis.url()));
    let up = server.broker("the broker to be up", |status| status.state == State::Up);
    assert_eq!((up.gap, up.error), (None, None));
    assert_eq!(server.engine.ready(), Ok(Reply::Now(Answer::Done)));
}

#[test]
fn who_comes_while_the_first_link_is_made_waits_for_it() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    tap.stall();
    let server = Server::start(with_redis(&tap.url()));
    let other = Server::on(&redis.url());
    std::thread::scope(|scope| {
        let ada = scope.spawn(|| server.connect_as("ada"));
        eventually("ada to be there", || server.engine.stats().connections > 0 && tap.held() > 0);
        tap.open();
        let mut ada = ada.join().unwrap();
        assert_eq!(other.tell("ada", "hello").nodes, Some(1));
        ada.expect_text("hello");
    });
    let up = server.broker("the broker to be up", |status| status.state == State::Up);
    assert_eq!(up.gap, None);
    assert_eq!(server.engine.stats().broker.counts.unconfirmed, 0);
}

#[test]
fn who_does_not_wait_longer_for_the_first_link_has_a_gap() {
    let redis = RedisServer::start();
    let tap = Tap::before(redis.address());
    tap.stall();
    let server = Server::start(with_redis(&tap.url()));
    let begun = unix_ms();
    let _ada = server.connect_as("ada");
    let opened = unix_ms();
    tap.open();
    let up = server.broker("the broker to be up", |status| status.state == State::Up);
    let (since, until) = up.gap.unwrap();
    assert!((begun..=opened).contains(&since) && until >= opened, "{begun} {opened} {since} {until}");
}

#[test]
fn a_link_that_is_away_does_not_keep_others_from_confirming() {
    let (greetings, confirmed) = (AtomicUsize::new(0), Arc::new(Mutex::new(Vec::new())));
    let told = confirmed.clone();
    let fake = FakeRedis::start(move |command| match command[0].as_str() {
        // Of two links one is let in.
        "HELLO" if greetings.fetch_add(1, Ordering::SeqCst) >= 2 => {
            Line::Last("-ERR max number of clients reached\r\n".into())
        }
        "SUBSCRIBE" if command[1].contains(":user:") || command[1].contains(":room:") => {
            std::thread::park_timeout(Duration::from_millis(100));
            told.lock().extend_from_slice(&command[1..]);
            Line::Usual
        }
        _ => Line::Usual,
    });
    let server = Server::start(with(RedisConfig { connections: 2, ..with_redis(&fake.url()).redis }));
    server.broker("one of two links", |status| status.state == State::Degraded);
    let ready = server.settled(server.engine.ready());
    assert_eq!(ready.unwrap_err().code(), "ERR_BROKER_CONNECT", "all links are meant");
    let mut served = 0;
    for number in 0..8 {
        let (user, rooms) = (format!("u{number}"), [0, 1, 2, 3].map(|room| format!("r{number}{room}")));
        let client = server.open(Request::of(&user, &rooms.each_ref().map(String::as_str)));
        // At this moment: a later confirmation was not waited for.
        served += usize::from(confirmed.lock().contains(&format!("actory:user:{user}")));
        drop(client);
    }
    assert!(served > 0, "about half of them");
    assert!(server.engine.stats().broker.counts.unconfirmed > 0, "rooms of the other link");
}

#[test]
fn logins_are_those_of_the_url_or_of_the_options() {
    let redis = RedisServer::with(&["requirepass hush", "user app on >secret ~* &actory:* +@all"]);
    let url = |login: &str| redis.url().replace("//", &format!("//{login}"));
    for login in [":hush@", "app:secret@", "default:hush@"] {
        expect_company(&with_redis(&url(login)).redis);
    }
    // Pub/Sub knows no databases: one of another number is the same.
    expect_company(&with_redis(&format!("{}/3", url(":hush@"))).redis);
    expect_company(&RedisConfig { username: Some("app".into()), ..with_redis(&url(":secret@")).redis });
    let options = RedisConfig {
        username: Some("app".into()),
        password: Some("secret".into()),
        ..with_redis(&url("other:wrong@")).redis
    };
    expect_company(&options);
}

#[test]
fn a_user_needs_no_password_where_redis_wants_none() {
    let redis = RedisServer::with(&["user app on nopass ~* &actory:* +@all", "requirepass hush"]);
    let url = |login: &str| with_redis(&redis.url().replace("//", &format!("//{login}"))).redis;
    for login in ["app@", "app:@", "app:any@"] {
        expect_company(&url(login));
    }
    expect_company(&with_redis(&format!("{}?user=app", redis.unix_url())).redis);
    let app = RedisConfig { username: Some("app".into()), ..url("") };
    expect_company(&app);
    // An empty one stands for none, also where the URL has another.
    expect_company(&RedisConfig { password: Some(String::new()), ..app });
    expect_trouble(RedisConfig { password: Some(String::new()), ..url(":any@") }, "ERR_BROKER_AUTH");
    let server = expect_trouble(url("nobody@"), "ERR_BROKER_AUTH");
    let error = server.settled(server.engine.ready()).unwrap_err();
    assert!(error.message.contains("redis.password"), "{error}");
}

#[test]
fn a_refused_login_is_said_to_be_one() {
    let redis = RedisServer::with(&["requirepass hush", "user mute on >secret ~* &other:* +@all"]);
    for login in ["", ":wrong@", "nobody:hush@"] {
        let url = redis.url().replace("//", &format!("//{login}"));
        expect_trouble(with_redis(&url).redis, "ERR_BROKER_AUTH");
    }
    // The login is right, and may not listen.
    let url = redis.url().replace("//", "//mute:secret@");
    expect_trouble(with_redis(&url).redis, "ERR_BROKER_AUTH");
}

#[test]
fn a_login_needs_no_more_than_is_documented() {
    let lines = [
        "user app on >secret resetchannels &actory:* -@all +@connection +@pubsub",
        "user wide on >secret resetchannels &actory:* -@all +@connection +@pubsub +role",
    ];
    let redis = RedisServer::with(&lines);
    for login in ["app", "wide"] {
        let url = redis.url().replace("//", &format!("//{login}:secret@"));
        expect_company(&with_redis(&url).redis);
    }
}

#[test]
fn a_login_that_is_mended_is_found_without_a_restart() {
    let redis = RedisServer::with(&["requirepass hush"]);
    let url = redis.url().replace("//", "//app:secret@");
    let server = expect_trouble(with_redis(&url).redis, "ERR_BROKER_AUTH");
    redis.run(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all"]);
    server.expect_up();
    // And the other way round: who may no longer listen is cut off by Redis, and says why it stays away.
    redis.run(&["ACL", "SETUSER", "app", "resetchannels"]);
    let is_auth = |error: &Error| error.code() == "ERR_BROKER_AUTH";
    server.broker("the refusal", |status| status.error.as_ref().is_some_and(is_auth));
}

#[test]
fn a_unix_socket_carries_it_too() {
    let redis = RedisServer::with(&["requirepass hush"]);
    expect_company(&with_redis(&format!("{}?pass=hush", redis.unix_url())).redis);
    expect_trouble(with_redis("unix:///nonexistent/redis.sock").redis, "ERR_BROKER_CONNECT");
}

#[test]
fn what_answers_like_no_redis_is_said_to_be_none() {
    let answers: [&'static [u8]; 5] = [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"ERROR\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"+OK\r\n",
    ];
    for answer in answers {
        let fake = FakeRedis::saying(answer);
        expect_trouble(with_redis(&fake.url()).redis, "ERR_BROKER_PROTOCOL");
    }
}

#[test]
fn what_answers_nothing_times_out() {
    let fake = FakeRedis::saying(b"");
    expect_trouble(with_redis(&fake.url()).redis, "ERR_BROKER_TIMEOUT");
    let half = FakeRedis::saying(b"%7\r\n$6\r\nserver\r\n$5\r\nred");
    expect_trouble(with_redis(&half.url()).redis, "ERR_BROKER_TIMEOUT");
}

#[test]
fn errors_of_the_greeting_have_codes_of_their_own() {
    let cases: [(&'static [u8], &str); 6] = [
        (b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n", "ERR_BROKER_TOO_OLD"),
        (b"-NOPROTO unsupported protocol version\r\n", "ERR_BROKER_TOO_OLD"),
        (b"-ERR max number of clients reached\r\n", "ERR_BROKER_CONNECT"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "ERR_BROKER_CONNECT"),
        (b"-DENIED Redis is running in protected mode\r\n", "ERR_BROKER_AUTH"),
        (b"-WEIRD something new\r\n", "ERR_BROKER_PROTOCOL"),
    ];
    for (answer, code) in cases {
        let fake = FakeRedis::saying(answer);
        expect_trouble(with_redis(&fake.url()).redis, code);
    }
}

#[test]
fn no_error_of_a_redis_repeats_the_password() {
    const PASSWORD: &str = "hunter2hunter2";
    // As Redis says it of a command that it doesn't know, and as others may.
    let echoes: [&'static [u8]; 3] = [
        b"-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'hunter2hunter2' \r\n",
        b"-ERR AUTH default hunter2hunter2 failed\r\n",
        b"-hunter2hunter2 is no password\r\n",
    ];
    for answer in echoes {
        let fake = FakeRedis::saying(answer);
        let url = fake.url().replacen("://", &format!("://:{PASSWORD}@"), 1);
        let server = Server::start(with_redis(&url));
        let down = server.broker("an error", |status| status.error.is_some());
        let message = down.error.unwrap().to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn an_error_of_a_redis_is_told_on_one_line() {
    let fake = FakeRedis::saying(b"!32\r\nERR a\n2026 INFO forged\x1b[31m line\r\n");
    let server = Server::start(with_redis(&fake.url()));
    let down = server.broker("an error", |status| status.error.is_some());
    let message = down.error.unwrap().to_string();
    assert!(message.ends_with("ERR a\\n2026 INFO forged\\u{1b}[31m line"), "{message}");
}

#[test]
fn a_full_redis_takes_us_when_it_has_room() {
    let redis = RedisServer::start();
    redis.run(&["CONFIG", "SET", "maxclients", "1"]);
    // One place is taken, so the rig has none either.
    let others: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(redis.address()).unwrap()).collect();
    let server = Server::start(with_redis(&redis.url()));
    let refused = server.settled(server.engine.ready());
    assert_eq!(refused.unwrap_err().code(), "ERR_BROKER_CONNECT");
    drop(others);
    server.expect_up();
}

#[test]
fn a_replica_is_no_place_to_publish() {
    let master = RedisServer::start();
    let line = format!("replicaof 127.0.0.1 {}", master.address().port());
    let replica = RedisServer::with(&[&line]);
    let server = expect_trouble(with_redis(&replica.url()).redis, "ERR_BROKER_ROLE");
    replica.run(&["REPLICAOF", "NO", "ONE"]);
    server.expect_up();
    // A master that is demoted while the link lives: nobody would publish there any more.
    replica.run(&["REPLICAOF", "127.0.0.1", &master.address().port().to_string()]);
    let down = server.broker("the broker to be down", |status| status.state == State::Down);
    assert_eq!(down.error.unwrap().code(), "ERR_BROKER_ROLE");
}

#[test]
fn several_servers_that_know_nothing_of_each_other_are_refused() {
    let (mut first, second) = (RedisServer::start(), RedisServer::start());
    let servers: Vec<_> =
        [&first, &second].iter().flat_map(|redis| with_redis(&redis.url()).redis.servers).collect();
    expect_trouble(RedisConfig::new(servers.clone()), "ERR_BROKER_ROLE");
    // Also when only one of them answers.
    first.kill();
    expect_trouble(RedisConfig::new(servers), "ERR_BROKER_ROLE");
}

/// A server with this configuration doesn't like the certificate, or its own is not liked, for this reason.
fn expect_refusal(redis: RedisConfig, cause: &str) {
    let server = expect_trouble(redis, "ERR_BROKER_CONNECT");
    let error = server.settled(server.engine.ready()).unwrap_err();
    assert!(error.message.contains(cause), "{cause}: {error}");
}

#[test]
fn tls_trusts_the_authority_that_it_is_given_and_no_other() {
    let redis = TlsRedis::start();
    let good = redis.config();
    expect_company(&good);
    // Not the name in the certificate.
    let mut other = good.clone();
    other.tls.servername = Some("redis.example".into());
    expect_refusal(other, "not valid for name");
    // An authority that nobody has heard of.
    let mut stranger = good.clone();
    stranger.tls.ca = None;
    expect_refusal(stranger.clone(), "UnknownIssuer");
    stranger.tls.insecure = true;
    expect_company(&stranger);
    // No certificate of one's own.
    let mut nameless = good.clone();
    (nameless.tls.cert, nameless.tls.key) = (None, None);
    expect_refusal(nameless, "CertificateRequired");
    // TLS where none is spoken: Redis waits for the end of a line.
    let plain = with_redis(&redis.server.url().replace("redis:", "rediss:")).redis;
    expect_trouble(RedisConfig { tls: good.tls, ..plain }, "ERR_BROKER_TIMEOUT");
}

/// With the certificate of one Redis, and not with that of another one.
fn expect_only_its_own(redis: &TlsRedis, other: &TlsRedis) {
    let good = redis.config();
    expect_company(&good);
    let mut wrong = good.clone();
    wrong.tls.ca = other.config().tls.ca;
    expect_refusal(wrong, "UnknownIssuer");
    let mut wrong = good;
    wrong.tls.servername = Some("redis.example".into());
    expect_refusal(wrong, "not valid for name");
}

/// A certificate that is its own authority, with these extensions or names.
fn own(more: &str) -> TlsRedis {
    let make = format!("req -x509 {KEY} -keyout redis.key -out redis.pem -days 2 -subj /CN=localhost{more}");
    TlsRedis::with(&[&make], &["tls-auth-clients no"])
}

#[test]
fn a_certificate_that_is_its_own_authority_is_trusted_where_it_is_named() {
    let named = " -addext subjectAltName=DNS:localhost";
    // The second has the same names, and another key.
    let [redis, other] = [(); 2].map(|()| own(named));
    expect_only_its_own(&redis, &other);
    // A certificate that says it is no authority is one for itself.
    expect_company(&own(&format!("{named} -addext basicConstraints=critical,CA:FALSE")).config());
    expect_company(&own(&format!("{named} -addext extendedKeyUsage=serverAuth")).config());
    // It is over.
    let request = format!("req {KEY} -keyout redis.key -out redis.csr -subj /CN=localhost");
    let late =
        [&request[..], "x509 -req -in redis.csr -signkey redis.key -days -1 -extfile names -out redis.pem"];
    expect_refusal(TlsRedis::with(&late, &["tls-auth-clients no"]).config(), "Expired");
    // It says that it is no server's.
    let client = own(&format!("{named} -addext extendedKeyUsage=clientAuth"));
    expect_refusal(client.config(), "InvalidPurpose");
    let signs = own(&format!("{named} -addext keyUsage=keyCertSign"));
    expect_refusal(signs.config(), "InvalidPurpose");
}

#[test]
fn a_common_name_counts_where_there_is_no_other() {
    let redis = own("");
    expect_only_its_own(&redis, &own(""));
    expect_refusal(own(" -addext subjectAltName=DNS:redis.example").config(), "not valid for name");
    let make = [
        &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"),
        &format!("req {KEY} -keyout redis.key -out redis.csr -subj /CN=localhost"),
        // An extension, whichever: it is of version 3.
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile kind -out redis.pem",
    ];
    let by_authority = TlsRedis::with(&make, &["tls-auth-clients no"]);
    expect_only_its_own(&by_authority, &redis);
}

#[test]
fn certificates_of_version_1_are_taken_where_node_takes_them() {
    let request = format!("req {KEY} -keyout redis.key -out redis.csr -subj /CN=localhost");
    let own = [&request[..], "x509 -req -in redis.csr -signkey redis.key -days 2 -out redis.pem"];
    let issued = [
        &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"),
        &request[..],
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out redis.pem",
    ];
    for version in ["TLSv1.2", "TLSv1.3"] {
        let lines = [&format!("tls-protocols {version}"), "tls-auth-clients no"];
        let [first, second] = [&own[..], &issued].map(|make| TlsRedis::with(make, &lines));
        expect_only_its_own(&first, &second);
        expect_only_its_own(&second, &first);
        for redis in [first, second] {
            let mut any = redis.config();
            (any.tls.ca, any.tls.insecure, any.tls.servername) = (None, true, Some("redis.example".into()));
            expect_company(&any);
        }
    }
}
