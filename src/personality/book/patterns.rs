//! Every key of a book, found in one pass over a text.
//!
//! Plain keys go into two Aho-Corasick automata, one over the text and one over its lower case, so
//! that the cost of a message does not grow with the number of keys. A pattern runs in linear time
//! where the `regex` crate has all that it uses; one with look-around or back-references runs in
//! `fancy-regex`, within so many steps, so that a stranger's card cannot stall a request.

use aho_corasick::AhoCorasick;
use regex::{Regex, RegexBuilder};

/// Bytes of a compiled pattern, and of its cache, at most.
const REGEX_BYTES: usize = 1 << 20;

/// Steps back that one pattern may take in one message; beyond them it is not found.
const MOST_STEPS: usize = 100_000;

/// Which of a book's patterns.
pub(super) type PatternId = usize;

/// How a key that is no pattern is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) case_sensitive: bool,
    /// A key of one word is found as a word, not within one.
    pub(super) whole_words: bool,
}

/// Patterns being gathered.
#[derive(Debug, Default)]
pub(super) struct Builder {
    texts: Vec<String>,
    exact: Vec<Plain>,
    folded: Vec<Plain>,
    regexes: Vec<(PatternId, Expression)>,
}

#[derive(Debug, Clone, Copy)]
struct Plain {
    id: PatternId,
    whole_word: bool,
}

#[derive(Debug)]
enum Expression {
    Linear(Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

impl Builder {
    /// Adds `key`; and what is wrong with it, if it is written as a pattern and is none.
    pub(super) fn add(&mut self, key: &str, mode: Mode) -> (PatternId, Option<String>) {
        let id = self.texts.len();
        self.texts.push(key.to_owned());
        let wrong = match delimited(key).map(|(pattern, flags)| Expression::new(&pattern, flags)) {
            Some(Ok(expression)) => {
                self.regexes.push((id, expression));
                return (id, None);
            }
            Some(Err(wrong)) => Some(wrong),
            None => None,
        };
        let plain = Plain {
            id,
            whole_word: mode.whole_words && !key.contains(char::is_whitespace),
        };
        match mode.case_sensitive {
            true => self.exact.push(plain),
            false => self.folded.push(plain),
        }
        (id, wrong)
    }

    /// Compiles what was gathered.
    pub(super) fn build(self) -> Result<Patterns, aho_corasick::BuildError> {
        let text = |plain: &Plain| self.texts[plain.id].as_str();
        let exact: Vec<&str> = self.exact.iter().map(text).collect();
        let folded: Vec<String> = self.folded.iter().map(text).map(lower_case).collect();
        Ok(Patterns {
            exact: Automaton::new(&exact, self.exact)?,
            folded: Automaton::new(&folded, self.folded)?,
            regexes: self.regexes,
            texts: self.texts,
        })
    }
}

/// Pattern and flags of a key that is written `/pattern/flags`. One with a slash within that is
/// not escaped is no pattern: it is a path, say.
fn delimited(key: &str) -> Option<(String, &str)> {
    let (pattern, flags) = key.strip_prefix('/')?.rsplit_once('/')?;
    let mut escaped = false;
    let open = pattern.chars().any(|c| {
        let open = c == '/' && !escaped;
        escaped = c == '\\' && !escaped;
        open
    });
    let known = flags.chars().all(|flag| "gimsuy".contains(flag));
    (known && !open && !pattern.is_empty()).then(|| (pattern.replace("\\/", "/"), flags))
}

impl Expression {
    fn new(pattern: &str, flags: &str) -> Result<Self, String> {
        let has = |flag| flags.contains(flag);
        let linear = RegexBuilder::new(pattern)
            .case_insensitive(has('i'))
            .multi_line(has('m'))
            .dot_matches_new_line(has('s'))
            .size_limit(REGEX_BYTES)
            .dfa_size_limit(REGEX_BYTES)
            .build();
        let wrong = match linear {
            Ok(linear) => return Ok(Self::Linear(linear)),
            Err(wrong) => wrong,
        };
        let backtracking = fancy_regex::RegexBuilder::new(pattern)
            .case_insensitive(has('i'))
            .multi_line(has('m'))
            .dot_matches_new_line(has('s'))
            .backtrack_limit(MOST_STEPS)
            .delegate_size_limit(REGEX_BYTES)
            .delegate_dfa_size_limit(REGEX_BYTES)
            .build();
        backtracking
            .map(|found| Self::Backtracking(Box::new(found)))
            .map_err(|_| {
                // The crate draws the pattern over several lines; the last one says what is wrong.
                let wrong = wrong.to_string();
                let reason = wrong.lines().last().unwrap_or_default();
                reason.strip_prefix("error: ").unwrap_or(reason).to_owned()
            })
    }

    fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Linear(regex) => regex.is_match(text),
            Self::Backtracking(regex) => regex.is_match(text).unwrap_or(false),
        }
    }
}

/// Each character in lower case. [`str::to_lowercase`] looks every CJK character up in a table,
/// which took longer than finding the keys.
fn lower_case(text: &str) -> String {
    let mut lower = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\0'..='\x7f' => lower.push(char.to_ascii_lowercase()),
            // From the CJK radicals to the last Yi character nothing has case.
            '\u{2e80}'..='\u{a4cf}' => lower.push(char),
            _ => lower.extend(char.to_lowercase()),
        }
    }
    lower
}

/// The compiled patterns of one book.
#[derive(Debug)]
pub(super) struct Patterns {
    texts: Vec<String>,
    exact: Option<Automaton>,
    folded: Option<Automaton>,
    regexes: Vec<(PatternId, Expression)>,
}

impl Patterns {
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The pattern as the card writes it.
    pub(super) fn text(&self, id: PatternId) -> &str {
        &self.texts[id]
    }

    /// Calls `found` with each pattern that `text` holds, some of them more than once.
    pub(super) fn find(&self, text: &str, mut found: impl FnMut(PatternId)) {
        if let Some(exact) = &self.exact {
            exact.find(text, &mut found);
        }
        if let Some(folded) = &self.folded {
            folded.find(&lower_case(text), &mut found);
        }
        for (id, regex) in &self.regexes {
            if regex.is_in(text) {
                found(*id);
            }
        }
    }
}

#[derive(Debug)]
struct Automaton {
    matcher: AhoCorasick,
    /// What the matcher's own numbers stand for.
    plain: Vec<Plain>,
}

impl Automaton {
    fn new<P: AsRef<[u8]>>(
        patterns: &[P],
        plain: Vec<Plain>,
    ) -> Result<Option<Self>, aho_corasick::BuildError> {
        if plain.is_empty() {
            return Ok(None);
        }
        let matcher = AhoCorasick::new(patterns)?;
        Ok(Some(Self { matcher, plain }))
    }

    fn find(&self, text: &str, found: &mut impl FnMut(PatternId)) {
        // A letter of another script than Latin ends a word, as in JavaScript: Chinese has no
        // spaces.
        let in_word = |byte: Option<&u8>| {
            byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        };
        for hit in self.matcher.find_overlapping_iter(text) {
            let plain = self.plain[hit.pattern().as_usize()];
            let bytes = text.as_bytes();
            let before = hit.start().checked_sub(1).and_then(|at| bytes.get(at));
            if !plain.whole_word || !(in_word(before) || in_word(bytes.get(hit.end()))) {
                found(plain.id);
            }
        }
    }
}
