//! The content blocks of a message: where they stand, and how they are put together from the events
//! of a stream.

use std::str;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::dialect::calls::Call;
use crate::wire::json::{Scanner, Span};
use crate::wire::object::{MAX_DEPTH, Members, elements};
use crate::wire::splice::{Rope, Splice};

/// A block of a whole message.
#[derive(Debug, Clone)]
pub struct Block {
    pub span: Span,
    /// `type`.
    pub kind: String,
    /// `id`, of a call.
    pub id: String,
    /// `name`, of a call.
    pub name: String,
    /// What it says, or what proves what it thought.
    pub words: String,
}

impl Block {
    /// Whether it is the model's thinking, which is sent back as it came or not at all.
    pub fn is_thinking(&self) -> bool {
        matches!(self.kind.as_str(), "thinking" | "redacted_thinking")
    }

    /// Whether it is the block that a client tells so: what it may add, such as marks for a cache, aside.
    pub fn is(&self, told: &Self) -> bool {
        self.kind == told.kind && self.id == told.id && self.words == told.words
    }
}

/// The blocks of the array that `json` is, each at its place in it.
pub fn blocks(json: &[u8]) -> Vec<Block> {
    let Ok(mut scanner) = Scanner::new(json, MAX_DEPTH) else {
        return Vec::new();
    };
    let read = elements(&mut scanner, |scanner| {
        scanner.peek()?;
        let start = scanner.offset();
        let members = Members::read(json, scanner, |scanner, _| scanner.skip().map(drop))?;
        let end = scanner.offset();
        let text = |name: &str| {
            let member = members.get(json, name);
            let text = member.and_then(|it| serde_json::from_slice(&json[it.value.range()]).ok());
            text.unwrap_or_default()
        };
        Ok(Block {
            span: Span { start, end },
            kind: text("type"),
            id: text("id"),
            name: text("name"),
            words: ["text", "signature", "data"].map(text).concat(),
        })
    });
    read.unwrap_or_default()
}

/// A call as it can go back: as it was said, but for what another API calls it, an id that is another's or none,
/// a name with more around it, and an `input` that is no object.
pub fn mended(block: &Bytes, call: &Call, input: &str) -> Bytes {
    let Some(members) = Members::parse(block) else {
        return block.clone();
    };
    let (id, name) = (json!(call.id).to_string(), json!(call.name).to_string());
    let mut splice = Splice::<()>::new(block);
    let wanted = [
        ("type", r#""tool_use""#),
        ("id", &id),
        ("name", &name),
        ("input", input),
    ];
    for (name, wanted) in wanted {
        match members.get(block, name).map(|member| member.value) {
            Some(value) if block[value.range()].trim_ascii() == wanted.as_bytes() => {}
            Some(value) => {
                splice.cut(value.range());
                splice.insert(value.start, Rope::of((), wanted.to_owned().into()));
            }
            None => {
                let member = format!(",\"{name}\":{wanted}");
                splice.insert(members.tail, Rope::of((), member.into()));
            }
        }
    }
    splice.finish().to_bytes()
}

/// A block that is put together from its start and what is added to it, nothing of it left out.
#[derive(Debug, Clone, Default)]
pub struct Growing {
    members: Vec<(String, Box<RawValue>)>,
    /// The `input` of a call, which comes as pieces of JSON.
    input: String,
}

impl Growing {
    /// Begins with a `content_block`.
    pub fn new(start: &RawValue) -> Self {
        Self {
            members: members(start),
            input: String::new(),
        }
    }

    /// Adds a `delta`: a text is added to the member of its name, and what is no text takes the
    /// place of it.
    pub fn add(&mut self, delta: &RawValue) {
        for (name, value) in members(delta) {
            let text = serde_json::from_str::<String>(value.get());
            match (name.as_str(), text) {
                ("type", _) => {}
                ("partial_json", Ok(text)) => self.input += &text,
                ("citation", _) => self.cite(&value),
                (name, Ok(text)) => {
                    let known = self.text(name);
                    self.set(name, raw(&json!(known + &text)));
                }
                (name, Err(_)) => self.set(name, value),
            }
        }
    }

    /// The text of a member, empty where it has none.
    pub fn text(&self, name: &str) -> String {
        let text = self.get(name);
        let text = text.and_then(|value| serde_json::from_str(value.get()).ok());
        text.unwrap_or_default()
    }

    /// The JSON of a call's `input`, as the model wrote it.
    pub fn arguments(&self) -> String {
        match (
            self.input.trim(),
            self.get("input").or(self.get("arguments")),
        ) {
            ("", Some(input)) => input.get().to_owned(),
            ("", None) => "{}".to_owned(),
            (input, _) => input.to_owned(),
        }
    }

    /// The block as JSON. What a call was given is an object, as it has to be when it goes back.
    pub fn print(mut self) -> Bytes {
        if !self.input.trim().is_empty() {
            let parsed = RawValue::from_string(self.input.clone());
            let object = parsed
                .ok()
                .filter(|value| value.get().trim_start().starts_with('{'));
            let empty = || raw(&json!({}));
            self.set("input", object.unwrap_or_else(empty));
        }
        let mut out = vec![b'{'];
        for (at, (name, value)) in self.members.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            // A text in memory always serializes.
            let _ = serde_json::to_writer(&mut out, name);
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.push(b'}');
        out.into()
    }

    /// Whether it is a text without a word, which no request may have.
    pub fn is_empty_text(&self) -> bool {
        self.text("type") == "text" && self.text("text").is_empty()
    }

    fn cite(&mut self, citation: &RawValue) {
        let known = self.get("citations").map_or("[]", RawValue::get);
        let known: Vec<&RawValue> = serde_json::from_str(known).unwrap_or_default();
        let all: Vec<_> = known.into_iter().chain([citation]).collect();
        let all = serde_json::value::to_raw_value(&all).unwrap_or_default();
        self.set("citations", all);
    }

    fn get(&self, name: &str) -> Option<&RawValue> {
        let found = self.members.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value)
    }

    fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.members.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.to_owned(), value)),
        }
    }
}

/// The members of an object, in its order; anything else has none.
fn members(object: &RawValue) -> Vec<(String, Box<RawValue>)> {
    let json = object.get().as_bytes();
    let found = Members::parse(json).unwrap_or_default();
    let members = found.iter().filter_map(|member| {
        let value = str::from_utf8(&json[member.value.range()]).ok()?;
        let value = RawValue::from_string(value.to_owned()).ok()?;
        Some((member.key.decode(json).into_owned(), value))
    });
    members.collect()
}

/// A value in memory always serializes.
fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_default()
}
