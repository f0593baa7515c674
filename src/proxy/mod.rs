//! The proxy: one request's life.
//!
//! ```text
//! edge       listener: a connection is counted, guarded (guard, framing) and handed to pingora
//!   │        admit: began when? whose key? is there room (overload)? which route?
//!   ├─ local ─────── the gateway's own endpoints, through `Local`
//!   ├─ chat ──────── exchange: read → prepare → leg → relay; tool_loop in place of relay where the
//!   │                gateway's tools are on offer
//!   └─ everything ── exchange: look → leg, the body streaming → relay
//!   │
//! route      which upstreams a request is for: by model, dialect, id
//! upstream   where they are and how they are reached, which are well
//! socket     Responses over a WebSocket: each a request of its own, from `edge` on
//!   │
//! finish     metrics and one log line, whatever happened; failures go through `fail`
//! ```

mod context;
mod edge;
mod exchange;
mod route;
mod socket;
mod upstream;

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode};
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::connectors::ConnectorOptions;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::context::{Context, Route};
use self::edge::admit::{self, Admitted};
use self::edge::budget::Budget;
use self::edge::overload::Overload;
use self::edge::respond;
pub use self::edge::{listener, local, tls};
use self::exchange::fail::Failure;
use self::exchange::{fail, finish, plain, quota, run, upgrade};
use self::local::Local;
use self::route::origins::Origins;
use self::socket::lines::Lines;
use self::socket::talk;
use self::upstream::dialer::Dialer;
use self::upstream::error::root_cause;
use self::upstream::health::Health;
use self::upstream::refusals::Refusals;
pub use self::upstream::trust::system_has_authorities;
use crate::error::ApiError;
use crate::memory::Memory;
use crate::quota::Quota;
use crate::shared::Notes;
use crate::snapshot::{self, Snapshot};
use crate::telemetry::Metrics;
use crate::telemetry::traces::Tracer;
use crate::turn::HiddenRounds;

/// One request of a client, as pingora reads and answers it.
type Session = ServerSession;

/// What a gateway works with.
pub struct Shared {
    pub snapshots: Arc<snapshot::Store>,
    pub metrics: Arc<Metrics>,
    /// Absent where traces are off.
    pub tracer: Option<Arc<Tracer>>,
    /// Absent where memory is switched off.
    pub memory: Option<Arc<Memory>>,
    /// Tool turns that clients have still to go on with.
    pub hidden_rounds: Arc<HiddenRounds>,
    /// What keys may still use, and what they used.
    pub quota: Arc<Quota>,
    /// What gateways of a fleet leave for each other.
    pub notes: Notes,
    /// The live requests, which are counted and which the drain waits for.
    pub live: TaskTracker,
}

/// Serves the OpenAI-compatible API, with the gateway's own endpoints beside it.
pub struct Gateway {
    shared: Shared,
    local: Local,
    dialer: Arc<Dialer>,
    overload: Overload,
    bodies: Budget,
    health: Arc<Health>,
    refusals: Refusals,
    /// Models that refuse to tell the usage of a stream.
    untold: Refusals,
    origins: Origins,
    /// Idle connections of clients are let go.
    let_go: CancellationToken,
}

impl Gateway {
    /// A gateway; `local` are its own endpoints. Opens nothing yet.
    pub fn new(shared: Shared, local: Local, conf: &ServerConf) -> Self {
        let health = Arc::new(Health::new(shared.metrics.clone()));
        Self {
            bodies: Budget::new(shared.metrics.clone()),
            origins: Origins::of_fleet(shared.notes.clone()),
            shared,
            local,
            health,
            refusals: Refusals::default(),
            untold: Refusals::default(),
            dialer: Arc::new(Dialer::new(ConnectorOptions::from_server_conf(conf))),
            overload: Overload::default(),
            let_go: CancellationToken::new(),
        }
    }

