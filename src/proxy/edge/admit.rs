//! Admission: who asks, whether there is room, and for which route.

use http::{Method, StatusCode};
use pingora::proxy::Session;

use super::guard::Guarded;
use super::path;
use crate::error::ApiError;
use crate::proxy::Gateway;
use crate::proxy::context::{Context, Route};
use crate::proxy::exchange::fail::Failure;
use crate::snapshot::{Caller, Snapshot, prove};
use crate::telemetry::Ledger;

/// Notes when the request began, proves the caller's key and finds the route.
pub fn admit(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
) -> Result<(Route, Caller), Failure> {
    if let Some(guarded) = Guarded::of(session.as_downstream()) {
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
        return Err(ApiError::not_found(format!(
            "There is nothing at `{path}`. The API is under /v1/: set your client's base_url to \
             end in /v1."
        ))
        .into());
    }
    let caller = prove(&request.headers, &context.snapshot.keys)?;
    context.caller = Some(caller.clone());
    if let Some(tracer) = &gateway.shared.tracer {
        let trace = tracer.begin(request, context.snapshot.config.traces.sample_ratio);
        if trace.is_sampled() {
            context.ledger.keep_intervals();
        }
        context.trace = Some(trace);
    }
    let admission = gateway.overload.admit(&caller, &context.snapshot.config);
    context.admission = Some(admission.map_err(|shed| {
        gateway.metrics().shed(shed.reason.name());
        shed.answer
    })?);
    context.route = if path == "/v1/chat/completions" {
        if request.method != Method::POST {
            return Err(ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "Chat completions take POST.",
            )
            .into());
        }
        Route::Chat
    } else if gateway.local.owns(path) {
        Route::Local
    } else {
        path::expect_resolved(path)?;
        Route::PassThrough
    };
    Ok((context.route, caller))
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
