//! Frames as a client may send them: every kind, cut everywhere, in every size of reads.

use std::collections::BTreeMap;

use codes::close::{CLOSE_CODES, ClosedBy, SENDABLE, is_sendable};

use super::client::{BINARY, CLOSE, Client, Got, PING, PONG, TEXT, close_payload, frame};
use super::harness::{GLANCE, Request, Server, config};
use crate::engine::config::Config;
use crate::engine::stats::CloseCounts;
use crate::events::{Event, Interest};

/// Sizes of the shared read buffer: a byte, an odd few, the default.
const READS: [usize; 3] = [1, 7, 64 * 1024];

fn server(read_buffer_bytes: usize) -> Server {
    let mut config = config();
    config.limits.read_buffer_bytes = read_buffer_bytes;
    Server::start(config)
}

/// Bytes to send, and their answers under the relay to oneself.
struct Script {
    bytes: Vec<u8>,
    answers: Vec<(u8, String)>,
}

/// All kinds of messages, control frames between fragments included.
fn script() -> Script {
    let mut script = Script { bytes: Vec::new(), answers: Vec::new() };
    let long = format!("[\"{}\"]", "grün €𝄞 ".repeat(20));
    let mut add = |bytes: Vec<u8>, answer: Option<(u8, &str)>| {
        script.bytes.extend(bytes);
        script.answers.extend(answer.map(|(first, payload)| (first, payload.to_owned())));
    };
    add(frame(TEXT, b"\"short\""), Some((TEXT, "\"short\"")));
    add(frame(PING, b""), Some((PONG, "")));
    add(frame(TEXT, long.as_bytes()), Some((TEXT, &long)));
    add(frame(PONG, b"unasked"), None);
    add(frame(BINARY, &[0; 3]), Some((TEXT, "ERR_BINARY_NOT_RELAYED")));
    add(frame(PING, b"now"), Some((PONG, "now")));
    // One message in fragments, cut inside a character, with control frames and an empty fragment between.
    let (left, rest) = long.as_bytes().split_at(5);
    let (middle, right) = rest.split_at(40);
    add(frame(0x01, left), None);
    add(frame(PING, b"between"), Some((PONG, "between")));
    add(frame(0x00, b""), None);
    add(frame(PONG, b""), None);
    add(frame(0x00, middle), None);
    add(frame(PING, &[b'p'; 125]), Some((PONG, &"p".repeat(125))));
    add(frame(0x80, right), Some((TEXT, &long)));
    add(frame(0x02, b"a"), None);
    add(frame(0x80, b""), Some((TEXT, "ERR_BINARY_NOT_RELAYED")));
    add(frame(TEXT, b""), Some((TEXT, "ERR_INVALID_JSON")));
    add(frame(TEXT, b"true"), Some((TEXT, "true")));
    script
}

fn expect(client: &mut Client, answers: &[(u8, String)], context: &str) {
    for (first, payload) in answers {
        let got = client.next();
        let Got::Frame(kind, bytes) = &got else { panic!("{got:?} {context}") };
        let text = String::from_utf8_lossy(bytes);
        let fits = if payload.starts_with("ERR_") { text.contains(payload) } else { text == *payload };
        assert!(kind == first && fits, "{got:?} instead of {payload} {context}");
    }
}

#[test]
fn messages_cut_at_every_byte_come_out_as_if_they_were_whole() {
    let script = script();
    for reads in READS {
        let server = server(reads);
        let mut client = server.connect();
        for cut in 0..=script.bytes.len() {
            // The answer to a ping proves that what was sent with it has been read.
            client.send(&[&frame(PING, b"cut"), &script.bytes[..cut]].concat());
            client.expect(PONG, b"cut");
            client.send(&script.bytes[cut..]);
            expect(&mut client, &script.answers, &format!("with reads of {reads}, cut at {cut}"));
        }
        client.expect_alive();
    }
}

