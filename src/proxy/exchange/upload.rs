//! Sending a request's body while its answer is awaited or read already, in both directions at
//! once: what is at hand first, then what the client goes on sending. No more than a piece of it
//! is held.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::SendStream;
use pingora::protocols::Stream;
use pingora::{Error, ErrorType};
use pingora_timeout::timeout;
use tokio::io::{AsyncWriteExt, WriteHalf};

use super::fail::Failure;
use super::watch::departure;
use crate::proxy::Session;
use crate::proxy::edge::body::Body;
use crate::proxy::route::body::Look;

/// Pieces that wait to be written while the next one is read.
const AHEAD: usize = 2;

/// What a body is written to.
pub enum Writer {
    /// As it stands on the wire, framing included.
    Http1(WriteHalf<Stream>),
    Http2(SendStream<Bytes>),
}

/// A body on its way to an upstream.
pub struct Upload {
    writer: Writer,
    is_chunked: bool,
    /// What waits to be written; on HTTP/1 the header section is its beginning.
    unsent: VecDeque<Bytes>,
    /// Where the client has more to send.
    rest: Option<Body>,
    look: Look,
    /// One write.
    within: Duration,
    is_sent: bool,
}

/// Why an upload did not go on.
#[derive(Debug)]
pub enum Cut {
    /// The upstream takes no more.
    Upstream(Box<Error>),
    /// The client left, stalled, or sent what is refused.
    Client(Failure),
}

impl Upload {
    /// A body of which nothing is at hand. One of unknown length `is_chunked` on HTTP/1; `within`
    /// bounds each write.
    pub fn new(writer: Writer, is_chunked: bool, within: Duration) -> Self {
        Self {
            is_chunked: is_chunked && matches!(writer, Writer::Http1(_)),
            writer,
            unsent: VecDeque::new(),
            rest: None,
            look: Look::default(),
            within,
            is_sent: false,
        }
    }

    /// With an HTTP/1 header section, as it stands on the wire, before it.
    pub fn after(mut self, head: Bytes) -> Self {
        self.unsent.push_front(head);
        self
    }

    /// With what is at hand of the body, and what the client goes on sending, which is looked at
    /// on the way.
    pub fn with(
        mut self,
        pieces: impl IntoIterator<Item = Bytes>,
        rest: Option<(Body, Look)>,
    ) -> Self {
        for piece in pieces {
            self.push(piece);
        }
        match rest {
            Some((body, look)) if !body.has_ended() => {
                self.rest = Some(body);
                self.look = look;
            }
            _ => self.end(),
        }
        self
    }

    /// Whether all of it has gone out.
    pub fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// What was written to.
    pub fn into_writer(self) -> Writer {
        self.writer
    }

    /// Goes on until all is sent; after that, watches whether the client leaves. Nothing is lost
    /// where this is given up and called again.
    pub async fn go_on(&mut self, session: &mut Session) -> Result<(), Cut> {
        if self.is_sent {
            return Err(left(session).await);
        }
        loop {
            if self.rest.as_ref().is_some_and(Body::has_ended) {
                self.end();
            }
            let has_room = self.unsent.len() < AHEAD;
            let (writer, unsent) = (&mut self.writer, &mut self.unsent);
            let sending = send(writer, unsent, self.rest.is_none(), self.within);
            let read = match &mut self.rest {
                None => {
                    tokio::select! {
                        biased;
                        sent = sending => sent.map_err(Cut::Upstream)?,
                        cut = left(session) => return Err(cut),
                    }
                    self.is_sent = true;
                    return Ok(());
                }
                Some(body) if has_room => tokio::select! {
                    biased;
                    sent = sending => {
                        sent.map_err(Cut::Upstream)?;
                        body.next(session).await
                    }
                    // Where the upstream takes nothing, it is seen all the same that the client
                    // leaves.
                    read = body.next(session) => read,
                },
                Some(_) => {
                    sending.await.map_err(Cut::Upstream)?;
                    continue;
                }
            };
            if let Some(chunk) = read.map_err(Cut::Client)? {
                let looked = self.look.feed(&chunk);
                looked.map_err(|error| Cut::Client(error.into()))?;
                self.push(chunk);
            }
        }
    }

    /// What was seen of the body on its way.
    pub fn look(&self) -> &Look {
        &self.look
    }

    fn push(&mut self, piece: Bytes) {
        // An empty chunk would be the end of the body.
        if piece.is_empty() {
            return;
        }
        if !self.is_chunked {
            return self.unsent.push_back(piece);
        }
        let mut chunk = BytesMut::with_capacity(piece.len() + 20);
        chunk.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunk.extend_from_slice(&piece);
        chunk.extend_from_slice(b"\r\n");
        self.unsent.push_back(chunk.freeze());
    }

    fn end(&mut self) {
        self.rest = None;
        if self.is_chunked {
            self.unsent.push_back(Bytes::from_static(b"0\r\n\r\n"));
        }
    }
}

/// Writes what waits, and the end where nothing comes after it.
async fn send(
    writer: &mut Writer,
    unsent: &mut VecDeque<Bytes>,
    ends: bool,
    within: Duration,
) -> pingora::Result<()> {
    match writer {
        Writer::Http1(writer) => write(writer, unsent, within).await,
        Writer::Http2(writer) => {
            send_data(writer, unsent, within).await?;
            match ends {
                true => writer.send_data(Bytes::new(), true).map_err(broken),
                false => Ok(()),
            }
        }
    }
}

/// Resolves when the client has left.
async fn left(session: &mut Session) -> Cut {
    match departure(session).await {
        Some(why) => Cut::Client(Failure::ClientGone(why)),
        None => std::future::pending().await,
    }
}

async fn write(
    writer: &mut WriteHalf<Stream>,
    unsent: &mut VecDeque<Bytes>,
    within: Duration,
) -> pingora::Result<()> {
    while let Some(piece) = unsent.front_mut() {
        let written = timeout(within, writer.write(piece)).await;
        let written = written.map_err(|_| stuck(within))?.map_err(failed)?;
        if written == 0 {
            return Err(failed(io::ErrorKind::WriteZero.into()));
        }
        piece.advance(written);
        if piece.is_empty() {
            unsent.pop_front();
        }
    }
    let flushed = timeout(within, writer.flush()).await;
    flushed.map_err(|_| stuck(within))?.map_err(failed)
}

async fn send_data(
    writer: &mut SendStream<Bytes>,
    unsent: &mut VecDeque<Bytes>,
    within: Duration,
) -> pingora::Result<()> {
    while let Some(piece) = unsent.front_mut() {
        if writer.capacity() == 0 {
            writer.reserve_capacity(piece.len());
            let granted = timeout(within, poll_fn(|cx| writer.poll_capacity(cx))).await;
            match granted.map_err(|_| stuck(within))? {
                Some(granted) => drop(granted.map_err(broken)?),
                None => return Err(failed(io::ErrorKind::BrokenPipe.into())),
            }
            continue;
        }
        let fits = writer.capacity().min(piece.len());
        writer
            .send_data(piece.split_to(fits), false)
            .map_err(broken)?;
        if piece.is_empty() {
            unsent.pop_front();
        }
    }
    Ok(())
}

fn failed(error: io::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "writing the request", error)
}

fn broken(error: h2::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "writing the request", error)
}

fn stuck(within: Duration) -> Box<Error> {
    Error::explain(
        ErrorType::WriteTimedout,
        format!("the request could not be written within {within:?}"),
    )
}
