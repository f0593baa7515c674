//! Turns that take the place of others: the user edits his last message, or has it answered again.
//!
//! A client that sends its history shows by it where a turn stands. Where the same earlier turns
//! lead up to another last one, that is another try, and the one before it was withdrawn. What was
//! led up to is known by what this gateway itself has seen said; so examples that an app puts
//! before each message, or a greeting, lead nowhere, and a client that sends its newest message
//! alone replaces nothing. Where the client goes on from a try that had been withdrawn, that one is
//! said again, and the one in its place is withdrawn. All of this is in memory: who forgets it keeps both.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::record::Record;
use super::scope::Scope;

/// How long after its last turn a conversation's places are known.
const REST: Duration = Duration::from_secs(24 * 60 * 60);
/// Places that are known at most; those that rested longest go first.
const PLACES: u64 = 1 << 16;

/// Where a turn stands in the history that the client sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Of all that was said before the last user message; 0 where nothing was.
    before: u64,
    /// Of the last user message; 0 where it is not known.
    asked: u64,
    /// Whether a user spoke before it.
    has_turns: bool,
}

impl History {
    /// From the fingerprints of what was said, in order, the last user message at the end; `true`
    /// for a user. Of what the assistant said between two of them the last counts, its answer.
    pub fn of(said: impl IntoIterator<Item = (bool, u64)>) -> Self {
        let mut history = Self::default();
        let mut answer = None;
        let mut last: Option<u64> = None;
        for (is_user, print) in said {
            if !is_user {
                answer = Some(print);
                continue;
            }
            if let Some(asked) = last.replace(print) {
                history.before = then(history.before, asked);
                history.has_turns = true;
            }
            if let Some(answer) = answer.take() {
                history.before = then(history.before, answer);
            }
        }
        history.asked = last.unwrap_or_default();
        history
    }

    /// What the next turn's history says, with this answer.
    fn with(&self, answer: u64) -> u64 {
        then(then(self.before, self.asked), answer)
    }
}

fn then(before: u64, said: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&before.to_le_bytes());
    bytes[8..].copy_from_slice(&said.to_le_bytes());
    xxh3_64(&bytes)
}

/// A scope's conversation; none for turns that name no conversation.
type Thread = (Scope, Option<Arc<str>>);

/// The turn that leads to a place, by its fingerprints.
#[derive(Debug, Clone, Copy)]
struct Led {
    before: u64,
    asked: u64,
    answer: u64,
}

/// What the client's history says of the turn before the last.
#[derive(Debug)]
pub struct WentOn {
    /// Records that were made of it, each with when it was last said.
    pub made: Vec<(Uuid, i64)>,
    /// Fingerprints of what was asked and answered in the try that the client goes on from.
    pub asked: u64,
    pub answer: u64,
}

/// What stands at a place.
#[derive(Debug, Clone, Default)]
struct Turn {
    asked: u64,
    /// Records that were made of it, each with when it was last said.
    made: Vec<(Uuid, i64)>,
    /// Which of its conversation's it is, the later the higher; 0 where only an answer led here.
    number: u64,
    /// How the place was come to; `None` where nothing was said before.
    from: Option<Led>,
}

/// The last turns of conversations, by place. Its clones are the same.
#[derive(Clone)]
pub struct Tries {
    turns: Cache<(Thread, u64), Arc<Turn>>,
    /// How many turns a conversation has had.
    counts: Cache<Thread, u64>,
}

impl Default for Tries {
    fn default() -> Self {
        Self {
            turns: Cache::builder()
                .max_capacity(PLACES)
                .time_to_idle(REST)
                .build(),
            counts: Cache::builder()
                .max_capacity(PLACES)
                .time_to_idle(REST)
                .build(),
        }
    }
}

impl Tries {
    /// The records of the try that stood at this place before, if this is another; each with when
    /// it was last said, as far as it is known here.
    pub fn replaced(
        &self,
        scope: &Scope,
        conversation: Option<&str>,
        history: &History,
    ) -> Vec<(Uuid, i64)> {
        if history.asked == 0 {
            return Vec::new();
        }
        let thread = (scope.clone(), conversation.map(Arc::from));
        let count = self.counts.get(&thread);
        let Some(turn) = self.turns.get(&(thread, history.before)) else {
            return Vec::new();
        };
        let is_last = count == Some(turn.number);
        let is_same = turn.asked == history.asked;
        // Without a conversation's name, another chat may have begun with the same words.
        let is_another = match history.has_turns {
            true => conversation.is_some() || is_last,
            false => is_same && is_last,
        };
        match is_another && turn.number > 0 {
            true => turn.made.clone(),
            false => Vec::new(),
        }
    }

    /// The turn that this one goes on from, as it was made last and as the client tells it.
    pub fn went_on(
        &self,
        scope: &Scope,
        conversation: Option<&str>,
        history: &History,
    ) -> Option<WentOn> {
        let thread: Thread = (scope.clone(), conversation.map(Arc::from));
        let from = self.turns.get(&(thread.clone(), history.before))?.from?;
        let turn = self.turns.get(&(thread, from.before))?;
        Some(WentOn {
            made: turn.made.clone(),
            asked: from.asked,
            answer: from.answer,
        })
    }

    /// Notes a turn: the records that were made of it, and the answer that was given, by its
    /// fingerprint. A turn may come in parts, its answer after calls of the client's tools.
    pub fn note(
        &self,
        (scope, conversation): (&Scope, Option<&str>),
        history: &History,
        made: &[&Record],
        answer: Option<u64>,
    ) {
        if history.asked == 0 {
            return;
        }
        let thread = (scope.clone(), conversation.map(Arc::from));
        let key = (thread.clone(), history.before);
        let old = self.turns.get(&key);
        // Examples and greetings of an app lead to a place that no answer led to.
        if history.has_turns && old.is_none() {
            self.counts.insert(thread.clone(), self.count(&thread) + 1);
        } else {
            let old = old.unwrap_or_default();
            let goes_on = old.asked == history.asked && self.count(&thread) == old.number;
            let number = match goes_on && old.number > 0 {
                true => old.number,
                false => self.count(&thread) + 1,
            };
            let mut turn = Turn {
                asked: history.asked,
                number,
                made: made.iter().map(|it| (it.id, it.updated_at)).collect(),
                from: old.from,
            };
            if goes_on {
                let kept = |(id, _): &&(Uuid, i64)| made.iter().all(|record| record.id != *id);
                turn.made.extend(old.made.iter().filter(kept));
            }
            self.counts.insert(thread.clone(), number);
            self.turns.insert(key, turn.into());
        }
        if let Some(answer) = answer {
            let next = (thread, history.with(answer));
            let from = Led {
                before: history.before,
                asked: history.asked,
                answer,
            };
            let led = || {
                Arc::new(Turn {
                    from: Some(from),
                    ..Turn::default()
                })
            };
            self.turns.entry(next).or_insert_with(led);
        }
    }

    fn count(&self, thread: &Thread) -> u64 {
        self.counts.get(thread).unwrap_or_default()
    }
}
