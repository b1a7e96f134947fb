//! Frames as a client may not send them. Each time: the close frame, then the end of our direction, in this order;
//! the connection is no longer a member of anything, and the embedder is told the code.

use std::time::Duration;

use protocol::frame::Message;

use super::client::{BINARY, CLOSE, PING, PONG, TEXT, close_payload, frame, head, unmasked};
use super::harness::{Server, config, eventually};
use crate::engine::config::{Config, Relay};
use crate::events::{Event, Interest};

const READS: [usize; 3] = [1, 7, 64 * 1024];
const LIMIT: usize = 1000;

fn server(read_buffer_bytes: usize) -> Server {
    let mut config = config();
    config.limits.read_buffer_bytes = read_buffer_bytes;
    config.limits.max_payload = LIMIT;
    Server::start(config)
}

/// Sends a message and then `bytes`, in one go and with the second part later, and sees the connection fail.
fn fails(bytes: &[u8], code: u16) {
    for reads in READS {
        let server = server(reads);
        for cut in [0, bytes.len() / 2] {
            let mut client = server.connect();
            client.send(&[&frame(TEXT, b"1"), &bytes[..cut]].concat());
            client.expect_text("1");
            client.send(&bytes[cut..]);
            let reason = client.expect_close(code);
            client.expect_end();
            assert!(!reason.is_empty());
            assert!(server.engine.is_empty() && server.engine.users().is_empty(), "{reads}");
            // Its words now go nowhere, and disturb nobody.
            client.try_send(&frame(TEXT, b"2"));
            client.finish();
            assert_eq!(server.ended(client.id()), (code, reason));
            assert_eq!(
                server.engine.stats().closed.by_code.get(&code).copied(),
                Some(1 + u64::from(cut > 0))
            );
            server.expect_empty();
        }
    }
}

#[test]
fn an_unmasked_frame_fails_the_connection() {
    fails(&unmasked(TEXT, b"\"x\""), 1002);
    fails(&unmasked(BINARY, &[0; 200]), 1002);
    fails(&unmasked(PING, b""), 1002);
    fails(&unmasked(PONG, b"x"), 1002);
    fails(&unmasked(CLOSE, &close_payload(1000, "")), 1002);
}

#[test]
fn reserved_bits_fail_the_connection() {
    for bits in [0x40, 0x20, 0x10, 0x70] {
        for kind in [TEXT, BINARY, PING, PONG, CLOSE, 0x01] {
            fails(&frame(kind | bits, b""), 1002);
        }
        fails(&[frame(0x01, b"a"), frame(0x80 | bits, b"b")].concat(), 1002);
    }
}

#[test]
fn reserved_opcodes_fail_the_connection() {
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        fails(&frame(0x80 | opcode, b""), 1002);
        fails(&frame(0x80 | opcode, b"payload"), 1002);
    }
}

#[test]
fn a_control_frame_must_be_short_and_whole() {
    for kind in [PING, PONG, CLOSE] {
        fails(&frame(kind, &[b'x'; 126]), 1002);
        fails(&frame(kind & 0x0F, b""), 1002);
    }
    fails(&[frame(0x01, b"a"), frame(PING & 0x0F, b"")].concat(), 1002);
}

#[test]
fn fragments_must_begin_and_end() {
    fails(&frame(0x80, b"end of nothing"), 1002);
    fails(&frame(0x00, b"middle of nothing"), 1002);
    fails(&[frame(0x01, b"begun"), frame(TEXT, b"begun anew")].concat(), 1002);
    fails(&[frame(0x02, b"begun"), frame(0x02, b"begun anew")].concat(), 1002);
    fails(&[frame(0x01, b"\"a"), frame(0x80, b"b\""), frame(0x80, b"too much")].concat(), 1002);
}

#[test]
fn a_message_over_the_limit_fails_the_connection_however_it_comes() {
    let over = vec![b' '; LIMIT + 1];
    fails(&frame(TEXT, &over), 1009);
    fails(&frame(BINARY, &over), 1009);
    fails(&[frame(0x01, &over[..LIMIT]), frame(0x80, &over[LIMIT..])].concat(), 1009);
    fails(&[frame(0x02, &over[..1]), frame(0x00, &over[..LIMIT - 1]), frame(0x00, b"x")].concat(), 1009);
    // The head alone says enough, also where the length is absurd.
    for len in [LIMIT + 1, 1 << 40, usize::MAX >> 1] {
        fails(&[&head(BINARY, len, 0x80)[..], &[0; 4]].concat(), 1009);
    }
}

#[test]
fn a_violation_that_shows_in_a_head_is_answered_before_the_payload_comes() {
    let masked = |first, len| [head(first, len, 0x80), vec![0; 4]].concat();
    let begun = |rest: Vec<u8>| [frame(0x01, b"begun"), rest].concat();
    for bytes in [
        head(TEXT, 100, 0),
        masked(TEXT | 0x40, 100),
        masked(0x83, 100),
        masked(0x8B, 100),
        masked(PING & 0x0F, 100),
        masked(PING, 126),
        masked(CLOSE, 1),
        masked(0x80, 100),
        begun(masked(BINARY, 100)),
    ] {
        fails(&bytes, 1002);
    }
    fails(&begun(masked(0x80, LIMIT - 4)), 1009);
    fails(&[masked(TEXT, 100), b"\xFF".to_vec()].concat(), 1007);
}

