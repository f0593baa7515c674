//! When two texts say the same.

use std::collections::HashSet;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::index::{is_ideographic, nfkc};

/// Share of common shingles from which one text stands in for another.
const NEAR: f32 = 0.8;

/// Share of a text's shingles found in another from which it only repeats that other.
const REPEATS: f32 = 0.9;

/// Shingles below which a share means little, and only the very same counts.
const FEW: usize = 6;

/// Equal for texts that differ in case, white space and the punctuation of sentences alone.
pub fn fingerprint(text: &str) -> u64 {
    of_words(&words(text))
}

fn of_words(words: &[u64]) -> u64 {
    let mut hash = Xxh3::new();
    for word in words {
        hash.update(&word.to_be_bytes());
    }
    hash.digest()
}

/// Hashes of a text's words: runs of letters and digits, and every ideograph and sign alone. A
/// sign counts, since -5 is not 5 and C++ not C; only what ends or parts sentences does not.
fn words(text: &str) -> Vec<u64> {
    if text.is_ascii() {
        scan(text.chars().map(|c| c.to_ascii_lowercase()))
    } else {
        scan(nfkc(text).chars().flat_map(char::to_lowercase))
    }
}

fn scan(chars: impl Iterator<Item = char>) -> Vec<u64> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            words.push(xxh3_64(word.as_bytes()));
            word.clear();
        }
    };
    for c in chars {
        if c.is_alphanumeric() && !is_ideographic(c) {
            word.push(c);
            continue;
        }
        end(&mut word);
        if !c.is_whitespace() && !"'\"‘’“”.,;:!?…。、~()".contains(c) {
            word.push(c);
            end(&mut word);
        }
    }
    end(&mut word);
    words
}

/// A text as its set of pairs of neighbouring words, or of ideographs.
pub struct Shingles {
    fingerprint: u64,
    /// Its runs of digits, in order.
    numbers: Vec<String>,
    pairs: HashSet<u64>,
}

impl Shingles {
    pub fn of(text: &str) -> Self {
        let words = words(text);
        Self {
            fingerprint: of_words(&words),
            numbers: numbers(text),
            pairs: words
                .windows(2)
                .map(|w| w[0].rotate_left(23) ^ w[1])
                .collect(),
        }
    }

    /// Whether either could stand in for the other: the same, or the same but for a word or two
    /// of a long text. Another number is another fact.
    pub fn near(&self, other: &Self) -> bool {
        if self.fingerprint == other.fingerprint {
            return true;
        }
        if self.pairs.len().min(other.pairs.len()) < FEW || self.numbers != other.numbers {
            return false;
        }
        let common = self.pairs.intersection(&other.pairs).count();
        let all = self.pairs.len() + other.pairs.len() - common;
        common as f32 >= NEAR * all as f32
    }

    /// Whether this text says nothing that `others` together do not say.
    pub fn repeats(&self, others: &[Self]) -> bool {
        if others.iter().any(|o| o.fingerprint == self.fingerprint) {
            return true;
        }
        if self.pairs.len() < FEW {
            return false;
        }
        let known = self
            .pairs
            .iter()
            .filter(|pair| others.iter().any(|o| o.pairs.contains(pair)))
            .count();
        known as f32 >= REPEATS * self.pairs.len() as f32
    }
}

fn numbers(text: &str) -> Vec<String> {
    nfkc(text)
        .split(|c: char| !c.is_numeric())
        .filter(|run| !run.is_empty())
        .map(str::to_owned)
        .collect()
}
