//! Tests of keys, and of the algorithms that go with them.

use super::*;

const RSA: &[u8] = include_bytes!("../../testdata/rsa_public.pem");
const RSA_PKCS1: &[u8] = include_bytes!("../../testdata/rsa_public_pkcs1.pem");
const P256: &[u8] = include_bytes!("../../testdata/p256_public.pem");
const P384: &[u8] = include_bytes!("../../testdata/p384_public.pem");
const ED25519: &[u8] = include_bytes!("../../testdata/ed25519_public.pem");

const HMAC_ALGORITHMS: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

const RSA_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

fn public(pem: &[u8]) -> Key {
    Key::PublicPem(pem.to_vec())
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
    let certificate = include_bytes!("../../testdata/certificate.pem").to_vec();
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
        include_bytes!("../../testdata/rsa_private.pem"),
        include_bytes!("../../testdata/ed25519_private.pem"),
        include_bytes!("../../testdata/certificate.pem"),
        include_bytes!("../../testdata/rsa1024_public.pem"),
        include_bytes!("../../testdata/p521_public.pem"),
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
fn debug_shows_neither_secret_nor_key() {
    let secret = Key::Secret(b"hunter2".to_vec());
    let options = JwtOptions { allow_short_secret: true, ..JwtOptions::default() };
    let shown = format!("{secret:?} {:?}", Verifier::new(secret.clone(), options).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
}
