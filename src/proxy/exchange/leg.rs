//! One leg of an exchange: connect, send, wait for the response header. A client that leaves
//! meanwhile takes the upstream's connection with it.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};
use pingora_timeout::timeout;

use super::fail::{Failure, UpstreamError};
use super::headers::ChatHeader;
use super::run::Chat;
use crate::config::model::Upstream;
use crate::dialect::Composed;
use crate::error::ApiError;
use crate::proxy::context::Context;
use crate::proxy::upstream::dialer::Connection;
use crate::telemetry::Phase;
use crate::turn::Continuation;
use crate::wire::coalesce;

/// Pieces of a body smaller than this are copied together before they are written.
const PIECE: usize = 64 * 1024;
/// A body larger than this is written so much at a time, an early answer being looked for between.
const SLICE: usize = 256 * 1024;
/// How long an answer is looked for after a write to the upstream has failed.
const EARLY_ANSWER: Duration = Duration::from_secs(1);

/// Sends the turn to the first upstream that serves its model and can be reached, and waits for
/// the response header. Another upstream is tried only while nothing was sent. `after` are the
/// rounds of tool calls that came before.
pub async fn leg(
    chat: Chat<'_>,
    session: &mut Session,
    context: &mut Context,
    after: Option<&Continuation>,
) -> Result<Box<Connection>, Failure> {
    let Chat {
        gateway,
        snapshot,
        turn,
        ..
    } = chat;
    let mut tries = gateway.health.tries(snapshot, turn.model());
    while let Some(tried) = tries.next(&gateway.health) {
        let upstream = &snapshot.config.upstreams[tried.place];
        context.upstream = Some(upstream.name.clone());
        context.ledger.enter(Phase::Compose);
        let composed = turn.compose(upstream.strict_roles, after);
        match attempt(chat, session, context, upstream, &composed).await? {
            Ok(connection) => {
                if let Some(header) = connection.session.response_header() {
                    tried.answered(header.status);
                }
                return Ok(connection);
            }
            Err(error) => {
                tried.failed(error.kind);
                tracing::warn!(
                    request_id = %context.request_id, upstream = error.upstream,
                    kind = error.kind.name(), why = error.why, "upstream failed"
                );
                gateway
                    .metrics()
                    .upstream_error(&error.upstream, error.kind.name());
                let answer = error.answer();
                if !error.kind.is_unsent() {
                    return Err(answer.into());
                }
                tries.unreachable(answer);
            }
        }
    }
    Err(tries
        .refusal()
        .unwrap_or_else(|| {
            ApiError::not_found(format!(
                "No upstream serves the model `{}`. Name it in the `models` of one of [[upstreams]].",
                turn.model().unwrap_or_default()
            ))
            .param("model")
            .code("model_not_found")
        })
        .into())
}

/// One upstream: connect, send, wait. A kept connection that turns out to have been closed before
/// the request reached it is replaced by another.
///
/// The outer error ends the request; the inner one is the upstream's.
async fn attempt(
    chat: Chat<'_>,
    session: &mut Session,
    context: &mut Context,
    upstream: &Upstream,
    composed: &Composed,
) -> Result<Result<Box<Connection>, UpstreamError>, Failure> {
    let Chat {
        gateway,
        snapshot,
        caller,
        ..
    } = chat;
    let timeouts = &snapshot.config.timeouts;
    loop {
        context.ledger.enter(Phase::UpstreamConnect);
        let connecting = gateway.dialer.connect(upstream, timeouts);
        let mut connection = match with_client(session, pin!(connecting)).await? {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(error)),
        };
        if !connection.reused {
            gateway.health.connected(upstream);
        }
        let acknowledged = match connection.reused {
            true => connection.bytes_acknowledged(),
            false => None,
        };
        let header = ChatHeader {
            client: session.req_header(),
            upstream,
            caller,
            trace: context.trace.as_ref(),
            length: composed.length,
        };
        let pieces = composed.pieces.iter().cloned();
        let sent = if connection.session.as_http1().is_some() && composed.length <= SLICE {
            let header = header.to_wire()?.freeze();
            let wire = coalesce([header].into_iter().chain(pieces), PIECE);
            let sending = connection.send_at_once(wire, timeouts.write);
            let (returned, sent) = with_client(session, pin!(sending)).await?;
            connection = returned;
            sent.map(|()| Sent::Whole)
        } else {
            let request = header.to_request()?;
            with_client(session, pin!(send(&mut connection, request, composed))).await?
        };
        context.ledger.enter(Phase::UpstreamTtfb);
        let answered = match sent {
            Ok(Sent::Answered) => Ok(()),
            Ok(Sent::Whole) => {
                with_client(session, pin!(wait(&mut connection, timeouts.first_byte))).await?
            }
            // It may have answered, 413 say, and closed without reading the rest.
            Err(error) => wait(&mut connection, EARLY_ANSWER).await.map_err(|_| error),
        };
        match answered {
            Ok(()) => return Ok(Ok(connection)),
            Err(error) if never_read(&connection, acknowledged, &error) => {
                tracing::debug!(request_id = %context.request_id, "kept connection was closed, dialling again");
            }
            Err(error) => return Ok(Err(UpstreamError::new(&upstream.name, &error))),
        }
    }
}

