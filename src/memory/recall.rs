//! What is looked for, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use super::index::Clock;
use super::question::Question;
use super::record::Record;
use super::tries::History;

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct RecallQuery {
    pub question: Arc<Question>,
    /// Fingerprints of what the client already sends: a record that says the same is left out.
    pub already_sent: Vec<u64>,
    /// The conversation that asks.
    pub conversation: Option<Arc<str>>,
    /// Where the question stands in what the client sends.
    pub history: History,
    /// Records at most.
    pub limit: usize,
    /// Time that recall may take.
    pub deadline: Duration,
    /// When it is asked, and whose days are meant.
    pub clock: Clock,
}

/// What recall gave.
#[derive(Debug, Clone)]
pub struct Recall {
    pub outcome: Outcome,
    /// Whether the candidates came from the recall cache.
    pub cached: bool,
    /// The best first; empty unless the outcome is a hit.
    pub records: Vec<Recalled>,
}

/// Part of the best score below which a record tells nothing of what is asked: beyond it the scores
/// of the sets that `docs/memory.md` names have fallen, and hardly any evidence is left.
const TELLING: f32 = 0.2;

impl Recall {
    /// The records that are worth their room beside the best.
    pub fn evidence(&self) -> impl Iterator<Item = &Recalled> + Clone {
        let best = self.records.iter().map(|found| found.score);
        let least = TELLING * best.fold(0.0, f32::max);
        self.records
            .iter()
            .filter(move |found| found.score >= least)
    }
}

/// How a recall ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// At least one record.
    Hit,
    Miss,
    /// Not done by the deadline.
    Timeout,
    /// The store failed; it is logged.
    Error,
}

impl Outcome {
    /// Its name in the `x-yychat-memory` header and as a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Timeout => "timeout",
            Self::Error => "error",
        }
    }
}

/// A record that was found.
#[derive(Debug, Clone)]
pub struct Recalled {
    pub record: Arc<Record>,
    /// Comparable within one answer only.
    pub score: f32,
    /// The part of `score` that the record's own words have.
    pub own: f32,
    /// The part that the words of its neighbours in the conversation lend it.
    pub neighbours: f32,
    /// The part that its meaning has, with its neighbours'; 0 without an embedding.
    pub meaning: f32,
}
