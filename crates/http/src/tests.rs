#![allow(clippy::unwrap_used, clippy::expect_used)]

use codes::error::Code;

use super::*;

const RULES: Rules<'_> = Rules {
    max_url_bytes: 8192,
    max_header_bytes: 16_384,
    protocols: &[],
    own_protocol: None,
    closes: false,
};

/// The example of RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn head() -> RequestHead {
    let headers = [
        ("Host", "example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ];
    RequestHead {
        method: "GET".into(),
        target: "/api/websocket".into(),
        version: (1, 1),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
    }
}

/// The head above with this header replaced by these lines.
fn with(name: &str, values: &[&str]) -> RequestHead {
    let mut head = head();
    head.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
    head.headers.extend(values.iter().map(|value| (name.to_owned(), (*value).to_owned())));
    head
}

fn code(head: &RequestHead) -> Result<(), (u16, &'static str)> {
    accept(head, &RULES).map(drop).map_err(|refusal| (refusal.status, refusal.code))
}

/// The answer to these lines of `Sec-WebSocket-Protocol`.
fn answer(offered: &[&str], wanted: &[&str]) -> Result<Option<String>, &'static str> {
    let protocols: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    let accepted =
        accept(&with("Sec-WebSocket-Protocol", offered), &Rules { protocols: &protocols, ..RULES });
    accepted.map(|accept| accept.answer().map(str::to_owned)).map_err(|refusal| refusal.code)
}

#[test]
fn the_example_of_the_rfc_is_accepted_with_its_key() {
    let accept = accept(&head(), &RULES).unwrap();
    assert_eq!(accept.accept_key, ACCEPT);
    assert_eq!((accept.protocol, accept.bearer), (None, false));
}

#[test]
fn the_101_has_what_the_rfc_asks_for() {
    let accept = accept(&head(), &RULES).unwrap();
    let none = HeaderLines::default();
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    assert_eq!(response_101(&accept, None, &none), format!("{expected}\r\n").into_bytes());
    let chat = format!("{expected}Sec-WebSocket-Protocol: chat\r\n\r\n");
    assert_eq!(response_101(&accept, Some("chat"), &none), chat.into_bytes());
    assert_eq!(response_101(&accept, Some("a\r\nSet-Cookie: b"), &none), response_101(&accept, None, &none));
    let mut cookies = HeaderLines::default();
    cookies.push("Set-Cookie", "a=1");
    cookies.push("Set-Cookie", "b=2");
    let with_cookies = format!("{expected}Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n");
    assert_eq!(response_101(&accept, None, &cookies), with_cookies.into_bytes());
}

