//! Tests of the option `history`.

use history::log::Bounds;

use super::{members_of, set, text};
use crate::binding::options::value::Value;
use crate::broker::history::{DEFAULT_BOUNDS, HistoryConfig, MAX_PATTERNS, SIZES, TTLS_MS};
use crate::registry::recipients::Topic;

fn history(value: Value) -> HistoryConfig {
    set("history", value).unwrap().history
}

fn of_user(config: &HistoryConfig) -> Option<Bounds> {
    config.bounds_of(Topic::User("ada"))
}

fn of_room(config: &HistoryConfig, room: &str) -> Option<Bounds> {
    config.bounds_of(Topic::Room(room))
}

fn number(number: u64) -> Value {
    Value::Number(number as f64)
}

fn bounds(size: u32, ttl_ms: u64) -> Option<Bounds> {
    Some(Bounds { size, ttl_ms })
}

#[test]
fn nothing_is_kept_unless_an_option_says_so() {
    for config in [set("name", text("a")).unwrap().history, history(Value::Flag(false))] {
        assert!(!config.is_on());
    }
    let neither = members_of(&[("users", Value::Flag(false)), ("rooms", Value::Flag(false))]);
    assert!(!history(neither).is_on());
}

#[test]
fn true_and_an_empty_object_keep_the_default_of_users_and_of_all_rooms() {
    let undefined = members_of(&[
        ("size", Value::Undefined),
        ("ttlMs", Value::Undefined),
        ("users", Value::Undefined),
        ("rooms", Value::Undefined),
        ("trustFailover", Value::Undefined),
    ]);
    let empty = members_of(&[("users", members_of(&[])), ("rooms", members_of(&[]))]);
    for value in [Value::Flag(true), members_of(&[]), undefined, empty] {
        let config = history(value);
        assert_eq!(of_user(&config), Some(DEFAULT_BOUNDS));
        assert_eq!(of_room(&config, "a:b"), Some(DEFAULT_BOUNDS));
        assert!(!config.trust_failover);
    }
    assert!(history(members_of(&[("trustFailover", Value::Flag(true))])).trust_failover);
}

#[test]
fn bounds_hold_for_users_and_rooms_unless_these_have_their_own() {
    let config = history(members_of(&[
        ("users", members_of(&[("size", number(7))])),
        ("rooms", members_of(&[("ttlMs", number(2_000))])),
        ("size", number(50)),
        ("ttlMs", number(60_000)),
    ]));
    assert_eq!(of_user(&config), bounds(7, 60_000));
    assert_eq!(of_room(&config, "a"), bounds(50, 2_000));
    let config = history(members_of(&[
        ("users", Value::Flag(true)),
        ("rooms", Value::Flag(false)),
        ("size", number(3)),
    ]));
    assert_eq!((of_user(&config), of_room(&config, "a")), (bounds(3, 300_000), None));
}

#[test]
fn the_first_pattern_that_a_rooms_name_fits_counts_and_a_room_that_fits_none_has_no_history() {
    let config = history(members_of(&[
        ("size", number(50)),
        (
            "rooms",
            members_of(&[
                ("chat:private", Value::Flag(false)),
                ("chat:*", members_of(&[("size", number(9))])),
                ("chat:**", members_of(&[("ttlMs", number(1_000))])),
                ("news", Value::Flag(true)),
            ]),
        ),
    ]));
    assert_eq!(of_room(&config, "chat:private"), None);
    assert_eq!(of_room(&config, "chat:1"), bounds(9, 300_000));
    assert_eq!(of_room(&config, "chat:1:2"), bounds(50, 1_000));
    assert_eq!(of_room(&config, "news"), bounds(50, 300_000));
    assert_eq!(of_room(&config, "news:1"), None);
    assert_eq!(of_user(&config), bounds(50, 300_000));
}

#[test]
fn a_room_called_size_is_a_pattern_where_its_value_is_one() {
    let rooms = |list: &[(&str, Value)]| history(members_of(&[("rooms", members_of(list))]));
    let config = rooms(&[("size", members_of(&[("size", number(5))]))]);
    assert_eq!((of_room(&config, "size"), of_room(&config, "a")), (bounds(5, 300_000), None));
    let config = rooms(&[("ttlMs", Value::Flag(true))]);
    assert_eq!((of_room(&config, "ttlMs"), of_room(&config, "a")), (Some(DEFAULT_BOUNDS), None));
    let config = rooms(&[("size", number(5)), ("ttlMs", number(5_000))]);
    assert_eq!(of_room(&config, "size"), bounds(5, 5_000));
    assert_eq!(of_room(&config, "a"), bounds(5, 5_000));
}

