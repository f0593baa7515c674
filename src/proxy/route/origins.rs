//! Which upstream an id is from: of a file, a batch, a stored response. Learnt from answers, so
//! that whoever asks for it again reaches the one that knows it, through whichever gateway.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;
use moka::sync::Cache;

use crate::shared::{Notes, encoded};

/// Ids that are remembered.
const IDS: u64 = 200_000;
/// Bytes of an id.
const SHORTEST: usize = 6;
pub(super) const LONGEST: usize = 128;
/// Bytes at the beginning of an answer that are searched for ids, and how many are taken.
const SEARCHED: usize = 64 * 1024;
const TAKEN: usize = 128;
/// How long other gateways find them: responses are kept for a month.
const LEFT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What is known of ids, each a tenant's.
pub struct Origins {
    here: Cache<(Arc<str>, Box<str>), Arc<str>>,
    notes: Notes,
}

/// One answer that is searched for ids as it passes.
pub struct Learning {
    tenant: Arc<str>,
    upstream: Arc<str>,
    searched: usize,
    taken: usize,
}

impl Origins {
    /// Nothing is known yet but what other gateways leave.
    pub fn of_fleet(notes: Notes) -> Self {
        Self {
            here: Cache::new(IDS),
            notes,
        }
    }

    /// The upstream that one of a tenant's `ids` is from.
    pub async fn of(&self, tenant: &Arc<str>, ids: Vec<Cow<'_, str>>) -> Option<Arc<str>> {
        let here = |id: &Cow<'_, str>| self.here.get(&(tenant.clone(), (&**id).into()));
        if let Some(upstream) = ids.iter().find_map(here) {
            return Some(upstream);
        }
        if !self.notes.are_shared() {
            return None;
        }
        let ids: Vec<_> = ids.into_iter().filter(|id| fits(id.as_bytes())).collect();
        let names: Vec<_> = ids.iter().map(|id| name(id)).collect();
        let notes = self.notes.find(tenant, &names).await;
        let mut found = ids.iter().zip(notes).filter_map(|(id, note)| {
            let upstream: Arc<str> = std::str::from_utf8(&note?).ok()?.into();
            Some((id, upstream))
        });
        let (id, upstream) = found.next()?;
        let key = (tenant.clone(), (&**id).into());
        self.here.insert(key, upstream.clone());
        Some(upstream)
    }

    /// An answer of this upstream to a tenant.
    pub fn learn(&self, tenant: &Arc<str>, upstream: &str) -> Learning {
        Learning {
            tenant: tenant.clone(),
            upstream: upstream.into(),
            searched: 0,
            taken: 0,
        }
    }

    /// Remembers the ids in the next bytes of an answer. One that is cut in two by a chunk's end
    /// is missed, which costs a search for it later.
    pub async fn see(&self, learning: &mut Learning, chunk: &[u8]) {
        let left = SEARCHED.saturating_sub(learning.searched);
        let chunk = &chunk[..chunk.len().min(left)];
        learning.searched += chunk.len();
        let mut fresh = Vec::new();
        for at in memmem::find_iter(chunk, b"\"id\"") {
            if learning.taken == TAKEN {
                break;
            }
            if let Some(id) = value(&chunk[at + b"\"id\"".len()..]) {
                let key = (learning.tenant.clone(), id.into());
                if self.notes.are_shared()
                    && self.here.get(&key).as_ref() != Some(&learning.upstream)
                {
                    let upstream = Bytes::copy_from_slice(learning.upstream.as_bytes());
                    fresh.push((name(id), upstream));
                }
                self.here.insert(key, learning.upstream.clone());
                learning.taken += 1;
            }
        }
        if !fresh.is_empty() {
            self.notes.keep(&learning.tenant, &fresh, LEFT).await;
        }
    }
}

fn name(id: &str) -> String {
    format!("origin:{}", encoded(id))
}

/// The id that stands behind its name.
fn value(rest: &[u8]) -> Option<&str> {
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    let rest = rest.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().position(|&byte| byte == b'"')?;
    let id = &rest[..end];
    std::str::from_utf8(id).ok().filter(|_| fits(id))
}

/// Whether it may be an id.
fn fits(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    (SHORTEST..=LONGEST).contains(&id.len()) && id.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// What needs no other gateway is there at once.
    fn see(origins: &Origins, learning: &mut Learning, chunk: &[u8]) {
        let seen = origins.see(learning, chunk).now_or_never();
        seen.expect("nothing to wait for");
    }

    fn of(origins: &Origins, ids: &[&str]) -> Option<String> {
        let ids = ids.iter().map(|id| Cow::from(*id)).collect();
        let tenant = "acme".into();
        let found = origins.of(&tenant, ids).now_or_never();
        let found = found.expect("nothing to wait for")?;
        Some(found.to_string())
    }

    fn learn(origins: &Origins, upstream: &str) -> Learning {
        origins.learn(&"acme".into(), upstream)
    }

    #[test]
    fn ids_are_learnt_from_answers_of_any_form() {
        let origins = Origins::of_fleet(Notes::default());
        let mut first = learn(&origins, "first");
        see(
            &origins,
            &mut first,
            br#"{"id": "file-abc", "data":[{"id":"batch_1"}]}"#,
        );
        see(
            &origins,
            &mut first,
            b"event: response.created\ndata: {\"response\":{\"id\":\"resp_123\"}}\n\n",
        );
        for id in ["file-abc", "batch_1", "resp_123"] {
            assert_eq!(of(&origins, &[id]).as_deref(), Some("first"), "{id}");
        }
        let mut second = learn(&origins, "second");
        see(
            &origins,
            &mut second,
            br#"{"id":"file-abc","x":{"id":"1"},"y":{"id":"a b c d e f"},"id":7}"#,
        );
        assert_eq!(of(&origins, &["x", "file-abc"]).as_deref(), Some("second"));
        assert_eq!(of(&origins, &["1", "a b c d e f"]), None);
        let another = "another".into();
        let other = origins.of(&another, vec!["file-abc".into()]);
        assert_eq!(
            other.now_or_never(),
            Some(None),
            "what a tenant was told is its own"
        );
    }

    #[test]
    fn only_the_beginning_of_an_answer_is_searched() {
        let origins = Origins::of_fleet(Notes::default());
        let mut learning = learn(&origins, "u");
        see(&origins, &mut learning, &vec![b' '; SEARCHED]);
        see(&origins, &mut learning, br#"{"id":"file-late"}"#);
        assert_eq!(of(&origins, &["file-late"]), None);
        let many: String = (0..TAKEN + 50)
            .map(|n| format!("{{\"id\":\"id-{n:04}\"}}"))
            .collect();
        let mut learning = learn(&origins, "u");
        see(&origins, &mut learning, many.as_bytes());
        assert!(of(&origins, &["id-0127"]).is_some() && of(&origins, &["id-0128"]).is_none());
    }
}
