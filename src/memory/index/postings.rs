//! Postings: which documents hold a term, and how often.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::terms::Term;

/// One document that holds a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    pub doc: u32,
    /// How often the document holds the term, at most 255.
    pub count: u8,
}

/// A map by term.
pub type TermMap<T> = HashMap<Term, T, BuildHasherDefault<TermHasher>>;

/// What packing knows of a term.
#[derive(Clone, Copy, Default)]
struct Found {
    docs: u32,
    /// The last document that held it.
    last: u32,
    /// Where its next posting goes.
    next: u32,
}

impl Found {
    /// Counts a document, by rising number; whether it is one more.
    fn new_in(&mut self, doc: u32) -> bool {
        let new = self.docs == 0 || self.last != doc;
        self.docs += u32::from(new);
        self.last = doc;
        new
    }
}

/// A sorted, packed part (12 bytes a term and 5 a posting) and a small growing one, which is
/// packed in turn once it is no longer small.
#[derive(Debug, Default)]
pub struct Postings {
    terms: Vec<Term>,
    /// Where each term's postings begin, and a last one where all end.
    starts: Vec<u32>,
    docs: Vec<u32>,
    counts: Vec<u8>,
    grown: TermMap<Vec<Posting>>,
    grown_len: usize,
}

impl Postings {
    /// Takes `(number, doc)` pairs, one for every occurrence of a term, by rising document;
    /// `terms` are the terms by number.
    pub fn pack(terms: &[Term], occurrences: &[(u32, u32)]) -> Self {
        // Sorting the terms alone and counting the rest into place is much faster than sorting
        // all occurrences.
        let mut found = vec![Found::default(); terms.len()];
        for (number, doc) in occurrences {
            found[*number as usize].new_in(*doc);
        }
        let mut sorted: Vec<(Term, u32)> = terms.iter().copied().zip(0..).collect();
        sorted.sort_unstable();
        let mut packed = Self::default();
        let mut all = 0;
        for (term, number) in sorted {
            packed.terms.push(term);
            packed.starts.push(all);
            let found = &mut found[number as usize];
            found.next = all;
            all += std::mem::take(&mut found.docs);
        }
        packed.starts.push(all);
        packed.docs = vec![0; all as usize];
        packed.counts = vec![0; all as usize];
        for (number, doc) in occurrences {
            let found = &mut found[*number as usize];
            if found.new_in(*doc) {
                packed.docs[found.next as usize] = *doc;
                found.next += 1;
            }
            let count = &mut packed.counts[found.next as usize - 1];
            *count = count.saturating_add(1);
        }
        packed
    }

    /// Adds the terms of a document that is newer than all others; `terms` is sorted.
    pub fn push(&mut self, doc: u32, terms: &[Term]) {
        for same in terms.chunk_by(|a, b| a == b) {
            let count = u8::try_from(same.len()).unwrap_or(u8::MAX);
            self.grown
                .entry(same[0])
                .or_default()
                .push(Posting { doc, count });
            self.grown_len += 1;
        }
        if self.grown_len > 1024.max(self.docs.len() / 8) {
            self.repack();
        }
    }

    /// The postings of a term, by rising document.
    pub fn of(&self, term: Term) -> impl ExactSizeIterator<Item = Posting> + '_ {
        let packed = match self.terms.binary_search(&term) {
            Ok(at) => self.starts[at] as usize..self.starts[at + 1] as usize,
            Err(_) => 0..0,
        };
        let grown = self.grown.get(&term).map_or(&[][..], Vec::as_slice);
        Chained {
            docs: &self.docs[packed.clone()],
            counts: &self.counts[packed],
            grown,
        }
    }

    /// How often `doc` holds `term`.
    pub fn count(&self, term: Term, doc: u32) -> u8 {
        if let Ok(at) = self.terms.binary_search(&term) {
            let range = self.starts[at] as usize..self.starts[at + 1] as usize;
            if let Ok(found) = self.docs[range.clone()].binary_search(&doc) {
                return self.counts[range][found];
            }
        }
        let grown = self.grown.get(&term).map_or(&[][..], Vec::as_slice);
        grown
            .binary_search_by_key(&doc, |p| p.doc)
            .map_or(0, |found| grown[found].count)
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.terms.len() * 12 + self.docs.len() * 5 + self.grown.len() * 48 + self.grown_len * 16
    }

    /// Merges the growing part into the packed one: most terms have nothing new, and their postings
    /// are copied as they stand.
    fn repack(&mut self) {
        let old = std::mem::take(self);
        let mut grown: Vec<(Term, Vec<Posting>)> = old.grown.into_iter().collect();
        grown.sort_unstable_by_key(|(term, _)| *term);
        let postings = old.docs.len() + old.grown_len;
        self.docs.reserve_exact(postings);
        self.counts.reserve_exact(postings);
        self.terms.reserve(old.terms.len() + grown.len());
        self.starts.reserve(old.terms.len() + grown.len() + 1);
        let mut grown = grown.into_iter().peekable();
        for (at, term) in old.terms.iter().enumerate() {
            while let Some((new, postings)) = grown.next_if(|(new, _)| new < term) {
                self.begin(new);
                self.extend(&postings);
            }
            let range = old.starts[at] as usize..old.starts[at + 1] as usize;
            self.begin(*term);
            self.docs.extend_from_slice(&old.docs[range.clone()]);
            self.counts.extend_from_slice(&old.counts[range]);
            if let Some((_, postings)) = grown.next_if(|(new, _)| new == term) {
                self.extend(&postings);
            }
        }
        for (term, postings) in grown {
            self.begin(term);
            self.extend(&postings);
        }
        self.starts.push(self.docs.len() as u32);
        self.terms.shrink_to_fit();
        self.starts.shrink_to_fit();
    }

    fn begin(&mut self, term: Term) {
        self.terms.push(term);
        self.starts.push(self.docs.len() as u32);
    }

    fn extend(&mut self, postings: &[Posting]) {
        self.docs.extend(postings.iter().map(|it| it.doc));
        self.counts.extend(postings.iter().map(|it| it.count));
    }
}

struct Chained<'a> {
    docs: &'a [u32],
    counts: &'a [u8],
    grown: &'a [Posting],
}

impl Iterator for Chained<'_> {
    type Item = Posting;

    fn next(&mut self) -> Option<Posting> {
        if let ([doc, docs @ ..], [count, counts @ ..]) = (self.docs, self.counts) {
            (self.docs, self.counts) = (docs, counts);
            return Some(Posting {
                doc: *doc,
                count: *count,
            });
        }
        let (first, rest) = self.grown.split_first()?;
        self.grown = rest;
        Some(*first)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = self.docs.len() + self.grown.len();
        (length, Some(length))
    }
}

impl ExactSizeIterator for Chained<'_> {}

/// A [`Term`] is a hash already.
#[derive(Default)]
pub struct TermHasher(u64);

impl Hasher for TermHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, term: u64) {
        self.0 = term;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
