//! The words without which a rule need not be looked at: those of its first list, all rules' looked for in
//! one pass.

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::signs;
use crate::wire::json::Literal;

/// The first lists of all rules.
#[derive(Debug, Clone)]
pub(super) struct FirstWords {
    /// `None`: each list is looked for by itself.
    words: Option<AhoCorasick>,
    /// For each word, the places of the rules whose list it stands in.
    rules: Vec<Vec<usize>>,
    count: usize,
}

/// What texts ask for.
pub(super) struct Instructions {
    texts: Vec<String>,
    /// By a rule's place, whether a word of its first list stands in one of them.
    may_hold: Vec<bool>,
}

impl FirstWords {
    /// `lists` are each rule's.
    pub(super) fn new<'a>(lists: impl Iterator<Item = &'a [Vec<String>]>) -> Self {
        let mut words: Vec<(&str, usize)> = Vec::new();
        let mut count = 0;
        for (at, lists) in lists.enumerate() {
            let first = lists.iter().take(1).flatten();
            words.extend(first.map(|word| (word.as_str(), at)));
            count = at + 1;
        }
        words.sort_unstable();
        let same = || words.chunk_by(|one, other| one.0 == other.0);
        let texts = same().map(|same| same[0].0);
        let kind = Some(AhoCorasickKind::DFA);
        Self {
            words: AhoCorasick::builder().kind(kind).build(texts).ok(),
            rules: same()
                .map(|same| same.iter().map(|(_, at)| *at).collect())
                .collect(),
            count,
        }
    }

    pub(super) fn read(&self, texts: &[Literal<'_>]) -> Instructions {
        let texts = texts.iter().map(|text| signs::instruction(&text.decode()));
        let texts: Vec<String> = texts.collect();
        let mut may_hold = vec![self.words.is_none(); self.count];
        if let Some(words) = &self.words {
            let found = texts
                .iter()
                .flat_map(|text| words.find_overlapping_iter(text));
            for rule in found.flat_map(|it| &self.rules[it.pattern().as_usize()]) {
                may_hold[*rule] = true;
            }
        }
        Instructions { texts, may_hold }
    }
}

impl Instructions {
    /// Whether one has these words, which are those of the rule of that place.
    pub(super) fn has(&self, at: usize, words: &[Vec<String>]) -> bool {
        let mut texts = self.texts.iter();
        self.may_hold[at] && texts.any(|text| signs::has_words(text, words))
    }
}
