//! The pass-through route: everything under `/v1/` that is not the gateway's own goes on
//! untouched, uploads and WebSocket upgrades included, through pingora's own loop.

use http::StatusCode;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use super::context::Context;
use super::fail::{Failure, rescue};
use super::{Gateway, headers, respond};
use crate::config::model::Upstream;
use crate::snapshot::Snapshot;
use crate::telemetry::Phase;

/// The upstream of this try: the first one, and after a failed connection the next.
pub async fn peer(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
) -> pingora::Result<Box<HttpPeer>> {
    context.ledger.enter(Phase::UpstreamConnect);
    let snapshot = context.snapshot.clone();
    let timeouts = &snapshot.config.timeouts;
    let Some(upstream) = current(&snapshot, context) else {
        return Err(Error::new(ErrorType::ConnectError));
    };
    context.upstream = Some(upstream.name.clone());
    match gateway.dialer.pass_through_peer(upstream, timeouts).await {
        Ok(peer) => Ok(Box::new(peer)),
        Err(error) => {
            gateway
                .metrics()
                .upstream_error(&upstream.name, error.kind.name());
            rescue(gateway, session, context, Failure::from(error.answer())).await?;
            Err(Error::new(ErrorType::ConnectError))
        }
    }
}

/// A connection failed: nothing was sent, so the next upstream, if there is one, may be tried.
pub fn connect_failed(
    gateway: &Gateway,
    context: &mut Context,
    mut error: Box<Error>,
) -> Box<Error> {
    let snapshot = context.snapshot.clone();
    if let Some(upstream) = current(&snapshot, context) {
        let failure = super::fail::UpstreamError::new(&upstream.name, &error);
        gateway
            .metrics()
            .upstream_error(&upstream.name, failure.kind.name());
    }
    context.tries += 1;
    error.set_retry(current(&snapshot, context).is_some());
    error
}

/// Points the request at the upstream.
pub fn request(request: &mut RequestHeader, context: &mut Context) -> pingora::Result<()> {
    let snapshot = context.snapshot.clone();
    let (Some(upstream), Some(caller)) = (current(&snapshot, context), context.caller.as_ref())
    else {
        return Err(Error::new(ErrorType::InternalError));
    };
    // It is made of a URI and a URL's path, so it is one.
    let uri = headers::upstream_path(request, upstream)
        .parse()
        .map_err(|_| Error::explain(ErrorType::InternalError, "the path is not a URI"))?;
    request.set_uri(uri);
    headers::pass_through_request(request, upstream, caller)?;
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
    context.status = response.status.as_u16();
    context.streamed = respond::is_event_stream(response);
    if context.streamed {
        respond::unbuffered(response);
    }
    respond::sign(response, context);
}

fn current<'a>(snapshot: &'a Snapshot, context: &Context) -> Option<&'a Upstream> {
    snapshot.config.upstreams.get(context.tries)
}
