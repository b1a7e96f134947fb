//! The embedder's messages: to whom they go, in which order, and up to which close.

use super::*;

#[test]
fn the_embedder_reaches_connections_users_rooms_and_everyone() {
    let server = server(Relay::Off);
    let mut ada = server.open(Request::of("ada", &["lobby"]));
    let mut tab = server.open(Request::of("ada", &[]));
    let mut bob = server.open(Request::of("bob", &["lobby"]));
    let engine = &server.engine;
    let cases = [(Channel::User("ada"), 2), (Channel::Room("lobby"), 2), (Channel::Everyone, 3)];
    for (channel, count) in cases {
        let delivery = published(engine.publish(channel, Message::Text("published"), false));
        assert_eq!((delivery.status, delivery.nodes, delivery.local), (Status::Published, Some(1), count));
        assert_eq!(engine.deliver_local(channel, Message::Binary(b"local")).unwrap(), count);
    }
    for channel in [Channel::User("eve"), Channel::Room("nowhere")] {
        let delivery = published(engine.publish(channel, Message::Text("lost"), false));
        assert_eq!((delivery.nodes, delivery.local), (Some(0), 0));
    }
    assert_eq!(engine.send(bob.id(), Message::Text("to one")), Ok(true));
    assert_eq!(engine.send(u64::MAX, Message::Text("to none")), Ok(false));
    for (client, count) in [(&mut ada, 3), (&mut tab, 2), (&mut bob, 2)] {
        for _ in 0..count {
            client.expect_text("published");
            client.expect(BINARY, b"local");
        }
    }
    bob.expect_text("to one");
    ada.expect_silence(GLANCE);
}

#[test]
fn small_and_large_messages_keep_their_order() {
    let server = server(Relay::Off);
    let mut client = server.connect_as("ada");
    let lens = [1, 2000, 3, 1024, 1025, 0, 70_000, 5, 1024, 1024, 9000];
    let texts: Vec<String> = lens.iter().map(|len| "x".repeat(*len)).collect();
    for _ in 0..5 {
        for text in &texts {
            assert_eq!(server.engine.send(client.id(), Message::Text(text)), Ok(true));
        }
        texts.iter().for_each(|text| client.expect_text(text));
    }
}

#[test]
fn what_is_sent_while_a_batch_is_handled_goes_out_with_its_end() {
    let server = server(Relay::Off);
    let mut client = server.connect_as("ada");
    let other = Server::start(config());
    let _stranger = other.connect();
    // A batch of one engine, held open while another engine's begins and ends on the same thread.
    server.engine.deliver_local(Channel::Everyone, Message::Text("0")).unwrap();
    client.expect_text("0");
    client.close(1000, "");
    client.expect_close(1000);
    let mut client = server.connect_as("ada");
    assert!(!drain_something(&server).is_empty());
    assert_eq!(server.engine.send(client.id(), Message::Text("1")), Ok(true));
    other.engine.drain(1);
    other.engine.flush();
    server.engine.flush();
    client.expect_text("1");
}

/// A batch that is not empty, without the end that `flush` gives it.
fn drain_something(server: &Server) -> std::collections::VecDeque<crate::events::Event> {
    let mut stranger = server.connect();
    stranger.close(1000, "");
    stranger.expect_close(1000);
    let mut batch = std::collections::VecDeque::new();
    eventually("events", || {
        batch = server.engine.drain(1);
        !batch.is_empty()
    });
    batch
}

#[test]
fn disconnecting_a_user_closes_all_of_its_connections() {
    let server = server(Relay::User);
    let mut ada: Vec<Client> = (0..3).map(|_| server.connect_as("ada")).collect();
    let mut bob = server.connect_as("bob");
    assert_eq!(published(server.engine.disconnect_user("ada", 4002, "out", false)).local, 3);
    for client in &mut ada {
        assert_eq!(client.expect_close(4002), "out");
        client.close(4002, "");
        client.expect_end();
        assert_eq!(server.ended(client.id()), (4002, "out".into()));
    }
    assert_eq!(published(server.engine.disconnect_user("ada", 4002, "", false)).local, 0);
    assert_eq!(server.engine.users(), [std::sync::Arc::<str>::from("bob")]);
    bob.expect_alive();
}

#[test]
fn messages_from_before_a_close_arrive_and_those_from_after_it_are_not_taken() {
    let server = server(Relay::Off);
    for _ in 0..100 {
        let mut client = server.connect_as("ada");
        let engine = &server.engine;
        assert_eq!(engine.send(client.id(), Message::Text("before")), Ok(true));
        client.handle().close(4002, "out");
        assert_eq!(engine.send(client.id(), Message::Text("after")), Ok(false));
        assert_eq!(published(engine.publish(Channel::User("ada"), Message::Text("after"), false)).local, 0);
        client.expect_text("before");
        client.expect_close(4002);
        client.close(4002, "");
        client.expect_end();
    }
}

#[test]
fn no_message_follows_a_close_frame_whoever_sends_meanwhile() {
    let server = server(Relay::Off);
    for by_client in [true, false].repeat(15) {
        let mut client = server.connect_as("ada");
        let handle = client.handle().clone();
        std::thread::scope(|scope| {
            let send = || loop {
                // Never so much that the client were slow.
                let room = handle.buffered() < 100_000;
                if room && server.engine.send(handle.id, Message::Text("x")) != Ok(true) {
                    break;
                }
            };
            (0..2).for_each(|_| drop(scope.spawn(send)));
            scope.spawn(move || {
                client.next_text();
                let code = if by_client { 3000 } else { 4002 };
                if by_client {
                    client.close(code, "");
                } else {
                    client.handle().close(code, "");
                }
                client.expect_close(code);
                client.try_send(&frame(CLOSE, &close_payload(code, "")));
                let rest = client.next();
                assert!(matches!(rest, Got::End | Got::Reset), "{rest:?} after the close frame");
            });
        });
    }
}
