//! Tests of the options: what each takes, what it refuses, and how it says so.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::unknown::FOREIGN;
use super::*;

mod auth;
mod history;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn texts(list: &[&str]) -> Value {
    Value::List(list.iter().map(|item| text(item)).collect())
}

/// As long as the hash of HS256.
const SECRET: &str = "hunter2 hunter2 hunter2 hunter2.";

/// Options with this value at this path, and a valid `auth` if the path leaves room for it.
fn options(path: &str, value: Value) -> Value {
    let mut names = path.rsplit('.');
    let last = names.next().unwrap_or(path);
    let mut value = Value::Object(vec![(last.to_owned(), value)]);
    for name in names {
        value = Value::Object(vec![(name.to_owned(), value)]);
    }
    // A key for the sake of the other options under auth.jwt.
    if let Value::Object(members) = &mut value {
        if !path.starts_with("auth") {
            members.push(("auth".into(), text("anonymous")));
        } else if let [(_, Value::Object(auth))] = &mut members[..]
            && let [(jwt, Value::Object(jwt_members))] = &mut auth[..]
            && jwt == "jwt"
            && !matches!(last, "secret" | "publicKey")
        {
            jwt_members.push(("secret".into(), text(SECRET)));
        }
    }
    value
}

fn with_secret(secret: &str) -> Environment {
    Environment { jwt_secret: Some(secret.to_owned()), ..Environment::default() }
}

#[test]
fn outboxes_may_hold_a_quarter_of_the_memory_unless_an_option_says_otherwise() {
    let limit = |options, memory| {
        let environment = Environment { memory, ..Environment::default() };
        build(options, environment).unwrap().limits.memory_bytes
    };
    let silent = || options("threads", Value::Number(1.0));
    assert_eq!(limit(silent(), Some(8 << 30)), 2 << 30);
    // Two messages of the largest kind have room, however little memory there is.
    assert_eq!(limit(silent(), Some(0)), 2 << 20);
    assert_eq!(limit(options("limits.maxPayload", Value::Number(3e6)), Some(8 << 20)), 6_000_000);
    assert_eq!(limit(options("limits.outboxBytes", Value::Number(3e6)), Some(8 << 20)), 6_000_000);
    assert_eq!(limit(silent(), Some(u64::MAX)), 1 << 40);
    assert_eq!(limit(silent(), None), usize::MAX);
    assert_eq!(limit(options("limits.memoryBytes", Value::Number(3e6)), Some(8 << 30)), 3_000_000);
}

fn set(path: &str, value: Value) -> Result<Config, ConfigError> {
    build(options(path, value), Environment::default())
}

/// A wrong type and, where there is one, a value that is not permitted, for every option.
fn wrong(path: &str) -> (Value, Option<Value>) {
    if let Some(number) = NUMBERS.iter().find(|number| number.path == path) {
        return (text("5"), Some(Value::Number((number.max + 1) as f64)));
    }
    match path {
        "name" => (Value::Number(1.0), Some(text(""))),
        "path" => (Value::Flag(true), Some(text("no-slash"))),
        "protocols" => (text("chat"), Some(texts(&["bearer"]))),
        "keepHeaders" => (text("user-agent"), Some(texts(&["user agent"]))),
        "auth" => (Value::Number(1.0), Some(text("jwt"))),
        "auth.jwt.secret" => (Value::Number(31337.0), Some(text(""))),
        "auth.jwt.publicKey" => (Value::Number(31337.0), Some(text("no PEM"))),
        "auth.jwt.algorithms" => (text("HS256"), Some(texts(&["none"]))),
        "auth.jwt.issuer" => (Value::Number(1.0), Some(texts(&[]))),
        "auth.jwt.audience" => (Value::Flag(true), Some(texts(&[]))),
        "auth.jwt.userIdClaim" | "auth.jwt.cookie" | "auth.jwt.query" => (Value::Flag(false), Some(text(""))),
        "auth.jwt.leewaySeconds" => (text("5"), Some(Value::Number(301.0))),
        "auth.jwt.requireExp" | "auth.jwt.allowShortSecret" => (Value::Number(1.0), None),
        "rejectWith" => (Value::Flag(true), Some(text("json"))),
        "allowedOrigins" => (Value::Flag(true), Some(texts(&["example.com"]))),
        "trustProxy" => (Value::Flag(true), Some(text("nonsense"))),
        "proxyHeader" => (Value::Flag(true), Some(text("x-real-ip"))),
        "relay" => (Value::Flag(true), Some(text("all"))),
        "auth.authenticate" | "auth.jwt" | "heartbeat" | "limits" | "redis.tls" | "authorize"
        | "authorize.join" => (text("x"), None),
        "authorize.claim" => (Value::Number(1.0), Some(text(""))),
        "redis" => (Value::Flag(true), None),
        "redis.url" => (Value::Number(6379.0), Some(text("http://localhost"))),
        "redis.routing" => (Value::Flag(true), Some(text("room"))),
        "redis.prefix" | "redis.masterName" | "redis.username" | "redis.tls.servername" => {
            (Value::Flag(false), Some(text("")))
        }
        "redis.password" => (Value::Flag(false), None),
        "redis.tls.ca" | "redis.tls.cert" | "redis.tls.key" => (Value::Number(1.0), None),
        "redis.tls.rejectUnauthorized" => (Value::Number(0.0), None),
        "history" | "history.users" | "history.rooms" | "history.trustFailover" => {
            (Value::Number(100.0), None)
        }
        "history.size" | "history.users.size" | "history.rooms.size" => {
            (text("5"), Some(Value::Number(100_001.0)))
        }
        "history.ttlMs" | "history.users.ttlMs" | "history.rooms.ttlMs" => {
            (text("5"), Some(Value::Number(999.0)))
        }
        _ => panic!("{path} is not tried"),
    }
}

