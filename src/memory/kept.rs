//! What a finished exchange leaves to be stored: nearly always all of it, as it was said.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::cache::Entry;
use super::erasure::Begun;
use super::extraction::ROLE;
use super::index::is_ideographic;
use super::plan::Plan;
use super::record::{MAX_TEXT_BYTES, Reason, Record, Source};
use super::said::{answer_words, question_at_end, user_words};
use super::scope::Scope;
use super::similar::fingerprint;
use super::store::StoreError;
use super::tries::History;
use super::writer::Writer;

/// Letters, digits or ideographs below which a text says nothing by itself.
const SHORTEST: usize = 4;

/// Words at most, and their bytes, of an answer that is kept with what was asked.
const BRIEF: (usize, usize) = (3, 24);

/// Milliseconds for which a question of the assistant waits for its answer, where the client does not
/// send it again.
const WAITS: i64 = 60 * 60 * 1000;

/// Names that a user's words are not kept under: they are those of others.
const OTHERS: [&str; 7] = [
    "assistant",
    "system",
    "developer",
    "tool",
    "function",
    "memory",
    ROLE,
];

/// Between a question and its brief answer in one record.
const ANSWERED: &str = " — ";
const DASH: char = '—';

/// A finished exchange.
///
/// It also goes from one version of the program to another ([`super::Memory::hand_over`]): a field
/// that is added has a `#[serde(default)]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Turn {
    pub scope: Scope,
    pub conversation: Option<String>,
    /// The last user message's text.
    pub user_text: String,
    /// The name that the last user message bears.
    #[serde(default)]
    pub user_name: Option<String>,
    /// What the assistant said just before it, where that may be what it answers.
    #[serde(default)]
    pub asked: Option<String>,
    /// The complete answer's text; empty when it was cut or failed.
    pub assistant_text: String,
    pub request_id: String,
    pub generation: u64,
    /// What was injected into the request.
    pub recalled: Vec<Arc<Record>>,
    /// Where it stands in what the client sent.
    #[serde(default)]
    pub history: History,
    /// When the request had come, in Unix microseconds: where its memory was erased after that, it
    /// is not saved. 0 where that is not known, as from an earlier version.
    #[serde(default)]
    pub began: i64,
    /// When it was answered, in Unix milliseconds.
    pub now: i64,
}

/// One side of it.
struct Side<'a> {
    role: &'a str,
    text: String,
    at: i64,
}

impl Turn {
    /// Bytes that it holds in memory, about. What was recalled others hold, too.
    pub fn weight(&self) -> usize {
        let texts = [
            Some(&self.user_text),
            Some(&self.assistant_text),
            self.asked.as_ref(),
        ];
        size_of::<Self>() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }

    /// What an erasure would take away, and when it began.
    pub(super) fn begun(&self) -> Option<Begun> {
        (self.began != 0).then(|| Begun {
            at: self.began,
            conversation: self.conversation.as_deref().map(Into::into),
        })
    }

    /// Whether a text is so brief that it is only understood with what it answers.
    pub fn is_brief(text: &str) -> bool {
        if text.len() > 4 * BRIEF.1 {
            return false;
        }
        let text = text.trim();
        let ideographs = text.chars().filter(|c| is_ideographic(*c)).count();
        let words = text.split_whitespace().count() + ideographs.saturating_sub(1) / 2;
        !text.is_empty() && words <= BRIEF.0 && text.len() <= BRIEF.1
    }

