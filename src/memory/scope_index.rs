//! A scope's index with its records, as of a version of the store.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::embedding::vector::{Vector, Vectors};
use super::index::{Clock, Document, Index, Query};
use super::ranking::{Candidate, Ranking, SPARE, Unwanted};
use super::recall::Recalled;
use super::record::{Record, Source};
use super::similar::{Shingles, fingerprint};
use super::store::Loaded;

/// Milliseconds by which a record may be older than the newest and still count as new: turns
/// that end together are queued in either order.
const SKEW_MS: i64 = 10_000;

/// The index of a scope with its records, as of a version of the store.
pub struct ScopeIndex {
    id: Uuid,
    version: u64,
    index: Index,
    records: Vec<Arc<Record>>,
    /// Where among them each is.
    places: HashMap<Uuid, u32>,
    /// Of each record, once it was asked for.
    prints: Vec<OnceLock<u64>>,
    shingles: Vec<OnceLock<Shingles>>,
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
            places: HashMap::with_capacity(loaded.records.len()),
            prints: Vec::with_capacity(loaded.records.len()),
            shingles: Vec::with_capacity(loaded.records.len()),
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
        self.index.bytes() + self.vectors.bytes() + self.record_bytes + self.records.len() * 104
    }

    fn keep(&mut self, record: Record) {
        let doc = self.records.len() as u32;
        self.record_bytes += record.weight();
        self.places.insert(record.id, doc);
        self.records.push(Arc::new(record));
        self.prints.push(OnceLock::new());
        self.shingles.push(OnceLock::new());
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
            if let Some(doc) = self.place(record.id) {
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

    fn place(&self, id: Uuid) -> Option<usize> {
        self.places.get(&id).map(|doc| *doc as usize)
    }

    /// Takes up vectors of records that it holds.
    pub fn put_vectors<'a>(&mut self, vectors: impl Iterator<Item = (Uuid, &'a Vector)>) {
        for (id, vector) in vectors {
            if let Some(doc) = self.place(id)
                && vector.stands_for(vector.space, &self.records[doc])
            {
                self.vectors.put(doc, vector);
            }
        }
    }

    fn shingles(&self, doc: u32) -> &Shingles {
        let doc = doc as usize;
        let record = &self.records[doc];
        self.shingles[doc].get_or_init(|| Shingles::of(&record.text).said_by(record.speaker()))
    }

    /// Ranks anew, by words, and by meaning where there is a vector.
    pub fn rank(
        &self,
        (query, clock): (&Query, &Clock),
        vector: Option<&Vector>,
        limit: usize,
    ) -> Ranking {
        let similarities = vector.and_then(|vector| self.vectors.similarities(vector));
        let document = |doc| document(&self.records[doc as usize]);
        let sight = (similarities.as_deref(), clock);
        let (query, scored) = self.index.rank(query, sight, document, limit + SPARE);
        Ranking {
            query,
            documents: self.records.len() as u32,
            index: self.id,
            vectors: similarities.map(|_| self.vectors.count()),
            candidates: Candidate::placed(scored, |doc| self.shingles(doc)),
            limit,
        }
    }

    /// Whether what was embedded since would change a ranking: scores by meaning hold for one set of
    /// vectors and documents only.
    fn is_stale(&self, ranking: &Ranking, vector: Option<&Vector>) -> bool {
        match (ranking.vectors, vector) {
            (Some(vectors), _) => {
                vectors != self.vectors.count() || ranking.documents as usize != self.records.len()
            }
            (None, Some(vector)) => self.vectors.compare(vector),
            (None, None) => false,
        }
    }

    /// The ranking, brought up to date with the records saved since by weighing those and the old
    /// candidates alone; `None` when that would not do.
    pub fn refresh(
        &self,
        ranking: &Arc<Ranking>,
        vector: Option<&Vector>,
        limit: usize,
    ) -> Option<Arc<Ranking>> {
        let documents = self.records.len() as u32;
        if ranking.index != self.id || ranking.limit < limit || self.is_stale(ranking, vector) {
            return None;
        }
        if ranking.documents == documents {
            return Some(ranking.clone());
        }
        // With every record the weights of terms shift a little, so that after some tens one from
        // beyond the candidates might come to the front, unless they are all that there are.
        let fresh = documents.checked_sub(ranking.documents)? as usize;
        let all = ranking.candidates.len() < ranking.limit + SPARE;
        let most = match all {
            true => 8 * SPARE,
            false => SPARE.min(self.records.len() / 4),
        };
        if fresh > most {
            return None;
        }
        // A new turn lends to the two before it as well.
        let docs: HashSet<u32> = (ranking.documents..documents)
            .flat_map(|doc| self.index.with_neighbours(doc))
            .chain(ranking.candidates.iter().map(|c| c.scored.doc))
            .collect();
        Some(Arc::new(self.ranked_again(ranking, docs)))
    }

    /// These documents alone, ranked for what the ranking looked for at second sight too.
    pub(super) fn ranked_again(
        &self,
        ranking: &Ranking,
        docs: impl IntoIterator<Item = u32>,
    ) -> Ranking {
        let most = ranking.limit + SPARE;
        let scored = self.index.rank_these(&ranking.query, docs, most);
        Ranking {
            documents: self.records.len() as u32,
            index: self.id,
            query: ranking.query.clone(),
            candidates: Candidate::placed(scored, |doc| self.shingles(doc)),
            vectors: None,
            limit: ranking.limit,
        }
    }

    /// The records of a ranking without those that are not wanted. Alike ones take one place: of
    /// what says nothing more the first is there alone, and what differs in a word or two comes
    /// after all others.
    pub fn answer(&self, ranking: &Ranking, limit: usize, unwanted: &Unwanted) -> Vec<Recalled> {
        let is_sent = |doc| self.fingerprint(doc);
        let wanted = ranking.wanted(limit, |doc| {
            unwanted.why(&self.records[doc as usize], || is_sent(doc))
        });
        wanted
            .map(|scored| Recalled {
                record: self.records[scored.doc as usize].clone(),
                score: scored.score(),
                own: scored.own,
                neighbours: scored.neighbours,
                meaning: scored.meaning,
            })
            .collect()
    }

    /// The newest record of this role whose text has this fingerprint.
    pub fn same(&self, role: &str, print: u64) -> Option<&Arc<Record>> {
        self.like(print).rev().find(|it| *it.role == *role)
    }

    pub fn by_id(&self, id: Uuid) -> Option<&Arc<Record>> {
        self.place(id).map(|doc| &self.records[doc])
    }

    /// What the assistant said last in a conversation, unless the user has spoken since or it was
    /// before `since`, in Unix milliseconds.
    pub fn asked_last(&self, conversation: Option<&str>, since: i64) -> Option<String> {
        let mut lately = self.records.iter().rev();
        let mut lately = lately.by_ref().take_while(|it| it.created_at >= since);
        let last = lately.find(|it| it.conversation.as_deref() == conversation)?;
        (*last.role == *"assistant").then(|| last.text.clone())
    }

    /// Whether it holds this record with this text, whose fingerprint is `print`.
    pub fn holds(&self, record: &Record, print: u64) -> bool {
        let mut like = self.like(print);
        like.any(|r| r.id == record.id && r.text == record.text)
    }

    /// The record of that id, whose text has this fingerprint.
    pub fn named(&self, id: Uuid, print: u64) -> Option<&Arc<Record>> {
        self.like(print).find(|it| it.id == id)
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
