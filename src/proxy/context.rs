//! What the proxy knows of one request while it lives.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use pingora::http::RequestHeader;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use super::Shared;
use super::edge::cors::Sharing;
use super::edge::overload::Admission;
use super::route::endpoint::{Endpoint, OTHER};
use super::route::origins::Learning;
use super::socket::handshake::Opened;
use super::socket::lines::Lines;
use crate::dialect::{Answer, Dialect, Wanted};
use crate::quota::Reservation;
use crate::snapshot::{Caller, Snapshot};
use crate::telemetry::ring::{CHAT, REFUSED};
use crate::telemetry::traces::Trace;
use crate::telemetry::{Ledger, Metrics};

/// One request's context; pingora makes it before the header is looked at and drops it after
/// the log line is written.
pub struct Context {
    /// The generation that the request began with and keeps. Set when the context is made.
    pub snapshot: Arc<Snapshot>,
    /// `x-yychat-request-id`. Set when the context is made; read by every answer and log line.
    pub request_id: Uuid,
    /// Where the time goes. Entered by every phase; read by `finish`.
    pub ledger: Ledger,
    /// Its trace, where traces are on. Set by `admit` once the key is proven; handed to the
    /// upstream by `headers`, ended by `finish`.
    pub trace: Option<Trace>,
    /// What kind of request it is. Set by `admit`; a label of metrics, so of a closed set.
    pub route: Route,
    /// What the path asks for. Set by `admit`.
    pub endpoint: Endpoint,
    /// What a browser is told beside the answer. Set by `admit`.
    pub sharing: Sharing,
    /// Who asks. Set by `admit` once the key is proven; absent on refused requests.
    pub caller: Option<Caller>,
    /// Its place among the live requests, which it leaves when dropped. Set by `admit`.
    pub admission: Option<Admission>,
    /// What it has reserved of its key's budgets. Set by `quota`; ended by `finish`.
    pub reservation: Option<Reservation>,
    /// The status that the client was sent. Set by whoever writes the response header.
    pub status: u16,
    /// Whether the answer is a stream of events. Set by `relay`.
    pub streamed: bool,
    /// The API that the answer is read as, where it is. Set by `run` and `plain`; read by `relay`.
    pub dialect: Option<Dialect>,
    /// The model that was asked for. Set by `run` and `plain`.
    pub model: Option<String>,
    /// The upstream that answered, or that was tried last. Set by `leg`.
    pub upstream: Option<String>,
    /// The personality in force. Set by `exchange`; an id that the configuration knows.
    pub personality: Option<String>,
    /// Whose memory, where the request says so. Set by `run`.
    pub user: Option<String>,
    /// The value of `x-yychat-purpose`. Set by `run`.
    pub purpose: Option<Cow<'static, str>>,
    /// The value of `x-yychat-memory`. Set by `exchange`.
    pub memory: Option<Cow<'static, str>>,
    /// The value of `x-yychat-tools`. Set by `exchange`.
    pub tools: Option<Cow<'static, str>>,
    /// Whether the recall came from the cache, where there was one. Set by `exchange`.
    pub cache_hit: Option<bool>,
    /// Whether memory is to keep what the answer says. Set by `exchange`; read by `relay`.
    pub keeps_answer: bool,
    /// What the answer said of itself, as far as it could be read. Set by `relay`.
    pub answer: Option<Answer>,
    /// What an answer that broke off had said of itself by then. Set by `relay` and `tool_loop`.
    pub broken: Option<Answer>,
    /// Whether the upstream tells the usage of a stream to the gateway alone. Set by `ask`; read by
    /// `relay` and `tool_loop`.
    pub hides_usage: bool,
    /// Tools that the gateway ran for it. Set by `tool_loop`.
    pub tool_calls: usize,
    /// Why the request failed, for the log. Set by `fail`.
    pub failure: Option<String>,
    /// The ids that the answer names are remembered with its upstream. Set by `plain`; read by
    /// `relay`.
    pub learning: Option<Learning>,
    /// The connection is HTTP no more, and gone. Set by `upgrade` and `socket`.
    pub is_upgraded: bool,
    /// The header section before anything was taken out of it, where it asks for an upgrade. Set by
    /// `Gateway::serve`, read by `socket`.
    pub as_sent: Option<Box<RequestHeader>>,
    /// A socket that is open. Set by `socket`; served when the request that opened it is filed.
    pub socket: Option<Opened>,
    /// The sockets to upstreams, where it came over a socket itself. Set by `socket`; read by `leg`.
    pub lines: Option<Lines>,
    /// Holds the drain at shutdown, and the gauge, until the context is dropped.
    in_flight: InFlight,
}

/// A request in the count for as long as it lives.
struct InFlight {
    metrics: Arc<Metrics>,
    is_stream: bool,
    _token: TaskTrackerToken,
}

impl InFlight {
    fn new(metrics: &Arc<Metrics>, live: &TaskTracker) -> Self {
        metrics.in_flight.inc();
        Self {
            metrics: metrics.clone(),
            is_stream: false,
            _token: live.token(),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        if self.is_stream {
            self.metrics.live_streams.dec();
        }
    }
}

/// The closed set of routes, as metrics name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1/messages`.
    Messages,
    /// An endpoint of the gateway's own.
    Local,
    /// Everything else under `/v1/`.
    Other,
    /// What was refused before it had a route.
    None,
}

impl Route {
    /// The value of the label `route`.
    pub const fn name(self) -> &'static str {
        match self {
            Route::Chat => CHAT,
            Route::Local => "local",
            Route::Responses => "responses",
            Route::Messages => "messages",
            Route::Other => "other",
            Route::None => REFUSED,
        }
    }
}

impl Context {
    /// A context for a request that begins now, with the generation in force.
    pub fn new(shared: &Shared) -> Self {
        Self {
            snapshot: shared.snapshots.load(),
            request_id: Uuid::now_v7(),
            ledger: Ledger::new(Instant::now()),
            trace: None,
            route: Route::None,
            endpoint: OTHER,
            sharing: Sharing::default(),
            caller: None,
            admission: None,
            reservation: None,
            status: 0,
            streamed: false,
            dialect: None,
            model: None,
            upstream: None,
            personality: None,
            user: None,
            purpose: None,
            memory: None,
            tools: None,
            cache_hit: None,
            keeps_answer: false,
            answer: None,
            broken: None,
            hides_usage: false,
            tool_calls: 0,
            failure: None,
            learning: None,
            is_upgraded: false,
            as_sent: None,
            socket: None,
            lines: None,
            in_flight: InFlight::new(&shared.metrics, &shared.live),
        }
    }

    /// What of the answer is asked for.
    pub fn wanted(&self) -> Wanted {
        if self.keeps_answer {
            Wanted::ALL
        } else if self.trace.as_ref().is_some_and(Trace::is_sampled) {
            Wanted::Facts
        } else {
            Wanted::Usage
        }
    }

    /// Notes that the answer is a stream, which is counted until the context is dropped.
    pub fn begin_stream(&mut self) {
        self.streamed = true;
        let in_flight = &mut self.in_flight;
        if !in_flight.is_stream {
            in_flight.is_stream = true;
            in_flight.metrics.live_streams.inc();
        }
    }
}