#[test]
fn messages_that_come_byte_by_byte_come_out_as_if_they_were_whole() {
    let script = script();
    let server = server(64 * 1024);
    let mut client = server.connect();
    for byte in &script.bytes {
        client.send(&[*byte]);
    }
    expect(&mut client, &script.answers, "byte by byte");
}

#[test]
fn a_close_frame_cut_at_every_byte_is_answered_once() {
    for (payload, code, reason) in [
        (close_payload(3333, "grüße"), 3333, "grüße"),
        (close_payload(1000, ""), 1000, ""),
        (vec![], 1005, ""),
    ] {
        let close = frame(CLOSE, &payload);
        for reads in READS {
            let server = server(reads);
            for cut in 0..=close.len() {
                let mut client = server.connect();
                client.send(&[&frame(PING, b"cut"), &close[..cut]].concat());
                client.expect(PONG, b"cut");
                client.send(&close[cut..]);
                assert_eq!(client.next(), Got::Frame(CLOSE, payload.clone()), "{reads} {cut}");
                client.expect_end();
                assert_eq!(server.ended(client.id()), (code, reason.into()));
            }
            server.expect_empty();
        }
    }
}

#[test]
fn messages_of_every_length_about_the_borders_of_heads_and_buffers_are_relayed_whole() {
    let borders =
        [0, 1, 123, 124, 125, 126, 127, 128, 1000, 1021, 1022, 1023, 1024, 1025, 4096, 65_500, 65_600];
    let borders = borders.into_iter().chain(65_533..65_540).chain([100_000, 1 << 20]);
    for reads in READS {
        let server = server(reads);
        let mut client = server.connect();
        let short_reads = reads < 64;
        for len in borders.clone().filter(|len: &usize| *len <= 5000 || !short_reads) {
            let text = format!("\"{}\"", "x".repeat(len.saturating_sub(2)));
            client.text(&text);
            assert_eq!(client.next(), Got::Frame(TEXT, text.into_bytes()), "{len}");
        }
    }
}

#[test]
fn sixteen_mebibytes_in_one_frame_or_many_arrive_under_a_raised_limit() {
    const LEN: usize = 16 << 20;
    let mut config = Config { relay: crate::engine::config::Relay::Off, ..config() };
    config.limits.max_payload = LEN;
    config.limits.event_bytes_per_connection = 1 << 20;
    let server = Server::start(config);
    server.engine.set_interest(Interest::ALL);
    let mut client = server.connect();
    let payload: Vec<u8> = (0..LEN).map(|at| ((at * 31) >> 7) as u8).collect();
    let mut fragments: Vec<Vec<u8>> = payload.chunks(1_000_003).map(|part| frame(0x00, part)).collect();
    fragments[0][0] = 0x02;
    fragments.push(frame(0x80, b""));
    for bytes in [frame(BINARY, &payload), fragments.concat()] {
        client.send(&bytes);
        let arrived = server.event("the message", |event| match event {
            Event::Binary { bytes, .. } => Some(*bytes == payload),
            _ => None,
        });
        assert!(arrived);
    }
    client.send(&frame(BINARY, &[&payload[..], b"x"].concat())[..20]);
    client.expect_close(1009);
}

#[test]
fn a_ping_is_answered_with_its_payload() {
    let server = server(64 * 1024);
    let mut client = server.connect();
    for payload in [&b""[..], b"x", &[0xFF; 125]] {
        client.ping(payload);
        client.expect(PONG, payload);
    }
    // Many in one go: each has its answer.
    let many: Vec<u8> = (0..100).flat_map(|n: u8| frame(PING, &[n])).collect();
    client.send(&many);
    (0..100).for_each(|n: u8| client.expect(PONG, &[n]));
    assert_eq!(server.engine.stats().messages.sent, 0, "a pong is no message");
}

