//! Every key of a book, found in one pass over a text.
//!
//! Plain keys go into two Aho-Corasick automata, one over the text and one over its lower case, so
//! that the cost of a message does not grow with the number of keys. The `regex` crate runs in
//! linear time, so a pattern from a stranger's card cannot stall a request.

use aho_corasick::AhoCorasick;
use regex::{Regex, RegexBuilder};

/// Bytes of a compiled pattern, and of its cache, at most.
const REGEX_BYTES: usize = 1 << 20;

/// Which of a book's patterns.
pub(super) type PatternId = usize;

/// How a key is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) regex: bool,
    pub(super) case_sensitive: bool,
}

/// Patterns being gathered.
#[derive(Debug, Default)]
pub(super) struct Builder {
    texts: Vec<String>,
    exact: Vec<PatternId>,
    folded: Vec<PatternId>,
    regexes: Vec<(PatternId, Regex)>,
}

impl Builder {
    /// Adds `key`; what went wrong, if it is no valid regular expression.
    pub(super) fn add(&mut self, key: &str, mode: Mode) -> Result<PatternId, regex::Error> {
        let id = self.texts.len();
        if mode.regex {
            self.regexes.push((id, regex(key, mode.case_sensitive)?));
        } else if mode.case_sensitive {
            self.exact.push(id);
        } else {
            self.folded.push(id);
        }
        self.texts.push(key.to_owned());
        Ok(id)
    }

    /// Compiles what was gathered.
    pub(super) fn build(self) -> Result<Patterns, aho_corasick::BuildError> {
        let exact: Vec<&str> = self
            .exact
            .iter()
            .map(|id| self.texts[*id].as_str())
            .collect();
        let folded: Vec<String> = self
            .folded
            .iter()
            .map(|id| lower_case(&self.texts[*id]))
            .collect();
        Ok(Patterns {
            exact: Automaton::new(&exact, self.exact)?,
            folded: Automaton::new(&folded, self.folded)?,
            regexes: self.regexes,
            texts: self.texts,
        })
    }
}

/// A key as a regular expression; `/…/flags` is read as JavaScript writes it.
fn regex(key: &str, case_sensitive: bool) -> Result<Regex, regex::Error> {
    let (pattern, flags) = key
        .strip_prefix('/')
        .and_then(|rest| rest.rsplit_once('/'))
        .filter(|(_, flags)| flags.chars().all(|flag| "dgimsuvy".contains(flag)))
        .map_or((key, None), |(pattern, flags)| (pattern, Some(flags)));
    let has = |flag| flags.is_some_and(|flags| flags.contains(flag));
    RegexBuilder::new(pattern)
        .case_insensitive(has('i') || (flags.is_none() && !case_sensitive))
        .multi_line(has('m'))
        .dot_matches_new_line(has('s'))
        .size_limit(REGEX_BYTES)
        .dfa_size_limit(REGEX_BYTES)
        .build()
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
    regexes: Vec<(PatternId, Regex)>,
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
            if regex.is_match(text) {
                found(*id);
            }
        }
    }
}

#[derive(Debug)]
struct Automaton {
    matcher: AhoCorasick,
    /// What the matcher's own numbers stand for.
    ids: Vec<PatternId>,
}

impl Automaton {
    fn new<P: AsRef<[u8]>>(
        patterns: &[P],
        ids: Vec<PatternId>,
    ) -> Result<Option<Self>, aho_corasick::BuildError> {
        if ids.is_empty() {
            return Ok(None);
        }
        let matcher = AhoCorasick::new(patterns)?;
        Ok(Some(Self { matcher, ids }))
    }

    fn find(&self, text: &str, found: &mut impl FnMut(PatternId)) {
        for hit in self.matcher.find_overlapping_iter(text) {
            found(self.ids[hit.pattern().as_usize()]);
        }
    }
}
