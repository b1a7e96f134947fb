//! Handshakes in which the embedder decides who comes in.

use super::*;

#[test]
fn the_embedder_lets_a_client_in_or_not() {
    let server = Server::start(callback(LONG));
    let (mut client, ticket) = server.request(Request::default());
    let ticket = ticket.unwrap();
    assert!(ticket.ask);
    client.expect_silence(GLANCE);
    assert!(server.engine.settle(ticket.number, Ok(identity("ada", &["lobby"]).into())));
    client.response().expect_101();
    let handle = server.event("the connection", |event| match event {
        Event::Open { handle, .. } => Some(handle.clone()),
        _ => None,
    });
    assert_eq!((&*handle.user, server.engine.rooms_of(handle.id).len()), ("ada", 1));
    assert!(
        !server.engine.settle(ticket.number, Err(denial(Code::Unauthorized))),
        "a second answer comes too late"
    );

    let codes = [(Code::Unauthorized, 401), (Code::AuthFailed, 500), (Code::InvalidIdentity, 500)];
    for (code, status) in codes {
        let (mut client, ticket) = server.request(Request::default());
        assert!(server.engine.settle(ticket.unwrap().number, Err(denial(code))));
        client.response().expect_refusal(status, code.as_str());
        client.expect_end();
    }
}

#[test]
fn the_embedder_adds_to_the_101() {
    let server = Server::start(Config { protocols: vec!["one".into()], ..callback(LONG) });
    let (mut client, ticket) =
        server.request(Request::default().with("Sec-WebSocket-Protocol: one, two").with("X-Secret: no"));
    let mut headers = HeaderLines::default();
    headers.push("Set-Cookie", "a=1");
    headers.push("Set-Cookie", "b=2");
    let admission = Admission { protocol: Some("two".into()), headers, ..identity("ada", &[]).into() };
    assert!(server.engine.settle(ticket.unwrap().number, Ok(admission)));
    let response = client.response();
    response.expect_101();
    assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("two"));
    let cookies: Vec<&String> =
        response.headers.iter().filter(|line| line.starts_with("Set-Cookie")).collect();
    assert_eq!(cookies, ["Set-Cookie: a=1", "Set-Cookie: b=2"]);
    let handle = server.event("the connection", |event| match event {
        Event::Open { handle, .. } => Some(handle.clone()),
        _ => None,
    });
    assert_eq!(&*handle.peer.protocol, "two");
    assert_eq!(handle.peer.request(), None, "nothing is kept where nobody asked for it");
}

#[test]
fn the_embedder_refuses_in_its_own_words() {
    let own = |config: Config| {
        let server = Server::start(config);
        let (client, ticket) = server.request(Request { report: true, ..Request::default() });
        let number = ticket.unwrap().number;
        let own = Own { code: "PLAN_EXPIRED".into(), close_code: 4777, headers: HeaderLines::default() };
        assert!(server.engine.settle(number, Err(Refusal::own(402, own, "pay first"))));
        assert_eq!(server.refused(number), ("PLAN_EXPIRED".into(), "pay first".into()));
        assert_eq!(server.engine.stats().refused.get("ERR_REFUSED"), Some(&1));
        (client, server)
    };
    let (mut client, _server) = own(callback(LONG));
    client.response().expect_refusal(402, "PLAN_EXPIRED");
    client.expect_end();
    let (mut client, _server) = own(Config { reject_with: RejectWith::Close, ..callback(LONG) });
    client.response().expect_101();
    assert_eq!(client.expect_close(4777), "PLAN_EXPIRED");
}

#[test]
fn nobody_comes_in_but_for_whom_the_embedder_vouches() {
    let server = Server::start(Config { auth: Auth::Nobody, ..config() });
    let (mut client, _) = server.request(Request::default());
    client.response().expect_refusal(401, "ERR_UNAUTHORIZED");
    let (mut client, _) = server.request(Request::of("ada", &[]));
    client.response().expect_101();
}

#[test]
fn an_embedder_that_never_answers_costs_the_client_a_408() {
    let server = Server::start(callback(Duration::from_millis(50)));
    let (mut client, ticket) = server.request(Request { report: true, ..Request::default() });
    let number = ticket.unwrap().number;
    client.response().expect_refusal(408, "ERR_HANDSHAKE_TIMEOUT");
    client.expect_end();
    assert_eq!(server.refused(number).0, "ERR_HANDSHAKE_TIMEOUT");
    assert!(!server.engine.settle(number, Ok(identity("ada", &[]).into())), "that comes too late");
    drop(client);
    server.expect_empty();
    assert_eq!(server.engine.stats().opened, 0);
}

#[test]
fn a_client_that_leaves_while_the_embedder_thinks_leaves_nothing_behind() {
    let server = Server::start(callback(LONG));
    let early = frame(TEXT, b"1");
    // With a FIN or a reset, and with early frames that hide the end behind them.
    for (reset, early) in [(false, vec![]), (true, vec![]), (false, early.clone()), (true, early)] {
        let (client, ticket) = server.request(Request { early, report: true, ..Request::default() });
        let number = ticket.unwrap().number;
        if reset {
            client.reset()
        } else {
            drop(client)
        }
        assert_eq!(server.refused(number).0, "ERR_HANDOVER");
        assert!(!server.engine.settle(number, Ok(identity("ada", &[]).into())));
        server.expect_empty();
    }
    assert_eq!(server.engine.stats().opened, 0);
}

#[test]
fn an_answer_that_crosses_the_clients_leaving_leaves_nothing_behind() {
    let server = Server::start(callback(LONG));
    for round in 0..200 {
        let (client, ticket) = server.request(Request::default());
        let number = ticket.unwrap().number;
        let client = (round % 2 == 0).then_some(client);
        server.engine.settle(number, Ok(identity("ada", &["lobby"]).into()));
        if let Some(client) = client {
            client.reset();
        }
    }
    server.expect_empty();
}

#[test]
fn frames_that_come_before_the_embedder_has_decided_are_not_lost() {
    let server = Server::start(callback(LONG));
    let early = [frame(TEXT, b"1"), frame(PING, b"2"), frame(TEXT, b"3")].concat();
    for taken in 0..=early.len() {
        let request = Request { early: early.clone(), taken, ..Request::default() };
        let (mut client, ticket) = server.request(request);
        client.text("4");
        assert!(server.engine.settle(ticket.unwrap().number, Ok(identity(&taken.to_string(), &[]).into())));
        client.response().expect_101();
        client.expect_text("1");
        client.expect(PONG, b"2");
        client.expect_text("3");
        client.expect_text("4");
    }
}

#[test]
fn a_shutdown_refuses_handshakes_that_wait_for_the_embedder() {
    let server = Server::start(callback(LONG));
    let mut waiting: Vec<_> =
        (0..10).map(|_| server.request(Request { report: true, ..Request::default() })).collect();
    server.engine.shutdown(Duration::ZERO, 1001, "");
    for (client, ticket) in &mut waiting {
        client.response().expect_refusal(503, "ERR_SHUTTING_DOWN");
        let number = ticket.as_ref().unwrap().number;
        assert_eq!(server.refused(number).0, "ERR_SHUTTING_DOWN");
        assert!(!server.engine.settle(number, Ok(identity("ada", &[]).into())));
    }
    drop(waiting);
    server.expect_closed();
}
