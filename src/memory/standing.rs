//! Blocks that stay where they stood.
//!
//! An upstream's prompt cache serves the longest beginning that a prompt shares with an earlier
//! one. A block that stood before a question, and is gone when the next one is asked, would end
//! that beginning there. So the client's history gets its blocks back, to the byte, for as long as
//! every record in them is still there as it was.

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use xxhash_rust::xxh3::Xxh3;

use super::Memory;
use super::block::Block;
use super::left::{Left, erased_by, name};
use super::record::Record;
use super::scope::Scope;
use super::store::Selection;
use crate::dialect::{Request, Role};
use crate::shared::{Notes, Since};

/// How long a conversation may rest; upstreams keep their prompt caches about as long.
const REST: Duration = Duration::from_secs(60 * 60);

/// Bytes of blocks that are kept over all conversations; those that rested longest go first.
const BYTES: u64 = 32 << 20;

/// Where a block stands: before one user message of one conversation, which is known by all that
/// the client sent up to it.
///
/// The scope is here itself, not in the hash alone: no choice of texts makes two scopes meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    scope: Scope,
    said: u128,
}

impl Place {
    /// Those of a request's user messages, each with the message's index.
    pub fn all(scope: &Scope, request: &Request) -> Vec<(usize, Self)> {
        let mut said = Xxh3::new();
        let mut places = Vec::new();
        let messages = request.messages().iter().enumerate();
        for (index, message) in messages.take(request.last_user().map_or(0, |last| last + 1)) {
            said.update(&request.body()[message.span.range()]);
            if message.role == Role::User {
                let scope = scope.clone();
                let said = said.digest128();
                places.push((index, Self { scope, said }));
            }
        }
        places
    }
}

/// The blocks of conversations that go on.
pub struct Standing(Cache<Place, Arc<Block>>);

impl Default for Standing {
    fn default() -> Self {
        let weight = |_: &Place, block: &Arc<Block>| {
            u32::try_from(size_of::<Place>() + block.weight()).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder()
            .weigher(weight)
            .max_capacity(BYTES)
            .eviction_policy(EvictionPolicy::lru())
            .support_invalidation_closures()
            .time_to_idle(REST);
        Self(cache.build())
    }
}

impl Standing {
    /// Lets go of what stands in a tenant's scopes. Of a conversation's blocks, those go that hold
    /// what was erased, when they are looked at next.
    pub fn forget(&self, tenant: &str, selection: &Selection) {
        let (tenant, selection) = (tenant.to_owned(), selection.clone());
        let concerned = move |place: &Place, _: &Arc<Block>| match &selection {
            Selection::All => place.scope.tenant() == tenant,
            Selection::Scope(scope) => place.scope == *scope,
            Selection::Conversation { .. } => false,
        };
        // It refuses where a cache takes no closures, and this one does.
        let _ = self.0.invalidate_entries_if(concerned);
    }
}

impl Memory {
    /// The blocks that stood at these places of a scope and may stand there again, each with the
    /// message's index: `at_most` bytes of them, the first ones. One that holds a record which was
    /// changed or removed since is let go.
    pub async fn standing(
        &self,
        scope: &Scope,
        places: &[(usize, Place)],
        at_most: usize,
    ) -> Vec<(usize, Arc<Block>)> {
        let mut standing = Vec::new();
        let entry = match places {
            [] => None,
            _ => self.scopes.cached(scope).await,
        };
        let Some(entry) = entry else {
            return standing;
        };
        let left = self.left(scope, places).await;
        let index = entry.read();
        let mut bytes = 0;
        for ((message, place), left) in places.iter().zip(left) {
            let here = self.standing.0.get(place);
            let Some(block) = here.or_else(|| left?.block(&index)) else {
                continue;
            };
            let holds = |(record, print): (&Arc<Record>, u64)| index.holds(record, print);
            if !block.fingerprinted().all(holds) {
                self.standing.0.invalidate(place);
                continue;
            }
            self.stand(place, &block);
            bytes += block.text.len();
            if bytes > at_most {
                break;
            }
            standing.push((*message, block));
        }
        standing
    }

    /// Has blocks stand at the other gateways of a fleet too. Counts once.
    pub fn share(&self, notes: Notes) {
        // A second one would be the same.
        let _ = self.notes.set(notes);
    }

    pub(super) fn notes(&self) -> &Notes {
        self.notes.get_or_init(Notes::default)
    }

    /// What other gateways left at the places where this one has nothing.
    async fn left(&self, scope: &Scope, places: &[(usize, Place)]) -> Vec<Option<Left>> {
        let notes = self.notes();
        let mut left: Vec<Option<Left>> = places.iter().map(|_| None).collect();
        if !notes.are_shared() {
            return left;
        }
        let lacking = |at: &usize| self.standing.0.get(&places[*at].1).is_none();
        let lacking: Vec<usize> = (0..places.len()).filter(lacking).collect();
        let names = lacking.iter().map(|at| name(scope, places[*at].1.said));
        let names: Vec<String> = names.collect();
        let found = notes.find(scope.tenant(), &names).await;
        for (at, note) in lacking.into_iter().zip(found) {
            left[at] = note.and_then(|note| Left::read(&note));
        }
        left
    }

    /// Has a block stand here; whether it was not there yet.
    fn stand(&self, place: &Place, block: &Arc<Block>) -> bool {
        // Who asks the same again has it there already, and a look costs less than a write.
        let there = self.standing.0.get(place);
        let is_new = there.is_none_or(|there| !Arc::ptr_eq(&there, block));
        if is_new {
            self.standing.0.insert(place.clone(), block.clone());
        }
        is_new
    }

    /// Has a block stand at this place in the requests that follow, or none. Its turn began then, in Unix
    /// microseconds.
    pub async fn keep_block(&self, place: &Place, block: Option<Arc<Block>>, began: i64) {
        let (notes, name) = (self.notes(), || name(&place.scope, place.said));
        match block {
            Some(block) => {
                if self.stand(place, &block)
                    && notes.are_shared()
                    && let Some(note) = Left::note(&block)
                {
                    let since = Since {
                        began,
                        patterns: erased_by(&place.scope),
                    };
                    let tenant = place.scope.tenant();
                    notes.keep_since(tenant, (name(), note), REST, &since).await;
                }
            }
            None if notes.are_shared() && self.standing.0.contains_key(place) => {
                self.standing.0.invalidate(place);
                notes.forget(place.scope.tenant(), &name()).await;
            }
            None => self.standing.0.invalidate(place),
        }
    }
}
