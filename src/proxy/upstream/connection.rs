//! A connection to an upstream.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::protocols::l4::ext::TCP_INFO;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use pingora_timeout::timeout;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};

use super::coding::{self, Decoder};
use crate::proxy::edge::respond;
use crate::proxy::exchange::upload::{Upload, Writer};
use crate::wire::frame::form::Form;

/// `TCP_ESTABLISHED` of the kernel's `tcp_states.h`: neither side has closed.
const ESTABLISHED: u8 = 1;

/// A connection to an upstream, ready for a request.
pub struct Connection {
    pub session: HttpSession,
    pub peer: HttpPeer,
    /// It has served a request before, so the upstream may be closing it just now.
    pub reused: bool,
    /// It cannot serve another request: not all of this one went out.
    pub spent: bool,
    /// What is still to be sent of the request while its answer is read already.
    pub upload: Option<Upload>,
    /// Undoes the coding of the answer.
    pub decoder: Option<Box<Decoder>>,
    /// Bytes that are left of the answer's body, where pingora does not know.
    pub left: Option<usize>,
    /// The other direction, where `session` was given the reading one alone.
    pub(super) writing: Option<WriteHalf<Stream>>,
    socket: Option<Arc<SocketDigest>>,
}

impl Connection {
    /// A connection over which nothing was sent yet by this request.
    pub fn new(session: HttpSession, peer: HttpPeer, reused: bool) -> Self {
        let digest = session.as_http1().map(Http1Session::digest);
        Self {
            socket: digest.and_then(|digest| digest.socket_digest.clone()),
            session,
            peer,
            reused,
            spent: false,
            upload: None,
            decoder: None,
            left: None,
            writing: None,
        }
    }

    /// Sends a whole HTTP/1 request as it stands on the wire. pingora would flush the header by
    /// itself, which costs another packet and another wake-up of the upstream.
    ///
    /// Gives the connection back beside what came of the write, since an upstream may have
    /// answered before it closed.
    pub async fn send_at_once(
        mut self: Box<Self>,
        wire: Vec<Bytes>,
        within: Duration,
    ) -> (Box<Self>, pingora::Result<()>) {
        let HttpSession::H1(http1) = self.session else {
            let error = Error::explain(ErrorType::InternalError, "it is not HTTP/1");
            return (self, Err(error));
        };
        let mut stream = http1.into_inner();
        let written = write(&mut stream, &wire, within).await;
        let http1 = Http1Session::new_with_options(stream, &self.peer);
        self.session = HttpSession::H1(http1);
        (self, written)
    }

    /// What the body is written to while the answer is read: the two directions of an HTTP/1
    /// connection are parted, of HTTP/2 a request has its own handle once its header is sent.
    pub fn writer(mut self: Box<Self>) -> (Box<Self>, Option<Writer>) {
        match self.session {
            HttpSession::H1(http1) => {
                let (reading, writing) = tokio::io::split(http1.into_inner());
                let reading = Box::new(Reading(reading));
                let http1 = Http1Session::new_with_options(reading, &self.peer);
                self.session = HttpSession::H1(http1);
                (self, Some(Writer::Http1(writing)))
            }
            HttpSession::H2(ref mut http2) => {
                let body = http2.take_request_body_writer();
                (self, body.map(Writer::Http2))
            }
            HttpSession::Custom(()) => (self, None),
        }
    }

    /// The whole of the body is sent: its direction is free for another request.
    pub fn sent(&mut self, writer: Writer) {
        if let Writer::Http1(writing) = writer {
            self.writing = Some(writing);
        }
    }

    /// The upstream takes no more of the body.
    pub fn give_up_sending(&mut self) {
        self.upload = None;
        self.spent = true;
    }

    /// The answer has come to its end. Where the body has not, nothing more of it is sent.
    pub fn settle(&mut self) {
        match self.upload.take() {
            Some(upload) if upload.is_sent() => self.sent(upload.into_writer()),
            Some(_) => self.spent = true,
            None => {}
        }
    }

    /// The connection itself, for bytes that are not HTTP any more; HTTP/1 only.
    pub fn into_stream(self) -> Option<Stream> {
        match self.session {
            HttpSession::H1(http1) => Some(http1.into_inner()),
            _ => None,
        }
    }

    /// Whether the upstream answered that it did what it was asked.
    pub fn is_success(&self) -> bool {
        let header = self.session.response_header();
        header.is_some_and(|header| header.status.is_success())
    }

    /// Whether the answer is in no coding that would have to be undone first.
    pub fn is_readable(&self) -> bool {
        let header = self.session.response_header();
        self.decoder.is_some() || header.is_some_and(|header| !coding::is_coded(header))
    }

    /// Has the coding of the answer undone from here on, where there is one and that can be done.
    pub fn undo_coding(&mut self) {
        let header = self.session.response_header();
        self.decoder = header.and_then(Decoder::new).map(Box::new);
    }

