//! Keys: what their text must and must not be, and what is signed with them.

use std::fmt;

use codes::error::ConfigError;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use ring::agreement::{self, EphemeralPrivateKey};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use spki::der::asn1::{ObjectIdentifier, UintRef};
use spki::der::{Decode, Reader, SliceReader};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Sizes of an RSA modulus. RFC 7518 section 3.3 asks for 2048 bits at least; a larger one than 4096 makes each junk token dear.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A key that verifies signatures.
pub(super) enum VerifyingKey {
    /// A shared secret.
    Secret(Vec<u8>),
    /// A public key: for RSA in DER (RFC 8017 appendix A.1.1), for a curve its point.
    Public {
        /// The algorithm that is permitted if none is named. Tells the curve of an EC key.
        default: Algorithm,
        /// The key.
        bytes: Vec<u8>,
    },
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl VerifyingKey {
    /// The algorithm that is permitted if none is named.
    pub(super) fn default_algorithm(&self) -> Algorithm {
        match self {
            Self::Secret(_) => Algorithm::HS256,
            Self::Public { default, .. } => *default,
        }
    }

    /// True for an RSA or EC key, whose signatures take more than a microsecond.
    pub(super) fn is_public(&self) -> bool {
        matches!(self, Self::Public { .. })
    }

    /// Length of a shared secret, in bytes. `None` for a public key.
    pub(super) fn secret_bytes(&self) -> Option<usize> {
        match self {
            Self::Secret(secret) => Some(secret.len()),
            Self::Public { .. } => None,
        }
    }

    /// True if the key can verify signatures of this algorithm. RSA keys fit all of their family, EC keys only the one of their
    /// curve.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        let default = self.default_algorithm();
        match default.family() {
            AlgorithmFamily::Hmac | AlgorithmFamily::Rsa => algorithm.family() == default.family(),
            AlgorithmFamily::Ec | AlgorithmFamily::Ed => algorithm == default,
        }
    }

    /// True if the signature (RFC 7518 section 3) over `signed` is one of this key's. An HMAC is compared in constant time.
    pub(super) fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(secret) => mac(algorithm)
                .is_some_and(|mac| hmac::verify(&hmac::Key::new(mac, secret), signed, signature).is_ok()),
            Self::Public { bytes, .. } if self.fits(algorithm) => scheme(algorithm).is_some_and(|scheme| {
                UnparsedPublicKey::new(scheme, bytes).verify(signed, signature).is_ok()
            }),
            Self::Public { .. } => false,
        }
    }
}

/// Least length of an algorithm's secret, in bytes: that of its hash. 0 for the algorithms of public keys.
pub(super) fn least_bytes(algorithm: Algorithm) -> usize {
    mac(algorithm).map_or(0, |mac| mac.digest_algorithm().output_len())
}

fn mac(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn scheme(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &signature::ED25519,
        _ => return None,
    })
}

/// The key of an HMAC. Refuses public keys: a server with one for a secret lets everybody sign.
pub(super) fn secret(secret: &[u8]) -> Result<VerifyingKey, ConfigError> {
    let refuse = |got| Err(ConfigError::out_of_range("auth.jwt.secret", "a non-empty secret", got));
    if secret.is_empty() {
        return refuse("an empty one");
    }
    if looks_public(secret) {
        return refuse("a public key; that belongs into auth.jwt.publicKey");
    }
    Ok(VerifyingKey::Secret(secret.into()))
}

/// A public key.
pub(super) fn public(text: &[u8]) -> Result<VerifyingKey, ConfigError> {
    let refuse = |got: &str| {
        let expected = "a public key in PEM (RSA of 2048 to 4096 bits, EC P-256 or P-384, Ed25519)";
        ConfigError::out_of_range("auth.jwt.publicKey", expected, got)
    };
    let pem = pem::parse(text).map_err(|_| refuse("something that is not PEM"))?;
    let key = match pem.tag() {
        "PUBLIC KEY" => subject_public_key(pem.contents()),
        "RSA PUBLIC KEY" => rsa(pem.contents()),
        "CERTIFICATE" => Err("a certificate; take the public key out of it"),
        tag if tag.ends_with("PRIVATE KEY") => Err("a private key"),
        _ => Err("another kind of PEM"),
    };
    key.map_err(refuse)
}

/// The key inside a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
fn subject_public_key(der: &[u8]) -> Result<VerifyingKey, &'static str> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| "malformed DER")?;
    let bytes = info.subject_public_key.as_bytes().ok_or("malformed DER")?;
    match info.algorithm.oid {
        RSA => rsa(bytes),
        ED25519 => ed25519(bytes),
        EC => match curve(&info.algorithm) {
            Some(P256) => point(bytes, Algorithm::ES256, &agreement::ECDH_P256),
            Some(P384) => point(bytes, Algorithm::ES384, &agreement::ECDH_P384),
            _ => Err("an EC key of another curve"),
        },
        _ => Err("a key of another kind"),
    }
}

fn curve(algorithm: &AlgorithmIdentifierRef<'_>) -> Option<ObjectIdentifier> {
    algorithm.parameters_oid().ok()
}

/// An RSAPublicKey (RFC 8017 appendix A.1.1) that `ring` takes. Otherwise every token would be refused.
fn rsa(der: &[u8]) -> Result<VerifyingKey, &'static str> {
    let (modulus, exponent) = rsa_parts(der).map_err(|_| "a malformed RSA key")?;
    let bits = bits(modulus);
    if bits < *RSA_BITS.start() {
        return Err("an RSA key of less than 2048 bits");
    }
    if bits > *RSA_BITS.end() {
        return Err("an RSA key of more than 4096 bits");
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    // An exponent of 1 signs nothing, and one of more than 33 bits is nobody's.
    if !is_odd(modulus) || !is_odd(exponent) || !(2..=33).contains(&self::bits(exponent)) {
        return Err("a malformed RSA key");
    }
    Ok(VerifyingKey::Public { default: Algorithm::RS256, bytes: der.into() })
}

/// Modulus and exponent, big-endian.
fn rsa_parts(der: &[u8]) -> spki::der::Result<(&[u8], &[u8])> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader
        .sequence(|reader| Ok((UintRef::decode(reader)?.as_bytes(), UintRef::decode(reader)?.as_bytes())))?;
    reader.finish(parts)
}

/// A point of a curve, uncompressed (SEC 1 section 2.3.3), as RFC 5480 section 2.2 has every implementation take it.
fn point(
    bytes: &[u8],
    default: Algorithm,
    exchange: &'static agreement::Algorithm,
) -> Result<VerifyingKey, &'static str> {
    if matches!(bytes.first(), Some(2 | 3)) {
        return Err("an EC key whose point is compressed");
    }
    // A key exchange with a key of our own looks at whether the point is one of the curve; its result is dropped.
    let own = EphemeralPrivateKey::generate(exchange, &SystemRandom::new())
        .map_err(|_| "a system without randomness")?;
    agreement::agree_ephemeral(own, &agreement::UnparsedPublicKey::new(exchange, bytes), |_| ())
        .map_err(|_| "a malformed key")?;
    Ok(VerifyingKey::Public { default, bytes: bytes.into() })
}

/// An Ed25519 key (RFC 8032 section 5.1.5).
fn ed25519(bytes: &[u8]) -> Result<VerifyingKey, &'static str> {
    if bytes.len() != 32 {
        return Err("a malformed key");
    }
    Ok(VerifyingKey::Public { default: Algorithm::EdDSA, bytes: bytes.into() })
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