#[test]
fn every_option_refuses_a_wrong_type_and_a_value_out_of_range_by_its_name() {
    for path in option_paths() {
        let (wrong_type, out_of_range) = wrong(path);
        for wrong_type in [wrong_type, Value::Other("null"), Value::Other("a BigInt")] {
            let error = set(path, wrong_type).unwrap_err();
            assert_eq!((error.option.as_str(), error.code()), (path, "ERR_INVALID_OPTION"));
            assert!(error.message.starts_with(&format!("{path} must be ")), "{error}");
        }
        if let Some(value) = out_of_range {
            let error = set(path, value).unwrap_err();
            assert_eq!((error.option.as_str(), error.code()), (path, "ERR_OPTION_OUT_OF_RANGE"));
            assert!(error.message.starts_with(&format!("{path} must be ")), "{error}");
        }
    }
}

#[test]
fn undefined_is_the_default_of_every_option() {
    let default = format!("{:?}", build(Value::Undefined, with_secret(SECRET)));
    // An object for `history` is not the same as none: what is undefined in it is tried in history.rs.
    let is_here = |path: &&str| !path.starts_with("auth") && !path.starts_with("history.");
    for path in option_paths().into_iter().filter(is_here) {
        let mut with_undefined = options(path, Value::Undefined);
        if let Value::Object(members) = &mut with_undefined {
            members.retain(|(name, _)| name != "auth");
        }
        assert_eq!(format!("{:?}", build(with_undefined, with_secret(SECRET))), default, "{path}");
    }
}

#[test]
fn paths_are_unique_and_what_holds_others_comes_before_them() {
    let paths = option_paths();
    for (index, path) in paths.iter().enumerate() {
        assert!(!paths[..index].contains(path), "{path} twice");
        if let Some((parent, _)) = path.rsplit_once('.') {
            assert!(paths[..index].contains(&parent), "{path} before {parent}");
        }
    }
}

#[test]
fn every_option_arrives_in_the_config() {
    assert_eq!(set("name", text("a")).unwrap().name, "a");
    assert_eq!(set("path", text("/ws")).unwrap().path, "/ws");
    assert_eq!(set("protocols", texts(&["b", "a"])).unwrap().protocols, ["b", "a"]);
    assert_eq!(
        set("keepHeaders", texts(&["User-Agent", "x"])).unwrap().keep_headers.unwrap(),
        ["user-agent", "x"]
    );
    assert_eq!(set("keepHeaders", texts(&[])).unwrap().keep_headers.as_deref(), Some(&[] as &[String]));
    assert_eq!(set("name", text("a")).unwrap().keep_headers, None);
    assert_eq!(set("rejectWith", text("close")).unwrap().reject_with, RejectWith::Close);
    assert_eq!(set("relay", text("rooms")).unwrap().relay, Relay::Rooms);
    assert_eq!(set("relay", Value::Flag(false)).unwrap().relay, Relay::Off);
    assert_eq!(set("allowedOrigins", text("*")).unwrap().origins, Origins::Any);
    let list = Origins::List(vec!["https://*.a.b".parse().unwrap()]);
    assert_eq!(set("allowedOrigins", texts(&["https://*.a.b"])).unwrap().origins, list);
    assert_eq!(set("trustProxy", Value::Flag(false)).unwrap().trust_proxy, TrustProxy::Nobody);
    assert_eq!(set("trustProxy", Value::Number(16.0)).unwrap().trust_proxy, TrustProxy::Hops(16));
    let places =
        |places: &[&str]| TrustProxy::parse(&places.iter().map(|place| (*place).into()).collect::<Vec<_>>());
    assert_eq!(set("trustProxy", text("loopback")).unwrap().trust_proxy, places(&["loopback"]).unwrap());
    let value = texts(&["unix", "10.0.0.0/8"]);
    assert_eq!(set("trustProxy", value).unwrap().trust_proxy, places(&["unix", "10.0.0.0/8"]).unwrap());
    assert_eq!(set("proxyHeader", text("forwarded")).unwrap().proxy_header, ProxyHeader::Forwarded);
    assert_eq!(
        set("heartbeat.intervalMs", Value::Number(250.0)).unwrap().heartbeat.interval.as_millis(),
        250
    );
    for number in NUMBERS {
        let config = set(number.path, Value::Number(number.max as f64)).unwrap();
        assert_eq!((number.get)(&config), number.max, "{}", number.path);
    }
    assert_eq!(set("limits", Value::Object(vec![])).unwrap().limits.close_timeout, Duration::from_secs(5));
}

