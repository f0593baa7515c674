//! An answer that is not streamed.

use serde_json::Value;
use serde_json::value::RawValue;

use super::calls::{Calls, Fate};
use super::event::add_spent;
use super::{Owners, Round, add_usage};
use crate::wire::object::Object;

/// A whole answer, read for the gateway's calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whole {
    /// The calls to run, where it asks for any.
    pub round: Option<Round>,
    /// The JSON of what was said beside them.
    pub content: String,
    usage: Option<Value>,
}

impl Whole {
    /// Reads an answer. One that cannot be read asks for nothing.
    pub fn read(body: &[u8], owners: &Owners) -> Self {
        let mut whole = Self {
            content: "null".into(),
            ..Self::default()
        };
        let mut calls = Calls::default();
        edit(body, |message| {
            whole.content = message.get("content").unwrap_or("null").to_owned();
            keep_clients(message, &mut calls, owners);
        });
        whole.round = calls.round();
        let usage = Object::parse(body).and_then(|answer| {
            let usage = answer.get("usage")?;
            serde_json::from_str::<Value>(usage).ok()
        });
        whole.usage = usage.filter(Value::is_object);
        whole
    }

    /// Adds what it cost to what the legs before it did.
    pub fn add_cost(&self, spent: &mut Option<Value>) {
        if let Some(usage) = &self.usage {
            add_usage(spent.get_or_insert(Value::Null), usage);
        }
    }

    /// The answer as the client gets it: without the gateway's calls, with all that was `spent`
    /// before. `None`: as it came.
    pub fn shown(body: &[u8], owners: &Owners, spent: Option<&Value>) -> Option<Vec<u8>> {
        let mut calls = Calls::default();
        let edited = edit(body, |message| keep_clients(message, &mut calls, owners));
        if !calls.any_kept() && spent.is_none() {
            return None;
        }
        let edited = edited.filter(|_| calls.any_kept());
        let mut answer = Object::parse(edited.as_deref().unwrap_or(body))?;
        if let Some(spent) = spent {
            add_spent(&mut answer, spent);
        }
        Some(answer.print())
    }
}

/// The answer with the message of its first choice edited.
fn edit(body: &[u8], edit: impl FnOnce(&mut Object<'_>)) -> Option<Vec<u8>> {
    let mut answer = Object::parse(body)?;
    let choices = answer.get("choices")?.to_owned();
    let mut choices: Vec<Object<'_>> = serde_json::from_str(&choices).ok()?;
    let choice = choices.first_mut()?;
    let message = choice.get("message")?.to_owned();
    let mut message = Object::parse(message.as_bytes())?;
    edit(&mut message);
    choice.set("message", &message);
    answer.set("choices", &choices);
    Some(answer.print())
}

fn keep_clients(message: &mut Object<'_>, calls: &mut Calls, owners: &Owners) {
    let entries = message.get("tool_calls").unwrap_or("[]").to_owned();
    let mut left: Vec<&RawValue> = serde_json::from_str(&entries).unwrap_or_default();
    let before = left.len();
    left.retain(|entry| !matches!(calls.entry(entry.get(), owners), Fate::Kept));
    if left.is_empty() && before > 0 {
        message.remove("tool_calls");
    } else if left.len() < before {
        message.set("tool_calls", &left);
    }
    let legacy = message.get("function_call").filter(|call| *call != "null");
    if let Some(legacy) = legacy.map(str::to_owned)
        && matches!(calls.legacy(&legacy, owners), Fate::Kept)
    {
        message.remove("function_call");
    }
}
