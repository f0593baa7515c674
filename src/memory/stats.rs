//! What memory counts.

use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Jobs in the save queue.
    pub queue: u64,
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
    /// Records and files found corrupt.
    pub corrupt: u64,
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

#[derive(Debug, Default)]
pub struct Counters {
    recall: [AtomicU64; 4],
    cache: [AtomicU64; 2],
    overflow: AtomicU64,
    saved: AtomicU64,
    save_failed: AtomicU64,
    held: AtomicU64,
    embeddings: [AtomicU64; Embedding::ALL.len()],
    merged: AtomicU64,
    repeated: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
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

    /// All but `queue` and `corrupt`, which others know.
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
            ..Stats::default()
        }
    }
}
