//! TLS towards Redis: which certificates are trusted and shown.

use std::sync::{Arc, LazyLock};
use std::{env, fs};

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::verifier::{Authorities, CertificateVerifier};
use crate::broker::redis::config::{RedisConfig, TlsOptions};

/// A client's configuration, or why there is none.
#[derive(Debug)]
pub(crate) struct Tls(Result<Arc<ClientConfig>, String>);

impl Tls {
    /// For these servers. The first may read the environment, and JavaScript may write that on its own thread at any time: so it
    /// is for that thread.
    pub(crate) fn of(config: &RedisConfig) -> Tls {
        if !config.is_tls() {
            return Tls(Err("no URL is rediss://".to_owned()));
        }
        Tls(client_config(&config.tls, || OTHERS.clone()))
    }

    /// The configuration.
    ///
    /// # Errors
    /// The fault, in words.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, String> {
        self.0.clone()
    }
}

/// A client's configuration. Trusts `others` where the options name nobody.
///
/// # Errors
/// The fault of the certificates or the key.
pub(crate) fn client_config(
    options: &TlsOptions,
    others: impl FnOnce() -> Arc<Authorities>,
) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let authorities = if options.insecure { None } else { Some(authorities(options, others)?) };
    let verifier = CertificateVerifier::new(authorities, &provider);
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

fn authorities(
    options: &TlsOptions,
    others: impl FnOnce() -> Arc<Authorities>,
) -> Result<Arc<Authorities>, String> {
    let Some(ca) = &options.ca else { return Ok(others()) };
    let wrong = |why: String| format!("redis.tls.ca: {why}");
    let certificates = certificates(ca).map_err(wrong)?;
    Authorities::named(certificates).map(Arc::new).map_err(|error| wrong(error.to_string()))
}

/// Those of the system, some hundred files, and of Node: read once in a process, as Node does. Single certificates that can't be
/// used are no reason to do without the others; of a file that can't be read Node has warned.
static OTHERS: LazyLock<Arc<Authorities>> = LazyLock::new(|| {
    let mut certificates = rustls_native_certs::load_native_certs().certs;
    if let Some(path) = env::var_os("NODE_EXTRA_CA_CERTS")
        && let Ok(pem) = fs::read(path)
    {
        certificates.extend(CertificateDer::pem_slice_iter(&pem).flatten());
    }
    Arc::new(Authorities::of_parsable(certificates))
});
