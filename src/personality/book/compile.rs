//! From `character_book` to a [`Book`].

use std::path::Path;

use super::decorators::{Decorators, commas};
use super::patterns::{Builder, Mode, PatternId};
use super::{
    Book, Conditions, DEFAULT_SCAN_DEPTH, Entry, Keys, Place, RawBook, RawEntry, RawPosition, Slot,
    Trigger,
};
use crate::dialect::Fragment;
use crate::error::{Fault, Faults};
use crate::personality::card::without_original;
use crate::personality::layout;
use crate::personality::macros::{DEFAULT_USER, expand, plain};

/// What all entries of a card have in common.
struct Card<'a> {
    path: &'a Path,
    char: &'a str,
    slots: &'a [Slot],
    scan_depth: usize,
}

impl Book {
    /// Compiles `raw`, for a character named `char` whose prompt has those `slots`.
    pub(in crate::personality) fn compile(
        path: &Path,
        raw: &RawBook,
        char: &str,
        slots: &[Slot],
    ) -> Result<Self, Faults> {
        let card = Card {
            path,
            char,
            slots,
            scan_depth: raw
                .scan_depth
                .map_or(DEFAULT_SCAN_DEPTH, |depth| depth as usize),
        };
        let mut faults = Faults::default();
        let mut builder = Builder::default();
        let mut entries: Vec<(f64, Entry, String)> = Vec::new();
        for (index, raw) in raw.entries.iter().enumerate() {
            if let Some(Some((entry, scanned))) = faults.take(card.entry(index, raw, &mut builder))
            {
                entries.push((raw.insertion_order, entry, scanned));
            }
        }
        let patterns = builder.build().map_err(|error| {
            Fault::new(
                path,
                format!("the character book's keys cannot be compiled: {error}"),
                "remove some of its entries",
            )
        })?;
        entries.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
        let entries: Vec<Entry> = entries
            .into_iter()
            .map(|(_, mut entry, scanned)| {
                if raw.recursive_scanning {
                    patterns.find(&scanned, |id| entry.contains.push(id));
                    entry.contains.sort_unstable();
                    entry.contains.dedup();
                }
                entry
            })
            .collect();
        faults.or(Self {
            scan_depth: entries
                .iter()
                .map(|entry| entry.conditions.scan_depth)
                .max()
                .unwrap_or(0),
            entries,
            patterns,
            token_budget: raw.token_budget,
            recursive: raw.recursive_scanning,
        })
    }
}

impl Card<'_> {
    /// The entry and the text that other entries' keys are looked for in; `None` for one that can
    /// never match.
    fn entry(
        &self,
        index: usize,
        raw: &RawEntry,
        builder: &mut Builder,
    ) -> Result<Option<(Entry, String)>, Faults> {
        let (decorators, content) = Decorators::take(&raw.content, self.slots);
        let never = decorators.dont_activate && !decorators.activate;
        let content = without_original(expand(&content, self.char));
        let text = plain(&content.pieces, DEFAULT_USER);
        let scanned = [text.as_str(), &content.hidden.join("\n")].join("\n");
        if raw.enabled == Some(false) || never || scanned.trim().is_empty() {
            return Ok(None);
        }

        let label = label(raw, index);
        let conditions = self.conditions(&label, raw, &decorators, builder)?;
        let entry = Entry {
            parts: layout::compile(&content.pieces, Fragment::Book),
            pieces: content.pieces,
            tokens: tokens(&text),
            label,
            priority: raw.priority.unwrap_or(raw.insertion_order),
            index,
            place: place(raw, &decorators),
            conditions,
            contains: Vec::new(),
        };
        Ok(Some((entry, scanned)))
    }

    fn conditions(
        &self,
        label: &str,
        raw: &RawEntry,
        decorators: &Decorators,
        builder: &mut Builder,
    ) -> Result<Conditions, Faults> {
        let mut faults = Faults::default();
        let mut add = |keys: &[String]| -> Vec<PatternId> {
            let mode = Mode {
                regex: raw.use_regex,
                case_sensitive: raw.case_sensitive,
            };
            keys.iter()
                // Every text holds the empty key: a stray comma would switch the entry on for good.
                .filter(|key| !key.trim().is_empty())
                .filter_map(|key| {
                    builder
                        .add(key, mode)
                        .map_err(|error| faults.push(bad_regex(self.path, label, key, &error)))
                        .ok()
                })
                .collect()
        };

        let keys = add(&raw.keys);
        let mut all_of: Vec<_> = decorators
            .additional_keys
            .iter()
            .map(|keys| add(keys))
            .collect();
        let mut none_of = Vec::new();
        // With `use_regex`, V3 sets `constant`, `secondary_keys` and `@@exclude_keys` aside.
        if !raw.use_regex {
            let secondary = match &raw.secondary_keys {
                Keys::List(keys) => add(keys),
                Keys::Commas(keys) => add(&commas(keys)),
            };
            // Editors write `selective` without secondary keys: that asks for nothing.
            if raw.selective && !raw.constant && !secondary.is_empty() {
                all_of.push(secondary);
            }
            none_of = add(decorators.exclude_keys.as_deref().unwrap_or_default());
        }
        faults.or(Conditions {
            trigger: if decorators.activate {
                Trigger::Activate
            } else if raw.constant && !raw.use_regex {
                Trigger::Constant
            } else {
                Trigger::Keys(keys)
            },
            scan_depth: decorators.scan_depth.unwrap_or(self.scan_depth),
            all_of,
            none_of,
            only_after: decorators.only_after.unwrap_or(0),
            only_every: decorators.only_every.unwrap_or(1),
        })
    }
}

/// `@@position` is stronger than `@@depth`, and both than `position`.
fn place(raw: &RawEntry, decorators: &Decorators) -> Place {
    match (decorators.position, decorators.depth, &raw.position) {
        (Some(slot), _, _) => Place::Slot(slot),
        (None, Some(depth), _) => Place::Depth(depth),
        (None, None, Some(RawPosition::AfterChar)) => Place::Slot(Slot::AfterChar),
        (None, None, _) => Place::Slot(Slot::BeforeChar),
    }
}

fn label(raw: &RawEntry, index: usize) -> String {
    [raw.name.as_ref(), raw.comment.as_ref(), raw.keys.first()]
        .into_iter()
        .flatten()
        .find(|label| !label.trim().is_empty())
        .cloned()
        .unwrap_or_else(|| format!("entries[{index}]"))
}

fn bad_regex(path: &Path, label: &str, key: &str, error: &regex::Error) -> Fault {
    // The crate draws the pattern over several lines; the last one says what is wrong.
    let error = error.to_string();
    let reason = error.lines().last().unwrap_or_default();
    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
    Fault::new(
        path,
        format!("book entry `{label}`: `{key}` is no valid regular expression: {reason}"),
        "mend the pattern, which can have neither look-around nor back-references, or disable the \
         entry",
    )
}

/// Tokens, estimated: a CJK character is one, four bytes of anything else are one.
fn tokens(text: &str) -> usize {
    let is_cjk = |c: char| {
        matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}'
            | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}')
    };
    let cjk: Vec<char> = text.chars().filter(|c| is_cjk(*c)).collect();
    let cjk_bytes: usize = cjk.iter().map(|c| c.len_utf8()).sum();
    cjk.len() + (text.len() - cjk_bytes).div_ceil(4)
}
