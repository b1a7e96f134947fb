//! Whether a server is who it should be: as Node would say.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore, SignatureScheme,
};

use super::certificate::Certificate;

/// Who vouches for servers.
#[derive(Debug)]
pub struct Authorities {
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// These.
    ///
    /// # Errors
    /// One of them can't be used.
    pub fn of(certificates: Vec<CertificateDer<'static>>) -> Result<Authorities, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        Ok(Authorities { roots, certificates })
    }

    /// Those of these that can be used.
    pub fn of_parsable(certificates: Vec<CertificateDer<'static>>) -> Authorities {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        Authorities { roots, certificates }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Verifier {
    /// None: takes whoever answers, because the app said so.
    authorities: Option<Authorities>,
    known: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// One that believes these.
    pub fn new(authorities: Option<Authorities>, provider: &CryptoProvider) -> Arc<Verifier> {
        Arc::new(Verifier { authorities, known: provider.signature_verification_algorithms })
    }

    /// Whether one of the authorities is it, or has signed it where webpki doesn't look: it reads no version 1.
    fn is_vouched_for(
        &self,
        shown: &CertificateDer<'_>,
        certificate: &Certificate,
        by: &Authorities,
        now: UnixTime,
    ) -> bool {
        if certificate.is_own_issuer() {
            return by.certificates.iter().any(|known| known == shown);
        }
        certificate.is_of_version_1()
            && by.certificates.iter().filter_map(|known| Certificate::read(known).ok()).any(|authority| {
                certificate.is_issued_by(&authority, self.known.all) && authority.check_time(now).is_ok()
            })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        let parsed = ParsedCertificate::try_from(shown);
        let trusted = parsed.as_ref().map_err(Error::clone).and_then(|parsed| {
            let all = self.known.all;
            verify_server_cert_signed_by_trust_anchor(parsed, &authorities.roots, intermediates, now, all)
        });
        if let Err(error) = trusted {
            let certificate = Certificate::read(shown)?;
            if !self.is_vouched_for(shown, &certificate, authorities, now) {
                return Err(error);
            }
            certificate.check_time(now)?;
            certificate.check_purpose()?;
        }
        let named = parsed.and_then(|parsed| verify_server_name(&parsed, name));
        if named.is_err() && !Certificate::read(shown)?.is_commonly_named(name) {
            return Err(match named {
                Err(Error::InvalidCertificate(CertificateError::Other(_))) | Ok(()) => {
                    CertificateError::NotValidForName.into()
                }
                Err(error) => error,
            });
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if ParsedCertificate::try_from(shown).is_ok() {
            return crypto::verify_tls12_signature(message, shown, signed, &self.known);
        }
        let certificate = Certificate::read(shown)?;
        let algorithms = self.known.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let (_, algorithms) = algorithms.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        if !certificate.has_signed(message, signed.signature(), algorithms) {
            return Err(CertificateError::BadSignature.into());
        }
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if ParsedCertificate::try_from(shown).is_ok() {
            return crypto::verify_tls13_signature(message, shown, signed, &self.known);
        }
        let key = Certificate::read(shown)?.key()?;
        crypto::verify_tls13_signature_with_raw_key(message, &key, signed, &self.known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.known.supported_schemes()
    }
}
