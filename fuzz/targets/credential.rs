//! The header fields of a request that show a key: whoever is let in sent a key of the ring, whole
//! and in a field for it, and is given that key's tenant.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use yychat_fuzz::{config, error};

#[path = "../../src/snapshot/credential.rs"]
mod credential;
#[path = "../../src/snapshot/keys.rs"]
mod keys;
use keys::{Caller, KeyRing, Unproven};

const KEYS: [(&str, &str); 3] = [("sk-a", "one"), ("sk-ab", "two"), ("Bearer x", "three")];
const PROTOCOL: &[u8] = b"openai-insecure-api-key.";

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    KeyRing::new(&KEYS.map(|(key, tenant)| config::model::Key {
        name: tenant.into(),
        key: key.into(),
        tenant: tenant.into(),
        ..config::model::Key::default()
    }))
});

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in input.split(|&byte| byte == b'\n').take(8) {
        let (name, value) = match line.split_first() {
            Some((b'a', value)) => ("authorization", value),
            Some((b'o', value)) => ("x-yychat-api-key", value),
            Some((b'k', value)) => ("api-key", value),
            Some((b'w', value)) => ("sec-websocket-protocol", value),
            Some((b'c', value)) => ("cookie", value),
            Some((_, value)) => ("x-api-key", value),
            None => continue,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let tenants: Vec<_> = shown(&headers)
        .into_iter()
        .filter_map(|shown| {
            let mut keys = KEYS.iter();
            keys.find(|(key, _)| shown == key.as_bytes())
        })
        .map(|(_, tenant)| *tenant)
        .collect();
    match credential::prove(&headers, &RING) {
        Ok(caller) => assert_eq!(Some(&&*caller.tenant), tenants.first()),
        Err(error) => {
            assert_eq!((tenants.len(), error.status.as_u16()), (0, 401));
            assert!(KEYS.iter().all(|(key, _)| !error.message.contains(key)));
        }
    }
});

/// What the fields show, in the order of their strength, as slowly as it can be said.
fn shown(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let first = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    if let Some(own) = first("x-yychat-api-key") {
        return vec![own.to_vec()];
    }
    let mut shown = Vec::new();
    if let Some(value) = first("authorization") {
        let space = value.iter().position(u8::is_ascii_whitespace);
        let (scheme, rest) = value.split_at(space.unwrap_or(value.len()));
        match scheme.to_ascii_lowercase().as_slice() {
            b"bearer" => shown.push(rest.trim_ascii().to_vec()),
            b"basic" => shown.extend(pair(rest.trim_ascii())),
            _ => {}
        }
    }
    for name in ["x-api-key", "api-key"] {
        shown.extend(first(name).map(|value| value.trim_ascii().to_vec()));
    }
    for value in headers.get_all("sec-websocket-protocol") {
        for item in value.as_bytes().split(|&byte| byte == b',') {
            shown.extend(item.trim_ascii().strip_prefix(PROTOCOL).map(<[u8]>::to_vec));
        }
    }
    shown.retain(|key: &Vec<u8>| !key.is_empty());
    shown
}

/// User and password of Basic; some leave the padding out.
fn pair(token: &[u8]) -> Vec<Vec<u8>> {
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let Ok(pair) = GeneralPurpose::new(&STANDARD, lenient).decode(token) else {
        return vec![];
    };
    let mut parts = pair.splitn(2, |&byte| byte == b':').map(<[u8]>::to_vec);
    match (parts.next(), parts.next()) {
        (Some(user), Some(password)) => vec![user, password],
        _ => vec![],
    }
}