/// How far the request got.
enum Sent {
    /// All of it went out.
    Whole,
    /// The upstream answered before all of it was out.
    Answered,
}

async fn send(
    connection: &mut Connection,
    request: Box<RequestHeader>,
    composed: &Composed,
) -> pingora::Result<Sent> {
    let session = &mut connection.session;
    session.write_request_header(request).await?;
    let mut pieces = coalesce(composed.pieces.iter().cloned(), PIECE)
        .into_iter()
        .flat_map(slices)
        .peekable();
    while let Some(piece) = pieces.next() {
        session.write_request_body(piece, false).await?;
        if pieces.peek().is_none() {
            break;
        }
        // Cancelling a header read between two writes loses nothing: pingora keeps what it read.
        if let Some(read) = session.read_response_header().now_or_never() {
            read?;
            connection.spent = true;
            return Ok(Sent::Answered);
        }
    }
    session.finish_request_body().await?;
    Ok(Sent::Whole)
}

fn slices(piece: Bytes) -> impl Iterator<Item = Bytes> {
    let starts = (0..piece.len()).step_by(SLICE);
    starts.map(move |start| piece.slice(start..piece.len().min(start + SLICE)))
}

/// Reads response headers until a final one comes.
async fn wait(connection: &mut Connection, within: Duration) -> pingora::Result<()> {
    let session = &mut connection.session;
    // The one below bounds all reads together.
    session.set_read_timeout(None);
    let reading = async {
        loop {
            session.read_response_header().await?;
            match session.response_header().map(|header| header.status) {
                Some(StatusCode::SWITCHING_PROTOCOLS) | None => {
                    return Error::e_explain(
                        ErrorType::InvalidHTTPHeader,
                        "it switched protocols where an answer was due",
                    );
                }
                Some(status) if status.is_informational() => {}
                Some(_) => return Ok(()),
            }
        }
    };
    match timeout(within, reading).await {
        Ok(read) => read,
        Err(_) => Error::e_explain(
            ErrorType::ReadTimedout,
            format!("no response header within {within:?}"),
        ),
    }
}

/// Whether the upstream provably read nothing of the request, so that it may be sent again.
///
/// That is so where a kept connection was closed from the other side (an end of file, or a write
/// after it, which is EPIPE) and the close acknowledged no byte of the request: what its kernel
/// had not received when it closed, its program cannot have read. A reset proves nothing.
fn never_read(connection: &Connection, acknowledged: Option<u64>, error: &Error) -> bool {
    let closed = match error.etype() {
        ErrorType::ConnectionClosed => true,
        _ => error
            .root_cause()
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe),
    };
    connection.reused
        && closed
        && connection.session.response_header().is_none()
        && acknowledged.is_some()
        && connection.bytes_acknowledged() == acknowledged
}

/// Does `work` while watching whether the client leaves; if it does, `work` is dropped, and with
/// it the upstream's connection.
pub async fn with_client<T>(
    session: &mut Session,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        done = &mut work => Ok(done),
        left = departure(session) => match left {
            Some(why) => Err(Failure::ClientGone(why)),
            None => Ok(work.await),
        },
    }
}

/// Resolves when the client leaves, saying how, or when it can no longer be watched.
pub async fn departure(session: &mut Session) -> Option<String> {
    match session.as_downstream_mut().read_body_or_idle(true).await {
        // A client that pipelines its next request is still there. That request is not served:
        // the connection closes after this answer, and the client sends it again.
        Err(error) if *error.etype() == ErrorType::ConnectError => {
            session.set_keepalive(None);
            None
        }
        Err(error) => Some(format!("the client left: {}", error.etype().as_str())),
        Ok(_) => None,
    }
}
