//! One event of a stream: what of it the client may see.

use serde_json::Value;
use serde_json::value::RawValue;

use super::Owners;
use super::calls::{Calls, Fate};
use crate::wire::object::Object;

/// What the client has been told of the answer as a whole, in earlier legs.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// `id` of the completion; every later event has the same.
    pub id: Option<String>,
    /// Whether it knows who speaks.
    pub role: bool,
}

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on as it came.
    Passes,
    /// This JSON goes on instead.
    PassesAs(Vec<u8>),
    /// Nothing of it goes on.
    Kept,
}

/// An event that has been judged.
pub(super) struct Judged {
    pub verdict: Verdict,
    /// What would end the answer, if it ended here: `finish_reason` and usage, held back because
    /// a call is to be run first.
    pub ending: Option<Vec<u8>>,
    /// `usage`, where the event brings it and it was held back.
    pub usage: Option<Value>,
}

impl Judged {
    fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            ending: None,
            usage: None,
        }
    }
}

/// Judges events of one leg.
pub(super) struct Judge<'a> {
    pub owners: &'a Owners,
    pub calls: &'a mut Calls,
    /// `None` in the first leg.
    pub told: Option<&'a mut Told>,
    /// What earlier legs cost.
    pub spent: Option<&'a Value>,
}

impl Judge<'_> {
    /// Judges the event that has `json` as its data.
    pub fn judge(&mut self, json: &[u8]) -> Judged {
        let Some(mut event) = Object::parse(json) else {
            return Judged::new(Verdict::Passes);
        };
        // An error is the upstream's to tell, and none of the rules below hold for it.
        if event.get("error").is_some_and(|error| error != "null") {
            return Judged::new(Verdict::Passes);
        }
        let choices = event.get("choices").unwrap_or("[]").to_owned();
        let mut choices: Vec<Object<'_>> = serde_json::from_str(&choices).unwrap_or_default();
        let mut changed = false;
        for choice in choices.iter_mut().filter(|choice| is_first(choice)) {
            changed |= self.choice(choice);
        }
        let pending = self.calls.any_kept();
        changed |= self.envelope(&mut event, pending);
        let mut judged = Judged::new(Verdict::Passes);
        if pending {
            judged.usage = event
                .get("usage")
                .and_then(|usage| serde_json::from_str(usage).ok())
                .filter(Value::is_object);
            judged.ending = ending(&event, &choices, self.spent);
            changed |= strip_ending(&mut event, &mut choices);
        }
        if changed && says_nothing(&event, &choices) {
            judged.verdict = Verdict::Kept;
            return judged;
        }
        if let Some(told) = &mut self.told {
            told.role |= choices
                .iter()
                .any(|choice| delta(choice).get("role").is_some());
        }
        if changed {
            event.set("choices", &choices);
            judged.verdict = Verdict::PassesAs(event.print());
        }
        judged
    }

    /// Takes the gateway's calls out of a choice, and a role that the client has been told.
    fn choice(&mut self, choice: &mut Object<'_>) -> bool {
        let name = if choice.get("message").is_some() {
            "message"
        } else {
            "delta"
        };
        let Some(json) = choice.get(name).map(str::to_owned) else {
            return false;
        };
        let Some(mut delta) = Object::parse(json.as_bytes()) else {
            return false;
        };
        let mut changed = self.tool_calls(&mut delta) | self.function_call(&mut delta);
        if self.told.as_ref().is_some_and(|told| told.role) {
            changed |= delta.remove("role");
        }
        if changed {
            choice.set(name, &delta);
        }
        changed
    }

    fn tool_calls(&mut self, delta: &mut Object<'_>) -> bool {
        let Some(entries) = delta.get("tool_calls") else {
            return false;
        };
        let Ok(entries) = serde_json::from_str::<Vec<&RawValue>>(entries) else {
            return false;
        };
        let mut changed = false;
        let mut left: Vec<Box<RawValue>> = Vec::new();
        for entry in entries {
            match self.calls.entry(entry.get(), self.owners) {
                Fate::Passes => left.push(entry.to_owned()),
                Fate::Kept => changed = true,
                Fate::PassesAs(json) => {
                    changed = true;
                    left.extend(raw(json));
                }
            }
        }
        if changed && left.is_empty() {
            delta.remove("tool_calls");
        } else if changed {
            delta.set("tool_calls", &left);
        }
        changed
    }

    fn function_call(&mut self, delta: &mut Object<'_>) -> bool {
        let Some(call) = delta.get("function_call").filter(|call| *call != "null") else {
            return false;
        };
        match self.calls.legacy(call, self.owners) {
            Fate::Passes => false,
            Fate::Kept => delta.remove("function_call"),
            Fate::PassesAs(json) => {
                if let Some(call) = raw(json) {
                    delta.set("function_call", &call);
                }
                true
            }
        }
    }

    /// Gives a later leg's event the id of the first, and the last one the sum of the costs.
    fn envelope(&mut self, event: &mut Object<'_>, pending: bool) -> bool {
        let Some(told) = &mut self.told else {
            return false;
        };
        let mut changed = false;
        let id = event
            .get("id")
            .and_then(|id| serde_json::from_str::<String>(id).ok());
        match (&told.id, id) {
            (Some(told), Some(id)) if *told != id => {
                event.set("id", told);
                changed = true;
            }
            (None, Some(id)) => told.id = Some(id),
            _ => {}
        }
        if !pending && let Some(spent) = self.spent {
            changed |= add_spent(event, spent);
        }
        changed
    }
}

