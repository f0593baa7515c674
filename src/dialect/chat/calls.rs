//! Putting calls together from their fragments, whatever their upstream leaves out.
//!
//! Ids and indices are hints: servers give all calls one index, or one id to two, or no id, or an id
//! in each fragment, or begin to count at 1. What a fragment says, and how far the call before it has
//! come, decides to which call it belongs.

use bytes::Bytes;
use serde_json::{Value, json};

use super::fragment::Fragment;
use super::said::Said;
use crate::dialect::calls::{Owner, Owners, object};
use crate::wire::object::Members;
use crate::wire::splice::{Rope, Splice};

/// The calls of one leg, in the order in which they began.
#[derive(Debug, Default)]
pub struct Calls {
    found: Vec<Found>,
    /// Those that the event which is being read has gone on with.
    in_event: Vec<usize>,
}

/// One call, so far.
#[derive(Debug)]
pub struct Found {
    index: Option<u64>,
    /// `function_call`, of which there can be one.
    is_legacy: bool,
    pub id: String,
    pub name: String,
    pub arguments: String,
    /// Those of the last fragment that had a name: some servers say all of them again each time.
    named: String,
    /// Its other members, and those of its `function`.
    pub rest: Said,
    pub function: Said,
    pub owner: Owner,
    /// Its index in the client's list, where that is another than the upstream's.
    place: Option<u64>,
    /// Its fragments, while nobody knows whose it is.
    held: Vec<Bytes>,
}

/// What becomes of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// The client does not see it.
    Held,
    /// It goes on as it is.
    Passes,
    /// These go on in its place: an entry whose place in the client's list is another, or all
    /// fragments so far of a call that was held.
    PassesAs(Vec<Bytes>),
}

/// How far a call's arguments have come.
#[derive(Debug, PartialEq, Eq)]
enum Arguments {
    Nothing,
    /// So far it is not JSON: more must come.
    Open,
    Whole,
}

impl Calls {
    /// Makes ready for the entries of another event.
    pub fn begin_event(&mut self) {
        self.in_event.clear();
    }

    /// Takes an entry of `tool_calls` in an event.
    pub fn entry(&mut self, json: &Bytes, owners: &Owners) -> Fate {
        let Some(fragment) = Fragment::read(json) else {
            return Fate::Passes;
        };
        let at = match self.at(&fragment, owners) {
            Some(at) => at,
            None => self.begin(fragment.index, false),
        };
        self.in_event.push(at);
        self.add(at, fragment, json, owners)
    }

    /// Takes an entry of `tool_calls` in a whole answer, where each is a call.
    pub fn whole_entry(&mut self, json: &Bytes, owners: &Owners) -> Fate {
        let Some(fragment) = Fragment::read(json) else {
            return Fate::Passes;
        };
        let at = self.begin(None, false);
        let fate = self.add(at, fragment, json, owners);
        match self.settle_one(at, owners) {
            Some(_) => Fate::Passes,
            None => fate,
        }
    }

    /// Takes a `function_call`.
    pub fn legacy(&mut self, json: &Bytes, owners: &Owners) -> Fate {
        let Some(fragment) = Fragment::of_function(json) else {
            return Fate::Passes;
        };
        let known = self.found.iter().position(|found| found.is_legacy);
        let at = known.unwrap_or_else(|| self.begin(None, true));
        match self.add(at, fragment, json, owners) {
            // There is room for one in an event.
            Fate::PassesAs(_) => Fate::PassesAs(vec![self.found[at].legacy()]),
            fate => fate,
        }
    }

    /// Whether anything is held back from the client.
    pub fn any_held(&self) -> bool {
        let mut found = self.found.iter();
        found.any(|found| found.owner != Owner::Client)
    }

    /// The calls that the gateway runs, each with how many of the client's stand before it.
    pub fn ours(&self) -> impl Iterator<Item = (usize, &Found)> {
        let mut before = 0;
        self.found.iter().filter_map(move |found| {
            before += usize::from(found.owner == Owner::Client);
            (found.owner == Owner::Gateway).then_some((before, found))
        })
    }

    /// The ids of the client's.
    pub fn clients(&self) -> impl Iterator<Item = &str> {
        let found = self.found.iter();
        let clients = found.filter(|found| found.owner == Owner::Client);
        clients.map(|found| found.id.as_str())
    }

