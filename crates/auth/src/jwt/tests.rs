//! Tests of tokens: what they are signed with here, their headers, and what is refused of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;

mod claims;
mod keys;

const NOW: u64 = 1_700_000_000;
const SECRET: &[u8] = b"a secret that nobody knows, as long as the hash of HS512: 64 bytes";

fn signing_key(algorithm: Algorithm) -> EncodingKey {
    let der = |text: &[u8]| pem::parse(text).unwrap().into_contents();
    match algorithm.family() {
        AlgorithmFamily::Hmac => EncodingKey::from_secret(SECRET),
        AlgorithmFamily::Rsa => {
            EncodingKey::from_rsa_der(&der(include_bytes!("../testdata/rsa_private.pem")))
        }
        AlgorithmFamily::Ec if algorithm == Algorithm::ES256 => {
            EncodingKey::from_ec_der(&der(include_bytes!("../testdata/p256_private.pem")))
        }
        AlgorithmFamily::Ec => EncodingKey::from_ec_der(&der(include_bytes!("../testdata/p384_private.pem"))),
        AlgorithmFamily::Ed => {
            EncodingKey::from_ed_der(&der(include_bytes!("../testdata/ed25519_private.pem")))
        }
    }
}

fn sign(algorithm: Algorithm, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &signing_key(algorithm)).unwrap()
}

fn claims() -> Value {
    json!({ "sub": "alice", "exp": NOW + 60 })
}

/// The claims above with one of them changed; `null` takes it away.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let map = claims.as_object_mut().unwrap();
    if value.is_null() {
        map.remove(name)
    } else {
        map.insert(name.to_owned(), value)
    };
    claims
}

fn secret() -> Key {
    Key::Secret(SECRET.to_vec())
}

fn verifier(change: impl FnOnce(&mut JwtOptions)) -> Verifier {
    let mut options = JwtOptions::default();
    change(&mut options);
    Verifier::new(secret(), options).unwrap()
}

/// A token that is put together by hand; the signature is that of HS256.
fn forge(header: &Value, payload: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encode(&header.to_string()), encode(payload));
    let key = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{signed}.{signature}")
}

fn config_error(key: Key, change: impl FnOnce(&mut JwtOptions)) -> (String, &'static str) {
    let mut options = JwtOptions::default();
    change(&mut options);
    let error = Verifier::new(key, options).unwrap_err();
    assert!(!error.message.contains("nobody knows"), "{error}");
    (error.option.clone(), error.code())
}

fn out_of_range(option: &str) -> (String, &'static str) {
    (format!("auth.jwt.{option}"), "ERR_OPTION_OUT_OF_RANGE")
}

#[test]
fn options_outside_their_range_are_config_errors() {
    type Change = fn(&mut JwtOptions);
    let changes: [(&str, Change); 7] = [
        ("issuer", |options| options.issuers = vec![String::new()]),
        ("audience", |options| options.audience = Audience::OneOf(vec!["a".into(), String::new()])),
        ("userIdClaim", |options| options.user_id_claim.clear()),
        ("leewaySeconds", |options| options.leeway_seconds = 301),
        ("cookie", |options| options.sources.cookie = Some("a b".into())),
        ("cookie", |options| options.sources.cookie = Some(String::new())),
        ("query", |options| options.sources.query = Some(String::new())),
    ];
    for (option, change) in changes {
        assert_eq!(config_error(secret(), change), out_of_range(option));
    }
}

/// The fault of a token with this header; empty if it has none.
fn header_reason(header: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encode(header), encode(&claims().to_string()));
    let key = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
    let verified = verifier(|_| {}).verify(&format!("{signed}.{signature}"), NOW);
    verified.err().map(|refusal| refusal.message).unwrap_or_default()
}

