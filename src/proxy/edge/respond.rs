//! Answers that the gateway itself writes, and the headers that it adds to others' answers.

use axum::body::HttpBody;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, StatusCode, header};
use http_body_util::{BodyDataStream, BodyExt, combinators::UnsyncBoxBody};
use pingora::http::ResponseHeader;

use super::guard::Guarded;
use crate::dialect::Dialect;
use crate::error::ApiError;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::exchange::headers;
use crate::quota::Reservation;
use crate::wire::frame::form::Form;

// Texts and not `HeaderName`s, of which pingora would copy the text each time.
const X_ACCEL_BUFFERING: &str = "x-accel-buffering";
const REQUEST_ID: &str = "x-yychat-request-id";
const GENERATION: &str = "x-yychat-generation";
const PERSONALITY: &str = "x-yychat-personality";
const PURPOSE: &str = "x-yychat-purpose";
const MEMORY: &str = "x-yychat-memory";
const BUDGET: &str = "x-yychat-budget-remaining";
const TOOLS: &str = "x-yychat-tools";
const UPSTREAM: &str = "x-yychat-upstream";
const SERVER_TIMING: &str = "server-timing";
const VARY: &str = "vary";

/// An answer of the gateway's own endpoints; its body may be a stream.
pub type LocalResponse = http::Response<UnsyncBoxBody<Bytes, axum_core::Error>>;

/// Writes an error in OpenAI's shape.
pub async fn error(
    session: &mut Session,
    context: &mut Context,
    error: &ApiError,
) -> pingora::Result<()> {
    let mut header = ResponseHeader::build(error.status, Some(8))?;
    header.insert_header(header::CONTENT_TYPE, "application/json")?;
    if let Some(seconds) = error.retry_after {
        header.insert_header(header::RETRY_AFTER, seconds.to_string())?;
    }
    if error.status == StatusCode::UNAUTHORIZED {
        header.insert_header(header::WWW_AUTHENTICATE, "Bearer")?;
    }
    let body = match shape(session) {
        Some(dialect) => dialect.error(error, &context.request_id.to_string()),
        None => error.body(),
    };
    whole(session, context, header, body).await
}

/// Tells a client whose request could not be read, and with whom it cannot go on.
pub async fn unread(session: &mut Session, error: &ApiError) {
    let body = error.body();
    let header = || -> pingora::Result<ResponseHeader> {
        let mut header = ResponseHeader::build(error.status, Some(2))?;
        header.insert_header(header::CONTENT_TYPE, "application/json")?;
        header.insert_header(header::CONTENT_LENGTH, body.len())?;
        Ok(header)
    };
    // It may be gone by now.
    if let Ok(header) = header() {
        drop(session.write_error_response(header, body.clone()).await);
    }
}

/// The API whose errors whoever asks here reads.
fn shape(session: &Session) -> Option<Dialect> {
    let request = session.req_header();
    let is_anthropic = || request.headers.contains_key("anthropic-version");
    let dialect = Dialect::of_path(request.uri.path());
    dialect.or_else(|| is_anthropic().then_some(Dialect::Messages))
}

/// Writes a whole answer in JSON.
pub async fn json(
    session: &mut Session,
    context: &mut Context,
    status: StatusCode,
    body: Bytes,
) -> pingora::Result<()> {
    let mut header = ResponseHeader::build(status, Some(8))?;
    header.insert_header(header::CONTENT_TYPE, "application/json")?;
    whole(session, context, header, body).await
}

