//! Every metric, its name and its help text.
//!
//! Labels come from closed sets: routes, status codes, phases, and names out of the
//! configuration. What the configuration does not know is `other`.

use parking_lot::Mutex;
use prometheus::{
    Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::extraction::Extraction;
use super::filing::{self, Desk, Tray};
use super::gen_ai::GenAi;
use super::generation::Generation;
use super::logs;
use super::quota::Quota;
use super::registry::{counters, gauge, histogram, histograms, register, take_over};
use super::ring::{Entry, Ring};
use super::tally::Tally;
use super::tool_calls::ToolCalls;
use super::upstreams::Upstreams;

/// A build for others says its commit and target too.
const VERSION: &str = match option_env!("YYCHAT_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The label of what the configuration does not know.
pub const OTHER: &str = "other";

/// All metrics of one gateway.
pub struct Metrics {
    registry: Registry,
    /// What the filing of requests adds.
    desk: Mutex<Desk>,
    /// `yychat_in_flight`
    pub in_flight: IntGauge,
    /// `yychat_live_streams`
    pub live_streams: IntGauge,
    pub(super) tray: Tray,
    ring: Ring,
    pub(super) upstreams: Upstreams,
    /// The generation in force.
    pub generation: Generation,
    /// `yychat_auth_failures_total`
    pub auth_failures: IntCounter,
    /// `yychat_connections`
    pub connections: IntGauge,
    /// `yychat_body_bytes`
    pub body_bytes: IntGauge,
    rejected: IntCounterVec,
    shed: IntCounterVec,
    memory_recalls: IntCounterVec,
    memory_cache: IntCounterVec,
    memory_writes: IntCounterVec,
    memory_embeddings: IntCounterVec,
    auxiliary: IntCounterVec,
    /// `yychat_tool_calls_total`, `yychat_tools_withheld_total`
    pub tools: ToolCalls,
    /// `yychat_memory_records`
    pub memory_records: IntGauge,
    /// `yychat_memory_queue`
    pub memory_queue: IntGauge,
    /// `yychat_memory_queue_bytes`
    pub memory_queue_bytes: IntGauge,
    traces: IntCounterVec,
    log_dropped: IntCounter,
    /// `yychat_memory_extraction_*`, `yychat_memory_facts_total`
    pub extraction: Extraction,
    /// `yychat_memory_store_up`
    pub memory_store_up: IntGauge,
    build: IntGaugeVec,
    /// `yychat_shared_*`, `yychat_budget_refused_total`
    pub quota: Quota,
}

impl Metrics {
    /// Registers every metric with a registry of its own.
    pub fn new() -> Self {
        let registry = Registry::new();
        let tally = Tally::new(
            counters(
                &registry,
                "yychat_requests_total",
                "Requests answered, by route, status and whether the answer was a stream",
                &["route", "status", "stream"],
            ),
            &histograms(
                &registry,
                "yychat_phase_seconds",
                "Time spent in each phase of a request; phases do not overlap",
                &["phase"],
            ),
            &histogram(
                &registry,
                "yychat_overhead_seconds",
                "Time of a request that was neither the upstream's nor the client's",
            ),
            GenAi::new(&registry),
        );
        let metrics = Self {
            desk: Mutex::new(Desk {
                tally,
                entries: Vec::new(),
            }),
            in_flight: gauge(&registry, "yychat_in_flight", "Requests being served now"),
            live_streams: gauge(
                &registry,
                "yychat_live_streams",
                "Streamed answers under way now",
            ),
            tray: Tray::default(),
            ring: Ring::default(),
            upstreams: Upstreams::new(&registry),
            generation: Generation::new(&registry),
            auth_failures: register(
                &registry,
                IntCounter::new(
                    "yychat_auth_failures_total",
                    "Requests refused for a missing or wrong key",
                ),
            ),
            connections: gauge(
                &registry,
                "yychat_connections",
                "Client connections open now",
            ),
            body_bytes: gauge(
                &registry,
                "yychat_body_bytes",
                "Bytes of request bodies held in memory now",
            ),
            rejected: counters(
                &registry,
                "yychat_rejected_total",
                "Connections and requests refused before they were served, by reason",
                &["reason"],
            ),
            shed: counters(
                &registry,
                "yychat_shed_total",
                "Requests refused to protect the others: over the key's rate, over its share of the live ones, or all room taken",
                &["reason"],
            ),
            memory_recalls: counters(
                &registry,
                "yychat_memory_recall_total",
                "Recalls for chat requests, by outcome",
                &["outcome"],
            ),
            memory_cache: counters(
                &registry,
                "yychat_memory_cache_total",
                "Look-ups of the recall cache, by outcome",
                &["outcome"],
            ),
            memory_writes: counters(
                &registry,
                "yychat_memory_writes_total",
                "What became of texts to be saved: saved, merged, repeated, failed, overflow",
                &["outcome"],
            ),
            memory_embeddings: counters(
                &registry,
                "yychat_memory_embeddings_total",
                "Texts that were to be embedded, by kind and by what became of them",
                &["kind", "outcome"],
            ),
            extraction: Extraction::new(&registry),
            auxiliary: counters(
                &registry,
                "yychat_auxiliary_total",
                "Requests that front ends make for themselves, by the rule that knew them",
                &["rule"],
            ),
            tools: ToolCalls::new(&registry),
            memory_records: gauge(
                &registry,
                "yychat_memory_records",
                "Records in the memory store",
            ),
            memory_queue: gauge(
                &registry,
                "yychat_memory_queue",
                "Turns and writes that wait for the memory store",
            ),
            memory_queue_bytes: gauge(
                &registry,
                "yychat_memory_queue_bytes",
                "Bytes of the turns and writes that wait for the memory store",
            ),
            traces: counters(
                &registry,
                "yychat_traces_total",
                "What became of the traces of sampled requests: exported, failed, or dropped because too many waited",
                &["outcome"],
            ),
            log_dropped: register(
                &registry,
                IntCounter::new(
                    "yychat_log_dropped_total",
                    "Log lines dropped because standard error did not take them",
                ),
            ),
            memory_store_up: gauge(
                &registry,
                "yychat_memory_store_up",
                "0 while the memory store is known to be out of reach, else 1",
            ),
            build: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new("yychat_build_info", "1, for the version that runs"),
                    &["version"],
                ),
            ),
            quota: Quota::new(&registry),
            registry,
        };
        // Where memory is off, nothing is amiss.
        metrics.memory_store_up.set(1);
        metrics.register_process();
        metrics.begin();
        metrics
    }

    /// Has what is counted be there at 0 from the start, so that the first one is seen to be more:
    /// wherever the values of a label are known beforehand.
    fn begin(&self) {
        let counters = [
            (
                &self.memory_recalls,
                &["hit", "miss", "timeout", "error"][..],
            ),
            (&self.memory_cache, &["hit", "miss"]),
            (
                &self.memory_writes,
                &[
                    "saved", "merged", "repeated", "failed", "overflow", "corrupt",
                ],
            ),
            (&self.rejected, &["connections", "handshake"]),
            (
                &self.shed,
                &["rate", "share", "live", "body_share", "bodies"],
            ),
            (&self.traces, &["exported", "failed", "dropped"]),
        ];
        for (counter, values) in counters {
            for value in values {
                counter.with_label_values(&[*value]);
            }
        }
        self.build.with_label_values(&[VERSION]).set(1);
    }

    fn register_process(&self) {
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            // A fresh registry holds nothing that this could collide with.
            let _ = self.registry.register(Box::new(process));
        }
    }

    /// Takes a request that has ended, for the counters, the log and the ring.
    pub fn finish(&self, entry: Entry) {
        if self.tray.put(entry) {
            self.file();
        }
    }

    /// Files the requests that wait for it.
    pub(super) fn file(&self) {
        let mut desk = self.desk.lock();
        let Desk { tally, entries } = &mut *desk;
        self.tray.take(entries);
        for entry in entries.drain(..) {
            tally.count(&entry);
            filing::log(&entry);
            self.ring.push(entry);
        }
        tally.flush();
    }

    /// The last requests.
    pub fn ring(&self) -> &Ring {
        self.file();
        &self.ring
    }

    /// Counts a connection or request refused before it was served.
    pub fn reject(&self, reason: &'static str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    /// Counts a request that was refused to protect the others.
    pub fn shed(&self, reason: &'static str) {
        self.shed.with_label_values(&[reason]).inc();
    }

    /// Counts a recall, and where it was answered whether the cache had it.
    pub fn memory_recall(&self, outcome: &'static str, cached: Option<bool>) {
        self.memory_recalls.with_label_values(&[outcome]).inc();
        if let Some(cached) = cached {
            let outcome = if cached { "hit" } else { "miss" };
            self.memory_cache.with_label_values(&[outcome]).inc();
        }
    }

    /// Counts an auxiliary request; `rule` is a name out of the configuration, or the program's.
    pub fn auxiliary(&self, rule: &str) {
        self.auxiliary.with_label_values(&[rule]).inc();
    }

    /// Takes over a total that memory counts itself.
    pub fn memory_writes(&self, outcome: &'static str, total: u64) {
        take_over(&self.memory_writes, outcome, total);
    }

    /// Counts traces that were `exported`, `failed` or `dropped`.
    pub fn traces(&self, outcome: &'static str, count: usize) {
        self.traces
            .with_label_values(&[outcome])
            .inc_by(count as u64);
    }

    /// Takes over another; `labels` are kind and outcome.
    pub fn memory_embeddings(&self, labels: [&'static str; 2], total: u64) {
        let counter = self.memory_embeddings.with_label_values(&labels);
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// The exposition text of `/metrics`.
    pub fn render(&self) -> Vec<u8> {
        self.file();
        let dropped = logs::dropped();
        self.log_dropped
            .inc_by(dropped.saturating_sub(self.log_dropped.get()));
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
