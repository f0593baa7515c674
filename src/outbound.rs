//! The client of the requests that the gateway makes of itself, beside those to chat upstreams:
//! tools, embeddings, the extraction of facts and the export of traces.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use rustls_platform_verifier::{BuilderVerifierExt, Verifier};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What to do where there is no client.
pub const MEND: &str =
    "install the system's certificate authorities (ca-certificates), or set SSL_CERT_FILE";

/// Follows no redirect, knows no proxy, and trusts the system's certificate authorities.
///
/// # Errors
///
/// Says what is missing, such as those authorities; [`MEND`] says how to mend it.
pub fn client() -> Result<reqwest::ClientBuilder, String> {
    let tls = tls()?.with_platform_verifier();
    let tls = tls.map_err(|error| error.to_string())?;
    Ok(with(tls.with_no_client_auth()))
}

/// The same for a server that the operator names: `ca` is a PEM file of more authorities, and for
/// plain http none are needed.
///
/// # Errors
///
/// As [`client`], or says what is wrong with the file.
pub fn trusting(server: &Url, ca: Option<&Path>) -> Result<reqwest::ClientBuilder, String> {
    if server.scheme() == "http" {
        let tls = tls()?.with_root_certificates(RootCertStore::empty());
        return Ok(with(tls.with_no_client_auth()));
    }
    let Some(file) = ca else { return client() };
    let more = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("the certificate file {}: {error}", file.display()))?;
    let builder = tls()?;
    let verifier = Verifier::new_with_extra_roots(more, builder.crypto_provider().clone())
        .map_err(|error| error.to_string())?;
    let tls = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(with(tls))
}

fn tls() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}

fn with(tls: ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("yychat/", env!("CARGO_PKG_VERSION")))
}
