//! Which key a request shows, and whose it is.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, StatusCode, header};
use jiff::Timestamp;

use super::{Caller, KeyRing, Unproven};
use crate::error::ApiError;

/// The gateway's key where the caller's own upstream key stands in one of the other fields; what
/// this one shows is all that counts.
pub(super) const SHOWN_ALONE: HeaderName = HeaderName::from_static("x-yychat-api-key");
/// As Anthropic's clients send it …
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// … and Azure's.
const API_KEY: HeaderName = HeaderName::from_static("api-key");
/// What stands before a key among the protocols that a browser asks a WebSocket for, since it can
/// set no header field: <https://platform.openai.com/docs/guides/realtime-websocket>.
pub const PROTOCOL_KEY: &str = "openai-insecure-api-key.";

/// Some leave the padding out.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whose key a request shows. One right key lets it in, whatever stands in the other fields: a
/// caller's own upstream key may go beside it.
///
/// # Errors
///
/// 401 that says where a key was looked for.
pub fn prove(headers: &HeaderMap, keys: &KeyRing) -> Result<Caller, ApiError> {
    if keys.lets_all_in() {
        return Ok(Caller::anonymous());
    }
    let shown = shown(headers);
    let mut expired = None;
    for (_, key) in &shown {
        match keys.prove(key) {
            Ok(caller) => return Ok(caller),
            Err(Unproven::Expired(end)) => expired = Some(end),
            Err(Unproven::Unknown) => {}
        }
    }
    Err(refusal(headers, &shown, expired))
}

/// What may be keys, with the name of the field that each stands in.
pub(super) type Shown<'a> = Vec<(&'static str, Cow<'a, [u8]>)>;

/// In the order in which they are tried.
fn shown(headers: &HeaderMap) -> Shown<'_> {
    match headers.get(SHOWN_ALONE) {
        Some(key) => vec![("X-YYChat-Api-Key", Cow::Borrowed(key.as_bytes()))],
        None => beside(headers),
    }
}

/// What the other fields show; of those that stand more than once, the first.
pub(super) fn beside(headers: &HeaderMap) -> Shown<'_> {
    let first = |name| headers.get(name).map(|value| value.as_bytes());
    let mut shown = Vec::new();
    if let Some(value) = first(header::AUTHORIZATION) {
        let keys = authorization(value);
        shown.extend(keys.map(|key| ("Authorization", key)));
    }
    for (name, written) in [(X_API_KEY, "x-api-key"), (API_KEY, "api-key")] {
        if let Some(value) = first(name) {
            shown.push((written, Cow::Borrowed(value.trim_ascii())));
        }
    }
    for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        let protocols = value.as_bytes().split(|&byte| byte == b',');
        let keys = protocols.filter_map(|protocol| {
            let protocol = protocol.trim_ascii();
            protocol.strip_prefix(PROTOCOL_KEY.as_bytes())
        });
        shown.extend(keys.map(|key| ("Sec-WebSocket-Protocol", Cow::Borrowed(key))));
    }
    shown.retain(|(_, key)| !key.is_empty());
    shown
}

/// The token of `Bearer TOKEN`, or user and password of `Basic`; a scheme's case does not matter
/// (RFC 9110, section 11.1).
fn authorization(value: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let end = value.iter().position(u8::is_ascii_whitespace);
    let (scheme, token) = value.split_at(end.unwrap_or(value.len()));
    let token = token.trim_ascii();
    let mut keys = [None, None];
    if scheme.eq_ignore_ascii_case(b"bearer") {
        keys[0] = Some(Cow::Borrowed(token));
    } else if scheme.eq_ignore_ascii_case(b"basic")
        && let Ok(pair) = BASIC.decode(token)
        && let Some(colon) = pair.iter().position(|&byte| byte == b':')
    {
        keys[0] = Some(Cow::Owned(pair[..colon].to_vec()));
        keys[1] = Some(Cow::Owned(pair[colon + 1..].to_vec()));
    }
    keys.into_iter().flatten()
}

/// Where keys were found, for people.
pub(super) fn fields(shown: &Shown<'_>) -> String {
    let mut fields: Vec<_> = shown
        .iter()
        .map(|(field, _)| format!("`{field}`"))
        .collect();
    fields.dedup();
    fields.join(" or ")
}

