//! Phrases that are looked for in folded texts, all of them at once.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// Phrases by number.
pub struct Phrases(Option<AhoCorasick>);

impl Phrases {
    /// `often`: they are looked for in every text, so that finding them is to cost little, and may
    /// take some room.
    pub fn new(phrases: impl Iterator<Item = &'static str>, often: bool) -> Self {
        let kind = often.then_some(AhoCorasickKind::DFA);
        let phrases: Vec<_> = phrases.collect();
        Self(AhoCorasick::builder().kind(kind).build(phrases).ok())
    }

    /// The phrases with which words of the text begin, by number, and where they stand.
    pub fn within<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, Range<usize>)> + 'a {
        let found = self.0.iter();
        let found = found.flat_map(move |phrases| phrases.find_overlapping_iter(text));
        let found = found.map(|it| (it.pattern().as_usize(), it.range()));
        found.filter(|(_, at)| {
            !text[at.start..].starts_with(is_parted) || !text[..at.start].ends_with(is_parted)
        })
    }

    /// As [`Phrases::within`], those that end where a word of the text ends.
    pub fn whole<'a>(&'a self, text: &'a str) -> impl Iterator<Item = usize> + 'a {
        let found = self.within(text);
        let found = found.filter(|(_, at)| {
            !text[..at.end].ends_with(is_parted) || !text[at.end..].starts_with(is_parted)
        });
        found.map(|(number, _)| number)
    }
}

/// Whether words of a character's script are parted from each other.
fn is_parted(c: char) -> bool {
    c.is_alphanumeric() && c < '\u{e00}'
}
