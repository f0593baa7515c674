//! The guard before pingora's parser: a request's header section is read whole, within one
//! deadline and one size, and judged on its raw bytes before anything parses it.
//!
//! pingora 0.9.1 drops `Content-Length` beside `Transfer-Encoding` before any filter runs, takes
//! lines ended by a bare LF, and times each read but not their sum. Two readers that disagree on
//! where a request ends are how requests are smuggled, so what could be read in two ways is
//! refused here (RFC 9112, sections 2.2, 3.2, 5.1, 5.2, 6.1 and 6.3).

mod digests;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use parking_lot::Mutex;
use pingora::protocols::http::ServerSession;
use pingora::protocols::{Peek, Shutdown, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::framing::{self, HeaderLimits};
use crate::error::ApiError;
use crate::telemetry::Metrics;

/// Bytes and time that a refused client is given to finish sending, so that the close does not
/// reset the answer away.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// Bytes of an answer that are gathered before they are sent; larger writes go straight on.
const WRITE_BUFFER: usize = 8 * 1024;

/// Bytes that are read at once where a request begins: most requests whole, and of a large one no
/// more than is cheap to copy once more.
const READ_AT_ONCE: usize = 16 * 1024;

thread_local! {
    /// Where they are read to, so that a connection has no more room than what came needs.
    static ARRIVING: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_AT_ONCE].into());
}

/// A client's connection with the guard in front.
pub struct Guarded {
    inner: Stream,
    limits: HeaderLimits,
    state: State,
    /// Bytes read from the client that pingora has not taken yet.
    pending: BytesMut,
    /// How far `pending` has been searched for the end of the header section.
    searched: usize,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Bytes written by pingora that wait for its flush. Its own buffer of 1,460 bytes would
    /// send a header and a small body as two packets.
    unsent: BytesMut,
    opened: Instant,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

/// What the request's side may read and set while pingora owns the stream.
#[derive(Debug, Default)]
pub struct Shared {
    /// The next bytes begin a request.
    armed: AtomicBool,
    /// When the current request's first byte came, in nanoseconds since the connection opened.
    first_byte: AtomicU64,
    /// What is flushed waits for what is written next.
    corked: AtomicBool,
    /// Lines that go out with the header that is written next.
    fields: Mutex<String>,
}

impl Shared {
    /// While it is corked, a flush sends nothing.
    pub fn cork(&self, corked: bool) {
        self.corked.store(corked, Ordering::Relaxed);
    }

    /// Header fields, each as a line, that go out with the header that is written next; `""` are none.
    pub fn set_fields(&self, fields: String) {
        *self.fields.lock() = fields;
    }
}

enum State {
    /// Bytes pass through: a body, an upgraded connection, or HTTP/2.
    Open,
    /// Collecting a header section.
    Header,
    /// Writing a refusal.
    Refusing(Bytes),
    /// Reading what the refused client still sends.
    Lingering(usize),
    /// Nothing more comes.
    Closed,
}

impl Guarded {
    /// Puts the guard before `inner`. It lets everything pass until [`Guarded::arm`].
    pub fn new(inner: Stream, limits: HeaderLimits, metrics: Arc<Metrics>) -> Self {
        Self {
            inner,
            limits,
            state: State::Open,
            pending: BytesMut::new(),
            searched: 0,
            deadline: None,
            unsent: BytesMut::new(),
            opened: Instant::now(),
            shared: Arc::default(),
            metrics,
        }
    }

    /// The guard of a connection, where it has one.
    pub fn of(session: &ServerSession) -> Option<&Self> {
        session.stream()?.as_any().downcast_ref()
    }

    /// What may be read and set while pingora owns the stream.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// From here on the next bytes are an HTTP/1 request's header section.
    pub fn arm(&self) {
        self.shared.armed.store(true, Ordering::Release);
    }

    /// When the first byte of the current request arrived.
    pub fn first_byte(&self) -> Instant {
        self.opened + Duration::from_nanos(self.shared.first_byte.load(Ordering::Relaxed))
    }

    fn begin_header(&mut self) {
        self.state = State::Header;
        self.searched = 0;
        self.deadline = None;
        if !self.pending.is_empty() {
            self.note_first_byte();
        }
    }

    fn note_first_byte(&mut self) {
        let since = u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.shared.first_byte.store(since, Ordering::Relaxed);
    }

    /// Whether the rest of the header section has been waited for too long. Most come whole, and
    /// need no timer.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let time = self.limits.time;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(time)));
        deadline.as_mut().poll(cx).is_ready()
    }

