//! Caches of what was worked out of texts, by the hash of their bytes.

use std::sync::Arc;

use moka::sync::Cache;

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
