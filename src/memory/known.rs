//! What was worked out of texts lately. Clients send their whole history again with each turn, and
//! people ask the same again; neither is to be read word by word each time.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use moka::sync::Cache;
use xxhash_rust::xxh3::Xxh3;

use super::index::Query;
use super::similar::fingerprint;

/// Messages whose fingerprints are kept.
const MESSAGES: u64 = 1 << 16;
/// Bytes of queries that are kept.
const QUERIES: u64 = 4 << 20;

/// Fingerprints of messages and queries, by their bytes.
pub struct Known {
    /// Drawn at each start, so that nobody can choose texts that are taken for each other.
    seed: u64,
    fingerprints: Cache<u128, u64>,
    queries: Cache<u128, Arc<Query>>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            seed: RandomState::new().hash_one(0),
            fingerprints: Cache::new(MESSAGES),
            queries: Cache::builder()
                .weigher(|_, query: &Arc<Query>| u32::try_from(query.weight()).unwrap_or(u32::MAX))
                .max_capacity(QUERIES)
                .build(),
        }
    }
}

impl Known {
    /// The fingerprint of the text that `raw` stands for; the same bytes stand for the same text.
    pub fn fingerprint<'a>(&self, raw: &[u8], text: impl FnOnce() -> Cow<'a, str>) -> u64 {
        let mut hash = Xxh3::with_seed(self.seed);
        hash.update(raw);
        let of = || fingerprint(&text());
        self.fingerprints.get_with(hash.digest128(), of)
    }

    /// The query of these texts, analysed.
    pub fn query(&self, text: &str, context: &[String]) -> Arc<Query> {
        let mut hash = Xxh3::with_seed(self.seed);
        for text in [text].into_iter().chain(context.iter().map(String::as_str)) {
            hash.update(&text.len().to_le_bytes());
            hash.update(text.as_bytes());
        }
        let of = || Arc::new(Query::new(text, context));
        self.queries.get_with(hash.digest128(), of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_what_would_be_worked_out() {
        let known = Known::default();
        let context = ["a cat".to_owned(), "b".to_owned()];
        for _ in 0..2 {
            let print = known.fingerprint(b"\"a\\u0020cat\"", || "a cat".into());
            assert_eq!(print, fingerprint("A  cat."));
            assert_eq!(*known.query("it", &context), Query::new("it", &context));
            // The same bytes, parted elsewhere.
            let parted = ["a ".to_owned(), "catb".to_owned()];
            assert_eq!(*known.query("it", &parted), Query::new("it", &parted));
        }
        let again = known.fingerprint(b"\"a\\u0020cat\"", || unreachable!("it is known"));
        assert_eq!(again, fingerprint("a cat"));
    }
}
