#![allow(clippy::unwrap_used, clippy::expect_used)]

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_700_000_000;
const SECRET: &[u8] = b"a secret that nobody knows, as long as the hash of HS512: 64 bytes";

const RSA: &[u8] = include_bytes!("../testdata/rsa_public.pem");
const RSA_PKCS1: &[u8] = include_bytes!("../testdata/rsa_public_pkcs1.pem");
const P256: &[u8] = include_bytes!("../testdata/p256_public.pem");
const P384: &[u8] = include_bytes!("../testdata/p384_public.pem");
const ED25519: &[u8] = include_bytes!("../testdata/ed25519_public.pem");

const HMAC_ALGORITHMS: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

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

fn public(pem: &[u8]) -> Key {
    Key::PublicPem(pem.to_vec())
}

fn verifier(change: impl FnOnce(&mut JwtOptions)) -> Verifier {
    let mut options = JwtOptions::default();
    change(&mut options);
    Verifier::new(secret(), options).unwrap()
}

/// The code that these claims are refused with, or the user they prove.
fn outcome(verifier: &Verifier, claims: &Value) -> Result<String, &'static str> {
    let verified = verifier.verify(&sign(Algorithm::HS256, claims), NOW);
    verified.map(|identity| identity.user_id.to_string()).map_err(|refusal| refusal.code)
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
fn every_supported_algorithm_is_verified() {
    let keys: [(Key, &[Algorithm]); 6] = [
        (secret(), &HMAC_ALGORITHMS),
        (public(RSA), &RSA_ALGORITHMS),
        (public(RSA_PKCS1), &RSA_ALGORITHMS),
        (public(P256), &[Algorithm::ES256]),
        (public(P384), &[Algorithm::ES384]),
        (public(ED25519), &[Algorithm::EdDSA]),
    ];
    for (key, algorithms) in keys {
        for algorithm in algorithms {
            let options = JwtOptions { algorithms: vec![*algorithm], ..JwtOptions::default() };
            let verifier = Verifier::new(key.clone(), options).unwrap();
            let identity = verifier.verify(&sign(*algorithm, &claims()), NOW).expect("valid");
            assert_eq!(&*identity.user_id, "alice", "{algorithm:?}");
            let forged = sign(*algorithm, &with("sub", json!("bob")));
            let honest = sign(*algorithm, &claims());
            let mixed =
                format!("{}.{}", forged.rsplit_once('.').unwrap().0, honest.rsplit_once('.').unwrap().1);
            assert_eq!(verifier.verify(&mixed, NOW).unwrap_err().code, "ERR_TOKEN_INVALID", "{algorithm:?}");
        }
    }
}

#[test]
fn the_key_decides_which_algorithm_is_the_default() {
    for (key, algorithm) in [
        (secret(), Algorithm::HS256),
        (public(RSA), Algorithm::RS256),
        (public(RSA_PKCS1), Algorithm::RS256),
        (public(P256), Algorithm::ES256),
        (public(P384), Algorithm::ES384),
        (public(ED25519), Algorithm::EdDSA),
    ] {
        let verifier = Verifier::new(key, JwtOptions::default()).unwrap();
        assert_eq!(verifier.options.algorithms, [algorithm]);
    }
}

#[test]
fn an_algorithm_that_is_not_pinned_is_refused_though_the_key_could_verify_it() {
    let verifier = verifier(|_| {});
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let refusal = verifier.verify(&sign(algorithm, &claims()), NOW).unwrap_err();
        assert_eq!((refusal.code, refusal.status), ("ERR_TOKEN_INVALID", 401));
    }
}

#[test]
fn alg_none_is_refused_with_and_without_a_signature() {
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let token = forge(&json!({ "alg": alg }), &claims().to_string());
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        for token in [token, unsigned] {
            assert_eq!(verifier(|_| {}).verify(&token, NOW).unwrap_err().code, "ERR_TOKEN_INVALID");
        }
    }
}

