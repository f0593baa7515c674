//! The gateway's own endpoints, as plain HTTP services: no socket, no pingora.
//!
//! [`public`] answers beside the OpenAI-compatible API, for callers whose key is proven. Some of
//! them the admin listener has too.

mod memories;
pub mod openapi;
pub mod performance;
mod personalities;
mod preview;
pub mod reply;
mod tools;
mod transfer;
pub mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

pub use preview::Source as PreviewSource;
use reply::no_such_endpoint;

use crate::memory::Memory;
use crate::quota::Ledger;
use crate::snapshot::{Caller, Snapshot};
use crate::telemetry::Metrics;

/// Whether `path` is one of [`public`]'s.
pub fn owns(path: &str) -> bool {
    let under = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    // `/v1/conversations/…` is OpenAI's own but for this one.
    let conversation_memory = path.starts_with("/v1/conversations/") && path.ends_with("/memory");
    under("/v1/personalities")
        || under("/v1/memories")
        || under("/v1/tools")
        || under("/v1/performance")
        || path == "/v1/preview"
        || path == "/v1/usage"
        || conversation_memory
}

/// The endpoints of the API listener. A request carries its `Arc<Snapshot>` and its `Caller`
/// among its extensions.
pub fn public(preview: preview::Source, metrics: Arc<Metrics>, ledger: Arc<Ledger>) -> Router {
    let memory = preview.memory.clone();
    let tools = Router::new()
        .route("/v1/tools", get(tools::list))
        .route("/v1/tools/call", post(tools::call))
        .with_state(metrics.clone());
    Router::new()
        .route("/v1/personalities", get(personalities::list))
        .route("/v1/personalities/{id}", get(personalities::show))
        .merge(memory_routes(memory))
        .merge(
            Router::new()
                .route("/v1/preview", post(preview::preview))
                .with_state(preview),
        )
        .merge(usage::routes(ledger, performance::Of::Tenant))
        .merge(performance::routes(metrics, performance::Of::Tenant))
        .merge(tools)
        .fallback(no_such_endpoint)
        // It is for the routes that are there by now.
        .method_not_allowed_fallback(reply::method_not_allowed)
        // Bodies have been read, within the configured limit.
        .layer(DefaultBodyLimit::disable())
}

/// What users said, on either listener.
pub fn memory_routes(memory: Option<Arc<Memory>>) -> Router {
    Router::new()
        .route(
            "/v1/memories",
            get(memories::list)
                .post(memories::create)
                .delete(memories::delete_selected),
        )
        .route("/v1/memories/search", post(memories::search))
        .route("/v1/memories/export", get(transfer::export))
        .route("/v1/memories/import", post(transfer::import))
        .route("/v1/memories/users", get(transfer::users))
        .route(
            "/v1/memories/{id}",
            get(memories::get)
                .put(memories::update)
                .delete(memories::delete),
        )
        .route(
            "/v1/conversations/{id}/memory",
            get(memories::conversation).delete(memories::delete_conversation),
        )
        .with_state(memory)
}

type Generation = axum::Extension<Arc<Snapshot>>;
type Who = axum::Extension<Caller>;