#[test]
fn numbers_must_be_whole_and_finite() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5, -1.0, -0.0, 1e300, 4294967297.0] {
        let error = set("limits.maxPayload", Value::Number(number)).unwrap_err();
        assert_eq!(error.code(), "ERR_OPTION_OUT_OF_RANGE", "{number}");
        assert!(error.message.len() < 120, "{error}");
    }
}

#[test]
fn an_unknown_option_is_refused_at_every_level_with_the_nearest_name() {
    for (path, hint) in [
        ("treads", Some("threads")),
        ("allowedorigins", Some("allowedOrigins")),
        ("maxPayload", Some("limits.maxPayload")),
        ("secret", Some("auth.jwt.secret")),
        ("heartbeat.interval", Some("heartbeat.intervalMs")),
        ("limits.maxPaylod", Some("limits.maxPayload")),
        ("auth.JWT", Some("auth.jwt")),
        ("auth.jwt.jwks", None),
        ("auth.jwt.jwksUri", None),
        ("auth.jwt.key", Some("redis.tls.key")),
        ("auth.jwt.cookies", Some("auth.jwt.cookie")),
        ("limits.limit", None),
        ("relays", Some("relay")),
        ("cluster", None),
        ("cors", Some("allowedOrigins")),
        ("redis.host", Some("redis.url")),
        ("redis.retryStrategy", None),
        ("redis.uri", Some("redis.url")),
        ("prefix", Some("redis.prefix")),
        ("history.sizes", Some("history.size")),
        ("history.room", Some("history.rooms")),
        ("history.users.ttlms", Some("history.users.ttlMs")),
        ("connectionStateRecovery", Some("history")),
        ("", None),
        ("limits.limits", Some("limits")),
    ] {
        for value in [Value::Number(1.0), Value::Undefined] {
            let error = set(path, value).unwrap_err();
            assert_eq!((error.code(), error.option.as_str()), ("ERR_UNKNOWN_OPTION", path));
            let (_, told) = error.message.split_once("; ").unwrap();
            match hint {
                Some(hint) => assert_eq!(told, format!("did you mean {hint}?")),
                None => assert!(told.starts_with("known are "), "{error}"),
            }
        }
    }
    let long = set(&"x".repeat(100_000), Value::Undefined).unwrap_err();
    assert!(long.message.len() < 400, "{long}");
    let redis = set("redis.retryStrategy", Value::Undefined).unwrap_err();
    assert!(redis.message.contains("url, ") && !redis.message.contains("threads"), "{redis}");
    // The names of others are none of our options, and the options that they mean are.
    assert_eq!(option_paths().iter().find(|path| FOREIGN.iter().any(|(foreign, _)| foreign == *path)), None);
    assert!(FOREIGN.iter().all(|(_, ours)| option_paths().contains(ours)));
}

#[test]
fn messages_never_show_secrets_and_show_little_of_the_rest() {
    let private = "-----BEGIN PUBLIC KEY-----hunter2";
    for (path, value) in [
        ("auth.jwt.secret", text(private)),
        ("auth.jwt.publicKey", text(private)),
        ("auth.jwt.secret", texts(&["hunter2"])),
        ("auth.jwt", text("hunter2")),
        ("auth", text("hunter2")),
        ("auth.jwt.cookie", text("a b")),
        ("redis", text("redis://:hunter2@host")),
        ("redis.url", text("http://:hunter2@host")),
        ("redis.password", texts(&["hunter2"])),
        ("redis.tls", text("hunter2")),
        ("redis.tls.key", texts(&["hunter2"])),
        ("name", text(&"x".repeat(100_000))),
    ] {
        let error = set(path, value).unwrap_err();
        assert!(!error.message.contains("hunter2"), "{error}");
        assert!(error.message.len() < 200, "{error}");
    }
    let error = build(Value::Undefined, with_secret(private)).unwrap_err();
    assert!(error.message.contains("JWT_SECRET") && !error.message.contains("hunter2"), "{error}");
}

