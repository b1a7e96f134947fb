#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use history::log::{Appended, Log};
use history::position::Epoch;
use redis::FromRedisValue;

use super::*;
use crate::tests::redis_rig::RedisServer;

const TERMS: [&str; 3] = ["aaaaaaaa", "bbbbbbbb", "0c0c0c0c"];
const KEYS: TopicKeys<'_> = TopicKeys { prefix: "app:", tag: "", name: ["user:", "ada"] };

/// A Redis that knows the scripts.
fn redis() -> RedisServer {
    let redis = RedisServer::start();
    for text in texts(false) {
        redis.run(&["SCRIPT", "LOAD", text]);
    }
    redis
}

fn run<T: FromRedisValue>(redis: &RedisServer, encode: impl FnOnce(&mut Vec<u8>)) -> T {
    let mut command = Vec::new();
    encode(&mut command);
    let arguments: Vec<&str> =
        resp::read_command(&command).map(|argument| std::str::from_utf8(argument).unwrap()).collect();
    redis.ask(&arguments)
}

fn term(text: &str) -> Term {
    Term::new(text.as_bytes()).unwrap()
}

fn keep<'a>(common: &'a CommonArguments, key: Option<&'a str>, epoch: &'a [u8; NAME_BYTES]) -> Keep<'a> {
    Keep { common, idempotency_key: key, epoch, has_old: false }
}

/// Publishes, and says where it came to lie.
fn append(redis: &RedisServer, under: Term, message: &str, keep: Keep<'_>) -> Published {
    let reply: Vec<u8> = run(redis, |out| {
        publish(out, KEYS, &[b"t", message.as_bytes()], keep);
        place_term(out, under);
    });
    published(&reply).unwrap()
}

fn log(redis: &RedisServer, from: u64, size: u32) -> LogPart {
    log_part(
        &run(redis, |out| {
            read(out, KEYS, Part { from, most: 1000, bytes: 256 << 10, size, largest: 1 << 20 })
        }),
        None,
    )
    .unwrap()
}

/// A number below `most`, by xorshift (Marsaglia 2003).
fn below(state: &mut u64, most: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % most
}

#[test]
fn the_script_gives_the_same_positions_and_keeps_the_same_messages_as_the_log_in_memory() {
    let redis = redis();
    let mut random = 0x2545_f491_4f6c_dd1d;
    let mut epochs = 0;
    for size in [1, 2, 7, 8, 9, 40] {
        let bounds = Bounds { size, ttl_ms: 60_000 };
        let common = CommonArguments::new(bounds, KEYS.prefix);
        redis.run(&["FLUSHDB"]);
        let mut model: Option<Log<String>> = None;
        let mut under = term(TERMS[0]);
        for step in 0..120 {
            epochs += 1;
            let name: [u8; NAME_BYTES] = format!("{epochs:08}").into_bytes().try_into().unwrap();
            let message = step.to_string();
            match below(&mut random, 40) {
                0 => {
                    redis.run(&["FLUSHDB"]);
                    model = None;
                }
                // The life of another master, which never comes back.
                1 => under = Term::new(&name).unwrap(),
                _ => {}
            }
            let key =
                (below(&mut random, 4) == 0).then(|| ["k1", "k2", "k3"][below(&mut random, 3) as usize]);
            let epoch = Epoch::new(&name).unwrap();
            let log_of_it = model.get_or_insert_with(|| Log::new(epoch, under, bounds));
            let expected = match log_of_it.append(under, bounds, 1, key, format!("t{message}")) {
                Appended::New(position) => Published::Now { nodes: 0, position },
                Appended::Known(position) => Published::Before(Some(position)),
            };
            assert_eq!(append(&redis, under, &message, keep(&common, key, &name)), expected, "{size} {step}");
            let from = below(&mut random, log_of_it.meta().offset + 2) + 1;
            let part = log(&redis, from, size);
            assert_eq!(part.meta.as_ref(), Some(log_of_it.meta()));
            let kept =
                log_of_it.read(from).map(|(offset, message)| (offset, Some(message.clone().into_bytes())));
            assert_eq!((part.messages, part.is_all), (kept.collect(), true), "{size} {step} {from}");
            let meta: Value = run(&redis, |out| ask_meta(out, KEYS));
            assert_eq!(super::meta(&meta), Ok(Some(log_of_it.meta().clone())));
            let length: u32 = redis.ask(&["XLEN", "app:history:log:user:ada"]);
            assert!(length < size + TRIM, "{length} of {size}");
        }
    }
}

#[test]
fn a_topic_remembers_its_last_terms_and_no_field_of_older_ones() {
    let redis = redis();
    let bounds = Bounds { size: 10, ttl_ms: 60_000 };
    let common = CommonArguments::new(bounds, KEYS.prefix);
    for number in 0..3 * MAX_TERMS {
        let under = Term::new(format!("{number:08}").as_bytes()).unwrap();
        for _ in 0..2 {
            append(&redis, under, "x", keep(&common, None, b"epoch000"));
        }
    }
    let meta = log(&redis, 1, 10).meta.unwrap();
    assert_eq!((meta.terms.len(), meta.offset), (MAX_TERMS, 6 * MAX_TERMS as u64));
    assert_eq!(meta.terms[0], (term("00000023"), 47));
    assert_eq!(redis.ask::<usize>(&["HLEN", "app:history:meta:user:ada"]), 4 + MAX_TERMS);
}

