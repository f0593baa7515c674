//! Which entries of a book a conversation calls for.

use std::collections::HashSet;

use super::groups::{Dice, one_of_each};
use super::{
    Book, BookHit, Conditions, Entry, History, PatternId, Place, Reason, Recursion, Slot, Trigger,
};

/// An entry that goes into the prompt.
#[derive(Debug)]
pub(in crate::personality) struct Hit<'a> {
    pub(in crate::personality) entry: &'a Entry,
    pub(in crate::personality) slot: Slot,
    reason: Reason,
}

impl From<&Hit<'_>> for BookHit {
    fn from(hit: &Hit<'_>) -> Self {
        Self {
            entry: hit.entry.label.clone(),
            reason: hit.reason.clone(),
            position: hit.slot.name(),
            tokens: hit.entry.tokens,
        }
    }
}

/// What was found where.
struct Found {
    /// For each pattern, how old the newest message is that holds it: 0 for the newest of all.
    age: Vec<Option<usize>>,
    /// For each pattern, whether an active entry's content holds it.
    recursed: Vec<bool>,
    messages: usize,
    assistant_messages: usize,
}

impl Book {
    /// The entries for `history`, in the order in which they are inserted.
    pub(in crate::personality) fn scan(&self, history: &dyn History) -> Vec<Hit<'_>> {
        let mut found = Found {
            age: vec![None; self.patterns.len()],
            recursed: vec![false; self.patterns.len()],
            messages: history.messages(),
            assistant_messages: history.assistant_messages(),
        };
        let recent = history.recent(self.scan_depth);
        for (age, text) in recent.iter().enumerate() {
            self.patterns.find(text, |id| {
                found.age[id].get_or_insert(age);
            });
        }
        let newest = recent.first().map_or("", |text| text);
        let dice = Dice::of(newest, found.messages);
        let reasons = self.reasons(&mut found, dice);
        let hits = self
            .entries
            .iter()
            .zip(reasons)
            .filter_map(|(entry, reason)| {
                Some(Hit {
                    reason: reason?,
                    slot: entry.place.slot(found.messages),
                    entry,
                })
            });
        // An entry may be there for its hidden keys alone.
        let mut hits = hits.filter(|hit| !hit.entry.parts.is_empty()).collect();
        one_of_each(&mut hits, dice);
        self.within_budget(hits)
    }

    /// Why each entry matches, if it does.
    fn reasons(&self, found: &mut Found, dice: Dice) -> Vec<Option<Reason>> {
        let mut reasons: Vec<Option<Reason>> = Vec::new();
        reasons.resize_with(self.entries.len(), || None);
        let mut first = true;
        loop {
            let mut grown = false;
            for (entry, reason) in self.entries.iter().zip(&mut reasons) {
                let waits = first && entry.conditions.recursion == Recursion::Awaited;
                if reason.is_some() || waits || !dice.favours(entry.index, entry.probability) {
                    continue;
                }
                *reason = self.reason(&entry.conditions, found);
                if reason.is_some() {
                    grown = true;
                    entry
                        .contains
                        .iter()
                        .for_each(|id| found.recursed[*id] = true);
                }
            }
            if !(self.recursive && (grown || first)) {
                return reasons;
            }
            first = false;
        }
    }

    /// Why an entry with those conditions matches, if it does.
    fn reason(&self, conditions: &Conditions, found: &Found) -> Option<Reason> {
        let in_messages =
            |id: &PatternId| found.age[*id].is_some_and(|age| age < conditions.scan_depth);
        let recursed =
            |id: &PatternId| conditions.recursion != Recursion::Excluded && found.recursed[*id];
        let anywhere = |id: &PatternId| in_messages(id) || recursed(id);
        let not_all = &conditions.not_all_of;
        let allowed = found.messages >= conditions.delay
            && found.assistant_messages >= conditions.only_after
            && found
                .assistant_messages
                .is_multiple_of(conditions.only_every)
            && conditions
                .all_of
                .iter()
                .all(|group| group.iter().any(anywhere))
            && (not_all.is_empty() || !not_all.iter().all(in_messages))
            && !conditions.none_of.iter().any(in_messages);
        let text = |id: &PatternId| self.patterns.text(*id).to_owned();
        match &conditions.trigger {
            Trigger::Activate => Some(Reason::Activate),
            _ if !allowed => None,
            Trigger::Constant => Some(Reason::Constant),
            Trigger::Keys(keys) => {
                let in_message = keys.iter().find(|id| in_messages(id));
                in_message.map(|id| Reason::Key(text(id))).or_else(|| {
                    let in_content = keys.iter().find(|id| recursed(id));
                    in_content.map(|id| Reason::Recursion(text(id)))
                })
            }
        }
    }

    /// Discards the lowest until the rest fits.
    fn within_budget<'a>(&self, mut hits: Vec<Hit<'a>>) -> Vec<Hit<'a>> {
        let Some(budget) = self.token_budget else {
            return hits;
        };
        let mut total: usize = hits.iter().map(|hit| hit.entry.tokens).sum();
        let mut lowest_first: Vec<&Entry> = hits.iter().map(|hit| hit.entry).collect();
        lowest_first.sort_by(|a, b| {
            let by_priority = a.priority.total_cmp(&b.priority);
            by_priority.then(b.index.cmp(&a.index))
        });
        let discarded: HashSet<usize> = lowest_first
            .into_iter()
            .take_while(|entry| {
                let over = total as f64 > budget;
                total -= if over { entry.tokens } else { 0 };
                over
            })
            .map(|entry| entry.index)
            .collect();
        hits.retain(|hit| !discarded.contains(&hit.entry.index));
        hits
    }
}

impl Place {
    fn slot(&self, messages: usize) -> Slot {
        match self {
            Self::Slot(slot) => *slot,
            Self::Depth(depth) if *depth > messages => Slot::BeforeChar,
            Self::Depth(_) => Slot::PostHistory,
        }
    }
}

impl Slot {
    fn name(self) -> &'static str {
        match self {
            Self::BeforeChar => "before_char",
            Self::BeforeDescription => "before_desc",
            Self::AfterDescription => "after_desc",
            Self::Personality => "personality",
            Self::Scenario => "scenario",
            Self::AfterChar => "after_char",
            Self::BeforeExamples => "before_examples",
            Self::AfterExamples => "after_examples",
            Self::PostHistory => "post_history",
            Self::Outlet => "outlet",
        }
    }
}
