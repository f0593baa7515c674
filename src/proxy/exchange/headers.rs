//! Which header fields go on, in both directions.
//!
//! Fields of one hop stay on their hop (RFC 9110, section 7.6.1), framing is made anew on each
//! side, and the gateway's own request fields end here.

use std::fmt::Display;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};

use super::credentials::Credentials;
use super::fail::Failure;
use crate::config::model::Upstream;
use crate::error::ApiError;
use crate::proxy::edge::{cors, path};
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

/// What an upstream says of its own address, which is not this one, or to a server before it, which
/// would take the gateway's answer for that.
const OF_ITS_ADDRESS: [HeaderName; 11] = [
    header::ALT_SVC,
    header::STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("public-key-pins"),
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("x-accel-redirect"),
    HeaderName::from_static("x-sendfile"),
    HeaderName::from_static("x-lighttpd-send-file"),
];

/// What is made anew for an upstream, or kept to this hop.
const NOT_FORWARDED: [HeaderName; 4] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
];

/// How the end of a request's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Bodyless,
    /// So many bytes.
    Length(usize),
    /// Not before it has come.
    Chunked,
    /// The bytes after it are not HTTP any more, if the upstream agrees.
    Upgrade,
}

/// The header section of a request to an upstream: the client's method on the upstream's own path,
/// the client's fields that may go on, the right key, and the framing.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    pub client: &'a RequestHeader,
    pub upstream: &'a Upstream,
    /// Its span becomes the parent of the upstream's.
    pub trace: Option<&'a Trace>,
    pub framing: Framing,
    /// The gateway reads the answer that it passes on, so its coding is not for the client to
    /// choose.
    pub for_gateway: bool,
    /// Whether the caller's own key goes to an upstream that has none of ours.
    pub with_callers_key: bool,
}

impl RequestHead<'_> {
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
        wire.extend_from_slice(self.client.method.as_str().as_bytes());
        wire.extend_from_slice(b" ");
        wire.extend_from_slice(path.as_bytes());
        wire.extend_from_slice(b" HTTP/1.1\r\n");
        self.each(|name, value| {
            wire.extend_from_slice(name);
            wire.extend_from_slice(b": ");
            wire.extend_from_slice(value.as_bytes());
            wire.extend_from_slice(b"\r\n");
            Ok(())
        })?;
        if self.framing == Framing::Chunked {
            wire.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        wire.extend_from_slice(b"\r\n");
        Ok(wire)
    }

    /// As pingora takes it, which frames a body of unknown length itself.
    pub fn to_request(self) -> Result<Box<RequestHeader>, Failure> {
        let path = path::under(&self.client.uri, &self.upstream.base_url);
        let fields = self.client.headers.len() + 4;
        let method = self.client.method.clone();
        let mut request =
            RequestHeader::build(method, path.as_bytes(), Some(fields)).map_err(internal)?;
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
        let credentials = Credentials::of(self.upstream, self.client, self.with_callers_key);
        let nominated = nominated(&self.client.headers);
        let stays = |name: &HeaderName| {
            is_hop_by_hop(name, &nominated)
                || is_own(name)
                || NOT_FORWARDED.contains(name)
                || credentials.replace(name)
                || (self.for_gateway && name == header::ACCEPT_ENCODING)
                || self.trace.is_some_and(|trace| is_replaced(name, trace))
        };
        // Of an HTTP/2 client there are none.
        let mut written = self.client.case_header_iter();
        for (name, value) in &self.client.headers {
            let written = written.next();
            if stays(name) {
                continue;
            }
            let kept = credentials.protocols(name, value);
            if kept.as_ref().is_some_and(HeaderValue::is_empty) {
                continue;
            }
            let plain = name.as_str().as_bytes();
            put(
                written.map_or(plain, |(written, _)| written.as_slice()),
                kept.as_ref().unwrap_or(value),
            )?;
        }
        if let Some((name, key)) = credentials.field() {
            put(name.as_str().as_bytes(), key)?;
        }
        if let Some(parent) = self.trace.and_then(Trace::traceparent) {
            put(TRACEPARENT.as_bytes(), &parent)?;
        }
        match self.framing {
            Framing::Length(length) => put(b"Content-Length", &length.into()),
            Framing::Upgrade => {
                put(b"Connection", &HeaderValue::from_static("Upgrade"))?;
                let protocols = self.client.headers.get_all(header::UPGRADE);
                protocols
                    .iter()
                    .try_for_each(|protocol| put(b"Upgrade", protocol))
            }
            Framing::Bodyless | Framing::Chunked => Ok(()),
        }
    }
}

fn internal(error: Box<pingora::Error>) -> Failure {
    not_forwarded(error)
}

fn not_forwarded(why: impl Display) -> Failure {
    ApiError::bad_request(format!("The request cannot be forwarded: {why}")).into()
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
    // What an upgrade is to is for both hops.
    let is_upgrade = header.status == StatusCode::SWITCHING_PROTOCOLS;
    let upgraded = |name: &HeaderName| is_upgrade && *name == header::UPGRADE;
    let nominated = nominated(&header.headers);
    let names = header.headers.keys();
    let dropped: Vec<_> = names
        .filter(|name| {
            (is_hop_by_hop(name, &nominated) && !upgraded(name))
                || cors::is_of_sharing(name)
                || OF_ITS_ADDRESS.contains(name)
                // RFC 9110, section 8.6: there is no body to be of that length.
                || (header.status == StatusCode::NO_CONTENT && *name == header::CONTENT_LENGTH)
        })
        .cloned()
        .collect();
    for name in dropped {
        header.remove_header(&name);
    }
    one_length(&mut header);
    header
}

/// One length where it is told more than once, alike, as RFC 9110, section 8.6, lets a recipient: clients
/// refuse `42, 42`.
fn one_length(header: &mut ResponseHeader) {
    let mut lengths = header.headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return };
    let told = first.as_bytes().split(|&byte| byte == b',');
    let told = told.map(<[u8]>::trim_ascii).next().unwrap_or_default();
    if lengths.next().is_some() || told.len() < first.len() {
        let told = told.to_vec();
        // It was part of a value, so it is one.
        let _ = header.insert_header(header::CONTENT_LENGTH, told);
    }
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