#[test]
fn a_small_max_payload_permits_control_frames_of_every_length() {
    for reads in READS {
        let mut config = config();
        config.limits.read_buffer_bytes = reads;
        config.limits.max_payload = 1;
        let server = Server::start(config);
        let mut client = server.connect();
        client.ping(&[b'p'; 125]);
        client.expect(PONG, &[b'p'; 125]);
        client.send(&frame(PONG, &[b'p'; 125]));
        client.text("1");
        client.expect_text("1");
        let reason = "r".repeat(123);
        client.close(4000, &reason);
        assert_eq!(client.expect_close(4000), reason);
        assert_eq!(server.ended(client.id()), (4000, reason));
        let mut client = server.connect();
        client.text("22");
        client.expect_close(1009);
    }
}

#[test]
fn a_length_with_the_highest_bit_set_fails_the_connection() {
    let server = server(64 * 1024);
    let mut client = server.connect();
    client.send(&[&[BINARY, 0xFF][..], &[0xFF; 8], &[0; 4]].concat());
    client.expect_close(1002);
    client.expect_end();
}

#[test]
fn a_message_of_just_the_limit_is_fine() {
    let server = server(64 * 1024);
    let mut client = server.connect();
    let text = format!("\"{}\"", "x".repeat(LIMIT - 2));
    client.text(&text);
    client.expect_text(&text);
    client.send(&[frame(0x01, &text.as_bytes()[..10]), frame(0x80, &text.as_bytes()[10..])].concat());
    client.expect_text(&text);
}

#[test]
fn text_that_is_not_utf_8_fails_the_connection() {
    // A stray continuation, an overlong form, a surrogate, a value past the last, a cut character, a broken one.
    let bad: [&[u8]; 7] = [
        b"\x80",
        b"\xC0\xAF",
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"\"\xE2\x82",
        b"\xCE\xBA\xE1",
        b"a\xFFb",
    ];
    for text in bad {
        fails(&frame(TEXT, text), 1007);
        fails(&frame(TEXT, &[&[b'x'; 70], text].concat()), 1007);
        for cut in 0..text.len() {
            fails(&[frame(0x01, &text[..cut]), frame(0x80, &text[cut..])].concat(), 1007);
        }
    }
}

#[test]
fn a_close_frame_must_make_sense() {
    fails(&frame(CLOSE, &[3]), 1002);
    fails(&frame(CLOSE, &close_payload(1000, "x").iter().copied().chain([0xFF]).collect::<Vec<u8>>()), 1007);
}

#[test]
fn a_close_code_that_nobody_may_send_is_answered_as_a_violation() {
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let server = server(64 * 1024);
        let mut client = server.connect();
        client.close(code, "");
        client.expect_close(1002);
        client.expect_end();
        assert_eq!(server.ended(client.id()).0, 1002, "{code}");
    }
}

#[test]
fn a_violation_that_ends_with_a_fin_is_answered_all_the_same() {
    for reads in READS {
        let server = server(reads);
        for _ in 0..20 {
            let mut client = server.connect();
            client.send(&[frame(TEXT, b"1"), frame(0x83, b"x")].concat());
            client.finish();
            client.expect_text("1");
            client.expect_close(1002);
            client.expect_end();
            assert_eq!(server.ended(client.id()).0, 1002);
        }
        server.expect_empty();
    }
}

#[test]
fn a_client_that_floods_after_a_violation_is_let_go_soon() {
    let mut config = config();
    config.limits.close_timeout = Duration::from_secs(600);
    let server = Server::start(config);
    let mut client = server.connect();
    client.send(&frame(0x83, b"x"));
    let flood = frame(BINARY, &[0; 50_000]);
    while client.try_send(&flood) {}
    assert_eq!(server.ended(client.id()).0, 1002);
    server.expect_empty();
    assert_eq!(server.engine.stats().messages.received, 0);
}

#[test]
fn one_clients_violation_is_nobody_elses() {
    let server = server(64 * 1024);
    let mut good = server.connect_as("ada");
    for _ in 0..50 {
        let mut bad = server.connect_as("ada");
        // Half a frame of a context that is never finished, and one that is broken.
        bad.send(&frame(0x83, b"x"));
        bad.expect_close(1002);
        let mut cut = server.connect_as("ada");
        cut.send(&frame(0x01, b"\"half"));
        drop(cut);
        good.send(&[frame(0x01, b"\"whole"), frame(0x80, b"\"")].concat());
        good.expect_text("\"whole\"");
    }
}

#[test]
fn what_the_embedder_says_to_messages_before_a_violation_goes_out_before_the_close_frame() {
    let mut config = Config { relay: Relay::Off, ..config() };
    config.limits.close_timeout = Duration::from_millis(100);
    let server = Server::start(config);
    server.engine.set_interest(Interest::ALL);
    for answers in [true, false] {
        let mut client = server.connect();
        client.send(&[frame(TEXT, b"question"), frame(TEXT, b"\xFF")].concat());
        if answers {
            eventually("the question", || {
                let batch = server.engine.drain(256);
                for event in &batch {
                    if let Event::Text { handle, .. } = event {
                        assert_eq!(server.engine.send(handle.id, Message::Text("answer")), Ok(true));
                    }
                }
                server.engine.flush();
                !batch.is_empty()
            });
            client.expect_text("answer");
        }
        // One that has nothing to say is not waited for longer than for a client.
        client.expect_close(1007);
        client.expect_end();
        client.finish();
        assert_eq!(server.ended(client.id()).0, 1007);
    }
}
