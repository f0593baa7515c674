//! A ranking as the cache keeps it, and who of it takes a place.

use uuid::Uuid;

use super::index::{Query, Scored};
use super::kept::brief_answer;
use super::record::Record;
use super::similar::{Likeness, Shingles, fingerprint};

/// Candidates that a cached ranking keeps beyond the limit, so that records saved since can be
/// weighed against more than the last winners.
pub const SPARE: usize = 24;

/// A ranking as the cache keeps it.
#[derive(Debug)]
pub struct Ranking {
    /// Documents that the index held then; all later ones are weighed anew.
    pub documents: u32,
    /// The index within which the numbers of documents mean something.
    pub index: Uuid,
    /// Documents that had a vector then; `None` when ranked by words alone.
    pub vectors: Option<usize>,
    /// What was looked for, at second sight too.
    pub query: Query,
    /// More than anybody asked for, the best first.
    pub candidates: Vec<Candidate>,
    pub limit: usize,
}

/// A document of a ranking, and what it says beside one that is ranked before it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    pub scored: Scored,
    likeness: Likeness,
    /// The place of that one among the candidates.
    beside: usize,
}

impl Candidate {
    /// The documents, the best first, each held against those before it that are like no other. One
    /// that says all of an older one before it takes the place of that.
    pub fn placed<'a>(scored: Vec<Scored>, shingles: impl Fn(u32) -> &'a Shingles) -> Vec<Self> {
        let mut placed: Vec<Self> = Vec::with_capacity(scored.len());
        let mut firsts: Vec<(usize, &Shingles)> = Vec::new();
        for (at, scored) in scored.into_iter().enumerate() {
            let own = shingles(scored.doc);
            let mut new = Self {
                scored,
                likeness: Likeness::Other,
                beside: at,
            };
            let mut holds = None;
            for (nth, (first, other)) in firsts.iter().enumerate() {
                let is_newer = scored.doc > placed[*first].scored.doc;
                new.likeness = match own.beside(other) {
                    // That it was said again is worth telling.
                    Likeness::Held if is_newer => Likeness::Alike,
                    likeness => likeness,
                };
                if new.likeness != Likeness::Other {
                    new.beside = *first;
                    break;
                }
                if is_newer && other.beside(own) == Likeness::Held {
                    holds = Some(nth);
                    break;
                }
            }
            if let Some(nth) = holds {
                let (first, _) = firsts[nth];
                firsts[nth].1 = own;
                new.beside = first;
                let mut held = std::mem::replace(&mut placed[first], new);
                held.likeness = Likeness::Held;
                placed.push(held);
                continue;
            }
            if new.likeness == Likeness::Other {
                firsts.push((at, own));
            }
            placed.push(new);
        }
        placed
    }
}

/// Why a record is not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The client sends it itself.
    Sent,
    /// The question takes the place of the turn that it was said in.
    Withdrawn,
}

/// What is left out of an answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwanted<'a> {
    /// Fingerprints of what the client sends.
    pub already_sent: &'a [u64],
    /// Records of the try that the question takes the place of, with when they were said.
    pub withdrawn: &'a [(Uuid, i64)],
    /// The conversation that asks.
    pub conversation: Option<&'a str>,
}

impl Unwanted<'_> {
    /// Why this record is left out, if it is; `print` gives the fingerprint of its text.
    pub fn why(&self, record: &Record, print: impl FnOnce() -> u64) -> Option<Why> {
        if self.withdrawn.contains(&(record.id, record.updated_at)) {
            return Some(Why::Withdrawn);
        }
        if self.already_sent.is_empty() {
            return None;
        }
        let is_here = record.conversation.as_deref() == self.conversation;
        let brief = is_here.then(|| brief_answer(&record.text)).flatten();
        let brief = brief.is_some_and(|text| self.already_sent.contains(&fingerprint(text)));
        (brief || self.already_sent.contains(&print())).then_some(Why::Sent)
    }
}

impl Ranking {
    /// The documents that take a place, `limit` at most; `unwanted` says which may not, and why.
    pub fn wanted(
        &self,
        limit: usize,
        unwanted: impl Fn(u32) -> Option<Why>,
    ) -> impl Iterator<Item = &Scored> {
        let mut shown: Vec<&Scored> = Vec::new();
        let mut behind: Vec<&Scored> = Vec::new();
        // What became of each candidate: none were it not wanted for being withdrawn.
        let mut is_told = vec![false; self.candidates.len()];
        for (at, candidate) in self.candidates.iter().enumerate() {
            if shown.len() == limit {
                break;
            }
            let why = unwanted(candidate.scored.doc);
            is_told[at] = why != Some(Why::Withdrawn);
            let is_beside = candidate.beside != at && is_told[candidate.beside];
            match candidate.likeness {
                _ if why.is_some() => {}
                Likeness::Held if is_beside => {}
                Likeness::Alike if is_beside => behind.push(&candidate.scored),
                _ => shown.push(&candidate.scored),
            }
        }
        shown.extend(behind);
        shown.into_iter().take(limit)
    }
}
