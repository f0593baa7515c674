//! The seam to the gateway's own endpoints: what this module takes and gives is plain `http`,
//! so that they know nothing of pingora and the proxy nothing of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::body;
use super::respond::{self, LocalResponse};
use crate::proxy::context::Context;
use crate::proxy::exchange::fail::Failure;
use crate::proxy::{Gateway, Session};
use crate::snapshot::Caller;

type Answering = Pin<Box<dyn Future<Output = LocalResponse> + Send>>;

/// The gateway's own endpoints, as whoever wires the program gives them.
#[derive(Clone)]
pub struct Local {
    owns: fn(&str) -> bool,
    answer: Arc<dyn Fn(http::Request<Bytes>) -> Answering + Send + Sync>,
}

impl Local {
    /// `owns` tells which paths are local; `answer` serves them. A request carries the
    /// [`Caller`] and the `Arc<Snapshot>` that it is served by among its extensions.
    pub fn new<F>(
        owns: fn(&str) -> bool,
        answer: impl Fn(http::Request<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = LocalResponse> + Send + 'static,
    {
        Self {
            owns,
            answer: Arc::new(move |request| Box::pin(answer(request))),
        }
    }

    /// Whether the path is one of the gateway's own.
    pub fn owns(&self, path: &str) -> bool {
        (self.owns)(path)
    }
}

/// Serves a local endpoint.
pub async fn serve(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
    caller: Caller,
) -> Result<(), Failure> {
    let config = &context.snapshot.config;
    let hold = gateway.bodies.hold(&caller, config);
    // Held until it is answered.
    let (body, _hold) = body::read(session, config, hold).await?;
    let mut request = request(session, body);
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(context.snapshot.clone());
    let response = (gateway.local.answer)(request).await;
    respond::local(session, context, response)
        .await
        .map_err(|error| Failure::client(&error))
}

/// The client's request as `http` has it.
fn request(session: &Session, body: Bytes) -> http::Request<Bytes> {
    let header = session.req_header();
    let mut request = http::Request::new(body);
    *request.method_mut() = header.method.clone();
    *request.uri_mut() = header.uri.clone();
    *request.headers_mut() = header.headers.clone();
    request
}
