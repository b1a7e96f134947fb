//! A server's certificate as OpenSSL, and so Node, takes it.
//!
//! webpki, which rustls asks first, does without what public authorities no longer issue and people who run a Redis of
//! their own do: certificates that are their own authority, that are of X.509 version 1, or that have their host in the
//! common name only.

use rustls::CertificateError;
use rustls::pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use x509_cert::certificate::{CertificateInner, Raw, Version};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{self, Decode, Encode, Tag, Tagged};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints, SubjectAltName,
};
use x509_cert::spki::AlgorithmIdentifierOwned;

/// A certificate is for servers, where it says for whom (RFC 5280, section 4.2.1.12).
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// See the module.
#[derive(Debug)]
pub(crate) struct Certificate(CertificateInner<Raw>);

fn malformed(_: der::Error) -> CertificateError {
    CertificateError::BadEncoding
}

impl Certificate {
    /// Reads one.
    ///
    /// # Errors
    /// That it is none.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Certificate, CertificateError> {
        CertificateInner::from_der(der).map(Certificate).map_err(malformed)
    }

    /// Its public key.
    ///
    /// # Errors
    /// That it can't be encoded.
    pub(crate) fn key(&self) -> Result<SubjectPublicKeyInfoDer<'static>, CertificateError> {
        self.0.tbs_certificate.subject_public_key_info.to_der().map(Into::into).map_err(malformed)
    }

    /// True if it names itself as who issued it.
    pub(crate) fn is_own_issuer(&self) -> bool {
        self.0.tbs_certificate.issuer == self.0.tbs_certificate.subject
    }

    /// True if it is of the first version, which knows no extensions.
    pub(crate) fn is_of_version_1(&self) -> bool {
        self.0.tbs_certificate.version == Version::V1
    }

    /// True if it was signed with the key of this authority.
    pub(crate) fn is_issued_by(
        &self,
        authority: &Certificate,
        known: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let known: Vec<_> = known
            .iter()
            .filter(|known| is(&self.0.signature_algorithm, known.signature_alg_id().as_ref()))
            .copied()
            .collect();
        let signature = self.0.signature.raw_bytes();
        self.0.tbs_certificate.issuer == authority.0.tbs_certificate.subject
            && self
                .0
                .tbs_certificate
                .to_der()
                .is_ok_and(|text| authority.has_signed(&text, signature, &known))
    }

    /// True if a signature by one of these algorithms was made with its key.
    pub(crate) fn has_signed(
        &self,
        text: &[u8],
        signature: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let key = &self.0.tbs_certificate.subject_public_key_info;
        algorithms.iter().any(|algorithm| {
            is(&key.algorithm, algorithm.public_key_alg_id().as_ref())
                && algorithm.verify_signature(key.subject_public_key.raw_bytes(), text, signature).is_ok()
        })
    }

    /// True if it may sign those of servers. As OpenSSL sees it (`X509_check_ca`), one without basic constraints may if its
    /// key usage says so, or if it is of version 1, which can't say so, and its own issuer.
    pub(crate) fn is_authority(&self) -> bool {
        let tbs = &self.0.tbs_certificate;
        let (Ok(constraints), Ok(usage)) = (tbs.get::<BasicConstraints>(), tbs.get::<KeyUsage>()) else {
            return false;
        };
        let signs = usage.map(|(_, usage)| usage.0.contains(KeyUsages::KeyCertSign));
        let is_one = match constraints {
            Some((_, constraints)) => constraints.ca,
            None => signs.is_some() || self.is_of_version_1() && self.is_own_issuer(),
        };
        is_one && signs != Some(false) && self.is_for_servers()
    }

    /// True if it limits for which names those below it may be.
    pub(crate) fn constrains_names(&self) -> bool {
        !matches!(self.0.tbs_certificate.get::<NameConstraints>(), Ok(None))
    }

    fn is_for_servers(&self) -> bool {
        match self.0.tbs_certificate.get::<ExtendedKeyUsage>() {
            Ok(purposes) => purposes.is_none_or(|(_, purposes)| purposes.0.contains(&SERVER_AUTH)),
            Err(_) => false,
        }
    }

    /// True if it holds at this time.
    ///
    /// # Errors
    /// That it does not, yet or any more.
    pub(crate) fn check_time(&self, now: UnixTime) -> Result<(), CertificateError> {
        let validity = &self.0.tbs_certificate.validity;
        let [begin, end] =
            [validity.not_before, validity.not_after].map(|time| time.to_unix_duration().as_secs());
        match now.as_secs() {
            now if now < begin => Err(CertificateError::NotValidYet),
            now if now > end => Err(CertificateError::Expired),
            _ => Ok(()),
        }
    }

    /// True if a server may show it.
    ///
    /// # Errors
    /// That it is for something else.
    pub(crate) fn check_purpose(&self) -> Result<(), CertificateError> {
        let usage = self.0.tbs_certificate.get::<KeyUsage>().map_err(malformed)?;
        let serves = KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment | KeyUsages::KeyAgreement;
        if !self.is_for_servers() || usage.is_some_and(|(_, usage)| (usage.0 & serves).is_empty()) {
            return Err(CertificateError::InvalidPurpose);
        }
        Ok(())
    }

    /// True if the host is its common name, which counts where it has no other DNS names.
    pub(crate) fn is_commonly_named(&self, host: &ServerName<'_>) -> bool {
        let ServerName::DnsName(host) = host else { return false };
        let tbs = &self.0.tbs_certificate;
        let names = match tbs.get::<SubjectAltName>() {
            Ok(names) => names.map(|(_, names)| names.0).unwrap_or_default(),
            Err(_) => return false,
        };
        if names.iter().any(|name| matches!(name, GeneralName::DnsName(_))) {
            return false;
        }
        let attributes = tbs.subject.0.iter().flat_map(|names| names.0.iter());
        attributes.filter(|attribute| attribute.oid == COMMON_NAME).any(|attribute| {
            let is_text =
                matches!(attribute.value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String);
            std::str::from_utf8(attribute.value.value())
                .is_ok_and(|name| is_text && fits(name, host.as_ref()))
        })
    }
}

/// True if the content of an `AlgorithmIdentifier` is this.
fn is(algorithm: &AlgorithmIdentifierOwned, id: &[u8]) -> bool {
    let header = |der: &Vec<u8>| der.len().checked_sub(id.len());
    algorithm.to_der().is_ok_and(|der| header(&der).is_some_and(|header| header == 2 && der[header..] == *id))
}

/// True if a name, whose first label may be `*`, is that of a host.
fn fits(name: &str, host: &str) -> bool {
    let [name, host] = [name, host].map(|name| name.strip_suffix('.').unwrap_or(name));
    match (name.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((_, parent))) => domain.contains('.') && domain.eq_ignore_ascii_case(parent),
        (Some(_), None) => false,
        (None, _) => name.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label_of_a_domain() {
        for (name, host) in [
            ("redis.example", "Redis.example"),
            ("redis", "redis"),
            ("*.redis.example", "a.redis.example"),
            ("redis.example", "redis.example."),
        ] {
            assert!(fits(name, host), "{name} {host}");
        }
        for (name, host) in [
            ("*.example", "redis.example"),
            ("*.redis.example", "redis.example"),
            ("*.redis.example", "a.b.redis.example"),
            ("*", "redis"),
            ("", "redis"),
        ] {
            assert!(!fits(name, host), "{name} {host}");
        }
    }
}
