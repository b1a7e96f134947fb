//! Ends that clients wish for: what they said right before is answered, as far as the embedder has something to say.

use std::time::{Duration, Instant};

use protocol::frame::Message;

use super::client::{CLOSE, TEXT, close_payload, frame};
use super::harness::{Server, config, eventually};
use crate::engine::config::{Config, Relay};
use crate::events::{Event, Interest};

fn server(close_timeout: Duration) -> Server {
    let mut config = Config { relay: Relay::Off, ..config() };
    config.limits.close_timeout = close_timeout;
    let server = Server::start(config);
    server.engine.set_interest(Interest::ALL);
    server
}

/// Answers the next message.
fn answer(server: &Server) {
    eventually("the question", || {
        let batch = server.engine.drain(256);
        for event in &batch {
            if let Event::Text { handle, .. } = event {
                assert!(handle.is_open(), "its end waits");
                assert_eq!(server.engine.send(handle.id, Message::Text("answer")), Ok(true));
            }
        }
        server.engine.flush();
        !batch.is_empty()
    });
}

#[test]
fn what_the_embedder_says_to_a_message_before_a_close_frame_goes_out_before_the_answer_to_that() {
    for answers in [true, false] {
        let server = server(if answers { Duration::from_secs(600) } else { Duration::from_millis(100) });
        let mut client = server.connect();
        client.send(&[frame(TEXT, b"question"), frame(CLOSE, &close_payload(4321, "bye"))].concat());
        if answers {
            answer(&server);
            // That the batch is dealt with shows in the next call.
            assert_eq!(server.ended(client.id()), (4321, "bye".into()));
            client.expect_text("answer");
        }
        // One that has nothing to say is not waited for longer than for a client.
        client.expect(CLOSE, &close_payload(4321, "bye"));
        client.expect_end();
        server.expect_empty();
    }
}

#[test]
fn what_the_embedder_says_to_a_message_before_the_end_of_the_stream_is_sent() {
    let server = server(Duration::from_secs(600));
    let mut client = server.connect();
    client.send(&frame(TEXT, b"question"));
    client.finish();
    answer(&server);
    assert_eq!(server.ended(client.id()).0, 1006);
    client.expect_text("answer");
    client.expect_end();
}

#[test]
fn an_end_waits_for_nobody_where_nobody_listens_or_all_is_answered() {
    for interest in [Interest(0), Interest::DISCONNECT, Interest::ALL] {
        let server = server(Duration::from_secs(600));
        let mut client = server.connect();
        server.engine.set_interest(interest);
        if interest == Interest::ALL {
            client.text("question");
            answer(&server);
            client.expect_text("answer");
            // The batch is dealt with.
            server.drop_events();
        } else {
            client.text("not heard");
        }
        let began = Instant::now();
        client.send(&frame(CLOSE, &close_payload(1000, "")));
        client.expect_close(1000);
        client.expect_end();
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn a_connection_that_waits_for_the_embedder_ends_at_once_if_that_closes_or_terminates_it() {
    for terminates in [false, true] {
        let server = server(Duration::from_secs(600));
        let mut client = server.connect();
        client.send(&[frame(TEXT, b"question"), frame(CLOSE, &close_payload(4321, "bye"))].concat());
        eventually("the question", || !server.engine.drain(1).is_empty());
        server.engine.flush();
        let handle = client.handle().clone();
        if terminates {
            handle.terminate();
        } else {
            handle.close(4000, "enough");
            client.expect(CLOSE, &close_payload(4321, "bye"));
        }
        client.expect_end();
        assert_eq!(server.ended(handle.id), (4321, "bye".into()));
    }
}
