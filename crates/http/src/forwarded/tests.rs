#![allow(clippy::unwrap_used)]

use super::*;

const PROXY: &str = "10.0.0.1";

fn head(lines: &[(&str, &str)]) -> RequestHead {
    RequestHead {
        method: "GET".into(),
        target: "/".into(),
        version: (1, 1),
        headers: lines.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    }
}

fn listed(places: &[&str]) -> TrustProxy {
    TrustProxy::parse(&places.iter().map(|place| (*place).into()).collect::<Vec<_>>()).unwrap()
}

/// The address of the client.
fn client_address(head: &RequestHead, peer: &str, trust: &TrustProxy, header: ProxyHeader) -> String {
    Client { address: peer.into(), tls: false }.behind(head, trust, header).address
}

/// True if the client's connection is TLS, where the proxy's to us is as `ours` says.
fn tls(ours: bool, lines: &[(&str, &str)], trust: &TrustProxy, header: ProxyHeader) -> bool {
    Client { address: PROXY.into(), tls: ours }.behind(&head(lines), trust, header).tls
}

/// The client behind proxies at 10.0.0.0/8, by `X-Forwarded-For`.
fn by_list(value: &str) -> String {
    let head = head(&[("X-Forwarded-For", value)]);
    client_address(&head, PROXY, &listed(&["10.0.0.0/8"]), ProxyHeader::XForwardedFor)
}

/// The same, by `Forwarded`.
fn by_forwarded(value: &str) -> String {
    client_address(&head(&[("forwarded", value)]), PROXY, &listed(&["10.0.0.0/8"]), ProxyHeader::Forwarded)
}

/// The client behind so many proxies.
fn by_hops(hops: u64, value: &str) -> String {
    let head = head(&[("X-Forwarded-For", value)]);
    client_address(&head, PROXY, &TrustProxy::Hops(hops), ProxyHeader::XForwardedFor)
}

/// True if a peer is believed.
fn trusts(trust: &TrustProxy, peer: &str) -> bool {
    let head = head(&[("X-Forwarded-For", "198.51.100.1")]);
    client_address(&head, peer, trust, ProxyHeader::XForwardedFor) == "198.51.100.1"
}

#[test]
fn by_default_nobody_is_believed() {
    for peer in [PROXY, "127.0.0.1", "::1", UNIX, ""] {
        assert!(!trusts(&TrustProxy::default(), peer), "{peer}");
    }
}

#[test]
fn who_is_not_trusted_is_the_client_whatever_it_says() {
    let lines = [("X-Forwarded-For", "10.0.0.2"), ("X-Real-IP", "10.0.0.2"), ("Forwarded", "for=10.0.0.2")];
    for peer in ["192.0.2.9", "2001:db8::9", "::ffff:192.0.2.9", "fe80::9%eth0", ""] {
        for header in [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded] {
            assert_eq!(client_address(&head(&lines), peer, &listed(&["10.0.0.0/8"]), header), peer);
        }
    }
}

#[test]
fn a_trusted_peer_that_names_nobody_is_the_client_itself() {
    for peer in [PROXY, "::ffff:10.0.0.1"] {
        let trust = listed(&["10.0.0.0/8"]);
        assert_eq!(client_address(&head(&[]), peer, &trust, ProxyHeader::XForwardedFor), peer);
    }
    for nothing in ["", " ", ",", " , ,\t"] {
        assert_eq!(by_list(nothing), PROXY, "{nothing:?}");
        assert_eq!(by_forwarded(nothing), PROXY, "{nothing:?}");
    }
}

#[test]
fn the_client_is_the_last_address_that_is_not_trusted() {
    assert_eq!(by_list("192.0.2.1"), "192.0.2.1");
    assert_eq!(by_list("192.0.2.1, 10.0.0.2,10.9.9.9"), "192.0.2.1");
    // The client wrote the first one itself.
    assert_eq!(by_list("198.51.100.7, 192.0.2.1"), "192.0.2.1");
    assert_eq!(by_list("10.0.0.2, 192.0.2.1, 10.0.0.3"), "192.0.2.1");
    assert_eq!(by_list(", 192.0.2.1, ,10.0.0.2 ,"), "192.0.2.1");
}

#[test]
fn where_all_are_trusted_the_first_one_is_the_client() {
    assert_eq!(by_list("10.0.0.9, 10.0.0.2"), "10.0.0.9");
}