#[test]
fn a_refusal_of_the_embedders_own_says_what_the_embedder_says() {
    let mut headers = HeaderLines::default();
    headers.push("Retry-After", "5");
    let own = |status, code: &str, headers: &HeaderLines| {
        Refusal::own(
            status,
            Own { code: code.into(), close_code: 4000 + status, headers: headers.clone() },
            "why \"so\"",
        )
    };
    let refusal = own(402, "PLAN_EXPIRED", &headers);
    let answer = String::from_utf8(refusal.response()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 402 Payment Required\r\nConnection: close\r\n"), "{answer}");
    assert!(answer.contains("\r\nRetry-After: 5\r\n\r\n"), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\n{\"code\":\"PLAN_EXPIRED\",\"message\":\"why \\\"so\\\"\"}"),
        "{answer}"
    );
    assert_eq!(
        (refusal.code, refusal.told_code(), refusal.close_code()),
        ("ERR_REFUSED", "PLAN_EXPIRED", Some(4402))
    );

    let bare = own(401, "NO", &HeaderLines::default());
    assert!(String::from_utf8(bare.response()).unwrap().contains("\r\nWWW-Authenticate: Bearer\r\n"));
    let mut basic = HeaderLines::default();
    basic.push("www-authenticate", "Basic");
    let answer = String::from_utf8(own(401, "NO", &basic).response()).unwrap();
    assert!(answer.contains("\r\nwww-authenticate: Basic\r\n") && !answer.contains("Bearer"), "{answer}");
    assert!(answer.contains("\r\nCache-Control: no-store\r\n"), "{answer}");
    let mut cached = HeaderLines::default();
    cached.push("cache-control", "max-age=5");
    let answer = String::from_utf8(own(404, "NO", &cached).response()).unwrap();
    assert!(answer.contains("\r\ncache-control: max-age=5\r\n") && !answer.contains("no-store"), "{answer}");
    let odd = own(499, "NO", &HeaderLines::default()).response();
    assert!(odd.starts_with(b"HTTP/1.1 499 \r\n"), "a reason phrase may be empty (RFC 9112 section 4)");
}

#[test]
fn only_get_is_upgraded() {
    for method in ["POST", "get", "", "CONNECT", "GET "] {
        let head = RequestHead { method: method.into(), ..head() };
        let refusal = accept(&head, &RULES).unwrap_err();
        assert_eq!((refusal.status, refusal.code), (405, "ERR_BAD_METHOD"));
        assert_eq!(refusal.headers, [("Allow", "GET".to_owned())]);
    }
}

#[test]
fn http_1_1_and_later_1_x_is_upgraded() {
    for (version, valid) in
        [((1, 1), true), ((1, 2), true), ((1, 0), false), ((0, 9), false), ((2, 0), false), ((2, 1), false)]
    {
        let expected = if valid { Ok(()) } else { Err((400, "ERR_BAD_HTTP_VERSION")) };
        assert_eq!(code(&RequestHead { version, ..head() }), expected, "{version:?}");
    }
}

#[test]
fn there_must_be_exactly_one_host_that_is_one() {
    for host in ["example.com", "localhost:3000", "[::1]:3000", "127.0.0.1", "my_box.local:80", "a:"] {
        assert_eq!(code(&with("Host", &[host])), Ok(()), "{host}");
    }
    let bad = [
        "", " ", "a b", "a,b", "user@a", "a/b", "a:b", "a:+80", "a:99999", "a:80:80", ":80", "[::1", "[x]",
        "ä.de",
    ];
    for host in bad {
        assert_eq!(code(&with("Host", &[host])), Err((400, "ERR_BAD_HOST")), "{host}");
    }
    for hosts in [&[][..], &["a", "a"]] {
        assert_eq!(code(&with("Host", hosts)), Err((400, "ERR_BAD_HOST")));
    }
}

#[test]
fn upgrade_must_name_websocket_in_whatever_case_and_place() {
    for lines in [&["WebSocket"][..], &["h2c, websocket"], &["h2c", "websocket"], &[" websocket\t"]] {
        assert_eq!(code(&with("upgrade", lines)), Ok(()), "{lines:?}");
    }
    for lines in [&[][..], &[""], &["h2c"], &["websockets"], &["websocket/13"], &["web socket"]] {
        assert_eq!(code(&with("Upgrade", lines)), Err((400, "ERR_BAD_UPGRADE")), "{lines:?}");
    }
}

#[test]
fn connection_must_name_upgrade_in_whatever_case_and_place() {
    for lines in [&["upgrade"][..], &["keep-alive, Upgrade"], &["keep-alive", "UPGRADE"], &["a,,upgrade,"]] {
        assert_eq!(code(&with("connection", lines)), Ok(()), "{lines:?}");
    }
    for lines in [&[][..], &["keep-alive"], &["upgraded"], &["keep-alive upgrade"]] {
        assert_eq!(code(&with("Connection", lines)), Err((400, "ERR_BAD_CONNECTION")), "{lines:?}");
    }
}

#[test]
fn another_or_no_version_is_told_which_one_is_spoken() {
    for lines in [&[][..], &["8"], &["14"], &["013"], &["13, 8"], &["13", "13"], &[""]] {
        let refusal = accept(&with("Sec-WebSocket-Version", lines), &RULES).unwrap_err();
        assert_eq!((refusal.status, refusal.code), (426, "ERR_BAD_VERSION"), "{lines:?}");
        let answer = String::from_utf8(refusal.response()).unwrap();
        assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer}");
        assert!(answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
        assert!(answer.contains("\r\nConnection: close, Upgrade\r\n"), "{answer}");
    }
}

#[test]
fn there_must_be_exactly_one_key_of_16_bytes() {
    for key in [KEY, "AAAAAAAAAAAAAAAAAAAAAA==", " dGhlIHNhbXBsZSBub25jZQ== ", "//////////////////////=="] {
        assert_eq!(code(&with("Sec-WebSocket-Key", &[key])), Ok(()), "{key}");
    }
    let bad = [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZWE=",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub2-_ZQ==",
        "dGhlIHNhbXBs ZSBub25jZQ==",
        "ääääääääääää",
    ];
    for key in bad {
        assert_eq!(code(&with("Sec-WebSocket-Key", &[key])), Err((400, "ERR_BAD_KEY")), "{key}");
    }
    for keys in [&[][..], &[KEY, KEY]] {
        assert_eq!(code(&with("Sec-WebSocket-Key", keys)), Err((400, "ERR_BAD_KEY")));
    }
}

#[test]
fn the_first_subprotocol_of_the_app_that_was_offered_is_chosen() {
    assert_eq!(answer(&["a, b"], &["b", "a"]), Ok(Some("b".into())));
    assert_eq!(answer(&["a", "b"], &["c", "b"]), Ok(Some("b".into())));
    assert_eq!(answer(&["a,b"], &["A"]), Ok(None));
    assert_eq!(answer(&["a"], &[]), Ok(None));
    assert_eq!(answer(&[], &["a"]), Ok(None));
}

#[test]
fn offered_subprotocols_must_be_unique_tokens() {
    for lines in [&["a, a"][..], &["a", "a"], &["a,,a"], &["a b"], &["a\"b"], &["ä"], &["a/b"], &["a;b"]] {
        assert_eq!(answer(lines, &["a"]), Err("ERR_BAD_PROTOCOL"), "{lines:?}");
    }
}

#[test]
fn empty_elements_of_a_list_are_ignored() {
    for lines in [&["a,"][..], &[",a"], &["b,,a"], &["b , ,\t, a ,"], &["", "a"], &[",", "b", " ", "a"]] {
        assert_eq!(answer(lines, &["a"]), Ok(Some("a".into())), "{lines:?}");
    }
    for lines in [&[""][..], &[","], &[" , \t,"], &["", ""]] {
        assert_eq!(answer(lines, &["a"]), Ok(None), "{lines:?}");
    }
    for lines in [&[",websocket"][..], &["h2c,, websocket ,"], &["", "websocket"]] {
        assert_eq!(code(&with("Upgrade", lines)), Ok(()), "{lines:?}");
    }
}

#[test]
fn a_body_is_refused() {
    for lines in [&["0"][..], &["000"], &["0", "0"], &["0, 0"]] {
        assert_eq!(code(&with("content-length", lines)), Ok(()), "{lines:?}");
    }
    for (name, lines) in [
        ("Content-Length", &["1"][..]),
        ("content-length", &["00012"]),
        ("Content-Length", &["0", "5"]),
        ("Content-Length", &["0, 5"]),
        ("Content-Length", &["zero"]),
        ("Content-Length", &["-0"]),
        ("Content-Length", &["18446744073709551616"]),
        ("Transfer-Encoding", &["chunked"]),
        ("transfer-encoding", &["gzip, chunked"]),
        ("Transfer-Encoding", &["identity"]),
        ("Transfer-Encoding", &[""]),
    ] {
        assert_eq!(code(&with(name, lines)), Err((400, "ERR_BAD_BODY")), "{name}: {lines:?}");
    }
}

#[test]
fn an_http_page_is_another_origin_where_the_client_came_by_tls() {
    for (origin, tls, expected) in [
        ("https://example.com", true, Ok(())),
        ("wss://example.com", true, Ok(())),
        ("ws://example.com", true, Ok(())),
        ("http://example.com", true, Err("ERR_ORIGIN_REFUSED")),
        ("http://example.com", false, Ok(())),
        ("https://example.com", false, Ok(())),
    ] {
        let checked = check_origin(&with("Origin", &[origin]), tls, &Origins::SameHost);
        assert_eq!(checked.map_err(|refusal| refusal.code), expected, "{origin} {tls}");
    }
    let named = Origins::List(vec!["http://example.com".parse().unwrap()]);
    assert!(check_origin(&with("Origin", &["http://example.com"]), true, &named).is_ok());
}

#[test]
fn bearer_is_answered_when_it_was_offered_and_the_app_has_none_of_its_own() {
    assert_eq!(answer(&["bearer, x.y.z"], &[]), Ok(Some("bearer".into())));
    assert_eq!(answer(&["bearer", "x.y.z"], &["chat"]), Ok(Some("bearer".into())));
    assert_eq!(answer(&["chat, bearer, x.y.z"], &["chat"]), Ok(Some("chat".into())));
    assert_eq!(answer(&["bearer, x.y.z, chat"], &["chat"]), Ok(Some("chat".into())));
}

#[test]
fn the_token_is_never_echoed_even_if_the_app_has_a_subprotocol_of_that_name() {
    assert_eq!(answer(&["bearer, chat"], &["chat"]), Ok(Some("bearer".into())));
    let refusal = accept(&with("Sec-WebSocket-Protocol", &["bearer, to ken"]), &RULES).unwrap_err();
    assert!(!refusal.message.contains("to ken"), "{}", refusal.message);
}

#[test]
fn sizes_are_checked_before_anything_else() {
    let rules = Rules { max_url_bytes: 16, ..RULES };
    let mut long = RequestHead { method: "POST".into(), target: "/".repeat(16), headers: vec![], ..head() };
    assert_eq!(accept(&long, &rules).unwrap_err().code, "ERR_BAD_METHOD");
    long.target.push('/');
    let refusal = accept(&long, &rules).unwrap_err();
    assert_eq!((refusal.status, refusal.code), (414, "ERR_URL_TOO_LONG"));

    let max_header_bytes = head().headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    assert!(accept(&head(), &Rules { max_header_bytes, ..RULES }).is_ok());
    let refusal = accept(&head(), &Rules { max_header_bytes: max_header_bytes - 1, ..RULES }).unwrap_err();
    assert_eq!((refusal.status, refusal.code), (431, "ERR_HEADERS_TOO_LARGE"));
}

#[test]
fn a_joined_head_comes_back_as_it_was() {
    let head = RequestHead::parse_joined("GET\n/a?b=c\n1.1\nHost\nx\nA\n\na\n 2 ").unwrap();
    assert_eq!((head.method.as_str(), head.target.as_str(), head.version), ("GET", "/a?b=c", (1, 1)));
    assert_eq!(head.header("HOST"), Some("x"));
    assert_eq!(head.headers_all("a").collect::<Vec<_>>(), ["", "2"]);
    assert_eq!(head.header("b"), None);
    assert!(RequestHead::parse_joined("GET\n/\n1.1").unwrap().headers.is_empty());
}

#[test]
fn what_is_no_joined_head_is_none() {
    for joined in
        ["", "GET", "GET\n/", "GET\n/\n1", "GET\n/\n1.", "GET\n/\n+1.1", "GET\n/\n1.256", "GET\n/\n1.1\nHost"]
    {
        assert!(RequestHead::parse_joined(joined).is_none(), "{joined:?}");
    }
}

#[test]
fn a_refusal_is_a_whole_http_answer_with_json() {
    let refusal = Refusal::new(Code::TokenMissing, "say \"who\"");
    let answer = String::from_utf8(refusal.response()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n"), "{head}");
    assert!(head.contains("\r\nWWW-Authenticate: Bearer"), "{head}");
    assert!(answer.contains("\r\nCache-Control: no-store\r\n"), "{head}");
    assert!(answer.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    assert_eq!(body, r#"{"code":"ERR_TOKEN_MISSING","message":"say \"who\""}"#);
    assert_eq!(refusal.head(), format!("{head}\r\n\r\n").into_bytes());
}

#[test]
fn every_code_that_refuses_has_a_reason_phrase_of_its_status() {
    for (text, _) in codes::error::ERROR_CODES {
        let code = Code::parse(text).unwrap();
        let answer = String::from_utf8(Refusal::new(code, "x").response()).unwrap();
        let status = if code.http_status() == 0 { 500 } else { code.http_status() };
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(answer.contains("Internal Server Error"), status == 500, "{answer}");
    }
}

#[test]
fn what_a_script_could_act_on_has_a_close_code() {
    let close_code = |code| Refusal::new(code, "").close_code();
    assert_eq!(close_code(Code::TokenMissing), Some(4401));
    assert_eq!(close_code(Code::TokenInvalid), Some(4401));
    assert_eq!(close_code(Code::Unauthorized), Some(4401));
    assert_eq!(close_code(Code::TokenExpired), Some(4001));
    assert_eq!(close_code(Code::OriginRefused), Some(4403));
    assert_eq!(close_code(Code::BadKey), None);
    assert_eq!(close_code(Code::AuthFailed), None);
}
