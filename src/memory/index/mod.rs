//! The lexical index of one scope: BM25 over the terms of [`terms`], dates as terms of their own,
//! and links between the turns of a conversation, so that an answer is found by its question.

mod addressee;
mod again;
mod corrections;
mod dates;
mod fold;
mod grammar;
#[cfg(test)]
mod language_tests;
mod matcher;
mod meaning;
mod moments;
mod months;
mod near;
mod oneself;
mod phrases;
mod postings;
mod relative;
mod script;
mod spelling;
#[cfg(test)]
mod spelling_tests;
mod terms;
#[cfg(test)]
mod tests;
mod words;

use xxhash_rust::xxh3::xxh3_128;

pub use matcher::{Matcher, TermReader};
pub use moments::Clock;
use moments::{Named, Times};
use postings::{Postings, TermMap};
pub use script::is_ideographic;
pub use terms::nfkc;
use terms::{Analyzer, Kind, Term};

// How scores are made: chosen on public sets of long chats in English and Chinese, whose figures
// `docs/memory.md` gives.

/// Terms of a text of usual length at most. Chat turns have fewer, and then their mean holds; but
/// among long answers the mean would make every length look usual.
const USUAL_LENGTH: f32 = 20.0;
/// Part of its score that a turn lends to the turns next to it, and to the next but one.
const LENT: [f32; 2] = [0.3, 0.15];
/// What a question lends to the turns behind it instead, if they are of usual length: a short
/// answer hardly holds a word of what was asked. A longer one gets less, down to `LENT`.
const ASKED: [f32; 2] = [0.7, 0.3];
/// What a user's turn lends to one of his that takes it back: “No, it's Eva now.”
const CORRECTED: f32 = 0.8;
/// Milliseconds between turns that lend to each other, at most.
const WINDOW_MS: i64 = 600_000;
/// Weights of the turns of the running conversation before the question, the latest first.
const CONTEXT: [f32; 4] = [0.5, 0.35, 0.25, 0.18];
/// Weight of a single ideograph beside that of a pair.
const CHARACTER: f32 = 0.5;

/// Weight of a part of a word beside that of the word.
const PART: f32 = 0.5;

/// No document.
const NONE: u32 = u32::MAX;

/// What the index takes of a record.
pub struct Document<'a> {
    pub text: &'a str,
    /// Who speaks, where a name is known: counts as part of the text.
    pub speaker: Option<&'a str>,
    /// Whether the assistant said it.
    pub by_assistant: bool,
    /// Hash of the conversation's id.
    pub conversation: Option<u64>,
    /// Unix milliseconds.
    pub at: i64,
}

/// A query, analysed: its terms with their weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    terms: Vec<(Term, f32)>,
    /// The times that it names.
    named: Vec<Named>,
    /// What these are to an index, and the days of what was found at first.
    times: Vec<Times>,
    /// Terms of what was found at first, which are looked for beside those: see [`again`].
    again: Vec<(Term, f32)>,
    /// Its words, which may be written otherwise, and what they are as one: see [`near`]. Order tells, and a
    /// ranking in the cache is that of whoever asked first.
    words: Vec<(Box<str>, Term)>,
    joined: Vec<Term>,
    /// Whether what the assistant said counts as much as what others said.
    any_speaker: bool,
}

impl Query {
    /// `text` is the last user turn, `context` the turns before it, the latest first.
    pub fn new(text: &str, context: &[String]) -> Self {
        let mut analyzer = Analyzer::default();
        let mut weights: TermMap<f32> = TermMap::default();
        let mut found = Vec::new();
        let mut add = |text: &str, weight: f32| {
            let folded = analyzer.analyze(text, &mut found);
            for (number, kind) in found.drain(..) {
                let term = analyzer.terms()[number as usize];
                *weights.entry(term).or_default() += match kind {
                    Kind::Character => weight * CHARACTER,
                    Kind::Word | Kind::Pair => weight,
                    Kind::Part => weight * PART,
                };
            }
            folded
        };
        let folded = add(text, 1.0);
        for (text, weight) in context.iter().zip(CONTEXT) {
            add(text, weight);
        }
        if oneself::is_asked(&folded) {
            weights.insert(oneself::ONESELF, oneself::WEIGHT);
        }
        let dated = dates::dates_in(text).into_iter().map(Named::Date);
        let named = dated.chain(relative::named_in(&folded));
        let mut terms: Vec<_> = weights.into_iter().collect();
        terms.sort_unstable_by_key(|(term, _)| *term);
        Self {
            terms,
            named: named.collect(),
            times: Vec::new(),
            again: Vec::new(),
            words: analyzer.words_of(&folded),
            joined: analyzer.joined(&folded),
            any_speaker: addressee::is_assistant(text),
        }
    }

