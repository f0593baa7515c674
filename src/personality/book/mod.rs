//! A card's character book: entries that enter the prompt when the conversation calls for them.
//!
//! What the specifications leave open is decided so:
//!
//! * Keys match anywhere in a message, in any letter case unless `case_sensitive` is true, and
//!   within words unless `match_whole_words` is. One that is written `/…/flags` is a pattern, as
//!   SillyTavern has it, whatever `use_regex` says: its own exports say true for every entry.
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
mod groups;
mod history;
mod patterns;
mod raw;
mod scan;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::layout::Part;
use super::macros::Piece;
use groups::Group;
pub use history::History;
use patterns::{PatternId, Patterns};
pub(super) use raw::RawBook;
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
    BeforeExamples,
    AfterExamples,
    PostHistory,
    /// Where the card writes `{{outlet::NAME}}`.
    Outlet,
}

/// An entry that is in the prompt, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BookHit {
    /// The entry's name, comment or first key.
    pub entry: String,
    /// Why it is there.
    pub reason: Reason,
    /// Where it stands: `before_char`, `after_char`, `before_desc`, `after_desc`, `personality`,
    /// `scenario`, `before_examples`, `after_examples`, `post_history` or `outlet`.
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
    /// In hundredths: how often it is there when it could be.
    probability: u8,
    /// Of each of these groups one entry is there.
    groups: Vec<Group>,
    /// Which outlet it stands in, if that is its place.
    pub(super) outlet: String,
    /// Whether its content triggers nothing.
    is_silent: bool,
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
    /// One may be missing of them, where there are any.
    not_all_of: Vec<PatternId>,
    recursion: Recursion,
    /// Messages that there must be at least.
    delay: usize,
    /// Assistant messages that there must be at least.
    only_after: usize,
    /// What the number of assistant messages must be a multiple of.
    only_every: usize,
}

/// What other entries' contents may do to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recursion {
    /// They may trigger it.
    Open,
    /// They cannot trigger it.
    Excluded,
    /// It waits for them: it is looked at once they are there.
    Awaited,
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
