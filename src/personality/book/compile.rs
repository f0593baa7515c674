//! From `character_book` to a [`Book`].

use std::path::Path;

use super::decorators::Decorators;
use super::groups::Group;
use super::patterns::{Builder, Mode, PatternId};
use super::raw::{Logic, Position, RawBook, RawEntry};
use super::{Book, Conditions, DEFAULT_SCAN_DEPTH, Entry, Place, Recursion, Slot, Trigger};
use crate::dialect::Fragment;
use crate::error::{Fault, Faults};
use crate::personality::card::without_original;
use crate::personality::layout;
use crate::personality::macros::{Names, expand, standing};

/// What all entries of a card have in common.
struct Card<'a> {
    path: &'a Path,
    names: &'a Names<'a>,
    slots: &'a [Slot],
    scan_depth: usize,
    warnings: &'a mut Vec<Fault>,
    builder: Builder,
}

impl Book {
    /// Compiles `raw`, for a character of those names whose prompt has those slots.
    pub(in crate::personality) fn compile(
        path: &Path,
        raw: &RawBook,
        (names, slots): (&Names<'_>, &[Slot]),
        warnings: &mut Vec<Fault>,
    ) -> Result<Self, Faults> {
        let mut card = Card {
            path,
            names,
            slots,
            scan_depth: raw
                .scan_depth
                .map_or(DEFAULT_SCAN_DEPTH, |depth| depth as usize),
            warnings,
            builder: Builder::default(),
        };
        let mut entries: Vec<(f64, Entry, String)> = Vec::new();
        for (index, entry) in raw.entries.iter().enumerate() {
            if let Some((compiled, scanned)) = card.entry(index, entry) {
                entries.push((entry.order, compiled, scanned));
            }
        }
        let patterns = card.builder.build().map_err(|error| {
            Fault::new(
                path,
                format!("the character book's keys cannot be compiled: {error}"),
                "remove some of its entries",
            )
        })?;
        entries.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
        // An entry that waits for others is asked for again, in a book without recursion too.
        let recursive = raw.recursive
            || entries
                .iter()
                .any(|(_, entry, _)| entry.conditions.recursion == Recursion::Awaited);
        let entries: Vec<Entry> = entries
            .into_iter()
            .map(|(_, mut entry, scanned)| {
                if raw.recursive && !entry.is_silent {
                    patterns.find(&scanned, |id| entry.contains.push(id));
                    entry.contains.sort_unstable();
                    entry.contains.dedup();
                }
                entry
            })
            .collect();
        Ok(Self {
            scan_depth: entries
                .iter()
                .map(|entry| entry.conditions.scan_depth)
                .max()
                .unwrap_or(0),
            entries,
            patterns,
            token_budget: raw.token_budget,
            recursive,
        })
    }
}

impl Card<'_> {
    /// The entry and the text that other entries' keys are looked for in; `None` for one that can
    /// never match.
    fn entry(&mut self, index: usize, raw: &RawEntry) -> Option<(Entry, String)> {
        let (decorators, content) = Decorators::take(&raw.content, self.slots);
        let never = decorators.dont_activate && !decorators.activate;
        let content = without_original(expand(&content, self.names));
        let text = standing(&content.pieces);
        let scanned = [text.as_str(), &content.hidden.join("\n")].join("\n");
        let is_empty = content.pieces.is_empty() && scanned.trim().is_empty();
        if !raw.enabled || never || is_empty || raw.probability <= 0.0 {
            return None;
        }
        let conditions = self.conditions(raw, &decorators);
        let entry = Entry {
            parts: layout::compile(&content.pieces, Fragment::Book),
            pieces: content.pieces,
            tokens: tokens(&text),
            label: raw.label.clone(),
            priority: raw.priority.unwrap_or(raw.order),
            index,
            place: place(raw, &decorators),
            conditions,
            probability: raw.probability.min(100.0) as u8,
            groups: Group::list(&raw.groups, raw.group_first, raw.group_weight),
            outlet: raw.outlet.trim().to_owned(),
            is_silent: raw.prevents_recursion,
            contains: Vec::new(),
        };
        Some((entry, scanned))
    }

    fn conditions(&mut self, raw: &RawEntry, decorators: &Decorators) -> Conditions {
        let mut all_of: Vec<_> = decorators
            .additional_keys
            .iter()
            .map(|keys| self.add(raw, keys))
            .collect();
        let exclude_keys = decorators.exclude_keys.as_deref().unwrap_or_default();
        let mut none_of = self.add(raw, exclude_keys);
        let mut not_all_of = Vec::new();
        // Editors write `selective` without secondary keys: that asks for nothing.
        if raw.selective && !raw.constant {
            let secondary = self.add(raw, &raw.secondary_keys);
            match raw.logic {
                _ if secondary.is_empty() => {}
                Logic::AndAny => all_of.push(secondary),
                Logic::AndAll => all_of.extend(secondary.into_iter().map(|id| vec![id])),
                Logic::NotAny => none_of.extend(secondary),
                Logic::NotAll => not_all_of = secondary,
            }
        }
        Conditions {
            trigger: if decorators.activate {
                Trigger::Activate
            } else if raw.constant {
                Trigger::Constant
            } else {
                Trigger::Keys(self.add(raw, &raw.keys))
            },
            scan_depth: decorators
                .scan_depth
                .or(raw.scan_depth)
                .unwrap_or(self.scan_depth),
            all_of,
            none_of,
            not_all_of,
            recursion: match (raw.excludes_recursion, raw.awaits_recursion) {
                (_, true) => Recursion::Awaited,
                (true, false) => Recursion::Excluded,
                (false, false) => Recursion::Open,
            },
            delay: raw.delay,
            only_after: decorators.only_after.unwrap_or(0),
            only_every: decorators.only_every.unwrap_or(1),
        }
    }

    /// The keys as patterns, their macros resolved.
    fn add(&mut self, raw: &RawEntry, keys: &[String]) -> Vec<PatternId> {
        let mode = Mode {
            case_sensitive: raw.case_sensitive,
            whole_words: raw.whole_words,
        };
        let mut added = Vec::new();
        for key in keys {
            let key = standing(&expand(key, self.names).pieces);
            // Every text holds the empty key: a stray comma would switch the entry on for good.
            if key.trim().is_empty() {
                continue;
            }
            let (id, wrong) = self.builder.add(key.trim(), mode);
            added.push(id);
            self.warnings.extend(wrong.map(|wrong| {
                Fault::new(
                    self.path,
                    format!("book entry `{}`: `{key}` is no pattern: {wrong}", raw.label),
                    "it is looked for as it is written; mend the pattern, or take its slashes away",
                )
            }));
        }
        added
    }
}

/// `@@position` is stronger than `@@depth`, and both than `position`.
fn place(raw: &RawEntry, decorators: &Decorators) -> Place {
    match (decorators.position, decorators.depth, raw.position) {
        (Some(slot), _, _) => Place::Slot(slot),
        (None, Some(depth), _) => Place::Depth(depth),
        (None, None, Position::BeforeChar) => Place::Slot(Slot::BeforeChar),
        (None, None, Position::AfterChar) => Place::Slot(Slot::AfterChar),
        (None, None, Position::Note) => Place::Slot(Slot::PostHistory),
        (None, None, Position::AtDepth) => Place::Depth(raw.depth),
        (None, None, Position::BeforeExamples) => Place::Slot(Slot::BeforeExamples),
        (None, None, Position::AfterExamples) => Place::Slot(Slot::AfterExamples),
        (None, None, Position::Outlet) => Place::Slot(Slot::Outlet),
    }
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
