//! Which credentials go to an upstream: its own key, in the place of whatever the client sent, or
//! the client's, from which the gateway's keys were taken out when the request was admitted.

use http::{HeaderName, HeaderValue, header};
use pingora::http::RequestHeader;
use secrecy::{ExposeSecret, SecretString};

use crate::config::model::{KeyHeader, Upstream};
use crate::snapshot::PROTOCOL_KEY;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const API_KEY: HeaderName = HeaderName::from_static("api-key");
/// What every client of Anthropic's API sends, on its routes and on those that others have too.
const ANTHROPIC_VERSION: &str = "anthropic-version";

/// The fields that clients show keys in. Cookies are of the gateway's address, which all upstreams share.
const SHOWN_IN: [HeaderName; 7] = [
    header::COOKIE,
    HeaderName::from_static("ocp-apim-subscription-key"),
    HeaderName::from_static("xi-api-key"),
    header::AUTHORIZATION,
    X_API_KEY,
    API_KEY,
    HeaderName::from_static("x-goog-api-key"),
];

/// What becomes of the client's credentials.
pub struct Credentials {
    /// The upstream's own key as a field.
    own: Option<(HeaderName, HeaderValue)>,
    are_kept: bool,
}

impl Credentials {
    /// Those that `upstream` is sent for the client's request: where it has none of its own, the
    /// caller's, if they may go there.
    pub fn of(upstream: &Upstream, client: &RequestHeader, with_callers_key: bool) -> Self {
        let own = upstream.api_key.as_ref().map(|key| {
            match upstream.auth.unwrap_or_else(|| expected(client)) {
                KeyHeader::Bearer => (header::AUTHORIZATION, secret("Bearer ", key)),
                KeyHeader::XApiKey => (X_API_KEY, secret("", key)),
                KeyHeader::ApiKey => (API_KEY, secret("", key)),
            }
        });
        Self {
            are_kept: own.is_none() && with_callers_key,
            own,
        }
    }

    /// Whether a field of the client's stays here.
    pub fn replace(&self, name: &HeaderName) -> bool {
        !self.are_kept && SHOWN_IN.contains(name)
    }

    /// The field of the upstream's own key.
    pub fn field(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.own.as_ref()
    }

    /// What goes on of a browser's protocols, where there is a key among them that does not.
    pub fn protocols(&self, name: &HeaderName, value: &HeaderValue) -> Option<HeaderValue> {
        if self.are_kept || name != header::SEC_WEBSOCKET_PROTOCOL {
            return None;
        }
        HeaderValue::try_from(without_key(value)?).ok()
    }
}

/// How the API that the request speaks has a key.
fn expected(client: &RequestHeader) -> KeyHeader {
    match client.headers.contains_key(ANTHROPIC_VERSION)
        || client.uri.path().starts_with("/v1/messages")
    {
        true => KeyHeader::XApiKey,
        false => KeyHeader::Bearer,
    }
}

/// A browser's protocols but for the key among them; `None` where there is none.
fn without_key(protocols: &HeaderValue) -> Option<String> {
    let protocols = protocols.to_str().ok()?;
    let items = || protocols.split(',').map(str::trim);
    if !items().any(|item| item.starts_with(PROTOCOL_KEY)) {
        return None;
    }
    let kept: Vec<_> = items()
        .filter(|item| !item.starts_with(PROTOCOL_KEY))
        .collect();
    Some(kept.join(", "))
}

fn secret(scheme: &str, key: &SecretString) -> HeaderValue {
    // Validation lets no key through that is none.
    let mut value = HeaderValue::from_str(&[scheme, key.expose_secret()].concat())
        .unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
