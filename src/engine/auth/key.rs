//! Keys from their text: what a secret must not be, and what kind a public key is.

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use spki::der::Decode;
use spki::der::asn1::ObjectIdentifier;
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use crate::engine::error::ConfigError;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Smallest RSA modulus (RFC 7518 section 3.3).
const MIN_RSA_BITS: usize = 2048;

/// The key of an HMAC. Refuses public keys: whoever takes one for a secret lets everybody sign.
pub(super) fn secret(secret: &[u8]) -> Result<DecodingKey, ConfigError> {
    let refuse = |got| Err(ConfigError::out_of_range("auth.jwt.secret", "a non-empty secret", got));
    if secret.is_empty() {
        return refuse("an empty one");
    }
    if looks_public(secret) {
        return refuse("a public key; that belongs into auth.jwt.publicKey");
    }
    Ok(DecodingKey::from_secret(secret))
}

/// A public key and the algorithm it is for by default.
pub(super) fn public(text: &[u8]) -> Result<(DecodingKey, Algorithm), ConfigError> {
    let refuse = |got: &str| {
        let expected = "a public key in PEM (RSA of 2048 to 4096 bits, EC P-256 or P-384, Ed25519)";
        ConfigError::out_of_range("auth.jwt.publicKey", expected, got)
    };
    let pem = pem::parse(text).map_err(|_| refuse("something that is not PEM"))?;
    let (key, algorithm) = match pem.tag() {
        "PUBLIC KEY" => subject_public_key(pem.contents()).map_err(refuse)?,
        "RSA PUBLIC KEY" => (DecodingKey::from_rsa_der(pem.contents()), Algorithm::RS256),
        "CERTIFICATE" => return Err(refuse("a certificate; take the public key out of it")),
        tag if tag.ends_with("PRIVATE KEY") => return Err(refuse("a private key")),
        _ => return Err(refuse("another kind of PEM")),
    };
    check_bytes(&key, algorithm).map_err(refuse)?;
    Ok((key, algorithm))
}

/// The key inside a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
fn subject_public_key(der: &[u8]) -> Result<(DecodingKey, Algorithm), &'static str> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| "malformed DER")?;
    let bytes = info.subject_public_key.as_bytes().ok_or("malformed DER")?;
    match info.algorithm.oid {
        RSA => Ok((DecodingKey::from_rsa_der(bytes), Algorithm::RS256)),
        ED25519 => Ok((DecodingKey::from_ed_der(bytes), Algorithm::EdDSA)),
        EC => match curve(&info.algorithm) {
            Some(P256) => Ok((DecodingKey::from_ec_der(bytes), Algorithm::ES256)),
            Some(P384) => Ok((DecodingKey::from_ec_der(bytes), Algorithm::ES384)),
            _ => Err("an EC key of another curve"),
        },
        _ => Err("a key of another kind"),
    }
}

fn curve(algorithm: &AlgorithmIdentifierRef<'_>) -> Option<ObjectIdentifier> {
    algorithm.parameters_oid().ok()
}

/// Whether the bytes are a key at all. Otherwise the first token would find out.
fn check_bytes(key: &DecodingKey, algorithm: Algorithm) -> Result<(), &'static str> {
    if algorithm == Algorithm::RS256 {
        let der = key.try_get_as_bytes().map_err(|_| "a malformed RSA key")?;
        let parts = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der);
        let (modulus, _) = parts.map_err(|_| "a malformed RSA key, or one of more than 4096 bits")?;
        return if bits(&modulus) < MIN_RSA_BITS { Err("an RSA key of less than 2048 bits") } else { Ok(()) };
    }
    (DEFAULT_PROVIDER.verifier_factory)(&algorithm, key).map(drop).map_err(|_| "a malformed key")
}

fn bits(big_endian: &[u8]) -> usize {
    let mut digits = big_endian.iter().skip_while(|byte| **byte == 0);
    digits.next().map_or(0, |first| 8 - first.leading_zeros() as usize) + 8 * digits.count()
}

fn looks_public(secret: &[u8]) -> bool {
    let text = String::from_utf8_lossy(secret);
    let text = text.trim_start();
    let pem = text.starts_with("-----BEGIN")
        && (text.contains("PUBLIC KEY-----") || text.contains("CERTIFICATE-----"));
    let ssh = ["ssh-rsa ", "ssh-ed25519 ", "ecdsa-sha2-"].iter().any(|prefix| text.starts_with(prefix));
    pem || ssh || SubjectPublicKeyInfoRef::from_der(secret).is_ok()
}
