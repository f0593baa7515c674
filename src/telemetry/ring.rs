//! The last requests, each with its ledger, and exact figures over them.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::phases::{Ledger, Phase, Spent};

/// The route of chat completions, also by OpenTelemetry's names.
pub const CHAT: &str = "chat";
/// The route of what was refused before it had one.
pub const REFUSED: &str = "none";

/// Requests that are kept.
const KEPT: usize = 1000;
/// The span over which rates are told.
const RATE: Duration = Duration::from_secs(10);

/// A finished request. Times are in seconds, `at` in seconds since 1970.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Entry {
    /// Grows with each request; no part of what is shown.
    #[serde(skip)]
    pub number: u64,
    pub id: Uuid,
    /// When it ended.
    pub at: f64,
    pub route: &'static str,
    /// What was asked for, of a closed set; `other` where that does not know it.
    pub path: &'static str,
    pub status: u16,
    pub stream: bool,
    pub model: Option<String>,
    /// Whether the configuration names the model in full, so that it may be a label.
    #[serde(skip)]
    pub is_model_named: bool,
    pub upstream: Option<String>,
    pub personality: Option<String>,
    /// Whose memory, where the request says so.
    pub user: Option<String>,
    /// The value of `x-yychat-purpose`.
    pub purpose: Option<Cow<'static, str>>,
    /// The value of `x-yychat-memory`.
    pub memory: Option<Cow<'static, str>>,
    /// Whether the recall was answered from the cache, where there was a recall.
    pub cache_hit: Option<bool>,
    pub total: f64,
    pub first_chunk: Option<f64>,
    /// They sum to the total.
    pub phases: Spent,
    #[serde(skip)]
    pub overhead: f64,
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    /// What they cost, where the model has a price.
    pub usd: Option<f64>,
    pub tool_calls: usize,
    pub failure: Option<String>,
    pub generation: u64,
    #[serde(serialize_with = "shared")]
    pub tenant: Option<Arc<str>>,
}

/// What serde does for `Arc<str>` with a feature that would concern every crate.
fn shared<S: Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

impl Entry {
    /// An entry with the times of a ledger that has come to its end; the rest is for the caller.
    pub fn timed(ledger: &Ledger) -> Self {
        Self {
            at: unix(SystemTime::now()),
            total: ledger.total().as_secs_f64(),
            first_chunk: ledger.first_chunk().map(|spent| spent.as_secs_f64()),
            phases: *ledger.spent(),
            overhead: ledger.spent().overhead().as_secs_f64(),
            ..Self::default()
        }
    }

    /// Whether it went wrong, for whatever reason but the client's.
    pub fn is_error(&self) -> bool {
        self.status >= 500 || (self.failure.is_some() && (200..300).contains(&self.status))
    }

    fn is_of(&self, tenant: Option<&str>) -> bool {
        tenant.is_none() || self.tenant.as_deref() == tenant
    }
}

/// Seconds since 1970.
pub fn unix(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// The last thousand requests. Every look may be narrowed to one tenant.
#[derive(Debug, Default)]
pub struct Ring(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Arc<Entry>>,
    count: u64,
}

impl Ring {
    /// Adds a request; the oldest goes.
    pub fn push(&self, mut entry: Entry) {
        let mut kept = self.0.lock();
        kept.count += 1;
        entry.number = kept.count;
        if kept.entries.len() == KEPT {
            kept.entries.pop_front();
        }
        kept.entries.push_back(Arc::new(entry));
    }

    /// The newest `count` requests, the newest first.
    pub fn recent(&self, count: usize, tenant: Option<&str>) -> Vec<Arc<Entry>> {
        let kept = self.0.lock();
        let newest = kept.entries.iter().rev();
        let wanted = newest.filter(|entry| entry.is_of(tenant));
        wanted.take(count).cloned().collect()
    }

    /// Those that ended after the one of that number, the oldest first.
    pub fn after(&self, number: u64) -> Vec<Arc<Entry>> {
        let kept = self.0.lock();
        let entries = kept.entries.iter();
        entries.filter(|e| e.number > number).cloned().collect()
    }

    /// Forgets the requests; gives how many.
    pub fn clear(&self, tenant: Option<&str>) -> usize {
        let mut kept = self.0.lock();
        let before = kept.entries.len();
        kept.entries.retain(|entry| !entry.is_of(tenant));
        before - kept.entries.len()
    }

    /// Requests and errors a second, over the last ten.
    pub fn rates(&self) -> Rates {
        let now = unix(SystemTime::now());
        let kept = self.0.lock();
        let span = RATE.as_secs_f64();
        let recent = kept.entries.iter().rev();
        let recent = recent.take_while(|entry| entry.at >= now - span);
        let (mut requests, mut errors, mut oldest) = (0.0, 0.0, now - span);
        for entry in recent {
            requests += 1.0;
            errors += f64::from(u8::from(entry.is_error()));
            oldest = entry.at;
        }
        // A full ring may not reach back so far.
        let is_full = kept.entries.len() == KEPT && kept.entries[0].at > now - span;
        let span = if is_full {
            (now - oldest).max(0.001)
        } else {
            span
        };
        Rates {
            requests: requests / span,
            errors: errors / span,
        }
    }

    /// Figures over all that is kept. `live` is the number of streams that are live now.
    pub fn stats(&self, tenant: Option<&str>, live: i64) -> Stats {
        let entries = self.recent(KEPT, tenant);
        let all = |value: fn(&Entry) -> f64| Summary::of(entries.iter().map(|entry| value(entry)));
        let total = all(|entry| entry.total);
        let memory = all(|entry| entry.phases.seconds(Phase::Memory));
        let phases = Phase::ALL.into_iter().map(|phase| {
            let spent = entries.iter().map(|entry| entry.phases.seconds(phase));
            let summary = Summary::of(spent.filter(|&spent| spent > 0.0));
            (phase.name(), summary)
        });
        let phases = phases.filter(|(_, summary)| summary.count > 0).collect();
        let streams = entries.iter().filter(|entry| entry.stream);
        let first = Summary::of(streams.filter_map(|entry| entry.first_chunk));
        let cached = |hit| entries.iter().filter(|e| e.cache_hit == Some(hit)).count();
        let (hits, misses) = (cached(true), cached(false));
        Stats {
            total_requests: entries.len(),
            avg_total_time: total.avg,
            avg_memory_time: memory.avg,
            p50_total_time: total.p50,
            p95_total_time: total.p95,
            p99_total_time: total.p99,
            phases,
            overhead: all(|entry| entry.overhead),
            cache: Cache {
                hits,
                misses,
                #[expect(clippy::cast_precision_loss, reason = "a thousand at most")]
                hit_ratio: hits as f64 / (hits + misses).max(1) as f64,
            },
            streams: Streams {
                live,
                count: first.count,
                first_chunk_p50: first.p50,
                first_chunk_p95: first.p95,
            },
            errors: entries.iter().filter(|entry| entry.is_error()).count(),
            window: Window {
                count: entries.len(),
                since: entries.last().map(|entry| entry.at),
            },
        }
    }
}

/// A second's worth.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rates {
    pub requests: f64,
    pub errors: f64,
}

