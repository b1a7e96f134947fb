//! Ends of the engine: shutdowns, drains and aborts.

use super::*;

#[test]
fn a_shutdown_tells_everybody_waits_for_the_answers_and_is_over() {
    let server = Server::start(config());
    let mut clients: Vec<Client> = (0..100).map(|n| server.connect_as(&format!("user {}", n % 7))).collect();
    let begin = Instant::now();
    server.engine.shutdown(Duration::ZERO, 1001, "maintenance");
    for client in &mut clients {
        assert_eq!(client.expect_close(1001), "maintenance");
        client.close(1001, "");
        client.expect_end();
    }
    let mut ended = 0;
    server.event("the engine to close", |event| {
        match event {
            Event::Close { code, .. } => {
                assert_eq!(*code, 1001);
                ended += 1;
            }
            Event::Closed => assert_eq!(ended, 100, "the end of everything comes last"),
            other => panic!("{other:?}"),
        }
        matches!(event, Event::Closed).then_some(())
    });
    assert!(begin.elapsed() < Duration::from_secs(5), "nobody was waited for in vain");
    // Upgrades and messages are refused now, and a second shutdown does nothing.
    server.engine.shutdown(Duration::ZERO, 1000, "");
    assert_eq!(server.request(Request::default()).1.unwrap_err().code(), "ERR_CLOSED");
    for channel in [Channel::Everyone, Channel::User("user 1")] {
        assert_eq!(
            server.engine.publish(channel, Message::Text("1"), false).unwrap_err().code(),
            "ERR_CLOSED"
        );
        assert_eq!(server.engine.deliver_local(channel, Message::Text("1")), Ok(0));
    }
    assert_eq!(server.engine.send(clients[0].id(), Message::Text("1")), Ok(false));
    let closed = |event: &Event| matches!(event, Event::Closed).then_some(());
    assert!(server.event_within(GLANCE, closed).is_none());
    assert_eq!(server.engine.stats().connections, 0);
}

