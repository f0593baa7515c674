//! What memory counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::bill::Payer;
use super::recall::Outcome;

/// Numbers since the start, and as they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    pub recall_hit: u64,
    pub recall_miss: u64,
    pub recall_timeout: u64,
    pub recall_error: u64,
    /// Recalls whose candidates came from the cache.
    pub cache_hit: u64,
    pub cache_miss: u64,
    /// Jobs that wait for the store, and the bytes that they take.
    pub queue: u64,
    pub queue_bytes: u64,
    /// Turns dropped because the queue was full.
    pub overflow: u64,
    /// Records written, new or updated.
    pub saved: u64,
    /// Writes that were refused, and turns given up after the store had refused them for long.
    pub save_failed: u64,
    /// Turns that the store refuses at present; they are tried again every second.
    pub held: u64,
    /// Records that were embedded.
    pub embedded: u64,
    /// Texts that were to be embedded, by what became of them; see [`Embedding::ALL`].
    pub embeddings: [u64; Embedding::ALL.len()],
    /// Texts that updated an old record instead of becoming one.
    pub merged: u64,
    /// Answers that only repeated what was recalled.
    pub repeated: u64,
    /// Changes that were not carried out, since what they belong to had been erased meanwhile.
    pub erased: u64,
    /// Records and files found corrupt.
    pub corrupt: u64,
    /// Exchanges that were to be extracted, by what became of them; see [`Extracted::ALL`].
    pub extracted: [u64; Extracted::ALL.len()],
    /// Facts, by what became of them; see [`Fact::ALL`].
    pub facts: [u64; Fact::ALL.len()],
}

/// What became of an exchange that was to be extracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extracted {
    /// Whether or not there was a fact in it.
    Done,
    /// A try came to nothing.
    Failed,
    /// The last try did.
    SetAside,
    /// Its records are gone, or another gateway has done it.
    Gone,
}

impl Extracted {
    /// In the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::SetAside, Self::Gone];

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::SetAside => "set_aside",
            Self::Gone => "gone",
        }
    }
}

/// What became of a fact that the model gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    Added,
    /// An old one got another text.
    Updated,
    /// It was there already.
    Known,
    Retired,
    /// Too long, too many, only what was said, or of a fact that the model was not shown.
    Refused,
}

impl Fact {
    /// In the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Added,
        Self::Updated,
        Self::Known,
        Self::Retired,
        Self::Refused,
    ];

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Updated => "updated",
            Self::Known => "known",
            Self::Retired => "retired",
            Self::Refused => "refused",
        }
    }
}

/// What became of a text that was to be embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedding {
    /// Its vector was there from an earlier one.
    QueryCached,
    QueryEmbedded,
    /// Not in time.
    QueryLate,
    QueryFailed,
    /// Not tried: the embedder is left alone after a failure, or has enough to do.
    QuerySkipped,
    RecordEmbedded,
    /// Not now; it is tried again.
    RecordFailed,
    /// Left without a vector, since the embedder will not take it.
    RecordRefused,
}

impl Embedding {
    /// In the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::QueryCached,
        Self::QueryEmbedded,
        Self::QueryLate,
        Self::QueryFailed,
        Self::QuerySkipped,
        Self::RecordEmbedded,
        Self::RecordFailed,
        Self::RecordRefused,
    ];

    /// The labels `kind` and `outcome` of its metric.
    pub fn labels(self) -> [&'static str; 2] {
        match self {
            Self::QueryCached => ["query", "cached"],
            Self::QueryEmbedded => ["query", "embedded"],
            Self::QueryLate => ["query", "late"],
            Self::QueryFailed => ["query", "failed"],
            Self::QuerySkipped => ["query", "skipped"],
            Self::RecordEmbedded => ["record", "embedded"],
            Self::RecordFailed => ["record", "failed"],
            Self::RecordRefused => ["record", "refused"],
        }
    }
}

#[derive(Default)]
pub struct Counters {
    /// Who pays for what memory's own models cost, where anybody does.
    pub payer: OnceLock<Arc<dyn Payer>>,
    recall: [AtomicU64; 4],
    cache: [AtomicU64; 2],
    overflow: AtomicU64,
    saved: AtomicU64,
    save_failed: AtomicU64,
    held: AtomicU64,
    embeddings: [AtomicU64; Embedding::ALL.len()],
    merged: AtomicU64,
    repeated: AtomicU64,
    erased: AtomicU64,
    extracted: [AtomicU64; Extracted::ALL.len()],
    facts: [AtomicU64; Fact::ALL.len()],
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
    pub fn payer(&self) -> Option<&dyn Payer> {
        self.payer.get().map(|payer| &**payer)
    }

    pub fn recalled(&self, outcome: Outcome) {
        add(&self.recall[outcome as usize], 1);
    }

    pub fn cache(&self, hit: bool) {
        add(&self.cache[usize::from(!hit)], 1);
    }

    pub fn overflow(&self) {
        add(&self.overflow, 1);
    }

    pub fn saved(&self, count: usize) {
        add(&self.saved, count as u64);
    }

    pub fn save_failed(&self, count: u64) {
        add(&self.save_failed, count);
    }

    pub fn held(&self, turns: usize) {
        self.held.store(turns as u64, Ordering::Relaxed);
    }

    pub fn embedding(&self, became: Embedding, count: usize) {
        add(&self.embeddings[became as usize], count as u64);
    }

    pub fn merged(&self) {
        add(&self.merged, 1);
    }

    pub fn repeated(&self) {
        add(&self.repeated, 1);
    }

    pub fn erased(&self) {
        add(&self.erased, 1);
    }

    pub fn extracted(&self, became: Extracted) {
        add(&self.extracted[became as usize], 1);
    }

    pub fn fact(&self, became: Fact, count: u64) {
        add(&self.facts[became as usize], count);
    }

    /// All but `queue`, `queue_bytes` and `corrupt`, which others know.
    pub fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            recall_hit: get(&self.recall[Outcome::Hit as usize]),
            recall_miss: get(&self.recall[Outcome::Miss as usize]),
            recall_timeout: get(&self.recall[Outcome::Timeout as usize]),
            recall_error: get(&self.recall[Outcome::Error as usize]),
            cache_hit: get(&self.cache[0]),
            cache_miss: get(&self.cache[1]),
            overflow: get(&self.overflow),
            saved: get(&self.saved),
            save_failed: get(&self.save_failed),
            held: get(&self.held),
            embedded: get(&self.embeddings[Embedding::RecordEmbedded as usize]),
            embeddings: Embedding::ALL.map(|became| get(&self.embeddings[became as usize])),
            merged: get(&self.merged),
            repeated: get(&self.repeated),
            erased: get(&self.erased),
            extracted: Extracted::ALL.map(|became| get(&self.extracted[became as usize])),
            facts: Fact::ALL.map(|became| get(&self.facts[became as usize])),
            ..Stats::default()
        }
    }
}