/// Whether a choice is the one with index 0.
fn is_first(choice: &Object<'_>) -> bool {
    matches!(choice.get("index"), None | Some("0" | "null"))
}

fn delta<'a>(choice: &'a Object<'_>) -> Object<'a> {
    let delta = choice.get("delta").or_else(|| choice.get("message"));
    let delta = delta.and_then(|delta| Object::parse(delta.as_bytes()));
    delta.unwrap_or_default()
}

/// Adds what earlier legs cost to the event's usage, where it has one.
pub(super) fn add_spent(event: &mut Object<'_>, spent: &Value) -> bool {
    let usage = event.get("usage").map(serde_json::from_str::<Value>);
    let Some(Ok(mut usage @ Value::Object(_))) = usage else {
        return false;
    };
    super::add_usage(&mut usage, spent);
    event.set("usage", &usage);
    true
}

/// The event with nothing but its `finish_reason` and usage, where it has either.
fn ending(event: &Object<'_>, choices: &[Object<'_>], spent: Option<&Value>) -> Option<Vec<u8>> {
    let reason = choices.iter().find_map(finish_reason);
    let mut ending = event.clone();
    let has_usage = match spent {
        Some(spent) => add_spent(&mut ending, spent),
        None => event.get("usage").is_some_and(|usage| usage != "null"),
    };
    if reason.is_none() && !has_usage {
        return None;
    }
    let choices: Vec<Object<'_>> = choices
        .iter()
        .filter(|choice| finish_reason(choice).is_some())
        .map(|choice| {
            let mut choice = choice.clone();
            choice.set("delta", &Object::default());
            choice
        })
        .collect();
    ending.set("choices", &choices);
    Some(ending.print())
}

fn finish_reason<'a>(choice: &'a Object<'_>) -> Option<&'a str> {
    let reason = choice.get("finish_reason");
    reason.filter(|reason| !matches!(*reason, "null" | "\"\""))
}

fn strip_ending(event: &mut Object<'_>, choices: &mut [Object<'_>]) -> bool {
    let mut changed = false;
    for choice in choices {
        if finish_reason(choice).is_some() {
            choice.set("finish_reason", &Value::Null);
            changed = true;
        }
    }
    if event.get("usage").is_some_and(|usage| usage != "null") {
        event.remove("usage");
        changed = true;
    }
    changed
}

/// Whether a client learns nothing from an event: no role, no text, no call, no end.
fn says_nothing(event: &Object<'_>, choices: &[Object<'_>]) -> bool {
    let is_empty = |json: &str| matches!(json, "null" | "\"\"" | "[]" | "{}");
    let empty_usage = event.get("usage").is_none_or(is_empty);
    let mut choices = choices.iter();
    empty_usage
        && choices.all(|choice| {
            let delta = delta(choice);
            let mut members = delta.members();
            finish_reason(choice).is_none() && members.all(|(_, json)| is_empty(json))
        })
}

fn raw(json: Vec<u8>) -> Option<Box<RawValue>> {
    let json = String::from_utf8(json).ok()?;
    RawValue::from_string(json).ok()
}
