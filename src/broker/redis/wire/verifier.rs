//! Verifies a server by its certificate, as Node does.

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

/// Those who vouch for servers.
#[derive(Debug, Default)]
pub(crate) struct Authorities {
    /// Some are not for signing others: these are trusted themselves.
    known: Vec<(CertificateDer<'static>, Certificate)>,
    /// True if the app named them. Public authorities sign nothing of version 1.
    are_named: bool,
}

impl Authorities {
    /// These, which the app named.
    ///
    /// # Errors
    /// One of them can't be used.
    pub(crate) fn named(certificates: Vec<CertificateDer<'static>>) -> Result<Authorities, Error> {
        let known = certificates.into_iter().map(Authorities::read).collect::<Result<_, _>>()?;
        Ok(Authorities { known, are_named: true })
    }

    /// Those of these that can be used.
    pub(crate) fn of_parsable(certificates: Vec<CertificateDer<'static>>) -> Authorities {
        let known = certificates.into_iter().flat_map(Authorities::read).collect();
        Authorities { known, are_named: false }
    }

    fn read(der: CertificateDer<'static>) -> Result<(CertificateDer<'static>, Certificate), Error> {
        RootCertStore::empty().add(der.clone())?;
        let certificate = Certificate::read(&der)?;
        Ok((der, certificate))
    }

    /// For webpki, which takes all that it is given for an authority, now and for any name.
    fn roots(&self, counts: impl Fn(&Certificate) -> bool) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let known = self.known.iter().filter(|(_, known)| known.is_authority() && counts(known));
        roots.add_parsable_certificates(known.map(|(der, _)| der.clone()));
        roots
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct CertificateVerifier {
    /// None: takes whoever answers, because the app said so.
    authorities: Option<Arc<Authorities>>,
    known: WebPkiSupportedAlgorithms,
}

impl CertificateVerifier {
    /// One that believes these.
    pub(crate) fn new(
        authorities: Option<Arc<Authorities>>,
        provider: &CryptoProvider,
    ) -> Arc<CertificateVerifier> {
        Arc::new(CertificateVerifier { authorities, known: provider.signature_verification_algorithms })
    }

    /// True if it is one that is trusted, or was signed by one where webpki doesn't look: it takes no servers of version 1, and none that
    /// may sign others, as `openssl req -x509 -CA` makes them.
    fn is_vouched_for(
        &self,
        shown: &CertificateDer<'_>,
        certificate: &Certificate,
        by: &Authorities,
        now: UnixTime,
    ) -> bool {
        if certificate.is_own_issuer() {
            return by.known.iter().any(|(known, _)| known == shown);
        }
        by.are_named
            && (certificate.is_of_version_1() || certificate.is_authority())
            && by.known.iter().any(|(_, authority)| {
                authority.is_authority()
                    && !authority.constrains_names()
                    && authority.check_time(now).is_ok()
                    && certificate.is_issued_by(authority, self.known.all)
            })
    }
}

impl ServerCertVerifier for CertificateVerifier {
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
        let parsed = parsed.as_ref().map_err(Error::clone);
        let chain = |roots: RootCertStore, intermediates: &[CertificateDer<'_>]| {
            let all = self.known.all;
            verify_server_cert_signed_by_trust_anchor(parsed.clone()?, &roots, intermediates, now, all)
        };
        let is_current = |authority: &Certificate| authority.check_time(now).is_ok();
        let chained = chain(authorities.roots(is_current), intermediates);
        let certificate = Certificate::read(shown);
        if let Err(error) = &chained {
            let certificate = certificate.as_ref().map_err(|_| error.clone())?;
            if !self.is_vouched_for(shown, certificate, authorities, now) {
                let is_late = chain(authorities.roots(|_| true), intermediates).is_ok();
                // Of these webpki says that it doesn't take such at all.
                let is_odd = certificate.is_own_issuer()
                    || certificate.is_of_version_1()
                    || certificate.is_authority();
                return Err(match (is_late, is_odd) {
                    (true, _) => CertificateError::Expired.into(),
                    (false, true) => CertificateError::UnknownIssuer.into(),
                    (false, false) => error.clone(),
                });
            }
            certificate.check_time(now)?;
        }
        // Of the two usages webpki looks at the extended one.
        if let Ok(certificate) = &certificate {
            certificate.check_purpose()?;
        }
        let Err(error) = parsed.clone().and_then(|parsed| verify_server_name(parsed, name)) else {
            return Ok(ServerCertVerified::assertion());
        };
        // webpki holds alternative names to an authority's constraints, and OpenSSL the common name too.
        let is_free = |certificate: &Certificate| !certificate.constrains_names();
        let are_free = |der: &&CertificateDer<'_>| Certificate::read(der).is_ok_and(|read| is_free(&read));
        let is_constrained = || {
            let roots = authorities.roots(|authority| is_current(authority) && is_free(authority));
            let intermediates: Vec<_> = intermediates.iter().filter(are_free).cloned().collect();
            chained.is_ok() && chain(roots, &intermediates).is_err()
        };
        if certificate.is_ok_and(|certificate| certificate.is_commonly_named(name)) && !is_constrained() {
            return Ok(ServerCertVerified::assertion());
        }
        let (expected, presented) = (name.to_owned(), Vec::new());
        let unread = CertificateError::NotValidForNameContext { expected, presented };
        Err(if parsed.is_ok() { error } else { unread.into() })
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
