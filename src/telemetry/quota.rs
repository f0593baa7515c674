//! Budgets and the store that gateways share their counts in.

use prometheus::{IntCounter, IntGauge, Registry};

use super::registry::{counter, gauge};

/// The metrics.
pub struct Quota {
    /// `yychat_shared_up`
    pub shared_up: IntGauge,
    /// `yychat_shared_fallback_total`
    pub shared_fallback: IntCounter,
    /// `yychat_budget_refused_total`
    pub budget_refused: IntCounter,
}

impl Quota {
    pub(super) fn new(registry: &Registry) -> Self {
        let quota = Self {
            shared_up: gauge(
                registry,
                "yychat_shared_up",
                "0 while the store that gateways share their counts in is out of reach, else 1",
            ),
            shared_fallback: counter(
                registry,
                "yychat_shared_fallback_total",
                "Requests that were decided without the shared store, since it was out of reach",
            ),
            budget_refused: counter(
                registry,
                "yychat_budget_refused_total",
                "Requests refused because a budget of their key was used up",
            ),
        };
        // Where nothing is shared, nothing is amiss.
        quota.shared_up.set(1);
        quota
    }
}
