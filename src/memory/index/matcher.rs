//! Which of a question's terms a text has.

use super::Query;
use super::postings::TermMap;
use super::terms::{Analyzer, Kind, Term};

/// Reads the terms of texts, for a [`Matcher`] to look at: the lower half of each.
#[derive(Default)]
pub struct TermReader {
    analyzer: Analyzer,
    found: Vec<(u32, Kind)>,
}

impl TermReader {
    /// Appends a text's terms, each once.
    pub fn read(&mut self, text: &str, terms: &mut Vec<u32>) {
        self.analyzer.analyze(text, &mut self.found);
        self.found.sort_unstable_by_key(|(number, _)| *number);
        self.found.dedup_by_key(|(number, _)| *number);
        let found = self.found.drain(..);
        terms.extend(found.map(|(number, _)| self.analyzer.terms()[number as usize] as u32));
    }
}

/// Tells which of a query's terms a text has.
pub struct Matcher {
    bits: TermMap<u8>,
    /// A bit for the end of each of these, which tells most others apart without a look at the map.
    ends: [u64; ENDS / 64],
    weights: Vec<f32>,
}

/// How many ends of terms are told apart.
const ENDS: usize = 4096;

impl Matcher {
    /// Of the 64 terms that weigh most.
    pub fn new(query: &Query) -> Self {
        let mut terms = query.terms.clone();
        terms.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        terms.truncate(64);
        let mut ends = [0; ENDS / 64];
        for (term, _) in &terms {
            let (word, bit) = end(*term as u32);
            ends[word] |= bit;
        }
        let half = |(term, _): &(Term, f32)| u64::from(*term as u32);
        Self {
            bits: terms.iter().map(half).zip(0..).collect(),
            ends,
            weights: terms.iter().map(|(_, weight)| *weight).collect(),
        }
    }

    /// What each term weighs.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Which of them a text has, as bits, by what a [`TermReader`] read of it.
    pub fn matches(&self, terms: &[u32]) -> u64 {
        let may_be = |term: &&u32| {
            let (word, bit) = end(**term);
            self.ends[word] & bit != 0
        };
        let bits = terms
            .iter()
            .filter(may_be)
            .filter_map(|term| self.bits.get(&u64::from(*term)));
        bits.fold(0, |bits, bit| bits | 1 << bit)
    }
}

/// Where the end of a term stands in [`Matcher::ends`].
fn end(term: u32) -> (usize, u64) {
    let end = term as usize % ENDS;
    (end / 64, 1 << (end % 64))
}
