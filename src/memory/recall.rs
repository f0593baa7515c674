//! Finding records: a scope's index with its records, the query, and what comes of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::embedding::vector::{Vector, Vectors};
use super::index::{Document, Index, Query, Scored};
use super::question::Question;
use super::record::{Record, Source};
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
    pub question: Arc<Question>,
    /// Fingerprints of what the client already sends: a record that says the same is left out.
    pub already_sent: Vec<u64>,
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
    /// The part that the words of its neighbours in the conversation lend it.
    pub neighbours: f32,
    /// The part that its meaning has, with its neighbours'; 0 without an embedding.
    pub meaning: f32,
}

/// A ranking as the cache keeps it.
#[derive(Debug)]
pub struct Ranking {
    /// Documents that the index held then; all later ones are weighed anew.
    documents: u32,
    /// The index within which the numbers of documents mean something.
    index: Uuid,
    /// Documents that had a vector then; `None` when ranked by words alone.
    vectors: Option<usize>,
    /// More than anybody asked for, the best first.
    candidates: Vec<Scored>,
    limit: usize,
}

impl Ranking {
    /// Whether what was embedded since would change it: scores by meaning hold for one set of
    /// vectors and documents only.
    fn stale(&self, index: &ScopeIndex, vector: Option<&Vector>) -> bool {
        match (self.vectors, vector) {
            (Some(vectors), _) => {
                vectors != index.vectors.count() || self.documents as usize != index.records.len()
            }
            (None, Some(vector)) => index.vectors.compare(vector),
            (None, None) => false,
        }
    }
}

/// The index of a scope with its records, as of a version of the store.
pub struct ScopeIndex {
    id: Uuid,
    version: u64,
    index: Index,
    records: Vec<Arc<Record>>,
    /// Of each record, once it was asked for.
    prints: Vec<OnceLock<u64>>,
    vectors: Vectors,
    /// Made when a duplicate is first looked for, which a scope that is only read never needs.
    fingerprints: OnceLock<HashMap<u64, Vec<u32>>>,
    record_bytes: usize,
}

impl ScopeIndex {
    pub fn build(loaded: Loaded) -> Self {
        let index = Index::build(loaded.records.iter().map(document));
        let vectors = Vectors::build(&loaded.records, loaded.vectors);
        let mut built = Self {
            id: Uuid::new_v4(),
            version: loaded.version,
            index,
            vectors,
            records: Vec::with_capacity(loaded.records.len()),
            prints: Vec::with_capacity(loaded.records.len()),
            fingerprints: OnceLock::new(),
            record_bytes: 0,
        };
        for record in loaded.records {
            built.keep(record);
        }
        built
    }

    /// All of them, the oldest first.
    pub fn records(&self) -> &[Arc<Record>] {
        &self.records
    }

    /// Bytes that it holds, about.
    pub fn weight(&self) -> usize {
        self.index.bytes() + self.vectors.bytes() + self.record_bytes + self.records.len() * 80
    }

    fn keep(&mut self, record: Record) {
        let doc = self.records.len() as u32;
        self.record_bytes += record.weight();
        self.records.push(Arc::new(record));
        self.prints.push(OnceLock::new());
        let print = self.fingerprints.get().map(|_| self.fingerprint(doc));
        if let (Some(fingerprints), Some(print)) = (self.fingerprints.get_mut(), print) {
            fingerprints.entry(print).or_default().push(doc);
        }
    }