#[test]
fn pongs_and_messages_go_back_in_the_order_in_which_they_were_asked_for() {
    let server = server(64 * 1024);
    let mut alone = server.connect_as("ada");
    let mut pair = [server.connect_as("bob"), server.connect_as("bob")];
    // Echoes of the only device, messages that all devices get, refusals, and pongs between them, in one read and in the
    // middle of a fragmented message.
    let bytes: Vec<u8> = (0..20)
        .flat_map(|n: u8| {
            let number = n.to_string();
            [
                frame(TEXT, number.as_bytes()),
                frame(PING, &[n]),
                frame(PING, &[n, n]),
                if n.is_multiple_of(3) { frame(TEXT, b"no JSON") } else { frame(TEXT, b"true") },
                frame(PING, &[n; 3]),
                frame(0x01, b"[1"),
                frame(PING, &[n; 4]),
                frame(0x80, b"]"),
                frame(PING, &[n; 5]),
            ]
            .concat()
        })
        .collect();
    for client in [&mut alone, &mut pair[0]] {
        client.send(&bytes);
        for n in 0..20_u8 {
            client.expect_text(&n.to_string());
            client.expect(PONG, &[n]);
            client.expect(PONG, &[n, n]);
            if n.is_multiple_of(3) {
                client.expect_error("ERR_INVALID_JSON");
            } else {
                client.expect_text("true");
            }
            client.expect(PONG, &[n; 3]);
            client.expect(PONG, &[n; 4]);
            client.expect_text("[1]");
            client.expect(PONG, &[n; 5]);
        }
    }
}

#[test]
fn a_pong_that_nobody_asked_for_is_ignored() {
    let server = server(64 * 1024);
    let mut client = server.connect();
    client.send(&[frame(PONG, b""), frame(PONG, &[7; 125])].concat());
    client.expect_silence(GLANCE);
    client.expect_alive();
}

#[test]
fn close_codes_are_echoed_and_told() {
    let server = server(64 * 1024);
    let long = "r".repeat(123);
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
        for reason in ["", "because", &long] {
            let mut client = server.connect();
            client.close(code, reason);
            assert_eq!(client.next(), Got::Frame(CLOSE, close_payload(code, reason)));
            client.expect_end();
            assert_eq!(server.ended(client.id()), (code, reason.into()));
        }
    }
    server.expect_empty();
    let stats = server.engine.stats();
    let codes: Vec<u16> = stats.closed_by_peer.by_code.into_keys().collect();
    assert_eq!(codes, [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013]);
    assert_eq!((stats.closed_by_peer.other, stats.closed), (4 * 3, CloseCounts::default()));
}

#[test]
fn close_codes_that_clients_choose_at_will_share_one_counter() {
    let server = server(64 * 1024);
    let codes = (3000..=4999).step_by(7).filter(|code| CLOSE_CODES.iter().all(|info| info.code != *code));
    let mut sent = 0;
    for code in codes {
        let mut client = server.connect();
        client.close(code, "");
        assert_eq!(server.ended(client.id()).0, code, "listeners are told the code itself");
        sent += 1;
    }
    let stats = server.engine.stats();
    assert_eq!(stats.closed_by_peer, CloseCounts { by_code: BTreeMap::new(), other: sent });
    // Applications may pass on what clients choose.
    let mut client = server.connect();
    client.handle().close(4321, "");
    client.expect_close(4321);
    client.close(4321, "");
    assert_eq!(server.ended(client.id()).0, 4321);
    assert_eq!(server.engine.stats().closed, CloseCounts { by_code: BTreeMap::new(), other: 1 });
}

