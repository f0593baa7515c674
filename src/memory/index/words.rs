//! What a document's words count: BM25, with what the turns beside it lend.

use super::postings::Posting;
use super::{Index, LENT, NONE, Query, Scored, Term, Times, USUAL_LENGTH, best};

/// How soon a repeated term stops to count more.
const K1: f32 = 1.2;
/// How much length is held against a text.
const B: f32 = 0.4;
/// What neighbours may lift a term to, where one mention in a text of usual length counts 1: that a
/// word stands in every turn around a document says no more than that it is spoken of there.
const LIFTED: f32 = 1.1;
/// What the assistant's words count beside what others said, unless they are asked for: it speaks at
/// length of whatever was asked, and what is worth remembering is mostly what it was told.
const ASSISTANT: f32 = 0.7;
/// What the newest document has more than the oldest, so that of facts that are told alike the
/// latest is first.
const NEWER: f32 = 0.05;

/// What a document's words count, by its own and with what they are lifted to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Words {
    own: f32,
    lifted: f32,
}

impl Words {
    /// Adds a term that counts `own` in the document and `lent` with what its neighbours lend.
    fn add(&mut self, weight: f32, own: f32, lent: f32) {
        self.own += weight * own;
        self.lifted += weight * own.max(lent.min(LIFTED));
    }
}

impl Index {
    /// The best `limit` documents by what their words count, the best first. Those that neither hold
    /// a term of the query nor stand beside one that does are left out.
    pub(super) fn best_by(&self, query: &Query, words: &[Words], limit: usize) -> Vec<Scored> {
        let scored = (0..).zip(words);
        let scored = scored.map(|(doc, words)| self.scored(query, doc, *words));
        best(scored, limit)
    }

    /// Ranks the documents given alone, with the very same scores.
    pub fn rank_these(
        &self,
        query: &Query,
        docs: impl IntoIterator<Item = u32>,
        limit: usize,
    ) -> Vec<Scored> {
        let lengths = self.lengths();
        let weighed: Vec<_> = self.weighed(query).collect();
        let timed = query.times.iter().map(|times| (times, self.timed(times)));
        let timed: Vec<_> = timed.collect();
        let scored = docs.into_iter().map(|doc| {
            let mut lenders = self.around(doc);
            // In the order of time, as postings are, so that sums round alike.
            lenders.swap(0, 1);
            let (before, after) = lenders.split_at(2);
            let mut words = Words::default();
            let mut add = |weight: f32, count: &dyn Fn(u32) -> u8| {
                let counts = |doc: u32| lengths.counts(self.docs[doc as usize].length, count(doc));
                let own = counts(doc);
                let lent = |sum: f32, lenders: &[(u32, f32)]| {
                    let lenders = lenders.iter().filter(|(other, _)| *other != NONE);
                    lenders.fold(sum, |sum, (other, part)| sum + part * counts(*other))
                };
                words.add(weight, own, lent(lent(0.0, before) + own, after));
            };
            for &(term, weight) in &weighed {
                add(weight, &|doc| self.postings.count(term, doc));
            }
            for (times, weight) in &timed {
                add(*weight, &|doc| {
                    u8::from(times.has(self.docs[doc as usize].at))
                });
            }
            self.scored(query, doc, words)
        });
        best(scored, limit)
    }

    /// A document with its score by words.
    pub(super) fn scored(&self, query: &Query, doc: u32, words: Words) -> Scored {
        let newer = 1.0 + NEWER * doc as f32 / self.docs.len() as f32;
        let is_discounted = self.docs[doc as usize].by_assistant && !query.any_speaker;
        let factor = newer * if is_discounted { ASSISTANT } else { 1.0 };
        Scored {
            doc,
            own: factor * words.own,
            neighbours: factor * (words.lifted - words.own),
            meaning: 0.0,
        }
    }

    /// What each document's words count.
    pub(super) fn words(&self, query: &Query) -> Vec<Words> {
        let mut words = vec![Words::default(); self.docs.len()];
        self.count_in(&mut words, self.weighed(query));
        self.count_times(&mut words, &query.times);
        words
    }

