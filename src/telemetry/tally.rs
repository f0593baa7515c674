//! What finished requests add to the metrics. They are filed one after the other by whoever holds the
//! tally, so nothing of it is shared until it is handed over.

use prometheus::Registry;
use prometheus::local::{LocalHistogram, LocalIntCounterVec};

use super::gen_ai::GenAi;
use super::phases::Phase;
use super::registry::{counters, histogram, histograms};
use super::ring::Entry;

/// Counts since the last time that they were handed over.
pub struct Tally {
    requests: LocalIntCounterVec,
    phases: [LocalHistogram; Phase::ALL.len()],
    overhead: LocalHistogram,
    gen_ai: GenAi,
}

impl Tally {
    pub(super) fn new(registry: &Registry) -> Self {
        let phases = histograms(
            registry,
            "yychat_phase_seconds",
            "Time spent in each phase of a request; phases do not overlap",
            &["phase"],
        );
        let requests = counters(
            registry,
            "yychat_requests_total",
            "Requests answered, by route, status and whether the answer was a stream",
            &["route", "status", "stream"],
        );
        let overhead = histogram(
            registry,
            "yychat_overhead_seconds",
            "Time of a request that was neither the upstream's nor the client's",
        );
        Self {
            requests: requests.local(),
            phases: Phase::ALL.map(|phase| phases.with_label_values(&[phase.name()]).local()),
            overhead: overhead.local(),
            gen_ai: GenAi::new(registry),
        }
    }

    pub(super) fn count(&mut self, entry: &Entry) {
        let stream = if entry.stream { "true" } else { "false" };
        let mut digits = itoa::Buffer::new();
        self.requests
            .with_label_values(&[entry.route, digits.format(entry.status), stream])
            .inc();
        for (phase, seconds) in entry.phases.phases() {
            self.phases[phase as usize].observe(seconds);
        }
        self.overhead.observe(entry.overhead);
        self.gen_ai.observe(entry);
    }

    /// Hands over what was counted.
    pub(super) fn flush(&self) {
        self.requests.flush();
        self.phases.iter().for_each(LocalHistogram::flush);
        self.overhead.flush();
        self.gen_ai.flush();
    }
}