#[test]
fn options_that_are_no_object_are_refused() {
    for value in [text("x"), Value::Number(1.0), Value::List(vec![]), Value::Function, Value::Other("null")] {
        assert_eq!(build(value, with_secret("hunter2")).unwrap_err().code(), "ERR_INVALID_OPTION");
    }
}

fn redis(value: Value, redis_url: Option<&str>) -> Result<Config, ConfigError> {
    let redis_url = redis_url.map(str::to_owned);
    build(options("redis", value), Environment { redis_url, ..Environment::default() })
}

fn members_of(list: &[(&str, Value)]) -> Value {
    Value::Object(list.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

#[test]
fn redis_is_where_the_option_says_or_else_the_environment_and_nowhere_with_false() {
    let urls = |value, environment| -> Vec<String> {
        let config = redis(value, environment).unwrap();
        config.redis.servers.iter().map(|server| server.address.to_string()).collect()
    };
    let url = || members_of(&[("url", text("redis://one:1"))]);
    assert_eq!(urls(url(), None), ["one:1"]);
    assert_eq!(urls(url(), Some("redis://two:2")), ["one:1"]);
    assert_eq!(urls(members_of(&[("prefix", text("a"))]), Some("redis://two:2")), ["two:2"]);
    assert_eq!(urls(Value::Undefined, Some("redis://two:2")), ["two:2"]);
    assert_eq!(urls(Value::Undefined, Some("")), [""; 0]);
    assert_eq!(urls(members_of(&[]), None), [""; 0]);
    assert_eq!(urls(Value::Flag(false), Some("redis://two:2")), [""; 0]);
    let several = members_of(&[("url", texts(&["redis://one:1", "rediss://two"]))]);
    assert_eq!(urls(several, None), ["one:1", "two:6379"]);
}

#[test]
fn a_wrong_url_is_named_without_its_password_wherever_it_is_from() {
    let url = "redis://u:hunter2@:x";
    let option = redis(members_of(&[("url", text(url))]), None).unwrap_err();
    assert_eq!((option.option.as_str(), option.code()), ("redis.url", "ERR_OPTION_OUT_OF_RANGE"));
    let environment = redis(Value::Undefined, Some(url)).unwrap_err();
    assert!(environment.message.contains("REDIS_URL"), "{environment}");
    for error in [option, environment] {
        assert!(!error.message.contains("hunter2"), "{error}");
    }
}

#[test]
fn redis_options_arrive_in_the_config() {
    let config = redis(
        members_of(&[
            ("url", text("redis://one")),
            ("username", text("u")),
            ("password", text("p")),
            ("masterName", text("m")),
            ("prefix", text("x")),
            ("routing", text("shared")),
            ("tls", members_of(&[("servername", text("s")), ("rejectUnauthorized", Value::Flag(false))])),
        ]),
        None,
    );
    let redis = config.unwrap().redis;
    assert_eq!(
        (redis.username.as_deref(), redis.password.as_deref(), redis.tls.servername.as_deref()),
        (Some("u"), Some("p"), Some("s"))
    );
    assert_eq!((redis.master_name.as_str(), redis.prefix.as_str()), ("m", "x"));
    assert_eq!((redis.routing, redis.tls.insecure), (Routing::Shared, true));
}

#[test]
fn pub_sub_by_itself_takes_the_same_options_and_needs_a_url() {
    let url = members_of(&[("url", text("redis://one")), ("connections", Value::Number(2.0))]);
    assert_eq!(build_redis(url, None).unwrap().connections, 2);
    assert!(build_redis(Value::Undefined, Some("redis://one".into())).unwrap().is_on());
    for (options, option, code) in [
        (Value::Undefined, "redis.url", "ERR_INVALID_OPTION"),
        (Value::Number(1.0), "redis", "ERR_INVALID_OPTION"),
        (members_of(&[("urls", text("x"))]), "redis.urls", "ERR_UNKNOWN_OPTION"),
        (members_of(&[("url", text("x"))]), "redis.url", "ERR_OPTION_OUT_OF_RANGE"),
    ] {
        let error = build_redis(options, None).unwrap_err();
        assert_eq!((error.option.as_str(), error.code()), (option, code), "{error}");
    }
}
