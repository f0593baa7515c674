//! Words by which a text shows what it asks for. Those of all rules are looked for in one pass, which
//! tells of each sentence the lists that have a word in it; a rule then compares numbers.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::rule::List;
use super::signs;
use crate::by_bytes::ByBytes;
use crate::wire::json::Literal;

/// Lists that all rules together may have: one bit each.
pub(super) const MOST_LISTS: usize = 128;

/// Bytes of a text from which what it asks for is kept: prompts of systems come with each request. To look
/// for a shorter one among those that are kept costs as much as to read it.
const LONG: usize = 256;
/// Bytes of those that are kept, about.
const KEPT: u64 = 1 << 20;

/// The words of all lists.
#[derive(Debug, Clone)]
pub(super) struct Words {
    /// What long texts ask for.
    known: ByBytes<Sentences>,
    /// Those in ASCII, and the others, which a text in ASCII need not be searched for.
    plain: Option<Group>,
    other: Option<Group>,
}

#[derive(Debug, Clone)]
struct Group {
    search: AhoCorasick,
    words: Vec<Word>,
}

#[derive(Debug, Clone, Copy)]
struct Word {
    /// A bit for each list that it stands in.
    lists: u128,
    /// Of scripts that part words by blanks: it stands at the beginning of one …
    begins: bool,
    /// … and is one, having been written with a blank behind it.
    is_whole: bool,
}

/// What a rule asks for in a sentence.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// A word of each; the last one's may stand in the sentence before or behind.
    lists: Vec<u128>,
    /// All of them.
    all: u128,
    /// A word of none.
    unless: u128,
}

/// What texts ask for.
#[derive(Debug)]
pub(super) struct Asked(Vec<Arc<Sentences>>);

/// Of a text, what lists have words in its sentences, and in all of it.
#[derive(Debug, Clone)]
struct Sentences {
    each: Vec<u128>,
    all: u128,
}

/// Gives each list that rules name its bit.
#[derive(Debug, Default)]
pub(super) struct Lists<'a>(Vec<&'a [String]>);

impl<'a> Lists<'a> {
    /// Of each of those lists a word, of `unless` none.
    pub(super) fn wanted(&mut self, lists: &'a [List], unless: &'a List) -> Wanted {
        let bits: Vec<u128> = lists.iter().map(|list| self.bit(&list.words)).collect();
        Wanted {
            all: bits.iter().fold(0, |all, list| all | list),
            lists: bits,
            unless: match lists.is_empty() || unless.is_empty() {
                true => 0,
                false => self.bit(&unless.words),
            },
        }
    }

    fn bit(&mut self, list: &'a [String]) -> u128 {
        let known = self.0.iter().position(|known| *known == list);
        let at = known.unwrap_or_else(|| {
            self.0.push(list);
            self.0.len() - 1
        });
        1u128.checked_shl(at as u32).unwrap_or_default()
    }

    /// `None`: there are more lists, or more words, than can be looked for.
    pub(super) fn words(self) -> Option<Words> {
        if self.0.len() > MOST_LISTS {
            return None;
        }
        let lists = self.0.iter().enumerate();
        let mut words: Vec<(&str, u128)> = lists
            .flat_map(|(at, list)| list.iter().map(move |word| (word.as_str(), 1 << at)))
            .collect();
        words.sort_unstable();
        let same = words.chunk_by(|one, other| one.0 == other.0);
        let words = same.map(|same| (same[0].0, same.iter().fold(0, |all, word| all | word.1)));
        let (plain, other): (Vec<_>, Vec<_>) = words.partition(|(word, _)| word.is_ascii());
        Some(Words {
            // What the cache itself takes for each comes on top.
            known: ByBytes::new(KEPT, |kept| size_of_val(&*kept.each) + 64),
            plain: Group::new(&plain, AhoCorasickKind::DFA)?,
            other: Group::new(&other, AhoCorasickKind::ContiguousNFA)?,
        })
    }
}

impl Words {
    /// What is asked for in these texts.
    pub(super) fn read(&self, texts: &[Literal<'_>]) -> Asked {
        let read = texts.iter().map(|text| match text.len() {
            0..LONG => Arc::new(self.sentences(text)),
            _ => self.known.of(text.raw(), || self.sentences(text)),
        });
        Asked(read.collect())
    }

    fn sentences(&self, text: &Literal<'_>) -> Sentences {
        let text = signs::instruction(&text.decode());
        let ends = signs::sentences(&text);
        let mut lists = vec![0; ends.len()];
        let other = self.other.as_ref().filter(|_| !text.is_ascii());
        for group in self.plain.iter().chain(other) {
            let mut sentence = 0;
            for found in group.search.find_overlapping_iter(&text) {
                let word = group.words[found.pattern().as_usize()];
                if !word.stands(&text, found.start(), found.end()) {
                    continue;
                }
                while ends[sentence] < found.end() {
                    sentence += 1;
                }
                lists[sentence] |= word.lists;
            }
        }
        Sentences {
            all: lists.iter().fold(0, |all, list| all | list),
            each: lists,
        }
    }
}

impl Group {
    /// Some of none, where there are no words.
    fn new(words: &[(&str, u128)], kind: AhoCorasickKind) -> Option<Option<Self>> {
        if words.is_empty() {
            return Some(None);
        }
        let texts = words.iter().map(|(word, _)| word.trim_end());
        let search = AhoCorasick::builder().kind(Some(kind)).build(texts).ok()?;
        let words = words.iter().map(|(word, lists)| Word::new(word, *lists));
        let words = words.collect();
        Some(Some(Self { search, words }))
    }
}

impl Word {
    fn new(word: &str, lists: u128) -> Self {
        Self {
            lists,
            begins: word.starts_with(is_parted),
            is_whole: word.ends_with(' '),
        }
    }

    fn stands(self, text: &str, start: usize, end: usize) -> bool {
        let bytes = text.as_bytes();
        // A look at one byte does for most.
        let is_within = self.begins
            && start > 0
            && match bytes[start - 1] {
                byte if byte.is_ascii() => byte.is_ascii_alphanumeric(),
                _ => text[..start].ends_with(is_parted),
            };
        let goes_on = || text[end..].starts_with(char::is_alphanumeric);
        !(is_within || self.is_whole && goes_on())
    }
}

/// Whether it is of a word in a script that parts them: Latin, Greek or Cyrillic.
fn is_parted(c: char) -> bool {
    c.is_alphanumeric() && (c < '\u{530}' || ('\u{1E00}'..'\u{2000}').contains(&c))
}

impl Asked {
    /// Whether a sentence has what is wanted.
    pub(super) fn has(&self, wanted: &Wanted) -> bool {
        let mut texts = self.0.iter();
        texts.any(|sentences| wanted.is_in(sentences))
    }
}

impl Wanted {
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    fn is_in(&self, Sentences { each, all }: &Sentences) -> bool {
        // Most rules look for what stands nowhere.
        if all & self.all != self.all {
            return false;
        }
        let Some((last, others)) = self.lists.split_last() else {
            return true;
        };
        let has = |at: usize| each[at] & last != 0;
        let beside = |at: usize| {
            !others.is_empty()
                && (at.checked_sub(1).is_some_and(has) || (at + 1 < each.len() && has(at + 1)))
        };
        (0..each.len()).any(|at| {
            each[at] & self.unless == 0
                && others.iter().all(|list| each[at] & list != 0)
                && (has(at) || beside(at))
        })
    }
}