fn refusal(headers: &HeaderMap, shown: &Shown<'_>, expired: Option<Timestamp>) -> ApiError {
    const SEND: &str = "Send one of this gateway's [[auth.keys]] as `Authorization: Bearer KEY`, \
                        `x-api-key: KEY` or `api-key: KEY`.";
    let fields = fields(shown);
    let message = match expired {
        Some(end) => format!(
            "The API key expired at {end}. Ask whoever runs this gateway for another, or to move \
             its `expires` in [[auth.keys]]."
        ),
        None if !fields.is_empty() => {
            format!("The API key in {fields} is not one of this gateway's. {SEND}")
        }
        None if headers.contains_key(header::AUTHORIZATION) => format!(
            "No API key was sent: `Authorization` is there, but is neither `Bearer KEY` nor \
             `Basic` with a key as user or password. {SEND}"
        ),
        None => format!("No API key was sent. {SEND}"),
    };
    ApiError::new(StatusCode::UNAUTHORIZED, message).code("invalid_api_key")
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use http::HeaderValue;

    use super::*;
    use crate::config::model::Key;

    fn shown(fields: &[(&'static str, &str)]) -> Result<String, String> {
        let keys = ["one", "two"].map(|tenant| Key {
            name: tenant.into(),
            key: format!("key-{tenant}").into(),
            tenant: tenant.into(),
            ..Key::default()
        });
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        prove(&headers, &KeyRing::new(&keys))
            .map(|caller| caller.tenant.to_string())
            .map_err(|error| format!("{} {}", error.status.as_u16(), error.message))
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn each_field_proves_a_key_and_one_right_one_is_enough() {
        let unpadded = basic("key-one:p").trim_end_matches('=').to_owned();
        for (fields, tenant) in [
            (&[("authorization", "Bearer key-one")][..], "one"),
            (&[("authorization", "bEARER   key-two ")], "two"),
            (&[("authorization", "bearer\tkey-two")], "two"),
            (&[("authorization", &basic("key-one:"))], "one"),
            (&[("authorization", &basic("user:key-one"))], "one"),
            (&[("authorization", &unpadded)], "one"),
            (&[("x-yychat-api-key", "key-two")], "two"),
            (&[("x-api-key", "key-one")], "one"),
            (&[("api-key", " key-two ")], "two"),
            (
                &[(
                    "sec-websocket-protocol",
                    "realtime, openai-insecure-api-key.key-one,x",
                )],
                "one",
            ),
            (
                &[
                    ("authorization", "Bearer key-one"),
                    ("x-yychat-api-key", "key-two"),
                ],
                "two",
            ),
            (
                &[
                    ("authorization", "Bearer sk-of-the-callers-own"),
                    ("x-api-key", "key-two"),
                ],
                "two",
            ),
            (
                &[
                    ("x-api-key", "sk-of-the-callers-own"),
                    ("authorization", "Bearer key-one"),
                ],
                "one",
            ),
            (
                &[("authorization", "Bearer"), ("api-key", "key-one")],
                "one",
            ),
        ] {
            assert_eq!(shown(fields), Ok(tenant.into()), "{fields:?}");
        }
    }

    #[test]
    fn nothing_else_is_a_key() {
        for fields in [
            &[("authorization", "key-one")][..],
            &[("authorization", "Basic key-one")],
            &[("authorization", &basic("key-one"))],
            &[("authorization", &basic("key-on:e"))],
            &[("authorization", "Bearerkey-one")],
            &[("authorization", "Bearer key-on")],
            &[("authorization", "Token key-one")],
            &[
                ("authorization", "Bearer key-one"),
                ("x-yychat-api-key", ""),
            ],
            &[
                ("authorization", "Bearer key-one"),
                ("x-yychat-api-key", "x"),
            ],
            &[
                ("authorization", "Bearer no"),
                ("authorization", "Bearer key-one"),
            ],
            &[("x-api-key", "Bearer key-one")],
            &[("x-goog-api-key", "key-one")],
            &[("cookie", "key=key-one")],
            &[("sec-websocket-protocol", "key-one")],
        ] {
            let told = shown(fields).expect_err("no key");
            assert!(told.starts_with("401 "), "{fields:?}: {told}");
            assert!(!told.contains("key-one"), "{told}");
        }
    }

    #[test]
    fn a_refusal_says_where_a_key_was_looked_for() {
        let told = |fields| shown(fields).expect_err("no key");
        assert!(told(&[]).contains("No API key was sent. Send"));
        assert!(told(&[("authorization", "Bearer ")]).contains("No API key was sent"));
        assert!(told(&[("authorization", "x")]).contains("`Authorization` is there, but"));
        let both = told(&[("authorization", "Bearer x"), ("api-key", "y")]);
        assert!(
            both.contains("in `Authorization` or `api-key` is not one of this gateway's"),
            "{both}"
        );
        let basic = told(&[("authorization", &basic("user:pass"))]);
        assert!(basic.contains("in `Authorization` is not"), "{basic}");
    }

    #[test]
    fn without_keys_nobody_is_asked_for_one() {
        let ring = || KeyRing::new(&[]);
        assert!(prove(&HeaderMap::new(), &ring().open_without_keys(true)).is_ok());
        assert!(prove(&HeaderMap::new(), &ring()).is_err());
    }
}
