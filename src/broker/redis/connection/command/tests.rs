#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::broker::redis::config::Server;
use crate::broker::redis::wire::resp::{Parsed, parse};

const MOVED: &str = "-MOVED 1 h:2\r\n";
const DOWN: &str = "-CLUSTERDOWN The cluster is down\r\n";
const FORBIDDEN: &str = "-NOPERM no\r\n";
const OTHER: &str = "-LOADING no\r\n";
const COUNTED: &str = "*2\r\n$1\r\nc\r\n:3\r\n";
const CONFIRMED: &str = ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
const ENDED: &str = ">3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n";

/// The step that a reply to a command comes to, in full; or the code and text of the error that ends the connection.
fn step(command: &mut Command, is_sharded: bool, reply: &str) -> String {
    let by = ReplySource { server: Server::parse("redis://h:1").unwrap(), is_sharded, life: None };
    let Parsed::Item(reply, _) = parse(reply.as_bytes(), 1 << 20).unwrap() else { panic!("{reply}") };
    match command.on_reply(&reply, &by) {
        // An error is told by its code and text.
        Ok(ReplyStep::Settle(CommandOutcome::Refused(error))) => format!("Refused {}", told(&error)),
        Ok(ReplyStep::Reload(error)) => format!("Reload {}", told(&error)),
        Ok(ReplyStep::Demoted(error)) => format!("Demoted {}", told(&error)),
        Ok(ReplyStep::Forbid(error)) => format!("Forbid {}", told(&error)),
        Ok(ReplyStep::Unprobed(why, error)) => format!("Unprobed {why:?} {}", told(&error)),
        Ok(step) => format!("{step:?}"),
        Err(error) => told(&error),
    }
}

fn told(error: &Error) -> String {
    format!("{}: {}", error.code(), error.message.strip_prefix("Redis at h:1: ").unwrap())
}

/// Asserts what each reply, the first to a new command, means.
fn assert_steps(command: impl Fn() -> Command, is_sharded: bool, expected: &[(&str, &str)]) {
    for (reply, step_of_it) in expected {
        assert_eq!(&step(&mut command(), is_sharded, reply), step_of_it, "{:?}: {reply:?}", command());
    }
}

#[test]
fn replies_to_publishes_and_questions_are_told_apart() {
    let publish = || Command::Ask(Asker::Receivers { ticket: 1 });
    let question = || Command::Ask(Asker::Subscribers { ticket: 1 });
    const ODD: &str = "ERR_BROKER_PROTOCOL: unexpected answer to PUBLISH";
    const ODD_COUNT: &str = "ERR_BROKER_PROTOCOL: unexpected answer to PUBSUB NUMSUB";
    for is_sharded in [false, true] {
        assert_steps(
            publish,
            is_sharded,
            &[
                (":5\r\n", "Settle(Number(5))"),
                (":-5\r\n", "Settle(Number(0))"),
                (COUNTED, ODD),
                ("+OK\r\n", ODD),
                (CONFIRMED, ODD),
                (ENDED, ODD),
                (FORBIDDEN, "Refused ERR_BROKER_AUTH: NOPERM no"),
                (OTHER, "Refused ERR_BROKER_CONNECT: LOADING no"),
            ],
        );
        assert_steps(
            question,
            is_sharded,
            &[
                (COUNTED, "Count(3)"),
                (":5\r\n", ODD_COUNT),
                ("*1\r\n:1\r\n", ODD_COUNT),
                ("*2\r\n$1\r\nc\r\n$1\r\n3\r\n", ODD_COUNT),
                ("+OK\r\n", ODD_COUNT),
            ],
        );
    }
    for asked in [publish as fn() -> Command, question] {
        assert_steps(asked, true, &[(MOVED, "Park"), (DOWN, "Settle(Unsent)")]);
        let [moved, down] = ["PROTOCOL: MOVED 1 h:2", "ROLE: CLUSTERDOWN The cluster is down"]
            .map(|text| format!("Refused ERR_BROKER_{text}"));
        assert_steps(asked, false, &[(MOVED, &moved), (DOWN, &down)]);
    }
}

