//! What finished requests add to the metrics. They are filed one after the other by whoever holds the
//! tally, so nothing of it is shared until it is handed over.

use prometheus::local::{LocalHistogram, LocalIntCounter};
use prometheus::{Histogram, HistogramVec, IntCounterVec};

use super::gen_ai::GenAi;
use super::phases::Phase;
use super::ring::Entry;

/// Counts since the last time that they were handed over.
pub struct Tally {
    requests: IntCounterVec,
    /// Those in use, by route, status and whether it was a stream; found by comparing, since they are
    /// few.
    counted: Vec<((&'static str, u16, bool), LocalIntCounter)>,
    phases: [LocalHistogram; Phase::ALL.len()],
    overhead: LocalHistogram,
    gen_ai: GenAi,
}

impl Tally {
    pub(super) fn new(
        requests: IntCounterVec,
        phases: &HistogramVec,
        overhead: &Histogram,
        gen_ai: GenAi,
    ) -> Self {
        Self {
            requests,
            counted: Vec::new(),
            phases: Phase::ALL.map(|phase| phases.with_label_values(&[phase.name()]).local()),
            overhead: overhead.local(),
            gen_ai,
        }
    }

    pub(super) fn count(&mut self, entry: &Entry) {
        let kind = (entry.route, entry.status, entry.stream);
        let same = |(known, _): &(_, _)| *known == kind;
        let (_, counter) = find_or_add(&mut self.counted, same, || {
            let (route, status, stream) = kind;
            let labels = [route, &status.to_string(), &stream.to_string()];
            (kind, self.requests.with_label_values(&labels).local())
        });
        counter.inc();
        for (phase, seconds) in entry.phases.phases() {
            self.phases[phase as usize].observe(seconds);
        }
        self.overhead.observe(entry.overhead);
        self.gen_ai.observe(entry);
    }

    /// Hands over what was counted.
    pub(super) fn flush(&self) {
        self.counted.iter().for_each(|(_, counter)| counter.flush());
        self.phases.iter().for_each(LocalHistogram::flush);
        self.overhead.flush();
        self.gen_ai.flush();
    }
}

/// The one of a few that is the `same`, `made` where there is none.
pub(super) fn find_or_add<T>(
    few: &mut Vec<T>,
    same: impl Fn(&T) -> bool,
    made: impl FnOnce() -> T,
) -> &mut T {
    let at = few.iter().position(same).unwrap_or_else(|| {
        few.push(made());
        few.len() - 1
    });
    &mut few[at]
}
