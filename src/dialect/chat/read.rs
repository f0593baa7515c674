//! Reading a copy of an answer.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::completion::{Choice, Completion, Content};
use super::said::Said;
use crate::dialect::answer::{Answer, Usage, Wanted};
use crate::wire::json::{Span, Text};

/// Gathers an [`Answer`] from the events of a stream, or from a whole body. It never errs: what it
/// cannot read it leaves, and says so.
#[derive(Debug)]
pub struct Reader {
    answer: Answer,
    wanted: Wanted,
    /// The assistant's turn of this leg, where it may have to be told again.
    turn: Option<Said>,
}

impl Reader {
    pub fn new(wanted: Wanted) -> Self {
        Self {
            answer: Answer::default(),
            wanted,
            turn: None,
        }
    }

    /// One that also keeps the turn itself.
    pub fn of_turns(wanted: Wanted) -> Self {
        Self {
            turn: Some(Said::default()),
            ..Self::new(wanted)
        }
    }

    /// Reads the data of an event.
    pub fn event(&mut self, data: &[u8]) {
        match data.trim_ascii() {
            b"" | b"[DONE]" => {}
            // What follows is not read either: where a stream is cut is chance.
            _ if self.answer.unreadable => {}
            json => self.read(json),
        }
    }

    /// Reads a whole body, in place of what was read before.
    pub fn whole(&mut self, body: &[u8]) {
        self.answer = Answer::default();
        // What it cost is found without the rest, as a rule.
        if self.wanted == Wanted::Usage
            && let Some(usage) = Usage::at_end(body)
        {
            self.answer.usage = Some(usage);
            return;
        }
        self.read(body);
    }

    /// The same, all of it, with the turn.
    pub fn whole_turn(&mut self, body: &[u8]) {
        self.answer = Answer::default();
        self.read(body);
    }

    /// What has been said so far.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Gives up reading.
    pub fn give_up(&mut self) {
        self.answer.unreadable = true;
    }

    pub fn finish(self) -> Answer {
        self.answer
    }

    /// The turn so far; the next leg begins another.
    pub fn take_turn(&mut self) -> Said {
        self.turn.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn read(&mut self, json: &[u8]) {
        match Completion::read(json) {
            Ok(completion) => self.add(json, &completion),
            Err(_) => self.answer.unreadable = true,
        }
    }

    fn add(&mut self, json: &[u8], completion: &Completion) {
        let answer = &mut self.answer;
        set(&mut answer.id, json, completion.id);
        set(&mut answer.model, json, completion.model);
        let is_error = |object: Text| &*object.bytes(json) == b"error";
        answer.has_error |= completion.has_error || completion.object.is_some_and(is_error);
        if completion.usage.is_some() {
            answer.usage = completion.usage;
        }
        let mut said = false;
        for choice in &completion.choices {
            said |= choice.says_something();
            self.answer.has_tool_calls |= choice.has_tool_calls;
            if choice.index == 0 {
                said |= self.choice(json, choice);
            }
        }
        self.answer.content_events += u64::from(said);
    }

    /// Adds what the choice says; whether that was a refusal.
    fn choice(&mut self, json: &[u8], choice: &Choice) -> bool {
        let answer = &mut self.answer;
        set(&mut answer.role, json, choice.role);
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            let reason = reason.decode(json);
            answer.ended_by_itself = reason == "stop";
            answer.finish_reason = Some(reason.into_owned());
        }
        let limit = self.wanted.text_limit();
        for text in choice.content.texts() {
            if limit == 0 && self.turn.is_none() {
                // Spares the decoding where nobody wants the text.
                answer.truncated |= !text.is_empty();
                continue;
            }
            let text: Cow<'_, str> = text.decode(json);
            answer.say(&text, limit);
            if let (Some(turn), Content::Text(_)) = (&mut self.turn, &choice.content) {
                turn.add_text("content", &text);
            }
        }
        let refusal = choice.refusal.filter(|refusal| !refusal.is_empty());
        if let Some(refusal) = refusal {
            answer.refuse(&refusal.decode(json), limit);
        }
        if let Some(turn) = &mut self.turn {
            for (name, span) in &choice.rest {
                if let Some(value) = raw(json, *span) {
                    turn.add(&name.decode(json), value);
                }
            }
        }
        refusal.is_some()
    }
}

/// The value at a place where one was read.
fn raw(json: &[u8], span: Span) -> Option<&RawValue> {
    serde_json::from_slice(&json[span.range()]).ok()
}

/// The first value that says something stands: later events only repeat it.
fn set(field: &mut Option<String>, json: &[u8], value: Option<Text>) {
    if field.is_none() {
        let value = value.filter(|text| !text.is_empty());
        *field = value.map(|text| text.decode(json).into_owned());
    }
}
