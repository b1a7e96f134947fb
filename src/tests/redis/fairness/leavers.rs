//! Clients that leave, or are closed, with more under way than they may relay.

use super::*;

/// Clients that leave, one after the other, with more under way than they may relay: it waits unread.
fn clients_that_leave_hold_a_quarter_of_the_seats(mut leave: impl FnMut(&Server, &[u8]) -> Box<dyn Any>) {
    const SEATS: usize = 40;
    const SENT: usize = 5000;
    let redis = RedisServer::start();
    let mut config = with(patient(&redis));
    config.limits.max_connections = SEATS;
    let server = Server::start_up(config);
    let connections = || server.engine.stats().connections;
    let connect = || server.connect_as("eve");
    // Its channel is subscribed to from here on.
    let mut eve = connect();
    redis.stop();
    // They don't read, and their sockets stay.
    let mut left = Vec::new();
    for _ in 0..SEATS {
        left.push(leave(&server, &numbered(0..SENT as u32)));
        eventually("seats to be free", || {
            server.engine.stats().handshakes == 0 && connections() <= SEATS - SEATS / 4
        });
    }
    assert!(connections() > SEATS / 2, "as long as there are seats, they stay");
    let mut newcomers: Vec<Client> = (connections()..SEATS).map(|_| connect()).collect();
    redis.resume();
    eventually("those that stayed to be heard", || connections() == 1 + newcomers.len());
    newcomers.iter_mut().for_each(|client| client.text("\"last\""));
    let count = std::iter::from_fn(|| Some(eve.next_text())).take_while(|text| text != "\"last\"").count();
    // Others still waited when the seats had run short.
    assert!((SENT * SEATS / 4..SENT * SEATS).contains(&count), "{count}");
}

#[test]
fn clients_that_leave_while_what_they_sent_waits_for_redis_hold_a_quarter_of_the_seats() {
    clients_that_leave_hold_a_quarter_of_the_seats(|server, sent| {
        let mut client = server.connect_as("eve");
        client.send(sent);
        client.finish();
        Box::new(client)
    });
}

#[test]
fn so_do_clients_that_leave_before_they_are_connected() {
    clients_that_leave_hold_a_quarter_of_the_seats(|server, sent| {
        let (mut client, _) = server.request(Request::of("eve", &[]));
        client.send(sent);
        client.finish();
        Box::new(client)
    });
}

#[test]
fn so_do_clients_whose_bytes_node_carries() {
    clients_that_leave_hold_a_quarter_of_the_seats(|server, sent| {
        let (bridge, ticket) = server.bridge(&Request::of("eve", &[]));
        server.event("the connection to open", |event| match event {
            Event::Open { ticket: of, .. } if *of == ticket.number => Some(()),
            _ => None,
        });
        bridge.feed(sent);
        bridge.end();
        Box::new(bridge)
    });
}

#[test]
fn a_client_that_is_closed_while_its_message_to_many_rooms_waits_for_redis_ends_at_once() {
    let redis = RedisServer::start();
    let rooms: Vec<String> = (0..60).map(|n| format!("room-{n}")).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let with = with(RedisConfig { pending_bytes: 1 << 20, ..patient(&redis) });
    let server = Server::start_up(Config { relay: Relay::Rooms, ..with });
    let mut sender = server.open(Request::of("ada", &rooms));
    redis.stop();
    sender.send(&frame(TEXT, format!("\"{}\"", "x".repeat(60_000)).as_bytes()));
    eventually("as much to be under way as may be", || pending(&server) == (512 << 10) / 60_000 + 1);
    sender.handle().close(4321, "out");
    sender.expect_close(4321);
    assert_eq!(server.engine.stats().messages.not_relayed, 1);
    redis.resume();
}

#[test]
fn a_client_that_leaves_while_it_waits_keeps_no_room() {
    let redis = RedisServer::start();
    let server = Server::start_up(with(patient(&redis)));
    for round in 0..6 {
        let mut flooders: Vec<_> = (0..20).map(|_| server.connect()).collect();
        redis.stop();
        flooders.iter_mut().for_each(|flooder| flooder.send(&numbered(0..2000)));
        eventually("their windows to be full", || pending(&server) >= 20 * 8);
        if round % 2 == 0 {
            flooders.drain(..).for_each(Client::reset);
            redis.resume();
        } else {
            redis.resume();
            flooders.drain(..).for_each(Client::reset);
        }
        eventually("everything to be answered", || pending(&server) == 0);
    }
    // There is room again, more than the least that everybody has.
    let mut flooder = server.connect();
    eventually("the others to be gone", || server.engine.len() == 1);
    redis.stop();
    flooder.send(&numbered(0..2000));
    eventually("its window to be full", || pending(&server) > 8);
    redis.resume();
    expect_numbers(&mut flooder, 0..2000);
}