#[test]
fn an_end_is_told_with_who_began_it() {
    let server = server(64 * 1024);
    let by = |id| {
        server.event("the end", |event| match event {
            Event::Close { handle, code, by, .. } if handle.id == id => Some((*code, *by)),
            _ => None,
        })
    };
    let mut client = server.connect();
    client.close(4002, "");
    assert_eq!(by(client.id()), (4002, ClosedBy::Peer));
    let mut client = server.connect();
    client.handle().close(4002, "");
    client.expect_close(4002);
    client.close(1000, "");
    assert_eq!(by(client.id()), (4002, ClosedBy::Server), "the answer changes nothing");
    let mut client = server.connect();
    client.send(&frame(TEXT, &[0xff]));
    client.expect_close(1007);
    client.finish();
    assert_eq!(by(client.id()), (1007, ClosedBy::Server));
    let mut client = server.connect();
    client.finish();
    assert_eq!(by(client.id()), (1006, ClosedBy::Network));
    let client = server.connect();
    let id = client.id();
    client.reset();
    assert_eq!(by(id), (1006, ClosedBy::Network));
    let stats = server.engine.stats();
    assert_eq!(stats.closed.by_code.into_iter().collect::<Vec<_>>(), [(1006, 2), (1007, 1), (4002, 1)]);
    assert_eq!(stats.closed_by_peer.by_code.into_iter().collect::<Vec<_>>(), [(4002, 1)]);
}

#[test]
fn a_close_code_of_a_client_is_taken_exactly_if_it_is_one_that_we_may_send() {
    let server = server(64 * 1024);
    let limits =
        SENDABLE.iter().flat_map(|range| [range.start() - 1, *range.start(), *range.end(), range.end() + 1]);
    for code in limits.chain([0, 1004, 1005, 1006, 1015, u16::MAX]) {
        let mut client = server.connect();
        client.close(code, "");
        let taken = if is_sendable(code) { code } else { 1002 };
        client.expect_close(taken);
        assert_eq!(server.ended(client.id()).0, taken, "{code}");
    }
}

#[test]
fn what_a_client_says_after_its_close_frame_is_ignored() {
    for reads in READS {
        let server = server(reads);
        let mut client = server.connect();
        let after = [frame(TEXT, b"2"), frame(PING, b""), frame(CLOSE, b""), vec![0xFF; 100]].concat();
        client.send(&[frame(TEXT, b"1"), frame(CLOSE, &close_payload(1000, "")), after].concat());
        client.expect_text("1");
        client.expect(CLOSE, &close_payload(1000, ""));
        // Bytes that were never read make the kernel end the connection with a reset.
        assert!(matches!(client.next(), Got::End | Got::Reset));
        assert_eq!(server.ended(client.id()).0, 1000);
        assert_eq!(server.engine.stats().messages.received, 1);
    }
}

#[test]
fn a_close_from_our_side_waits_for_the_clients_answer_and_reads_on_meanwhile() {
    let server = server(64 * 1024);
    let mut client = server.connect();
    client.handle().close(4002, "enough");
    assert_eq!(client.expect_close(4002), "enough");
    assert!(server.engine.is_empty(), "closing connections are no longer members");
    client.text("1");
    client.ping(b"");
    client.expect_silence(GLANCE);
    client.close(4002, "");
    client.expect_end();
    assert_eq!(server.ended(client.id()), (4002, "enough".into()));
    assert_eq!(server.engine.stats().messages.after_close, 1);
}

#[test]
fn a_client_that_does_not_answer_our_close_is_cut_off() {
    let mut config = config();
    config.limits.close_timeout = std::time::Duration::from_millis(50);
    let server = Server::start(config);
    let mut client = server.connect();
    client.handle().close(4002, &"long".repeat(100));
    assert_eq!(client.expect_close(4002).len(), 123, "as much as fits");
    client.expect_end();
    assert_eq!(server.ended(client.id()).0, 4002);
    server.expect_empty();
}

#[test]
fn both_sides_may_close_at_once() {
    let server = server(64 * 1024);
    for _ in 0..200 {
        let mut client = server.open(Request::of("ada", &[]));
        client.handle().close(4002, "");
        client.close(1000, "");
        let Got::Frame(CLOSE, payload) = client.next() else { panic!() };
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        assert!(matches!(client.next(), Got::End | Got::Reset));
        assert_eq!(server.ended(client.id()).0, code, "what is told is what was said");
    }
    server.expect_empty();
}