#[test]
fn replies_to_changes_of_subscriptions_are_told_apart() {
    let subscribe = || Command::Subscribe { left: 1, take: 7 };
    let odd = |name| format!("ERR_BROKER_PROTOCOL: unexpected answer to {name}");
    let confirmed = |last| format!("Confirm {{ channel: {:?}, take: 7, last: {last} }}", b"c");
    assert_steps(subscribe, true, &[(MOVED, "Revoke"), (DOWN, "Revoke")]);
    assert_steps(
        subscribe,
        false,
        &[
            (CONFIRMED, &confirmed(true)),
            (MOVED, "ERR_BROKER_PROTOCOL: MOVED 1 h:2"),
            (DOWN, "ERR_BROKER_ROLE: CLUSTERDOWN The cluster is down"),
            (FORBIDDEN, "Forbid ERR_BROKER_AUTH: NOPERM no"),
            (OTHER, "ERR_BROKER_CONNECT: LOADING no"),
            (":1\r\n", &odd("SUBSCRIBE")),
        ],
    );
    let mut two = Command::Subscribe { left: 2, take: 7 };
    assert_eq!([(); 2].map(|()| step(&mut two, false, CONFIRMED)), [confirmed(false), confirmed(true)]);
    let mut two = Command::Unsubscribe { left: 2 };
    assert_eq!([(); 2].map(|()| step(&mut two, false, ENDED)), ["Wait", "Done"]);
    let end = || Command::Unsubscribe { left: 2 };
    assert_steps(end, false, &[(FORBIDDEN, "Done"), (":0\r\n", "Done"), ("+OK\r\n", &odd("UNSUBSCRIBE"))]);
    let end = || Command::ShardUnsubscribe;
    assert_steps(end, false, &[(MOVED, "ERR_BROKER_PROTOCOL: MOVED 1 h:2")]);
    assert_steps(
        end,
        true,
        &[
            ("+PONG\r\n", "Done"),
            (MOVED, "Wait"),
            (DOWN, "Wait"),
            (FORBIDDEN, "ERR_BROKER_AUTH: NOPERM no"),
            (OTHER, "ERR_BROKER_CONNECT: LOADING no"),
            (":1\r\n", &odd("SUNSUBSCRIBE")),
        ],
    );
}

#[test]
fn replies_to_what_supervises_are_told_apart() {
    let unprobed = |why, text| format!("Unprobed {why} ERR_BROKER_{text}");
    let probe = || Command::Probe;
    assert_steps(
        probe,
        true,
        &[
            (":1\r\n", "Done"),
            (MOVED, &unprobed("Moved", "PROTOCOL: MOVED 1 h:2")),
            (DOWN, &unprobed("Unserved", "ROLE: CLUSTERDOWN The cluster is down")),
            (FORBIDDEN, &unprobed("Forbidden", "AUTH: NOPERM no")),
            (OTHER, &unprobed("Busy", "CONNECT: LOADING no")),
            (COUNTED, "ERR_BROKER_PROTOCOL: unexpected answer to PUBLISH"),
        ],
    );
    let moved = unprobed("Other", "PROTOCOL: MOVED 1 h:2");
    assert_steps(probe, false, &[(MOVED, &moved)]);
    let commands: [(fn() -> Command, _); 2] =
        [(|| Command::Role, "Probed"), (|| Command::VerifyRole, "Verified")];
    for (command, master) in commands {
        assert_steps(
            command,
            false,
            &[
                ("*1\r\n$6\r\nmaster\r\n", master),
                (FORBIDDEN, master),
                (":1\r\n", master),
                ("*1\r\n$5\r\nslave\r\n", "ERR_BROKER_ROLE: the server is a slave"),
                ("*0\r\n", "ERR_BROKER_ROLE: the server is a stranger"),
                ("+OK\r\n", "ERR_BROKER_PROTOCOL: unexpected answer to ROLE"),
            ],
        );
    }
}

