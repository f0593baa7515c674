//! Pages in a browser: which of them may read what the gateway answers (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! The gateway alone says so, by `[cors]`: what upstreams have to say of that is of their address, not
//! of this one, and is taken out.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use pingora::http::RequestHeader;

use super::respond::LocalResponse;
use crate::config::model::{Cors, Origins};
use crate::error::ApiError;

/// What a page may read of an answer beside the fields that all may: all of them.
pub const EXPOSED: &str = "x-yychat-request-id, x-yychat-generation, x-yychat-personality, \
                           x-yychat-memory, x-yychat-upstream, x-yychat-purpose, x-yychat-tools, \
                           x-yychat-budget-remaining, server-timing, retry-after, *";

const ALLOWED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// Seconds for which a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// What is told to a browser beside an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Whether answers differ by `Origin`.
    pub varies: bool,
    /// The value of `Access-Control-Allow-Origin`.
    pub allowed: Option<String>,
}

impl Sharing {
    /// What a request is told.
    pub fn of(cors: &Cors, headers: &HeaderMap) -> Self {
        let origin = headers.get(header::ORIGIN);
        let origin = origin.and_then(|origin| origin.to_str().ok());
        match &cors.origins {
            Origins::Any => Self {
                varies: false,
                allowed: origin.map(|_| "*".to_owned()),
            },
            Origins::Listed(listed) => Self {
                varies: !listed.is_empty(),
                allowed: origin
                    .filter(|origin| cors.origins.allow(origin))
                    .map(str::to_owned),
            },
        }
    }

    /// Gives each field, of valid form.
    pub fn fields(&self, mut put: impl FnMut(&'static str, &str)) {
        if self.varies {
            put("vary", "Origin");
        }
        if let Some(origin) = &self.allowed {
            put("access-control-allow-origin", origin);
            put("access-control-expose-headers", EXPOSED);
        }
    }
}

/// Whether a browser asks what a page may ask.
pub fn is_preflight(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(header::ORIGIN)
        && request
            .headers
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What it is told; the fields of [`Sharing`] go beside.
///
/// # Errors
///
/// 403 where no page of its origin may ask anything.
pub fn preflight(request: &RequestHeader, sharing: &Sharing) -> Result<LocalResponse, ApiError> {
    let asked = |name| request.headers.get(name).cloned();
    if sharing.allowed.is_none() {
        let origin = asked(header::ORIGIN);
        let origin = origin.as_ref().and_then(|origin| origin.to_str().ok());
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            format!(
                "Pages of `{}` may not use this gateway from a browser. Whoever runs it can add \
                 that origin to cors.origins.",
                origin.unwrap_or_default()
            ),
        ));
    }
    let body = Empty::<Bytes>::new().map_err(axum_core::Error::new);
    let mut answer = http::Response::new(body.boxed_unsync());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let fields = answer.headers_mut();
    fields.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(ALLOWED_METHODS),
    );
    if let Some(names) = asked(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    // Of a page on the public network that asks for an address on a private one.
    if asked(HeaderName::from_static(
        "access-control-request-private-network",
    ))
    .is_some()
    {
        fields.insert(
            HeaderName::from_static("access-control-allow-private-network"),
            HeaderValue::from_static("true"),
        );
    }
    fields.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    fields.insert(
        header::VARY,
        HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers"),
    );
    Ok(answer)
}

/// Whether a field of an upstream's answer says which pages may read it.
pub fn is_of_sharing(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}
