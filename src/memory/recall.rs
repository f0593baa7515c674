//! Finding records: a scope's index with its records, the query, and what comes of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::index::{Document, Index, Query, Scored};
use super::record::Record;
use super::scope::Scope;
use super::similar::{Shingles, fingerprint};
use super::store::Loaded;

/// Candidates that a cached ranking keeps beyond the limit, so that records saved since can be
/// weighed against more than the last winners.
const SPARE: usize = 32;

/// Milliseconds by which a record may be older than the newest and still count as new: turns
/// that end together are queued in either order.
const SKEW_MS: i64 = 10_000;

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct RecallQuery {
    /// The last user turn.
    pub text: String,
    /// The turns before it in the running conversation, the latest first; two are looked at.
    pub context: Vec<String>,
    /// Texts that the client already sends: a record that says the same is left out.
    pub already_sent: Vec<String>,
    /// Records at most.
    pub limit: usize,
    /// Time that recall may take.
    pub deadline: Duration,
    /// Unix milliseconds.
    pub now: i64,
}

/// What recall gave.
#[derive(Debug, Clone)]
pub struct Recall {
    pub outcome: Outcome,
    /// Whether the candidates came from the recall cache.
    pub cached: bool,
    /// The best first; empty unless the outcome is a hit.
    pub records: Vec<Recalled>,
}

/// How a recall ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// At least one record.
    Hit,
    Miss,
    /// Not done by the deadline.
    Timeout,
    /// The store failed; it is logged.
    Error,
}

impl Outcome {
    /// Its name in the `x-yychat-memory` header and as a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Timeout => "timeout",
            Self::Error => "error",
        }
    }
}

/// A record that was found.
#[derive(Debug, Clone)]
pub struct Recalled {
    pub record: Arc<Record>,
    /// Comparable within one answer only.
    pub score: f32,
    /// The part of `score` that the record's own words have.
    pub own: f32,
    /// The part that its neighbours in the conversation lend it.
    pub neighbours: f32,
}

/// A ranking as the cache keeps it.
#[derive(Debug)]
pub struct Ranking {
    /// Documents that the index held then; all later ones are weighed anew.
    documents: u32,
    /// The index within which the numbers of documents mean something.
    index: Uuid,
    /// More than anybody asked for, the best first.
    candidates: Vec<Scored>,
    limit: usize,
}

/// The index of a scope with its records, as of a version of the store.
pub struct ScopeIndex {
    id: Uuid,
    version: u64,
    index: Index,
    records: Vec<Arc<Record>>,
    fingerprints: HashMap<u64, Vec<u32>>,
    record_bytes: usize,
}

impl ScopeIndex {
    pub fn build(loaded: Loaded) -> Self {
        let index = Index::build(loaded.records.iter().map(document));
        let mut built = Self {
            id: Uuid::new_v4(),
            version: loaded.version,
            index,
            records: Vec::with_capacity(loaded.records.len()),
            fingerprints: HashMap::new(),
            record_bytes: 0,
        };
        for record in loaded.records {
            built.keep(record);
        }
        built
    }

    /// Bytes that it holds, about.
    pub fn weight(&self) -> usize {
        self.index.bytes() + self.record_bytes + self.records.len() * 64
    }

    fn keep(&mut self, record: Record) {
        let doc = self.records.len() as u32;
        self.record_bytes += record.weight();
        self.fingerprints
            .entry(fingerprint(&record.text))
            .or_default()
            .push(doc);
        self.records.push(Arc::new(record));
    }

    /// Takes up the records of one change set of this scope, which made it `version`. `false`
    /// when it cannot: it has then to be built again.
    pub fn put(&mut self, version: u64, records: Vec<Record>) -> bool {
        if version != self.version + 1 {
            return false;
        }
        for record in records {
            if let Some(doc) = self.position(&record) {
                if self.records[doc].text != record.text {
                    return false;
                }
                self.records[doc] = Arc::new(record);
                continue;
            }
            // Documents stand in the order of time, which their links rest on.
            let newest = self.records.last().map_or(i64::MIN, |r| r.created_at);
            if record.created_at < newest.saturating_sub(SKEW_MS) {
                return false;
            }
            self.index.push(&document(&record));
            self.keep(record);
        }
        self.version = version;
        true
    }

