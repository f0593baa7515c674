//! Where tools may connect to: addresses of the public Internet, and hosts that the operator
//! lists in `allow_hosts`.
//!
//! The address that was judged is the one that is dialled, since [`Vetted`] is the client's
//! resolver; the client never sees an address that was refused.

mod judge;

use std::net::IpAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

#[cfg(test)]
pub(super) use judge::refusal;
pub(super) use judge::{AllowedHosts, Refused};

use crate::outbound;

/// Whether an address is one of the public Internet.
pub fn is_public(address: IpAddr) -> bool {
    judge::refusal(address).is_none()
}

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

/// A client that dials vetted addresses alone. Addresses in URLs are for [`AllowedHosts::judge`].
///
/// # Errors
///
/// Says what is missing, such as the system's certificate authorities.
pub(super) fn client(allowed: AllowedHosts) -> Result<reqwest::Client, String> {
    let client = outbound::client()?.dns_resolver(Vetted(allowed));
    client.build().map_err(|error| error.to_string())
}