/// Writes a whole answer, its `Content-Length` included.
async fn whole(
    session: &mut Session,
    context: &mut Context,
    mut header: ResponseHeader,
    body: Bytes,
) -> pingora::Result<()> {
    let is_head = session.req_header().method == Method::HEAD;
    let is_bodyless = header.status == StatusCode::NO_CONTENT;
    // What a GET would be answered with is told with its length, though nothing of it is sent.
    let is_told = is_head && header.headers.contains_key(header::CONTENT_LENGTH);
    if !is_bodyless && !is_told {
        header.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    context.status = header.status.as_u16();
    head(session, context, header).await?;
    let body = if is_head { Bytes::new() } else { body };
    session.write_response_body(body, true).await
}

/// Writes an answer of a local endpoint, as it comes where it is a stream.
pub async fn local(
    session: &mut Session,
    context: &mut Context,
    response: LocalResponse,
) -> pingora::Result<()> {
    let (parts, body) = response.into_parts();
    let mut header = ResponseHeader::build(parts.status, Some(parts.headers.len() + 4))?;
    for (name, value) in &parts.headers {
        header.append_header(name, value)?;
    }
    if HttpBody::size_hint(&body).exact().is_some() {
        // A body out of memory cannot fail.
        let body = body.collect().await.map(|body| body.to_bytes());
        return whole(session, context, header, body.unwrap_or_default()).await;
    }
    frame(&mut header, session);
    context.status = parts.status.as_u16();
    context.streamed = is_event_stream(&header);
    head(session, context, header).await?;
    let mut chunks = BodyDataStream::new(body);
    loop {
        tokio::select! {
            chunk = chunks.next() => match chunk {
                Some(Ok(chunk)) => session.write_response_body(chunk, false).await?,
                // Cut off, or the client would take a part for the whole.
                Some(Err(error)) => {
                    let kind = pingora::ErrorType::InternalError;
                    return pingora::Error::e_because(kind, "an answer broke off", error);
                }
                None => return session.write_response_body(Bytes::new(), true).await,
            },
            gone = session.read_body_or_idle(true) => return gone.map(drop),
        }
    }
}

/// Writes the header of an answer, with the gateway's own fields.
pub async fn head(
    session: &mut Session,
    context: &Context,
    mut header: ResponseHeader,
) -> pingora::Result<()> {
    let guard = Guarded::of(session).map(Guarded::shared);
    match &guard {
        // A line costs a fraction of what a field in pingora's two maps does.
        Some(guard) if !header.headers.keys().any(headers::is_own) => {
            guard.set_fields(lines(context))
        }
        _ => sign(&mut header, context),
    }
    let written = session.write_response_header(Box::new(header)).await;
    if let Some(guard) = guard {
        // What pingora did not write a header for is not for what it writes next.
        guard.set_fields(String::new());
    }
    written
}

/// Adds the gateway's own fields.
pub fn sign(header: &mut ResponseHeader, context: &Context) {
    own_fields(context, |name, value| match name {
        // The upstream may have one of its own: theirs and ours stand side by side.
        SERVER_TIMING | VARY => {
            let _ = header.append_header(name, value);
        }
        _ => put(header, name, value),
    });
}

/// The gateway's own fields as lines.
fn lines(context: &Context) -> String {
    const USUAL: usize = 512;
    let mut lines = String::with_capacity(USUAL);
    own_fields(context, |name, value| {
        for part in [name, ": ", value, "\r\n"] {
            lines.push_str(part);
        }
    });
    lines
}

/// Gives each of the gateway's own fields, of valid form.
fn own_fields(context: &Context, mut put: impl FnMut(&'static str, &str)) {
    let mut put = |name, value: &str| {
        // A value that no header can hold is left out.
        if value.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
            put(name, value);
        }
    };
    let mut id = uuid::Uuid::encode_buffer();
    let id = context.request_id.as_hyphenated().encode_lower(&mut id);
    put(REQUEST_ID, id);
    let mut digits = itoa::Buffer::new();
    put(GENERATION, digits.format(context.snapshot.generation));
    if let Some(personality) = &context.personality {
        put(PERSONALITY, &visible(personality));
    }
    if let Some(purpose) = &context.purpose {
        put(PURPOSE, purpose);
    }
    if let Some(memory) = &context.memory {
        put(MEMORY, memory);
    }
    if let Some(tools) = &context.tools {
        put(TOOLS, tools);
    }
    if let Some(upstream) = &context.upstream {
        put(UPSTREAM, upstream);
    }
    if let Some(left) = context
        .reservation
        .as_ref()
        .and_then(Reservation::tokens_left)
    {
        put(BUDGET, digits.format(left));
    }
    let timing = context.ledger.spent().server_timing();
    if !timing.is_empty() {
        put(SERVER_TIMING, &timing);
    }
    context.sharing.fields(put);
}

/// Whether an answer's header says that it is a stream of server-sent events.
pub fn is_event_stream(header: &ResponseHeader) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    header
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..EVENT_STREAM.len()))
        .is_some_and(|essence| essence.eq_ignore_ascii_case(EVENT_STREAM))
}

/// The form that an answer's header tells.
pub fn told_form(header: &ResponseHeader) -> Form {
    match is_event_stream(header) {
        true => Form::Stream,
        false => Form::Whole,
    }
}

/// Keeps others on the way from holding a stream back, where its upstream says nothing of that.
pub fn unbuffered(header: &mut ResponseHeader) {
    // nginx and its kin buffer unless the second tells them not to.
    for (name, value) in [("cache-control", "no-cache"), (X_ACCEL_BUFFERING, "no")] {
        if !header.headers.contains_key(name) {
            put(header, name, value);
        }
    }
}

/// Frames an answer of unknown length as the client's HTTP version has it.
pub fn frame(header: &mut ResponseHeader, session: &Session) {
    let request = session.req_header();
    if request.version == http::Version::HTTP_11 {
        // The name and value are constants of valid form.
        let _ = header.insert_header(header::TRANSFER_ENCODING, "chunked");
    }
}

/// A header value can hold visible ASCII alone; an id in another script is percent-encoded.
fn visible(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        if (0x21..0x7f).contains(&byte) && byte != b'%' {
            out.push(byte.into());
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Puts a field of valid form.
fn put(header: &mut ResponseHeader, name: &'static str, value: &str) {
    let _ = header.insert_header(name, value);
}
