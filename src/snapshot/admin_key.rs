//! `server.admin_key`, and whether a request shows it.

use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret;
use subtle::{Choice, ConstantTimeEq};

use super::credential::{SHOWN_ALONE, beside, fields};
use super::keys::{KeyDigest, digest};
use crate::config::model::Server;
use crate::error::ApiError;

/// Names this key in `error.param`, by which the page tells a refusal for want of it from others.
pub const PARAM: &str = "server.admin_key";

/// The key as a digest, so that comparing takes the same time whatever was presented.
pub struct AdminKey(Option<KeyDigest>);

impl AdminKey {
    pub fn of(server: &Server) -> Self {
        let key = server.admin_key.as_ref();
        Self(key.map(|key| digest(key.expose_secret().as_bytes())))
    }

    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a request shows it in any of the fields that may show a key: an app's may stand in
    /// another of them.
    ///
    /// # Errors
    ///
    /// 401 that says where it was looked for. Where there is none, nobody shows it.
    pub fn prove(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let alone = headers.get(SHOWN_ALONE).map(|key| key.as_bytes().into());
        let mut shown = beside(headers);
        shown.extend(alone.map(|key| ("X-YYChat-Api-Key", key)));
        let right = shown.iter().fold(Choice::from(0), |right, (_, key)| {
            let known = self.0.unwrap_or_default();
            right | known.ct_eq(&digest(key))
        });
        if self.is_set() && bool::from(right) {
            return Ok(());
        }
        let found = match fields(&shown) {
            names if names.is_empty() => "no key was sent".to_owned(),
            names => format!("the key in {names} is another"),
        };
        let message = format!(
            "This takes the key of {PARAM}, and {found}. Send it as `Authorization: Bearer KEY`, \
             with an app's key, where that is asked for too, as `X-YYChat-Api-Key: KEY`."
        );
        let refusal = ApiError::new(StatusCode::UNAUTHORIZED, message);
        Err(refusal.code("invalid_api_key").param(PARAM))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use http::HeaderName;

    use super::*;

    const KEY: &str = "admin-0123456789-key";

    fn asked<const N: usize>(key: &AdminKey, fields: [(&str, &str); N]) -> Result<(), ApiError> {
        let fields = fields.into_iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        });
        key.prove(&fields.collect())
    }

    #[test]
    fn it_is_proven_in_each_field_and_beside_an_apps_key() {
        let key = AdminKey(Some(digest(KEY.as_bytes())));
        let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
        let bearer = format!("Bearer {KEY}");
        for fields in [
            [
                ("authorization", &*bearer),
                ("x-yychat-api-key", "an-app's"),
            ],
            [
                ("authorization", &*basic(format!("admin:{KEY}"))),
                ("a", "b"),
            ],
            [("authorization", &*basic(format!("{KEY}:"))), ("a", "b")],
            [("authorization", "Bearer an-app's"), ("x-api-key", KEY)],
            [("x-yychat-api-key", KEY), ("api-key", "an-app's")],
        ] {
            assert!(asked(&key, fields).is_ok(), "{fields:?}");
        }
    }

    #[test]
    fn nothing_else_is_it() {
        let key = AdminKey(Some(digest(KEY.as_bytes())));
        for value in [
            "",
            &KEY[1..],
            &*KEY.to_uppercase(),
            &*format!("{KEY}x"),
            "%61",
        ] {
            let refusal = asked(&key, [("authorization", &format!("Bearer {value}"))]).unwrap_err();
            assert_eq!(refusal.status, StatusCode::UNAUTHORIZED, "{value}");
            assert!(!refusal.message.contains(KEY), "{}", refusal.message);
        }
        for fields in [
            [("cookie", KEY)],
            [("referer", KEY)],
            [("authorization", KEY)],
        ] {
            assert!(asked(&key, fields).is_err(), "{fields:?}");
        }
        let none = AdminKey(None);
        assert!(!none.is_set());
        assert!(asked(&none, [("authorization", "Bearer ")]).is_err());
        assert!(asked(&none, [("x-api-key", KEY)]).is_err());
    }
}
