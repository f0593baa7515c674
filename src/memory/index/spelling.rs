//! The words of a question one by one, and written as one: they may stand otherwise in what is looked for.

use super::script::{is_ideographic, is_in_word, is_unparted};
use super::terms::{Analyzer, Term};

/// Words of a question that are looked at one by one.
const MOST_WORDS: usize = 64;

/// Bytes of a word that may be written otherwise at most: each letter of it costs a look at all of it.
const LONGEST: usize = 96;

/// Words of a question that are looked at for it, words that may be written as one, and bytes of that at most.
const MOST_JOINED: usize = 24;
const JOINED: usize = 4;
const LONGEST_JOINED: usize = 32;

impl Analyzer {
    /// The words of at least three letters of a text, folded, each with its term. What is longer than any
    /// word, as keys and pictures in letters are, is none.
    pub fn words_of(&mut self, folded: &str) -> Vec<(Box<str>, Term)> {
        let is_word = |word: &&str| word.len() <= LONGEST && word.chars().nth(2).is_some();
        let words = parted_words(folded).filter(is_word);
        let known = words.filter_map(|word| Some((word.into(), self.term_of(word)?)));
        known.take(MOST_WORDS).collect()
    }

    /// What words that stand beside each other are, written as one; each once.
    pub fn joined(&mut self, folded: &str) -> Vec<Term> {
        let words: Vec<&str> = parted_words(folded).take(MOST_JOINED).collect();
        let mut joined = Vec::new();
        let mut whole = String::new();
        for at in 0..words.len() {
            whole.clear();
            for (more, word) in words[at..].iter().take(JOINED).enumerate() {
                whole.push_str(word);
                if whole.len() > LONGEST_JOINED {
                    break;
                }
                if more > 0 && whole.len() > 2 {
                    joined.extend(self.term_of(&whole));
                }
            }
        }
        joined.sort_unstable();
        joined.dedup();
        joined
    }
}

/// The words of a text in scripts that part them.
fn parted_words(folded: &str) -> impl Iterator<Item = &str> {
    let words = folded.split(|c| !is_in_word(c) || is_ideographic(c) || is_unparted(c));
    words.filter(|word| !word.is_empty())
}
