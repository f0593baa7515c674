//! Caches of what was worked out of texts, by the hash of their bytes.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use moka::sync::Cache;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// One that keeps so many bytes, as `weight` tells them.
pub fn weighed<T: Send + Sync + 'static>(
    bytes: u64,
    weight: fn(&T) -> usize,
) -> Cache<u128, Arc<T>> {
    Cache::builder()
        .weigher(move |_, kept: &Arc<T>| u32::try_from(weight(kept)).unwrap_or(u32::MAX))
        .max_capacity(bytes)
        .build()
}

/// What is worked out of one text each. Its clones are the same.
#[derive(Debug, Clone)]
pub struct ByBytes<T: Send + Sync + 'static> {
    /// Drawn at each start, so that nobody can choose texts that are taken for each other.
    seed: u64,
    kept: Cache<u128, Arc<T>>,
}

impl<T: Send + Sync + 'static> ByBytes<T> {
    /// One that keeps so many bytes, as `weight` tells them.
    pub fn new(bytes: u64, weight: fn(&T) -> usize) -> Self {
        Self {
            seed: RandomState::new().hash_one(0),
            kept: weighed(bytes, weight),
        }
    }

    /// What was worked out of these bytes, or is by `work_out`.
    pub fn of(&self, text: &[u8], work_out: impl FnOnce() -> T) -> Arc<T> {
        let hash = xxh3_128_with_seed(text, self.seed);
        self.kept.get_with(hash, || Arc::new(work_out()))
    }

    /// Lets go of all.
    pub fn forget(&self) {
        self.kept.invalidate_all();
    }
}
