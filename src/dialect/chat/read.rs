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
    /// What stood around the text of the last event that said nothing else.
    around: Option<Around>,
}

/// What stands before a text and behind it. Most events of a stream differ in their text alone, and
/// such a one says what the one before it said, but for that.
#[derive(Debug)]
struct Around {
    before: Vec<u8>,
    behind: Vec<u8>,
}

impl Around {
    /// What stands there in place of the text, if all else is the same and it is a whole literal
    /// without escapes.
    fn text<'a>(&self, json: &'a [u8]) -> Option<&'a str> {
        let text = json.strip_prefix(&*self.before)?;
        let text = text.strip_suffix(&*self.behind)?;
        let is_plain = |byte: &u8| *byte >= b' ' && !matches!(byte, b'"' | b'\\');
        let text = text.iter().all(is_plain).then_some(text)?;
        simdutf8::basic::from_utf8(text).ok()
    }
}

impl Reader {
    pub fn new(wanted: Wanted) -> Self {
        Self {
            answer: Answer::default(),
            wanted,
            turn: None,
            around: None,
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
            json => match self.around.as_ref().and_then(|around| around.text(json)) {
                Some(text) => self.goes_on(text),
                None => self.read(json),
            },
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

    /// Reads an event that differs from the one before it in its text alone.
    fn goes_on(&mut self, text: &str) {
        self.answer.content_events += u64::from(!text.is_empty());
        let limit = self.wanted.text_limit();
        match limit == 0 && self.turn.is_none() {
            true => self.answer.truncated |= !text.is_empty(),
            false => self.answer.say(text, limit),
        }
        if let Some(turn) = &mut self.turn {
            turn.add_text("content", text);
        }
    }

    fn add(&mut self, json: &[u8], completion: &Completion) {
        self.around = completion.text_alone().map(|text| Around {
            before: json[..text.span.start].to_vec(),
            behind: json[text.span.end..].to_vec(),
        });
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
            answer.ended_by_itself = is_end(&reason);
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

/// Whether a `finish_reason` says that the model had said all of it: `stop`, and what servers and
/// gateways write for it that hand on what their engine or another API calls it.
fn is_end(reason: &str) -> bool {
    const ENDS: [&str; 7] = [
        "stop",
        "stop_sequence",
        "end_turn",
        "eos",
        "eos_token",
        "complete",
        "completed",
    ];
    ENDS.iter().any(|end| reason.eq_ignore_ascii_case(end))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_differs_in_its_text_alone_says_what_it_would_say_by_itself() {
        let said = |delta: &str, rest: &str| {
            format!(
                r#"{{"id":"c","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]{rest}}}"#
            )
        };
        let text = |text: &str| said(&format!(r#"{{"content":"{text}"}}"#), "");
        let events = [
            said(r#"{"role":"assistant","content":""}"#, ""),
            text("The"),
            text(" café"),
            text(""),
            text(r#" \"quoted\" \\"#),
            text(" again"),
            text(r#"","content":"twice"#),
            text(" and"),
            said(r#"{"content":" so"}"#, r#","usage":{"prompt_tokens":1}"#),
            text(" on"),
            said(r#"{"content":" on","tool_calls":[{"index":0}]}"#, ""),
            text(" to"),
            said(r#"{"content":" the","reasoning":"hm"}"#, ""),
            text(" end"),
            text("\n"),
            text(" unread"),
        ];
        for wanted in [Wanted::Usage, Wanted::Facts, Wanted::ALL, Wanted::Text(12)] {
            for new in [Reader::new, Reader::of_turns] {
                let (mut reader, mut anew) = (new(wanted), new(wanted));
                for event in &events {
                    reader.event(event.as_bytes());
                    anew.around = None;
                    anew.event(event.as_bytes());
                    assert_eq!(reader.answer(), anew.answer(), "{event}");
                    assert_eq!(reader.turn, anew.turn, "{event}");
                }
                assert!(reader.answer().unreadable);
            }
        }
    }
}
