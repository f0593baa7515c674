//! Admission: who asks, whether there is room, and for which route.

use super::guard::Guarded;
use super::path;
use super::strip::strip;
use crate::error::ApiError;
use crate::proxy::context::{Context, Route};
use crate::proxy::exchange::fail::Failure;
use crate::proxy::route::endpoint::Endpoint;
use crate::proxy::{Gateway, Session};
use crate::snapshot::{Caller, Snapshot, prove};
use crate::telemetry::Ledger;

/// Notes when the request began, proves the caller's key and finds the route.
pub fn admit(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
) -> Result<(Route, Caller), Failure> {
    if let Some(guarded) = Guarded::of(session) {
        context.ledger = Ledger::new(guarded.first_byte());
    }
    bound(session, &context.snapshot);
    if gateway.shared.live.is_closed() {
        // This process drains: the client's next request is another's.
        session.set_keepalive(None);
    }
    let request = session.req_header();
    let path = request.uri.path();
    if path != "/v1" && !path.starts_with("/v1/") {
        return Err(nothing_at(path, &context.snapshot).into());
    }
    let caller = prove(&request.headers, &context.snapshot.keys)?;
    context.caller = Some(caller.clone());
    strip(session.req_header_mut(), &context.snapshot.finder)?;
    let request = session.req_header();
    let path = request.uri.path();
    if let Some(tracer) = &gateway.shared.tracer {
        let trace = tracer.begin(request, context.snapshot.config.traces.sample_ratio);
        if trace.is_sampled() {
            context.ledger.keep_intervals();
        }
        context.trace = Some(trace);
    }
    let is_shared = gateway.shared.quota.is_shared();
    let config = &context.snapshot.config;
    let admission = gateway.overload.admit(&caller, config, is_shared);
    context.admission = Some(admission.map_err(|shed| {
        gateway.metrics().shed(shed.reason.name());
        shed.answer
    })?);
    context.endpoint = Endpoint::at(path);
    context.route = if gateway.local.owns(path) {
        Route::Local
    } else {
        path::expect_resolved(path)?;
        context.endpoint.route(&request.method)
    };
    Ok((context.route, caller))
}

fn nothing_at(path: &str, snapshot: &Snapshot) -> ApiError {
    let place = match snapshot.finder.is_in(path.as_bytes()) {
        // What is told is logged, too.
        true => "that path",
        false => &format!("`{path}`"),
    };
    ApiError::not_found(format!(
        "There is nothing at {place}. The API is under /v1/: set your client's base_url to end in \
         /v1."
    ))
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
