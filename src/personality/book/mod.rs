//! A card's character book: entries that enter the prompt when the conversation calls for them.
//!
//! What the specifications leave open is decided so:
//!
//! * Keys match anywhere in a message, in any letter case unless `case_sensitive` is true.
//! * `scan_depth` absent means the newest [`DEFAULT_SCAN_DEPTH`] messages.
//! * `recursive_scanning` absent means no. With it, contents count for keys of every kind except
//!   `@@exclude_keys`, which looks at the conversation alone, so that the order of the entries
//!   never decides the outcome.
//! * Over `token_budget`, entries of the lowest `priority` (without one: `insertion_order`) go
//!   first, later ones of the file before earlier ones, until the rest fits. Constant entries
//!   compete with the others, and what a discarded entry has triggered stays.
//! * A token is one CJK character or four bytes of anything else: an estimate that needs no
//!   tokeniser, since a gateway does not know which one its upstream has.
//! * `@@depth` puts an entry in the midst of the chat log, where this gateway changes nothing. The
//!   specification then wants a place of high priority (after the conversation), or of low
//!   priority for a depth beyond the first message (before the character).

mod compile;
mod decorators;
mod history;
mod patterns;
mod scan;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::card::null_as_default;
use super::layout::Part;
use super::macros::Piece;
pub use history::History;
use patterns::{PatternId, Patterns};
pub(super) use scan::Hit;

/// Messages looked at when a book does not say how many.
const DEFAULT_SCAN_DEPTH: usize = 50;

/// Where an entry stands in the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    BeforeChar,
    BeforeDescription,
    AfterDescription,
    Personality,
    Scenario,
    AfterChar,
    PostHistory,
}

/// An entry that is in the prompt, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BookHit {
    /// The entry's name, comment or first key.
    pub entry: String,
    /// Why it is there.
    pub reason: Reason,
    /// Where it stands: `before_char`, `after_char`, `before_desc`, `after_desc`, `personality`,
    /// `scenario` or `post_history`.
    pub position: &'static str,
    /// Its size in estimated tokens.
    pub tokens: usize,
}

/// Why an entry is in the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It says `constant`.
    Constant,
    /// It says `@@activate`.
    Activate,
    /// A message holds this key.
    Key(String),
    /// Another entry's content holds this key.
    Recursion(String),
}

/// A compiled book.
#[derive(Debug)]
pub(super) struct Book {
    /// In the order in which they are inserted.
    entries: Vec<Entry>,
    patterns: Patterns,
    /// The deepest that any entry looks.
    scan_depth: usize,
    token_budget: Option<f64>,
    recursive: bool,
}

/// A compiled entry that can match.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) pieces: Vec<Piece>,
    /// The same, escaped.
    pub(super) parts: Vec<Part>,
    label: String,
    tokens: usize,
    /// The lowest is discarded first.
    priority: f64,
    /// Where it stood in the file.
    index: usize,
    place: Place,
    conditions: Conditions,
    /// What its content would trigger.
    contains: Vec<PatternId>,
}

/// When an entry matches.
#[derive(Debug)]
struct Conditions {
    trigger: Trigger,
    /// Messages that it looks at.
    scan_depth: usize,
    /// Of each group one must be found: `secondary_keys` and each `@@additional_keys`.
    all_of: Vec<Vec<PatternId>>,
    /// None may be found.
    none_of: Vec<PatternId>,
    /// Assistant messages that there must be at least.
    only_after: usize,
    /// What the number of assistant messages must be a multiple of.
    only_every: usize,
}

#[derive(Debug)]
enum Place {
    Slot(Slot),
    /// So many messages from the end.
    Depth(usize),
}

#[derive(Debug)]
enum Trigger {
    /// Whatever else holds.
    Activate,
    /// Whatever the keys are.
    Constant,
    /// One of them must be found.
    Keys(Vec<PatternId>),
}

/// `character_book` as a card has it.
#[derive(Deserialize)]
#[serde(expecting = "a character book")]
pub(super) struct RawBook {
    scan_depth: Option<f64>,
    token_budget: Option<f64>,
    #[serde(default, deserialize_with = "null_as_default")]
    recursive_scanning: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    entries: Vec<RawEntry>,
}

/// One of `entries`; what it is without a value is what editors write by default.
#[derive(Deserialize)]
#[serde(expecting = "a book entry")]
struct RawEntry {
    #[serde(default, deserialize_with = "null_as_default")]
    keys: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    secondary_keys: Keys,
    #[serde(default, deserialize_with = "null_as_default")]
    content: String,
    enabled: Option<bool>,
    #[serde(default, deserialize_with = "null_as_default")]
    insertion_order: f64,
    #[serde(default, deserialize_with = "null_as_default")]
    case_sensitive: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    use_regex: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    constant: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    selective: bool,
    priority: Option<f64>,
    position: Option<RawPosition>,
    name: Option<String>,
    comment: Option<String>,
}

/// V2 has a list; V3 says a text with commas in its prose, and a list in its types.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a list of keys, or a text with commas")]
enum Keys {
    List(Vec<String>),
    Commas(String),
}

impl Default for Keys {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawPosition {
    /// Some editors write an empty text for no position.
    #[serde(alias = "")]
    BeforeChar,
    AfterChar,
}
