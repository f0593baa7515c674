//! What a model said, put together from its deltas so that it can be told again: members that are
//! not known here included, since an upstream may refuse a turn without them (a signature of its
//! thoughts, say).

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// An object that comes in pieces, its members in the order in which they began.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said(Vec<(String, Part)>);

/// A member, so far.
#[derive(Debug, Clone)]
enum Part {
    /// A text, which grows.
    Text(String),
    /// Anything else: as it was written, until more of it comes.
    Raw(Box<RawValue>),
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Raw(a), Self::Raw(b)) => a.get() == b.get(),
            _ => false,
        }
    }
}

/// Texts that are names of something and not its content: said again, they say the same.
const NAMES: [&str; 8] = [
    "role",
    "type",
    "id",
    "name",
    "index",
    "format",
    "object",
    "signature",
];

impl Said {
    /// Adds a piece of the member `name`. A null says nothing.
    pub fn add(&mut self, name: &str, json: &RawValue) {
        if json.get() == "null" {
            return;
        }
        let text = || serde_json::from_str::<String>(json.get()).ok();
        let Some((_, part)) = self.0.iter_mut().find(|(known, _)| known == name) else {
            let part = text().map_or_else(|| Part::Raw(json.to_owned()), Part::Text);
            self.0.push((name.to_owned(), part));
            return;
        };
        match (&mut *part, text()) {
            (Part::Text(whole), Some(more)) if NAMES.contains(&name) => {
                if !more.is_empty() {
                    *whole = more;
                }
            }
            (Part::Text(whole), Some(more)) => whole.push_str(&more),
            (_, Some(more)) => *part = Part::Text(more),
            (Part::Raw(known), None) => {
                let both = serde_json::from_str::<Value>(known.get()).ok();
                let both = both.zip(serde_json::from_str(json.get()).ok());
                if let Some((mut whole, more)) = both {
                    join(&mut whole, more);
                    *known = to_raw_value(&whole).unwrap_or_else(|_| json.to_owned());
                }
            }
            (Part::Text(_), None) => *part = Part::Raw(json.to_owned()),
        }
    }

    /// Says the member `name` anew. A null says nothing.
    pub fn set(&mut self, name: &str, json: &RawValue) {
        if json.get() != "null" {
            self.0.retain(|(known, _)| known != name);
            self.0.push((name.to_owned(), Part::Raw(json.to_owned())));
        }
    }

    /// Adds to a text.
    pub fn add_text(&mut self, name: &str, more: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, Part::Text(whole))) => whole.push_str(more),
            Some((_, part)) => *part = Part::Text(more.to_owned()),
            None => self.0.push((name.to_owned(), Part::Text(more.to_owned()))),
        }
    }

    /// The members as JSON. Texts in which nothing was said are left out.
    pub fn members(&self) -> impl Iterator<Item = (&str, Box<RawValue>)> {
        self.0.iter().filter_map(|(name, part)| {
            let json = match part {
                Part::Text(text) if text.is_empty() => return None,
                Part::Text(text) => to_raw_value(text).ok()?,
                Part::Raw(raw) => raw.clone(),
            };
            Some((name.as_str(), json))
        })
    }

    /// The same as values.
    pub fn object(&self) -> Map<String, Value> {
        let values = self.members().filter_map(|(name, json)| {
            let value = serde_json::from_str(json.get()).ok()?;
            Some((name.to_owned(), value))
        });
        values.collect()
    }
}

/// Adds a later piece to an earlier one: texts go on, members and numbered elements go on each by
/// itself, everything else is said anew.
fn join(whole: &mut Value, more: Value) {
    match (whole, more) {
        (Value::Object(whole), Value::Object(more)) => {
            for (name, value) in more {
                join_member(whole, name, value);
            }
        }
        (Value::Array(whole), Value::Array(more)) => {
            for element in more {
                let index = element
                    .get("index")
                    .cloned()
                    .filter(|index| !index.is_null());
                let known = index.and_then(|index| {
                    let mut whole = whole.iter_mut();
                    whole.find(|known| known.get("index") == Some(&index))
                });
                match known {
                    Some(known) => join(known, element),
                    None => whole.push(element),
                }
            }
        }
        (_, Value::Null) => {}
        (whole, more) => *whole = more,
    }
}

fn join_member(whole: &mut Map<String, Value>, name: String, more: Value) {
    match (whole.get_mut(&name), more) {
        (Some(Value::String(known)), Value::String(more)) => match NAMES.contains(&name.as_str()) {
            true if more.is_empty() => {}
            true => *known = more,
            false => known.push_str(&more),
        },
        (Some(known), more) => join(known, more),
        (None, more) => {
            whole.insert(name, more);
        }
    }
}