#[test]
fn lines_of_one_name_are_one_list() {
    let lines = [
        ("x-forwarded-for", "198.51.100.7"),
        ("Host", "a"),
        ("X-Forwarded-For", "192.0.2.1, 10.0.0.3"),
        ("X-FORWARDED-FOR", "10.0.0.2"),
    ];
    let client = |trust| client_address(&head(&lines), PROXY, &trust, ProxyHeader::XForwardedFor);
    assert_eq!(client(listed(&["10.0.0.0/8"])), "192.0.2.1");
    assert_eq!(client(TrustProxy::Hops(2)), "10.0.0.3");
    assert_eq!(client(TrustProxy::Hops(4)), "198.51.100.7");
}

#[test]
fn only_the_chosen_header_is_read() {
    let lines =
        [("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "192.0.2.2"), ("X-Real-IP", "192.0.2.3")];
    let client = |header| client_address(&head(&lines), PROXY, &TrustProxy::Hops(1), header);
    assert_eq!(client(ProxyHeader::Forwarded), "192.0.2.1");
    assert_eq!(client(ProxyHeader::XForwardedFor), "192.0.2.2");
    let other = head(&[("Forwarded", "for=192.0.2.1")]);
    assert_eq!(client_address(&other, PROXY, &TrustProxy::Hops(1), ProxyHeader::XForwardedFor), PROXY);
}

#[test]
fn a_number_of_proxies_counts_from_the_peer() {
    let chain = "198.51.100.7, 192.0.2.1, 10.0.0.2";
    assert_eq!(by_hops(1, chain), "10.0.0.2");
    assert_eq!(by_hops(2, chain), "192.0.2.1");
    assert_eq!(by_hops(3, chain), "198.51.100.7");
    assert_eq!(by_hops(16, chain), "198.51.100.7");
    // The addresses of the proxies in between make no difference, nor does that of the peer.
    assert_eq!(by_hops(2, "192.0.2.1, unknown"), "192.0.2.1");
    for peer in ["2001:db8::1", UNIX, ""] {
        assert!(trusts(&TrustProxy::Hops(1), peer), "{peer}");
    }
}

#[test]
fn addresses_are_understood_in_every_way_that_proxies_write_them() {
    for (written, address) in [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
        ("[::1]:_port-of.mine_1", "::1"),
        ("192.0.2.1:_x", "192.0.2.1"),
    ] {
        assert_eq!(by_list(written), address, "{written}");
        assert_eq!(by_forwarded(&format!("for=\"{written}\"")), address, "{written}");
    }
}

#[test]
fn what_is_no_address_is_an_unknown_client_and_nobody_behind_it_is_believed() {
    for written in [
        "unknown",
        "_hidden",
        "_",
        "rubbish",
        "localhost",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.01",
        "192.0.2.1:",
        "192.0.2.1:x",
        "192.0.2.1:123456",
        "192.0.2.1:+1",
        "192.0.2.1:_",
        "192.0.2.1:_a b",
        "[192.0.2.1]",
        "[]",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1]:",
        "[::1]]",
        "[fe80::1%eth0]",
        "fe80::1%eth0",
        "192.0.2.1 192.0.2.2",
        "\"192.0.2.1\"",
        "for=192.0.2.1",
        "unix:/run/x",
        "-",
        "ä",
    ] {
        assert_eq!(by_list(written), "", "{written}");
        assert_eq!(by_list(&format!("198.51.100.7, {written}, 10.0.0.2")), "", "{written}");
    }
}

#[test]
fn what_a_client_makes_up_does_not_hide_it() {
    for made_up in ["rubbish", "unknown", "\"", "[", ",,,", "for=\"", "unix:", "10.0.0.9", "127.0.0.1"] {
        assert_eq!(by_list(&format!("{made_up}, 192.0.2.1")), "192.0.2.1", "{made_up}");
        assert_eq!(by_list(&format!("{made_up},192.0.2.1, 10.0.0.2")), "192.0.2.1", "{made_up}");
    }
    for made_up in [
        "for=\"",
        "for=\"\\",
        "\"",
        "\\\"",
        "for=\"a\\\"",
        "for=\"\\\\\"",
        "for=\"x;",
        "for=198.51.100.7;for=\"",
        "a=\",\\\"",
        ";;;",
        "=",
        "for",
    ] {
        for proxy in ["for=192.0.2.1", "for=\"192.0.2.1:80\";proto=https", "by=\"_a,\\\"b\";for=192.0.2.1"] {
            let both = format!("{made_up}, {proxy}");
            assert_eq!(by_forwarded(&both), "192.0.2.1", "{both}");
            let lines = [("Forwarded", made_up), ("Forwarded", proxy)];
            let client = client_address(&head(&lines), PROXY, &TrustProxy::Hops(1), ProxyHeader::Forwarded);
            assert_eq!(client, "192.0.2.1", "{made_up} on a line of its own");
        }
    }
}

#[test]
fn forwarded_elements_are_read_by_their_parameter_for() {
    for (written, address) in [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=192.0.2.1", "192.0.2.1"),
        ("FOR=\"192.0.2.1\"", "192.0.2.1"),
        ("for=192.0.2.1;proto=http;by=203.0.113.43", "192.0.2.1"),
        ("by=203.0.113.43 ; for=192.0.2.1 ; proto=http", "192.0.2.1"),
        (";;proto=http;;for=192.0.2.1;", "192.0.2.1"),
        ("host=\"a,b;c\";for=192.0.2.1", "192.0.2.1"),
        ("host=\"a\\\",for=198.51.100.7\";for=192.0.2.1", "192.0.2.1"),
        ("for=\"\\192.0.2.1\"", "192.0.2.1"),
        // Not valid without quotes, but plain enough.
        ("for=[2001:db8::1]:80", "2001:db8::1"),
        ("for=198.51.100.7, for=192.0.2.1;by=x, for=\"10.0.0.2\"", "192.0.2.1"),
    ] {
        assert_eq!(by_forwarded(written), address, "{written}");
    }
}

#[test]
fn forwarded_elements_that_do_not_name_one_client_are_an_unknown_one() {
    for written in [
        "proto=https",
        "for=unknown",
        "for=\"unknown\"",
        "for=_hidden",
        "for=",
        "for=\"\"",
        "for",
        "192.0.2.1",
        "for =192.0.2.1",
        "for=192.0.2.1;for=192.0.2.2",
        "for=192.0.2.1;FOR=192.0.2.1",
        "for=\"192.0.2.1",
        "for=192.0.2.1\"",
        "for=\"192.0.2.1\"x",
        "for=\"192.0.2.1\" x=y",
        "for=192.0.2.1;x",
        "for=192.0.2.1;\"",
        "for=\"192.0.2.1\\\"",
        "for='192.0.2.1'",
        "f\u{f6}r=192.0.2.1",
    ] {
        assert_eq!(by_forwarded(written), "", "{written}");
        assert_eq!(by_forwarded(&format!("for=198.51.100.7, {written}")), "", "{written}");
    }
}

#[test]
fn places_are_addresses_networks_and_names() {
    for (place, inside, outside) in [
        ("10.0.0.1", &["10.0.0.1", "::ffff:10.0.0.1"][..], &["10.0.0.2", "::10.0.0.1"][..]),
        ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], &["9.255.255.255", "11.0.0.0"]),
        ("0.0.0.0/0", &["192.0.2.1"], &["2001:db8::1", UNIX, ""]),
        ("::/0", &["2001:db8::1"], &["192.0.2.1", "::ffff:192.0.2.1"]),
        ("2001:DB8::/32", &["2001:db8:ffff::1"], &["2001:db9::"]),
        ("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.0"]),
        ("::ffff:10.0.0.1", &["10.0.0.1"], &["10.0.0.2"]),
        ("fe80::1", &["fe80::1", "fe80::1%eth0"], &["fe80::2%eth0"]),
        ("loopback", &["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"], &["128.0.0.1", "::2", UNIX]),
        ("linklocal", &["169.254.1.1", "fe80::1%eth0", "febf::1"], &["169.255.0.0", "fec0::1"]),
        (
            "uniquelocal",
            &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.9.9", "fc00::1", "fdff::1"],
            &["172.15.0.1", "172.32.0.1", "192.167.0.1", "fe00::1", "127.0.0.1"],
        ),
        ("unix", &[UNIX], &["", "127.0.0.1"]),
    ] {
        let trust = listed(&["203.0.113.1", place]);
        for peer in inside {
            assert!(trusts(&trust, peer), "{place} has {peer}");
        }
        for peer in outside {
            assert!(!trusts(&trust, peer), "{place} does not have {peer}");
        }
    }
}

