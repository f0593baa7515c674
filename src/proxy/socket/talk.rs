//! A client's socket from its first frame to its last.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora_timeout::timeout;
use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::config;
use super::handshake::Opened;
use super::lines::Lines;
use super::turn::{Turn, prewarm};
use crate::config::model::Timeouts;
use crate::dialect::socket::{Create, Heard, History, Said, Told, in_lane, own_error, read};
use crate::error::ApiError;
use crate::proxy::Gateway;
use crate::proxy::edge::budget::Hold;

/// Frames that wait for those before them.
const WAITING: usize = 32;

/// Serves a socket until one side ends it.
pub async fn talk(gateway: &Gateway, opened: Opened) {
    // Held so that the drain lets it end as it should.
    let _live = gateway.shared.live.token();
    let limit = gateway.shared.snapshots.load().config.server.body_limit;
    let (role, first) = (Role::Server, opened.first.to_vec());
    let socket =
        WebSocketStream::from_partially_read(opened.stream, first, role, Some(config(limit)));
    let (events, to_client) = mpsc::channel(1);
    let talk = Talk {
        gateway,
        asked: &opened.asked,
        lines: Lines::default(),
        events,
        gone: CancellationToken::new(),
    };
    let mut state = State {
        socket: socket.await,
        to_client,
        history: History::default(),
        waiting: VecDeque::new(),
        busy: Vec::new(),
        hold: opened.hold,
        last: Instant::now(),
        ends: None,
        is_torn: false,
    };
    talk.serve(&mut state).await;
}

/// What does not change while it is open.
struct Talk<'a> {
    gateway: &'a Gateway,
    asked: &'a RequestHeader,
    lines: Lines,
    events: mpsc::Sender<Message>,
    /// The client has left.
    gone: CancellationToken,
}

/// What does.
struct State {
    socket: WebSocketStream<Stream>,
    to_client: mpsc::Receiver<Message>,
    history: History,
    waiting: VecDeque<Box<Create>>,
    /// The lanes in which something is being answered, and the bytes of what asked for it.
    busy: Vec<(Option<String>, usize)>,
    /// What is held of what was said.
    hold: Hold,
    /// When the client was last heard.
    last: Instant,
    /// How it ends, once nothing is being answered any more.
    ends: Option<CloseFrame>,
    /// What comes cannot be read as frames.
    is_torn: bool,
}

/// A response that has ended.
struct Done {
    lane: Option<String>,
    told: Told,
    heard: Heard,
}

impl Talk<'_> {
    async fn serve(&self, state: &mut State) {
        let mut running = FuturesUnordered::new();
        let ended = loop {
            while let Some(create) = state.next() {
                state.busy.push((create.lane.clone(), create.bytes()));
                running.push(self.answer(state.history.body(&create), create));
            }
            if running.is_empty()
                && let Some(frame) = state.ends.take()
            {
                break Some(frame);
            }
            let timeouts = self.timeouts();
            let idle = state.last + timeouts.stream_idle;
            let step = tokio::select! {
                biased;
                Some(event) = state.to_client.recv() => state.send(event, timeouts.write).await,
                Some(done) = running.next(), if !running.is_empty() => {
                    state.done(done, timeouts.write).await
                }
                frame = state.socket.next() => self.heard(state, frame).await,
                () = self.gateway.let_go.cancelled(), if state.ends.is_none() => {
                    self.let_go(state).await
                }
                () = sleep_until(idle), if running.is_empty() => {
                    let why = "nothing was asked for long";
                    Err(Some(closing(CloseCode::Normal, why)))
                }
            };
            if let Err(frame) = step {
                break frame;
            }
        };
        self.gone.cancel();
        state.to_client.close();
        // Each is told that its client has left, and has its end noted.
        while running.next().await.is_some() {}
        if let Some(frame) = ended {
            let _ = timeout(CLOSE, state.close(frame)).await;
        }
    }

    /// Hears a frame. An error ends the socket, with that frame if there is one.
    async fn heard(
        &self,
        state: &mut State,
        frame: Option<Result<Message, Error>>,
    ) -> Result<(), Option<CloseFrame>> {
        state.last = Instant::now();
        state.is_torn = matches!(frame, Some(Err(_)));
        let within = self.timeouts().write;
        match frame {
            Some(Ok(Message::Text(text))) => {
                if let Err(error) = self.take(state, text.into()) {
                    state.tell(&error, None, within).await?;
                }
                Ok(())
            }
            Some(Ok(Message::Binary(_))) => {
                let error = ApiError::bad_request("The frame is binary. Send JSON in text frames.");
                state.tell(&error, None, within).await?;
                Err(Some(closing(CloseCode::Unsupported, "text frames alone")))
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
            Some(Ok(Message::Close(_))) => {
                // It is answered by reading on, and that is written but not flushed.
                let answering = async {
                    let _ = state.socket.next().await;
                    state.socket.get_mut().flush().await
                };
                let _ = timeout(CLOSE, answering).await;
                Err(None)
            }
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { max_size, .. }))) => {
                let error = ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!(
                        "The frame is larger than {max_size} bytes. Send less, or raise \
                         server.body_limit."
                    ),
                );
                state.tell(&error, None, within).await?;
                Err(Some(closing(CloseCode::Size, "the frame is too large")))
            }
            Some(Err(Error::Utf8(_))) => Err(Some(closing(CloseCode::Invalid, "not UTF-8"))),
            Some(Err(Error::Protocol(why))) => {
                Err(Some(closing(CloseCode::Protocol, &why.to_string())))
            }
            None | Some(Err(_)) => Err(None),
        }
    }

    /// Takes what a frame asks for.
    fn take(&self, state: &mut State, frame: Bytes) -> Result<(), ApiError> {
        let depth = self
            .gateway
            .shared
            .snapshots
            .load()
            .config
            .limits
            .json_depth;
        let Said::Create(create) = read(&frame, depth)? else {
            return Ok(());
        };
        if state.waiting.len() >= WAITING {
            return Err(ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "{WAITING} events wait for an answer already. Send more when one has come."
                ),
            ));
        }
        state.hold.grow(create.bytes())?;
        state.waiting.push_back(create);
        Ok(())
    }

    async fn answer(&self, (body, told): (Bytes, Told), create: Box<Create>) -> Done {
        let turn = Turn {
            gateway: self.gateway,
            asked: self.asked,
            lines: self.lines.in_lane(create.lane.clone()),
            lane: create.lane.as_deref(),
            events: &self.events,
            gone: &self.gone,
        };
        let heard = match create.generates {
            true => turn.run(body).await,
            false => turn.tell_all(prewarm(create.model.as_deref())).await,
        };
        Done {
            lane: create.lane.clone(),
            told,
            heard,
        }
    }

    /// This process ends: what is being answered is, and what waits is for another to answer.
    async fn let_go(&self, state: &mut State) -> Result<(), Option<CloseFrame>> {
        let why = "the gateway restarts";
        state.ends = Some(closing(CloseCode::Restart, why));
        let within = self.timeouts().write;
        for create in std::mem::take(&mut state.waiting) {
            // What clients know as the reason to connect anew and ask again.
            let error = ApiError::bad_request("The gateway restarts. Open another WebSocket.");
            let error = error.code("websocket_connection_limit_reached");
            state.tell(&error, create.lane.as_deref(), within).await?;
        }
        Ok(())
    }

    fn timeouts(&self) -> Timeouts {
        self.gateway.shared.snapshots.load().config.timeouts.clone()
    }
}

