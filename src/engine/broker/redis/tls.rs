//! TLS towards Redis: which certificates are trusted and shown.

use std::sync::{Arc, OnceLock};
use std::{env, fs};

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::config::TlsOptions;
use super::verifier::{Authorities, Verifier};

/// A client's configuration, made when it is first needed: the system's authorities are some hundred files.
#[derive(Debug, Default)]
pub struct Tls(OnceLock<Result<Arc<ClientConfig>, String>>);

impl Tls {
    /// See [`client_config`].
    pub fn client(&self, options: &TlsOptions) -> Result<Arc<ClientConfig>, String> {
        self.0.get_or_init(|| client_config(options)).clone()
    }
}

/// A client's configuration.
///
/// # Errors
/// What is wrong with the certificates or the key.
pub fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let authorities = if options.insecure { None } else { Some(authorities(options)?) };
    let verifier = Verifier::new(authorities, &provider);
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert).map_err(|why| format!("redis.tls.cert: {why}"))?;
            let key =
                PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("redis.tls.key: {error}"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let list: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    if list.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(list) }
}

/// Those of the options, or else those of the system and of Node.
fn authorities(options: &TlsOptions) -> Result<Authorities, String> {
    let Some(ca) = &options.ca else {
        // Single certificates that can't be used are no reason to do without the others; of a file that can't be read Node
        // has warned.
        let mut certificates = rustls_native_certs::load_native_certs().certs;
        if let Some(path) = env::var_os("NODE_EXTRA_CA_CERTS")
            && let Ok(pem) = fs::read(path)
        {
            certificates.extend(CertificateDer::pem_slice_iter(&pem).flatten());
        }
        return Ok(Authorities::of_parsable(certificates));
    };
    let wrong = |why: String| format!("redis.tls.ca: {why}");
    let certificates = certificates(ca).map_err(wrong)?;
    Authorities::named(certificates).map_err(|error| wrong(error.to_string()))
}