#[test]
fn a_token_signed_with_the_public_key_as_an_hmac_secret_is_refused() {
    for pem in [RSA, P256, P384, ED25519] {
        let key = EncodingKey::from_secret(pem);
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &key).unwrap();
        let verifier = Verifier::new(public(pem), JwtOptions::default()).unwrap();
        assert_eq!(verifier.verify(&token, NOW).unwrap_err().code, "ERR_TOKEN_INVALID");
    }
}

#[test]
fn a_public_key_is_no_secret_in_whatever_form() {
    let der = pem::parse(RSA).unwrap().into_contents();
    let padded = [b"\n  ", P256].concat();
    let certificate = include_bytes!("../testdata/certificate.pem").to_vec();
    for text in [RSA.to_vec(), RSA_PKCS1.to_vec(), padded, certificate, b"ssh-rsa AAAAB3".to_vec(), der] {
        assert_eq!(config_error(Key::Secret(text), |_| {}), out_of_range("secret"));
    }
}

#[test]
fn an_empty_secret_is_refused() {
    assert_eq!(config_error(Key::Secret(Vec::new()), |_| {}), out_of_range("secret"));
}

#[test]
fn what_is_not_a_supported_public_key_is_refused() {
    let unsupported: [&[u8]; 8] = [
        b"",
        b"not a key",
        include_bytes!("../testdata/rsa_private.pem"),
        include_bytes!("../testdata/ed25519_private.pem"),
        include_bytes!("../testdata/certificate.pem"),
        include_bytes!("../testdata/rsa1024_public.pem"),
        include_bytes!("../testdata/p521_public.pem"),
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ];
    for pem in unsupported {
        assert_eq!(config_error(public(pem), |_| {}), out_of_range("publicKey"));
    }
}

#[test]
fn a_damaged_public_key_never_panics() {
    for pem in [RSA, RSA_PKCS1, P256, P384, ED25519] {
        let parsed = pem::parse(pem).unwrap();
        for index in 0..parsed.contents().len() {
            let mut der = parsed.contents().to_vec();
            der[index] ^= 0x55;
            let truncated = der[..index].to_vec();
            for der in [der, truncated] {
                let text = pem::encode(&pem::Pem::new(parsed.tag(), der));
                let key = Verifier::new(public(text.as_bytes()), JwtOptions::default());
                // A verification with RSA takes its time in a build without optimization.
                if let Ok(verifier) = key
                    && (index < 40 || verifier.options.algorithms != [Algorithm::RS256])
                {
                    let token = sign(verifier.options.algorithms[0], &claims());
                    // Bytes beside the key itself may change without harm.
                    let _ = verifier.verify(&token, NOW);
                }
            }
        }
    }
}

#[test]
fn algorithms_of_another_family_or_curve_are_a_config_error() {
    for (key, algorithm) in [
        (secret(), Algorithm::RS256),
        (secret(), Algorithm::EdDSA),
        (public(RSA), Algorithm::HS256),
        (public(RSA), Algorithm::ES256),
        (public(P256), Algorithm::ES384),
        (public(P384), Algorithm::ES256),
        (public(ED25519), Algorithm::HS512),
    ] {
        let default = Verifier::new(key.clone(), JwtOptions::default()).unwrap().options.algorithms[0];
        let error = config_error(key, |options| options.algorithms = vec![default, algorithm]);
        assert_eq!(error, out_of_range("algorithms"));
    }
}

