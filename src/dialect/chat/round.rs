//! What the next leg is told of a leg that asked for calls.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::calls::{Calls, Found};
use super::said::Said;
use super::shape::Shape;
use crate::dialect::calls::{Call, Owners, Round, Seed};
use crate::wire::splice::{Rope, Splice};

/// The gateway's calls of a leg, each with an id of its own, and the assistant's turn that asked for
/// them. `seed` makes ids where the upstream gave none, or the same to two.
pub fn round(turn: &Said, calls: &Calls, owners: &Owners, seed: &mut Seed) -> Round {
    let mut round = Round {
        client_calls: calls.clients().map(str::to_owned).collect(),
        ..Round::default()
    };
    let mut entries = Vec::new();
    for (place, found) in calls.ours() {
        let id = seed.unless(&found.id, round.ids());
        let name = owners.ours(&found.name).unwrap_or(&found.name);
        entries.push(entry(found, &id, name));
        round.places.push(place);
        round.calls.push(Call {
            id,
            name: name.to_owned(),
            arguments: found.object().unwrap_or_else(|| found.arguments.clone()),
        });
    }
    round.said = match round.client_calls.is_empty() {
        true => vec![message(turn, &entries)],
        // What was said beside them is in the turn that the client repeats.
        false => entries.iter().map(|entry| bytes(entry)).collect(),
    };
    round
}

/// The messages that tell the model what became of its calls: its own turn, then a result for each.
pub fn follow_up(round: &Round, results: &[String]) -> Vec<Bytes> {
    let said = round.said.iter().cloned();
    said.chain(self::results(round, results)).collect()
}

/// The messages that tell what each call gave.
pub fn results(round: &Round, results: &[String]) -> impl Iterator<Item = Bytes> {
    round.calls.iter().zip(results).map(|(call, content)| {
        let message = json!({ "role": "tool", "tool_call_id": call.id, "content": content });
        message.to_string().into()
    })
}

/// An event in which the client gets calls of its own, made after one of which they were held.
pub fn released(template: &Bytes, entries: &[Bytes], legacy: Option<&Bytes>) -> Option<Bytes> {
    let call = match legacy {
        Some(call) => [br#""function_call":"#, &call[..]].concat(),
        None if entries.is_empty() => return None,
        None => [br#""tool_calls":["#, &entries.join(&b',')[..], b"]"].concat(),
    };
    let shape = Shape::read(template)?;
    let choices = shape.members.get(template, "choices")?;
    let choice = [
        br#"[{"index":0,"delta":{"#,
        &call[..],
        br#"},"finish_reason":null}]"#,
    ];
    let mut splice = Splice::<()>::new(template);
    splice.cut(choices.value.range());
    splice.insert(choices.value.start, Rope::of((), choice.concat().into()));
    if let Some(usage) = shape.members.get(template, "usage") {
        let key = usage.key.span;
        for cut in shape.members.cuts(|member| member.key.span == key) {
            splice.cut(cut);
        }
    }
    Some(splice.finish().to_bytes())
}

/// An assistant's turn that asks for these calls.
pub fn message(turn: &Said, entries: &[Box<RawValue>]) -> Bytes {
    let mut message = Members::default();
    message.push("role", "assistant");
    let members: Vec<_> = turn.members().collect();
    if !members.iter().any(|(name, _)| *name == "content") {
        message.push("content", ());
    }
    for (name, value) in members {
        message.push(name, value);
    }
    message.push("tool_calls", entries);
    message.print()
}

/// One call as the upstream said it, but for what would be refused: an id that is missing or another
/// call's, arguments that are no object, and a name with more around it.
fn entry(found: &Found, id: &str, name: &str) -> Box<RawValue> {
    let mut function = Members::default();
    function.push("name", name);
    let object = found.object().unwrap_or_else(|| "{}".to_owned());
    function.push("arguments", object);
    for (name, value) in found.function.members() {
        function.push(name, value);
    }
    let mut entry = Members::default();
    entry.push("id", id);
    let rest: Vec<_> = found.rest.members().collect();
    if !rest.iter().any(|(name, _)| *name == "type") {
        entry.push("type", "function");
    }
    for (name, value) in rest {
        entry.push(name, value);
    }
    entry.push("function", function.raw());
    entry.raw()
}

fn bytes(json: &RawValue) -> Bytes {
    Bytes::copy_from_slice(json.get().as_bytes())
}

/// An object that is being written.
#[derive(Default)]
struct Members(Vec<u8>);

impl Members {
    fn push(&mut self, name: &str, value: impl Serialize) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        // Texts, and JSON that was read before: serde_json cannot refuse them.
        let _ = serde_json::to_writer(&mut self.0, name);
        self.0.push(b':');
        let _ = serde_json::to_writer(&mut self.0, &value);
    }

    fn print(mut self) -> Bytes {
        if self.0.is_empty() {
            self.0.push(b'{');
        }
        self.0.push(b'}');
        self.0.into()
    }

    fn raw(self) -> Box<RawValue> {
        let json = String::from_utf8(self.print().to_vec()).unwrap_or_default();
        RawValue::from_string(json).unwrap_or_default()
    }
}
