#![allow(clippy::unwrap_used)]

use auth::jwt::{JwtOptions, Key, Verifier};
use auth::token::Sources;
use http::Origins;

use super::*;

fn head() -> RequestHead {
    let joined = "GET\n/api/websocket\n1.1\nHost\nexample.com\nUpgrade\nwebsocket\nConnection\nUpgrade\n\
                  Sec-WebSocket-Key\ndGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version\n13";
    RequestHead::parse_joined(joined).unwrap()
}

/// The head above with this header in these lines.
fn with(name: &str, values: &[&str]) -> RequestHead {
    let mut head = head();
    head.headers.extend(values.iter().map(|value| (name.to_owned(), (*value).to_owned())));
    head
}

fn config() -> Config {
    Config::new(Auth::Anonymous)
}

fn jwt_config() -> Config {
    let secret = Key::Secret(b"a secret of at least thirty-two bytes".to_vec());
    let verifier = Verifier::new(secret, JwtOptions::default()).unwrap();
    Config::new(Auth::Jwt(verifier.into()))
}

/// All checks, of a request that came without TLS as far as is known.
fn check(head: &RequestHead, config: &Config) -> Result<(Accept, Option<BearerToken>), Refusal> {
    super::check(head, false, config)
}

#[test]
fn what_is_kept_of_a_request_is_what_was_asked_for() {
    let mut request = head();
    request.target = "/chat?token=hunter2&room=1".into();
    for (name, value) in
        [("Cookie", "a=1"), ("X-Tag", " one "), ("cookie", "b=2"), ("X-Tag", "two"), ("X-Other", "no")]
    {
        request.headers.push((name.into(), value.into()));
    }
    let mut config = config();
    assert_eq!(keep(&request, &config), None);
    config.keep_headers = Some(Vec::new());
    assert_eq!(keep(&request, &config).as_deref(), Some("/chat?token=hunter2&room=1"));
    config.keep_headers = Some(["x-tag", "x-missing", "cookie"].map(str::to_owned).into());
    let options = JwtOptions {
        sources: Sources { query: Some("token".into()), cookie: None },
        ..JwtOptions::default()
    };
    config.auth = Auth::Jwt(Verifier::new(Key::Secret(vec![7; 32]), options).unwrap().into());
    let kept = "/chat?token=[redacted]&room=1\nx-tag\none, two\ncookie\na=1; b=2";
    assert_eq!(keep(&request, &config).as_deref(), Some(kept));
}

#[test]
fn a_token_is_looked_for_under_jwt_only() {
    let head = with("Authorization", &["Bearer x.y.z"]);
    assert_eq!(check(&head, &jwt_config()).unwrap().1.unwrap().0, "x.y.z");
    for auth in [Auth::Anonymous, Auth::Callback] {
        assert_eq!(check(&head, &Config::new(auth)).unwrap().1, None);
    }
    let empty = with("Authorization", &["Bearer"]);
    assert_eq!(check(&empty, &jwt_config()).unwrap_err().code, "ERR_TOKEN_INVALID");
    assert!(check(&empty, &config()).is_ok());
}

#[test]
fn a_request_without_token_passes_on_to_the_verifier() {
    assert_eq!(check(&head(), &jwt_config()).unwrap().1, None);
}

#[test]
fn accept_leaves_origin_and_token_aside() {
    let mut head = with("Origin", &["https://evil.example"]);
    head.headers.push(("Authorization".into(), "Bearer".into()));
    let config = jwt_config();
    assert_eq!(http::accept(&head, &config.rules()).unwrap().accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(check(&head, &config).unwrap_err().code, "ERR_ORIGIN_REFUSED");
    let any = Config { origins: Origins::Any, ..config };
    assert_eq!(check(&head, &any).unwrap_err().code, "ERR_TOKEN_INVALID");
}

#[test]
fn empty_elements_before_a_token_are_ignored() {
    for lines in [&["bearer,,x.y.z"][..], &["bearer", "", "x.y.z"], &[",bearer, ,x.y.z,"]] {
        let head = with("Sec-WebSocket-Protocol", lines);
        assert_eq!(check(&head, &jwt_config()).unwrap().1.unwrap().0, "x.y.z", "{lines:?}");
    }
    assert_eq!(
        check(&with("Sec-WebSocket-Protocol", &["bearer, ,"]), &jwt_config()).unwrap_err().code,
        "ERR_TOKEN_INVALID"
    );
}

#[test]
fn no_byte_of_a_head_makes_it_panic() {
    let headers = "\nHost\na.b:80\nUpgrade\nwebsocket\nConnection\nupgrade\nSec-WebSocket-Version\n13\n\
                   Sec-WebSocket-Key\ndGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Protocol\nbearer, a.b\n\
                   Origin\nhttp://a.b\nAuthorization\nBearer x\nCookie\na=\"b\"";
    let joined = format!("GET\n/?a=%41&b\n1.1{headers}");
    let mut config = jwt_config();
    assert!(check(&RequestHead::parse_joined(&joined).unwrap(), &config).is_ok());
    for origins in [Origins::SameHost, Origins::List(vec!["http://*.b".parse().unwrap()])] {
        config.origins = origins;
        for (index, _) in joined.char_indices() {
            for new in
                ["", "\n", "\0", "%", "[", "]", ":", ",", "=", "\"", ";", "ä", "\u{10ffff}", "https://"]
            {
                let changed = format!("{}{new}{}", &joined[..index], &joined[index + 1..]);
                if let Some(head) = RequestHead::parse_joined(&changed) {
                    let _ = check(&head, &config).map_err(|refusal| refusal.response());
                }
            }
        }
    }
}