#[test]
fn names_of_algorithms_are_parsed_and_es512_is_said_to_be_unsupported() {
    for algorithm in HMAC_ALGORITHMS.iter().chain(&RSA_ALGORITHMS) {
        assert_eq!(parse_algorithm(&format!("{algorithm:?}")), Ok(*algorithm));
    }
    for name in ["none", "hs256", "", "ES512"] {
        let error = parse_algorithm(name).unwrap_err();
        assert_eq!((error.option.clone(), error.code()), out_of_range("algorithms"));
        assert_eq!(error.message.contains("not supported"), name == "ES512");
    }
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

#[test]
fn the_identity_has_the_user_all_claims_and_the_end() {
    let claims = json!({ "sub": "alice", "exp": NOW + 60, "role": "admin", "nested": { "a": [1] } });
    let identity = verifier(|_| {}).verify(&sign(Algorithm::HS256, &claims), NOW).unwrap();
    assert_eq!(&*identity.user_id, "alice");
    assert!(identity.rooms.is_empty());
    assert_eq!(serde_json::from_str::<Value>(&identity.data.unwrap()).unwrap(), claims);
    assert_eq!(identity.expires_at, Some((NOW + 65) * 1000));
}

#[test]
fn a_token_ends_with_its_exp_plus_leeway() {
    let verifier = verifier(|_| {});
    for (exp, valid) in [(NOW - 4, true), (NOW - 5, false), (NOW - 6, false), (0, false)] {
        let expected = if valid { Ok("alice".to_owned()) } else { Err("ERR_TOKEN_EXPIRED") };
        assert_eq!(outcome(&verifier, &with("exp", json!(exp))), expected, "{exp}");
    }
}

#[test]
fn without_leeway_the_second_of_exp_is_too_late() {
    let verifier = verifier(|options| options.leeway_seconds = 0);
    assert_eq!(outcome(&verifier, &with("exp", json!(NOW + 1))), Ok("alice".into()));
    assert_eq!(outcome(&verifier, &with("exp", json!(NOW))), Err("ERR_TOKEN_EXPIRED"));
    assert_eq!(outcome(&verifier, &with("exp", json!(NOW as f64 + 0.5))), Ok("alice".into()));
}

#[test]
fn a_token_without_exp_is_refused_unless_that_is_permitted() {
    assert_eq!(outcome(&verifier(|_| {}), &with("exp", Value::Null)), Err("ERR_TOKEN_INVALID"));
    let lenient = verifier(|options| options.require_exp = false);
    let identity = lenient.verify(&sign(Algorithm::HS256, &with("exp", Value::Null)), NOW).unwrap();
    assert_eq!(identity.expires_at, None);
    assert_eq!(outcome(&lenient, &with("exp", json!(NOW - 60))), Err("ERR_TOKEN_EXPIRED"));
}

#[test]
fn an_exp_or_nbf_that_is_no_number_is_refused() {
    let lenient = verifier(|options| options.require_exp = false);
    for claim in ["exp", "nbf"] {
        for value in [json!("1"), json!(true), json!([1]), json!({})] {
            assert_eq!(outcome(&lenient, &with(claim, value)), Err("ERR_TOKEN_INVALID"));
        }
    }
    // `null` is there, and no number.
    let token = forge(&json!({ "alg": "HS256" }), r#"{"sub":"alice","exp":null}"#);
    assert_eq!(lenient.verify(&token, NOW).unwrap_err().code, "ERR_TOKEN_INVALID");
}

#[test]
fn an_exp_far_away_ends_on_the_last_day_of_javascript() {
    for exp in ["1e300", "18446744073709551615", "1e19", "9007199254740993"] {
        let token = forge(&json!({ "alg": "HS256" }), &format!(r#"{{"sub":"a","exp":{exp}}}"#));
        let identity = verifier(|_| {}).verify(&token, NOW).unwrap();
        assert_eq!(identity.expires_at, Some(8_640_000_000_000_000), "{exp}");
    }
    let token = forge(&json!({ "alg": "HS256" }), r#"{"sub":"a","exp":-1e300}"#);
    assert_eq!(verifier(|_| {}).verify(&token, NOW).unwrap_err().code, "ERR_TOKEN_EXPIRED");
}

#[test]
fn a_token_is_refused_before_its_nbf_less_leeway() {
    let verifier = verifier(|_| {});
    for (nbf, valid) in [(NOW, true), (NOW + 5, true), (NOW + 6, false)] {
        let expected = if valid { Ok("alice".to_owned()) } else { Err("ERR_TOKEN_INVALID") };
        assert_eq!(outcome(&verifier, &with("nbf", json!(nbf))), expected, "{nbf}");
    }
}

#[test]
fn a_permitted_issuer_is_required_once_issuers_are_named() {
    let verifier = verifier(|options| options.issuers = vec!["one".into(), "two".into()]);
    assert_eq!(outcome(&verifier, &with("iss", json!("two"))), Ok("alice".into()));
    for iss in [json!("three"), json!(["one"]), json!(1), Value::Null] {
        assert_eq!(outcome(&verifier, &with("iss", iss)), Err("ERR_TOKEN_INVALID"));
    }
}

#[test]
fn a_permitted_audience_is_required_once_audiences_are_named() {
    let verifier = verifier(|options| options.audience = Audience::OneOf(vec!["chat".into(), "mail".into()]));
    for aud in [json!("chat"), json!(["other", "mail"])] {
        assert_eq!(outcome(&verifier, &with("aud", aud)), Ok("alice".into()));
    }
    for aud in [json!("other"), json!([]), json!(["other", 1]), json!({ "chat": 1 }), Value::Null] {
        assert_eq!(outcome(&verifier, &with("aud", aud)), Err("ERR_TOKEN_INVALID"));
    }
}

#[test]
fn the_issuer_is_free_when_none_is_named() {
    assert_eq!(outcome(&verifier(|_| {}), &with("iss", json!("x"))), Ok("alice".into()));
}

#[test]
fn a_token_for_an_audience_is_refused_where_none_is_named_unless_any_will_do() {
    let any = verifier(|options| options.audience = Audience::Any);
    assert_eq!(outcome(&any, &claims()), Ok("alice".into()));
    for aud in [json!("x"), json!(["x", "y"]), json!([]), json!(""), json!(5)] {
        assert_eq!(outcome(&verifier(|_| {}), &with("aud", aud.clone())), Err("ERR_TOKEN_INVALID"), "{aud}");
        assert_eq!(outcome(&any, &with("aud", aud)), Ok("alice".into()));
    }
    assert_eq!(raw_outcome(r#""sub":"alice","aud":null"#), Err("ERR_TOKEN_INVALID"));
}

#[test]
fn the_user_id_is_a_string_or_an_integer() {
    let verifier = verifier(|options| options.user_id_claim = "uid".into());
    for (id, expected) in [
        (json!("alice"), "alice"),
        (json!(42), "42"),
        (json!(0), "0"),
        (json!(-7), "-7"),
        (json!((1_u64 << 53) - 1), "9007199254740991"),
        (json!("18446744073709551615"), "18446744073709551615"),
        (json!("ä".repeat(128)), &"ä".repeat(128)),
    ] {
        assert_eq!(outcome(&verifier, &with("uid", id)), Ok(expected.to_owned()));
    }
    let too_long = json!("ä".repeat(129));
    for id in [json!(""), json!(1.5), json!(1e30), json!(true), json!([]), json!({}), Value::Null, too_long] {
        assert_eq!(outcome(&verifier, &with("uid", id)), Err("ERR_TOKEN_INVALID"));
    }
}

/// What becomes of a token whose claims are written like this, and that has an `exp`.
fn raw_outcome(members: &str) -> Result<String, &'static str> {
    let token = forge(&json!({ "alg": "HS256" }), &format!(r#"{{"exp":{},{members}}}"#, NOW + 60));
    let verified = verifier(|_| {}).verify(&token, NOW);
    verified.map(|identity| identity.user_id.to_string()).map_err(|refusal| refusal.code)
}

/// Why that token is refused.
fn raw_reason(members: &str) -> String {
    let token = forge(&json!({ "alg": "HS256" }), &format!(r#"{{"exp":{},{members}}}"#, NOW + 60));
    verifier(|_| {}).verify(&token, NOW).unwrap_err().message
}

#[test]
fn a_number_is_a_user_id_by_its_value() {
    for number in ["10000", "1e4", "1E+4", "10000.0", "0.1e5"] {
        assert_eq!(raw_outcome(&format!(r#""sub":{number}"#)), Ok("10000".into()), "{number}");
    }
    assert_eq!(raw_outcome(r#""sub":-0"#), Ok("0".into()));
}

#[test]
fn a_number_that_javascript_would_take_for_another_is_no_user_id() {
    for number in
        ["9007199254740992", "9007199254740993", "-9007199254740993", "18446744073709551615", "1e16", "1e999"]
    {
        assert!(raw_reason(&format!(r#""sub":{number}"#)).contains("2^53"), "{number}");
    }
    for number in ["1.5", "9007199254740991.4", "1.00000000000000000001"] {
        assert!(
            raw_reason(&format!(r#""sub":{number}"#)).contains("neither a string nor an integer"),
            "{number}"
        );
    }
}

#[test]
fn half_a_character_in_a_claim_is_left_to_javascript() {
    let members = r#""sub":"alice","name":"Party \ud83c","\udf89":1,"nested":{"\ud83c":["\ud83c"]}"#;
    let payload = format!(r#"{{"exp":{},{members}}}"#, NOW + 60);
    let identity = verifier(|_| {}).verify(&forge(&json!({ "alg": "HS256" }), &payload), NOW).unwrap();
    assert_eq!((&*identity.user_id, identity.data.as_deref()), ("alice", Some(&*payload)));
    assert_eq!(raw_outcome(r#""sub":"\ud83c\udf89""#), Ok("🎉".into()));
}

#[test]
fn half_a_character_in_the_user_id_is_refused_by_name() {
    for sub in [r"\ud83c", r"a\udf89b"] {
        assert_eq!(
            raw_reason(&format!(r#""sub":"{sub}""#)),
            "the token's sub holds half of a character (a lone surrogate)"
        );
    }
}

#[test]
fn half_a_character_fits_no_issuer_and_no_audience() {
    let strict = verifier(|options| {
        options.issuers = vec!["me\u{fffd}".into()];
        options.audience = Audience::OneOf(vec!["you".into()]);
    });
    for (iss, aud, valid) in [
        (r"me\ufffd", r#"["\ud83c","you"]"#, true),
        (r"me\ud83c", r#""you""#, false),
        (r"me\ufffd", r#""you\ud83c""#, false),
    ] {
        let payload = format!(r#"{{"sub":"a","exp":{},"iss":"{iss}","aud":{aud}}}"#, NOW + 60);
        let verified = strict.verify(&forge(&json!({ "alg": "HS256" }), &payload), NOW);
        assert_eq!(verified.is_ok(), valid, "{payload}");
    }
}

#[test]
fn two_claims_of_one_name_are_refused() {
    for members in [
        r#""sub":"a","sub":"b""#,
        r#""sub":"a","\u0073ub":"b""#,
        r#""sub":"a","exp":1"#,
        r#""sub":"a","x":1,"x":1"#,
    ] {
        assert!(raw_reason(members).contains("two members of one name"), "{members}");
    }
}

#[test]
fn claims_that_nobody_checks_may_be_as_deep_and_as_large_as_they_like() {
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    for value in ["1e999", "-1e-999", &"9".repeat(4000), &deep] {
        assert_eq!(raw_outcome(&format!(r#""sub":"a","x":{value}"#)), Ok("a".into()));
    }
}

#[test]
fn times_are_numbers_however_they_are_written() {
    let verify = |members: &str| {
        let token = forge(&json!({ "alg": "HS256" }), &format!(r#"{{"sub":"a",{members}}}"#));
        verifier(|_| {}).verify(&token, NOW)
    };
    for exp in ["1.70000006e9", "1700000060.0", "170000006e1", "1700000060"] {
        assert_eq!(
            verify(&format!(r#""exp":{exp},"nbf":1.7e9,"iat":17e8"#)).unwrap().expires_at,
            Some((NOW + 65) * 1000)
        );
    }
    assert_eq!(verify(r#""exp":1700000060.5,"iat":0.5"#).unwrap().expires_at, Some((NOW + 65) * 1000 + 500));
    assert_eq!(verify(r#""exp":1e4"#).unwrap_err().code, "ERR_TOKEN_EXPIRED");
    assert_eq!(verify(r#""exp":1e999"#).unwrap().expires_at, Some(LAST_DATE_MS));
    assert_eq!(
        verify(r#""exp":1700000060,"nbf":1.70000006e9"#).unwrap_err().message,
        "the token is not valid yet"
    );
    for iat in ["\"1\"", "null", "[]", "true"] {
        assert_eq!(
            verify(&format!(r#""exp":1700000060,"iat":{iat}"#)).unwrap_err().message,
            "the token's iat is not a number"
        );
    }
}

#[test]
fn claims_that_are_no_json_object_are_refused() {
    for payload in ["", "[]", "1", "null", "\"a\"", "{", "{}x", "{\"sub\":\"a\",}"] {
        let token = forge(&json!({ "alg": "HS256" }), payload);
        assert_eq!(verifier(|_| {}).verify(&token, NOW).unwrap_err().code, "ERR_TOKEN_INVALID", "{payload}");
    }
    let deep = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
    let token = forge(&json!({ "alg": "HS256" }), &deep);
    assert_eq!(verifier(|_| {}).verify(&token, NOW).unwrap_err().code, "ERR_TOKEN_INVALID");
}

/// Why a token with this header is refused; empty if it isn't.
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
fn a_secret_shorter_than_the_hash_is_refused_unless_that_is_permitted() {
    for (algorithm, bytes) in [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)] {
        let secret = |bytes| Key::Secret(vec![b'x'; bytes]);
        assert_eq!(
            config_error(secret(bytes - 1), |options| options.algorithms = vec![algorithm]),
            out_of_range("secret")
        );
        let verifier = |bytes, allow_short_secret| {
            Verifier::new(
                secret(bytes),
                JwtOptions { algorithms: vec![algorithm], allow_short_secret, ..JwtOptions::default() },
            )
        };
        let error = verifier(bytes - 1, false).unwrap_err().message;
        assert!(
            error.contains(&format!("{bytes} bytes")) && error.contains("auth.jwt.allowShortSecret"),
            "{error}"
        );
        assert!(verifier(bytes, false).is_ok() && verifier(1, true).is_ok());
    }
    // Of several, the longest hash counts; no algorithm named is HS256.
    let both = |options: &mut JwtOptions| options.algorithms = vec![Algorithm::HS256, Algorithm::HS512];
    assert_eq!(config_error(Key::Secret(vec![b'x'; 63]), both), out_of_range("secret"));
    assert_eq!(config_error(Key::Secret(vec![b'x'; 31]), |_| {}), out_of_range("secret"));
    assert_eq!(
        config_error(Key::Secret(Vec::new()), |options| options.allow_short_secret = true),
        out_of_range("secret")
    );
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
    let token = Token(sign(Algorithm::HS256, &claims()));
    assert!(verifier.authenticate(Some(&token), NOW).is_ok());
}

#[test]
fn debug_shows_neither_secret_nor_key() {
    let secret = Key::Secret(b"hunter2".to_vec());
    let options = JwtOptions { allow_short_secret: true, ..JwtOptions::default() };
    let shown = format!("{secret:?} {:?}", Verifier::new(secret.clone(), options).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
}