    /// What it works with.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What is to be told of each new generation.
    pub fn follower(&self) -> impl Fn(&Snapshot) + Clone + Send + Sync + 'static {
        let health = self.health.clone();
        move |snapshot| health.keep_only(snapshot)
    }

    fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Waits for the next request of a connection; whether there is one. What comes after is boxed, here and
    /// in `process_new_http`, so that a connection that waits holds no room for it.
    async fn next_request(&self, session: &mut Session) -> bool {
        let read = tokio::select! {
            biased;
            read = session.read_request() => read,
            () = self.let_go.cancelled() => return false,
        };
        match read {
            Ok(true) if session.req_header().method != Method::CONNECT => return true,
            Ok(false) => return false,
            // What follows a CONNECT is not HTTP, and nothing of ours.
            Ok(true) => {
                let refusal =
                    "CONNECT is not served: this is a gateway to an API, not a forward proxy.";
                let refusal = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, refusal);
                Box::pin(respond::unread(session, &refusal)).await;
            }
            Err(error) => {
                tracing::debug!(%error, "a request could not be read");
                let why = root_cause(&error);
                let refusal = format!("The request is malformed, or did not come whole: {why}.");
                let refusal = ApiError::bad_request(refusal);
                Box::pin(respond::unread(session, &refusal)).await;
            }
        }
        Box::pin(session.shutdown()).await;
        false
    }

    /// Serves one request. An error has been dealt with: the connection is to be dropped.
    async fn serve(&self, session: &mut Session, context: &mut Context) -> pingora::Result<()> {
        if upgrade::is_asked_for(session) {
            context.as_sent = Some(Box::new(session.req_header().clone()));
        }
        let served = match admit::admit(self, session, context) {
            Ok(Admitted::Answer(answer)) => respond::local(session, context, answer)
                .await
                .map_err(|error| Failure::client(&error)),
            Ok(Admitted::To(Route::Local, caller)) => {
                match quota::spend_rate(self, context, &caller).await {
                    Ok(()) => local::serve(self, session, context, caller).await,
                    Err(refused) => Err(refused),
                }
            }
            Ok(Admitted::To(Route::None, _)) => Ok(()),
            Ok(Admitted::To(_, caller)) => {
                let turn = context.endpoint.turn(&session.req_header().method);
                match turn {
                    Some(turn) => run::run(self, session, context, (&caller, turn)).await,
                    None => plain::run(self, session, context, &caller).await,
                }
            }
            Err(failure) => Err(failure),
        };
        match served {
            Ok(()) => Ok(()),
            Err(failure) => fail::rescue(self, session, context, failure).await,
        }
    }
}

impl Gateway {
    /// Serves a request that one response on a socket is, and that never left this process.
    async fn serve_within(&self, mut session: Session, lines: Lines) {
        if !matches!(session.read_request().await, Ok(true)) {
            return;
        }
        let mut context = Context::new(&self.shared);
        context.lines = Some(lines);
        let served = self.serve(&mut session, &mut context).await;
        finish::finish(self, &mut context);
        if served.is_ok() {
            // There is nobody else behind it.
            let _ = session.finish().await;
        }
    }
}

#[async_trait]
impl HttpServerApp for Gateway {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: Session,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !self.next_request(&mut session).await {
            return None;
        }
        if *shutdown.borrow() {
            session.set_keepalive(None);
        }
        // Held until the last byte is written: the drain waits for it.
        let mut context = Box::new(Context::new(&self.shared));
        let served = Box::pin(self.serve(&mut session, &mut context)).await;
        finish::finish(self, &mut context);
        if let (Ok(()), Some(opened)) = (&served, context.socket.take()) {
            drop(context);
            Box::pin(talk::talk(self, opened)).await;
            return None;
        }
        if served.is_err() || context.is_upgraded {
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = Box::pin(session.finish()).await.ok().flatten()?;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }

    async fn http_cleanup(&self) {
        self.let_go.cancel();
    }
}
