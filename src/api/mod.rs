//! The gateway's own endpoints, as plain HTTP services: no socket, no pingora.
//!
//! [`public`] answers beside the OpenAI-compatible API, for callers whose key is proven;
//! [`admin`] answers on a listener of its own.

mod admin;
mod personalities;
mod reply;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

pub use admin::{Admin, admin};
use reply::no_such_endpoint;

use crate::snapshot::Snapshot;

/// Whether `path` is one of [`public`]'s.
pub fn owns(path: &str) -> bool {
    path == "/v1/personalities" || path.starts_with("/v1/personalities/")
}

/// The endpoints of the API listener. A request carries its `Arc<Snapshot>` and its `Caller`
/// among its extensions.
pub fn public() -> Router {
    Router::new()
        .route("/v1/personalities", get(personalities::list))
        .route("/v1/personalities/{id}", get(personalities::show))
        .fallback(no_such_endpoint)
        .method_not_allowed_fallback(reply::method_not_allowed)
}

type Generation = axum::Extension<Arc<Snapshot>>;