    /// All of them, as entries of a whole answer.
    pub fn entries(&self) -> impl Iterator<Item = Value> {
        let found = self.found.iter().filter(|found| !found.is_legacy);
        found.map(|found| {
            let mut function = found.function.object();
            function.insert("name".into(), found.name.as_str().into());
            function.insert("arguments".into(), found.arguments.as_str().into());
            let mut entry = found.rest.object();
            entry.entry("type").or_insert("function".into());
            entry.insert("id".into(), found.id.as_str().into());
            entry.insert("function".into(), Value::Object(function));
            Value::Object(entry)
        })
    }

    /// Whether every call of the gateway's has all of its arguments.
    pub fn are_whole(&self) -> bool {
        self.ours()
            .all(|(_, found)| found.progress() != Arguments::Open)
    }

    /// Decides whose the calls are of which nothing more will come. Gives the fragments of those
    /// that turn out to be the client's, and a `function_call` among them apart.
    pub fn settle(&mut self, owners: &Owners) -> (Vec<Bytes>, Option<Bytes>) {
        let (mut entries, mut legacy) = (Vec::new(), None);
        for at in 0..self.found.len() {
            match self.settle_one(at, owners) {
                Some(_) if self.found[at].is_legacy => legacy = Some(self.found[at].legacy()),
                released => entries.extend(released.unwrap_or_default()),
            }
        }
        (entries, legacy)
    }

    /// The fragments of a call that was held and is the client's.
    fn settle_one(&mut self, at: usize, owners: &Owners) -> Option<Vec<Bytes>> {
        let found = &self.found[at];
        if found.owner != Owner::Undecided {
            return None;
        }
        let owner = owners.of(&found.name, true);
        self.found[at].owner = owner;
        (owner == Owner::Client).then(|| self.release(at))
    }

    /// To which call a fragment belongs; `None` begins another.
    fn at(&self, fragment: &Fragment, owners: &Owners) -> Option<usize> {
        let has_name = !fragment.name.is_empty();
        let last = self.found.len().checked_sub(1);
        let known = match (fragment.index, fragment.id.as_str()) {
            (Some(_), _) => self.find(|found| found.index == fragment.index),
            (None, "") => None,
            (None, id) => self.find(|found| found.id == id),
        };
        match known {
            Some(at) => (!self.begins_anew(at, fragment, owners)).then_some(at),
            None if !fragment.is_function => None,
            None if has_name => {
                // Some servers give neither, and the name in each fragment.
                let has_hint = fragment.index.is_some() || !fragment.id.is_empty();
                let goes_on = |at: &usize| {
                    let found = &self.found[*at];
                    found.name == fragment.name && found.progress() == Arguments::Open
                };
                last.filter(|at| !has_hint && goes_on(at))
            }
            None if fragment.index.is_none() && fragment.id.is_empty() => last,
            // Others count their fragments, or name each anew.
            None => last.filter(|&at| self.found[at].progress() == Arguments::Open),
        }
    }

    fn find(&self, is: impl Fn(&Found) -> bool) -> Option<usize> {
        self.found
            .iter()
            .rposition(|found| !found.is_legacy && is(found))
    }

    /// Whether a fragment under the index or id of a call is of another call all the same. One
    /// without a name never is.
    fn begins_anew(&self, at: usize, fragment: &Fragment, owners: &Owners) -> bool {
        let found = &self.found[at];
        if fragment.name.is_empty() || found.name.is_empty() {
            return false;
        }
        let differs = |a: &str, b: &str| !a.is_empty() && !b.is_empty() && a != b;
        let other_id = differs(&found.id, &fragment.id);
        let other_index =
            found.index.is_some() && fragment.index.is_some() && found.index != fragment.index;
        let other_name = found.name != fragment.name;
        match found.progress() {
            _ if found.is_said_again(fragment) => false,
            _ if other_index => true,
            // Two entries of one event that both have a name are two calls.
            _ if self.in_event.contains(&at) && !other_name => true,
            Arguments::Nothing => {
                // A name may come in pieces.
                let both_whole = owners.knows(&found.name) && owners.knows(&fragment.name);
                other_id || (other_name && both_whole)
            }
            Arguments::Open => other_name,
            Arguments::Whole => other_name || other_id || !fragment.arguments.is_empty(),
        }
    }

    fn begin(&mut self, index: Option<u64>, is_legacy: bool) -> usize {
        self.found.push(Found {
            index,
            is_legacy,
            id: String::new(),
            name: String::new(),
            arguments: String::new(),
            named: String::new(),
            rest: Said::default(),
            function: Said::default(),
            owner: Owner::Undecided,
            place: None,
            held: Vec::new(),
        });
        self.found.len() - 1
    }

