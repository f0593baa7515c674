//! One response on a socket: a request within this process, admitted, prepared and sent on as any other
//! is, its events as frames.

use bytes::Bytes;
use http::{HeaderName, Method, header};
use jiff::Timestamp;
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::client::HttpSession;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::BUFFER;
use super::lines::Lines;
use super::talk::text;
use crate::dialect::Dialect;
use crate::dialect::socket::{Heard, error_event, in_lane, own_error, prewarmed};
use crate::error::ApiError;
use crate::proxy::edge::respond;
use crate::proxy::{Gateway, Session};
use crate::snapshot::PROTOCOL_KEY;
use crate::wire::frame::form::{Form, Look, Looking, without_mark};
use crate::wire::frame::sse::{Next, Splitter};

/// Bytes of one event at most: a whole answer, images included, stands in the last one.
const EVENT_LIMIT: usize = 64 * 1024 * 1024;
/// Bytes of an error's body that are read.
const ERROR_LIMIT: usize = 1024 * 1024;

/// What of the request that opened the socket is for that alone.
const OF_HANDSHAKE: [HeaderName; 14] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::ACCEPT_ENCODING,
    header::EXPECT,
    // Codex says there what it opens the socket for, and in each frame's `client_metadata` what that is.
    HeaderName::from_static("x-codex-turn-metadata"),
];

/// One response.
pub struct Turn<'a> {
    pub gateway: &'a Gateway,
    /// The request that opened the socket.
    pub asked: &'a RequestHeader,
    pub lines: Lines,
    pub lane: Option<&'a str>,
    pub events: &'a mpsc::Sender<Message>,
    /// The client has left.
    pub gone: &'a CancellationToken,
}

/// It cannot go on: the client has left, or the answer was cut.
enum Cut {
    Gone,
    Broken(String),
}

impl Turn<'_> {
    /// Asks for what `body` does and tells the client each event. Gives what was heard.
    pub async fn run(self, body: Bytes) -> Heard {
        let (near, far) = duplex(BUFFER);
        let session = Session::new_http1(Box::new(far));
        let serving = self.gateway.serve_within(session, self.lines.clone());
        let asking = async {
            tokio::select! {
                biased;
                () = self.gone.cancelled() => Heard::default(),
                heard = self.ask(near, body) => heard,
            }
        };
        let ((), heard) = tokio::join!(serving, asking);
        heard
    }

    /// Tells events that nobody had to be asked for.
    pub async fn tell_all(self, events: impl IntoIterator<Item = Bytes>) -> Heard {
        let mut heard = Heard::default();
        for event in events {
            if self.tell(&mut heard, event).await.is_err() {
                break;
            }
        }
        heard
    }

    async fn ask(&self, near: DuplexStream, body: Bytes) -> Heard {
        let mut heard = Heard::default();
        let why = match self.exchange(near, &body, &mut heard).await {
            Ok(()) if heard.has_ended() => return heard,
            Ok(()) => "it ended before the response had".to_owned(),
            Err(Cut::Gone) => return heard,
            Err(Cut::Broken(why)) => why,
        };
        // Who waits for the end shall not wait for ever.
        let error = ApiError::bad_gateway(format!("The answer broke off: {why}. Ask again."));
        let error = own_error(&error.code("upstream_error"));
        // The client may be gone by now.
        let _ = self.tell(&mut heard, error).await;
        heard
    }

    async fn exchange(
        &self,
        near: DuplexStream,
        body: &[u8],
        heard: &mut Heard,
    ) -> Result<(), Cut> {
        let mut http = HttpSession::new(Box::new(near));
        let head = request(self.asked, body.len()).map_err(|error| Cut::of(&error))?;
        http.write_request_header(head)
            .await
            .map_err(|error| Cut::of(&error))?;
        http.write_body(body)
            .await
            .map_err(|error| Cut::of(&error))?;
        http.finish_body().await.map_err(|error| Cut::of(&error))?;
        http.read_response()
            .await
            .map_err(|error| Cut::of(&error))?;
        let Some(answer) = http.resp_header() else {
            return Err(Cut::Broken("there is no header section".into()));
        };
        if answer.status.is_success() {
            let (form, read) = form(&mut http).await?;
            return match form {
                Form::Stream => self.stream(&mut http, read, heard).await,
                Form::Whole => self.whole(&mut http, read, heard).await,
            };
        }
        let status = answer.status.as_u16();
        let fields: Vec<_> = answer.headers.iter().filter_map(told).collect();
        let mut body = Vec::new();
        while let Some(chunk) = chunk(&mut http).await? {
            body.extend_from_slice(&chunk);
            if body.len() > ERROR_LIMIT {
                break;
            }
        }
        let event = match status {
            ..400 => no_stream(),
            _ => error_event(status, &body, &fields),
        };
        self.tell(heard, event).await
    }

    /// Tells a whole answer as the events that would have told it.
    async fn whole(
        &self,
        http: &mut HttpSession,
        read: Vec<Bytes>,
        heard: &mut Heard,
    ) -> Result<(), Cut> {
        let mut body = read.concat();
        while let Some(chunk) = chunk(http).await? {
            body.extend_from_slice(&chunk);
            if body.len() > EVENT_LIMIT {
                let why = format!("an answer is larger than {EVENT_LIMIT} bytes");
                return Err(Cut::Broken(why));
            }
        }
        let body = without_mark(&body.into());
        match Dialect::Responses.events(&body) {
            None => self.tell(heard, no_stream()).await,
            Some(events) => {
                for event in events {
                    self.tell(heard, event.data).await?;
                }
                Ok(())
            }
        }
    }

    async fn stream(
        &self,
        http: &mut HttpSession,
        read: Vec<Bytes>,
        heard: &mut Heard,
    ) -> Result<(), Cut> {
        let mut splitter = Splitter::with_limit(EVENT_LIMIT);
        let mut read = read.into_iter();
        loop {
            let next = match read.next() {
                Some(read) => Some(read),
                None => chunk(http).await?,
            };
            let Some(mut chunk) = next else { break };
            loop {
                match splitter.next(&mut chunk) {
                    Next::Frame(frame) => self.pass(heard, frame.data()).await?,
                    Next::More => break,
                    Next::TooLarge(_) => {
                        let why = format!("an event is larger than {EVENT_LIMIT} bytes");
                        return Err(Cut::Broken(why));
                    }
                }
            }
        }
        match splitter.rest() {
            Some(frame) => self.pass(heard, frame.data()).await,
            None => Ok(()),
        }
    }

    async fn pass(&self, heard: &mut Heard, data: Bytes) -> Result<(), Cut> {
        match data.trim_ascii() {
            // Chat Completions end so, and some servers end everything so.
            b"[DONE]" => Ok(()),
            // A comment is there to keep the connection.
            b"" => self.send(Message::Ping(Bytes::new())).await,
            _ => self.tell(heard, data).await,
        }
    }

    async fn tell(&self, heard: &mut Heard, event: Bytes) -> Result<(), Cut> {
        heard.event(&event);
        self.send(text(in_lane(event, self.lane))).await
    }

    async fn send(&self, message: Message) -> Result<(), Cut> {
        self.events.send(message).await.map_err(|_| Cut::Gone)
    }
}

