//! Where tools may connect to: addresses of the public Internet, and hosts that the operator
//! lists in `allow_hosts`.
//!
//! The address that was judged is the one that is dialled, since [`Vetted`] is the client's
//! resolver; the client never sees an address that was refused.

mod judge;

use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;

#[cfg(test)]
pub(super) use judge::refusal;
pub(super) use judge::{AllowedHosts, Refused};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Resolves names, and gives only addresses that may be dialled.
struct Vetted(AllowedHosts);

impl Resolve for Vetted {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let vetted = allowed.vet(name.as_str(), found.collect())?;
            Ok(Box::new(vetted.into_iter()) as Addrs)
        })
    }
}

/// A client that follows no redirect, knows no proxy and dials vetted addresses alone. Addresses
/// in URLs are for [`AllowedHosts::judge`].
///
/// # Errors
///
/// Says what is missing, such as the system's certificate authorities.
pub(super) fn client(allowed: AllowedHosts) -> Result<reqwest::Client, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| error.to_string())?
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Vetted(allowed))
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("yychat/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())
}
