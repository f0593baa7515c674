//! Putting calls together from their fragments, whatever their upstream leaves out.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Owner, Owners, Round};
use crate::wire::object::Object;

/// The calls of one answer, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Calls {
    found: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    /// The upstream's; some give none.
    index: Option<u64>,
    /// `function_call`, of which there can be one.
    is_legacy: bool,
    call: Call,
    owner: Owner,
    /// Its place in the client's list, where it is the client's.
    place: u64,
}

/// An entry of `tool_calls`, or the older `function_call`.
#[derive(Debug, Default, Deserialize)]
struct Fragment {
    index: Option<u64>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Debug, Default, Deserialize)]
struct Function {
    name: Option<String>,
    /// Text, or JSON from those who leave out that step.
    arguments: Option<Value>,
}

/// What becomes of a fragment.
#[derive(Debug)]
pub(super) enum Fate {
    /// The client does not see it.
    Kept,
    /// It goes on as it is.
    Passes,
    /// This goes on in its place: an entry whose place in the client's list is another, or all
    /// fragments so far of a call that was held.
    PassesAs(Vec<u8>),
}

impl Calls {
    /// Takes an entry of `tool_calls`.
    pub fn entry(&mut self, json: &str, owners: &Owners) -> Fate {
        let Ok(fragment) = serde_json::from_str::<Fragment>(json) else {
            return Fate::Passes;
        };
        let function = fragment.function.unwrap_or_default();
        let at = self.at(fragment.index, fragment.id.as_deref(), &function);
        let (fate, place) = self.add(at, fragment.id, function, owners);
        if !matches!(fate, Fate::Passes) || Some(place) == fragment.index {
            return fate;
        }
        // An upstream that numbers nothing is the client's to put up with, as without a gateway.
        let (Some(_), Some(mut entry)) = (fragment.index, Object::parse(json.as_bytes())) else {
            return Fate::Passes;
        };
        entry.set("index", &place);
        Fate::PassesAs(entry.print())
    }

    /// Takes a `function_call`.
    pub fn legacy(&mut self, json: &str, owners: &Owners) -> Fate {
        let Ok(function) = serde_json::from_str::<Function>(json) else {
            return Fate::Passes;
        };
        let known = self.found.iter().position(|found| found.is_legacy);
        let at = known.unwrap_or_else(|| self.begin(None, true));
        match self.add(at, None, function, owners) {
            (Fate::PassesAs(_), _) => {
                let call = &self.found[at].call;
                let whole = json!({ "name": call.name, "arguments": call.arguments });
                Fate::PassesAs(whole.to_string().into_bytes())
            }
            (fate, _) => fate,
        }
    }

    /// Whether anything was kept from the client.
    pub fn any_kept(&self) -> bool {
        let mut found = self.found.iter();
        found.any(|found| found.owner != Owner::Client)
    }

    /// The calls that the gateway runs, if there are any.
    pub fn round(&self) -> Option<Round> {
        let mut round = Round::default();
        for found in &self.found {
            match found.owner {
                Owner::Client => round.client_calls.push(found.call.id.clone()),
                Owner::Gateway | Owner::Undecided => round.calls.push(found.call.clone()),
            }
        }
        (!round.calls.is_empty()).then_some(round)
    }

    /// Which call a fragment belongs to. An index says it, unless another id under the same index
    /// says otherwise; without one the id does; without both a name begins a call and anything
    /// else goes on with the last one.
    fn at(&mut self, index: Option<u64>, id: Option<&str>, function: &Function) -> usize {
        let id = id.filter(|id| !id.is_empty());
        let is_new = |found: &Found| {
            let other_id = id.is_some_and(|id| !found.call.id.is_empty() && found.call.id != id);
            other_id && function.name.is_some()
        };
        let known = match (index, id) {
            (Some(_), _) => {
                let found = self.found.iter().rposition(|found| found.index == index);
                found.filter(|&at| !is_new(&self.found[at]))
            }
            (None, Some(id)) => self.found.iter().rposition(|found| found.call.id == id),
            (None, None)
                if function
                    .name
                    .as_deref()
                    .is_some_and(|name| !name.is_empty()) =>
            {
                None
            }
            (None, None) => self.found.len().checked_sub(1),
        };
        known.unwrap_or_else(|| self.begin(index, false))
    }

    fn begin(&mut self, index: Option<u64>, is_legacy: bool) -> usize {
        self.found.push(Found {
            index,
            is_legacy,
            call: Call::default(),
            owner: Owner::Undecided,
            place: 0,
        });
        self.found.len() - 1
    }

    /// Adds a fragment to a call. Gives what becomes of it, and the call's place among the
    /// client's.
    fn add(
        &mut self,
        at: usize,
        id: Option<String>,
        function: Function,
        owners: &Owners,
    ) -> (Fate, u64) {
        let clients = |found: &&Found| found.owner == Owner::Client;
        let next = self.found.iter().filter(clients).count() as u64;
        let found = &mut self.found[at];
        let was_empty = found.call == Call::default();
        if let Some(id) = id.filter(|_| found.call.id.is_empty()) {
            found.call.id = id;
        }
        let name = function.name.unwrap_or_default();
        // Some repeat the name in every fragment.
        if found.owner == Owner::Undecided || found.call.name != name {
            found.call.name.push_str(&name);
        }
        match function.arguments {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => found.call.arguments.push_str(&text),
            Some(other) => found.call.arguments.push_str(&other.to_string()),
        }
        if found.owner != Owner::Undecided {
            let fate = match found.owner {
                Owner::Client => Fate::Passes,
                Owner::Gateway | Owner::Undecided => Fate::Kept,
            };
            return (fate, found.place);
        }
        found.place = next;
        found.owner = owners.of(&found.call.name, !found.call.arguments.is_empty());
        let fate = match found.owner {
            Owner::Gateway | Owner::Undecided => Fate::Kept,
            Owner::Client if was_empty => Fate::Passes,
            Owner::Client => {
                let mut whole = super::call(&found.call);
                whole["index"] = next.into();
                Fate::PassesAs(whole.to_string().into_bytes())
            }
        };
        (fate, found.place)
    }
}