#[test]
fn every_command_has_its_bytes() {
    let channels = |sharded| ["a", "bc"].map(|name| (0, RedisChannel { name: name.into(), sharded }));
    let encoded = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        encode(&mut out);
        String::from_utf8(out).unwrap()
    };
    for (actual, expected) in [
        (
            encoded(&|out| publish(out, false, &[b"p:", b"c"], &[b"t", b"hi"])),
            "*3\r\n$7\r\nPUBLISH\r\n$3\r\np:c\r\n$3\r\nthi\r\n",
        ),
        (
            encoded(&|out| publish(out, true, &[b"p:", b"", b"c"], &[])),
            "*3\r\n$8\r\nSPUBLISH\r\n$3\r\np:c\r\n$0\r\n\r\n",
        ),
        (
            encoded(&|out| count_subscribers(out, &channels(false)[1].1)),
            "*3\r\n$6\r\nPUBSUB\r\n$6\r\nNUMSUB\r\n$2\r\nbc\r\n",
        ),
        (
            encoded(&|out| count_subscribers(out, &channels(true)[1].1)),
            "*3\r\n$6\r\nPUBSUB\r\n$11\r\nSHARDNUMSUB\r\n$2\r\nbc\r\n",
        ),
        (
            encoded(&|out| subscribe(out, &channels(false))),
            "*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$2\r\nbc\r\n",
        ),
        (
            encoded(&|out| subscribe(out, &channels(true))),
            "*3\r\n$10\r\nSSUBSCRIBE\r\n$1\r\na\r\n$2\r\nbc\r\n",
        ),
        (
            encoded(&|out| unsubscribe(out, &channels(false))),
            "*3\r\n$11\r\nUNSUBSCRIBE\r\n$1\r\na\r\n$2\r\nbc\r\n",
        ),
        (
            encoded(&|out| unsubscribe(out, &channels(true))),
            "*3\r\n$12\r\nSUNSUBSCRIBE\r\n$1\r\na\r\n$2\r\nbc\r\n*1\r\n$4\r\nPING\r\n",
        ),
        (
            encoded(&|out| probe(out, &channels(true)[0].1)),
            "*3\r\n$8\r\nSPUBLISH\r\n$1\r\na\r\n$5\r\nprobe\r\n",
        ),
        (encoded(&|out| role(out)), "*1\r\n$4\r\nROLE\r\n"),
    ] {
        assert_eq!(actual, expected);
    }
    for sharded in [false, true] {
        let channels = channels(sharded);
        let bytes = encoded(&|out| subscribe(out, &channels));
        let read: Vec<RedisChannel> = read_channels(bytes.as_bytes()).collect();
        assert_eq!(read, channels.map(|(_, channel)| channel));
    }
}

