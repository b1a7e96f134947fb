//! Tests of claims: who the user is, and from when to when the token holds for whom.

use super::*;

/// The code that these claims are refused with, or the user they prove.
fn outcome(verifier: &Verifier, claims: &Value) -> Result<String, &'static str> {
    let verified = verifier.verify(&sign(Algorithm::HS256, claims), NOW);
    verified.map(|identity| identity.user_id.to_string()).map_err(|refusal| refusal.code)
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

/// The verdict on a token with these claims and an `exp`.
fn raw_outcome(members: &str) -> Result<String, &'static str> {
    let token = forge(&json!({ "alg": "HS256" }), &format!(r#"{{"exp":{},{members}}}"#, NOW + 60));
    let verified = verifier(|_| {}).verify(&token, NOW);
    verified.map(|identity| identity.user_id.to_string()).map_err(|refusal| refusal.code)
}

/// The fault of that token.
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
