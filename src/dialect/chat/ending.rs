//! What ends an answer, held back while calls are to be run first.

use bytes::Bytes;

use super::shape::{Choice, Shape};
use crate::wire::frame::Event;
use crate::wire::json::Span;
use crate::wire::object::cuts;
use crate::wire::splice::{Rope, Splice};

#[derive(Debug, Default)]
pub struct Ending {
    /// The upstream has told of an error.
    pub has_failed: bool,
    /// The text of `finish_reason`.
    finish_reason: Option<String>,
    /// Calls of the client's that were held for as long as they might have been the gateway's.
    pub released: Option<Bytes>,
    finish: Vec<Bytes>,
    /// What the leg cost, where an event of its own says that.
    usage: Option<Bytes>,
    /// `[DONE]`.
    pub done: Option<Bytes>,
}

impl Ending {
    /// Why the leg ended: an empty text where it did not say; `None` where it has not ended.
    pub fn reason(&self) -> Option<&str> {
        if self.has_failed {
            return Some("error");
        }
        let done = self.done.as_ref().map(|_| "");
        self.finish_reason.as_deref().or(done)
    }

    /// Keeps of an event its `finish_reason` and usage, where it has either: under `id` and with the
    /// `sum` of all costs, where those are others.
    pub fn hold(&mut self, json: &Bytes, shape: &Shape, id: Option<&str>, sum: Option<String>) {
        let finished = |choice: &Choice| choice.finish_reason(json).is_some();
        let mut choices = shape.choices.iter();
        let reason = choices.find_map(|choice| choice.finish_reason(json));
        self.has_failed |= shape.choices.iter().any(|choice| choice.has_failed(json));
        if let Some((_, reason)) = reason {
            self.finish_reason = serde_json::from_slice(reason).ok();
        }
        let usage = shape.get(json, "usage");
        let ends = shape.choices.iter().any(finished);
        if !ends && usage.is_none() {
            return;
        }
        let mut splice = Splice::<()>::new(json);
        let mut replace = |at: Span, with: Bytes| {
            splice.cut(at.range());
            splice.insert(at.start, Rope::of((), with));
        };
        if let (Some(usage), Some(sum)) = (usage, sum) {
            replace(usage.value, sum.into());
        }
        if let (Some(member), Some(id)) = (shape.get(json, "id"), id) {
            replace(member.value, serde_json::Value::from(id).to_string().into());
        }
        for choice in shape.choices.iter().filter(|choice| finished(choice)) {
            for said in ["delta", "message"] {
                if let Some(said) = choice.members.get(json, said) {
                    replace(said.value, Bytes::from_static(b"{}"));
                }
            }
        }
        let spans: Vec<_> = shape.choices.iter().map(|choice| choice.span).collect();
        for cut in cuts(&spans, |at| !finished(&shape.choices[at])) {
            splice.cut(cut);
        }
        let held = splice.finish().to_bytes();
        // Some say in every event what it cost so far; the last one counts.
        if !ends {
            self.usage = Some(held);
            return;
        }
        self.finish.push(held);
        if usage.is_some() {
            self.usage = None;
        }
    }

    /// Notes how a part of a whole answer ended.
    pub fn whole(&mut self, body: &Bytes, choice: &Choice) {
        self.has_failed |= choice.has_failed(body);
        let reason = choice.finish_reason(body);
        let reason = reason.and_then(|(_, text)| serde_json::from_slice(text).ok());
        // An answer that is whole has ended, whether it says why or not.
        let whole = || "tool_calls".to_owned();
        self.finish_reason = reason
            .or_else(|| self.finish_reason.take())
            .or_else(|| Some(whole()));
    }

    /// The events that end the answer.
    pub fn events(self) -> impl Iterator<Item = Event> {
        let events = self.released.into_iter().chain(self.finish);
        let events = events.chain(self.usage).chain(self.done);
        events.map(Event::of)
    }
}
