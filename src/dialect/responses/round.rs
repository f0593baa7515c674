//! What the next leg is told of a leg that asked for calls.

use bytes::Bytes;
use serde_json::{Value, json};

use super::item::{Known, known};
use crate::dialect::calls::{Call, Owners, Round, Seed, object};
use crate::wire::object::Members;
use crate::wire::splice::{Rope, Splice};

/// The items that tell the model what became of its calls: what it said, then what each call gave.
pub fn follow_up(round: &Round, results: &[String]) -> Vec<Bytes> {
    let said = round.said.iter().cloned();
    said.chain(self::results(round, results)).collect()
}

/// The items that tell what each call gave. Who called, where an item says so, is said there too.
pub fn results(round: &Round, results: &[String]) -> impl Iterator<Item = Bytes> {
    round.calls.iter().zip(results).map(|(call, output)| {
        let mut item =
            json!({ "type": "function_call_output", "call_id": call.id, "output": output });
        let said = round
            .said
            .iter()
            .filter_map(|said| serde_json::from_slice(said).ok());
        let mut said = said.filter(|said: &Value| said["call_id"] == call.id.as_str());
        if let Some(caller) = said.find_map(|said| said.get("caller").cloned()) {
            item["caller"] = caller;
        }
        item.to_string().into()
    })
}

/// Whether an item is a call that the gateway runs.
pub fn is_ours(item: &[u8], owners: &Owners) -> bool {
    known(item).is_some_and(|item| item.is_ours(owners))
}

/// The round that these items of a leg ask for. `seed` makes ids where the upstream gave none, or the
/// same to two.
pub fn round<'a>(
    items: impl Iterator<Item = &'a Bytes> + Clone,
    owners: &Owners,
    seed: &mut Seed,
) -> Round {
    let calls = items.clone().filter_map(|item| known(item));
    let clients = calls.filter(|call| call.awaits_answer() && !call.is_ours(owners));
    let mut round = Round {
        client_calls: clients.map(|call| call.call_id).collect(),
        ..Round::default()
    };
    let is_client = |item: &&Bytes| !is_ours(item, owners);
    let (mut said, mut ours) = (Vec::new(), Vec::new());
    let mut behind = items.clone().filter(is_client).count();
    for item in items {
        let is_ours = |found: &Known| found.awaits_answer() && found.is_ours(owners);
        let Some(found) = known(item).filter(is_ours) else {
            behind -= 1;
            said.push(item.clone());
            continue;
        };
        let arguments = object(&found.arguments);
        let own = match found.call_id.as_str() {
            "" => found.id.as_str(),
            id => id,
        };
        let id = seed.unless(own, round.ids());
        let name = owners.ours(&found.name).unwrap_or(&found.name);
        let item = mended(item, [&id, name, arguments.as_deref().unwrap_or("{}")]);
        round.places.push(behind);
        round.calls.push(Call {
            id,
            name: name.to_owned(),
            arguments: arguments.unwrap_or(found.arguments),
        });
        said.push(item.clone());
        ours.push(item);
    }
    round.said = match round.client_calls.is_empty() {
        true => said,
        // The client repeats the rest.
        false => ours,
    };
    round
}

/// A call as it can go back: as it was said, but for what another API calls it, an id that is another's or none,
/// a name with more around it, and arguments that are no object.
fn mended(item: &Bytes, [id, name, arguments]: [&str; 3]) -> Bytes {
    let is = |member: &str, wanted: &str| {
        let Some(members) = Members::parse(item) else {
            return true;
        };
        let text = members
            .get(item, member)
            .map(|member| &item[member.value.range()]);
        let text = text.and_then(|text| serde_json::from_slice::<String>(text).ok());
        text.is_some_and(|text| text == wanted || (member == "arguments" && text.trim() == wanted))
    };
    let wanted = [
        ("type", "function_call"),
        ("call_id", id),
        ("name", name),
        ("arguments", arguments),
    ];
    let wrong = wanted
        .into_iter()
        .filter(|(member, wanted)| !is(member, wanted));
    wrong.fold(item.clone(), |item, (member, wanted)| {
        with(&item, member, wanted)
    })
}

/// A call with these arguments.
pub fn with_arguments(item: &Bytes, arguments: &str) -> Bytes {
    with(item, "arguments", arguments)
}

/// An object with this text in the member of that name.
fn with(json: &Bytes, name: &str, text: &str) -> Bytes {
    let Some(members) = Members::parse(json) else {
        return json.clone();
    };
    let text = Value::from(text).to_string();
    let mut splice = Splice::<()>::new(json);
    match members.get(json, name) {
        Some(member) => {
            splice.cut(member.value.range());
            splice.insert(member.value.start, Rope::of((), text.into()));
        }
        None => {
            let member = format!(",\"{name}\":{text}");
            splice.insert(members.tail, Rope::of((), member.into()));
        }
    }
    splice.finish().to_bytes()
}
