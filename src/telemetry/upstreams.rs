//! What upstreams answer, and which of them are left alone.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::metrics::Metrics;
use super::registry::{counters, register};

/// The metrics. An upstream is a name out of the configuration.
pub(super) struct Upstreams {
    requests: IntCounterVec,
    errors: IntCounterVec,
    open: IntGaugeVec,
    skipped: IntCounterVec,
    fallbacks: IntCounterVec,
}

impl Upstreams {
    pub(super) fn new(registry: &Registry) -> Self {
        let upstreams = Self {
            requests: counters(
                registry,
                "yychat_upstream_requests_total",
                "Requests that upstreams answered, by upstream and status; several may be one client's",
                &["upstream", "status"],
            ),
            errors: counters(
                registry,
                "yychat_upstream_errors_total",
                "Upstream failures, by upstream and kind",
                &["upstream", "kind"],
            ),
            open: register(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "yychat_upstream_open",
                        "1 while an upstream that keeps failing is left alone",
                    ),
                    &["upstream"],
                ),
            ),
            skipped: counters(
                registry,
                "yychat_upstream_skipped_total",
                "Requests that left an upstream out because its breaker was open",
                &["upstream"],
            ),
            fallbacks: counters(
                registry,
                "yychat_fallback_total",
                "Tries of another upstream after one could not be reached: tried, or refused by the budget",
                &["outcome"],
            ),
        };
        for outcome in ["tried", "refused"] {
            upstreams.fallbacks.with_label_values(&[outcome]);
        }
        upstreams
    }
}

impl Metrics {
    /// Has what is counted of an upstream be there at 0.
    pub fn upstream_known(&self, upstream: &str) {
        self.upstreams.skipped.with_label_values(&[upstream]);
        for status in ["200", "429", "500"] {
            let labels = [upstream, status];
            self.upstreams.requests.with_label_values(&labels);
        }
        for kind in ["connect", "timeout", "truncated"] {
            self.upstreams.errors.with_label_values(&[upstream, kind]);
        }
    }

    /// Counts what an upstream answered.
    pub fn upstream_answered(&self, upstream: &str, status: &str) {
        self.upstreams
            .requests
            .with_label_values(&[upstream, status])
            .inc();
    }

    /// Counts an upstream failure.
    pub fn upstream_error(&self, upstream: &str, kind: &'static str) {
        self.upstreams
            .errors
            .with_label_values(&[upstream, kind])
            .inc();
    }

    /// Shows whether an upstream's breaker is open.
    pub fn upstream_open(&self, upstream: &str, open: bool) {
        self.upstreams
            .open
            .with_label_values(&[upstream])
            .set(i64::from(open));
    }

    /// An upstream was taken out of the configuration.
    pub fn upstream_gone(&self, upstream: &str) {
        // It may have had no series.
        let _ = self.upstreams.open.remove_label_values(&[upstream]);
    }

    /// Counts a request that left an upstream out.
    pub fn upstream_skipped(&self, upstream: &str) {
        self.upstreams.skipped.with_label_values(&[upstream]).inc();
    }

    /// Counts a fallback that was `tried`, or `refused` by the budget.
    pub fn fallback(&self, outcome: &'static str) {
        self.upstreams.fallbacks.with_label_values(&[outcome]).inc();
    }
}
