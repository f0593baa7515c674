//! Which key a request shows, and whose it is.

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{Caller, KeyRing, Unproven};
use crate::error::ApiError;

/// The gateway's key, where `Authorization` holds the caller's own upstream key.
const GATEWAY_KEY: HeaderName = HeaderName::from_static("x-yychat-api-key");

/// The gateway's key is taken from `X-YYChat-Api-Key` where it is sent, so that `Authorization`
/// can carry the caller's own upstream key, and from `Authorization` otherwise.
pub fn prove(headers: &HeaderMap, keys: &KeyRing) -> Result<Caller, ApiError> {
    let own = headers.get(GATEWAY_KEY);
    let presented = match own {
        Some(value) => value.as_bytes(),
        None => headers
            .get(header::AUTHORIZATION)
            .and_then(|value| bearer(value.as_bytes()))
            .unwrap_or_default(),
    };
    let mut caller = keys.prove(presented).map_err(|why| {
        let message = match why {
            Unproven::Unknown if presented.is_empty() => {
                "No API key was sent. Send one of this gateway's keys as \
                 `Authorization: Bearer KEY`."
                    .to_owned()
            }
            Unproven::Unknown => "The API key is not one of this gateway's. Send one of \
                                  [[auth.keys]] as `Authorization: Bearer KEY`."
                .to_owned(),
            Unproven::Expired(end) => format!(
                "The API key expired at {end}. Ask whoever runs this gateway for another, or to \
                 move its `expires` in [[auth.keys]]."
            ),
        };
        ApiError::new(StatusCode::UNAUTHORIZED, message).code("invalid_api_key")
    })?;
    // Shown in both places, it must not go on either.
    let in_authorization = || {
        let fields = headers.get_all(header::AUTHORIZATION).iter();
        let mut tokens = fields.filter_map(|value| bearer(value.as_bytes()));
        tokens.any(|token| keys.holds(token))
    };
    caller.key_in_authorization &= own.is_none() || in_authorization();
    Ok(caller)
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::model::Key;

    fn shown(fields: &[(&'static str, &'static str)]) -> Result<(String, bool), String> {
        let keys = ["one", "two"].map(|tenant| Key {
            name: tenant.into(),
            key: format!("key-{tenant}").into(),
            tenant: tenant.into(),
            ..Key::default()
        });
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        prove(&headers, &KeyRing::new(&keys))
            .map(|caller| (caller.tenant.to_string(), caller.key_in_authorization))
            .map_err(|error| format!("{} {}", error.status.as_u16(), error.message))
    }

    #[test]
    fn a_key_is_taken_from_its_own_header_and_from_authorization_otherwise() {
        for (fields, expected) in [
            (&[("authorization", "Bearer key-one")][..], ("one", true)),
            (&[("authorization", "bEARER   key-two ")], ("two", true)),
            (&[("x-yychat-api-key", "key-two")], ("two", false)),
            (
                &[
                    ("authorization", "Bearer key-one"),
                    ("x-yychat-api-key", "key-two"),
                ],
                ("two", true),
            ),
            (
                &[
                    ("authorization", "Bearer sk-of-the-callers-own"),
                    ("x-yychat-api-key", "key-two"),
                ],
                ("two", false),
            ),
            (
                &[
                    ("authorization", "Bearer sk-upstream"),
                    ("x-yychat-api-key", "key-one"),
                ],
                ("one", false),
            ),
        ] {
            let (tenant, in_authorization) = expected;
            assert_eq!(shown(fields), Ok((tenant.into(), in_authorization)));
        }
    }

    #[test]
    fn nothing_else_is_a_key() {
        for fields in [
            &[("authorization", "key-one")][..],
            &[("authorization", "Basic key-one")],
            &[("authorization", "Bearerkey-one")],
            &[("authorization", "Bearer key-on")],
            &[
                ("authorization", "Bearer key-one"),
                ("x-yychat-api-key", ""),
            ],
            &[
                ("authorization", "Bearer no"),
                ("authorization", "Bearer key-one"),
            ],
            &[("x-api-key", "key-one")],
        ] {
            assert!(
                shown(fields).is_err_and(|told| told.starts_with("401 ")),
                "{fields:?}"
            );
        }
        let told = |fields| shown(fields).expect_err("no key");
        assert!(told(&[]).contains("No API key was sent"));
        assert!(told(&[("authorization", "Bearer ")]).contains("No API key was sent"));
        assert!(told(&[("authorization", "Bearer x")]).contains("is not one of this gateway's"));
    }
}