    fn fingerprint(&self, doc: u32) -> u64 {
        let doc = doc as usize;
        *self.prints[doc].get_or_init(|| fingerprint(&self.records[doc].text))
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

    /// Takes up vectors of records that it holds.
    pub fn put_vectors<'a>(&mut self, vectors: impl Iterator<Item = (Uuid, &'a Vector)>) {
        for (id, vector) in vectors {
            if let Some(doc) = self.records.iter().rposition(|r| r.id == id)
                && vector.stands_for(vector.space, &self.records[doc])
            {
                self.vectors.put(doc, vector);
            }
        }
    }

    /// Ranks anew, by words, and by meaning where there is a vector.
    pub fn rank(&self, query: &Query, vector: Option<&Vector>, limit: usize) -> Ranking {
        let similarities = vector.and_then(|vector| self.vectors.similarities(vector));
        Ranking {
            documents: self.records.len() as u32,
            index: self.id,
            vectors: similarities.as_ref().map(|_| self.vectors.count()),
            candidates: match similarities {
                Some(similarities) => self.index.rank_with(query, &similarities, limit + SPARE),
                None => self.index.rank(query, limit + SPARE),
            },
            limit,
        }
    }

    /// The ranking, brought up to date with the records saved since by weighing those and the old
    /// candidates alone; `None` when that would not do.
    pub fn refresh(
        &self,
        ranking: &Arc<Ranking>,
        (query, vector): (&Query, Option<&Vector>),
        limit: usize,
    ) -> Option<Arc<Ranking>> {
        let documents = self.records.len() as u32;
        if ranking.index != self.id || ranking.limit < limit || ranking.stale(self, vector) {
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
            vectors: None,
            limit: ranking.limit,
        }))
    }

    /// The records of a ranking without those that the client sends itself.
    pub fn answer(&self, ranking: &Ranking, limit: usize, already_sent: &[u64]) -> Vec<Recalled> {
        ranking
            .candidates
            .iter()
            .map(|scored| (scored, &self.records[scored.doc as usize]))
            .filter(|(scored, _)| {
                already_sent.is_empty() || !already_sent.contains(&self.fingerprint(scored.doc))
            })
            .take(limit)
            .map(|(scored, record)| Recalled {
                record: record.clone(),
                score: scored.score(),
                own: scored.own,
                neighbours: scored.neighbours,
                meaning: scored.meaning,
            })
            .collect()
    }

    /// The newest record of the same role that says the same as `text`, or with `near` nearly so.
    pub fn duplicate_of(&self, role: &str, text: &str, near: bool) -> Option<&Arc<Record>> {
        let record = |doc: &u32| &self.records[*doc as usize];
        if let Some(same) = self
            .like(fingerprint(text))
            .rev()
            .find(|r| *r.role == *role)
        {
            return Some(same);
        }
        if !near {
            return None;
        }
        let shingles = Shingles::of(text);
        self.index
            .rank(&Query::new(text, &[]).of_any_speaker(), 4)
            .iter()
            .map(|scored| record(&scored.doc))
            .find(|r| *r.role == *role && Shingles::of(&r.text).near(&shingles))
    }

    /// Whether it holds this record with this text, whose fingerprint is `print`.
    pub fn holds(&self, record: &Record, print: u64) -> bool {
        let mut like = self.like(print);
        like.any(|r| r.id == record.id && r.text == record.text)
    }

    /// The records that say the same, by their fingerprint, the oldest first.
    fn like(&self, print: u64) -> impl DoubleEndedIterator<Item = &Arc<Record>> {
        let fingerprints = self.fingerprints.get_or_init(|| {
            let mut fingerprints: HashMap<u64, Vec<u32>> = HashMap::new();
            for doc in 0..self.records.len() as u32 {
                let same = fingerprints.entry(self.fingerprint(doc)).or_default();
                same.push(doc);
            }
            fingerprints
        });
        let docs = fingerprints.get(&print).into_iter().flatten();
        docs.map(|doc| &self.records[*doc as usize])
    }
}

impl Record {
    /// The name of whoever speaks; none for a role that every memory has, which tells nothing apart.
    pub(super) fn speaker(&self) -> Option<&str> {
        let usual = ["user", "assistant", "system", "memory", "fact"];
        (!usual.contains(&&*self.role)).then_some(&*self.role)
    }
}

fn document(record: &Record) -> Document<'_> {
    Document {
        text: &record.text,
        speaker: record.speaker(),
        by_assistant: *record.role == *"assistant",
        // A fact stands between no two turns: it would part an answer from its question.
        conversation: record
            .conversation
            .as_ref()
            .filter(|_| record.source != Source::Extraction)
            .map(|id| xxh3_64(id.as_bytes())),
        at: record.created_at,
    }
}