impl State {
    /// What is to be answered next: the first whose lane is free.
    fn next(&mut self) -> Option<Box<Create>> {
        if self.ends.is_some() {
            return None;
        }
        let mut waiting = self.waiting.iter();
        let is_busy = |lane: &Option<String>| self.busy.iter().any(|(busy, _)| busy == lane);
        let at = waiting.position(|create| !is_busy(&create.lane))?;
        self.waiting.remove(at)
    }

    async fn done(&mut self, done: Done, within: Duration) -> Result<(), Option<CloseFrame>> {
        // Its last event may just have been said.
        while let Ok(event) = self.to_client.try_recv() {
            self.send(event, within).await?;
        }
        self.busy.retain(|(lane, _)| *lane != done.lane);
        self.history.answered(done.told, done.heard);
        let waiting: usize = self.waiting.iter().map(|create| create.bytes()).sum();
        let busy: usize = self.busy.iter().map(|(_, bytes)| bytes).sum();
        self.hold.shrink_to(waiting + busy + self.history.bytes());
        self.last = Instant::now();
        Ok(())
    }

    async fn tell(
        &mut self,
        error: &ApiError,
        lane: Option<&str>,
        within: Duration,
    ) -> Result<(), Option<CloseFrame>> {
        self.send(text(in_lane(own_error(error), lane)), within)
            .await
    }

    /// Tells the client the end, and waits until it has heard it.
    async fn close(&mut self, frame: CloseFrame) {
        let _ = self.socket.close(Some(frame)).await;
        match self.is_torn {
            // A close with something unread takes back what was said last.
            true => drop(copy(self.socket.get_mut(), &mut sink()).await),
            false => while let Some(Ok(_)) = self.socket.next().await {},
        }
    }

    async fn send(&mut self, message: Message, within: Duration) -> Result<(), Option<CloseFrame>> {
        match timeout(within, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            // It does not read, or is gone.
            Ok(Err(_)) | Err(_) => Err(None),
        }
    }
}

/// How long the other side is waited for when it is told the end.
const CLOSE: Duration = Duration::from_secs(1);

fn closing(code: CloseCode, why: &str) -> CloseFrame {
    CloseFrame {
        code,
        reason: why.into(),
    }
}

/// An event as a frame.
pub fn text(event: Bytes) -> Message {
    Message::Text(Utf8Bytes::try_from(event.clone()).unwrap_or_else(|_| {
        // An upstream may send what is no UTF-8; a frame of text may not hold it.
        String::from_utf8_lossy(&event).into_owned().into()
    }))
}