#[test]
fn a_topic_that_comes_back_to_an_earlier_master_goes_on_under_its_present_term() {
    let redis = redis();
    let common = CommonArguments::new(Bounds { size: 100, ttl_ms: 60_000 }, KEYS.prefix);
    // As a slot of a cluster goes from one master to the other and back; or a link knows an earlier term still.
    for (number, turn) in [0, 1, 0, 1, 1, 0].into_iter().enumerate() {
        match append(&redis, term(TERMS[turn]), "x", keep(&common, None, b"epoch000")) {
            Published::Now { position, .. } => {
                assert_eq!(position.term, term(TERMS[number.min(1)]));
                assert_eq!(log(&redis, 1, 100).meta.unwrap().last(), position);
            }
            Published::Before(known) => panic!("{known:?}"),
        }
    }
}

#[test]
fn what_is_kept_has_its_time_and_the_offset_outlives_the_messages() {
    let redis = redis();
    let bounds = Bounds { size: 10, ttl_ms: 50_000 };
    let common = CommonArguments::new(bounds, KEYS.prefix);
    let first = append(&redis, term(TERMS[0]), "x", keep(&common, Some("key"), b"epoch000"));
    let ttl = |what: &str| redis.ask::<u64>(&["PTTL", &format!("app:history:{what}")]);
    for (what, most) in [
        ("log:user:ada", bounds.ttl_ms),
        ("meta:user:ada", bounds.meta_ms()),
        ("key:user:3:ada:key", bounds.key_ms()),
    ] {
        assert!((most - 5_000..=most).contains(&ttl(what)), "{what}: {}", ttl(what));
    }
    redis.run(&["DEL", "app:history:log:user:ada"]);
    assert_eq!(log(&redis, 1, 10).messages, vec![]);
    assert_eq!(append(&redis, term(TERMS[0]), "x", keep(&common, Some("key"), b"epoch001")), {
        let Published::Now { position, .. } = first else { panic!("{first:?}") };
        Published::Before(Some(position))
    });
    let Published::Now { position, .. } =
        append(&redis, term(TERMS[0]), "y", keep(&common, None, b"epoch001"))
    else {
        panic!("it is new")
    };
    assert_eq!((position.epoch.as_str(), position.offset), ("epoch000", 2));
    assert_eq!(log(&redis, 1, 10).messages, vec![(2, Some(b"ty".to_vec()))]);
}

#[test]
fn messages_are_read_in_parts_of_so_many_and_so_many_bytes_and_each_but_the_last_says_that_there_are_more() {
    let redis = redis();
    let bounds = Bounds { size: 100, ttl_ms: 60_000 };
    let common = CommonArguments::new(bounds, KEYS.prefix);
    let large = "x".repeat(100_000);
    for message in ["1", "2", &large, &large, &large, &large, "7"] {
        append(&redis, term(TERMS[0]), message, keep(&common, None, b"epoch000"));
    }
    let part = |from, most| {
        log_part(
            &run(&redis, |out| {
                read(out, KEYS, Part { from, most, bytes: 256 << 10, size: 100, largest: 1 << 20 })
            }),
            None,
        )
        .unwrap()
    };
    let offsets = |part: &LogPart| part.messages.iter().map(|(offset, _)| *offset).collect::<Vec<_>>();
    for (from, most, expected, is_all) in [
        (1, 2, vec![1, 2], false),
        (1, 100, vec![1, 2, 3, 4, 5], false),
        (6, 100, vec![6, 7], true),
        (6, 2, vec![6, 7], true),
        (6, 1, vec![6], false),
        (8, 100, vec![], true),
    ] {
        let part = part(from, most);
        assert_eq!((offsets(&part), part.is_all), (expected, is_all), "{from} {most}");
    }
}

#[test]
fn a_command_is_read_back_and_gets_the_term_of_the_master_that_it_is_written_to() {
    for (tag, key, channel) in [("", None, "app:room:tea"), ("{7}:", Some("k:1"), "app:{7}:room:tea")] {
        let topic = TopicKeys { prefix: "app:", tag, name: ["room:", "tea"] };
        let mut command = Vec::new();
        publish(
            &mut command,
            topic,
            &[b"b", b"\0\r\n"],
            keep(&CommonArguments::new(Bounds { size: 5, ttl_ms: 9 }, "app:"), key, b"epoch000"),
        );
        let expected = Some((channel.as_bytes(), b"b\0\r\n".as_slice()));
        assert_eq!(read_publish(&command), expected);
        let last = |command: &[u8]| resp::read_command(command).last().unwrap().to_vec();
        assert_eq!(last(&command), NO_TERM);
        for text in TERMS {
            place_term(&mut command, term(text));
            assert_eq!(last(&command), text.as_bytes());
        }
        assert_eq!(read_publish(&command), expected);
    }
    place_term(&mut [0; 3], term(TERMS[0]));
}
