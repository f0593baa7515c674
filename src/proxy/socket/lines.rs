//! The sockets to upstreams that a client's socket has open: one for each lane, to whichever upstream
//! its requests are for.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use parking_lot::Mutex;
use pingora::ErrorType;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::upstreams::peer::HttpPeer;
use pingora_timeout::timeout;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use uuid::Uuid;

use super::config;
use super::line::{Answer, Ask, Line};
use crate::config::model::{HttpVersion, Upstream};
use crate::dialect::socket::Lineage;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::exchange::fail::Failure;
use crate::proxy::exchange::headers::{Framing, RequestHead};
use crate::proxy::exchange::leg::{Exchange, Part};
use crate::proxy::exchange::send::wait;
use crate::proxy::exchange::upgrade::hijack_upstream;
use crate::proxy::exchange::watch::with_client;
use crate::proxy::upstream::connection::Connection;
use crate::proxy::upstream::dialer::Kept;
use crate::proxy::upstream::error::{UpstreamError, UpstreamErrorKind};
use crate::proxy::upstream::refusals::Socketless;
use crate::telemetry::Phase;

/// Lines that one client's socket has open: it may name any number of lanes.
const MOST: usize = 16;
/// How long an upstream has to agree to a socket. One that does not answer at all is asked by POST.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes of one event of an upstream's at most.
const EVENT_LIMIT: usize = 64 * 1024 * 1024;
/// What is of the POST, and of no request for a socket.
const OF_BODY: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
];

/// The lines of a client's socket, as one lane sees them.
#[derive(Clone, Default)]
pub struct Lines {
    open: Arc<Mutex<HashMap<Key, Open>>>,
    lane: Option<String>,
}

/// An upstream under one generation, whose settings may have changed since.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    upstream: String,
    generation: u64,
    lane: Option<String>,
}

#[derive(Clone)]
struct Open {
    asks: mpsc::Sender<Ask>,
    peer: HttpPeer,
}

impl Open {
    /// The answer that has begun, as one to a POST.
    async fn begun(
        &self,
        stream: DuplexStream,
        leg: Leg<'_>,
    ) -> Result<Box<Connection>, UpstreamError> {
        let http1 = Http1Session::new_with_options(Box::new(stream), &self.peer);
        let mut connection = Connection::new(HttpSession::H1(http1), self.peer.clone(), false);
        connection.spent = true;
        let within = leg.exchange.snapshot.config.timeouts.first_byte;
        let read = wait(&mut connection, within, false).await;
        read.map_err(|error| UpstreamError::new(&leg.upstream.name, &error))?;
        Ok(Box::new(connection))
    }
}

/// One leg that may go out over a socket.
#[derive(Clone, Copy)]
pub struct Leg<'a> {
    pub exchange: Exchange<'a>,
    pub upstream: &'a Upstream,
    pub part: &'a Part,
    pub with_callers_key: bool,
}

/// What came of it, where the upstream takes sockets.
type Asked = Option<Result<Box<Connection>, UpstreamError>>;

impl Lines {
    /// The same lines for another lane.
    pub fn in_lane(&self, lane: Option<String>) -> Self {
        Self {
            open: self.open.clone(),
            lane,
        }
    }

    /// Asks the upstream over a socket, a kept one or another. `None` where it takes none, and was asked
    /// nothing.
    pub async fn ask(
        &self,
        leg: Leg<'_>,
        session: &mut Session,
        context: &mut Context,
    ) -> Result<Asked, Failure> {
        let key = Key {
            upstream: leg.upstream.name.clone(),
            generation: leg.exchange.snapshot.generation,
            lane: self.lane.clone(),
        };
        let timeouts = &leg.exchange.snapshot.config.timeouts;
        let body: Bytes = leg.part.pieces.concat().into();
        loop {
            let kept = self.open.lock().get(&key).cloned();
            let kept = kept.filter(|open| !open.asks.is_closed());
            let is_kept = kept.is_some();
            let open = match kept {
                Some(open) => open,
                None => match open(leg, session, context).await? {
                    Some(Ok(open)) => self.keep(&key, open),
                    Some(Err(error)) => return Ok(Some(Err(error))),
                    None => return Ok(None),
                },
            };
            context.ledger.enter(Phase::UpstreamTtfb);
            let (answer, answered) = oneshot::channel();
            let ask = Ask {
                body: body.clone(),
                answer,
                within: timeouts.write,
            };
            let waiting = async {
                // A line that is closed drops it.
                let _ = open.asks.send(ask).await;
                answered.await.unwrap_or(Answer::Anew)
            };
            let waiting = timeout(timeouts.first_byte, waiting);
            let answer = with_client(session, pin!(waiting)).await?;
            let failed = |kind, why| UpstreamError {
                upstream: leg.upstream.name.clone(),
                kind,
                why,
            };
            return Ok(Some(match answer {
                Ok(Answer::Begun(stream)) => open.begun(stream, leg).await,
                Ok(Answer::Anew) => {
                    self.open.lock().remove(&key);
                    match is_kept {
                        true => continue,
                        false => return Ok(None),
                    }
                }
                Ok(Answer::Broken(why)) => Err(failed(UpstreamErrorKind::Reset, why)),
                Err(_) => {
                    let why = format!("no event within {:?}", timeouts.first_byte);
                    self.open.lock().remove(&key);
                    Err(failed(UpstreamErrorKind::Timeout, why))
                }
            }));
        }
    }

