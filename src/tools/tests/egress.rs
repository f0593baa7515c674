use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use url::Url;

use crate::tools::egress::{AllowedHosts, refusal};

/// Prefixes that no tool may reach.
const FORBIDDEN: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

fn forbidden() -> impl Strategy<Value = Ipv4Addr> {
    (prop::sample::select(FORBIDDEN), any::<u32>()).prop_map(|((network, bits), random)| {
        let host = random & (u32::MAX >> bits);
        Ipv4Addr::from_bits(network.to_bits() | host)
    })
}

/// Every spelling of an address that some URL parser takes.
fn spellings(address: Ipv4Addr) -> Vec<String> {
    let bits = address.to_bits();
    let [a, b, c, d] = address.octets();
    let low = bits & 0xff_ffff;
    vec![
        address.to_string(),
        format!("{bits}"),
        format!("0x{bits:x}"),
        format!("0{bits:o}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("{a}.{low}"),
        format!("{a}.{b}.{}", bits & 0xffff),
        format!("{address}."),
        format!("[::ffff:{address}]"),
        format!("[64:ff9b::{address}]"),
        format!("[64:ff9b:1::{address}]"),
        format!("[::{address}]"),
        format!("[2002:{:x}:{:x}::1]", bits >> 16, bits & 0xffff),
    ]
}

proptest! {
    #[test]
    fn no_spelling_of_a_forbidden_address_passes(address in forbidden()) {
        prop_assert!(refusal(IpAddr::V4(address)).is_some());
        for host in spellings(address) {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            prop_assert!(AllowedHosts::default().judge(&url).is_err(), "{host}");
        }
    }

    /// What std calls unfit for the public Internet is refused, whatever our own list says.
    #[test]
    fn nothing_passes_that_std_knows_to_be_local(bits: u32) {
        let address = Ipv4Addr::from_bits(bits);
        let local = address.is_loopback() || address.is_private() || address.is_link_local()
            || address.is_broadcast() || address.is_multicast() || address.is_unspecified()
            || address.is_documentation();
        prop_assert!(!local || refusal(address.into()).is_some());
        let mapped = IpAddr::V6(address.to_ipv6_mapped());
        prop_assert_eq!(refusal(mapped).is_some(), refusal(address.into()).is_some());
    }

    /// Of IPv6, only global unicast and what holds a public IPv4 address pass.
    #[test]
    fn only_global_unicast_passes(bits: u128) {
        let address = Ipv6Addr::from_bits(bits);
        let global = address.segments()[0] & 0xe000 == 0x2000;
        prop_assert!(global || refusal(address.into()).is_some());
    }
}

#[test]
fn public_addresses_pass() {
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::8.8.8.8",
    ] {
        assert_eq!(refusal(address.parse().unwrap()), None, "{address}");
    }
}

#[test]
fn what_has_a_name_of_its_own_is_refused() {
    for (address, why) in [
        ("168.63.129.16", "a cloud's metadata service"),
        ("100.100.100.200", "behind a carrier's NAT"),
        ("fd00:ec2::254", "a private address"),
        ("fe80::1", "a link-local address"),
        ("::1", "a loopback address"),
        ("::", "names this host"),
        ("ff02::1", "a multicast address"),
        ("2001::1", "a reserved address"),
        ("2001:db8::1", "a reserved address"),
        ("2002:7f00:1::", "6to4"),
        ("64:ff9b:1::1", "a network's own NAT64 address"),
        ("100::1", "a reserved address"),
        ("5f00::1", "a reserved address"),
    ] {
        let told = refusal(address.parse().unwrap()).unwrap_or_default();
        assert!(told.contains(why), "{address}: {told:?}");
    }
}

#[test]
fn a_listed_host_is_reached_anywhere_and_a_mixed_answer_is_sifted() {
    let local = "127.0.0.1:80".parse().unwrap();
    let public = "1.1.1.1:80".parse().unwrap();
    let allowed = AllowedHosts::new(vec!["Intranet".to_owned(), "[::1]".to_owned()]);
    assert_eq!(allowed.vet("intranet", vec![local]), Ok(vec![local]));
    assert!(allowed.vet("elsewhere", vec![local]).is_err());
    assert_eq!(
        allowed.vet("elsewhere", vec![local, public]),
        Ok(vec![public])
    );
    assert_eq!(allowed.vet("elsewhere", vec![]), Ok(vec![]));
    let url = |text: &str| Url::parse(text).unwrap();
    assert_eq!(allowed.judge(&url("http://[::1]:3000/")), Ok(()));
    assert!(allowed.judge(&url("http://[::2]/")).is_err());
}
