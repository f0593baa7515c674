//! What the dashboard shows: `/status` once, `/events` each second.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_util::stream::{self, Stream, StreamExt};
use parking_lot::Mutex;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Admin;
use crate::config::model::Upstream;
use crate::telemetry::ring::{Entry, unix};

/// How often watchers are told.
const EACH: Duration = Duration::from_secs(1);
/// Requests that a watcher is told of when it comes.
const AT_FIRST: usize = 50;

/// Figures that all watchers share, so that many cost no more than one.
#[derive(Debug, Default)]
pub struct Figures(Mutex<Option<(Instant, Arc<RawValue>)>>);

impl Figures {
    fn stats(&self, admin: &Admin) -> Arc<RawValue> {
        let mut known = self.0.lock();
        if let Some((made, stats)) = &*known
            && made.elapsed() < EACH / 2
        {
            return stats.clone();
        }
        let metrics = &admin.metrics;
        let stats = metrics.ring().stats(None, metrics.live_streams.get());
        // Numbers under fixed names: serde_json cannot refuse them.
        let stats: Arc<RawValue> = to_raw_value(&stats).unwrap_or_default().into();
        *known = Some((Instant::now(), stats.clone()));
        stats
    }
}

/// What the gateway is made of.
pub async fn status(State(admin): State<Admin>) -> Json<Value> {
    let snapshot = admin.snapshots.load();
    let config = &snapshot.config;
    let entries = admin.metrics.ring().recent(usize::MAX, None);
    let upstreams = config.upstreams.iter();
    let upstreams: Vec<_> = upstreams.map(|it| upstream(it, &entries)).collect();
    let personalities = snapshot
        .personalities
        .iter()
        .map(|persona| json!({ "id": persona.id, "name": persona.name, "source": persona.origin }));
    let broken = snapshot.personalities.broken().iter();
    let broken = broken.filter(|broken| !broken.is_last_good);
    let broken = broken.map(|broken| {
        let source = broken.faults.0.first().map(|fault| &fault.origin);
        json!({ "id": broken.id, "name": broken.id, "source": source, "is_broken": true })
    });
    let tools = snapshot.tools.health().into_iter().map(|plugin| {
        json!({
            "plugin": plugin.plugin, "kind": plugin.kind, "state": plugin.state,
            "since": plugin.since.map(unix), "detail": plugin.detail, "tools": plugin.tools,
            "withheld": plugin.withheld,
        })
    });
    let records = match &admin.memory {
        Some(memory) => memory.count().await.ok(),
        None => None,
    };
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "listen": config.server.listen.to_string(),
        "uptime": admin.started.elapsed().as_secs_f64(),
        "generation": generation(&admin),
        "upstreams": upstreams,
        "personalities": personalities.chain(broken).collect::<Vec<_>>(),
        "tools": tools.collect::<Vec<_>>(),
        "auxiliary": snapshot.purposes.iter().collect::<Vec<_>>(),
        "memory": {
            "enabled": admin.memory.is_some() && config.memory.enabled,
            "store": json!(config.memory.store)["store"],
            "records": records,
        },
    }))
}

/// An upstream, with what the last requests say of it.
fn upstream(upstream: &Upstream, entries: &[Arc<Entry>]) -> Value {
    let its = || {
        let entries = entries.iter();
        entries.filter(|entry| entry.upstream.as_deref() == Some(&*upstream.name))
    };
    let failed = || its().filter(|entry| entry.is_error());
    let last = failed().next().map(|entry| {
        let kind = entry.failure.clone();
        let kind = kind.unwrap_or_else(|| format!("status {}", entry.status));
        json!({ "kind": kind, "at": entry.at })
    });
    json!({
        "name": upstream.name, "base_url": upstream.base_url, "models": upstream.model_patterns,
        "requests": its().count(), "errors": failed().count(), "last_error": last,
    })
}

fn generation(admin: &Admin) -> Value {
    let status = admin.snapshots.status();
    let faults = status.faults.0.iter().map(ToString::to_string);
    let broken = status.broken.0.iter().map(ToString::to_string);
    json!({
        "number": status.generation,
        "loaded_at": unix(status.loaded),
        "refused_at": status.refused.map(unix),
        "faults": faults.collect::<Vec<_>>(),
        "broken": broken.collect::<Vec<_>>(),
        "waiting": status.waiting,
        "unwatched": status.unwatched,
        "open_to_all": admin.snapshots.load().is_open_to_all(),
    })
}

/// An `overview` at once and then each second; `generation` whenever that changes.
pub async fn events(
    State(admin): State<Admin>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut ticks = interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher {
        generation: generation(&admin),
        admin,
        ticks,
        seen: None,
    };
    let events = stream::unfold(watcher, async |mut watcher| {
        watcher.ticks.tick().await;
        Some((stream::iter(watcher.next()), watcher))
    });
    Sse::new(events.flatten().map(Ok))
}

/// One who watches.
struct Watcher {
    admin: Admin,
    ticks: Interval,
    /// The number of the last request that it was told of.
    seen: Option<u64>,
    generation: Value,
}

impl Watcher {
    fn next(&mut self) -> Vec<Event> {
        let mut events = vec![Event::default().event("overview").data(self.overview())];
        let generation = generation(&self.admin);
        if generation != self.generation {
            let event = Event::default().event("generation");
            events.push(event.data(generation.to_string()));
            self.generation = generation;
        }
        events
    }

    fn overview(&mut self) -> String {
        let metrics = &self.admin.metrics;
        let mut recent = metrics.ring().after(self.seen.unwrap_or_default());
        if self.seen.is_none() {
            recent.drain(..recent.len().saturating_sub(AT_FIRST));
        }
        self.seen = recent.last().map(|entry| entry.number).or(self.seen);
        self.seen.get_or_insert_default();
        let status = self.admin.snapshots.status();
        let overview = Overview {
            at: unix(SystemTime::now()),
            generation: status.generation,
            broken: !status.is_last_good(),
            in_flight: metrics.in_flight.get(),
            live_streams: metrics.live_streams.get(),
            rates: metrics.ring().rates(),
            stats: &self.admin.figures.stats(&self.admin),
            recent: recent.iter().map(|entry| &**entry).collect(),
        };
        // Numbers, texts and ready JSON.
        serde_json::to_string(&overview).unwrap_or_default()
    }
}

#[derive(serde::Serialize)]
struct Overview<'a> {
    at: f64,
    generation: u64,
    broken: bool,
    in_flight: i64,
    live_streams: i64,
    rates: crate::telemetry::ring::Rates,
    stats: &'a RawValue,
    recent: Vec<&'a Entry>,
}