    /// Adds a fragment to a call. Gives what becomes of it.
    fn add(&mut self, at: usize, fragment: Fragment, json: &Bytes, owners: &Owners) -> Fate {
        let found = &mut self.found[at];
        let is_function = fragment.is_function;
        found.take(fragment);
        match found.owner {
            Owner::Gateway => return Fate::Held,
            Owner::Client => {
                return match found.place {
                    None => Fate::Passes,
                    Some(place) => placed(json, place)
                        .map_or(Fate::Passes, |entry| Fate::PassesAs(vec![entry])),
                };
            }
            Owner::Undecided => found.held.push(json.clone()),
        }
        found.owner = match is_function {
            true => owners.of(&found.name, !found.arguments.is_empty()),
            false => Owner::Client,
        };
        match found.owner {
            Owner::Undecided => Fate::Held,
            Owner::Gateway => {
                found.held = Vec::new();
                Fate::Held
            }
            Owner::Client => {
                let released = self.release(at);
                match &released[..] {
                    [only] if only == json => Fate::Passes,
                    _ => Fate::PassesAs(released),
                }
            }
        }
    }

    /// Gives a call to the client: its fragments so far. Where something is held back the calls that
    /// the client sees are counted anew, without gaps.
    fn release(&mut self, at: usize) -> Vec<Bytes> {
        let is_other = |(other, _): &(usize, &Found)| *other != at;
        let others = || self.found.iter().enumerate().filter(is_other);
        let any_held = others().any(|(_, found)| found.owner != Owner::Client);
        let any_placed = others().any(|(_, found)| found.place.is_some());
        let clients =
            others().filter(|(_, found)| found.owner == Owner::Client && !found.is_legacy);
        let first = self.found.iter().filter_map(|found| found.index).min();
        let place = clients.count() as u64 + first.unwrap_or(0);
        let found = &mut self.found[at];
        let held = std::mem::take(&mut found.held);
        let is_renumbered = (any_held || any_placed) && found.index.is_some();
        if !is_renumbered || found.index == Some(place) {
            return held;
        }
        found.place = Some(place);
        let entries = held.into_iter();
        entries
            .map(|entry| placed(&entry, place).unwrap_or(entry))
            .collect()
    }
}

impl Found {
    fn take(&mut self, fragment: Fragment) {
        let is_said_again = self.is_said_again(&fragment);
        if self.id.is_empty() {
            self.id = fragment.id;
        }
        // Some repeat the name in every fragment.
        if self.name != fragment.name && (self.arguments.is_empty() || self.name.is_empty()) {
            self.name.push_str(&fragment.name);
        }
        if !is_said_again {
            self.arguments.push_str(&fragment.arguments);
        }
        if !fragment.name.is_empty() {
            self.named = fragment.arguments;
        }
        for (name, json) in fragment.rest {
            self.rest.add(&name, &json);
        }
        for (name, json) in fragment.function {
            self.function.add(&name, &json);
        }
    }

    /// The `function_call` so far.
    fn legacy(&self) -> Bytes {
        let call = json!({ "name": self.name, "arguments": self.arguments });
        call.to_string().into()
    }

    /// The arguments as an object, where they are one.
    pub fn object(&self) -> Option<String> {
        object(&self.arguments).or_else(|| object(&self.named))
    }

    /// How far its arguments have come.
    fn progress(&self) -> Arguments {
        match self.object() {
            _ if self.arguments.trim().is_empty() => Arguments::Nothing,
            Some(_) => Arguments::Whole,
            None => Arguments::Open,
        }
    }

    /// Whether a fragment says this whole call once more, under its own id and name: some servers end
    /// with a summary, in which the arguments may be a string within a string.
    fn is_said_again(&self, fragment: &Fragment) -> bool {
        let is_it = !self.id.is_empty() && self.id == fragment.id && self.name == fragment.name;
        let value = |text: &str| serde_json::from_str::<Value>(text).ok();
        let said = || match value(&fragment.arguments)? {
            Value::String(inner) => value(&inner),
            other => Some(other),
        };
        let own = || value(&self.object()?);
        is_it && !fragment.arguments.is_empty() && own().is_some_and(|own| said() == Some(own))
    }
}

/// The entry with another index.
fn placed(json: &Bytes, place: u64) -> Option<Bytes> {
    let members = Members::parse(json)?;
    let index = members.get(json, "index")?;
    let mut splice = Splice::new(json);
    splice.cut(index.value.range());
    let place = Bytes::from(place.to_string());
    splice.insert(index.value.start, Rope::of((), place));
    Some(splice.finish().to_bytes())
}
