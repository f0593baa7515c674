//! What blocks need of texts, kept for the next question: most records are found many times.

use std::sync::Arc;

use super::excerpt::Outline;
use crate::by_bytes::ByBytes;

/// Bytes that are kept.
const BYTES: u64 = 6 << 20;

/// Bytes that the cache takes for each beside the outline itself, about.
const OVERHEAD: usize = 160;

/// Outlines by the bytes of their texts.
pub struct Outlines(ByBytes<Outline>);

impl Default for Outlines {
    fn default() -> Self {
        Self(ByBytes::new(BYTES, |outline| outline.weight() + OVERHEAD))
    }
}

impl Outlines {
    pub(super) fn of(&self, text: &str) -> Arc<Outline> {
        self.0.of(text.as_bytes(), || Outline::of(text))
    }

    /// Lets go of all.
    pub fn forget(&self) {
        self.0.forget();
    }
}