    /// Bytes that it takes, about.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.terms) + size_of_val(&*self.again)
    }

    /// Whether what it looks for depends on when and where it is asked.
    pub fn is_timed(&self) -> bool {
        !self.named.is_empty()
    }

    /// Equal for queries that rank alike.
    pub fn fingerprint(&self) -> u128 {
        let mut bytes = Vec::with_capacity(self.terms.len() * 12 + 1);
        bytes.push(u8::from(self.any_speaker));
        bytes.extend_from_slice(format!("{:?}", self.named).as_bytes());
        for (term, weight) in &self.terms {
            bytes.extend_from_slice(&term.to_be_bytes());
            bytes.extend_from_slice(&weight.to_be_bytes());
        }
        xxh3_128(&bytes)
    }
}

/// A document with its score, in parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    pub doc: u32,
    /// From its own terms.
    pub own: f32,
    /// What its neighbours' terms add.
    pub neighbours: f32,
    /// From how near its meaning is, with its neighbours'.
    pub meaning: f32,
}

impl Scored {
    pub fn score(&self) -> f32 {
        self.own + self.neighbours + self.meaning
    }

    /// The best first; of equals the newest, since what was said last holds.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        other
            .score()
            .total_cmp(&self.score())
            .then(other.doc.cmp(&self.doc))
    }
}

#[derive(Debug, Clone, Copy)]
struct Doc {
    length: u32,
    at: i64,
    asks: bool,
    corrects: bool,
    by_assistant: bool,
}

/// The turns beside a document in its conversation, where they are near in time: the next one, and the next
/// but one.
#[derive(Debug, Clone, Copy)]
struct Beside {
    earlier: [u32; 2],
    later: [u32; 2],
    /// The part of its score that it lends to those later ones; to earlier ones it lends [`LENT`].
    lent_later: [f32; 2],
}

impl Default for Beside {
    fn default() -> Self {
        Self {
            earlier: [NONE; 2],
            later: [NONE; 2],
            lent_later: [0.0; 2],
        }
    }
}

/// Documents are numbered from 0 in the order of time.
#[derive(Default)]
pub struct Index {
    docs: Vec<Doc>,
    beside: Vec<Beside>,
    postings: Postings,
    total_length: u64,
    /// The last document of each conversation.
    latest: TermMap<u32>,
}

