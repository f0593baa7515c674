//! Where tools may connect to: addresses of the public Internet, and hosts that the operator
//! lists in `allow_hosts`.
//!
//! The address that was judged is the one that is dialled, since [`Vetted`] is the client's
//! resolver; the client never sees an address that was refused.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::outbound;

/// Why a tool may not connect to an address, or `None` where it may.
///
/// The ranges are those of IANA's registries of special-purpose addresses,
/// <https://www.iana.org/assignments/iana-ipv4-special-registry> and
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>.
pub(super) fn refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("it names this host"),
        [127, ..] => Some("it is a loopback address"),
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Some("it is a private address"),
        [100, 64..=127, ..] => Some("it is behind a carrier's NAT"),
        [169, 254, ..] => Some("it is a link-local address, where clouds serve credentials"),
        // Azure's, which is a public address.
        [168, 63, 129, 16] => Some("it is a cloud's metadata service"),
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18..=19, ..] | [198, 51, 100, _] => {
            Some("it is a reserved address")
        }
        [203, 0, 113, _] | [240..=255, ..] => Some("it is a reserved address"),
        [224..=239, ..] => Some("it is a multicast address"),
        _ => None,
    }
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let [_, _, _, _, _, _, _, _, _, _, _, _, v4 @ ..] = address.octets();
    match [a, b, c, d, e, f, g, h] {
        // IPv4-mapped, and the prefix that every NAT64 may use: what counts is the address inside.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => refusal_v4(v4.into()),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("it is a loopback address"),
        [0, ..] => Some("it names this host or an IPv4 address in disguise"),
        [0x64, 0xff9b, ..] => Some("it is a network's own NAT64 address"),
        [0xfc00..=0xfdff, ..] => Some("it is a private address"),
        [0xfe80..=0xfebf, ..] => Some("it is a link-local address"),
        [0xff00..=0xffff, ..] => Some("it is a multicast address"),
        [0x2002, ..] => Some("it is an IPv4 address in disguise (6to4)"),
        // Teredo and ORCHID among them.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => {
            Some("it is a reserved address")
        }
        // All that is not handed out as global unicast.
        [0x2000..=0x3fff, ..] => None,
        _ => Some("it is a reserved address"),
    }
}

/// A connection that was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    host: String,
    address: IpAddr,
    why: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address, why } = self;
        write!(
            f,
            "{host} is at {address}, which tools may not reach: {why}"
        )
    }
}

impl Error for Refused {}

impl Refused {
    /// The refusal that made a request fail, if one did.
    pub fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(refused) = error.downcast_ref() {
                return Some(refused);
            }
            cause = error.source();
        }
        None
    }
}

/// Hosts that may be reached at any address.
#[derive(Debug, Clone, Default)]
pub(super) struct AllowedHosts(Arc<[String]>);

impl AllowedHosts {
    /// Host names and addresses; an IPv6 address with or without its brackets.
    pub fn new(hosts: Vec<String>) -> Self {
        let bare = |host: String| host.trim_matches(['[', ']']).to_ascii_lowercase();
        Self(hosts.into_iter().map(bare).collect())
    }

    fn contains(&self, host: &str) -> bool {
        let host = host.trim_matches(['[', ']']);
        self.0
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    /// Judges a URL whose host is an address, since no resolver is asked about it. [`Url`] has
    /// turned every spelling of an address (decimal, octal, hexadecimal) into the address by then.
    pub fn judge(&self, url: &Url) -> Result<(), Refused> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            _ => return Ok(()),
        };
        let host = url.host_str().unwrap_or_default();
        match refusal(address) {
            Some(why) if !self.contains(host) => Err(Refused {
                host: host.to_owned(),
                address,
                why,
            }),
            _ => Ok(()),
        }
    }

    /// The addresses that may be dialled; refused if there are only others.
    pub fn vet(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        if self.contains(host) {
            return Ok(found);
        }
        let mut refused = None;
        let mut vetted = Vec::new();
        for address in found {
            match refusal(address.ip()) {
                None => vetted.push(address),
                Some(why) => {
                    refused = Some(Refused {
                        host: host.to_owned(),
                        address: address.ip(),
                        why,
                    });
                }
            }
        }
        match refused {
            Some(refused) if vetted.is_empty() => Err(refused),
            _ => Ok(vetted),
        }
    }
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
