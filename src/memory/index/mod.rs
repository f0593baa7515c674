//! The lexical index of one scope: BM25 over the terms of [`terms`], dates as terms of their own,
//! and links between the turns of a conversation, so that an answer is found by its question.

mod dates;
mod postings;
mod terms;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use postings::{Postings, TermHasher};
pub use terms::{Kind, Analyzer, Term, is_ideographic};

/// No document.
const NONE: u32 = u32::MAX;

/// How scores are made. The values are chosen on public sets of long chats in English and
/// Chinese; `docs/architecture.md` gives the figures.
#[derive(Debug, Clone)]
pub struct Weights {
    /// How soon repeated terms stop to count more.
    pub k1: f32,
    /// How much a long text is held against its terms, 0 to 1.
    pub b: f32,
    /// Same, for texts that are longer than `long` times the mean.
    pub b_long: f32,
    /// Part of a turn's score that its direct neighbours in the conversation get.
    pub near: f32,
    /// Part for the next but one.
    pub far: f32,
    /// Factor of the neighbours' parts where both turns have the same speaker.
    pub same_speaker: f32,
    /// Neighbours are at most so far apart, in milliseconds.
    pub window_ms: i64,
    /// Weight of the last and of the last but one turn of the running conversation.
    pub context: [f32; 2],
    /// Weight of a date named in the query.
    pub date: f32,
    /// Weight of single ideographs
    pub question: f32,
    pub recency: f32,
    pub chr: f32, pub pair: f32, pub wp: f32, pub meancap: f32, pub qlen: f32,
}

impl Default for Weights {
    fn default() -> Self {
        fn e(n: &str, d: f32) -> f32 {
            std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d)
        }
        Self {
            k1: e("K1", 1.2),
            b: e("B", 0.4),
            b_long: e("BL", 0.4),
            near: e("NEAR", 0.3),
            far: e("FAR", 0.15),
            same_speaker: e("SAME", 1.0),
            window_ms: e("WIN", 600_000.0) as i64,
            context: [e("C1", 0.5), e("C2", 0.25)],
            date: e("DATE", 1.0),
            question: e("QM", 1.0),
            recency: e("REC", 0.0), chr: e("CHR",1.0), pair: e("PAIR",1.0), wp: e("WP",0.0), meancap: e("MEANCAP", 1e9), qlen: e("QLEN", 1e9),
        }
    }
}

/// What the index takes of a record.
pub struct Document<'a> {
    pub text: &'a str,
    /// Who speaks: part of the text unless it is a role that every chat has.
    pub speaker: &'a str,
    /// Hash of the conversation's id.
    pub conversation: u64,
    /// Unix milliseconds.
    pub at: i64,
}

/// A query, analysed: its terms with their weights.
#[derive(Debug, Clone, Default)]
pub struct Query {
    terms: Vec<(Term, f32)>,
}

impl Query {
    /// `text` is the last user turn, `context` the turns before it, the latest first.
    pub fn new(text: &str, context: &[&str], weights: &Weights) -> Self {
        let mut analyzer = Analyzer::default();
        let mut summed: HashMap<Term, f32, BuildHasherDefault<TermHasher>> = HashMap::default();
        let k = |k: Kind| match k { Kind::Word => 1.0, Kind::WordPair => weights.wp, Kind::Character => weights.chr, Kind::Pair => weights.pair };
        for (term, kind) in analyzer.terms(text) {
            *summed.entry(term).or_default() += k(kind);
        }
        for (text, weight) in context.iter().zip(weights.context) {
            for (term, kind) in analyzer.terms(text) {
                *summed.entry(term).or_default() += weight * k(kind);
            }
        }
        for term in dates::query_terms(text) {
            *summed.entry(term).or_default() += weights.date;
        }
        let mut terms: Vec<_> = summed.into_iter().collect();
        terms.sort_unstable_by_key(|(term, _)| *term);
        Self { terms }
    }
}

#[derive(Debug, Clone, Copy)]
struct Doc {
    length: u32,
    /// The turn before in the same conversation, if it is near in time.
    before: u32,
    at: i64,
    speaker: u32,
    question: bool,
}