    /// Adds what these terms count in each document.
    pub(super) fn count_in(&self, words: &mut [Words], terms: impl Iterator<Item = (Term, f32)>) {
        let mut sheet = Sheet::new(self.docs.len());
        for (term, weight) in terms {
            sheet.count(self, (weight, self.postings.of(term)), words);
        }
    }

    /// Adds what it counts to be of these times.
    pub(super) fn count_times(&self, words: &mut [Words], times: &[Times]) {
        let mut sheet = Sheet::new(if times.is_empty() { 0 } else { self.docs.len() });
        for times in times {
            let weight = self.timed(times);
            let docs = self.during(times);
            let postings = docs.map(|doc| Posting { doc, count: 1 });
            sheet.count(self, (weight, postings), words);
        }
    }

    /// The weight of times by how little was said in them.
    fn timed(&self, times: &Times) -> f32 {
        times.weight * self.rarity(self.during(times).count())
    }

    /// The query's terms that occur, each with its weight by how rare it is.
    fn weighed<'a>(&'a self, query: &'a Query) -> impl Iterator<Item = (Term, f32)> + 'a {
        self.by_rarity(query.terms.iter().chain(&query.again))
    }

    /// Terms that occur, each with its weight by how rare it is.
    pub(super) fn by_rarity<'a>(
        &'a self,
        terms: impl Iterator<Item = &'a (Term, f32)> + 'a,
    ) -> impl Iterator<Item = (Term, f32)> + 'a {
        terms.filter_map(|&(term, weight)| {
            let found = self.postings.of(term).len();
            (found > 0).then(|| (term, weight * self.rarity(found)))
        })
    }

    /// What a term counts that so many documents hold.
    pub(super) fn rarity(&self, found: usize) -> f32 {
        let found = found as f32;
        let missing = self.docs.len() as f32 - found;
        (1.0 + (missing + 0.5) / (found + 0.5)).ln()
    }

    fn lengths(&self) -> Lengths {
        let mean = self.total_length as f32 / self.docs.len() as f32;
        Lengths {
            of_each: K1 * B / mean.clamp(1.0, USUAL_LENGTH),
        }
    }
}

/// How much the length of a document is held against it.
struct Lengths {
    /// For each of its terms.
    of_each: f32,
}

impl Lengths {
    /// What a term counts that stands `count` times in a document of this length.
    fn counts(&self, length: u32, count: u8) -> f32 {
        if count == 0 {
            return 0.0;
        }
        let count = f32::from(count);
        count * (K1 + 1.0) / (count + K1 * (1.0 - B) + self.of_each * length as f32)
    }
}

/// What the term at hand counts in each document, by its own and with what is lent.
struct Sheet {
    own: Vec<f32>,
    lent: Vec<f32>,
    touched: Vec<u32>,
}

impl Sheet {
    fn new(docs: usize) -> Self {
        Self {
            own: vec![0.0; docs],
            lent: vec![0.0; docs],
            touched: Vec::new(),
        }
    }

    /// Adds a term with its weight to what words count.
    fn count(
        &mut self,
        index: &Index,
        (weight, postings): (f32, impl Iterator<Item = Posting>),
        words: &mut [Words],
    ) {
        let Self { own, lent, touched } = self;
        let lengths = index.lengths();
        for Posting { doc, count } in postings {
            let counts = lengths.counts(index.docs[doc as usize].length, count);
            own[doc as usize] = counts;
            let mut lend = |receiver: u32, part: f32| {
                // Nobody is beyond the last.
                let Some(lent) = lent.get_mut(receiver as usize) else {
                    return;
                };
                if *lent == 0.0 {
                    touched.push(receiver);
                }
                *lent += part * counts;
            };
            lend(doc, 1.0);
            let beside = &index.beside[doc as usize];
            let [next, next_but_one] = LENT;
            lend(beside.earlier[0], next);
            lend(beside.earlier[1], next_but_one);
            lend(beside.later[0], beside.lent_later[0]);
            lend(beside.later[1], beside.lent_later[1]);
        }
        for doc in touched.drain(..) {
            let doc = doc as usize;
            words[doc].add(weight, own[doc], lent[doc]);
            (own[doc], lent[doc]) = (0.0, 0.0);
        }
    }
}
