//! Reading a request body whole, within its bounds.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{StatusCode, header};
use pingora::{Error, ErrorType};
use pingora_timeout::timeout;

use super::budget::Hold;
use super::gather::Gathered;
use crate::config::model::Config;
use crate::error::ApiError;
use crate::proxy::Session;
use crate::proxy::exchange::fail::Failure;

/// A client that sends slower than this, averaged over the time since the body's first bytes, is cut off.
const BYTES_A_SECOND: usize = 1024;
/// What a body that is passed on takes at most, for as long as it comes: the pieces that wait to be
/// written, and what HTTP/2 has of it before it is read.
const STREAMED: usize = 256 * 1024;
/// A refused body is read on for this long, so that the close does not reset the answer away.
const DRAIN: Duration = Duration::from_secs(2);

/// Reads the body, at most `server.body_limit` bytes of JSON. It counts as held until the hold that
/// comes with it is dropped.
///
/// Refuses with 413, 415 or 408, and with 503 or 429 where there is no room for it.
pub async fn read_json(
    session: &mut Session,
    config: &Config,
    hold: Hold,
) -> Result<(Bytes, Hold), Failure> {
    expect_json(session)?;
    read(session, config, hold).await
}

/// Reads the body, at most `server.body_limit` bytes of anything; otherwise as [`read_json`].
pub async fn read(
    session: &mut Session,
    config: &Config,
    hold: Hold,
) -> Result<(Bytes, Hold), Failure> {
    let limit = config.server.body_limit;
    let announced = announced(session);
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit).into());
    }
    if let Some(length) = announced {
        // What will not find room is told so before it is sent.
        hold.has_room_for(length)?;
    }
    let mut body = Body::new(session, config, hold);
    let mut whole = Gathered::new(announced, limit);
    while let Some(chunk) = body.next(session).await? {
        if whole.len() + chunk.len() > limit {
            return Err(too_large(limit).into());
        }
        whole.push(chunk);
    }
    Ok((whole.freeze(), body.hold))
}

/// How long the client says its body is.
pub fn announced(session: &Session) -> Option<usize> {
    let length = session.get_header(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// A request's body as it comes from the client. The default is one that has ended.
#[derive(Debug)]
pub struct Body {
    pace: Pace,
    idle: Duration,
    /// Whether the client was told to send it.
    invited: bool,
    ended: bool,
    /// What of it is held.
    hold: Hold,
    /// Whether it is passed on as it comes.
    streams: bool,
}

impl Body {
    /// The body of a request of which only the header was read.
    pub fn new(session: &mut Session, config: &Config, hold: Hold) -> Self {
        let idle = config.timeouts.body_idle;
        Self {
            pace: Pace::new(idle),
            idle,
            invited: false,
            ended: session.is_body_done(),
            hold,
            streams: false,
        }
    }

    /// What comes from here on is passed on as it comes: what waits of it meanwhile is held, whatever it is.
    ///
    /// Refuses as [`Body::next`] what finds no room.
    pub fn stream(&mut self) -> Result<(), ApiError> {
        self.streams = true;
        self.hold.grow(STREAMED)
    }

    /// Whether all of it has come.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next bytes; `None` at the end. Nothing is lost where this is given up. Refuses with
    /// 408 a client that stalls, and with 503 or 429 what finds no room, unless it streams.
    pub async fn next(&mut self, session: &mut Session) -> Result<Option<Bytes>, Failure> {
        if self.ended {
            return Ok(None);
        }
        if !self.invited {
            invite(session).await?;
            self.invited = true;
        }
        let read = read_some(session, self.idle).await;
        let chunk = read.map_err(|error| match error.etype() {
            ErrorType::ReadTimedout => self.pace.stalled().into(),
            _ => Failure::client(&error),
        })?;
        self.ended = chunk.is_none() || session.is_body_done();
        if let (Some(chunk), false) = (&chunk, self.streams) {
            self.hold.grow(chunk.len())?;
        }
        if let (Some(chunk), false) = (&chunk, self.ended) {
            self.pace.count(chunk.len())?;
        }
        Ok(chunk)
    }
}

impl Default for Body {
    fn default() -> Self {
        Self {
            pace: Pace::new(Duration::ZERO),
            idle: Duration::ZERO,
            invited: true,
            ended: true,
            hold: Hold::default(),
            streams: false,
        }
    }
}

/// The next bytes of the body, waited for no longer than `within`.
async fn read_some(client: &mut Session, within: Duration) -> pingora::Result<Option<Bytes>> {
    match client {
        // It has the same bound itself, set where the request was admitted.
        Session::H1(h1) => h1.read_body_bytes().await,
        other => timeout(within, other.read_request_body())
            .await
            .unwrap_or_else(|_| Error::e_explain(ErrorType::ReadTimedout, "reading body")),
    }
}

/// Reads on for a while what a refused client still sends.
pub async fn drain(session: &mut Session) {
    // Whatever comes of it, the connection closes next.
    let _ = timeout(DRAIN, session.drain_request_body()).await;
}

fn expect_json(session: &Session) -> Result<(), ApiError> {
    let headers = &session.req_header().headers;
    let unsupported = |param: &str, message: String| {
        Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).param(param))
    };
    for encoding in headers.get_all(header::CONTENT_ENCODING) {
        if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
            return unsupported(
                "Content-Encoding",
                "A request body with a Content-Encoding is not taken here. Send it uncompressed."
                    .into(),
            );
        }
    }
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = content_type
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        Ok(())
    } else {
        unsupported(
            "Content-Type",
            format!("The Content-Type is `{essence}`. Send `application/json`."),
        )
    }
}

/// Sends `100 Continue` where the client waits for it.
async fn invite(session: &mut Session) -> Result<(), Failure> {
    let waits = session
        .get_header(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if let (true, Session::H1(h1)) = (waits, session) {
        // pingora 0.9.1 takes any response header written before the body has been read as the
        // final one, and gives up the connection for it.
        let keepalive = h1.get_keepalive_timeout();
        h1.write_continue_response()
            .await
            .map_err(|error| Failure::client(&error))?;
        h1.set_server_keepalive(keepalive);
    }
    Ok(())
}

/// Keeps a client to a minimum rate, so that a body cannot take for ever a byte at a time.
#[derive(Debug)]
struct Pace {
    /// When the first of it had come.
    began: Option<Instant>,
    received: usize,
    grace: Duration,
}

impl Pace {
    fn new(grace: Duration) -> Self {
        Self {
            began: None,
            received: 0,
            grace,
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.received += bytes;
        let due = (self.received / BYTES_A_SECOND) as u64;
        if self.began.get_or_insert_with(Instant::now).elapsed()
            > self.grace + Duration::from_secs(due)
        {
            return Err(self.stalled());
        }
        Ok(())
    }

    fn stalled(&self) -> ApiError {
        ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "The request body stalled after {} bytes. Send it faster than {BYTES_A_SECOND} \
                 bytes a second, without pauses of more than {:?}.",
                self.received, self.grace
            ),
        )
    }
}

pub fn too_large(limit: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!(
            "The request body is larger than {limit} bytes. Send less, or raise server.body_limit."
        ),
    )
}
