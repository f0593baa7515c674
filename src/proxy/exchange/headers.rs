//! Which header fields go on, in both directions.
//!
//! Fields of one hop stay on their hop (RFC 9110, section 7.6.1), framing is made anew on each
//! side, and the gateway's own request fields end here.

use std::fmt::Display;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::http::{RequestHeader, ResponseHeader};
use secrecy::{ExposeSecret, SecretString};

use super::fail::Failure;
use crate::config::model::Upstream;
use crate::error::ApiError;
use crate::proxy::edge::path;
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

/// The request header of a chat leg: POST on the upstream's own path, the client's fields that
/// may go on, the right key, and an exact length.
#[derive(Clone, Copy)]
pub struct ChatHeader<'a> {
    pub client: &'a RequestHeader,
    pub upstream: &'a Upstream,
    pub caller: &'a Caller,
    /// Its span becomes the parent of the upstream's.
    pub trace: Option<&'a Trace>,
    /// Bytes of the body.
    pub length: usize,
}

impl ChatHeader<'_> {
    /// As HTTP/1 has it on the wire. Costs a fraction of what a map of fields does.
    pub fn to_wire(self) -> Result<BytesMut, Failure> {
        const USUAL: usize = 1024;
        let mut wire = BytesMut::with_capacity(USUAL);
        let path = path::under(&self.client.uri, &self.upstream.base_url);
        if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(not_forwarded(
                "its path holds a control character or a space",
            ));
        }
        wire.extend_from_slice(b"POST ");
        wire.extend_from_slice(path.as_bytes());
        wire.extend_from_slice(b" HTTP/1.1\r\n");
        self.each(|name, value| {
            wire.extend_from_slice(name);
            wire.extend_from_slice(b": ");
            wire.extend_from_slice(value.as_bytes());
            wire.extend_from_slice(b"\r\n");
            Ok(())
        })?;
        wire.extend_from_slice(b"\r\n");
        Ok(wire)
    }

    /// As pingora takes it.
    pub fn to_request(self) -> Result<Box<RequestHeader>, Failure> {
        let path = path::under(&self.client.uri, &self.upstream.base_url);
        let fields = self.client.headers.len() + 4;
        let mut request =
            RequestHeader::build(Method::POST, path.as_bytes(), Some(fields)).map_err(internal)?;
        self.each(|name, value| {
            let name = Bytes::copy_from_slice(name);
            let appended = request.append_header(name, value.clone());
            appended.map(drop).map_err(internal)
        })?;
        Ok(Box::new(request))
    }

    /// Gives each field, its name as it is to be written.
    fn each(
        self,
        mut put: impl FnMut(&[u8], &HeaderValue) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let host = HeaderValue::try_from(host(self.upstream)).map_err(not_forwarded)?;
        put(b"Host", &host)?;
        let authorization = Authorization::of(self.upstream, self.caller);
        let nominated = nominated(&self.client.headers);
        let stays = |name: &HeaderName| {
            is_hop_by_hop(name, &nominated)
                || is_own(name)
                || NOT_FORWARDED.contains(name)
                || (name == header::AUTHORIZATION
                    && !matches!(authorization, Authorization::AsSent))
                || self.trace.is_some_and(|trace| is_replaced(name, trace))
        };
        // Of an HTTP/2 client there are none.
        let mut written = self.client.case_header_iter();
        for (name, value) in &self.client.headers {
            let written = written.next();
            if !stays(name) {
                let plain = name.as_str().as_bytes();
                put(
                    written.map_or(plain, |(written, _)| written.as_slice()),
                    value,
                )?;
            }
        }
        if let Authorization::Replaced(key) = &authorization {
            put(b"Authorization", key)?;
        }
        if let Some(parent) = self.trace.and_then(Trace::traceparent) {
            put(TRACEPARENT.as_bytes(), &parent)?;
        }
        put(b"Content-Length", &self.length.into())
    }
}

fn internal(error: Box<pingora::Error>) -> Failure {
    not_forwarded(error)
}

fn not_forwarded(why: impl Display) -> Failure {
    ApiError::bad_request(format!("The request cannot be forwarded: {why}")).into()
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
    match Authorization::of(upstream, caller) {
        Authorization::Replaced(key) => request.insert_header(header::AUTHORIZATION, key)?,
        Authorization::Dropped => drop(request.remove_header(&header::AUTHORIZATION)),
        Authorization::AsSent => {}
    }
    request.insert_header(header::HOST, host(upstream))
}

/// Makes the gateway's span the parent of the upstream's. Without traces, the client's own fields
/// go on as they came.
pub fn hand_on(trace: &Trace, request: &mut RequestHeader) {
    for name in [TRACEPARENT, TRACESTATE] {
        if is_replaced(&HeaderName::from_static(name), trace) {
            request.remove_header(name);
        }
    }
    if let Some(parent) = trace.traceparent() {
        // Name and value are of valid form.
        let _ = request.insert_header(TRACEPARENT, parent);
    }
}

/// Whether the client's field would contradict the gateway's `traceparent`.
fn is_replaced(name: &HeaderName, trace: &Trace) -> bool {
    // The state of a trace that could not be read.
    name == TRACEPARENT || (name == TRACESTATE && !trace.is_continued())
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

/// What becomes of the client's `Authorization`.
enum Authorization {
    /// The upstream has a key of its own.
    Replaced(HeaderValue),
    /// A gateway key is no business of the upstream's.
    Dropped,
    AsSent,
}

impl Authorization {
    fn of(upstream: &Upstream, caller: &Caller) -> Self {
        match &upstream.api_key {
            Some(key) => Self::Replaced(bearer(key)),
            None if caller.key_in_authorization => Self::Dropped,
            None => Self::AsSent,
        }
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

/// Whether it is one of the gateway's.
pub fn is_own(name: &HeaderName) -> bool {
    name.as_str().starts_with(OWN_PREFIX)
}
