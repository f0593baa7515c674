//! The pass-through route: everything under `/v1/` that is not the gateway's own goes on
//! untouched, uploads and WebSocket upgrades included, through pingora's own loop.

use http::StatusCode;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use super::fail::{Failure, UpstreamError, UpstreamErrorKind, rescue};
use super::headers;
use crate::config::model::Upstream;
use crate::proxy::Gateway;
use crate::proxy::context::Context;
use crate::proxy::edge::{path, respond};
use crate::snapshot::Snapshot;
use crate::telemetry::Phase;

/// The upstream of this try: the first that is well, and after a failed connection the next.
pub async fn peer(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
) -> pingora::Result<Box<HttpPeer>> {
    context.ledger.enter(Phase::UpstreamConnect);
    let snapshot = context.snapshot.clone();
    let mut tries = match context.tries.take() {
        Some(tries) => tries,
        None => gateway.health.tries(&snapshot, None),
    };
    // pingora asks again for a request whose kept connection was closed: that is no other try.
    let mut again = context.attempt.take();
    while let Some(tried) = again.take().or_else(|| tries.next(&gateway.health)) {
        let upstream = &snapshot.config.upstreams[tried.place];
        context.upstream = Some(upstream.name.clone());
        let peer = gateway
            .dialer
            .pass_through_peer(upstream, &snapshot.config.timeouts);
        match peer.await {
            Ok(peer) => {
                context.attempt = Some(tried);
                context.tries = Some(tries);
                return Ok(Box::new(peer));
            }
            Err(error) => {
                gateway
                    .metrics()
                    .upstream_error(&upstream.name, error.kind.name());
                tried.failed(error.kind);
                tries.unreachable(error.answer());
            }
        }
    }
    if let Some(refusal) = tries.refusal() {
        rescue(gateway, session, context, Failure::from(refusal)).await?;
    }
    Err(Error::new(ErrorType::ConnectError))
}

/// A connection failed: nothing was sent, so the next upstream, if there is one, may be tried.
pub fn connect_failed(
    gateway: &Gateway,
    context: &mut Context,
    mut error: Box<Error>,
) -> Box<Error> {
    let (Some(tried), Some(tries)) = (context.attempt.take(), &mut context.tries) else {
        return error;
    };
    let upstream = &context.snapshot.config.upstreams[tried.place];
    let failure = UpstreamError::new(&upstream.name, &error);
    gateway
        .metrics()
        .upstream_error(&upstream.name, failure.kind.name());
    tried.failed(failure.kind);
    tries.unreachable(failure.answer());
    error.set_retry(tries.has_more());
    error
}

/// The request failed after it was sent.
pub fn failed(context: &mut Context, kind: UpstreamErrorKind) {
    if let Some(tried) = context.attempt.take() {
        tried.failed(kind);
    }
}

/// Points the request at the upstream.
pub fn request(request: &mut RequestHeader, context: &mut Context) -> pingora::Result<()> {
    let snapshot = context.snapshot.clone();
    let (Some(upstream), Some(caller)) = (current(&snapshot, context), context.caller.as_ref())
    else {
        return Err(Error::new(ErrorType::InternalError));
    };
    // It is made of a URI and a URL's path, so it is one.
    let uri = path::under(&request.uri, &upstream.base_url)
        .parse()
        .map_err(|_| Error::explain(ErrorType::InternalError, "the path is not a URI"))?;
    request.set_uri(uri);
    headers::pass_through_request(request, upstream, caller)?;
    if let Some(trace) = &context.trace {
        headers::hand_on(trace, request);
    }
    context.ledger.enter(Phase::UpstreamTtfb);
    Ok(())
}

/// Signs the answer.
pub fn response(response: &mut ResponseHeader, context: &mut Context) {
    // The fields of an upgrade are for both hops.
    if response.status != StatusCode::SWITCHING_PROTOCOLS {
        headers::end_hop(response);
    }
    context.ledger.enter(Phase::Stream);
    context.ledger.mark_first_chunk();
    if (!response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS)
        && let Some(tried) = context.attempt.take()
    {
        tried.answered(response.status);
    }
    context.status = response.status.as_u16();
    context.streamed = respond::is_event_stream(response);
    if context.streamed {
        respond::unbuffered(response);
    }
    respond::sign(response, context);
}

fn current<'a>(snapshot: &'a Snapshot, context: &Context) -> Option<&'a Upstream> {
    let place = context.attempt.as_ref()?.place;
    snapshot.config.upstreams.get(place)
}