#[test]
fn a_header_that_needs_an_extension_is_refused() {
    for crit in [r#"["b64"]"#, "[]", "null", "false", "\"b64\"", "{}"] {
        let header = format!(r#"{{"alg":"HS256","crit":{crit},"b64":true}}"#);
        assert!(header_reason(&header).contains("extension"), "{header}");
    }
    assert!(header_reason(r#"{"alg":"HS256","\u0063rit":null}"#).contains("extension"));
}

#[test]
fn a_header_that_says_that_the_claims_are_not_encoded_is_refused() {
    assert_eq!(header_reason(r#"{"alg":"HS256","b64":true}"#), "");
    for b64 in ["false", "null", "0", "\"true\""] {
        assert!(header_reason(&format!(r#"{{"alg":"HS256","b64":{b64}}}"#)).contains("base64url"), "{b64}");
    }
}

#[test]
fn a_header_has_one_algorithm() {
    for header in [
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","typ":"a","typ":"a"}"#,
        r#"{"alg":"none","\u0061lg":"HS256"}"#,
    ] {
        assert!(header_reason(header).contains("two members of one name"), "{header}");
    }
    for header in ["{}", r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":"HS256\ud83c"}"#] {
        assert!(header_reason(header).contains("no algorithm"), "{header}");
    }
    for header in ["[]", "null", "", "{\"alg\":\"HS256\""] {
        assert!(header_reason(header).contains("must be a JSON object"), "{header}");
    }
}

#[test]
fn what_a_header_holds_beside_is_not_looked_at() {
    for more in [
        r#""typ":"at+jwt""#,
        r#""typ":null"#,
        r#""kid":5"#,
        r#""kid":"\ud83c""#,
        r#""jwk":{"kty":"new"}"#,
        r#""x5c":1e999"#,
    ] {
        assert_eq!(header_reason(&format!(r#"{{"alg":"HS256",{more}}}"#)), "", "{more}");
    }
}

#[test]
fn a_key_that_the_token_brings_along_is_ignored() {
    let claims = claims().to_string();
    let header = json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "AAAA" }, "kid": "../../etc/passwd" });
    let genuine = forge(&header, &claims);
    assert!(verifier(|_| {}).verify(&genuine, NOW).is_ok());
    let other =
        Verifier::new(Key::Secret(b"another secret of at least 32 bytes".to_vec()), JwtOptions::default())
            .unwrap();
    assert_eq!(other.verify(&genuine, NOW).unwrap_err().code, "ERR_TOKEN_INVALID");
}

#[test]
fn a_token_over_8_kib_is_refused_though_valid() {
    let verifier = verifier(|_| {});
    let token = |size: usize| sign(Algorithm::HS256, &with("pad", json!("x".repeat(size))));
    assert!(token(6000).len() < MAX_TOKEN_BYTES && verifier.verify(&token(6000), NOW).is_ok());
    let refusal = verifier.verify(&token(6200), NOW).unwrap_err();
    assert_eq!((refusal.code, refusal.message.contains("8 KiB")), ("ERR_TOKEN_INVALID", true));
}

#[test]
fn a_token_changed_or_cut_anywhere_is_refused_and_never_panics() {
    let verifier = verifier(|_| {});
    let token = sign(Algorithm::HS256, &claims());
    for (index, old) in token.char_indices() {
        assert!(verifier.verify(&token[..index], NOW).is_err());
        for new in
            ['A', 'b', '9', '.', '=', ' ', '\0', 'ä', '\u{10ffff}'].into_iter().filter(|new| *new != old)
        {
            let changed = format!("{}{new}{}", &token[..index], &token[index + 1..]);
            assert!(verifier.verify(&changed, NOW).is_err(), "{changed}");
            let longer = format!("{}{new}{}", &token[..index], &token[index..]);
            assert!(verifier.verify(&longer, NOW).is_err(), "{longer}");
        }
    }
    for rubbish in ["", ".", "..", "...", "....", "a.b.c", "ä.ö.ü"] {
        assert_eq!(verifier.verify(rubbish, NOW).unwrap_err().code, "ERR_TOKEN_INVALID");
    }
}

#[test]
fn refusals_never_repeat_the_token() {
    let token = sign(Algorithm::HS512, &with("sub", json!("somebody")));
    let refusal = verifier(|_| {}).verify(&token, NOW).unwrap_err();
    let answer = String::from_utf8(refusal.response()).unwrap();
    assert!(token.split('.').all(|part| !answer.contains(part)), "{answer}");
    assert!(answer.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{answer}");
}

#[test]
fn a_missing_token_has_a_code_of_its_own() {
    let verifier = verifier(|_| {});
    let missing = verifier.authenticate(None, NOW).unwrap_err();
    assert_eq!((missing.code, missing.status), ("ERR_TOKEN_MISSING", 401));
    let token = BearerToken(sign(Algorithm::HS256, &claims()));
    assert!(verifier.authenticate(Some(&token), NOW).is_ok());
}
