//! From an upstream's name to its addresses, in the order in which they are tried.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use url::{Host, Url};

/// How long a resolved name is believed: long enough to keep look-ups off the request's path,
/// short enough to follow a failover.
const NAME_TTL: Duration = Duration::from_secs(15);
/// Names that are remembered.
const NAMES: u64 = 1024;

/// What names resolved to, and which of their addresses were reached last.
pub struct Addresses {
    names: Cache<Name, Arc<[SocketAddr]>>,
    /// Of names with several addresses.
    reached: moka::sync::Cache<Name, SocketAddr>,
}

type Name = (String, u16);

impl Addresses {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self {
            names: Cache::builder()
                .max_capacity(NAMES)
                .time_to_live(NAME_TTL)
                .build(),
            reached: moka::sync::Cache::new(NAMES),
        }
    }

    /// The addresses of `url`'s host, at least one: the one that was reached last, then the
    /// others, the two families in turn (RFC 8305, section 4).
    ///
    /// # Errors
    ///
    /// Why there are none.
    pub async fn of(&self, url: &Url) -> Result<Arc<[SocketAddr]>, String> {
        let name = match url.host() {
            Some(Host::Ipv4(ip)) => return Ok([SocketAddr::new(ip.into(), port(url))].into()),
            Some(Host::Ipv6(ip)) => return Ok([SocketAddr::new(ip.into(), port(url))].into()),
            Some(Host::Domain(name)) => (name.to_owned(), port(url)),
            None => return Err("its base_url has no host".into()),
        };
        let found = self
            .names
            .try_get_with_by_ref(&name, resolve(&name))
            .await
            .map_err(|error| format!("looking up `{}`: {error}", name.0))?;
        if found.len() < 2 {
            return Ok(found);
        }
        match self.reached.get(&name) {
            Some(reached) if found[0] != reached && found.contains(&reached) => {
                let others = found.iter().filter(|address| **address != reached);
                Ok([reached].into_iter().chain(others.copied()).collect())
            }
            _ => Ok(found),
        }
    }

    /// A connection to `address` was made.
    pub fn reached(&self, url: &Url, address: SocketAddr) {
        if let Some(Host::Domain(name)) = url.host() {
            self.reached.insert((name.to_owned(), port(url)), address);
        }
    }
}

fn port(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(443)
}

async fn resolve((name, port): &Name) -> Result<Arc<[SocketAddr]>, std::io::Error> {
    // RFC 6761, section 6.3: these are loopback, whatever a resolver says.
    if name == "localhost" || name.ends_with(".localhost") {
        let loopback: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        return Ok(loopback.map(|ip| SocketAddr::new(ip, *port)).into());
    }
    let found: Vec<_> = tokio::net::lookup_host((name.as_str(), *port))
        .await?
        .collect();
    if found.is_empty() {
        return Err(std::io::Error::other("it has no address"));
    }
    Ok(in_turn(found))
}

/// The families in turn, the first one's first, each in its own order.
fn in_turn(found: Vec<SocketAddr>) -> Arc<[SocketAddr]> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (Vec<_>, Vec<_>) = found
        .into_iter()
        .rev()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut ordered = Vec::new();
    while !(first.is_empty() && second.is_empty()) {
        ordered.extend(first.pop());
        ordered.extend(second.pop());
    }
    ordered.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        let parsed = texts.iter().map(|text| text.parse().expect("an address"));
        parsed.collect()
    }

    #[test]
    fn families_take_turns() {
        let (a, b, c) = ("[::1]:1", "[::2]:1", "[::3]:1");
        let (x, y) = ("127.0.0.1:1", "127.0.0.2:1");
        for (found, ordered) in [
            (vec![a, b, c, x, y], vec![a, x, b, y, c]),
            (vec![x, y, a], vec![x, a, y]),
            (vec![x, y], vec![x, y]),
        ] {
            assert_eq!(*in_turn(addresses(&found)), addresses(&ordered));
        }
    }

    #[tokio::test]
    async fn localhost_is_both_loopbacks_and_the_last_good_one_comes_first() {
        let known = Addresses::new();
        for name in ["localhost", "LOCALHOST", "a.localhost"] {
            let url: Url = format!("http://{name}:8080/v1").parse().expect("a URL");
            let (six, four) = ("[::1]:8080", "127.0.0.1:8080");
            let found = known.of(&url).await.expect("addresses");
            assert_eq!(*found, addresses(&[six, four]), "{name}");
            known.reached(&url, found[1]);
            let found = known.of(&url).await.expect("addresses");
            assert_eq!(*found, addresses(&[four, six]), "{name}");
            known.reached(&url, found[1]);
        }
        let url: Url = "http://10.0.0.1/v1".parse().expect("a URL");
        let found = known.of(&url).await.expect("itself");
        assert_eq!(*found, addresses(&["10.0.0.1:80"]));
    }
}
