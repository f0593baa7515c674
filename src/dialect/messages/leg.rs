//! One leg of an answer: whose its blocks are, and what of them would have to be told again.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::block::{Growing, blocks, mended};
use super::round;
use crate::dialect::calls::{Call, Edit, Owner, Owners, Round, Seed, number, object};
use crate::dialect::usage;
use crate::wire::json::Span;
use crate::wire::object::Members;
use crate::wire::splice::{Rope, Splice};

/// Bytes of a leg's events that are kept; of a longer one no call can be run.
const KEPT: usize = 8 * 1024 * 1024;

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The client sees it under this index.
    Shown(u64),
    /// A call of the gateway's.
    Held,
}

/// A leg so far.
#[derive(Debug, Default)]
pub struct Leg {
    /// The data of its events, until it is clear that none of them is needed.
    events: Vec<Bytes>,
    bytes: usize,
    /// What becomes of each block, with its index in the leg where it has one.
    fates: Vec<(Option<u64>, Fate)>,
    pub usage: Value,
    /// The upstream has told of an error.
    pub has_failed: bool,
    /// Why it ended, where its end was held back.
    pub stop_reason: Option<String>,
    /// The array of its blocks, where it is not streamed.
    pub content: Option<Bytes>,
}

impl Leg {
    /// Keeps an event, since a call may come that has to be told with all that was said.
    pub fn keep(&mut self, data: &Bytes) {
        self.bytes += data.len();
        if self.is_whole() {
            self.events.push(data.clone());
        } else {
            self.events.clear();
        }
    }

    /// Whether all of it is there.
    pub fn is_whole(&self) -> bool {
        self.bytes <= KEPT
    }

    /// Notes what becomes of a block.
    pub fn judge(&mut self, index: Option<u64>, fate: Fate) {
        self.fates.push((index, fate));
    }

    /// What becomes of a block that has begun: the last one of this index, since there are servers
    /// that give all the same; without one, the last.
    pub fn fate(&self, index: Option<u64>) -> Option<Fate> {
        let mut fates = self.fates.iter().rev();
        let is_it = |known: Option<u64>| index.is_none() || known == index;
        let found = fates.find(|(known, _)| is_it(*known));
        found.map(|(_, fate)| *fate)
    }

    /// Whether a call of the gateway's is among its blocks.
    pub fn has_held(&self) -> bool {
        self.fates.iter().any(|(_, fate)| *fate == Fate::Held)
    }

    /// Adds what an event says of the cost: later numbers take the place of earlier ones.
    pub fn add_usage(&mut self, more: &Value) {
        match (&mut self.usage, more) {
            (Value::Object(known), Value::Object(more)) => {
                let told = more.iter().filter(|(_, value)| !value.is_null());
                known.extend(told.map(|(name, value)| (name.clone(), value.clone())));
            }
            (known, more) if more.is_object() => *known = more.clone(),
            _ => {}
        }
    }

    /// What the leg cost and the legs before it.
    pub fn sum(&self, spent: Option<&Value>) -> Value {
        let mut sum = self.usage.clone();
        if let Some(spent) = spent {
            usage::add(&mut sum, spent);
        }
        sum
    }

    /// The calls of the gateway's, and the turn that asked for them.
    pub fn round(&self, owners: &Owners, seed: &mut Seed) -> Round {
        let grown = self.grown();
        let said = grown.iter().map(|block| Said {
            kind: block.text("type"),
            call: Call {
                id: block.text("id"),
                name: block.text("name"),
                arguments: block.arguments(),
            },
            json: block.clone().print(),
        });
        of_blocks(said.collect(), owners, seed)
    }

    /// Whether each call of the gateway's has all of its arguments.
    pub fn are_whole(&self, owners: &Owners) -> bool {
        let blocks = match &self.content {
            Some(_) => Vec::new(),
            None => self.grown(),
        };
        let is_ours = |block: &&Growing| is_ours(&block.text("type"), &block.text("name"), owners);
        let mut calls = blocks.iter().filter(is_ours);
        calls.all(|call| object(&call.arguments()).is_some())
    }

    /// The same as JSON.
    pub fn blocks(&self) -> Vec<Bytes> {
        self.grown().into_iter().map(Growing::print).collect()
    }