#[test]
fn other_places_are_refused_with_what_would_do() {
    for place in [
        "",
        "all",
        "Loopback",
        "localhost",
        "*",
        "10.0.0",
        "10/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "::/129",
        "10.0.0.1:80",
        "[::1]",
        "10.0.0.0/255.0.0.0",
        " 10.0.0.1",
        "loopback, 10.0.0.1",
        "fe80::1%eth0",
    ] {
        let error = TrustProxy::parse(&["10.0.0.1".into(), place.into()]).unwrap_err();
        assert_eq!(
            (error.option.as_str(), error.code()),
            ("trustProxy", "ERR_OPTION_OUT_OF_RANGE"),
            "{place}"
        );
        assert!(error.message.ends_with(&format!("got '{place}'")), "{error}");
    }
    let error = TrustProxy::parse(&["10.1.2.3/8".into()]).unwrap_err();
    assert!(error.message.contains("'10.0.0.0/8', got '10.1.2.3/8'"), "{error}");
}

#[test]
fn a_peer_on_a_unix_domain_socket_has_no_address() {
    assert_eq!(client_address(&head(&[]), UNIX, &listed(&["unix"]), ProxyHeader::XForwardedFor), "");
    assert_eq!(client_address(&head(&[]), UNIX, &TrustProxy::Nobody, ProxyHeader::XForwardedFor), "");
    // nginx writes this of a proxy that reached it that way.
    let lines = [("X-Forwarded-For", "192.0.2.1, unix:")];
    let client =
        |places: &[&str]| client_address(&head(&lines), PROXY, &listed(places), ProxyHeader::XForwardedFor);
    assert_eq!(client(&[PROXY, "unix"]), "192.0.2.1");
    assert_eq!(client(&[PROXY]), "");
}