    fn keep(&self, key: &Key, open: Open) -> Open {
        let mut known = self.open.lock();
        known.retain(|other, open| other.generation == key.generation && !open.asks.is_closed());
        // What is being answered over another one is answered to its end.
        let other = known.keys().next().cloned();
        if let Some(other) = other.filter(|_| known.len() >= MOST) {
            known.remove(&other);
        }
        known.insert(key.clone(), open.clone());
        open
    }
}

/// Opens a socket to the upstream; `None` where it takes none.
async fn open(
    leg: Leg<'_>,
    session: &mut Session,
    context: &mut Context,
) -> Result<Option<Result<Open, UpstreamError>>, Failure> {
    let Leg {
        exchange, upstream, ..
    } = leg;
    let gateway = exchange.gateway;
    let timeouts = &exchange.snapshot.config.timeouts;
    let socketless = Socketless {
        upstream: upstream.name.clone(),
        generation: exchange.snapshot.generation,
    };
    // A socket begins as HTTP/1.
    if upstream.http == HttpVersion::H2 || gateway.refusals.is_socketless(&socketless) {
        return Ok(None);
    }
    context.ledger.enter(Phase::UpstreamConnect);
    let connecting = gateway.dialer.connect(upstream, timeouts, Kept::Upgrade);
    let mut connection = match with_client(session, pin!(connecting)).await? {
        Ok(connection) => connection,
        Err(error) => return Ok(Some(Err(error))),
    };
    gateway.health.connected(exchange.snapshot, upstream);
    let key = STANDARD.encode(Uuid::new_v4().as_bytes());
    let Ok(client) = request(session.req_header(), &key) else {
        return Ok(None);
    };
    let head = RequestHead {
        client: &client,
        upstream,
        trace: context.trace.as_ref(),
        framing: Framing::Upgrade,
        for_gateway: true,
        with_callers_key: leg.with_callers_key,
    };
    let head = head.to_request()?;
    let asking = async {
        if let HttpSession::H1(http1) = &mut connection.session {
            http1.write_request_header(head).await?;
        }
        let within = timeouts.first_byte.min(HANDSHAKE);
        wait(&mut connection, within, true).await
    };
    let answered = with_client(session, pin!(asking)).await?;
    if answered.is_err() || !agrees(&connection, &key) {
        // What is wrong with it, if anything is, the POST that follows will show.
        let is_silent = answered.is_err_and(|error| *error.etype() == ErrorType::ReadTimedout);
        if is_silent || is_settled(&connection) {
            gateway.refusals.remember_socketless(socketless);
        }
        return Ok(None);
    }
    let peer = connection.peer.clone();
    let Some((stream, first)) = hijack_upstream(connection) else {
        return Ok(None);
    };
    let (role, first) = (Role::Client, first.to_vec());
    let socket =
        WebSocketStream::from_partially_read(stream, first, role, Some(config(EVENT_LIMIT))).await;
    let (asks, asked) = mpsc::channel(1);
    let line = Line {
        socket,
        lineage: Lineage::default(),
    };
    tokio::spawn(line.keep(asked));
    Ok(Some(Ok(Open { asks, peer })))
}

/// The header section that asks for a socket, from that of a POST.
fn request(post: &RequestHeader, key: &str) -> pingora::Result<RequestHeader> {
    let target = post.uri.path_and_query();
    let target = target.map_or("/v1/responses", |target| target.as_str());
    let fields = post.headers.len() + 4;
    let mut head = RequestHeader::build(Method::GET, target.as_bytes(), Some(fields))?;
    for (name, value) in &post.headers {
        if !OF_BODY.contains(name) {
            head.append_header(name.clone(), value.clone())?;
        }
    }
    head.insert_header(header::UPGRADE, "websocket")?;
    head.insert_header(header::SEC_WEBSOCKET_VERSION, "13")?;
    head.insert_header(header::SEC_WEBSOCKET_KEY, key)?;
    Ok(head)
}

/// Whether the upstream has opened the socket that was asked for.
fn agrees(connection: &Connection, key: &str) -> bool {
    let accept = derive_accept_key(key.as_bytes());
    connection.session.response_header().is_some_and(|answer| {
        answer.status == StatusCode::SWITCHING_PROTOCOLS
            && answer
                .headers
                .get(header::SEC_WEBSOCKET_ACCEPT)
                .is_some_and(|told| told.as_bytes() == accept.as_bytes())
    })
}

/// Whether a refusal means that there are no sockets, and not that this one was not to be.
fn is_settled(connection: &Connection) -> bool {
    let answer = connection.session.response_header();
    answer.is_some_and(|answer| {
        !matches!(answer.status.as_u16(), 401 | 403 | 408 | 429 | 500 | 502..)
    })
}