    /// Looks for the end of the header section in what has come so far.
    fn judge(&mut self) -> Option<Result<(), ApiError>> {
        // RFC 9112 section 2.2: an empty line before the request line is skipped.
        while self.searched == 0 && self.pending.starts_with(b"\r\n") {
            self.pending.advance(2);
        }
        let end = match framing::header_end(&self.pending, &mut self.searched) {
            Ok(end) => end,
            Err(refusal) => return Some(Err(refusal)),
        };
        match end {
            Some(end) if end <= self.limits.bytes => {
                Some(framing::inspect(&self.pending[..end], self.limits.fields))
            }
            None if self.pending.len() <= self.limits.bytes => None,
            _ => Some(Err(ApiError::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                format!(
                    "The request's header section is larger than {} bytes. Send fewer or shorter \
                     header fields, or raise limits.header_bytes.",
                    self.limits.bytes
                ),
            ))),
        }
    }

    fn refuse(&mut self, refusal: &ApiError) {
        tracing::info!(status = refusal.status.as_u16(), reason = %refusal, "request refused before parsing");
        self.metrics.reject(match refusal.status {
            StatusCode::REQUEST_TIMEOUT => "header_timeout",
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "header_size",
            _ => "framing",
        });
        self.state = State::Refusing(framing::refusal(refusal));
        self.pending.clear();
    }

    /// Reads what has come; gives how much.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ARRIVING.with_borrow_mut(|arriving| {
            let mut arriving = ReadBuf::new(arriving);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut arriving))?;
            self.pending.extend_from_slice(arriving.filled());
            Poll::Ready(Ok(arriving.filled().len()))
        })
    }

    /// Hands on what waits for a flush.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// One step of collecting the header section; `Ready` when the state has changed.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.judge() {
            Some(Ok(())) => {
                framing::take_host_off(&mut self.pending);
                self.state = State::Open;
                self.deadline = None;
                return Poll::Ready(Ok(()));
            }
            Some(Err(refusal)) => {
                self.refuse(&refusal);
                return Poll::Ready(Ok(()));
            }
            None => {}
        }
        let waiting = self.pending.is_empty();
        if !waiting && self.is_late(cx) {
            self.refuse(&ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                format!(
                    "The request's header section did not arrive within {:?}.",
                    self.limits.time
                ),
            ));
            return Poll::Ready(Ok(()));
        }
        if waiting && self.unsent.is_empty() {
            // Nor does one that waits for a request hold room for its answer.
            self.unsent = BytesMut::new();
        }
        if ready!(self.fill(cx))? == 0 {
            self.state = State::Closed;
        } else if waiting {
            self.note_first_byte();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Refusing(answer) if answer.is_empty() => {
                ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
                ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
                self.deadline = Some(Box::pin(sleep(LINGER)));
                self.state = State::Lingering(0);
            }
            State::Refusing(answer) => {
                let written = ready!(Pin::new(&mut self.inner).poll_write(cx, answer))?;
                answer.advance(written);
                if written == 0 {
                    self.state = State::Closed;
                }
            }
            _ => {
                let late = self
                    .deadline
                    .as_mut()
                    .is_none_or(|deadline| deadline.as_mut().poll(cx).is_ready());
                let read = if late { 0 } else { ready!(self.fill(cx))? };
                self.pending.clear();
                if let State::Lingering(total) = &mut self.state {
                    *total += read;
                    if read == 0 || *total > LINGER_BYTES {
                        self.state = State::Closed;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.state {
                State::Open if self.shared.armed.swap(false, Ordering::AcqRel) => {
                    self.begin_header();
                }
                State::Open if self.pending.is_empty() => {
                    return Pin::new(&mut self.inner).poll_read(cx, buffer);
                }
                State::Open => {
                    let taken = self.pending.len().min(buffer.remaining());
                    buffer.put_slice(&self.pending.split_to(taken));
                    if self.pending.is_empty() {
                        // A connection that waits for a long answer holds no room for it.
                        self.pending = BytesMut::new();
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Header => ready!(self.poll_header(cx))?,
                State::Refusing(_) | State::Lingering(_) => ready!(self.poll_refusal(cx))?,
                State::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let fields = mem::take(&mut *self.shared.fields.lock());
        if !fields.is_empty() {
            // pingora writes a header in one piece, which ends with an empty line.
            let (header, end) = bytes.split_at(bytes.len().saturating_sub(b"\r\n".len()));
            for part in [header, fields.as_bytes(), end] {
                self.unsent.extend_from_slice(part);
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        if self.unsent.len() + bytes.len() <= WRITE_BUFFER {
            self.unsent.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.corked.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Peek for Guarded {
    /// Fills `expected` with the first bytes of the connection, or with as many as it takes to
    /// see that they are not HTTP/2's preface, which pingora compares them with.
    async fn try_peek(&mut self, expected: &mut [u8]) -> io::Result<bool> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let reading = async {
            while self.pending.len() < PREFACE.len() && PREFACE.starts_with(&self.pending) {
                if self.inner.read_buf(&mut self.pending).await? == 0 {
                    break;
                }
            }
            io::Result::Ok(())
        };
        tokio::time::timeout(self.limits.time, reading).await??;
        let known = self.pending.len().min(expected.len());
        expected[..known].copy_from_slice(&self.pending[..known]);
        Ok(true)
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        // What waits for a flush goes out first.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