#[test]
fn a_shutdown_with_nobody_there_is_over_at_once() {
    let server = Server::start(config());
    let begin = Instant::now();
    server.engine.shutdown(PATIENCE, 1001, "");
    server.expect_closed();
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_drain_spreads_the_close_frames() {
    let server = Server::start(config());
    let drain = Duration::from_millis(600);
    let mut clients: Vec<Client> = (0..30).map(|_| server.connect()).collect();
    let mut times: Vec<Instant> = std::thread::scope(|scope| {
        let readers: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(|| {
                    client.expect_close(1012);
                    let told = Instant::now();
                    client.close(1012, "");
                    client.expect_end();
                    told
                })
            })
            .collect();
        server.engine.shutdown(drain, 1012, "");
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    times.sort_unstable();
    let spread = times[29] - times[0];
    assert!(spread > drain / 2, "{spread:?}");
    server.expect_closed();
}

#[test]
fn a_drain_serves_who_is_still_there_and_refuses_who_comes() {
    let server = Server::start(config());
    let mut clients: Vec<Client> = (0..2).map(|_| server.connect_as("ada")).collect();
    server.engine.shutdown(PATIENCE * 10, 1012, "");
    eventually("one to be told", || clients.iter().any(|client| !client.handle().is_open()));
    clients.sort_by_key(|client| client.handle().is_open());
    let [told, open] = &mut clients[..] else { unreachable!() };
    told.expect_close(1012);
    told.close(1012, "");
    told.expect_end();
    server.ended(told.id());
    let to_ada = Channel::User("ada");
    assert_eq!(published(server.engine.publish(to_ada, Message::Text("1"), false)).local, 1);
    assert_eq!(server.engine.deliver_local(to_ada, Message::Text("2")), Ok(1));
    assert_eq!(server.engine.send(open.id(), Message::Text("3")), Ok(true));
    open.text("4");
    (1..=4).for_each(|n| open.expect_text(&n.to_string()));
    assert_eq!(server.engine.is_online("ada"), Ok(Reply::Now(Answer::Number(1))));
    assert!(server.engine.count(None).is_ok() && server.engine.ready().is_ok());
    assert_eq!(server.request(Request::default()).1.unwrap_err().code(), "ERR_CLOSED");
    // Nobody is left after this one, so that the drain is over.
    assert!(server.engine.disconnect_user("ada", 4002, "", false).is_ok());
    open.expect_close(4002);
    open.close(4002, "");
    server.expect_closed();
    assert_eq!(server.engine.deliver_local(to_ada, Message::Text("5")), Ok(0));
    for late in [
        server.engine.publish(to_ada, Message::Text("5"), false),
        server.engine.publish_raw("news", b"5"),
        server.engine.disconnect_user("ada", 4002, "", false),
        server.engine.is_online("ada"),
        server.engine.count(None),
        server.engine.ready(),
    ] {
        assert_eq!(late.unwrap_err().code(), "ERR_CLOSED");
    }
}

#[test]
fn a_drain_is_over_when_everybody_has_left_by_themselves() {
    let server = Server::start(config());
    let mut clients: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    let begin = Instant::now();
    server.engine.shutdown(PATIENCE * 10, 1012, "");
    clients.iter_mut().for_each(|client| client.close(1000, ""));
    server.expect_closed();
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn clients_that_do_not_answer_are_cut_off_after_the_deadline() {
    let server = Server::start(with_close_timeout(Duration::from_millis(100)));
    let mut silent: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    // One that would not even take the close frame.
    let full = server.connect();
    server.clog(&full);
    server.engine.shutdown(Duration::ZERO, 1001, "");
    for client in &mut silent {
        client.expect_close(1001);
        assert!(matches!(client.next(), Got::End | Got::Reset));
    }
    assert_eq!(server.ended(full.id()).0, 1001);
    server.expect_closed();
}

#[test]
fn a_shutdown_during_sends_and_upgrades_ends_cleanly() {
    for _ in 0..5 {
        let server =
            Server::start(Config { relay: Relay::User, ..with_close_timeout(Duration::from_millis(100)) });
        let mut clients: Vec<Client> = (0..10).map(|_| server.connect_as("ada")).collect();
        std::thread::scope(|scope| {
            scope.spawn(
                || while server.engine.publish(Channel::Everyone, Message::Text("1"), false).is_ok() {},
            );
            scope.spawn(|| {
                // A client in the middle of it is either refused or told to go.
                while let (mut client, Ok(_)) = server.request(Request::default()) {
                    match client.response().status {
                        101 => drop(client.expect_close(1001)),
                        status => assert_eq!(status, 503),
                    }
                    if server.engine.publish(Channel::Everyone, Message::Text("1"), false).is_err() {
                        break;
                    }
                }
            });
            for client in &mut clients {
                let end = Client::new(client.socket.try_clone().unwrap());
                scope.spawn(move || read_to_the_end(end));
            }
            std::thread::park_timeout(Duration::from_millis(20));
            server.engine.shutdown(Duration::from_millis(10), 1001, "");
        });
        server.expect_closed();
    }
}

/// Reads messages up to the close frame, answers it, and reads the end.
fn read_to_the_end(mut client: Client) {
    client.expect_close(1001);
    client.try_send(&frame(0x88, &close_payload(1001, "")));
    assert!(matches!(client.next(), Got::End | Got::Reset));
}

#[test]
fn an_abort_ends_everything_at_once_whatever_is_under_way() {
    let server = Server::start(Config { auth: Auth::Callback, ..config() });
    let mut open: Vec<Client> = (0..10).map(|_| server.connect_as("ada")).collect();
    let (mut waiting, ticket) = server.request(Request::default());
    server.engine.abort();
    for client in open.iter_mut().chain([&mut waiting]) {
        assert!(matches!(client.next(), Got::End | Got::Reset));
    }
    open.iter().for_each(|client| assert_eq!(server.ended(client.id()).0, 1006));
    assert!(!server.engine.settle(ticket.unwrap().number, Ok(identity("ada", &[]).into())));
    server.expect_empty();
    server.engine.abort();
    server.engine.shutdown(Duration::ZERO, 1001, "");
    assert_eq!(server.request(Request::default()).1.unwrap_err().code(), "ERR_CLOSED");
    server.engine.set_interest(Interest::ALL);
}
