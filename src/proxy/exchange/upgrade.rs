//! Upgrades: after `101` the bytes are not HTTP any more, and go on as they come, both ways.

use std::io;
use std::mem;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{Method, StatusCode, header};
use parking_lot::Mutex;
use pingora::protocols::Stream;
use pingora_timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, duplex, split};
use tokio::time::{Instant, sleep_until};

use super::fail::Failure;
use super::headers::{self, Framing};
use super::leg::{Exchange, Outgoing, Part, leg, shown};
use super::plain::Asked;
use super::{quota, relay};
use crate::config::model::{Timeouts, Upstream};
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::edge::respond;
use crate::proxy::route::body::Look;
use crate::proxy::route::choice::{choose, untold};
use crate::proxy::upstream::connection::Connection;
use crate::telemetry::Phase;

/// Bytes of one direction that are held at most.
const BUFFER: usize = 8 * 1024;
/// What is another version of HTTP, which each hop speaks or not.
const OF_THIS_HOP: [&str; 3] = ["h2c", "http/", "tls/"];

/// Whether the client asks to go on with another protocol, which an upstream may speak.
pub fn is_asked_for(session: &mut Session) -> bool {
    let request = session.req_header();
    if request.method != Method::GET || !request.headers.contains_key(header::UPGRADE) {
        return false;
    }
    if !matches!(session, Session::H1(_)) || !session.is_body_done() {
        return false;
    }
    let request = session.req_header();
    let fields = |name| request.headers.get_all(name).iter();
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let nominated = fields(header::CONNECTION)
        .any(|value| text(value).split(',').any(|name| name.trim() == "upgrade"));
    let mut protocols = fields(header::UPGRADE).map(text).peekable();
    nominated
        && protocols.peek().is_some()
        && !protocols.any(|protocol| OF_THIS_HOP.iter().any(|own| protocol.contains(own)))
}

/// Serves a request for an upgrade. An upstream that does not agree answers as to any other.
pub async fn run(
    exchange: Exchange<'_>,
    session: &mut Session,
    context: &mut Context,
) -> Result<(), Failure> {
    quota::expect_counted(exchange.caller)?;
    quota::spend_rate(exchange.gateway, context, exchange.caller).await?;
    let asked = Asked::of(exchange, session, &Look::Nothing).await;
    asked.expect_allowed(exchange, session, context.endpoint)?;
    context.model = asked.model.as_deref().map(shown);
    if exchange.caller.models.is_some() && asked.model.is_none() {
        return Err(untold().into());
    }
    let config = &exchange.snapshot.config;
    let places = choose(config, exchange.caller, asked.sought(context.endpoint))?;
    let compose = |_: &Upstream| Part {
        pieces: Vec::new(),
        framing: Framing::Upgrade,
    };
    let mut outgoing = Outgoing {
        compose: &compose,
        rest: None,
        reads_answer: false,
        with_callers_key: true,
    };
    let tries = exchange.gateway.health.tries(exchange.snapshot, places);
    let connection = leg(exchange, session, context, tries, &mut outgoing).await?;
    let header = connection.session.response_header();
    match header.map(|header| header.status) {
        Some(StatusCode::SWITCHING_PROTOCOLS) => {
            switch(session, context, connection, &config.timeouts).await
        }
        _ => relay::run(exchange, session, context, connection, Vec::new()).await,
    }
}

/// Both sides have agreed.
async fn switch(
    session: &mut Session,
    context: &mut Context,
    connection: Box<Connection>,
    timeouts: &Timeouts,
) -> Result<(), Failure> {
    context.ledger.enter(Phase::Stream);
    let Some(header) = connection.session.response_header() else {
        return Err(Failure::Truncated("no response header was read".into()));
    };
    let mut header = headers::response(header);
    // The name and value are constants of valid form.
    let _ = header.insert_header(header::CONNECTION, "Upgrade");
    context.status = header.status.as_u16();
    respond::head(session, context, header)
        .await
        .map_err(|error| Failure::client(&error))?;
    context.ledger.mark_first_chunk();
    context.is_upgraded = true;
    let (Some((upstream, from_upstream)), Some((client, from_client))) =
        (hijack_upstream(connection), hijack(session))
    else {
        return Err(Failure::Truncated("it is not HTTP/1".into()));
    };
    let first = (from_client, from_upstream);
    let passed = tunnel(client, upstream, first, timeouts).await;
    context.ledger.enter(Phase::Other);
    passed.map_err(|error| Failure::Truncated(error.to_string()))
}

/// The client's connection itself, and what came of it in one packet with the header section; the
/// session is left with none.
pub fn hijack(session: &mut Session) -> Option<(Stream, Bytes)> {
    let mut read = BytesMut::new();
    while let Some(Ok(Some(bytes))) = session.read_request_body().now_or_never() {
        read.extend_from_slice(&bytes);
    }
    let none = Session::new_http1(Box::new(duplex(1).0));
    match mem::replace(session, none) {
        Session::H1(http1) => Some((http1.into_inner(), read.freeze())),
        _ => None,
    }
}

/// The same of an upstream's connection.
pub fn hijack_upstream(mut connection: Box<Connection>) -> Option<(Stream, Bytes)> {
    let mut read = BytesMut::new();
    while let Some(Ok(Some(bytes))) = connection.session.read_response_body().now_or_never() {
        read.extend_from_slice(&bytes);
    }
    Some((connection.into_stream()?, read.freeze()))
}

/// Passes bytes on, both ways, until both sides have ended, one breaks, or neither says anything
/// for `timeouts.stream_idle`.
async fn tunnel(
    client: Stream,
    upstream: Stream,
    (from_client, from_upstream): (Bytes, Bytes),
    timeouts: &Timeouts,
) -> io::Result<()> {
    let ((client_reads, client_writes), (upstream_reads, upstream_writes)) =
        (split(client), split(upstream));
    let last = Mutex::new(Instant::now());
    let pass = |reader, writer, first| pass(reader, writer, first, timeouts.write, &last);
    let idle = async {
        loop {
            let due = *last.lock() + timeouts.stream_idle;
            if Instant::now() >= due {
                return io::Error::new(io::ErrorKind::TimedOut, "neither side said anything");
            }
            sleep_until(due).await;
        }
    };
    tokio::select! {
        passed = async {
            tokio::try_join!(
                pass(client_reads, upstream_writes, from_client),
                pass(upstream_reads, client_writes, from_upstream),
            )
        } => passed.map(drop),
        silent = idle => Err(silent),
    }
}

/// Passes bytes on, one way, until their end.
async fn pass(
    mut reader: ReadHalf<Stream>,
    mut writer: WriteHalf<Stream>,
    first: Bytes,
    within: Duration,
    last: &Mutex<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let stalled = |_| io::Error::new(io::ErrorKind::TimedOut, "one side does not read");
    if !first.is_empty() {
        let writing = async {
            writer.write_all(&first).await?;
            writer.flush().await
        };
        timeout(within, writing).await.map_err(stalled)??;
    }
    drop(first);
    loop {
        let read = reader.read(&mut buffer).await?;
        *last.lock() = Instant::now();
        if read == 0 {
            return writer.shutdown().await;
        }
        let writing = async {
            writer.write_all(&buffer[..read]).await?;
            writer.flush().await
        };
        timeout(within, writing).await.map_err(stalled)??;
    }
}
