//! Text into terms: what BM25 counts.
//!
//! Letters are folded first: see [`fold`]. Words of scripts that part them become stems without
//! English stop words; Thai, Lao, Khmer and Burmese are parted by the dictionaries of ICU; Han, kana
//! and hangul become single characters and pairs of neighbours, which needs no dictionary.

use std::borrow::Cow;
use std::cell::RefCell;
use std::num::NonZero;

use icu_segmenter::{WordSegmenter, WordSegmenterBorrowed, options::WordBreakInvariantOptions};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::fold::fold;
use super::grammar::{is_english_stop, is_foreign, is_ideographic_stop, tells_english};
use super::oneself;
use super::postings::TermMap;
use super::script::{Script, Stemmers, is_ideographic, is_in_word, is_unparted};

/// A term by its 64-bit hash: a scope has at most some 10⁵ of them, so two share one with a
/// chance below 10⁻⁹, and the dictionary is four times smaller than one of strings.
pub type Term = u64;

/// Words that a thread remembers. What a word is costs as much as hashing it a hundred times, and of
/// what people say nearly every word was said before.
const REMEMBERED: usize = 4096;

thread_local! {
    /// By the end of the word's hash. A word takes the place of another.
    static WORDS: RefCell<Vec<(u64, Word)>> = RefCell::new(vec![(0, Word::default()); REMEMBERED]);
}

/// What a term stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Word,
    /// One ideograph.
    Character,
    /// Two ideographs in a row.
    Pair,
    /// A part of a word: it counts beside the word, and not for the length of a text.
    Part,
}

/// Turns texts into terms, and numbers them from 0 as it meets them. It remembers each word that its
/// thread did not, since words repeat far more often than they are new; keep one for a whole index, or
/// make one for a query.
pub struct Analyzer {
    stemmers: Stemmers,
    segmenter: WordSegmenterBorrowed<'static>,
    /// By the hash of the word as it is written.
    words: TermMap<Word>,
    numbers: TermMap<u32>,
    terms: Vec<Term>,
    /// Of the text at hand: parts of its words, how many there are, and how many an English text with
    /// as many English words has.
    parts: Vec<Term>,
    count: usize,
    english: usize,
}

/// What a word is.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    /// None for a stop word.
    term: Option<NonZero<Term>>,
    /// Its beginnings, and what is left without a particle that clings to it.
    parts: [Option<NonZero<Term>>; 3],
    /// How much it tells that a text is English.
    english: u8,
    /// Whether it carries grammar in a language that is not English.
    is_function: bool,
}

impl Default for Analyzer {
    fn default() -> Self {
        Self {
            stemmers: Stemmers::default(),
            segmenter: WordSegmenter::new_dictionary(WordBreakInvariantOptions::default()),
            words: TermMap::default(),
            numbers: TermMap::default(),
            terms: Vec::new(),
            parts: Vec::new(),
            count: 0,
            english: 0,
        }
    }
}

impl Analyzer {
    /// As [`Analyzer::analyze`], of what somebody says, with how much it tells of oneself.
    pub fn said(&mut self, text: &str, found: &mut Vec<(u32, Kind)>) {
        let folded = self.analyze(text, found);
        for _ in 0..oneself::told(&folded) {
            found.push((self.number(oneself::ONESELF), Kind::Part));
        }
    }

    /// Appends the numbers of the terms of `text`, in order, to `found`; gives the text folded.
    pub fn analyze(&mut self, text: &str, found: &mut Vec<(u32, Kind)>) -> String {
        let begun = found.len();
        self.parts.clear();
        (self.count, self.english) = (0, 0);
        let folded = if text.is_ascii() {
            let folded = text.to_ascii_lowercase();
            for word in folded.split(|c: char| !c.is_ascii_alphanumeric() && c != '\'') {
                self.word(word, found);
            }
            folded
        } else {
            let folded = fold(text);
            self.scan(&folded, found);
            folded
        };
        self.figures(&folded, found);
        // What English words are parts of, their stems tell.
        if self.english < self.count {
            let parts = std::mem::take(&mut self.parts);
            found.extend(parts.iter().map(|part| (self.number(*part), Kind::Part)));
            self.parts = parts;
            return folded;
        }
        for (_, kind) in &mut found[begun..] {
            if *kind == Kind::Part {
                *kind = Kind::Word;
            }
        }
        folded
    }

