//! The model's calls of the gateway's own tools, found in an answer and kept from the client.
//!
//! [`Gate`] stands in a stream, [`Whole`] reads an answer that is not streamed. What neither of
//! them has a reason to touch goes on as the bytes that came. Both give a [`Round`]: the calls to
//! run before the model is asked again, [`follow_up`] being what it is told then.

mod calls;
mod event;
mod gate;
mod whole;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub use gate::Gate;
pub use whole::Whole;

/// A call that the gateway runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Call {
    /// As the upstream gave it; empty where it gave none.
    pub id: String,
    pub name: String,
    /// As the model wrote them: they may not be JSON.
    pub arguments: String,
}

/// What the model asks of the gateway in one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// Never empty.
    pub calls: Vec<Call>,
    /// Ids of the calls that are for the client, which then has to answer them first.
    pub client_calls: Vec<String>,
}

/// Whose tool a name means.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    /// Tools that the gateway offered.
    pub gateway: Vec<String>,
    /// The client's own.
    pub client: Vec<String>,
}

/// Who runs a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Gateway,
    Client,
    /// So far its name is only the beginning of one.
    Undecided,
}

impl Owners {
    /// A name that nobody has is the gateway's to refuse where the client has no tools at all;
    /// else the client sees it, as it would without a gateway.
    fn of(&self, name: &str, is_whole: bool) -> Owner {
        let is = |names: &[String]| names.iter().any(|known| known == name);
        if is(&self.gateway) {
            return Owner::Gateway;
        }
        if is(&self.client) {
            return Owner::Client;
        }
        let mut known = self.gateway.iter().chain(&self.client);
        if !is_whole && known.any(|known| known.starts_with(name)) {
            return Owner::Undecided;
        }
        match self.client.is_empty() {
            true => Owner::Gateway,
            false => Owner::Client,
        }
    }
}

/// The messages that tell the model what became of its calls: its own turn, then a result for
/// each. `content` is the JSON of what it said beside them.
pub fn follow_up(content: &str, calls: &[Call], results: &[String]) -> Vec<Bytes> {
    // Strings, and JSON that was read before: serde_json cannot refuse them.
    let content = RawValue::from_string(content.to_owned()).ok();
    let turn = json!({
        "role": "assistant",
        "content": content,
        "tool_calls": calls.iter().map(call).collect::<Vec<_>>(),
    });
    let results = calls.iter().zip(results).map(
        |(call, content)| json!({ "role": "tool", "tool_call_id": call.id, "content": content }),
    );
    let messages = std::iter::once(turn).chain(results);
    messages.map(|message| message.to_string().into()).collect()
}

fn call(call: &Call) -> Value {
    json!({
        "id": call.id,
        "type": "function",
        "function": { "name": call.name, "arguments": call.arguments },
    })
}

/// Adds what two answers cost: numbers are added, objects member by member.
fn add_usage(sum: &mut Value, more: &Value) {
    match (sum, more) {
        (Value::Object(sum), Value::Object(more)) => {
            for (name, value) in more {
                match sum.get_mut(name) {
                    Some(known) => add_usage(known, value),
                    None => {
                        sum.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Number(sum), Value::Number(more)) => {
            let whole = sum.as_u64().zip(more.as_u64());
            if let Some(total) = whole.and_then(|(a, b)| a.checked_add(b)) {
                *sum = total.into();
            } else if let Some(total) = sum.as_f64().zip(more.as_f64())
                && let Some(total) = serde_json::Number::from_f64(total.0 + total.1)
            {
                *sum = total;
            }
        }
        (sum @ Value::Null, more) => *sum = more.clone(),
        _ => {}
    }
}