    /// Both sides, as far as they are worth a record; `answer` is what [`answer_words`] leaves of that.
    /// `waiting` is what the assistant asked last, as far as it is stored.
    fn sides(&self, answer: &str, waiting: impl FnOnce() -> Option<String>) -> Vec<Side<'_>> {
        let said = user_words(&self.user_text);
        // A name must not pass for what it is not.
        let is_role = |name: &&str| OTHERS.iter().any(|it| it.eq_ignore_ascii_case(name));
        let role = self.user_name.as_deref().filter(|name| !is_role(name));
        let role = role.unwrap_or("user");
        // One millisecond apart, so that the answer stands behind its question.
        let (user, assistant) = ((role, self.now), ("assistant", self.now + 1));
        let side = |(role, at), text: &str| Side {
            role,
            text: cut(text).to_owned(),
            at,
        };
        let mut sides = Vec::new();
        let asked = || self.asked.clone().or_else(waiting);
        let asked = Self::is_brief(&said).then(asked).flatten();
        match asked.as_deref().and_then(question_at_end) {
            Some(asked) => sides.push(side(user, &format!("{asked}{ANSWERED}{}", said.trim()))),
            None if !is_short(&said) => sides.push(side(user, &said)),
            None => {}
        }
        match question_at_end(&said) {
            // “41” says nothing without “How old am I?”, and that asks in vain.
            Some(asked) if is_short(answer) && !answer.trim().is_empty() => {
                sides.clear();
                sides.push(side(
                    assistant,
                    &format!("{asked}{ANSWERED}{}", answer.trim()),
                ));
            }
            _ if is_short(answer) => {}
            _ => sides.push(side(assistant, answer)),
        }
        sides
    }
}

/// A brief answer that is kept with its question, by itself.
pub fn brief_answer(text: &str) -> Option<&str> {
    // Nothing further from the end is brief.
    let from = text.ceil_char_boundary(text.len().saturating_sub(4 * BRIEF.1 + ANSWERED.len()));
    // By its dash, which is found at once, and in most texts is not there.
    let dashes = text[from..].rmatch_indices(DASH);
    let mut ends = dashes.map(|(at, _)| (from + at).saturating_sub(1));
    let end = ends.find(|at| text.get(*at..).is_some_and(|it| it.starts_with(ANSWERED)))?;
    let (asked, answer) = (&text[..end], &text[end + ANSWERED.len()..]);
    (Turn::is_brief(answer) && question_at_end(asked).is_some()).then_some(answer)
}

/// What became of one side.
struct Kept {
    record: Record,
    /// What is put where the record was there before and is gone.
    otherwise: Option<Record>,
    /// Whether the turn made it, so that another try takes its place.
    is_made: bool,
}

impl Writer {
    /// What a turn leaves to be stored; where a record was there before, with what is to be stored
    /// if it is gone.
    pub(super) async fn kept(
        &self,
        turn: &Turn,
        plan: &mut Plan,
    ) -> Result<Vec<(Record, Option<Record>)>, StoreError> {
        let entry = self.scopes.get(&turn.scope).await?;
        let conversation = turn.conversation.as_deref();
        self.go_back(turn, &entry, plan);
        let waiting = || entry.read().asked_last(conversation, turn.now - WAITS);
        let answer = answer_words(&turn.assistant_text);
        let sides = turn.sides(&answer, waiting);
        let replaced = self
            .tries
            .replaced(&turn.scope, conversation, &turn.history);
        let replaced = replaced.iter().filter_map(|(id, said_at)| {
            let record = plan.current(&entry, *id)?;
            (record.updated_at == *said_at).then_some(record)
        });
        let replaced: Vec<Record> = replaced.collect();
        let mut kept = Vec::new();
        for side in sides {
            let by_assistant = side.role == "assistant";
            if by_assistant && repeats(&side.text, &turn.recalled) {
                self.counters.repeated();
                continue;
            }
            let mut record = Record::new(&turn.scope, side.role, side.text, Source::Chat, side.at);
            if let Some(conversation) = conversation {
                record.conversation = Some(conversation.into());
            }
            record.request_id = Some(turn.request_id.clone());
            record.generation = turn.generation;
            let mut old = replaced.iter();
            let old = old.find(|old| (*old.role == *"assistant") == by_assistant);
            kept.push(self.placed(record, (old, &replaced), &entry, plan));
        }
        let made = kept.iter().filter(|kept| kept.is_made);
        let made: Vec<&Record> = made.map(|kept| &kept.record).collect();
        let answer = (!answer.trim().is_empty()).then(|| fingerprint(&answer));
        self.tries
            .note((&turn.scope, conversation), &turn.history, &made, answer);
        let kept = kept.into_iter();
        Ok(kept.map(|kept| (kept.record, kept.otherwise)).collect())
    }