    /// The term of a word, which is folded; none of a stop word.
    pub fn term_of(&mut self, word: &str) -> Option<Term> {
        self.known(word).term.map(NonZero::get)
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

    fn scan(&mut self, text: &str, found: &mut Vec<(u32, Kind)>) {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let is_alike: fn(char) -> bool = match first {
                c if is_ideographic(c) => is_ideographic,
                c if is_unparted(c) => is_unparted,
                c if is_in_word(c) => is_in_spaced_word,
                _ => |c| !is_in_word(c) && !is_unparted(c) && !is_ideographic(c),
            };
            let end = rest.find(|c| !is_alike(c)).unwrap_or(rest.len());
            let (run, behind) = rest.split_at(end);
            rest = behind;
            if is_ideographic(first) {
                self.ideographs(run, found);
            } else if is_unparted(first) {
                self.unparted(run, found);
            } else if is_in_word(first) {
                self.word(run, found);
            }
        }
    }

    /// Characters of a run, and its pairs.
    fn ideographs(&mut self, run: &str, found: &mut Vec<(u32, Kind)>) {
        let mut before: Option<char> = None;
        for c in run.chars() {
            if !is_ideographic_stop(c) {
                found.push((self.number(cjk_term(&[c])), Kind::Character));
            }
            if let Some(b) = before.replace(c) {
                found.push((self.number(cjk_term(&[b, c])), Kind::Pair));
            }
        }
    }

    /// Words of a run that only a dictionary parts. Names that it does not know are parted otherwise
    /// from one text to the next, so that pairs of characters count beside them.
    fn unparted(&mut self, run: &str, found: &mut Vec<(u32, Kind)>) {
        let mut begin = 0;
        for end in self.segmenter.segment_str(run).skip(1) {
            self.word(&run[begin..end], found);
            begin = end;
        }
        let mut before: Option<char> = None;
        for c in run.chars().filter(|c| c.is_alphabetic()) {
            if let Some(b) = before.replace(c) {
                self.parts.push(cjk_term(&[b, c]));
            }
        }
    }

    /// Numbers as they are written without what parts their digits: 1,250,000 as 1250000.
    fn figures(&mut self, text: &str, found: &mut Vec<(u32, Kind)>) {
        let bytes = text.as_bytes();
        let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let mut at = 0;
        while let Some(next) = bytes[at..].iter().position(u8::is_ascii_digit) {
            let begin = at + next;
            let mut end = begin;
            let mut parts = 1;
            loop {
                while is_digit(end) {
                    end += 1;
                }
                if !text[end..].starts_with(PARTS_DIGITS) {
                    break;
                }
                let parted = text[end..].chars().next().map_or(1, char::len_utf8);
                // White space parts digits by threes alone.
                let by_three =
                    (1..=3).all(|n| is_digit(end + parted + n - 1)) && !is_digit(end + parted + 3);
                let is_space = text[end..].starts_with(char::is_whitespace);
                if !is_digit(end + parted) || is_space && !by_three {
                    break;
                }
                (end, parts) = (end + parted, parts + 1);
            }
            at = end;
            if parts > 1 {
                let digits: String = text[begin..end]
                    .chars()
                    .filter(char::is_ascii_digit)
                    .collect();
                self.word(&digits, found);
            }
        }
    }

    /// `word` is folded, and may be empty.
    fn word(&mut self, word: &str, found: &mut Vec<(u32, Kind)>) {
        if word.is_empty() {
            return;
        }
        let known = self.known(word);
        self.count += 1;
        self.english += usize::from(known.english);
        let kind = match known.is_function {
            true => Kind::Part,
            false => Kind::Word,
        };
        if let Some(term) = known.term {
            found.push((self.number(term.get()), kind));
        }
        let parts = known.parts.into_iter().flatten();
        self.parts.extend(parts.map(NonZero::get));
    }

