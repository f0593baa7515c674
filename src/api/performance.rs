//! `/v1/performance/*`: the last requests and figures over them. On the API listener a caller
//! sees its tenant's; on the admin listener, whoever is let in sees all.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{delete, get};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::Query;
use crate::snapshot::Caller;
use crate::telemetry::Metrics;
use crate::telemetry::ring::Stats;

/// Requests that `recent` gives where it is not told how many.
const COUNT: usize = 50;

/// Whose requests are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The caller's tenant's.
    Tenant,
    Everyone,
}

#[derive(Clone)]
struct Looking {
    metrics: Arc<Metrics>,
    of: Of,
}

impl Looking {
    fn tenant<'a>(&self, caller: &'a Caller) -> Option<&'a str> {
        (self.of == Of::Tenant).then_some(&*caller.tenant)
    }
}

/// The endpoints, for one listener.
pub fn routes(metrics: Arc<Metrics>, of: Of) -> Router {
    Router::new()
        .route("/v1/performance/stats", get(stats))
        .route("/v1/performance/recent", get(recent))
        .route("/v1/performance/clear", delete(clear))
        .with_state(Looking { metrics, of })
}

async fn stats(State(looking): State<Looking>, who: Extension<Caller>) -> Json<Stats> {
    let metrics = &looking.metrics;
    let live = metrics.live_streams.get();
    Json(metrics.ring().stats(looking.tenant(&who), live))
}

#[derive(Deserialize)]
struct Wanted {
    count: Option<usize>,
}

/// `{object:"list",data:[…]}`, the newest first, 1,000 at most.
async fn recent(
    State(looking): State<Looking>,
    who: Extension<Caller>,
    Query(wanted): Query<Wanted>,
) -> Json<Value> {
    let count = wanted.count.unwrap_or(COUNT);
    let entries = looking.metrics.ring().recent(count, looking.tenant(&who));
    let data: Vec<_> = entries.iter().map(|entry| &**entry).collect();
    Json(json!({ "object": "list", "data": data }))
}

/// `{cleared: n}`.
async fn clear(State(looking): State<Looking>, who: Extension<Caller>) -> Json<Value> {
    let cleared = looking.metrics.ring().clear(looking.tenant(&who));
    Json(json!({ "cleared": cleared }))
}