    /// Notes the length that an answer has beside `Transfer-Encoding: identity`, which is no coding: pingora
    /// takes it for one and would wait for the connection to close.
    pub fn note_length(&mut self) {
        let HttpSession::H1(http1) = &self.session else {
            return;
        };
        let header = http1.resp_header();
        let coding = header.and_then(|it| it.headers.get(header::TRANSFER_ENCODING));
        if !coding.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return;
        }
        let raw = http1.get_headers_raw_bytes();
        let mut fields = raw.split(|&byte| byte == b'\n').filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        });
        let length = fields.find(|(name, _)| name.eq_ignore_ascii_case(b"content-length"));
        self.left = length.and_then(|(_, length)| str::from_utf8(length).ok()?.parse().ok());
        self.spent |= self.left.is_some();
    }

    /// The form that the answer's header tells.
    pub fn told_form(&self) -> Form {
        let header = self.session.response_header();
        header.map_or(Form::Whole, respond::told_form)
    }

    /// Whether its header tells that it is a stream of events, and nothing of it tells otherwise: who waits
    /// for it can be told before the first of them is there.
    pub fn announces_stream(&self) -> bool {
        let header = self.session.response_header();
        self.told_form() == Form::Stream
            && header.is_some_and(|it| !it.headers.contains_key(header::CONTENT_LENGTH))
    }

    /// Bytes that the upstream's kernel has acknowledged on this connection; HTTP/1 only, where
    /// no other request shares it.
    pub fn bytes_acknowledged(&self) -> Option<u64> {
        Some(self.tcp_info()?.tcpi_bytes_acked)
    }

    /// Whether the upstream has closed its side, or the connection broke; HTTP/1 only.
    pub(super) fn is_closed(&self) -> bool {
        self.tcp_info()
            .is_some_and(|info| info.tcpi_state != ESTABLISHED)
    }

    fn tcp_info(&self) -> Option<TCP_INFO> {
        self.socket.as_ref()?.tcp_info()
    }
}

/// The next bytes of an answer's body, its coding undone; `None` at its end. Giving up on it loses nothing.
pub async fn read_body(
    session: &mut HttpSession,
    decoder: &mut Option<Box<Decoder>>,
    left: &mut Option<usize>,
) -> pingora::Result<Option<Bytes>> {
    let Some(decoder) = decoder else {
        return read_coded(session, left).await;
    };
    loop {
        let piece = decoder.piece().map_err(|error| {
            let what = "undoing the coding of the answer";
            Error::because(ErrorType::ReadError, what, error)
        })?;
        if piece.is_some() {
            return Ok(piece);
        }
        match read_coded(session, left).await? {
            Some(coded) => decoder.feed(coded),
            None => return Ok(None),
        }
    }
}

/// The next bytes as they come.
async fn read_coded(
    session: &mut HttpSession,
    left: &mut Option<usize>,
) -> pingora::Result<Option<Bytes>> {
    if *left == Some(0) {
        return Ok(None);
    }
    let mut read = session.read_response_body().await?;
    match (&mut read, left) {
        (Some(read), Some(left)) => {
            read.truncate(*left);
            *left -= read.len();
        }
        (None, Some(_)) => {
            let what = "the connection closed before its length was reached";
            return Error::e_explain(ErrorType::ConnectionClosed, what);
        }
        _ => {}
    }
    Ok(read)
}

async fn write(stream: &mut Stream, wire: &[Bytes], within: Duration) -> pingora::Result<()> {
    let writing = async {
        for piece in wire {
            stream.write_all(piece).await?;
        }
        stream.flush().await
    };
    match timeout(within, writing).await {
        Ok(written) => written
            .map_err(|error| Error::because(ErrorType::WriteError, "writing the request", error)),
        Err(_) => Error::e_explain(
            ErrorType::WriteTimedout,
            format!("the request could not be written within {within:?}"),
        ),
    }
}

/// The stream of which `stream` is one direction and `writing` the other; itself where it is whole.
pub(super) fn rejoin(stream: Stream, writing: Option<WriteHalf<Stream>>) -> Option<Stream> {
    let Some(writing) = writing else {
        return Some(stream);
    };
    let reading = stream.into_any().downcast::<Reading>().ok()?;
    reading
        .0
        .is_pair_of(&writing)
        .then(|| reading.0.unsplit(writing))
}

/// The direction of a connection on which an answer comes.
struct Reading(ReadHalf<Stream>);

impl AsyncRead for Reading {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

/// Nobody writes on it; the trait of a connection asks for both.
impl AsyncWrite for Reading {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for Reading {
    /// The connection closes when both its directions are dropped.
    async fn shutdown(&mut self) {}
}

impl UniqueID for Reading {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl Ssl for Reading {}

impl GetTimingDigest for Reading {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Reading {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Reading {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[async_trait]
impl Peek for Reading {}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}
