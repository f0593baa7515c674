//! `character_book` as the programs that write cards have it.
//!
//! The names are those of the specification, those of SillyTavern's own files (`key`, `order`,
//! `disable`) and those under an entry's `extensions`, which say more than the specification's.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Fault;
use crate::personality::loose;

/// A book, read.
#[derive(Debug, Default)]
pub(in crate::personality) struct RawBook {
    pub(super) scan_depth: Option<f64>,
    pub(super) token_budget: Option<f64>,
    pub(super) recursive: bool,
    pub(super) entries: Vec<RawEntry>,
}

/// One of `entries`; what it is without a value is what editors write by default.
#[derive(Debug)]
pub(super) struct RawEntry {
    pub(super) keys: Vec<String>,
    pub(super) secondary_keys: Vec<String>,
    pub(super) content: String,
    pub(super) enabled: bool,
    pub(super) order: f64,
    pub(super) case_sensitive: bool,
    pub(super) whole_words: bool,
    pub(super) constant: bool,
    pub(super) selective: bool,
    pub(super) logic: Logic,
    pub(super) priority: Option<f64>,
    pub(super) position: Position,
    pub(super) depth: usize,
    pub(super) label: String,
    pub(super) scan_depth: Option<usize>,
    pub(super) probability: f64,
    pub(super) groups: String,
    pub(super) group_first: bool,
    pub(super) group_weight: f64,
    pub(super) outlet: String,
    pub(super) excludes_recursion: bool,
    pub(super) prevents_recursion: bool,
    pub(super) awaits_recursion: bool,
    pub(super) delay: usize,
}

/// What a selective entry asks of its secondary keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logic {
    AndAny,
    NotAll,
    NotAny,
    AndAll,
}

/// Where an entry says that it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    BeforeChar,
    AfterChar,
    /// Around the author's note, which stands within the conversation.
    Note,
    AtDepth,
    BeforeExamples,
    AfterExamples,
    Outlet,
}

/// Messages from the end where SillyTavern puts an entry that is at a depth and does not say which.
const DEFAULT_DEPTH: usize = 4;

impl RawBook {
    /// Reads what can be read; an entry that is no object is left out, with a warning.
    pub(in crate::personality) fn read(
        path: &Path,
        book: &Value,
        warnings: &mut Vec<Fault>,
    ) -> Self {
        let empty = Map::new();
        let object = book.as_object().unwrap_or(&empty);
        let read = Reader {
            own: object,
            more: None,
        };
        // Some write the list of entries alone.
        let entries = if book.is_array() {
            Some(book)
        } else {
            object.get("entries")
        };
        let entries = entries.map(loose::elements).unwrap_or_default();
        let mut raw = Self {
            scan_depth: read.limit(&["scan_depth", "scanDepth"]),
            token_budget: read.limit(&["token_budget", "tokenBudget"]),
            recursive: read.flag(&["recursive_scanning", "recursiveScanning"], false),
            entries: Vec::new(),
        };
        for (index, entry) in entries.into_iter().enumerate() {
            match loose::object(entry) {
                Some(entry) => raw.entries.push(RawEntry::read(index, &entry)),
                None => warnings.push(Fault::new(
                    path,
                    format!("`character_book.entries[{index}]` is no object, and is left out"),
                    "write it as {\"keys\", \"content\"}, or remove it",
                )),
            }
        }
        raw
    }
}