    /// Its blocks, put together, but for texts without a word.
    fn grown(&self) -> Vec<Growing> {
        #[derive(Deserialize)]
        struct Event<'a> {
            r#type: String,
            #[serde(default, deserialize_with = "number")]
            index: Option<u64>,
            #[serde(borrow)]
            content_block: Option<&'a RawValue>,
            #[serde(borrow)]
            delta: Option<&'a RawValue>,
        }
        let mut grown: Vec<(Option<u64>, Growing)> = Vec::new();
        for data in &self.events {
            let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
                continue;
            };
            if !event.r#type.starts_with("content_block_") {
                continue;
            }
            let index = event.index;
            let is_it = |known: Option<u64>| index.is_none() || known == index;
            if let Some(start) = event.content_block {
                grown.push((index, Growing::new(start)));
            } else if let Some(delta) = event.delta
                && let Some((_, block)) = grown.iter_mut().rev().find(|(known, _)| is_it(*known))
            {
                block.add(delta);
            }
        }
        let blocks = grown.into_iter().map(|(_, block)| block);
        blocks.filter(|block| !block.is_empty_text()).collect()
    }
}

/// A whole answer's calls of the gateway's; `content` is its array of blocks.
pub fn of_content(content: &Bytes, owners: &Owners, seed: &mut Seed) -> Round {
    let said = blocks(content).into_iter().map(|block| Said {
        call: Call {
            arguments: input(&content[block.span.range()]),
            id: block.id,
            name: block.name,
        },
        kind: block.kind,
        json: block.span.of(content),
    });
    of_blocks(said.collect(), owners, seed)
}

/// Whether a block of this `type` and `name` is a call that the gateway runs, in whichever words a server has
/// for one. What the upstream runs itself (`server_tool_use`) nobody waits for.
pub fn is_ours(kind: &str, name: &str, owners: &Owners) -> bool {
    const KINDS: [&str; 3] = ["tool_use", "tool_call", "function_call"];
    KINDS.contains(&kind) && owners.of(name, true) == Owner::Gateway
}

struct Said {
    kind: String,
    /// Empty but where it is a call.
    call: Call,
    json: Bytes,
}

fn of_blocks(mut said: Vec<Said>, owners: &Owners, seed: &mut Seed) -> Round {
    let is_ours = |block: &Said| is_ours(&block.kind, &block.call.name, owners);
    let is_call = |block: &Said| block.kind == "tool_use" || is_ours(block);
    let clients = said
        .iter()
        .filter(|block| is_call(block) && !is_ours(block));
    let mut round = Round {
        client_calls: clients.map(|block| block.call.id.clone()).collect(),
        ..Round::default()
    };
    let (mut ours, mut before) = (Vec::new(), 0);
    for block in said.iter_mut().filter(|block| is_call(block)) {
        if !is_ours(block) {
            before += 1;
            continue;
        }
        let input = object(&block.call.arguments);
        let name = owners.ours(&block.call.name).unwrap_or_default();
        let call = Call {
            id: seed.unless(&block.call.id, round.ids()),
            name: name.to_owned(),
            arguments: input
                .clone()
                .unwrap_or_else(|| block.call.arguments.clone()),
        };
        block.json = mended(&block.json, &call, input.as_deref().unwrap_or("{}"));
        round.places.push(before);
        round.calls.push(call);
        ours.push(block.json.clone());
    }
    round.said = match round.client_calls.is_empty() {
        true => {
            let all: Vec<_> = said.into_iter().map(|block| block.json).collect();
            vec![round::turn(&all)]
        }
        // The client repeats the rest.
        false => ours,
    };
    round
}

fn input(block: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Call<'a> {
        #[serde(borrow)]
        input: Option<&'a RawValue>,
        /// As other APIs call it.
        #[serde(borrow)]
        arguments: Option<&'a RawValue>,
    }
    let call = serde_json::from_slice::<Call<'_>>(block);
    let input = call.ok().and_then(|call| call.input.or(call.arguments));
    input.map_or("{}", RawValue::get).to_owned()
}

/// The event under the index that the client counts by.
pub fn shown_as(data: &Bytes, index: Option<u64>, fate: Fate) -> Edit {
    match fate {
        Fate::Held => Edit::Drop,
        Fate::Shown(place) if index == Some(place) => Edit::Pass,
        Fate::Shown(place) => {
            let member = Members::parse(data);
            let at = member.and_then(|members| Some(members.get(data, "index")?.value));
            match at {
                Some(at) => Edit::Replace(replaced(data, at, place.to_string())),
                None => Edit::Pass,
            }
        }
    }
}

/// The text with this at a place.
pub fn replaced(json: &Bytes, at: Span, with: impl Into<Bytes>) -> Bytes {
    let mut splice = Splice::<()>::new(json);
    splice.cut(at.range());
    splice.insert(at.start, Rope::of((), with.into()));
    splice.finish().to_bytes()
}
