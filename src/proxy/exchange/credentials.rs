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

/// The fields that clients show keys in.
const SHOWN_IN: [HeaderName; 4] = [
    header::AUTHORIZATION,
    X_API_KEY,
    API_KEY,
    HeaderName::from_static("x-goog-api-key"),
];

/// The upstream's own key as a field; `None` where the client's credentials go on.
pub struct Credentials(Option<(HeaderName, HeaderValue)>);

impl Credentials {
    /// Those that `upstream` is sent for the client's request.
    pub fn of(upstream: &Upstream, client: &RequestHeader) -> Self {
        let own = upstream.api_key.as_ref().map(|key| {
            match upstream.auth.unwrap_or_else(|| expected(client)) {
                KeyHeader::Bearer => (header::AUTHORIZATION, secret("Bearer ", key)),
                KeyHeader::XApiKey => (X_API_KEY, secret("", key)),
                KeyHeader::ApiKey => (API_KEY, secret("", key)),
            }
        });
        Self(own)
    }

    /// Whether a field of the client's makes room for the upstream's own key.
    pub fn replace(&self, name: &HeaderName) -> bool {
        self.0.is_some() && SHOWN_IN.contains(name)
    }

    /// The field of the upstream's own key.
    pub fn field(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.0.as_ref()
    }

    /// Puts them into a request that is made of the client's.
    pub fn put_into(self, request: &mut RequestHeader) -> pingora::Result<()> {
        let Some((name, value)) = self.0 else {
            return Ok(());
        };
        for shown in &SHOWN_IN {
            request.remove_header(shown);
        }
        let protocols = request.headers.get(header::SEC_WEBSOCKET_PROTOCOL);
        if let Some(kept) = protocols.and_then(without_key) {
            request.remove_header(&header::SEC_WEBSOCKET_PROTOCOL);
            if !kept.is_empty() {
                request.insert_header(header::SEC_WEBSOCKET_PROTOCOL, kept)?;
            }
        }
        request.insert_header(name, value)
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
