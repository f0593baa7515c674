//! What the next leg is told of a leg that asked for calls.

use bytes::Bytes;
use serde_json::json;

use super::item::{Known, known};
use crate::dialect::calls::{Call, Owner, Owners, Round};

/// The items that tell the model what became of its calls: what it said, then what each call gave.
pub fn follow_up(round: &Round, results: &[String]) -> Vec<Bytes> {
    let said = round.said.iter().cloned();
    said.chain(self::results(round, results)).collect()
}

/// The items that tell what each call gave.
pub fn results(round: &Round, results: &[String]) -> impl Iterator<Item = Bytes> {
    round.calls.iter().zip(results).map(|(call, output)| {
        let item = json!({ "type": "function_call_output", "call_id": call.id, "output": output });
        item.to_string().into()
    })
}

/// Whether an item is a call that the gateway runs.
pub fn is_ours(item: &[u8], owners: &Owners) -> bool {
    known(item).is_some_and(|item| {
        item.kind == "function_call"
            && !item.has_namespace
            && owners.of(&item.name, true) == Owner::Gateway
    })
}

/// The round that these items of a leg ask for.
pub fn round(items: &[Bytes], owners: &Owners) -> Round {
    let mut round = Round::default();
    let mut ours = Vec::new();
    for item in items {
        let Some(found) = known(item).filter(Known::awaits_answer) else {
            continue;
        };
        if is_ours(item, owners) {
            round.places.push(round.client_calls.len());
            round.calls.push(Call {
                id: found.call_id,
                name: found.name,
                arguments: found.arguments,
            });
            ours.push(item.clone());
        } else {
            round.client_calls.push(found.call_id);
        }
    }
    round.said = match round.client_calls.is_empty() {
        true => items.to_vec(),
        // The client repeats the rest.
        false => ours,
    };
    round
}
