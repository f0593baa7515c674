//! A completion as the chunks that would have told it, and the other way round.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::calls::Calls;
use super::said::Said;
use super::shape::plain;
use crate::dialect::calls::Owners;
use crate::wire::frame::Event;

/// The chunks of a whole completion: what each choice says at once, then how all of them end.
pub fn streamed(whole: &[u8]) -> Option<Vec<Event>> {
    let whole = plain(&Bytes::copy_from_slice(whole));
    let mut envelope: Map<String, Value> = serde_json::from_slice(&whole).ok()?;
    if let Some(error) = envelope.get("error").filter(|error| !error.is_null()) {
        return Some(vec![Event::of(json!({ "error": error }).to_string())]);
    }
    let choices = match envelope.remove("choices")? {
        Value::Array(choices) => choices,
        // Some write the only one without a list around it.
        choice => vec![choice],
    };
    let usage = envelope.remove("usage");
    envelope.insert("object".into(), "chat.completion.chunk".into());
    let chunk = |choices: Value| {
        let mut chunk = envelope.clone();
        chunk.insert("choices".into(), choices);
        chunk
    };
    let (mut events, mut ends) = (Vec::new(), Vec::new());
    for (at, choice) in choices.into_iter().enumerate() {
        let Value::Object(mut choice) = choice else {
            return None;
        };
        let index = choice.remove("index").filter(Value::is_u64);
        let index = index.unwrap_or_else(|| at.into());
        let reason = choice.remove("finish_reason").unwrap_or_default();
        ends.push(json!({ "index": index, "delta": {}, "finish_reason": reason }));
        let said = ["message", "delta"].map(|name| choice.remove(name));
        let message = said.into_iter().flatten().find(Value::is_object);
        let message = message.unwrap_or_default();
        choice.insert("index".into(), index);
        choice.insert("delta".into(), delta(message));
        choice.insert("finish_reason".into(), Value::Null);
        let told = chunk(json!([choice]));
        events.push(Event::of(Value::Object(told).to_string()));
    }
    let mut end = chunk(Value::Array(ends));
    end.extend(usage.map(|usage| ("usage".to_owned(), usage)));
    events.push(Event::of(Value::Object(end).to_string()));
    events.push(Event::of("[DONE]"));
    Some(events)
}

/// A message as one delta: its calls have numbers there, and what is null is not said.
fn delta(message: Value) -> Value {
    let Value::Object(mut message) = message else {
        return json!({});
    };
    message.retain(|_, value| !value.is_null());
    if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
        for (at, call) in calls.iter_mut().enumerate() {
            if let Value::Object(call) = call {
                call.insert("index".into(), at.into());
            }
        }
    }
    Value::Object(message)
}

/// An object whose members are not read further.
type Raw<'a> = BTreeMap<String, &'a RawValue>;

/// A choice, so far.
#[derive(Default)]
struct Choice {
    message: Said,
    calls: Calls,
    /// Its members beside the message.
    rest: Said,
}

/// The completion that chunks have told; an error among them is all that there is.
pub fn gathered(events: &[Bytes]) -> Option<Bytes> {
    let mut envelope = Said::default();
    let mut choices: BTreeMap<u64, Choice> = BTreeMap::new();
    let mut has_ended = false;
    for data in events {
        if data.trim_ascii() == b"[DONE]" {
            has_ended = true;
            continue;
        }
        let data = &plain(data);
        let members: Raw<'_> = serde_json::from_slice(data).ok()?;
        if members.get("error").is_some_and(|it| it.get() != "null") {
            return Some(data.clone());
        }
        for (name, value) in members {
            match name.as_str() {
                "choices" => {
                    let told: Vec<Raw<'_>> = serde_json::from_str(value.get()).unwrap_or_default();
                    for choice in told {
                        has_ended |= add(&mut choices, choice);
                    }
                }
                // The last one counts; each of the others is the same in every event.
                name => envelope.set(name, value),
            }
        }
    }
    if !has_ended || choices.is_empty() {
        return None;
    }
    let mut whole = envelope.object();
    whole.insert("object".into(), "chat.completion".into());
    let choices = choices
        .into_iter()
        .map(|(index, choice)| choice.told(index));
    whole.insert("choices".into(), choices.collect());
    Some(Value::Object(whole).to_string().into())
}

/// Adds what an event says of a choice; whether that ends it.
fn add(choices: &mut BTreeMap<u64, Choice>, told: Raw<'_>) -> bool {
    let index = told.get("index").and_then(|it| it.get().parse().ok());
    let choice = choices.entry(index.unwrap_or(0)).or_default();
    let mut ends = false;
    for (name, value) in told {
        match name.as_str() {
            "index" => {}
            "delta" | "message" => choice.say(value),
            _ => {
                ends |= name == "finish_reason" && !matches!(value.get(), "null" | "\"\"");
                choice.rest.add(&name, value);
            }
        }
    }
    ends
}

impl Choice {
    fn say(&mut self, delta: &RawValue) {
        let Ok(delta) = serde_json::from_str::<Raw<'_>>(delta.get()) else {
            return;
        };
        self.calls.begin_event();
        for (name, value) in delta {
            if name != "tool_calls" {
                self.message.add(&name, value);
                continue;
            }
            let entries = serde_json::from_str::<Vec<&RawValue>>(value.get());
            let entries = entries.unwrap_or_else(|_| vec![value]);
            for entry in entries {
                let entry = Bytes::copy_from_slice(entry.get().as_bytes());
                self.calls.entry(&entry, &Owners::default());
            }
        }
    }

    fn told(self, index: u64) -> Value {
        let mut message = self.message.object();
        message.entry("role").or_insert("assistant".into());
        message.entry("content").or_insert(Value::Null);
        let calls: Vec<_> = self.calls.entries().collect();
        if !calls.is_empty() {
            message.insert("tool_calls".into(), Value::Array(calls));
        }
        let mut choice = self.rest.object();
        choice.entry("finish_reason").or_insert(Value::Null);
        choice.insert("index".into(), index.into());
        choice.insert("message".into(), Value::Object(message));
        Value::Object(choice)
    }
}
