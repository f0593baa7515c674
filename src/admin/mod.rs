//! The admin listener, a small app of its own: `/metrics`, `/livez`, `/readyz`, and the dashboard
//! page with what it shows.
//!
//! A request is judged by [`guard`] and [`door`], made ready by [`entry`], and answered by its endpoint.

mod door;
mod entry;
mod guard;
mod overview;
mod page;
mod personalities;
mod serve;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use http::{StatusCode, header};

use crate::api::{memory_routes, openapi, performance, reply, usage};
use crate::memory::{Embedding, Extracted, Fact, Memory};
use crate::quota::Quota;
use crate::snapshot::Store;
use crate::telemetry::Metrics;
use crate::tools::{Health, State as PluginState};

pub use overview::Figures;
pub use serve::serve;

/// What the admin endpoints look at.
#[derive(Clone)]
pub struct Admin {
    pub snapshots: Arc<Store>,
    pub metrics: Arc<Metrics>,
    /// Absent where memory is switched off.
    pub memory: Option<Arc<Memory>>,
    pub quota: Arc<Quota>,
    /// The gateway is shutting down and takes no more requests.
    pub draining: Arc<AtomicBool>,
    /// Whether others than this machine's own processes reach the bound address.
    pub exposed: bool,
    /// When the gateway started.
    pub started: Instant,
    /// What the dashboard's watchers share.
    pub figures: Arc<Figures>,
}

/// The endpoints of the admin listener.
pub fn router(admin: Admin) -> Router {
    let store = admin.snapshots.clone();
    let door = door::Door {
        snapshots: store.clone(),
        metrics: admin.metrics.clone(),
        exposed: admin.exposed,
    };
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(overview::status))
        .route("/events", get(overview::events))
        .route("/openapi.json", get(describe_api))
        .route(
            "/personalities/{id}",
            get(personalities::show).put(personalities::edit),
        )
        .merge(page::routes())
        .fallback(reply::no_such_endpoint)
        .method_not_allowed_fallback(reply::method_not_allowed)
        .with_state(admin.clone())
        .merge(usage::routes(
            admin.quota.ledger().clone(),
            performance::Of::Everyone,
        ))
        .merge(performance::routes(
            admin.metrics,
            performance::Of::Everyone,
        ))
        .merge(memory_routes(admin.memory))
        .layer(middleware::from_fn_with_state(store.clone(), entry::enter))
        .layer(middleware::from_fn_with_state(door, door::enter))
        .layer(middleware::from_fn_with_state(store, guard::guard))
}

/// 200 `ok` while requests are taken, 503 `draining` after that. A broken edit does not make the
/// gateway unready, since the last good generation serves; `?verbose` shows it.
async fn ready(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let draining = admin.draining.load(Ordering::Acquire);
    let (status, word) = if draining {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ok\n")
    };
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    if verbose {
        (
            status,
            format!(
                "{word}{}{}{}{}",
                admin.snapshots.status().describe(),
                shared(&admin.quota),
                admin.memory.as_deref().map_or_else(String::new, store),
                describe(&admin.snapshots.load().tools.health())
            ),
        )
            .into_response()
    } else {
        (status, word).into_response()
    }
}

/// A line for a shared store that cannot be used.
fn shared(quota: &Quota) -> String {
    let trouble = quota.trouble();
    trouble.map_or_else(String::new, |why| format!("shared store: down {why}\n"))
}

/// A line for a store that cannot be used.
fn store(memory: &Memory) -> String {
    memory
        .trouble()
        .map_or_else(String::new, |why| format!("memory store: down {why}\n"))
}

/// A line for each plugin whose tools cannot be called, or not all of them.
fn describe(plugins: &[Health]) -> String {
    let plugins = plugins.iter().filter_map(|plugin| {
        let state = match plugin.state {
            PluginState::Ready if plugin.withheld.is_empty() => return None,
            PluginState::Ready => "withholds",
            PluginState::Disabled => "disabled",
            PluginState::Connecting => "connecting",
            PluginState::Down => "down",
        };
        let detail = plugin.detail.iter().chain(&plugin.withheld);
        let detail: Vec<_> = detail.map(String::as_str).collect();
        Some(format!(
            "plugin {}: {state} {}\n",
            plugin.plugin,
            detail.join("; ")
        ))
    });
    plugins.collect()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    if let Some(memory) = &admin.memory {
        show_memory(&admin.metrics, memory).await;
    }
    let unwatched = admin.snapshots.status().unwatched.len();
    let unwatched = i64::try_from(unwatched).unwrap_or(i64::MAX);
    admin.metrics.generation.unwatched.set(unwatched);
    let headers = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (headers, admin.metrics.render()).into_response()
}

async fn describe_api() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, openapi::document()).into_response()
}

/// Memory counts for itself; its numbers are taken over when they are asked for.
async fn show_memory(metrics: &Metrics, memory: &Memory) {
    let stats = memory.stats();
    for (outcome, total) in [
        ("saved", stats.saved),
        ("merged", stats.merged),
        ("repeated", stats.repeated),
        ("erased", stats.erased),
        ("failed", stats.save_failed),
        ("overflow", stats.overflow),
        ("corrupt", stats.corrupt),
    ] {
        metrics.memory_writes(outcome, total);
    }
    for (became, total) in Embedding::ALL.into_iter().zip(stats.embeddings) {
        if memory.embeds() {
            metrics.memory_embeddings(became.labels(), total);
        }
    }
    for (became, total) in Extracted::ALL.into_iter().zip(stats.extracted) {
        metrics.extraction.exchanges(became.name(), total);
    }
    for (became, total) in Fact::ALL.into_iter().zip(stats.facts) {
        metrics.extraction.facts(became.name(), total);
    }
    let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.memory_queue.set(number(stats.queue));
    metrics.memory_queue_bytes.set(number(stats.queue_bytes));
    let usable = memory.trouble().is_none();
    metrics.memory_store_up.set(i64::from(usable));
    // A store that does not answer leaves the last numbers standing.
    if let Ok(records) = memory.count().await {
        metrics.memory_records.set(number(records));
    }
    if let Ok(backlog) = memory.backlog().await {
        metrics.extraction.waiting.set(number(backlog.waiting));
        metrics.extraction.set_aside.set(number(backlog.set_aside));
    }
}