#[test]
fn replies_to_scripts_and_to_questions_about_topics_are_told_apart() {
    let kept =
        || Command::Ask(Asker::Publish { ticket: 1, strict: false, local: 0, shared: false, kept: true });
    let plain = || Command::Ask(Asker::Receivers { ticket: 1 });
    let refused = |code, what| format!("Refused ERR_BROKER_{code}: {what}");
    let in_script =
        |what: &str| format!("-ERR Error running script (call to f_0): @user_script:7: -{what}\r\n");
    const NONE: &str = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
    const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";
    assert_steps(
        kept,
        false,
        &[
            (
                "$21\r\n2 abcdefgh.01234567.9\r\n",
                "Settle(Placed { nodes: 2, position: Position { epoch: abcdefgh, term: 01234567, offset: 9 } })",
            ),
            (
                "$21\r\n= abcdefgh.01234567.9\r\n",
                "Settle(Repeated(Some(Position { epoch: abcdefgh, term: 01234567, offset: 9 })))",
            ),
            ("$3\r\n= -\r\n", "Settle(Repeated(None))"),
            (":3\r\n", "Settle(Number(3))"),
            ("$1\r\n3\r\n", "Refused ERR_BROKER_PROTOCOL: unexpected answer to EVALSHA"),
            (
                "$23\r\ntwo abcdefgh.01234567.9\r\n",
                "Refused ERR_BROKER_PROTOCOL: unexpected answer to EVALSHA",
            ),
            (NONE, "Reload ERR_BROKER_PROTOCOL: NOSCRIPT No matching script. Please use EVAL."),
            (READONLY, "Demoted ERR_BROKER_ROLE: READONLY You can't write against a read only replica."),
            (&in_script("READONLY You can't write"), "Demoted ERR_BROKER_ROLE: READONLY You can't write"),
            (&in_script("OOM command not allowed"), &refused("FULL", "OOM command not allowed")),
            (
                "-NOREPLICAS Not enough good replicas to write.\r\n",
                &refused("FULL", "NOREPLICAS Not enough good replicas to write."),
            ),
        ],
    );
    for slot_elsewhere in
        [MOVED, "-ASK 1 h:2\r\n", "-TRYAGAIN Multiple keys request during rehashing of slot\r\n"]
    {
        assert_steps(kept, true, &[(slot_elsewhere, "Park")]);
    }
    // A publish without a script is refused as before.
    assert_steps(
        plain,
        false,
        &[(READONLY, &refused("ROLE", "READONLY You can't write against a read only replica."))],
    );
    let meta = || Command::Meta { name: "user:ada".into() };
    let known = "*3\r\n$8\r\nabcdefgh\r\n$1\r\n9\r\n$10\r\n01234567@4\r\n";
    assert_steps(
        meta,
        true,
        &[
            ("*3\r\n_\r\n_\r\n_\r\n", "Meta(None)"),
            (known, "Meta(Some(Meta { epoch: abcdefgh, offset: 9, terms: [(01234567, 4)] }))"),
            ("*3\r\n$8\r\nabcdefgh\r\n_\r\n_\r\n", "Unread(Other)"),
            (MOVED, "Unread(Moved)"),
            (FORBIDDEN, "Unread(Forbidden)"),
        ],
    );
    let messages = || Command::Messages { name: "user:ada".into(), from: 8 };
    let log = "*4\r\n*3\r\n$8\r\nabcdefgh\r\n$1\r\n9\r\n$10\r\n01234567@4\r\n:0\r\n$1\r\n9\r\n$2\r\ntx\r\n";
    let part = "Messages(LogPart { meta: Some(Meta { epoch: abcdefgh, offset: 9, terms: [(01234567, 4)] }), messages: [(9, Some([116, 120]))], is_all: true, term: None })";
    assert_steps(
        messages,
        false,
        &[
            (log, part),
            (
                "*2\r\n*3\r\n_\r\n_\r\n_\r\n:1\r\n",
                "Messages(LogPart { meta: None, messages: [], is_all: true, term: None })",
            ),
            ("*1\r\n:1\r\n", "Unread(Other)"),
            (NONE, "Unread(NoScript)"),
        ],
    );
    let load = |last| move || Command::Load { last };
    assert_steps(load(false), false, &[("$1\r\nx\r\n", "Done"), (FORBIDDEN, "ERR_BROKER_AUTH: NOPERM no")]);
    assert_steps(load(true), false, &[("$1\r\nx\r\n", "Loaded")]);
    let formats = |all, new| format!("*4\r\n$1\r\na\r\n:{all}\r\n$1\r\nb\r\n:{new}\r\n");
    assert_steps(
        || Command::Formats,
        true,
        &[
            (&formats(3, 3), "Formats { has_old: false }"),
            (&formats(3, 2), "Formats { has_old: true }"),
            (MOVED, "Done"),
        ],
    );
}
