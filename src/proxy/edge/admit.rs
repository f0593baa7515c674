//! Admission: who asks, whether there is room, and for which route.

use std::borrow::Cow;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, header};
use http_body_util::{BodyExt, Full};
use pingora::http::RequestHeader;

use super::cors::{self, Sharing};
use super::guard::Guarded;
use super::local::Local;
use super::path;
use super::respond::LocalResponse;
use super::strip::strip;
use crate::config::model::Dialect;
use crate::error::ApiError;
use crate::proxy::context::{Context, Route};
use crate::proxy::exchange::fail::Failure;
use crate::proxy::route::endpoint::Endpoint;
use crate::proxy::{Gateway, Session};
use crate::snapshot::{Caller, Snapshot, prove};
use crate::telemetry::Ledger;

/// What becomes of a request.
pub enum Admitted {
    /// It is its route's to serve.
    To(Route, Caller),
    /// Nothing has to be proven for what it asks.
    Answer(LocalResponse),
}

/// Notes when the request began, writes its path as the gateway does, proves the caller's key and finds
/// the route.
pub fn admit(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
) -> Result<Admitted, Failure> {
    if let Some(guarded) = Guarded::of(session) {
        context.ledger = Ledger::new(guarded.first_byte());
    }
    bound(session, &context.snapshot);
    if gateway.shared.live.is_closed() {
        // This process drains: the client's next request is another's.
        session.set_keepalive(None);
    }
    let snapshot = context.snapshot.clone();
    let request = session.req_header_mut();
    context.sharing = Sharing::of(&snapshot.config.cors, &request.headers);
    if cors::is_preflight(request) {
        let answer = cors::preflight(request, &context.sharing)?;
        context.route = Route::Local;
        return Ok(Admitted::Answer(answer));
    }
    spell(request, &gateway.local)?;
    let path = request.uri.path();
    if path == "/" && [Method::GET, Method::HEAD].contains(&request.method) {
        context.route = Route::Local;
        return Ok(Admitted::Answer(greeting()));
    }
    if !path::is_under_v1(path) {
        return Err(nothing_at(path, &snapshot).into());
    }
    let caller = prove(&request.headers, &snapshot.keys)?;
    context.caller = Some(caller.clone());
    strip(request, &snapshot.finder)?;
    if let Some(tracer) = &gateway.shared.tracer {
        let trace = tracer.begin(request, snapshot.config.traces.sample_ratio);
        if trace.is_sampled() {
            context.ledger.keep_intervals();
        }
        context.trace = Some(trace);
    }
    // Each response on a socket takes of the rate, and opening it does not.
    let is_socket = context.as_sent.is_some() && request.uri.path() == Dialect::Responses.path();
    let is_shared = gateway.shared.quota.is_shared() || is_socket;
    let admission = gateway.overload.admit(&caller, &snapshot.config, is_shared);
    context.admission = Some(admission.map_err(|shed| {
        gateway.metrics().shed(shed.reason.name());
        shed.answer
    })?);
    context.endpoint = Endpoint::at(request.uri.path());
    context.route = if gateway.local.owns(request.uri.path()) {
        Route::Local
    } else {
        context.endpoint.route(&request.method)
    };
    Ok(Admitted::To(context.route, caller))
}

/// Writes the path in the one spelling that everyone behind this reads.
fn spell(request: &mut RequestHeader, local: &Local) -> Result<(), ApiError> {
    let is_ours = |path: &str| Endpoint::at(path).is_known() || local.owns(path);
    let Cow::Owned(path) = path::spelled(request.uri.path(), is_ours)? else {
        return Ok(());
    };
    let target = match request.uri.query() {
        Some(query) => [&path, "?", query].concat(),
        None => path,
    };
    let target = PathAndQuery::try_from(target)
        .map_err(|_| ApiError::bad_request("The path of the request is none."))?;
    request.set_uri(target.into());
    Ok(())
}

/// For people and programs that look whether anyone is there.
fn greeting() -> LocalResponse {
    const GREETING: &str = "This is yychat, a gateway to language models. Its OpenAI-compatible \
                            API is under /v1/ here: set your client's base_url to this address \
                            with /v1 at its end.\n";
    let body = Full::new(Bytes::from_static(GREETING.as_bytes())).map_err(axum_core::Error::new);
    let mut answer = http::Response::new(body.boxed_unsync());
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, GREETING.len().into());
    answer
}

fn nothing_at(path: &str, snapshot: &Snapshot) -> ApiError {
    let place = match snapshot.finder.is_in(path.as_bytes()) {
        // What is told is logged, too.
        true => "that path",
        false => &format!("`{path}`"),
    };
    ApiError::not_found(match path.starts_with("/api/") {
        true => format!(
            "Ollama's own API (`/api/…`) is not served here, so there is nothing at {place}. The \
             OpenAI-compatible API is under /v1: add this gateway to your client as an \
             OpenAI-compatible server, with a base_url that ends in /v1."
        ),
        false => format!(
            "There is nothing at {place}. The API is under /v1/: set your client's base_url to \
             end in /v1."
        ),
    })
}

/// Bounds what pingora leaves unbounded on the client's side.
fn bound(session: &mut Session, snapshot: &Snapshot) {
    let timeouts = &snapshot.config.timeouts;
    session.set_read_timeout(Some(timeouts.body_idle));
    session.set_write_timeout(Some(timeouts.write));
    session.set_total_drain_timeout(Some(timeouts.write));
    if session.get_keepalive().is_some() {
        session.set_keepalive(Some(timeouts.keepalive.as_secs().max(1)));
    }
}
