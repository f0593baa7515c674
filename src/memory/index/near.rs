//! Long words that no document has, looked for with a letter changed: as they may have been meant.

use xxhash_rust::xxh3::xxh3_64;

use super::script::{Script, Stemmers};
use super::terms::LONG;
use super::{Index, Query, Term};

/// What a word weighs that is meant perhaps.
const WEIGHT: f32 = 0.6;

/// Words of a question that are looked for so.
const WORDS: usize = 3;

impl Index {
    /// The terms that a letter more, less, or another, or two that changed places, make of the
    /// query's long words that no document has.
    pub(super) fn near(&self, query: &Query) -> Vec<(Term, f32)> {
        let mut near = Vec::new();
        let is_unknown = |(_, term): &&(Box<str>, Term)| self.postings.of(*term).len() == 0;
        let mut unknown = query.long.iter().filter(is_unknown).peekable();
        if unknown.peek().is_none() {
            return near;
        }
        let stemmers = Stemmers::default();
        let stems = unknown.map(|(word, _)| stemmers.stem(word));
        let stems = stems.filter(|stem| stem.chars().nth(LONG - 1).is_some());
        for stem in stems.take(WORDS) {
            changed(&stem, |other| {
                let term = xxh3_64(other.as_bytes());
                let is_new = near.iter().all(|(known, _)| *known != term);
                if is_new && self.postings.of(term).len() > 0 {
                    near.push((term, WEIGHT));
                }
            });
        }
        near
    }
}

/// Shows what one change makes of a word.
fn changed(word: &str, mut show: impl FnMut(&str)) {
    let letters = Script::of(word).letters();
    let mut other = String::with_capacity(word.len() + 4);
    let mut put = |parts: [&str; 2], between: &[char]| {
        other.clear();
        other.push_str(parts[0]);
        other.extend(between);
        other.push_str(parts[1]);
        show(&other);
    };
    let mut rest = word.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        let (before, behind) = (&word[..at], &word[at + c.len_utf8()..]);
        put([before, behind], &[]);
        if let Some((_, next)) = rest.peek() {
            put([before, &behind[next.len_utf8()..]], &[*next, c]);
        }
        for letter in letters.clone() {
            put([before, behind], &[letter]);
            put([before, &word[at..]], &[letter]);
        }
    }
    for letter in letters {
        put([word, ""], &[letter]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_makes_of_a_word_what_was_meant() {
        for (written, meant) in [
            ("restaurnt", "restaurant"),
            ("restauarnt", "restaurant"),
            ("resstaurant", "restaurant"),
            ("rastaurant", "restaurant"),
            ("estaurant", "restaurant"),
            ("restauran", "restaurant"),
            ("собакк", "собака"),
            ("ספריב", "ספריה"),
        ] {
            let mut found = false;
            changed(written, |other| found |= other == meant);
            assert!(found, "{written}");
        }
    }
}
