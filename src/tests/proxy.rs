//! Whose address a connection shows, with a proxy in between.

use http::{ProxyHeader, TrustProxy};
use socket2::{Domain, Socket, Type};

use super::harness::{Request, Server, config};
use crate::engine::config::{Auth, Config};

fn trusting(places: &[&str]) -> Config {
    let places: Vec<String> = places.iter().map(|place| (*place).into()).collect();
    Config { trust_proxy: TrustProxy::parse(&places).unwrap(), ..config() }
}

/// The address that a connection shows.
fn address(server: &Server, request: Request) -> String {
    server.open(request).handle.as_ref().unwrap().peer.remote().to_owned()
}

fn forwarded() -> Request {
    Request::default()
        .with("X-Forwarded-For: 198.51.100.7, 192.0.2.1")
        .with("Forwarded: for=\"[2001:db8::1]:80\"")
}

#[test]
fn headers_of_a_peer_that_is_not_trusted_are_not_believed() {
    for config in [config(), trusting(&["127.0.0.2", "10.0.0.0/8", "unix"])] {
        assert_eq!(address(&Server::start(config), forwarded()), "127.0.0.1");
    }
}

#[test]
fn a_connection_through_a_trusted_proxy_shows_its_client() {
    let server = Server::start(trusting(&["loopback"]));
    assert_eq!(address(&server, forwarded()), "192.0.2.1");
    assert_eq!(address(&server, Request { peer: "::ffff:127.0.0.1", ..forwarded() }), "192.0.2.1");
    assert_eq!(address(&server, Request::default()), "127.0.0.1");
    let server = Server::start(Config { proxy_header: ProxyHeader::Forwarded, ..trusting(&["loopback"]) });
    assert_eq!(address(&server, forwarded()), "2001:db8::1");
    let server = Server::start(Config { trust_proxy: TrustProxy::Hops(2), ..config() });
    assert_eq!(address(&server, forwarded()), "198.51.100.7");
}

#[test]
fn a_proxy_may_be_at_the_other_end_of_a_unix_domain_socket() {
    for (config, expected) in [(trusting(&["unix"]), "192.0.2.1"), (trusting(&["loopback"]), "")] {
        let server = Server::start(config);
        let (client, node) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        let (mut client, ticket) = server.hand_over(client, node, Request { peer: "unix:", ..forwarded() });
        client.response().expect_101();
        assert_eq!(ticket.unwrap().remote, expected);
    }
}

#[test]
fn who_decides_about_a_client_is_told_the_same_address() {
    let server = Server::start(Config { auth: Auth::Callback, ..trusting(&["127.0.0.1"]) });
    let (_client, ticket) = server.request(forwarded());
    let ticket = ticket.unwrap();
    assert_eq!((ticket.ask, ticket.remote.as_str()), (true, "192.0.2.1"));
}

#[test]
fn a_refused_client_gets_its_answer_whatever_its_proxy_says() {
    let server = Server::start(trusting(&["loopback"]));
    let rubbish =
        Request::default().with("X-Forwarded-For: \"rubbish").with("Origin: https://elsewhere.example");
    let (mut client, ticket) = server.request(rubbish);
    assert_eq!(client.response().status, 403);
    assert_eq!(ticket.unwrap().remote, "");
}
