//! Text into terms: what BM25 counts.
//!
//! Words of alphabetic scripts become lower-case English stems without stop words; Han, kana and
//! hangul become single characters and pairs of neighbours, which needs no dictionary.

use std::borrow::Cow;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
use xxhash_rust::xxh3::xxh3_64;

use super::dates;
use super::postings::TermMap;

/// A term by its 64-bit hash: a scope has at most some 10⁵ of them, so two share one with a
/// chance below 10⁻⁹, and the dictionary is four times smaller than one of strings.
pub type Term = u64;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// What a term stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Word,
    /// One ideograph.
    Character,
    /// Two ideographs in a row.
    Pair,
}

/// Turns texts into terms, and numbers them from 0 as it meets them. It remembers each word's term,
/// since words repeat far more often than they are new; keep one for a whole index, or make one
/// for a query.
pub struct Analyzer {
    stemmer: Stemmer,
    /// By the hash of the word as it is written; none for a stop word.
    words: TermMap<Option<u32>>,
    numbers: TermMap<u32>,
    terms: Vec<Term>,
    /// The last day that was asked for, with its terms.
    day: Option<(i64, [u32; 4])>,
}

impl Default for Analyzer {
    fn default() -> Self {
        Self {
            stemmer: Stemmer::create(Algorithm::English),
            words: TermMap::default(),
            numbers: TermMap::default(),
            terms: Vec::new(),
            day: None,
        }
    }
}

impl Analyzer {
    /// Appends the numbers of the terms of `text`, in order, to `found`.
    pub fn analyze(&mut self, text: &str, found: &mut Vec<(u32, Kind)>) {
        if text.is_ascii() {
            let text = text.to_ascii_lowercase();
            for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '\'') {
                self.word(word.trim_start_matches('\''), found);
            }
        } else {
            self.scan(nfkc(text).chars(), found);
        }
    }

    /// The numbers of the terms of a moment's date, in Unix milliseconds.
    pub fn date(&mut self, at: i64) -> [u32; 4] {
        let day = at.div_euclid(DAY_MS);
        match self.day {
            Some((last, numbers)) if last == day => numbers,
            _ => {
                let numbers = dates::record_terms(at).map(|term| self.number(term));
                self.day = Some((day, numbers));
                numbers
            }
        }
    }

    /// The number of a term.
    fn number(&mut self, term: Term) -> u32 {
        *self.numbers.entry(term).or_insert_with(|| {
            self.terms.push(term);
            self.terms.len() as u32 - 1
        })
    }

    /// Every term that it has met, by number.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    fn scan(&mut self, chars: impl Iterator<Item = char>, found: &mut Vec<(u32, Kind)>) {
        let mut before: Option<char> = None;
        let mut word = String::new();
        for c in chars {
            if is_ideographic(c) {
                self.word(&word, found);
                word.clear();
                if !is_cjk_stop(c) {
                    found.push((self.number(cjk_term(&[c])), Kind::Character));
                }
                if let Some(b) = before {
                    found.push((self.number(cjk_term(&[b, c])), Kind::Pair));
                }
                before = Some(c);
                continue;
            }
            before = None;
            if c.is_alphanumeric() {
                word.extend(c.to_lowercase());
            } else if !matches!(c, '\'' | '’') {
                self.word(&word, found);
                word.clear();
            } else if !word.is_empty() {
                word.push('\'');
            }
        }
        self.word(&word, found);
    }

    /// `word` is in lower case, and may be empty.
    fn word(&mut self, word: &str, found: &mut Vec<(u32, Kind)>) {
        if word.is_empty() {
            return;
        }
        let hash = xxh3_64(word.as_bytes());
        let number = match self.words.get(&hash) {
            Some(known) => *known,
            None => {
                let number = word_term(&self.stemmer, word).map(|term| self.number(term));
                self.words.insert(hash, number);
                number
            }
        };
        found.extend(number.map(|number| (number, Kind::Word)));
    }
}

/// `None` for a stop word. `word` is in lower case and may hold apostrophes: "didn't", "maria's".
fn word_term(stemmer: &Stemmer, word: &str) -> Option<Term> {
    let word = word.trim_end_matches('\'');
    let stem = word.split('\'').next().unwrap_or(word);
    if stem.is_empty() || is_english_stop(word) || is_english_stop(stem) {
        return None;
    }
    Some(xxh3_64(stemmer.stem(stem).as_bytes()))
}

fn cjk_term(chars: &[char]) -> Term {
    let mut bytes = [0; 8];
    let mut length = 0;
    for c in chars {
        length += c.encode_utf8(&mut bytes[length..]).len();
    }
    xxh3_64(&bytes[..length])
}

/// A text in its compatibility form, which most texts are in.
pub fn nfkc(text: &str) -> Cow<'_, str> {
    match is_nfkc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        IsNormalized::No | IsNormalized::Maybe => Cow::Owned(text.nfkc().collect()),
    }
}

/// Whether words of this character's script are not parted by spaces: Han, kana, and hangul,
/// whose particles cling to the word.
pub fn is_ideographic(c: char) -> bool {
    c >= '\u{1100}'
        && matches!(u32::from(c),
        0x3040..=0x30FF | 0x31F0..=0x31FF          // kana
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF        // Han
        | 0xF900..=0xFAFF | 0x20000..=0x3FFFF      // Han, compatibility and supplementary
        | 0x3005..=0x3007                          // iteration mark, zero
        | 0x1100..=0x11FF | 0x3130..=0x318F | 0xAC00..=0xD7AF) // hangul
}

/// Characters that only carry grammar. They still take part in pairs.
fn is_cjk_stop(c: char) -> bool {
    "的了呢吗嘛啊呀吧着过是在有和与也都就还很这那哪个们我你您他她它么什谁之其于被把对给从到"
        .contains(c)
}

fn is_english_stop(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// English words that carry grammar rather than content, sorted.
const STOP_WORDS: &[&str] = &[
    "a", "about", "after", "again", "all", "also", "am", "an", "and", "any", "are", "aren't", "as",
    "at", "be", "because", "been", "before", "being", "between", "both", "but", "by", "can",
    "can't", "could", "couldn't", "did", "didn't", "do", "does", "doesn't", "doing", "don't",
    "during", "each", "for", "from", "further", "had", "hadn't", "has", "hasn't", "have",
    "haven't", "having", "he", "he's", "her", "here", "hers", "him", "his", "how", "i", "i'd",
    "i'll", "i'm", "i've", "if", "in", "into", "is", "isn't", "it", "it's", "its", "just", "let's",
    "me", "more", "most", "my", "no", "nor", "not", "of", "off", "on", "once", "only", "or",
    "other", "our", "out", "over", "own", "same", "she", "she's", "should", "so", "some", "such",
    "than", "that", "that's", "the", "their", "them", "then", "there", "these", "they", "this",
    "those", "through", "to", "too", "under", "until", "up", "us", "very", "was", "wasn't", "we",
    "were", "weren't", "what", "what's", "when", "where", "which", "while", "who", "whom", "why",
    "will", "with", "won't", "would", "wouldn't", "yeah", "you", "you're", "your", "yours",
];