/// The body of `GET /v1/performance/stats`; times in seconds.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    pub total_requests: usize,
    pub avg_total_time: f64,
    pub avg_memory_time: f64,
    pub p50_total_time: f64,
    pub p95_total_time: f64,
    pub p99_total_time: f64,
    /// Over the requests that entered the phase.
    pub phases: BTreeMap<&'static str, Summary>,
    pub overhead: Summary,
    pub cache: Cache,
    pub streams: Streams,
    pub errors: usize,
    pub window: Window,
}

/// Exact figures of some times, by nearest rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    pub count: usize,
    pub avg: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// Recalls by whether the cache had them.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cache {
    pub hits: usize,
    pub misses: usize,
    pub hit_ratio: f64,
}

/// Streams, and how soon they began.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Streams {
    pub live: i64,
    pub count: usize,
    pub first_chunk_p50: f64,
    pub first_chunk_p95: f64,
}

/// What the figures are of.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Window {
    pub count: usize,
    /// When the oldest of them ended.
    pub since: Option<f64>,
}

impl Summary {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let count = values.len();
        if count == 0 {
            return Self::default();
        }
        let rank = |percent: usize| values[(count * percent).div_ceil(100).max(1) - 1];
        Self {
            count,
            #[expect(clippy::cast_precision_loss, reason = "a thousand at most")]
            avg: values.iter().sum::<f64>() / count as f64,
            p50: rank(50),
            p95: rank(95),
            p99: rank(99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(total: f64, tenant: &str) -> Entry {
        Entry {
            at: unix(SystemTime::now()),
            total,
            tenant: Some(tenant.into()),
            ..Entry::default()
        }
    }

    #[test]
    fn percentiles_are_exact() {
        let summary = Summary::of((1..=100).rev().map(f64::from));
        let ranks = (summary.p50, summary.p95, summary.p99);
        assert_eq!((ranks, summary.avg), ((50.0, 95.0, 99.0), 50.5));
        assert_eq!(Summary::of([7.0].into_iter()).p50, 7.0);
        assert_eq!(Summary::of(std::iter::empty()), Summary::default());
    }

    #[test]
    fn a_thousand_are_kept_and_a_tenant_sees_and_clears_its_own() {
        let ring = Ring::default();
        for number in 0..1100 {
            ring.push(entry(
                f64::from(number),
                if number % 2 == 0 { "a" } else { "b" },
            ));
        }
        assert_eq!(ring.stats(None, 0).total_requests, 1000);
        assert_eq!(ring.recent(1, Some("a"))[0].total, 1098.0);
        assert_eq!(ring.stats(Some("a"), 0).total_requests, 500);
        assert_eq!(ring.after(1098).len(), 2);
        assert_eq!(ring.clear(Some("a")), 500);
        assert_eq!(ring.stats(Some("a"), 0).total_requests, 0);
        assert_eq!(ring.stats(None, 0).total_requests, 500);
        assert!(ring.rates().requests > 49.0);
    }
}