    fn position(&self, record: &Record) -> Option<usize> {
        self.records.iter().rposition(|r| r.id == record.id)
    }

    /// Ranks anew.
    pub fn rank(&self, query: &Query, limit: usize) -> Ranking {
        Ranking {
            documents: self.records.len() as u32,
            index: self.id,
            candidates: self.index.rank(query, limit + SPARE),
            limit,
        }
    }

    /// The ranking, brought up to date with the records saved since by weighing those and the old
    /// candidates alone; `None` when that would not do.
    pub fn refresh(
        &self,
        ranking: &Arc<Ranking>,
        query: &Query,
        limit: usize,
    ) -> Option<Arc<Ranking>> {
        let documents = self.records.len() as u32;
        if ranking.index != self.id || ranking.limit < limit {
            return None;
        }
        if ranking.documents == documents {
            return Some(ranking.clone());
        }
        // With every record the weights of terms shift a little, so that after some tens one from
        // beyond the candidates might come to the front, unless they are all that there are.
        let fresh = documents.checked_sub(ranking.documents)? as usize;
        let all = ranking.candidates.len() < ranking.limit + SPARE;
        if fresh
            > if all {
                8 * SPARE
            } else {
                SPARE.min(self.records.len() / 4)
            }
        {
            return None;
        }
        // A new turn lends to the two before it as well.
        let docs: HashSet<u32> = (ranking.documents..documents)
            .flat_map(|doc| self.index.with_neighbours(doc))
            .chain(ranking.candidates.iter().map(|c| c.doc))
            .collect();
        Some(Arc::new(Ranking {
            documents,
            index: self.id,
            candidates: self.index.rank_these(query, docs, ranking.limit + SPARE),
            limit: ranking.limit,
        }))
    }

    /// The records of a ranking without those that the client sends itself.
    pub fn answer(
        &self,
        ranking: &Ranking,
        limit: usize,
        already_sent: &[String],
    ) -> Vec<Recalled> {
        let sent: HashSet<u64> = already_sent.iter().map(|text| fingerprint(text)).collect();
        ranking
            .candidates
            .iter()
            .map(|scored| (scored, &self.records[scored.doc as usize]))
            .filter(|(_, record)| sent.is_empty() || !sent.contains(&fingerprint(&record.text)))
            .take(limit)
            .map(|(scored, record)| Recalled {
                record: record.clone(),
                score: scored.own + scored.neighbours,
                own: scored.own,
                neighbours: scored.neighbours,
            })
            .collect()
    }

    /// The newest record of the same role that says the same as `text`, or with `near` nearly so.
    pub fn duplicate_of(&self, role: &str, text: &str, near: bool) -> Option<&Arc<Record>> {
        let record = |doc: &u32| &self.records[*doc as usize];
        if let Some(docs) = self.fingerprints.get(&fingerprint(text))
            && let Some(same) = docs.iter().rev().map(record).find(|r| *r.role == *role)
        {
            return Some(same);
        }
        if !near {
            return None;
        }
        let shingles = Shingles::of(text);
        self.index
            .rank(&Query::new(text, &[]), 4)
            .iter()
            .map(|scored| record(&scored.doc))
            .find(|r| *r.role == *role && Shingles::of(&r.text).near(&shingles))
    }
}

fn document(record: &Record) -> Document<'_> {
    Document {
        text: &record.text,
        speaker: &record.role,
        conversation: record
            .conversation
            .as_ref()
            .map(|id| xxh3_64(id.as_bytes())),
        at: record.created_at,
    }
}

/// What a cached ranking is found by: the scope and everything of the query that ranking looks at,
/// after case, punctuation, order, stop words and endings are gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheKey {
    scope: Scope,
    query: u128,
}

impl CacheKey {
    pub fn new(scope: &Scope, query: &Query) -> Self {
        Self {
            scope: scope.clone(),
            query: query.fingerprint(),
        }
    }
}
