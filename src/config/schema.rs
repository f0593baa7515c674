//! The JSON Schema of `yychat.toml`, for editors: its shape from the types that serde reads, what
//! values may be from what validation asks of them, and its words from the shipped file's comments.

use std::collections::BTreeMap;
use std::path::Path;

use figment::Figment;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::check::{Asked, Check};
use super::extract::{Places, known_keys};
use super::raw::{self, Raw};
use super::{DEFAULT_FILE, file, validate};
use crate::error::Faults;
use crate::reading::Reading;
use crate::shipped;

/// The schema, of draft 7, which editors of TOML know.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let generated = settings.into_generator().into_root_schema_for::<Raw>();
    let mut schema = generated.to_value();
    tidy(&mut schema);
    schema["title"] = "yychat.toml".into();
    for (key, asked) in asked() {
        if let Some(node) = at(&mut schema, &key) {
            apply(asked, node);
        }
    }
    require(&mut schema);
    for (key, words) in words() {
        if let Some(node) = at(&mut schema, &key) {
            node.insert("description".to_owned(), words.into());
        }
    }
    schema
}

/// TOML has no null, and what a table of defaults says is said by its keys.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(node) => {
            if let Some(Value::Array(types)) = node.get_mut("type") {
                types.retain(|it| it != "null");
                if let [only] = &types[..] {
                    node["type"] = only.clone();
                }
            }
            if let Some(Value::Array(choices)) = node.get_mut("anyOf") {
                choices.retain(|it| it != &json!({ "type": "null" }));
                if let [only] = &choices[..] {
                    let only = only.clone();
                    node.remove("anyOf");
                    node.extend(only.as_object().into_iter().flatten().map(owned));
                }
            }
            // Ours are whole numbers and fractions, which `type` says.
            node.remove("format");
            if matches!(node.get("default"), Some(Value::Null | Value::Object(_))) {
                node.remove("default");
            }
            for inner in ["items", "anyOf"] {
                node.get_mut(inner).into_iter().for_each(tidy);
            }
            // These are names of keys, of which one may be `format`.
            if let Some(Value::Object(properties)) = node.get_mut("properties") {
                properties.values_mut().for_each(tidy);
            }
        }
        _ => {}
    }
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// What validation asks of each key, found by having it validate one of each; what is needed, by what it
/// asks where nothing is given.
fn asked() -> Vec<(String, Asked)> {
    let mut example = Raw::example();
    if let Some(embedding) = &mut example.memory.embedding {
        // Beside `base_url` it is a fault, and nothing more is asked.
        embedding.model_dir = None;
    }
    let mut nothing = Raw::default();
    nothing.upstreams.push(raw::Upstream::default());
    nothing.auth.keys.push(raw::Key::default());
    let is_needed = |(_, asked): &(String, Asked)| matches!(asked, Asked::Needed);
    let mut asked = asked_of(&example);
    asked.retain(|it| !is_needed(it));
    asked.extend(asked_of(&nothing).into_iter().filter(is_needed));
    asked
}

fn asked_of(raw: &Raw) -> Vec<(String, Asked)> {
    let mut places = Places::new(Figment::new(), None, BTreeMap::new());
    let mut check = Check {
        places: &mut places,
        environment: &BTreeMap::new(),
        reading: &Reading::default(),
        faults: Faults::default(),
        warnings: Vec::new(),
        asked: Vec::new(),
    };
    validate::validate(raw, &mut check);
    check.asked
}

fn apply(asked: Asked, node: &mut Map<String, Value>) {
    match asked {
        Asked::Choice(names) => {
            node.insert("enum".to_owned(), names.into());
        }
        Asked::Whole(bounds) => {
            let sizes = node.get_mut("anyOf").and_then(Value::as_array_mut);
            let number = sizes.and_then(|sizes| sizes.first_mut()?.as_object_mut());
            let number = match number {
                Some(number) => number,
                None => node,
            };
            number.insert("minimum".to_owned(), (*bounds.start()).into());
            number.insert("maximum".to_owned(), (*bounds.end()).into());
        }
        // Known of the key that it is asked of; the table has to hold it.
        Asked::Needed => {
            node.insert("x-needed".to_owned(), true.into());
        }
    }
}

/// Moves what keys say of themselves to where JSON Schema has it.
fn require(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else {
        return;
    };
    let mut needed = Vec::new();
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            let own = property.as_object_mut();
            let is_needed = own.is_some_and(|own| {
                let default = own.get("default");
                let has_none = default.is_none_or(|default| default == "");
                own.remove("x-needed").is_some() && has_none
            });
            if is_needed {
                needed.push(Value::from(name.as_str()));
            }
            require(property);
        }
    }
    if let Some(items) = node.get_mut("items") {
        require(items);
    }
    if !needed.is_empty() {
        node.insert("required".to_owned(), needed.into());
    }
}

/// The schema of a dotted key; a number stands for the elements of a list.
fn at<'a>(schema: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let mut node = schema;
    for part in key.split('.') {
        node = match part.parse::<usize>() {
            Ok(_) => node.get_mut("items")?,
            Err(_) => node.get_mut("properties")?.get_mut(part)?,
        };
    }
    node.as_object_mut()
}

/// What the shipped file says above each key and section.
fn words() -> Vec<(String, String)> {
    let text = shipped_text();
    let lines: Vec<_> = text.lines().collect();
    let parsed = file::parse(Path::new(DEFAULT_FILE), &text);
    let said = parsed.lines.into_iter().filter_map(|(key, line)| {
        let above = lines.get(..line.checked_sub(1)?)?.iter().rev();
        let mut comment: Vec<_> = above.map_while(|line| line.strip_prefix("# ")).collect();
        comment.reverse();
        (!comment.is_empty()).then(|| (key, comment.join(" ")))
    });
    let known = known_keys();
    let within = |key: &String| known.iter().any(|known| known.starts_with(key.as_str()));
    said.filter(|(key, _)| within(key)).collect()
}

/// The shipped file, its optional keys (`#key`, without a space) taken in.
pub(super) fn shipped_text() -> String {
    let files = shipped::FILES.iter();
    let text = files.filter_map(|(path, text)| (*path == DEFAULT_FILE).then_some(*text));
    let lines = text.flat_map(str::lines).map(|line| {
        let key = line.strip_prefix('#');
        let begins = |key: &&str| key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
        key.filter(begins).unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}
