//! The client of the requests that the gateway makes of itself, beside those to chat upstreams:
//! tools and embeddings.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect;
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Follows no redirect, knows no proxy, and trusts the system's certificate authorities.
///
/// # Errors
///
/// Says what is missing, such as those authorities; [`MEND`] says how to mend it.
pub fn client() -> Result<reqwest::ClientBuilder, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| error.to_string())?
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("yychat/", env!("CARGO_PKG_VERSION"))))
}

/// What to do where there is no client.
pub const MEND: &str =
    "install the system's certificate authorities (ca-certificates), or set SSL_CERT_FILE";