    /// What a word is: as the thread remembers it, as this analyzer does, or found anew.
    fn known(&mut self, word: &str) -> Word {
        let hash = xxh3_64(word.as_bytes());
        let place = hash as usize % REMEMBERED;
        let (holder, known) = WORDS.with_borrow(|words| words[place]);
        if holder == hash {
            return known;
        }
        let known = *self
            .words
            .entry(hash)
            .or_insert_with(|| learn(&self.stemmers, word));
        WORDS.with_borrow_mut(|words| words[place] = (hash, known));
        known
    }
}

/// Finds out what a word is, which may hold apostrophes: "didn't", "maria's".
fn learn(stemmers: &Stemmers, word: &str) -> Word {
    let word = word.trim_matches('\'');
    let bare = word.split('\'').next().unwrap_or(word);
    let mut known = Word {
        english: tells_english(word),
        is_function: is_foreign(word),
        ..Word::default()
    };
    if bare.is_empty() || is_english_stop(word) || is_english_stop(bare) {
        return known;
    }
    known.term = NonZero::new(xxh3_64(stemmers.stem(bare).as_bytes()));
    if bare.starts_with(|c: char| c.is_ascii_digit() || is_unparted(c)) {
        return known;
    }
    for (part, length) in known.parts.iter_mut().zip(BEGINNINGS) {
        if let Some((end, c)) = bare.char_indices().nth(length - 1) {
            let beginning = &bare.as_bytes()[..end + c.len_utf8()];
            *part = NonZero::new(xxh3_64_with_seed(beginning, 1));
        }
    }
    if Script::of(bare) == Script::Hebrew
        && bare.chars().count() > 3
        && let Some(rest) = bare.strip_prefix(['ו', 'ה', 'ב', 'ל', 'מ', 'ש', 'כ'])
    {
        known.parts[2] = NonZero::new(xxh3_64(rest.as_bytes()));
    }
    known
}

/// Whether a character belongs to a word of a script that parts them.
fn is_in_spaced_word(c: char) -> bool {
    c == '\'' || is_in_word(c) && !is_ideographic(c) && !is_unparted(c)
}

/// Letters of what a word begins with.
const BEGINNINGS: [usize; 2] = [3, 5];

/// Letters of a word that is looked for with one of them changed.
pub const LONG: usize = 6;

/// What parts the digits of one number.
const PARTS_DIGITS: [char; 9] = [',', '.', '\'', '-', '_', ' ', '\u{a0}', '\u{202f}', '٬'];

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
    let mut rest = text;
    let beyond = std::iter::from_fn(|| {
        loop {
            let at = rest.bytes().position(|byte| !byte.is_ascii())?;
            let mut chars = rest[at..].chars();
            let c = chars.next()?;
            rest = chars.as_str();
            if !is_composed(c) {
                return Some(c);
            }
        }
    });
    match is_nfkc_quick(beyond) {
        IsNormalized::Yes => Cow::Borrowed(text),
        IsNormalized::No | IsNormalized::Maybe => Cow::Owned(text.nfkc().collect()),
    }
}

/// Whether it is in that form whatever stands beside it, as what is ASCII is: Han, kana, hangul.
fn is_composed(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{ac00}'..='\u{d7a3}')
}

#[cfg(test)]
mod nfkc_tests {
    use super::*;

    #[test]
    fn what_is_passed_over_is_in_its_compatibility_form_beside_any_other() {
        let all = ('\u{80}'..=char::MAX).filter(|c| is_composed(*c));
        for c in all {
            for text in [format!("a{c}\u{301}b"), format!("{c}{c}"), format!("ﬁ{c}")] {
                let whole: String = text.nfkc().collect();
                assert_eq!(nfkc(&text), whole, "{text}");
            }
        }
        for text in [
            "",
            "plain",
            "ＡＢＣ",
            "が",
            "か\u{3099}",
            "ㅎㅏㄴ",
            "한\u{11ab}",
            "하\u{11ab}",
            "é",
            "e\u{301}",
        ] {
            assert_eq!(nfkc(text), text.nfkc().collect::<String>(), "{text}");
        }
    }
}