/// Documents are numbered from 0 in the order in which they were added, the oldest first.
pub struct Index {
    docs: Vec<Doc>,
    postings: Postings,
    total_length: u64,
    latest: HashMap<u64, u32, BuildHasherDefault<TermHasher>>,
    analyzer: Analyzer,
}

impl Index {
    pub fn build<'a>(documents: impl Iterator<Item = Document<'a>>, weights: &Weights) -> Self {
        let mut index = Self {
            docs: Vec::new(),
            postings: Postings::default(),
            total_length: 0,
            latest: HashMap::default(),
            analyzer: Analyzer::default(),
        };
        let mut occurrences = Vec::new();
        let mut terms = Vec::new();
        for document in documents {
            terms.clear();
            let doc = index.add(&document, &mut terms, weights);
            occurrences.extend(terms.iter().map(|term| (term.0, doc)));
        }
        index.postings = Postings::pack(occurrences);
        index
    }

    fn add(&mut self, document: &Document<'_>, terms: &mut Vec<(Term,Kind)>, weights: &Weights) -> u32 {
        let doc = self.docs.len() as u32;
        if !matches!(document.speaker, "user" | "assistant" | "memory" | "system") {
            self.analyzer.analyze(document.speaker, terms);
        }
        self.analyzer.analyze(document.text, terms);
        let length = terms.iter().filter(|t| t.1 != Kind::WordPair).count() as u32;
        terms.extend(dates::record_terms(document.at).map(|t| (t, Kind::Word)));
        let before = self.latest.insert(document.conversation, doc);
        let before = before
            .filter(|b| document.at - self.docs[*b as usize].at <= weights.window_ms)
            .unwrap_or(NONE);
        self.docs.push(Doc {
            length,
            before,
            at: document.at,
            speaker: xxhash_rust::xxh3::xxh3_64(document.speaker.as_bytes()) as u32,
            question: document.text.trim_end().ends_with(['?', '？']),
        });
        self.total_length += u64::from(length);
        doc
    }

    /// The best `limit` documents with their scores, the best first; those without any term of
    /// the query and without a neighbour that has one are left out.
    pub fn rank(&self, query: &Query, limit: usize, weights: &Weights) -> Vec<(u32, f32)> {
        let mut base = vec![0.0f32; self.docs.len()];
        let mean = (self.total_length as f32 / self.docs.len().max(1) as f32).max(1.0).min(weights.meancap);
        for &(term, weight) in &query.terms {
            let postings = self.postings.of(term);
            let found = postings.len() as f32;
            if found == 0.0 {
                continue;
            }
            let idf = (1.0 + (self.docs.len() as f32 - found + 0.5) / (found + 0.5)).ln();
            for p in postings {
                let count = f32::from(p.count);
                let length = self.docs[p.doc as usize].length as f32 / mean;
                let b = if length > 1.0 { weights.b_long } else { weights.b };
                let norm = 1.0 - b + b * length;
                base[p.doc as usize] +=
                    weight * idf * count * (weights.k1 + 1.0) / (count + weights.k1 * norm);
            }
        }
        let mut score = base.clone();
        for (at, doc) in self.docs.iter().enumerate() {
            if doc.question && (doc.length as f32) <= weights.qlen { score[at] *= weights.question; }
        }
        for (at, doc) in self.docs.iter().enumerate() {
            if doc.before == NONE {
                continue;
            }
            let one = doc.before as usize;
            let f = if doc.speaker == self.docs[one].speaker { weights.same_speaker } else { 1.0 };
            score[at] += weights.near * f * base[one];
            score[one] += weights.near * f * base[at];
            if self.docs[one].before == NONE {
                continue;
            }
            let two = self.docs[one].before as usize;
            if doc.at - self.docs[two].at > weights.window_ms {
                continue;
            }
            let f = if self.docs[two].speaker == self.docs[one].speaker && doc.speaker == self.docs[one].speaker { weights.same_speaker } else { 1.0 };
            score[at] += weights.far * f * base[two];
            score[two] += weights.far * f * base[at];
        }
        let n = self.docs.len() as f32;
        let mut ranked: Vec<(u32, f32)> = score
            .into_iter()
            .enumerate()
            .filter(|(_, s)| *s > 0.0)
            .map(|(d, s)| (d as u32, s * (1.0 + weights.recency * d as f32 / n)))
            .collect();
        ranked.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        ranked.truncate(limit);
        ranked
    }
}
