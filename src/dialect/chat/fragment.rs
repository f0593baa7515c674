//! What one event says of a call.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// An entry of `tool_calls`, or the older `function_call`.
#[derive(Debug, Default)]
pub struct Fragment {
    pub index: Option<u64>,
    pub id: String,
    /// Whether it may be a call of a function, which all of the gateway's are.
    pub is_function: bool,
    pub name: String,
    pub arguments: String,
    /// Its other members.
    pub rest: Vec<(String, Box<RawValue>)>,
    /// Those of its `function`.
    pub function: Vec<(String, Box<RawValue>)>,
}

impl Fragment {
    /// Reads a `function_call`, or the `function` of an entry; `None` where it is no object.
    pub fn of_function(json: &[u8]) -> Option<Self> {
        // Some write it as JSON within a text.
        let inner = serde_json::from_slice::<String>(json);
        let members: Ordered = match &inner {
            Ok(inner) => serde_json::from_str(inner).ok()?,
            Err(_) => serde_json::from_slice(json).ok()?,
        };
        let mut fragment = Self {
            is_function: true,
            ..Self::default()
        };
        for (name, value) in members.0 {
            match name.as_str() {
                "name" => fragment.name = text(&value),
                "arguments" => fragment.arguments = text(&value),
                // As the schema of the tool has it, in the words of some models.
                "parameters" if fragment.arguments.is_empty() => {
                    fragment.arguments = text(&value);
                }
                _ => fragment.function.push((name, value)),
            }
        }
        Some(fragment)
    }

    /// Reads an entry; `None` where it is no object.
    pub fn read(json: &[u8]) -> Option<Self> {
        let members: Ordered = serde_json::from_slice(json).ok()?;
        let mut fragment = Self {
            is_function: true,
            ..Self::default()
        };
        for (name, value) in members.0 {
            match name.as_str() {
                "index" => fragment.index = text(&value).parse().ok(),
                "id" => fragment.id = text(&value),
                "type" => {
                    let kind = text(&value);
                    fragment.is_function = is_function(&kind);
                    // What is one under another name goes back under its own.
                    if kind == "function" || !fragment.is_function {
                        fragment.rest.push((name, value));
                    }
                }
                "function" => {
                    if let Some(function) = Self::of_function(value.get().as_bytes()) {
                        fragment.name = function.name;
                        fragment.arguments = function.arguments;
                        fragment.function = function.function;
                    }
                }
                // Some leave the object around them out, as Responses do.
                "name" if fragment.name.is_empty() => fragment.name = text(&value),
                "arguments" if fragment.arguments.is_empty() => {
                    fragment.arguments = text(&value);
                }
                _ => fragment.rest.push((name, value)),
            }
        }
        Some(fragment)
    }
}

/// Whether a call of this `type` is one of a function.
fn is_function(kind: &str) -> bool {
    const OTHERS: [&str; 4] = ["function_call", "tool_call", "tool_use", "tool"];
    kind.is_empty() || kind.eq_ignore_ascii_case("function") || OTHERS.contains(&kind)
}

/// An object's members as they are written.
struct Ordered(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Ordered(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A string's text; what else there is as JSON, a null as nothing.
fn text(json: &RawValue) -> String {
    match serde_json::from_str(json.get()) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) => String::new(),
        _ => json.get().to_owned(),
    }
}
