//! What finished requests add to the metrics. They are filed one after the other by whoever holds the
//! tally, so nothing of it is shared until it is handed over.

use prometheus::local::{LocalHistogram, LocalIntCounterVec};
use prometheus::{Histogram, HistogramVec, IntCounterVec};

use super::gen_ai::GenAi;
use super::phases::Phase;
use super::ring::Entry;

/// Counts since the last time that they were handed over.
pub struct Tally {
    requests: LocalIntCounterVec,
    phases: [LocalHistogram; Phase::ALL.len()],
    overhead: LocalHistogram,
    gen_ai: GenAi,
}

impl Tally {
    pub(super) fn new(
        requests: &IntCounterVec,
        phases: &HistogramVec,
        overhead: &Histogram,
        gen_ai: GenAi,
    ) -> Self {
        Self {
            requests: requests.local(),
            phases: Phase::ALL.map(|phase| phases.with_label_values(&[phase.name()]).local()),
            overhead: overhead.local(),
            gen_ai,
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
