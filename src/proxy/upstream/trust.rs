//! Certificate authorities: the system's, and those of a file that an upstream names.

use std::path::Path;
use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::utils::tls::WrappedX509;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};
use xxhash_rust::xxh3::Xxh3;

/// Whether the system has any certificate authorities. pingora 0.9.1 panics at start where it
/// finds none, even when every upstream is plain http.
pub fn system_has_authorities() -> bool {
    pingora::tls::load_native_certs().is_ok_and(|found| !found.is_empty())
}

/// The authorities of one file, as it stood when it was read.
#[derive(Clone)]
pub struct Authorities {
    pub certificates: Arc<CaType>,
    /// Of the certificates: another file, or a rotated one, has another.
    pub digest: u64,
}

/// Reads the PEM file `upstreams.ca`. The error says what was wrong with it.
pub fn authorities(file: &Path) -> Result<Authorities, String> {
    let wrong = |what: String| format!("the certificate file {}: {what}", file.display());
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("it holds no certificate".into()));
    }
    let mut digest = Xxh3::new();
    for certificate in &certificates {
        digest.update(certificate);
    }
    let parsed = certificates.into_iter().map(|certificate| {
        WrappedX509::try_new(certificate.to_vec(), |der| {
            X509Certificate::from_der(der).map(|(_, certificate)| certificate)
        })
        .map_err(|error| wrong(error.to_string()))
    });
    Ok(Authorities {
        certificates: parsed.collect::<Result<Arc<[_]>, _>>()?,
        digest: digest.digest(),
    })
}