impl RawEntry {
    fn read(index: usize, entry: &Map<String, Value>) -> Self {
        let read = Reader {
            own: entry,
            more: entry.get("extensions").and_then(Value::as_object),
        };
        let keys = read.texts(&["keys", "key"]);
        let label = read
            .text(&["name"])
            .or_else(|| read.text(&["comment"]))
            .or_else(|| keys.iter().find(|key| !key.trim().is_empty()).cloned());
        Self {
            label: label.unwrap_or_else(|| format!("entries[{index}]")),
            keys,
            secondary_keys: read.texts(&["secondary_keys", "keysecondary", "secondkey"]),
            content: read.text(&["content"]).unwrap_or_default(),
            enabled: read.flag(&["enabled"], true) && !read.flag(&["disable", "disabled"], false),
            order: read
                .number(&["insertion_order", "order", "insertorder"])
                .unwrap_or(0.0),
            case_sensitive: read.flag(&["case_sensitive", "caseSensitive"], false),
            whole_words: read.flag(&["match_whole_words", "matchWholeWords"], false),
            constant: read.flag(&["constant", "alwaysActive"], false),
            selective: read.flag(&["selective"], false),
            logic: read.logic(),
            priority: read.number(&["priority"]),
            position: read.position(),
            depth: read.count(&["depth"]).unwrap_or(DEFAULT_DEPTH),
            scan_depth: read.count(&["scan_depth", "scanDepth"]),
            probability: match read.flag(&["useProbability", "use_probability"], true) {
                true => read.number(&["probability"]).unwrap_or(100.0),
                false => 100.0,
            },
            groups: read.text(&["group"]).unwrap_or_default(),
            group_first: read.flag(&["group_override", "groupOverride"], false),
            group_weight: read
                .number(&["group_weight", "groupWeight"])
                .unwrap_or(100.0),
            outlet: read
                .text(&["outlet_name", "outletName"])
                .unwrap_or_default(),
            excludes_recursion: read.flag(&["exclude_recursion", "excludeRecursion"], false),
            prevents_recursion: read.flag(&["prevent_recursion", "preventRecursion"], false),
            awaits_recursion: read.flag(&["delay_until_recursion", "delayUntilRecursion"], false),
            delay: read.count(&["delay"]).unwrap_or(0),
        }
    }
}

/// Finds a value by any of its names.
struct Reader<'a> {
    own: &'a Map<String, Value>,
    /// `extensions`.
    more: Option<&'a Map<String, Value>>,
}

impl Reader<'_> {
    /// Every value under one of `names` that is not null, the extensions' first.
    fn values(&self, names: &[&str]) -> impl Iterator<Item = &Value> {
        let places = self.more.into_iter().chain([self.own]);
        places
            .flat_map(|place| names.iter().filter_map(|name| place.get(*name)))
            .filter(|value| !value.is_null())
    }

    fn text(&self, names: &[&str]) -> Option<String> {
        self.values(names)
            .filter_map(loose::text)
            .find(|text| !text.trim().is_empty())
    }

    fn texts(&self, names: &[&str]) -> Vec<String> {
        self.values(names)
            .next()
            .map(loose::texts)
            .unwrap_or_default()
    }

    fn number(&self, names: &[&str]) -> Option<f64> {
        self.values(names).find_map(loose::number)
    }

    /// A number that bounds something; one below 0 bounds nothing.
    fn limit(&self, names: &[&str]) -> Option<f64> {
        self.number(names).filter(|number| *number >= 0.0)
    }

    /// A number that counts something; below 0 is as good as 0.
    fn count(&self, names: &[&str]) -> Option<usize> {
        self.number(names).map(|number| number as usize)
    }

    fn flag(&self, names: &[&str], default: bool) -> bool {
        self.values(names).find_map(loose::flag).unwrap_or(default)
    }

    fn logic(&self) -> Logic {
        match self.count(&["selectiveLogic", "selective_logic"]) {
            Some(1) => Logic::NotAll,
            Some(2) => Logic::NotAny,
            Some(3) => Logic::AndAll,
            _ => Logic::AndAny,
        }
    }

    /// SillyTavern's numbers, under `extensions` or in the place of the specification's words.
    fn position(&self) -> Position {
        let said = self.values(&["position"]).find_map(|value| {
            if let Some(number) = loose::number(value) {
                return Some(match number as i64 {
                    0 => Position::BeforeChar,
                    2 | 3 => Position::Note,
                    4 => Position::AtDepth,
                    5 => Position::BeforeExamples,
                    6 => Position::AfterExamples,
                    7 => Position::Outlet,
                    _ => Position::AfterChar,
                });
            }
            let word = loose::text(value)?.trim().to_ascii_lowercase();
            Some(match word.as_str() {
                "" => return None,
                "before_char" | "before" => Position::BeforeChar,
                "at_depth" | "atdepth" | "depth" => Position::AtDepth,
                "outlet" => Position::Outlet,
                _ => Position::AfterChar,
            })
        });
        said.unwrap_or(Position::BeforeChar)
    }
}
