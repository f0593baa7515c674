//! What becomes of exchanges from which facts are to be extracted.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::registry::{counters, gauge, take_over};

/// Memory counts for itself; these take its numbers over.
pub struct Extraction {
    exchanges: IntCounterVec,
    facts: IntCounterVec,
    /// `yychat_memory_extraction_waiting`
    pub waiting: IntGauge,
    /// `yychat_memory_extraction_set_aside`
    pub set_aside: IntGauge,
}

impl Extraction {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            exchanges: counters(
                registry,
                "yychat_memory_extraction_total",
                "Exchanges to be extracted, by outcome: done, failed, set_aside, gone",
                &["outcome"],
            ),
            facts: counters(
                registry,
                "yychat_memory_facts_total",
                "Extracted facts, by outcome: added, updated, known, retired, refused",
                &["outcome"],
            ),
            waiting: gauge(
                registry,
                "yychat_memory_extraction_waiting",
                "Exchanges that wait to be extracted",
            ),
            set_aside: gauge(
                registry,
                "yychat_memory_extraction_set_aside",
                "Exchanges that could not be extracted and are not tried again",
            ),
        }
    }

    /// Takes over a total of exchanges.
    pub fn exchanges(&self, outcome: &'static str, total: u64) {
        take_over(&self.exchanges, outcome, total);
    }

    /// Takes over a total of facts.
    pub fn facts(&self, outcome: &'static str, total: u64) {
        take_over(&self.facts, outcome, total);
    }
}
