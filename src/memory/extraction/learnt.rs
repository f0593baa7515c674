//! What an exchange taught, and the changes that come of it.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::ROLE;
use super::prompt::Verdict;
use crate::memory::cache::Scopes;
use crate::memory::record::{Reason, Record, Source};
use crate::memory::scope::Scope;
use crate::memory::similar::fingerprint;
use crate::memory::stats::{Counters, Fact};
use crate::memory::store::{Change, MemoryStore, Pending, StoreError};

/// Records that a fact names as where it came from, the latest.
const MAX_DERIVED: usize = 16;

/// The outcome of one exchange, for the writer to carry out.
pub struct Learnt {
    pub claimed: Pending,
    pub verdict: Verdict,
    /// When the exchange took place, in Unix milliseconds.
    pub said_at: i64,
    pub conversation: Option<Arc<str>>,
    pub request_id: Option<String>,
    pub generation: u64,
}

/// A change set in the making.
#[derive(Default)]
pub struct Changes {
    pub changes: Vec<Change>,
    pub facts: Vec<Fact>,
}

impl Changes {
    fn put(&mut self, record: Record, fact: Fact) {
        self.changes.push(Change::Put(record));
        self.facts.push(fact);
    }

    /// Brings up to date what is there, unless somebody has deleted it since.
    fn update(&mut self, record: Record, fact: Fact) {
        self.changes.push(Change::Update {
            record,
            otherwise: None,
        });
        self.facts.push(fact);
    }

    pub fn count(&self, counters: &Counters) {
        for fact in &self.facts {
            counters.fact(*fact, 1);
        }
    }
}

impl Learnt {
    /// What is to be changed, by what is stored now.
    pub async fn changes(
        &self,
        store: &dyn MemoryStore,
        scopes: &Scopes,
    ) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        let scope = &self.claimed.scope;
        for (id, text) in &self.verdict.update {
            if let Some(mut fact) = fact(store, scope, *id).await? {
                if fingerprint(&fact.text) != fingerprint(text) {
                    fact.replace_text(text.clone(), Reason::Superseded, self.said_at);
                }
                changes.update(self.heard_again(fact), Fact::Updated);
            }
        }
        for id in &self.verdict.retire {
            if fact(store, scope, *id).await?.is_some() {
                let scope = scope.clone();
                changes.changes.push(Change::Remove { scope, id: *id });
                changes.facts.push(Fact::Retired);
            }
        }
        let touched: HashSet<Uuid> = self
            .verdict
            .update
            .iter()
            .map(|(id, _)| *id)
            .chain(self.verdict.retire.iter().copied())
            .collect();
        let mut said = HashSet::new();
        for text in &self.verdict.add {
            if !said.insert(fingerprint(text)) {
                continue;
            }
            let entry = scopes.get(scope).await?;
            let known = entry.read().same(ROLE, fingerprint(text)).cloned();
            match known.filter(|known| !touched.contains(&known.id)) {
                None => changes.put(self.new_fact(text.clone()), Fact::Added),
                Some(known) if is_fact(&known) => {
                    changes.update(self.heard_again(Record::clone(&known)), Fact::Known);
                }
                Some(_) => changes.facts.push(Fact::Known),
            }
        }
        Ok(changes)
    }

    fn new_fact(&self, text: String) -> Record {
        let scope = &self.claimed.scope;
        let mut fact = Record::new(scope, ROLE, text, Source::Extraction, self.said_at);
        if let Some(conversation) = &self.conversation {
            fact.conversation = Some(conversation.clone());
        }
        fact.request_id = self.request_id.clone();
        fact.generation = self.generation;
        self.heard_again(fact)
    }

    /// The fact with this exchange among those that it came from.
    fn heard_again(&self, mut fact: Record) -> Record {
        fact.updated_at = fact.updated_at.max(self.said_at);
        let records = &self.claimed.records;
        fact.derived_from.retain(|id| !records.contains(id));
        fact.derived_from.extend(records);
        let excess = fact.derived_from.len().saturating_sub(MAX_DERIVED);
        fact.derived_from.drain(..excess);
        fact
    }
}

/// A fact as it stands, if it is one of the scope and was extracted.
async fn fact(
    store: &dyn MemoryStore,
    scope: &Scope,
    id: Uuid,
) -> Result<Option<Record>, StoreError> {
    let found = store.get(scope.tenant(), id).await?;
    Ok(found.filter(|fact| fact.scope == *scope && is_fact(fact)))
}

/// Whether extraction made it, and may change it.
pub fn is_fact(record: &Record) -> bool {
    record.source == Source::Extraction && *record.role == *ROLE
}
