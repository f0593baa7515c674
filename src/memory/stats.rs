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
    /// Texts that updated an old record instead of becoming one.
    pub merged: u64,
    /// Answers that only repeated what was recalled.
    pub repeated: u64,
    /// Records and files found corrupt.
    pub corrupt: u64,
}

#[derive(Debug, Default)]
pub struct Counters {
    recall: [AtomicU64; 4],
    cache: [AtomicU64; 2],
    overflow: AtomicU64,
    saved: AtomicU64,
    save_failed: AtomicU64,
    held: AtomicU64,
    embedded: AtomicU64,
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

    pub fn embedded(&self, count: usize) {
        add(&self.embedded, count as u64);
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
            embedded: get(&self.embedded),
            merged: get(&self.merged),
            repeated: get(&self.repeated),
            ..Stats::default()
        }
    }
}
