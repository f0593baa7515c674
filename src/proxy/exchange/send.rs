//! Sending a request over one connection, and waiting for the header of its answer.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::{Error, ErrorType};
use pingora_timeout::timeout;

use super::fail::Failure;
use super::headers::{Framing, RequestHead};
use super::leg::{Part, shown};
use super::upload::{Cut, Upload};
use super::watch::with_client;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::edge::body::Body;
use crate::proxy::route::body::Look;
use crate::proxy::upstream::connection::Connection;
use crate::wire::coalesce;

/// Pieces of a body smaller than this are copied together before they are written.
const PIECE: usize = 64 * 1024;
/// A body larger than this is written while an early answer is looked for.
pub const AT_ONCE: usize = 256 * 1024;

/// How a request goes out.
pub enum Form {
    /// Header section and body in one go, as they stand on the wire.
    AtOnce(Vec<Bytes>),
    Streamed(Begin),
}

/// The beginning of a request whose body follows piece by piece.
pub enum Begin {
    /// An HTTP/1 header section as it stands on the wire; whether the body is chunked.
    Wire(Bytes, bool),
    /// As pingora takes it; whether nothing follows.
    Request(Box<RequestHeader>, bool),
}

impl Form {
    /// How it does over this connection. `is_at_hand` tells whether `part` is all of the body.
    pub fn of(
        connection: &Connection,
        head: RequestHead<'_>,
        part: &Part,
        is_at_hand: bool,
    ) -> Result<Self, Failure> {
        let is_http1 = connection.session.as_http1().is_some();
        // pingora has to know of them: the answer to one has no body whatever its header says, to
        // the other it may have no end.
        let is_known = head.client.method == Method::HEAD || part.framing == Framing::Upgrade;
        let length: usize = part.pieces.iter().map(Bytes::len).sum();
        if !is_http1 || is_known {
            let ends = is_known || (is_at_hand && length == 0);
            return Ok(Self::Streamed(Begin::Request(head.to_request()?, ends)));
        }
        let wire = head.to_wire()?.freeze();
        if is_at_hand && length <= AT_ONCE {
            let pieces = part.pieces.iter().cloned();
            let wire = [wire].into_iter().chain(pieces);
            return Ok(Self::AtOnce(coalesce(wire, PIECE)));
        }
        let is_chunked = part.framing == Framing::Chunked;
        Ok(Self::Streamed(Begin::Wire(wire, is_chunked)))
    }
}

/// How far the request got.
pub enum Sent {
    /// All of it went out.
    Whole,
    /// The upstream answered before all of it was out, or failed to.
    Answered(pingora::Result<()>),
    /// It could not be written.
    Broken(Box<Error>),
}

/// A request that goes out piece by piece.
pub struct Streamed {
    pub begin: Begin,
    pub pieces: Vec<Bytes>,
    pub rest: Option<(Body, Look)>,
    /// One write.
    pub within: Duration,
}

impl Streamed {
    /// Sends it until all of it is out or the upstream has answered.
    pub async fn send(
        self,
        session: &mut Session,
        context: &mut Context,
        mut connection: Box<Connection>,
    ) -> Result<(Box<Connection>, Sent), Failure> {
        let (head, is_chunked) = match self.begin {
            Begin::Wire(head, is_chunked) => (Some(head), is_chunked),
            Begin::Request(request, ends) => {
                let begun = match &mut connection.session {
                    HttpSession::H2(http2) => http2.write_request_header(request, ends),
                    other => {
                        with_client(session, pin!(other.write_request_header(request))).await?
                    }
                };
                match begun {
                    Err(error) => return Ok((connection, Sent::Answered(Err(error)))),
                    Ok(()) if ends => return Ok((connection, Sent::Whole)),
                    Ok(()) => (None, false),
                }
            }
        };
        let (mut connection, writer) = connection.writer();
        let Some(writer) = writer else {
            let error = Error::explain(ErrorType::InternalError, "it takes no body");
            return Ok((connection, Sent::Answered(Err(error))));
        };
        let mut upload = Upload::new(writer, is_chunked, self.within);
        if let Some(head) = head {
            upload = upload.after(head);
        }
        upload = upload.with(coalesce(self.pieces, PIECE), self.rest);
        connection.session.set_read_timeout(None);
        let sent = tokio::select! {
            biased;
            read = final_header(&mut connection.session, false) => Sent::Answered(read),
            sent = upload.go_on(session) => match sent {
                Ok(()) => Sent::Whole,
                Err(Cut::Upstream(error)) => Sent::Broken(error),
                Err(Cut::Client(failure)) => return Err(failure),
            },
        };
        if let (None, Some(model)) = (&context.model, upload.look().model()) {
            context.model = Some(shown(model));
        }
        let refused = !connection.is_success();
        match &sent {
            Sent::Whole => connection.sent(upload.into_writer()),
            // What goes on reading while it answers is sent the rest while it is read.
            Sent::Answered(Ok(())) if !refused => connection.upload = Some(upload),
            _ => connection.spent = true,
        }
        Ok((connection, sent))
    }
}

/// Reads response headers until a final one comes. Nothing is lost where this is given up.
async fn final_header(session: &mut HttpSession, switches: bool) -> pingora::Result<()> {
    loop {
        session.read_response_header().await?;
        match session.response_header().map(|header| header.status) {
            Some(StatusCode::SWITCHING_PROTOCOLS) if switches => return Ok(()),
            Some(StatusCode::SWITCHING_PROTOCOLS) | None => {
                return Error::e_explain(
                    ErrorType::InvalidHTTPHeader,
                    "it switched protocols where an answer was due",
                );
            }
            // 100, 102, 103: the answer is still to come.
            Some(status) if status.is_informational() => {}
            Some(_) => return transfer_is_plain(session),
        }
    }
}

/// No field of ours asks for a transfer coding, and the bytes of one that came all the same would be taken
/// for the answer's.
fn transfer_is_plain(session: &HttpSession) -> pingora::Result<()> {
    let header = session.response_header();
    let codings = header.and_then(|it| it.headers.get(header::TRANSFER_ENCODING));
    let coded = codings.filter(|codings| {
        let mut codings = codings.as_bytes().split(|&byte| byte == b',');
        let plain: [&[u8]; 3] = [b"chunked", b"identity", b""];
        codings.any(|it| {
            !plain
                .iter()
                .any(|plain| it.trim_ascii().eq_ignore_ascii_case(plain))
        })
    });
    match coded {
        None => Ok(()),
        Some(coded) => Error::e_explain(
            ErrorType::InvalidHTTPHeader,
            format!("its Transfer-Encoding is {coded:?}, and only `chunked` is undone here"),
        ),
    }
}

/// Waits for the answer's header.
pub async fn wait(
    connection: &mut Connection,
    within: Duration,
    switches: bool,
) -> pingora::Result<()> {
    // The one below bounds all reads together.
    connection.session.set_read_timeout(None);
    match timeout(within, final_header(&mut connection.session, switches)).await {
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
pub fn never_read(connection: &Connection, acknowledged: Option<u64>, error: &Error) -> bool {
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
