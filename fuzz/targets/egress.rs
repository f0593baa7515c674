//! A URL of a tool and the addresses that a resolver gives for it: nothing is dialled that std
//! knows to be local, in whatever disguise, unless the operator lists it.
#![no_main]
#![allow(dead_code, reason = "the target reads a part of the module")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use url::{Host, Url};

#[path = "../../src/tools/egress/judge.rs"]
mod judge;

use judge::AllowedHosts;

fuzz_target!(|input: &[u8]| {
    let Some((numbers, text)) = input.split_first_chunk::<20>() else {
        return;
    };
    let (four, sixteen) = numbers.split_at(4);
    let v4: [u8; 4] = four.try_into().expect("four of twenty");
    let v6: [u8; 16] = sixteen.try_into().expect("sixteen of twenty");
    let found = [IpAddr::from(v4), IpAddr::from(v6)].map(|ip| SocketAddr::new(ip, 80));
    let nobody = AllowedHosts::default();
    for address in nobody.vet("name", found.into()).into_iter().flatten() {
        assert!(!is_local(address.ip()), "{address}");
    }
    let Ok(url) = std::str::from_utf8(text)
        .map_err(drop)
        .and_then(|host| Url::parse(&format!("http://{host}")).map_err(drop))
    else {
        return;
    };
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        _ => return,
    };
    if nobody.judge(&url).is_ok() {
        assert!(!is_local(address), "{url}");
    }
    let listed = AllowedHosts::new(vec![url.host_str().unwrap_or_default().to_owned()]);
    assert!(listed.judge(&url).is_ok(), "{url}");
});

fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_local_v4(address),
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            let inner = Ipv4Addr::new(a, b, c, d);
            let [first, second, ..] = address.segments();
            address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.to_ipv4_mapped().is_some_and(is_local_v4)
                || (address.to_bits() >> 32 == 0x64_ff9b << 64 && is_local_v4(inner))
                || address.to_bits() >> 32 == 0
                || (first, second) == (0x2001, 0)
                || first == 0x2002
        }
    }
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_unspecified()
        || address.is_documentation()
        || address.octets()[0] == 0
        || address.octets()[0] >= 240
        || address.to_bits() >> 22 == Ipv4Addr::new(100, 64, 0, 0).to_bits() >> 22
}
