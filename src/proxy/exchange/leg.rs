//! One leg of an exchange: connect, send, wait for the response header. A client that leaves
//! meanwhile takes the upstream's connection with it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fail::Failure;
use super::headers::{Framing, RequestHead};
use super::send::{Form, Sent, Streamed, never_read, wait};
use super::watch::with_client;
use crate::config::model::Upstream;
use crate::error::ApiError;
use crate::proxy::context::Context;
use crate::proxy::edge::body::Body;
use crate::proxy::route::body::Look;
use crate::proxy::socket::lines;
use crate::proxy::upstream::connection::Connection;
use crate::proxy::upstream::dialer::Kept;
use crate::proxy::upstream::error::UpstreamError;
use crate::proxy::upstream::health::Tries;
use crate::proxy::{Gateway, Session};
use crate::snapshot::{Caller, Snapshot};
use crate::telemetry::Phase;

/// How long an answer is looked for after a write to the upstream has failed.
const EARLY_ANSWER: Duration = Duration::from_secs(1);

/// What all legs of one exchange have in common.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    pub gateway: &'a Gateway,
    /// The generation that the request keeps.
    pub snapshot: &'a Arc<Snapshot>,
    /// Whose key was proven.
    pub caller: &'a Caller,
}

/// A request as it is to be sent to one of several upstreams.
pub struct Outgoing<'a> {
    /// What is at hand of the body, as this upstream is to get it.
    pub compose: &'a (dyn Fn(&Upstream) -> Part + Sync),
    /// What the client has still to send. Taken when a connection is there: it can be sent once.
    pub rest: Option<(Body, Look)>,
    /// Whether the gateway reads the answer, so that its coding is not for the client to choose.
    pub reads_answer: bool,
    /// Whether the caller's own key may go to an upstream that has none of ours.
    pub with_callers_key: bool,
}

/// A body, or as much of it as is at hand.
pub struct Part {
    pub pieces: Vec<Bytes>,
    /// Of all of it.
    pub framing: Framing,
}

/// Sends the request to the first upstream that can be reached, and waits for the response header.
/// Another one is tried only while nothing was sent.
pub async fn leg(
    exchange: Exchange<'_>,
    session: &mut Session,
    context: &mut Context,
    mut tries: Tries,
    outgoing: &mut Outgoing<'_>,
) -> Result<Box<Connection>, Failure> {
    let Exchange {
        gateway, snapshot, ..
    } = exchange;
    while let Some(tried) = tries.next(&gateway.health) {
        let upstream = &snapshot.config.upstreams[tried.place];
        context.upstream = Some(upstream.name.clone());
        match attempt(exchange, session, context, upstream, outgoing).await? {
            Ok(connection) => {
                if let Some(header) = connection.session.response_header() {
                    let status = header.status.as_str();
                    gateway.metrics().upstream_answered(&upstream.name, status);
                    tried.answered(header.status);
                }
                return Ok(connection);
            }
            Err(error) => {
                tried.failed(error.kind);
                note(gateway, context, &error);
                let answer = error.answer();
                if !error.kind.is_unsent() {
                    return Err(answer.into());
                }
                tries.unreachable(answer);
            }
        }
    }
    Err(tries.refusal().unwrap_or_else(no_upstream).into())
}

/// Counts and logs an upstream's failure.
pub fn note(gateway: &Gateway, context: &Context, error: &UpstreamError) {
    tracing::warn!(
        request_id = %context.request_id, upstream = error.upstream,
        kind = error.kind.name(), why = error.why, "upstream failed"
    );
    gateway
        .metrics()
        .upstream_error(&error.upstream, error.kind.name());
}

/// None was chosen, though a choice has at least one.
fn no_upstream() -> ApiError {
    ApiError::bad_gateway("No upstream is left to ask.").code("upstream_unavailable")
}

/// One upstream: connect, send, wait. A kept connection that turns out to have been closed before
/// the request reached it is replaced by another.
///
/// The outer error ends the request; the inner one is the upstream's.
async fn attempt(
    exchange: Exchange<'_>,
    session: &mut Session,
    context: &mut Context,
    upstream: &Upstream,
    outgoing: &mut Outgoing<'_>,
) -> Result<Result<Box<Connection>, UpstreamError>, Failure> {
    let Exchange {
        gateway, snapshot, ..
    } = exchange;
    let timeouts = &snapshot.config.timeouts;
    context.ledger.enter(Phase::Compose);
    let part = (outgoing.compose)(upstream);
    if let Some(lines) = context.lines.clone() {
        let over = lines::Leg {
            exchange,
            upstream,
            part: &part,
            with_callers_key: outgoing.with_callers_key,
        };
        if let Some(asked) = Box::pin(lines.ask(over, session, context)).await? {
            return Ok(asked);
        }
    }
    let switches = part.framing == Framing::Upgrade;
    let kept = match &outgoing.rest {
        _ if switches => Kept::Upgrade,
        Some(_) => Kept::Refused,
        None => Kept::Allowed,
    };
    loop {
        context.ledger.enter(Phase::UpstreamConnect);
        let connecting = gateway.dialer.connect(upstream, timeouts, kept);
        let connection = match with_client(session, pin!(connecting)).await? {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(error)),
        };
        if !connection.reused {
            gateway.health.connected(snapshot, upstream);
        }
        let acknowledged = match connection.reused {
            true => connection.bytes_acknowledged(),
            false => None,
        };
        let head = RequestHead {
            client: session.req_header(),
            upstream,
            trace: context.trace.as_ref(),
            framing: part.framing,
            for_gateway: outgoing.reads_answer,
            with_callers_key: outgoing.with_callers_key,
        };
        let is_at_hand = outgoing.rest.is_none();
        let form = Form::of(&connection, head, &part, is_at_hand)?;
        let (mut connection, sent) = match form {
            Form::AtOnce(wire) => {
                let sending = connection.send_at_once(wire, timeouts.write);
                let (connection, written) = with_client(session, pin!(sending)).await?;
                let sent = written.map_or_else(Sent::Broken, |()| Sent::Whole);
                (connection, sent)
            }
            Form::Streamed(begin) => {
                let streamed = Streamed {
                    begin,
                    pieces: part.pieces.clone(),
                    rest: outgoing.rest.take(),
                    within: timeouts.write,
                };
                // Boxed, since most requests are sent at once.
                Box::pin(streamed.send(session, context, connection)).await?
            }
        };
        context.ledger.enter(Phase::UpstreamTtfb);
        let answered = match sent {
            Sent::Answered(read) => read,
            Sent::Whole => {
                let waiting = wait(&mut connection, timeouts.first_byte, switches);
                with_client(session, pin!(waiting)).await?
            }
            // It may have answered, 413 say, and closed without reading the rest.
            Sent::Broken(error) => {
                let early = wait(&mut connection, EARLY_ANSWER, switches).await;
                early.map_err(|_| error)
            }
        };
        match answered {
            Ok(()) => {
                connection.note_length();
                return Ok(Ok(connection));
            }
            Err(error) if is_at_hand && never_read(&connection, acknowledged, &error) => {
                tracing::debug!(request_id = %context.request_id, "kept connection was closed, dialling again");
            }
            Err(error) => return Ok(Err(UpstreamError::new(&upstream.name, &error))),
        }
    }
}

/// As much of a model's name as is shown.
pub fn shown(model: &str) -> String {
    const LENGTH: usize = 200;
    model[..model.floor_char_boundary(LENGTH)].to_owned()
}
