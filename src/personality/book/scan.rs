//! Which entries of a book a conversation calls for.

use std::collections::HashSet;

use super::{Book, BookHit, Conditions, Entry, History, PatternId, Place, Reason, Slot, Trigger};

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
    assistant_messages: usize,
}

impl Book {
    /// The entries for `history`, in the order in which they are inserted.
    pub(in crate::personality) fn scan(&self, history: &dyn History) -> Vec<Hit<'_>> {
        let mut found = Found {
            age: vec![None; self.patterns.len()],
            recursed: vec![false; self.patterns.len()],
            assistant_messages: history.assistant_messages(),
        };
        for (age, text) in history.recent(self.scan_depth).iter().enumerate() {
            self.patterns.find(text, |id| {
                found.age[id].get_or_insert(age);
            });
        }

        let mut reasons: Vec<Option<Reason>> = Vec::new();
        reasons.resize_with(self.entries.len(), || None);
        loop {
            let mut grown = false;
            for (entry, reason) in self.entries.iter().zip(&mut reasons) {
                if reason.is_some() {
                    continue;
                }
                *reason = self.reason(&entry.conditions, &found);
                if reason.is_some() {
                    grown = true;
                    entry
                        .contains
                        .iter()
                        .for_each(|id| found.recursed[*id] = true);
                }
            }
            if !(grown && self.recursive) {
                break;
            }
        }
        let messages = history.messages();
        let hits = self
            .entries
            .iter()
            .zip(reasons)
            .filter_map(|(entry, reason)| {
                Some(Hit {
                    reason: reason?,
                    slot: entry.place.slot(messages),
                    entry,
                })
            });
        // An entry may be there for its hidden keys alone.
        self.within_budget(hits.filter(|hit| !hit.entry.parts.is_empty()).collect())
    }

    /// Why an entry with those conditions matches, if it does.
    fn reason(&self, conditions: &Conditions, found: &Found) -> Option<Reason> {
        let in_messages =
            |id: &PatternId| found.age[*id].is_some_and(|age| age < conditions.scan_depth);
        let anywhere = |id: &PatternId| in_messages(id) || found.recursed[*id];
        let allowed = found.assistant_messages >= conditions.only_after
            && found
                .assistant_messages
                .is_multiple_of(conditions.only_every)
            && conditions
                .all_of
                .iter()
                .all(|group| group.iter().any(anywhere))
            && !conditions.none_of.iter().any(in_messages);
        let text = |id: &PatternId| self.patterns.text(*id).to_owned();
        match &conditions.trigger {
            Trigger::Activate => Some(Reason::Activate),
            _ if !allowed => None,
            Trigger::Constant => Some(Reason::Constant),
            Trigger::Keys(keys) => {
                let in_message = keys.iter().find(|id| in_messages(id));
                in_message.map(|id| Reason::Key(text(id))).or_else(|| {
                    let in_content = keys.iter().find(|id| found.recursed[**id]);
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
            Self::PostHistory => "post_history",
        }
    }
}
