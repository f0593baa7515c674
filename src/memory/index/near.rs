//! Words as they may have been meant: long ones that no document has with a letter changed; several as one,
//! and one as several. People write `e-bike`, `ebike` and `e bike`, `enable_fast_path` and `enableFastPath`,
//! `5 km` and `5km`, `(030) 123-456` and `030123456`.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use super::fold::fold;
use super::script::{Script, Stemmers, is_in_word};
use super::terms::LONG;
use super::{Document, Index, Query, Term};

/// What a word weighs that is meant perhaps.
const WEIGHT: f32 = 0.6;
/// What several words weigh as one, which count by themselves too.
const AS_ONE: f32 = 0.25;

/// Words of a question that are looked for so.
const WORDS: usize = 3;

/// Documents that may have it in several words, and bytes of them that are looked at.
const DOCS: usize = 8;
const BYTES: usize = 1024;

impl Index {
    /// The terms that a letter more, less, or another, or two that changed places, make of the
    /// query's long words that no document has, those that several of its words make as one, and those that
    /// one makes as several; `document` gives a document as it was taken up.
    pub(super) fn near<'a>(
        &self,
        query: &Query,
        document: &impl Fn(u32) -> Document<'a>,
    ) -> Vec<(Term, f32)> {
        let joined = query.joined.iter().copied();
        let mut near: Vec<_> = joined
            .filter(|term| self.postings.of(*term).len() > 0)
            .map(|term| (term, AS_ONE))
            .collect();
        let is_unknown = |(_, term): &&(Box<str>, Term)| self.postings.of(*term).len() == 0;
        let unknown: Vec<_> = query.words.iter().filter(is_unknown).collect();
        if unknown.is_empty() {
            return near;
        }
        let stemmers = Stemmers::default();
        for (word, _) in unknown.iter().take(WORDS) {
            let parts = self.parts_of(word, &stemmers, document);
            near.extend(parts.into_iter().map(|term| (term, WEIGHT)));
        }
        let stems = unknown.iter().map(|(word, _)| stemmers.stem(word));
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
        near.sort_by_key(|(term, _)| *term);
        near.dedup_by_key(|(term, _)| *term);
        near
    }

    /// The terms of the words of a document that make this one, written together.
    fn parts_of<'a>(
        &self,
        word: &str,
        stemmers: &Stemmers,
        document: &impl Fn(u32) -> Document<'a>,
    ) -> Vec<Term> {
        let term = |word: &str| xxh3_64(stemmers.stem(word).as_bytes());
        for (at, _) in word.char_indices().skip(1) {
            let (begin, end) = word.split_at(at);
            let lists = [begin, end].map(|part| self.postings.of(term(part)));
            let mut lists = lists
                .into_iter()
                .filter(|docs| (1..=DOCS).contains(&docs.len()));
            let Some(docs) = lists.next() else { continue };
            for posting in docs {
                let text = document(posting.doc).text;
                let text = &text[..text.floor_char_boundary(BYTES)];
                if let Some(parts) = parted(text, word) {
                    return parts.iter().map(|part| term(part.as_str())).collect();
                }
            }
        }
        Vec::new()
    }
}

/// The words of a text that stand beside each other and make this one.
fn parted(text: &str, word: &str) -> Option<Vec<String>> {
    let folded: Cow<'_, str> = match text.is_ascii() {
        true => text.to_ascii_lowercase().into(),
        false => fold(text).into(),
    };
    let words = folded.split(|c| !is_in_word(c));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    (0..words.len()).find_map(|at| {
        let mut rest = word;
        for (more, part) in words[at..].iter().enumerate() {
            rest = rest.strip_prefix(*part)?;
            if rest.is_empty() {
                let parts = &words[at..=at + more];
                return Some(parts.iter().map(|part| (*part).to_owned()).collect());
            }
        }
        None
    })
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
