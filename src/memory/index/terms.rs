//! Text into terms: what BM25 counts.
//!
//! Words of alphabetic scripts become lower-case English stems without stop words; Han, kana and
//! hangul become single characters and pairs of neighbours, which needs no dictionary.

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
use xxhash_rust::xxh3::xxh3_64;

use super::postings::TermMap;

/// A term by its 64-bit hash: a scope has at most some 10⁵ of them, so two share one with a
/// chance below 10⁻⁹, and the dictionary is four times smaller than one of strings.
pub type Term = u64;

/// What a term stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Word,
    /// One ideograph.
    Character,
    /// Two ideographs in a row.
    Pair,
}

/// Turns texts into terms. It remembers each word's term, since words repeat far more often than
/// they are new; keep one for a whole index, or make one for a query.
pub struct Analyzer {
    stemmer: Stemmer,
    /// By the hash of the word as it is written.
    words: TermMap<Option<Term>>,
    word: String,
}

impl Default for Analyzer {
    fn default() -> Self {
        Self {
            stemmer: Stemmer::create(Algorithm::English),
            words: TermMap::default(),
            word: String::new(),
        }
    }
}

impl Analyzer {
    /// Appends the terms of `text`, in order, to `terms`.
    pub fn analyze(&mut self, text: &str, terms: &mut Vec<(Term, Kind)>) {
        if text.is_ascii() || is_nfkc_quick(text.chars()) == IsNormalized::Yes {
            self.scan(text.chars(), terms);
        } else {
            self.scan(text.nfkc(), terms);
        }
    }

    /// The terms of `text`.
    pub fn terms(&mut self, text: &str) -> Vec<(Term, Kind)> {
        let mut terms = Vec::new();
        self.analyze(text, &mut terms);
        terms
    }

    fn scan(&mut self, chars: impl Iterator<Item = char>, terms: &mut Vec<(Term, Kind)>) {
        let mut before: Option<char> = None;
        for c in chars {
            if is_ideographic(c) {
                self.end_word(terms);
                if !is_cjk_stop(c) {
                    terms.push((cjk_term(&[c]), Kind::Character));
                }
                if let Some(b) = before {
                    terms.push((cjk_term(&[b, c]), Kind::Pair));
                }
                before = Some(c);
                continue;
            }
            before = None;
            if c.is_alphanumeric() {
                match c.is_ascii() {
                    true => self.word.push(c.to_ascii_lowercase()),
                    false => self.word.extend(c.to_lowercase()),
                }
            } else if !matches!(c, '\'' | '’') {
                self.end_word(terms);
            } else if !self.word.is_empty() {
                self.word.push('\'');
            }
        }
        self.end_word(terms);
    }

    fn end_word(&mut self, terms: &mut Vec<(Term, Kind)>) {
        if self.word.is_empty() {
            return;
        }
        let term = *self
            .words
            .entry(xxh3_64(self.word.as_bytes()))
            .or_insert_with(|| word_term(&self.stemmer, &self.word));
        terms.extend(term.map(|term| (term, Kind::Word)));
        self.word.clear();
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
