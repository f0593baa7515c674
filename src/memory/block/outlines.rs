//! What blocks need of texts, kept for the next question: most records are found many times.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use moka::sync::Cache;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::excerpt::Outline;
use crate::memory::weighed::weighed;

/// Bytes that are kept.
const BYTES: u64 = 6 << 20;

/// Bytes that the cache takes for each beside the outline itself, about.
const OVERHEAD: usize = 160;

/// Outlines by the bytes of their texts.
pub struct Outlines {
    /// Drawn at each start, so that nobody can choose texts that are taken for each other.
    seed: u64,
    kept: Cache<u128, Arc<Outline>>,
}

impl Default for Outlines {
    fn default() -> Self {
        Self {
            seed: RandomState::new().hash_one(0),
            kept: weighed(BYTES, |outline: &Outline| outline.weight() + OVERHEAD),
        }
    }
}

impl Outlines {
    pub(super) fn of(&self, text: &str) -> Arc<Outline> {
        let hash = xxh3_128_with_seed(text.as_bytes(), self.seed);
        self.kept.get_with(hash, || Outline::of(text).into())
    }

    /// Lets go of all.
    pub fn forget(&self) {
        self.kept.invalidate_all();
    }
}
