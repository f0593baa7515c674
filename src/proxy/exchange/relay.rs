//! Relaying an answer: the same bytes as they come, while an observer reads a copy.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, StatusCode, header};
use pingora::protocols::http::client::HttpSession;

use super::fail::Failure;
use super::leg::Exchange;
use super::tee::Tee;
use super::upload::Cut;
use super::watch::departure;
use super::{form, headers, location};
use crate::dialect::Unasked;
use crate::proxy::context::Context;
use crate::proxy::edge::guard::Guarded;
use crate::proxy::edge::respond;
use crate::proxy::upstream::coding::Decoder;
use crate::proxy::upstream::connection::{Connection, read_body};
use crate::proxy::upstream::error::{UpstreamError, UpstreamErrorKind};
use crate::proxy::{Gateway, Session};
use crate::telemetry::Phase;
use crate::wire::frame::form::Form;

/// Small chunks that have come together are passed on together, up to so many bytes.
pub const PIECE: usize = 16 * 1024;

/// How long an answer is, as its header tells the client.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    /// As the upstream has it.
    Same,
    /// Not known before its end.
    Unknown,
    /// So many bytes.
    Exactly(usize),
    /// Not known, and told as a stream of events, which the upstream's is not.
    Events,
    /// So many bytes of JSON, where the upstream's is a stream.
    Json(usize),
}