#[test]
fn an_error_in_a_pattern_names_it_and_says_what_is_expected() {
    let in_chat = |value| members_of(&[("chat:*", value)]);
    let in_size = |value| in_chat(members_of(&[("size", value)]));
    for (rooms, option, code, words) in [
        (
            in_chat(number(5)),
            "history.rooms['chat:*']",
            "ERR_INVALID_OPTION",
            "must be true, false or an object",
        ),
        (in_size(text("5")), "history.rooms['chat:*'].size", "ERR_INVALID_OPTION", "from 1 to 100000"),
        (in_size(number(0)), "history.rooms['chat:*'].size", "ERR_OPTION_OUT_OF_RANGE", "got 0"),
        (
            in_chat(members_of(&[("ttlMs", number(999))])),
            "history.rooms['chat:*'].ttlMs",
            "ERR_OPTION_OUT_OF_RANGE",
            "from 1000 to 2592000000",
        ),
        (
            in_chat(members_of(&[("ttlms", number(5_000))])),
            "history.rooms['chat:*'].ttlms",
            "ERR_UNKNOWN_OPTION",
            "in history.rooms['chat:*']; did you mean history.rooms['chat:*'].ttlMs?",
        ),
        (
            in_chat(members_of(&[("users", Value::Undefined)])),
            "history.rooms['chat:*'].users",
            "ERR_UNKNOWN_OPTION",
            "did you mean history.users?",
        ),
        (
            members_of(&[("chat*", Value::Flag(true))]),
            "history.rooms['chat*']",
            "ERR_OPTION_OUT_OF_RANGE",
            "is no pattern",
        ),
        (members_of(&[("", Value::Flag(true))]), "history.rooms['']", "ERR_OPTION_OUT_OF_RANGE", "1 to 1024"),
        // Bounds of all rooms beside a pattern.
        (
            members_of(&[("size", number(5)), ("**", Value::Flag(true))]),
            "history.rooms['size']",
            "ERR_INVALID_OPTION",
            "must be true, false or an object",
        ),
    ] {
        let error = set("history.rooms", rooms).unwrap_err();
        assert_eq!((error.option.as_str(), error.code()), (option, code), "{error}");
        assert!(
            error.message.contains(words) && error.message.contains(option.rsplit('.').next().unwrap()),
            "{error}"
        );
    }
}

#[test]
fn there_are_at_most_so_many_patterns() {
    let patterns = |count: usize| {
        let members: Vec<_> = (0..count).map(|room| (format!("room:{room}"), Value::Flag(true))).collect();
        set("history.rooms", Value::Object(members))
    };
    assert!(of_room(&patterns(MAX_PATTERNS).unwrap().history, "room:63").is_some());
    let error = patterns(MAX_PATTERNS + 1).unwrap_err();
    assert_eq!((error.option.as_str(), error.code()), ("history.rooms", "ERR_OPTION_OUT_OF_RANGE"));
    assert!(error.message.contains("at most 64 patterns") && error.message.contains("65"), "{error}");
}

#[test]
fn bounds_may_have_their_smallest_and_largest_values() {
    for place in ["history", "history.users", "history.rooms"] {
        for (size, ttl_ms) in [(SIZES.0, TTLS_MS.0), (SIZES.1, TTLS_MS.1)] {
            let config = set(place, members_of(&[("size", number(size.into())), ("ttlMs", number(ttl_ms))]));
            let config = config.unwrap().history;
            let topic = if place == "history.users" { of_user(&config) } else { of_room(&config, "a") };
            assert_eq!(topic, bounds(size, ttl_ms), "{place}");
        }
        for (name, min, max) in [("size", SIZES.0.into(), SIZES.1.into()), ("ttlMs", TTLS_MS.0, TTLS_MS.1)] {
            for outside in [min - 1, max + 1] {
                let error = set(place, members_of(&[(name, number(outside))])).unwrap_err();
                assert_eq!(error.option, format!("{place}.{name}"));
                assert!(error.message.contains(&format!("from {min} to {max}")), "{error}");
            }
        }
    }
}

#[test]
fn a_history_does_not_go_with_the_shared_channel() {
    let options = |history| {
        let redis = members_of(&[("url", text("redis://one")), ("routing", text("shared"))]);
        let all = [("auth", text("anonymous")), ("redis", redis), ("history", history)];
        super::build(members_of(&all), super::Environment::default())
    };
    let error = options(Value::Flag(true)).unwrap_err();
    assert_eq!((error.option.as_str(), error.code()), ("history", "ERR_INVALID_OPTION"));
    assert!(error.message.contains("redis.routing"), "{error}");
    assert!(options(Value::Flag(false)).is_ok());
}