impl Cut {
    fn of(error: &pingora::Error) -> Self {
        Self::Broken(error.etype().as_str().to_owned())
    }
}

async fn chunk(http: &mut HttpSession) -> Result<Option<Bytes>, Cut> {
    let read = http.read_body_bytes().await;
    read.map_err(|error| Cut::of(&error))
}

/// The form of an answer, by its first bytes, and what was read to tell that.
async fn form(http: &mut HttpSession) -> Result<(Form, Vec<Bytes>), Cut> {
    let told = http.resp_header().map_or(Form::Whole, respond::told_form);
    let (mut looking, mut read) = (Looking::default(), Vec::new());
    while let Some(chunk) = chunk(http).await? {
        let look = looking.see(&chunk);
        read.push(chunk);
        match look {
            Look::Is(form) => return Ok((form, read)),
            Look::Neither => break,
            Look::More => {}
        }
    }
    Ok((told, read))
}

fn no_stream() -> Bytes {
    let message = "The upstream's answer is neither a stream of events nor a response.";
    own_error(&ApiError::bad_gateway(message).code("upstream_error"))
}

/// The events of a response that is to get the upstream ready, and to say nothing.
pub fn prewarm(model: Option<&str>) -> [Bytes; 2] {
    let id = format!("resp_{}", Uuid::now_v7().simple());
    prewarmed(&id, model, Timestamp::now().as_second())
}

/// The header section of a request for one response.
fn request(asked: &RequestHeader, length: usize) -> pingora::Result<Box<RequestHeader>> {
    let target = asked.uri.path_and_query();
    let target = target.map_or("/v1/responses", |target| target.as_str());
    let fields = asked.headers.len() + 4;
    let mut head = RequestHeader::build(Method::POST, target.as_bytes(), Some(fields))?;
    for (name, value) in &asked.headers {
        if !OF_HANDSHAKE.contains(name) {
            head.append_header(name.clone(), value.clone())?;
        }
    }
    if let (Some(key), false) = (
        key(asked),
        asked.headers.contains_key(header::AUTHORIZATION),
    ) {
        head.insert_header(header::AUTHORIZATION, format!("Bearer {key}"))?;
    }
    head.insert_header(header::CONTENT_TYPE, "application/json")?;
    head.insert_header(header::CONTENT_LENGTH, length)?;
    Ok(Box::new(head))
}

/// The key that a browser shows among its protocols, since it can show none elsewhere.
fn key(asked: &RequestHeader) -> Option<String> {
    let protocols = asked.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let protocols = protocols.filter_map(|value| value.to_str().ok());
    let mut protocols = protocols.flat_map(|value| value.split(',')).map(str::trim);
    let key = protocols.find_map(|protocol| protocol.strip_prefix(PROTOCOL_KEY))?;
    Some(key.to_owned())
}

/// A field of an answer that is an error, where the client is told it.
fn told((name, value): (&HeaderName, &http::HeaderValue)) -> Option<(String, String)> {
    let is_told = name == header::RETRY_AFTER
        || name.as_str().starts_with("x-")
        || name.as_str().ends_with("request-id");
    let value = value.to_str().ok().filter(|_| is_told)?;
    Some((name.as_str().to_owned(), value.to_owned()))
}