#[test]
fn the_longest_headers_are_read_once() {
    // Were it not linear, this would take minutes.
    let quotes = "for=\"\\\\\\\"".repeat(100_000);
    assert_eq!(by_forwarded(&quotes), "");
    assert_eq!(by_forwarded(&"\"\\".repeat(500_000)), "");
    assert_eq!(by_list(&"10.0.0.2,".repeat(100_000)), "10.0.0.2");
    assert_eq!(by_forwarded(&"for=10.0.0.2,".repeat(100_000)), "10.0.0.2");
}

const FOR: (&str, &str) = ("X-Forwarded-For", "192.0.2.1");

#[test]
fn a_trusted_proxy_says_whether_the_client_came_by_tls() {
    let trust = listed(&["10.0.0.0/8"]);
    for (scheme, expected) in
        [("https", true), ("WSS", true), (" https ", true), ("http", false), ("ws", false)]
    {
        for ours in [false, true] {
            let lines = [FOR, ("X-Forwarded-Proto", scheme)];
            assert_eq!(tls(ours, &lines, &trust, ProxyHeader::XForwardedFor), expected, "{scheme}");
            assert_eq!(
                tls(ours, &lines[1..], &trust, ProxyHeader::XForwardedFor),
                expected,
                "{scheme}, no address"
            );
            let element = format!("for=192.0.2.1;Proto=\"{}\"", scheme.trim());
            assert_eq!(
                tls(ours, &[("Forwarded", &element)], &trust, ProxyHeader::Forwarded),
                expected,
                "{scheme}"
            );
        }
    }
}

#[test]
fn our_own_connection_counts_where_no_trusted_proxy_says_how_the_client_came() {
    let trust = listed(&["10.0.0.0/8"]);
    let unread = [FOR, ("X-Forwarded-Proto", "gopher"), ("Forwarded", "proto=https;for=\"")];
    for ours in [false, true] {
        for header in [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded] {
            assert_eq!(tls(ours, &[], &trust, header), ours);
            assert_eq!(tls(ours, &unread, &trust, header), ours);
        }
        let other = if ours { "http" } else { "https" };
        let forwarded = format!("for=192.0.2.1;proto={other}");
        let lines = [FOR, ("X-Forwarded-Proto", other), ("Forwarded", &forwarded)];
        for trust in [TrustProxy::Nobody, listed(&["10.9.0.0/16"])] {
            for header in [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded] {
                assert_eq!(tls(ours, &lines, &trust, header), ours);
            }
        }
        let only_other = [("Forwarded", forwarded.as_str())];
        assert_eq!(tls(ours, &only_other, &trust, ProxyHeader::XForwardedFor), ours, "one header is read");
        assert_eq!(tls(ours, &lines[..2], &trust, ProxyHeader::Forwarded), ours, "one header is read");
    }
}

#[test]
fn how_the_client_came_is_told_where_its_address_is() {
    let two = TrustProxy::Hops(2);
    let addresses = ("X-Forwarded-For", "198.51.100.7, 192.0.2.1, 10.0.0.2");
    for (schemes, trust, expected) in [
        // Values further left may be the client's.
        ("http, https", &TrustProxy::Hops(1), true),
        ("https, http", &TrustProxy::Hops(1), false),
        ("http, https, http", &two, true),
        ("https,,http", &two, true),
        // One that replaces it.
        ("https", &two, true),
        ("http", &two, false),
    ] {
        let lines = [addresses, ("X-Forwarded-Proto", schemes)];
        assert_eq!(tls(false, &lines, trust, ProxyHeader::XForwardedFor), expected, "{schemes}");
    }
    let lines = [("Forwarded", "for=192.0.2.1;proto=https, for=10.0.0.2;proto=http")];
    assert!(tls(false, &lines, &two, ProxyHeader::Forwarded));
    assert!(!tls(true, &lines, &TrustProxy::Hops(1), ProxyHeader::Forwarded));
}
