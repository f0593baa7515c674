//! Relaying an answer: the same bytes as they come, while an observer reads a copy.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{StatusCode, header};
use pingora::protocols::http::client::HttpSession;
use pingora::proxy::Session;

use super::fail::{Failure, UpstreamError, UpstreamErrorKind};
use super::headers;
use super::leg::departure;
use super::run::Chat;
use super::tee::Tee;
use crate::proxy::Gateway;
use crate::proxy::context::Context;
use crate::proxy::edge::guard::Guarded;
use crate::proxy::edge::respond;
use crate::proxy::upstream::dialer::Connection;
use crate::telemetry::Phase;

/// How long an answer is, as its header tells the client.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    /// As the upstream has it.
    Same,
    /// Not known before its end.
    Unknown,
    /// So many bytes.
    Exactly(usize),
}

/// Passes the answer on to its end. `read` is what of it was read before.
pub async fn run(
    chat: Chat<'_>,
    session: &mut Session,
    context: &mut Context,
    mut connection: Box<Connection>,
    read: Vec<Bytes>,
) -> Result<(), Failure> {
    let gateway = chat.gateway;
    let timeouts = &chat.snapshot.config.timeouts;
    context.ledger.enter(Phase::Stream);
    let mut first = match read.is_empty() {
        // Giving up a read of the body loses nothing: pingora keeps what it read.
        true => connection.session.read_response_body().now_or_never(),
        false => None,
    };
    let guard = Guarded::of(session.as_downstream()).map(Guarded::shared);
    let cork = |corked| guard.iter().for_each(|guard| guard.cork(corked));
    // What has come with the header goes out with it, in one packet.
    cork(matches!(first, Some(Ok(Some(_)))));
    let succeeded = head(session, context, &connection, Length::Same).await;
    cork(false);
    let mut tee = match succeeded? {
        true => Tee::new(context.streamed, chat.turn.dialect(), context.wanted()),
        false => Tee::Blind,
    };
    connection
        .session
        .set_read_timeout(Some(timeouts.stream_idle));
    let mut read = read.into_iter();
    loop {
        let chunk = match (read.next(), first.take()) {
            (Some(chunk), _) => Some(chunk),
            (None, Some(first)) => first.map_err(|error| truncated(gateway, context, &error))?,
            (None, None) => next_chunk(gateway, session, context, &mut connection).await?,
        };
        let Some(chunk) = chunk else { break };
        pass_on(session, chunk.clone(), false).await?;
        context.ledger.mark_first_chunk();
        tee.feed(&chunk);
    }
    finish_body(session, &mut connection).await?;
    context.ledger.enter(Phase::Other);
    context.answer = tee.finish();
    if context.streamed {
        gateway.dialer.release_after_stream(connection, timeouts);
    } else {
        gateway.dialer.release(connection, timeouts).await;
    }
    Ok(())
}

/// The next bytes of the answer, while the client is watched; `None` at its clean end.
pub async fn next_chunk(
    gateway: &Gateway,
    session: &mut Session,
    context: &Context,
    connection: &mut Connection,
) -> Result<Option<Bytes>, Failure> {
    let chunk = tokio::select! {
        biased;
        chunk = connection.session.read_response_body() => chunk,
        Some(why) = departure(session) => {
            connection.session.shutdown().await;
            return Err(Failure::ClientGone(why));
        }
    };
    chunk.map_err(|error| truncated(gateway, context, &error))
}

/// Writes the response header; tells whether it is a success.
pub async fn head(
    session: &mut Session,
    context: &mut Context,
    connection: &Connection,
    length: Length,
) -> Result<bool, Failure> {
    let upstream = connection
        .session
        .response_header()
        .ok_or_else(|| Failure::Truncated("no response header was read".into()))?;
    let mut header = headers::response(upstream);
    context.status = header.status.as_u16();
    if respond::is_event_stream(&header) {
        context.begin_stream();
        respond::unbuffered(&mut header);
    }
    match length {
        Length::Same => {}
        Length::Unknown => drop(header.remove_header(&header::CONTENT_LENGTH)),
        Length::Exactly(length) => {
            // A number is of valid form.
            let _ = header.insert_header(header::CONTENT_LENGTH, length);
        }
    }
    let bodyless = matches!(
        header.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !bodyless && !header.headers.contains_key(header::CONTENT_LENGTH) {
        respond::frame(&mut header, session);
    }
    let succeeded = header.status.is_success();
    respond::head(session, context, header)
        .await
        .map_err(|error| Failure::client(&error))?;
    Ok(succeeded)
}

/// Ends the answer, with the upstream's trailers where both sides speak HTTP/2.
async fn finish_body(session: &mut Session, connection: &mut Connection) -> Result<(), Failure> {
    if let HttpSession::H2(h2) = &mut connection.session
        && let Ok(Some(trailers)) = h2.read_trailers().await
        && session.as_downstream().is_http2()
    {
        let written = session
            .as_downstream_mut()
            .write_response_trailers(trailers);
        return written.await.map_err(|error| Failure::client(&error));
    }
    pass_on(session, Bytes::new(), true).await
}

/// Writes a piece of the answer's body, the last one where it is the `end`.
pub async fn pass_on(session: &mut Session, chunk: Bytes, end: bool) -> Result<(), Failure> {
    session
        .as_downstream_mut()
        .write_response_body(chunk, end)
        .await
        .map_err(|error| Failure::client(&error))
}

fn truncated(gateway: &Gateway, context: &Context, error: &pingora::Error) -> Failure {
    let upstream = context.upstream.as_deref().unwrap_or_default();
    let error = UpstreamError::new(upstream, error);
    gateway
        .metrics()
        .upstream_error(upstream, UpstreamErrorKind::Truncated.name());
    tracing::warn!(
        request_id = %context.request_id, upstream, why = error.why,
        "upstream broke off in the middle of its answer"
    );
    Failure::Truncated(format!("the upstream broke off: {}", error.why))
}