/// Passes the answer on to its end. `read` is what of it was read before.
pub async fn run(
    exchange: Exchange<'_>,
    session: &mut Session,
    context: &mut Context,
    mut connection: Box<Connection>,
    mut read: Vec<Bytes>,
) -> Result<(), Failure> {
    let gateway = exchange.gateway;
    let timeouts = &exchange.snapshot.config.timeouts;
    context.ledger.enter(Phase::Stream);
    let may_hide = context.hides_usage && connection.is_success();
    if may_hide && read.is_empty() {
        connection.undo_coding();
    }
    let may_hide = may_hide && connection.is_readable();
    let hides = may_hide && streams(gateway, session, context, &mut connection, &mut read).await?;
    let mut ahead = match read.is_empty() {
        true => at_hand(&mut connection),
        false => None,
    };
    connection
        .session
        .set_read_timeout(Some(timeouts.stream_idle));
    if ahead.is_none() && read.is_empty() && !connection.announces_stream() {
        // Of a whole answer a header alone is no use, and while it waits an upstream that breaks off
        // here can be told of.
        let first = next_chunk(gateway, session, context, &mut connection).await?;
        ahead = Some(Ok(first));
    }
    if let Some(Err(error)) = &ahead {
        return Err(truncated(gateway, context, error));
    }
    // What has come with the header goes out with it, in one packet.
    let succeeded = match ahead {
        // What is left of a piece may be nothing.
        _ if hides => head(session, context, &connection, Length::Unknown).await?,
        Some(Ok(Some(_))) => head_before(session, context, &connection, Length::Same).await?,
        _ => head(session, context, &connection, Length::Same).await?,
    };
    // Only the copy is decoded.
    let header = connection.session.response_header();
    let coded = header.filter(|_| !connection.is_readable());
    let mut decoder = coded.and_then(Decoder::new);
    let mut tee = match context.dialect {
        Some(dialect) if succeeded => Tee::new(connection.told_form(), dialect, context.wanted()),
        _ => Tee::Blind,
    };
    let mut unasked = (hides && succeeded).then(Unasked::default);
    if !succeeded {
        context.learning = None;
    }
    let mut read = read.into_iter();
    let passed = loop {
        let piece = match read.next() {
            Some(piece) => Ok(Some(piece)),
            None => next_piece(gateway, session, context, &mut connection, &mut ahead).await,
        };
        let piece = match piece {
            Ok(Some(piece)) => piece,
            Ok(None) => break Ok(()),
            Err(failure) => break Err(failure),
        };
        // Before the client can ask for it.
        learn(gateway, context, &piece).await;
        // So does the end go out with what it has come with; one of HTTP/2 has trailers to wait for.
        let is_last = matches!(ahead, Some(Ok(None))) && connection.session.as_http2().is_none();
        cork(session, is_last);
        let passed = match &mut unasked {
            None => pass_on(session, piece.clone(), false).await,
            Some(unasked) => pass_all(session, unasked.feed(&piece)).await,
        };
        cork(session, false);
        context.ledger.mark_first_chunk();
        match &mut decoder {
            None => tee.feed(&piece),
            Some(decoder) => tee.feed_coded(decoder, piece),
        }
        match tee.form() {
            Some(Form::Stream) if !context.streamed => context.begin_stream(),
            Some(form) => context.streamed = form == Form::Stream,
            None => {}
        }
        if passed.is_err() {
            break passed;
        }
    };
    if let Err(failure) = passed {
        context.broken = tee.finish();
        return Err(failure);
    }
    if let Some(rest) = unasked.and_then(|mut unasked| unasked.finish()) {
        pass_on(session, rest, false).await?;
    }
    connection.settle();
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

/// Whether the answer is a stream of events.
async fn streams(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
    connection: &mut Connection,
    read: &mut Vec<Bytes>,
) -> Result<bool, Failure> {
    let is_stream = connection.announces_stream()
        || form::of(gateway, session, context, connection, read).await? == Form::Stream;
    if is_stream {
        context.begin_stream();
    }
    Ok(is_stream)
}

/// Remembers the upstream of what an answer names, where that is asked for.
pub async fn learn(gateway: &Gateway, context: &mut Context, chunk: &[u8]) {
    if let Some(learning) = &mut context.learning {
        gateway.origins.see(learning, chunk).await;
    }
}

/// What comes of reading the answer's body, where that is known without waiting for it.
pub type Ahead = Option<pingora::Result<Option<Bytes>>>;

/// Giving up a read of the body loses nothing: pingora keeps what it read.
fn at_hand(connection: &mut Connection) -> Ahead {
    let Connection {
        session,
        decoder,
        left,
        ..
    } = connection;
    read_body(session, decoder, left).now_or_never()
}

/// As [`next_chunk`], small chunks that have come together as one. What was read beyond them is
/// `ahead`, for the next time.
pub async fn next_piece(
    gateway: &Gateway,
    session: &mut Session,
    context: &Context,
    connection: &mut Connection,
    ahead: &mut Ahead,
) -> Result<Option<Bytes>, Failure> {
    let first = match ahead.take() {
        Some(read) => read.map_err(|error| truncated(gateway, context, &error))?,
        None => next_chunk(gateway, session, context, connection).await?,
    };
    let Some(first) = first else { return Ok(None) };
    let mut length = first.len();
    let mut chunks = vec![first];
    loop {
        *ahead = at_hand(connection);
        match ahead {
            Some(Ok(Some(chunk))) if length + chunk.len() <= PIECE => {
                length += chunk.len();
                chunks.push(std::mem::take(chunk));
            }
            _ => return Ok(Some(joined(chunks))),
        }
    }
}

/// The chunks as one; one alone is shared, not copied.
pub fn joined(mut chunks: Vec<Bytes>) -> Bytes {
    match chunks.len() {
        1 => chunks.remove(0),
        _ => chunks.concat().into(),
    }
}

/// The next bytes of the answer, while the client is watched, or the rest of its body sent on;
/// `None` at its clean end.
pub async fn next_chunk(
    gateway: &Gateway,
    session: &mut Session,
    context: &Context,
    connection: &mut Connection,
) -> Result<Option<Bytes>, Failure> {
    let chunk = loop {
        let Connection {
            session: upstream,
            upload,
            decoder,
            left,
            ..
        } = &mut *connection;
        let gone = async {
            match upload {
                Some(upload) => upload.go_on(session).await,
                None => match departure(session).await {
                    Some(why) => Err(Cut::Client(Failure::ClientGone(why))),
                    None => std::future::pending().await,
                },
            }
        };
        tokio::select! {
            biased;
            chunk = read_body(upstream, decoder, left) => break chunk,
            gone = gone => match gone {
                Ok(()) => {}
                // It may answer to its end all the same.
                Err(Cut::Upstream(_)) => connection.give_up_sending(),
                Err(Cut::Client(failure)) => {
                    connection.session.shutdown().await;
                    return Err(failure);
                }
            },
        }
    };
    chunk.map_err(|error| truncated(gateway, context, &error))
}

/// As [`head`], where a piece of the body is at hand: the two go out in one packet.
pub async fn head_before(
    session: &mut Session,
    context: &mut Context,
    connection: &Connection,
    length: Length,
) -> Result<bool, Failure> {
    cork(session, true);
    let written = head(session, context, connection, length).await;
    cork(session, false);
    written
}

/// While it is corked, what is written waits for what is written next.
fn cork(session: &Session, corked: bool) {
    if let Some(guard) = Guarded::of(session) {
        guard.shared().cork(corked);
    }
}

/// Writes the response header, unless that was done before; tells whether it is a success.
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
    let written = session.response_written();
    if written.is_some_and(|written| !written.status.is_informational()) {
        return Ok(upstream.status.is_success());
    }
    let mut header = headers::response(upstream);
    let snapshot = context.snapshot.clone();
    let upstreams = &snapshot.config.upstreams;
    let name = context.upstream.as_ref();
    if let Some(upstream) = upstreams.iter().find(|it| Some(&it.name) == name) {
        location::hide(&mut header, upstream, upstreams, &session.req_header().uri)?;
    }
    context.status = header.status.as_u16();
    if connection.decoder.is_some() {
        header.remove_header(&header::CONTENT_ENCODING);
        header.remove_header(&header::CONTENT_LENGTH);
    }
    // A type and a number are of valid form.
    let _ = match length {
        Length::Events => header.insert_header(header::CONTENT_TYPE, "text/event-stream"),
        Length::Json(_) => header.insert_header(header::CONTENT_TYPE, "application/json"),
        _ => Ok(()),
    };
    if context.streamed || respond::is_event_stream(&header) {
        context.begin_stream();
        respond::unbuffered(&mut header);
    }
    match length {
        Length::Same => {}
        Length::Unknown | Length::Events => drop(header.remove_header(&header::CONTENT_LENGTH)),
        // RFC 9110, section 8.6: there is no body to be of that length.
        _ if header.status == StatusCode::NO_CONTENT => {}
        Length::Exactly(length) | Length::Json(length) => {
            let _ = header.insert_header(header::CONTENT_LENGTH, length);
        }
    }
    let bodyless = session.req_header().method == Method::HEAD
        || matches!(
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
        && session.is_http2()
    {
        let written = session.write_response_trailers(trailers);
        return written.await.map_err(|error| Failure::client(&error));
    }
    pass_on(session, Bytes::new(), true).await
}

/// Writes pieces of the answer's body.
pub async fn pass_all(session: &mut Session, pieces: Vec<Bytes>) -> Result<(), Failure> {
    for piece in pieces {
        pass_on(session, piece, false).await?;
    }
    Ok(())
}

/// Writes a piece of the answer's body, the last one where it is the `end`.
pub async fn pass_on(session: &mut Session, chunk: Bytes, end: bool) -> Result<(), Failure> {
    session
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
