//! Which header fields go on, in both directions.
//!
//! Fields of one hop stay on their hop (RFC 9110, section 7.6.1), framing is made anew on each
//! side, and the gateway's own request fields end here.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::http::{RequestHeader, ResponseHeader};
use secrecy::{ExposeSecret, SecretString};

use super::fail::Failure;
use super::path;
use crate::config::model::Upstream;
use crate::error::ApiError;
use crate::snapshot::Caller;
use crate::telemetry::traces::{TRACEPARENT, TRACESTATE, Trace};

/// Everything that begins so is addressed to the gateway.
const OWN_PREFIX: &str = "x-yychat-";

const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What a chat leg makes anew, or keeps to this hop.
const NOT_FORWARDED: [HeaderName; 5] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    // The gateway reads the answer that it passes on, for usage and for memory.
    header::ACCEPT_ENCODING,
];

/// The request header of a chat leg: `method` on the upstream's own path, the client's fields
/// that may go on, the right key, and an exact length.
pub fn chat_request(
    client: &RequestHeader,
    upstream: &Upstream,
    caller: &Caller,
    length: usize,
) -> Result<Box<RequestHeader>, Failure> {
    let internal = |error: Box<pingora::Error>| {
        Failure::from(ApiError::bad_request(format!(
            "The request cannot be forwarded: {error}"
        )))
    };
    // A copy keeps the case of names, and costs less than building it field by field.
    let mut request = Box::new(client.clone());
    let path = path::under(&client.uri, &upstream.base_url);
    // An HTTP/2 client's URI names the gateway as its authority.
    if path.as_bytes() != client.raw_path() || client.uri.authority().is_some() {
        request.set_raw_path(path.as_bytes()).map_err(internal)?;
    }
    request.set_method(Method::POST);
    request.set_version(http::Version::HTTP_11);
    let nominated = nominated(&client.headers);
    for name in client.headers.keys() {
        if is_hop_by_hop(name, &nominated) || is_own(name) || NOT_FORWARDED.contains(name) {
            request.remove_header(name);
        }
    }
    authorize(&mut request, upstream, caller).map_err(internal)?;
    request
        .insert_header(header::HOST, host(upstream))
        .map_err(internal)?;
    request
        .insert_header(header::CONTENT_LENGTH, length)
        .map_err(internal)?;
    Ok(request)
}

/// Points a pass-through request at its upstream; pingora strips hop-by-hop fields itself.
pub fn pass_through_request(
    request: &mut RequestHeader,
    upstream: &Upstream,
    caller: &Caller,
) -> pingora::Result<()> {
    let own: Vec<_> = request
        .headers
        .keys()
        .filter(|name| is_own(name))
        .cloned()
        .collect();
    for name in own {
        request.remove_header(&name);
    }
    authorize(request, upstream, caller)?;
    request.insert_header(header::HOST, host(upstream))
}

/// Makes the gateway's span the parent of the upstream's. Without traces, the client's own fields
/// go on as they came.
pub fn hand_on(trace: Option<&Trace>, request: &mut RequestHeader) {
    let Some(trace) = trace else {
        return;
    };
    if !trace.is_continued() {
        // It belongs to a trace that could not be read.
        request.remove_header(TRACESTATE);
    }
    if let Some(parent) = trace.traceparent() {
        // Name and value are of valid form.
        let _ = request.insert_header(TRACEPARENT, parent);
    }
}

/// The response header as the client gets it, framing apart.
pub fn response(upstream: &ResponseHeader) -> ResponseHeader {
    let mut header = upstream.clone();
    // One connection's HTTP version says nothing of the other's.
    header.set_version(http::Version::HTTP_11);
    end_hop(&mut header);
    header.remove_header(&header::TRANSFER_ENCODING);
    header
}

/// Takes out the fields that are for the upstream's own connection, `Transfer-Encoding` apart,
/// which whoever frames the body answers for.
pub fn end_hop(header: &mut ResponseHeader) {
    let nominated = nominated(&header.headers);
    let names = header.headers.keys();
    let dropped: Vec<_> = names
        .filter(|name| is_hop_by_hop(name, &nominated) && *name != header::TRANSFER_ENCODING)
        .cloned()
        .collect();
    for name in dropped {
        header.remove_header(&name);
    }
}

fn authorize(
    request: &mut RequestHeader,
    upstream: &Upstream,
    caller: &Caller,
) -> pingora::Result<()> {
    match &upstream.api_key {
        Some(key) => request.insert_header(header::AUTHORIZATION, bearer(key)),
        // A gateway key is no business of the upstream's.
        None if caller.key_in_authorization => {
            request.remove_header(&header::AUTHORIZATION);
            Ok(())
        }
        None => Ok(()),
    }
}

fn bearer(key: &SecretString) -> HeaderValue {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))
        .unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// `Host` of the upstream: with the port where it is not the scheme's own.
pub fn host(upstream: &Upstream) -> String {
    let url = &upstream.base_url;
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => [host, ":", itoa::Buffer::new().format(port)].concat(),
        None => host.to_owned(),
    }
}

fn nominated(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

fn is_hop_by_hop(name: &HeaderName, nominated: &[String]) -> bool {
    HOP_BY_HOP.contains(name) || nominated.iter().any(|nominee| nominee == name.as_str())
}

fn is_own(name: &HeaderName) -> bool {
    name.as_str().starts_with(OWN_PREFIX)
}
