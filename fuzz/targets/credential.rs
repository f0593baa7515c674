//! The header fields of a request that show a key: whoever is let in sent a key of the ring, whole
//! and in a field for it, and is given that key's tenant.
#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use yychat_fuzz::{config, error};

#[path = "../../src/snapshot/credential.rs"]
mod credential;
#[path = "../../src/snapshot/keys.rs"]
mod keys;
use keys::{Caller, KeyRing};

const KEYS: [(&str, &str); 3] = [("sk-a", "one"), ("sk-ab", "two"), ("Bearer x", "three")];

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    KeyRing::new(&KEYS.map(|(key, tenant)| config::model::Key {
        name: tenant.into(),
        key: key.into(),
        tenant: tenant.into(),
        rate: None,
    }))
});

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in input.split(|&byte| byte == b'\n').take(8) {
        let (name, value) = match line.split_first() {
            Some((b'a', value)) => ("authorization", value),
            Some((b'o', value)) => ("x-yychat-api-key", value),
            Some((_, value)) => ("x-api-key", value),
            None => continue,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let first = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let own = first("x-yychat-api-key");
    let (presented, in_authorization) = match (own, first("authorization")) {
        (Some(own), _) => (Some(own), false),
        (None, Some(value)) if value.len() > 7 && value[..7].eq_ignore_ascii_case(b"bearer ") => {
            (Some(value[7..].trim_ascii()), true)
        }
        _ => (None, false),
    };
    let owner = KEYS
        .iter()
        .find(|(key, _)| presented == Some(key.as_bytes()));
    match credential::prove(&headers, &RING) {
        Ok(caller) => {
            assert_eq!(Some(&*caller.tenant), owner.map(|(_, tenant)| *tenant));
            assert_eq!(caller.key_in_authorization, in_authorization);
        }
        Err(error) => {
            assert_eq!((owner, error.status.as_u16()), (None, 401));
            assert!(KEYS.iter().all(|(key, _)| !error.message.contains(key)));
        }
    }
});
