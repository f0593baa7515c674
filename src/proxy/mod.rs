//! The proxy: one request's life.
//!
//! ```text
//! edge       listener: a connection is counted, guarded (guard, framing) and handed to pingora
//!   │        admit: began when? whose key? is there room (overload)? which route?
//!   ├─ chat ──────── exchange: read → prepare → compose → connect → send → wait → relay;
//!   │                tool_loop in place of relay where the gateway's tools are on offer
//!   ├─ local ─────── the gateway's own endpoints, through `Local`
//!   └─ everything ── pingora's own loop: upstream_peer → upstream_request_filter → …
//!   │                upstream: where they are and how they are reached, which are well
//! finish     metrics and one log line, whatever happened; failures go through `fail`
//! ```

mod context;
mod edge;
mod exchange;
mod upstream;

use std::sync::Arc;

use async_trait::async_trait;
use pingora::Error;
use pingora::connectors::ConnectorOptions;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use tokio_util::task::TaskTracker;

use self::context::{Context, Route};
use self::edge::admit;
use self::edge::overload::Overload;
pub use self::edge::{listener, local};
use self::exchange::{fail, finish, pass_through, run};
use self::local::Local;
use self::upstream::dialer::Dialer;
use self::upstream::health::Health;
pub use self::upstream::trust::system_has_authorities;
use crate::memory::Memory;
use crate::snapshot;
use crate::telemetry::Metrics;
use crate::telemetry::traces::Tracer;
use crate::turn::HiddenRounds;

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
    /// The live requests, which are counted and which the drain waits for.
    pub live: TaskTracker,
}

/// Serves the OpenAI-compatible API, with the gateway's own endpoints beside it.
pub struct Gateway {
    shared: Shared,
    local: Local,
    dialer: Arc<Dialer>,
    overload: Overload,
    health: Health,
}

impl Gateway {
    /// A gateway; `local` are its own endpoints. Opens nothing yet.
    pub fn new(shared: Shared, local: Local, conf: &ServerConf) -> Self {
        let health = Health::new(shared.metrics.clone());
        Self {
            shared,
            local,
            health,
            dialer: Arc::new(Dialer::new(ConnectorOptions::from_server_conf(conf))),
            overload: Overload::default(),
        }
    }

    /// What it works with.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Serves a request whose route is not pingora's loop; `Ok(true)` when it is answered.
    async fn serve(&self, session: &mut Session, context: &mut Context) -> pingora::Result<bool> {
        let served = match admit::admit(self, session, context) {
            Ok((Route::PassThrough, _)) => return Ok(false),
            Ok((Route::Chat, caller)) => run::run(self, session, context, &caller).await,
            Ok((Route::Local, caller)) => local::serve(self, session, context, caller).await,
            Ok((Route::None, _)) => Ok(()),
            Err(failure) => Err(failure),
        };
        match served {
            Ok(()) => Ok(true),
            Err(failure) => fail::rescue(self, session, context, failure)
                .await
                .map(|()| true),
        }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(&self.shared)
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> pingora::Result<bool> {
        self.serve(session, context).await
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> pingora::Result<Box<HttpPeer>> {
        pass_through::peer(self, session, context).await
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        pass_through::request(request, context)
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        pass_through::response(response, context);
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut Context,
        error: Box<Error>,
    ) -> Box<Error> {
        pass_through::connect_failed(self, context, error)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        fail::pass_through(self, session, context, error).await
    }

    async fn logging(&self, _session: &mut Session, _error: Option<&Error>, context: &mut Context) {
        finish::finish(self, context);
    }

    fn suppress_error_log(&self, _session: &Session, _context: &Context, _error: &Error) -> bool {
        // Failures are logged once, by `finish`, with the request's id.
        true
    }
}
