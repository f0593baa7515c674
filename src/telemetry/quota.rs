//! Budgets, what was used, and the store that gateways share their counts in.

use prometheus::{CounterVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::registry::{counter, counters, gauge, register};

/// The metrics.
pub struct Quota {
    /// `yychat_shared_up`
    pub shared_up: IntGauge,
    /// `yychat_shared_fallback_total`
    pub shared_fallback: IntCounter,
    /// `yychat_budget_refused_total`
    pub budget_refused: IntCounter,
    tokens: IntCounterVec,
    dollars: CounterVec,
}

impl Quota {
    pub(super) fn new(registry: &Registry) -> Self {
        let dollars = Opts::new(
            "yychat_usage_dollars_total",
            "What the ledger says was spent, by tenant and model; models without a price cost nothing",
        );
        let quota = Self {
            shared_up: gauge(
                registry,
                "yychat_shared_up",
                "0 while the store that gateways share their counts in is out of reach, else 1",
            ),
            shared_fallback: counter(
                registry,
                "yychat_shared_fallback_total",
                "Questions to the shared store that were done without, since it was out of reach",
            ),
            budget_refused: counter(
                registry,
                "yychat_budget_refused_total",
                "Requests refused because a budget of their key was used up",
            ),
            tokens: counters(
                registry,
                "yychat_usage_tokens_total",
                "Tokens that the ledger has, by tenant, model and kind: input, cached (of the input), output",
                &["tenant", "model", "kind"],
            ),
            dollars: register(registry, CounterVec::new(dollars, &["tenant", "model"])),
        };
        // Where nothing is shared, nothing is amiss.
        quota.shared_up.set(1);
        quota
    }

    /// Counts what was used, the cost in millionths of a dollar. Both labels are names out of the
    /// configuration, or `other`.
    pub fn used(&self, [tenant, model]: [&str; 2], tokens: [u64; 3], micro_usd: u64) {
        for (kind, tokens) in ["input", "cached", "output"].into_iter().zip(tokens) {
            let labels = [tenant, model, kind];
            self.tokens.with_label_values(&labels).inc_by(tokens);
        }
        if micro_usd > 0 {
            // Exact to the millionth for any sum that is ever owed.
            #[expect(clippy::cast_precision_loss, reason = "see above")]
            let dollars = micro_usd as f64 / 1e6;
            let labels = [tenant, model];
            self.dollars.with_label_values(&labels).inc_by(dollars);
        }
    }
}
