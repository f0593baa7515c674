//! Which upstream an id is from: of a file, a batch, a stored response. Learnt from answers, so
//! that whoever asks for it again reaches the one that knows it.

use std::sync::Arc;

use memchr::memmem;
use moka::sync::Cache;

/// Ids that are remembered.
const IDS: u64 = 200_000;
/// Bytes of an id.
const SHORTEST: usize = 6;
pub(super) const LONGEST: usize = 128;
/// Bytes at the beginning of an answer that are searched for ids, and how many are taken.
const SEARCHED: usize = 64 * 1024;
const TAKEN: usize = 128;

/// What is known of ids.
pub struct Origins(Cache<Box<str>, Arc<str>>);

/// One answer that is searched for ids as it passes.
pub struct Learning {
    upstream: Arc<str>,
    searched: usize,
    taken: usize,
}

impl Origins {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self(Cache::new(IDS))
    }

    /// The upstream that one of `ids` is from.
    pub fn of(&self, mut ids: impl Iterator<Item = impl AsRef<str>>) -> Option<Arc<str>> {
        ids.find_map(|id| self.0.get(id.as_ref()))
    }

    /// An answer of this upstream.
    pub fn learn(&self, upstream: &str) -> Learning {
        Learning {
            upstream: upstream.into(),
            searched: 0,
            taken: 0,
        }
    }

    /// Remembers the ids in the next bytes of an answer. One that is cut in two by a chunk's end
    /// is missed, which costs a search for it later.
    pub fn see(&self, learning: &mut Learning, chunk: &[u8]) {
        let left = SEARCHED.saturating_sub(learning.searched);
        let chunk = &chunk[..chunk.len().min(left)];
        learning.searched += chunk.len();
        for at in memmem::find_iter(chunk, b"\"id\"") {
            if learning.taken == TAKEN {
                return;
            }
            if let Some(id) = value(&chunk[at + b"\"id\"".len()..]) {
                self.0.insert(id.into(), learning.upstream.clone());
                learning.taken += 1;
            }
        }
    }
}

/// The id that stands behind its name.
fn value(rest: &[u8]) -> Option<&str> {
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    let rest = rest.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().position(|&byte| byte == b'"')?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let id = &rest[..end];
    let fits = (SHORTEST..=LONGEST).contains(&id.len()) && id.iter().all(plain);
    std::str::from_utf8(id).ok().filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_learnt_from_answers_of_any_form() {
        let origins = Origins::new();
        let mut first = origins.learn("first");
        origins.see(
            &mut first,
            br#"{"id": "file-abc", "data":[{"id":"batch_1"}]}"#,
        );
        origins.see(
            &mut first,
            b"event: response.created\ndata: {\"response\":{\"id\":\"resp_123\"}}\n\n",
        );
        for id in ["file-abc", "batch_1", "resp_123"] {
            assert_eq!(origins.of([id].iter()).as_deref(), Some("first"), "{id}");
        }
        let mut second = origins.learn("second");
        origins.see(
            &mut second,
            br#"{"id":"file-abc","x":{"id":"1"},"y":{"id":"a b c d e f"},"id":7}"#,
        );
        assert_eq!(
            origins.of(["x", "file-abc"].iter()).as_deref(),
            Some("second")
        );
        assert_eq!(origins.of(["1", "a b c d e f"].iter()), None);
    }

    #[test]
    fn only_the_beginning_of_an_answer_is_searched() {
        let origins = Origins::new();
        let mut learning = origins.learn("u");
        origins.see(&mut learning, &vec![b' '; SEARCHED]);
        origins.see(&mut learning, br#"{"id":"file-late"}"#);
        assert_eq!(origins.of(["file-late"].iter()), None);
        let many: String = (0..TAKEN + 50)
            .map(|n| format!("{{\"id\":\"id-{n:04}\"}}"))
            .collect();
        let mut learning = origins.learn("u");
        origins.see(&mut learning, many.as_bytes());
        assert!(
            origins.of(["id-0127"].iter()).is_some() && origins.of(["id-0128"].iter()).is_none()
        );
    }
}
