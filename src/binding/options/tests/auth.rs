//! Tests of the options that say who may connect.

use super::*;

#[test]
fn each_way_of_auth_is_recognized() {
    let way = |auth: &Auth| match auth {
        Auth::Anonymous => "anonymous",
        Auth::Jwt(_) => "jwt",
        Auth::Callback => "authenticate",
        Auth::Nobody => "nobody",
    };
    let mode = |options, secret: Option<&str>| {
        let jwt_secret = secret.map(str::to_owned);
        build(options, Environment { jwt_secret, ..Environment::default() })
            .map(|config| way(&config.auth))
            .map_err(|error| error.kind)
    };
    assert_eq!(mode(Value::Undefined, Some(SECRET)), Ok("jwt"));
    assert_eq!(mode(Value::Object(vec![]), Some(SECRET)), Ok("jwt"));
    assert_eq!(mode(Value::Undefined, None), Err(Code::AuthRequired));
    assert_eq!(mode(Value::Undefined, Some("")), Err(Code::AuthRequired));
    assert_eq!(mode(options("auth", text("anonymous")), Some(SECRET)), Ok("anonymous"));
    assert_eq!(mode(options("auth.authenticate", Value::Function), None), Ok("authenticate"));
    assert_eq!(mode(options("auth.jwt.secret", text(SECRET)), None), Ok("jwt"));
    assert_eq!(mode(options("auth.jwt.secret", Value::Bytes(vec![1; 32])), None), Ok("jwt"));
    for (secret, found) in [(None, "nobody"), (Some(""), "nobody"), (Some(SECRET), "jwt")] {
        let jwt_secret = secret.map(str::to_owned);
        let environment = Environment { jwt_secret, serverless: true, ..Environment::default() };
        assert_eq!(way(&build(Value::Undefined, environment).unwrap().auth), found, "without a server");
    }
}

#[test]
fn ways_of_auth_and_kinds_of_keys_exclude_each_other() {
    let function = || ("authenticate".to_owned(), Value::Function);
    let jwt = |members: &[&str]| {
        let members = members.iter().map(|name| ((*name).to_owned(), text(SECRET)));
        ("jwt".to_owned(), Value::Object(members.collect()))
    };
    for (auth, option) in [
        (vec![], "auth"),
        (vec![function(), jwt(&["secret"])], "auth"),
        (vec![jwt(&[])], "auth.jwt"),
        (vec![jwt(&["secret", "publicKey"])], "auth.jwt"),
    ] {
        let options = Value::Object(vec![("auth".into(), Value::Object(auth))]);
        let error = build(options, with_secret(SECRET)).unwrap_err();
        assert_eq!((error.code(), error.option.as_str()), ("ERR_INVALID_OPTION", option), "{error}");
    }
}

#[test]
fn jwt_options_reach_the_verifier() {
    let jwt = Value::Object(vec![
        ("secret".into(), text(SECRET)),
        ("algorithms".into(), texts(&["HS384", "HS512"])),
        ("cookie".into(), text("session")),
        ("query".into(), text("token")),
        ("issuer".into(), text("me")),
        ("audience".into(), texts(&["you", "him"])),
        ("userIdClaim".into(), text("uid")),
        ("leewaySeconds".into(), Value::Number(0.0)),
        ("requireExp".into(), Value::Flag(false)),
        ("allowShortSecret".into(), Value::Flag(true)),
    ]);
    let shown = format!("{:?}", set("auth.jwt", jwt).unwrap().auth);
    for part in [
        "[HS384, HS512]",
        "Some(\"session\")",
        "Some(\"token\")",
        "[\"me\"]",
        "[\"you\", \"him\"]",
        "\"uid\"",
        "leeway_seconds: 0",
        "require_exp: false",
        "allow_short_secret: true",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn an_audience_may_be_left_unchecked() {
    let shown = |value| format!("{:?}", set("auth.jwt.audience", value).unwrap().auth);
    assert!(shown(Value::Flag(false)).contains("audience: Any"));
    assert!(shown(Value::Undefined).contains("audience: OneOf([])"));
}

#[test]
fn a_short_secret_is_refused_by_the_name_of_where_it_comes_from() {
    let error = set("auth.jwt.secret", text("hunter2")).unwrap_err();
    assert_eq!((error.code(), error.option.as_str()), ("ERR_OPTION_OUT_OF_RANGE", "auth.jwt.secret"));
    let error = build(Value::Undefined, with_secret("hunter2")).unwrap_err();
    assert_eq!((error.code(), error.option.as_str()), ("ERR_OPTION_OUT_OF_RANGE", "auth"));
    assert!(error.message.contains("JWT_SECRET") && error.message.contains("allowShortSecret"), "{error}");
    let permitted = Value::Object(vec![
        ("secret".into(), text("hunter2")),
        ("allowShortSecret".into(), Value::Flag(true)),
    ]);
    assert!(set("auth.jwt", permitted).is_ok());
}

#[test]
fn a_cookie_needs_an_origin_check() {
    let mut options = options("auth.jwt.cookie", text("session"));
    assert!(build(options.clone(), Environment::default()).is_ok());
    if let Value::Object(members) = &mut options {
        members.push(("allowedOrigins".into(), text("*")));
    }
    let error = build(options, Environment::default()).unwrap_err();
    assert_eq!((error.code(), error.option.as_str()), ("ERR_OPTION_OUT_OF_RANGE", "auth.jwt.cookie"));
}