impl Index {
    /// An index of documents in the order of time.
    pub fn build<'a>(documents: impl Iterator<Item = Document<'a>>) -> Self {
        let mut index = Self::default();
        let mut analyzer = Analyzer::default();
        let mut occurrences = Vec::new();
        let mut found = Vec::new();
        for document in documents {
            let doc = index.add(&document, &mut analyzer, &mut found);
            occurrences.extend(found.drain(..).map(|(number, _)| (number, doc)));
        }
        index.postings = Postings::pack(analyzer.terms(), &occurrences);
        index
    }

    /// Adds a document that is no older than any other.
    pub fn push(&mut self, document: &Document<'_>) {
        let mut analyzer = Analyzer::default();
        let mut found = Vec::new();
        let doc = self.add(document, &mut analyzer, &mut found);
        let term = |(number, _): &(u32, Kind)| analyzer.terms()[*number as usize];
        let mut terms: Vec<Term> = found.iter().map(term).collect();
        terms.sort_unstable();
        self.postings.push(doc, &terms);
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.postings.bytes()
            + self.docs.len() * (size_of::<Doc>() + size_of::<Beside>())
            + self.latest.len() * 24
    }

    fn add(
        &mut self,
        document: &Document<'_>,
        analyzer: &mut Analyzer,
        found: &mut Vec<(u32, Kind)>,
    ) -> u32 {
        let doc = self.docs.len() as u32;
        if let Some(speaker) = document.speaker {
            analyzer.analyze(speaker, found);
        }
        match document.by_assistant {
            true => drop(analyzer.analyze(document.text, found)),
            false => analyzer.said(document.text, found),
        }
        let is_whole = |(_, kind): &&(u32, Kind)| *kind != Kind::Part;
        let length = found.iter().filter(is_whole).count() as u32;
        let before = document
            .conversation
            .and_then(|conversation| self.latest.insert(conversation, doc))
            .unwrap_or(NONE);
        self.docs.push(Doc {
            length,
            at: document.at,
            asks: document.text.contains(['?', '？']),
            corrects: !document.by_assistant && corrections::corrects(document.text),
            by_assistant: document.by_assistant,
        });
        self.link(doc, before);
        self.total_length += u64::from(length);
        doc
    }

    /// A document with those to which it lends.
    pub fn with_neighbours(&self, doc: u32) -> impl Iterator<Item = u32> + use<> {
        let around = self.around(doc);
        std::iter::once(doc).chain(
            around
                .into_iter()
                .map(|(other, _)| other)
                .filter(|o| *o != NONE),
        )
    }

    /// What a document's neighbours lend it of what they have of their own.
    fn lent(&self, doc: u32, own: impl Fn(u32) -> f32) -> f32 {
        let lenders = self.around(doc).into_iter();
        let lenders = lenders.filter(|(other, _)| *other != NONE);
        lenders.map(|(other, part)| part * own(other)).sum()
    }

    /// The neighbours of a document, with the part of their score that they lend it.
    fn around(&self, doc: u32) -> [(u32, f32); 4] {
        let Beside { earlier, later, .. } = self.beside(doc);
        let lends = |far: usize| match self.beside.get(earlier[far] as usize) {
            Some(other) => (earlier[far], other.lent_later[far]),
            None => (NONE, 0.0),
        };
        [lends(0), lends(1), (later[0], LENT[0]), (later[1], LENT[1])]
    }

    fn beside(&self, doc: u32) -> Beside {
        let beside = self.beside.get(doc as usize);
        beside.copied().unwrap_or_default()
    }

    /// Links the newest document with the one `before` it in its conversation, and the one before that.
    fn link(&mut self, doc: u32, before: u32) {
        let mut earlier = [before, self.beside(before).earlier[0]];
        let at = self.docs[doc as usize].at;
        for (far, other) in earlier.iter_mut().enumerate() {
            let near = self.docs.get(*other as usize);
            if near.is_none_or(|near| (at - near.at).abs() > WINDOW_MS) {
                *other = NONE;
                continue;
            }
            let part = self.asked(*other, doc, far);
            let beside = &mut self.beside[*other as usize];
            (beside.later[far], beside.lent_later[far]) = (doc, part);
        }
        self.beside.push(Beside {
            earlier,
            ..Beside::default()
        });
    }

    /// What a turn lends to the next one, or with `far` to the next but one.
    fn asked(&self, doc: u32, later: u32, far: usize) -> f32 {
        let docs = (self.docs.get(doc as usize), self.docs.get(later as usize));
        match docs {
            (Some(doc), Some(later)) if later.corrects && !doc.by_assistant => CORRECTED,
            (Some(doc), Some(later)) if doc.asks => {
                let short = (USUAL_LENGTH / later.length.max(1) as f32).min(1.0);
                LENT[far] + short * (ASKED[far] - LENT[far])
            }
            _ => LENT[far],
        }
    }
}

/// The best `limit` of those that score at all, the best first.
fn best(scored: impl Iterator<Item = Scored>, limit: usize) -> Vec<Scored> {
    let mut best: Vec<_> = scored.filter(|s| s.score() > 0.0).collect();
    if best.len() > limit && limit > 0 {
        best.select_nth_unstable_by(limit - 1, Scored::order);
    }
    best.truncate(limit);
    best.sort_unstable_by(Scored::order);
    best
}