    /// Where the client goes on from another try than the last one, has that be what was said.
    fn go_back(&self, turn: &Turn, entry: &Entry, plan: &mut Plan) {
        let conversation = turn.conversation.as_deref();
        let went_on = self.tries.went_on(&turn.scope, conversation, &turn.history);
        let Some(went_on) = went_on else { return };
        for (id, said_at) in &went_on.made {
            let current = plan.current(entry, *id);
            let Some(mut record) = current.filter(|it| it.updated_at == *said_at) else {
                continue;
            };
            let told = match *record.role == *"assistant" {
                true => went_on.answer,
                false => went_on.asked,
            };
            let is_told = |text: &str| fingerprint(text) == told;
            if !is_told(&record.text)
                && let Some(text) = record.take_superseded(is_told)
            {
                let now = record.updated_at;
                record.replace_text(text, Reason::Superseded, now);
                plan.update(record);
            }
        }
    }

    /// The record; or the one that says the very same already, brought up to date; or the one of the
    /// try that it takes the place of, whose text stays in its history.
    fn placed(
        &self,
        new: Record,
        (old, replaced): (Option<&Record>, &[Record]),
        entry: &Entry,
        plan: &mut Plan,
    ) -> Kept {
        let same = plan.same(entry, &new);
        let Some(mut record) = same.clone().or_else(|| old.cloned()) else {
            return Kept {
                record: new,
                otherwise: None,
                is_made: true,
            };
        };
        let is_made = same.is_none() || replaced.iter().any(|it| it.id == record.id);
        match old {
            Some(_) if same.is_none() => {
                record.replace_text(new.text.clone(), Reason::Superseded, new.updated_at);
                record.request_id = new.request_id.clone();
                record.generation = new.generation;
            }
            Some(old) if old.id != record.id => {
                plan.remove(old.scope.clone(), old.id);
                record.remember(old.text.clone(), Reason::Superseded, new.updated_at);
                record = self.updated(record, &new);
            }
            _ => record = self.updated(record, &new),
        }
        Kept {
            record,
            otherwise: Some(new),
            is_made,
        }
    }

    /// The old record, said again.
    pub(super) fn updated(&self, mut old: Record, new: &Record) -> Record {
        self.counters.merged();
        old.updated_at = old.updated_at.max(new.updated_at);
        old.request_id = new.request_id.clone().or(old.request_id);
        old.generation = new.generation.max(old.generation);
        old
    }
}

impl Plan {
    /// The record of this scope that says the very same, by the same person, as it will be.
    pub(super) fn same(&self, entry: &Entry, new: &Record) -> Option<Record> {
        let print = fingerprint(&new.text);
        if let Some(planned) = self.said(new, print) {
            return Some(planned.clone());
        }
        let index = entry.read();
        let same = index.same(&new.role, print)?;
        // What changes it may have been planned.
        match self.planned(same.id) {
            Some(planned) => planned.filter(|it| fingerprint(&it.text) == print).cloned(),
            None => Some(Record::clone(same)),
        }
    }

    /// A record as it will be; none where it goes.
    fn current(&self, entry: &Entry, id: Uuid) -> Option<Record> {
        match self.planned(id) {
            Some(planned) => planned.cloned(),
            None => entry.read().by_id(id).map(|it| Record::clone(it)),
        }
    }
}

/// Whether a text says nothing by itself.
pub(super) fn is_short(text: &str) -> bool {
    let mut weight = 0;
    for c in text.chars().filter(|c| c.is_alphanumeric()) {
        weight += if is_ideographic(c) { 2 } else { 1 };
        if weight >= SHORTEST {
            return false;
        }
    }
    true
}

/// Whether an answer is word for word what was recalled for it.
fn repeats(answer: &str, recalled: &[Arc<Record>]) -> bool {
    let is_as_long = |text: &str| text.len().abs_diff(answer.len()) <= answer.len() / 4;
    let mut recalled = recalled.iter().filter(|it| is_as_long(&it.text)).peekable();
    recalled.peek().is_some() && {
        let print = fingerprint(answer);
        recalled.any(|it| fingerprint(&it.text) == print)
    }
}

/// As much of the text as a record holds.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}
