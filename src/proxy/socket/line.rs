//! A socket to an upstream, kept by a task of its own for as long as the client's is open: what is
//! asked goes out as a frame, and its events come back as the answer to a POST has them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use pingora::protocols::Stream;
use pingora_timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::BUFFER;
use super::talk::text;
use crate::dialect::socket::{Heard, HttpError, Lineage, http_error};
use crate::wire::frame::Event;
use crate::wire::frame::sse::framed;

/// What an upstream says when a socket has been open for too long, without having looked at the frame …
const TOO_OLD: &str = "websocket_connection_limit_reached";
/// … and when it does not know any more what went before.
const NOT_FOUND: &str = "previous_response_not_found";

/// A request for one response.
pub struct Ask {
    /// The body of the POST that asks the same.
    pub body: Bytes,
    pub answer: oneshot::Sender<Answer>,
    /// One write.
    pub within: Duration,
}

/// What comes of it. None where the line is closed, and nothing was asked.
pub enum Answer {
    /// An HTTP/1 answer, from its first byte.
    Begun(DuplexStream),
    /// The socket does not take it: another may.
    Anew,
    /// It was asked, and nothing came.
    Broken(String),
}

/// One socket.
pub struct Line {
    pub socket: WebSocketStream<Stream>,
    pub lineage: Lineage,
}

/// What is heard of an answer.
enum First {
    Event(Bytes),
    Closed(String),
    /// Nobody waits for it any more.
    Left,
}

impl Line {
    /// Keeps it open and serves what is asked, one after the other, until either side ends it.
    pub async fn keep(mut self, mut asks: mpsc::Receiver<Ask>) {
        loop {
            tokio::select! {
                biased;
                ask = asks.recv() => match ask {
                    None => {
                        // Not waited for: nothing is under way.
                        let _ = self.socket.close(None).await;
                        return;
                    }
                    Some(ask) => if !self.answer(ask).await {
                        return;
                    }
                },
                message = self.socket.next() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    // Pings are answered by reading on; events that nobody asked for are nobody's.
                    Some(Ok(_)) => {}
                },
            }
        }
    }

    /// Answers; whether the socket can be asked again.
    async fn answer(&mut self, mut ask: Ask) -> bool {
        let (frame, told, is_rest) = self.lineage.frame(&ask.body);
        if !self.send(frame, ask.within).await {
            // A frame that did not go out whole was not read.
            let _ = ask.answer.send(Answer::Anew);
            return false;
        }
        let mut first = self.first(&mut ask).await;
        let mut refused = refusal(&first);
        if is_rest && code(refused.as_ref()) == Some(NOT_FOUND) {
            self.lineage.forget();
            let (frame, ..) = self.lineage.frame(&ask.body);
            if !self.send(frame, ask.within).await {
                let _ = ask.answer.send(Answer::Anew);
                return false;
            }
            first = self.first(&mut ask).await;
            refused = refusal(&first);
        }
        let event = match first {
            First::Left => return false,
            First::Closed(why) => {
                let _ = ask.answer.send(Answer::Broken(why));
                return false;
            }
            First::Event(_) if code(refused.as_ref()) == Some(TOO_OLD) => {
                let _ = ask.answer.send(Answer::Anew);
                return false;
            }
            First::Event(event) => event,
        };
        let (near, far) = duplex(BUFFER);
        let _ = ask.answer.send(Answer::Begun(near));
        match refused {
            Some(error) => {
                self.lineage.forget();
                let (_, mut writer) = split(far);
                let _ = writer.write_all(&error.to_wire()).await;
                true
            }
            None => {
                let heard = self.stream(far, event).await;
                let is_whole = heard.has_ended();
                self.lineage.answered(told, heard);
                is_whole
            }
        }
    }

    async fn send(&mut self, frame: Bytes, within: Duration) -> bool {
        let sent = timeout(within, self.socket.send(text(frame))).await;
        matches!(sent, Ok(Ok(())))
    }

    /// The first event of an answer.
    async fn first(&mut self, ask: &mut Ask) -> First {
        tokio::select! {
            biased;
            event = self.event() => event,
            () = ask.answer.closed() => First::Left,
        }
    }

    async fn event(&mut self) -> First {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(event))) => return First::Event(event.into()),
                Some(Ok(Message::Binary(event))) => return First::Event(event),
                Some(Ok(Message::Close(frame))) => {
                    let why = frame.map(|frame| format!("{}: {}", frame.code, frame.reason));
                    let why = why.unwrap_or_else(|| "without a reason".into());
                    return First::Closed(format!("the socket was closed, {why}"));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return First::Closed(error.to_string()),
                None => return First::Closed("the socket was closed".into()),
            }
        }
    }

    /// Passes events on until the response has ended, or whoever reads them has left.
    async fn stream(&mut self, far: DuplexStream, first: Bytes) -> Heard {
        let (mut reader, mut writer) = split(far);
        let mut heard = Heard::default();
        let mut next = Some(first);
        if writer.write_all(STREAM).await.is_err() {
            return heard;
        }
        loop {
            let event = match next.take() {
                Some(event) => event,
                None => match self.while_read(&mut reader).await {
                    First::Event(event) => event,
                    // The answer is cut where it stands.
                    First::Closed(_) | First::Left => return heard,
                },
            };
            heard.event(&event);
            let ends = heard.has_ended();
            if chunk(&mut writer, &framed(&Event::of(event)))
                .await
                .is_err()
            {
                return Heard::default();
            }
            if ends {
                let _ = writer.write_all(b"0\r\n\r\n").await;
                return heard;
            }
        }
    }

    async fn while_read(&mut self, reader: &mut ReadHalf<DuplexStream>) -> First {
        let mut nothing = [0];
        tokio::select! {
            biased;
            event = self.event() => event,
            _ = reader.read(&mut nothing) => First::Left,
        }
    }
}

const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn chunk(writer: &mut WriteHalf<DuplexStream>, bytes: &[u8]) -> std::io::Result<()> {
    let size = format!("{:x}\r\n", bytes.len());
    writer
        .write_all(&[size.as_bytes(), bytes, b"\r\n"].concat())
        .await
}

/// The error that an answer begins with, where it is nothing else.
fn refusal(first: &First) -> Option<HttpError> {
    match first {
        First::Event(event) => http_error(event),
        First::Closed(_) | First::Left => None,
    }
}

fn code(error: Option<&HttpError>) -> Option<&str> {
    error.and_then(|error| error.code.as_deref())
}
