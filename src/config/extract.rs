//! From merged layers to [`Raw`], with every misfit recorded.
//!
//! serde stops at its first error. So each error becomes a fault, the value that it names is taken
//! out, and extraction starts again until nothing errs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use figment::error::{Actual, Kind};
use figment::value::{Dict, Tag, Value};
use figment::{Figment, Source};
use serde::Deserialize;

use super::layers::{ENVIRONMENT, FILE};
use super::raw::Raw;
use crate::error::Fault;

/// How alike two names are, from 0 to 1, for one to be offered in place of the other.
const ALIKE: f64 = 0.7;

/// Knows for each key where its value was written, and makes the faults that say so.
pub(super) struct Places {
    figment: Figment,
    values: Value,
    file: Option<PathBuf>,
    lines: BTreeMap<String, usize>,
    /// Keys that have a fault already: what follows from it need not be said.
    faulty: BTreeSet<String>,
}

impl Places {
    pub(super) fn new(
        figment: Figment,
        file: Option<PathBuf>,
        lines: BTreeMap<String, usize>,
    ) -> Self {
        let values = figment
            .extract::<Dict>()
            .map_or_else(|_| Value::from(Dict::new()), Value::from);
        Self {
            figment,
            values,
            file,
            lines,
            faulty: BTreeSet::new(),
        }
    }

    /// A fault at a key, or `None` where the key, or one that it stands in, has one already.
    pub(super) fn fault(&mut self, key: &str, what: &str, mend: &str) -> Option<Fault> {
        if self.faulty.iter().any(|faulty| within(key, faulty)) {
            return None;
        }
        self.faulty.insert(key.to_owned());
        Some(self.remark(key, what, mend))
    }

    /// A fault or warning at a key; leads to where the key, or else what it stands in, was written.
    pub(super) fn remark(&self, key: &str, what: &str, mend: &str) -> Fault {
        let (written, tag) = self.nearest(key);
        let metadata = tag.and_then(|tag| self.figment.get_metadata(tag));
        let kind = metadata.map_or(FILE, |metadata| &metadata.name);
        let what = match metadata.and_then(|metadata| metadata.source.as_ref()) {
            Some(Source::Custom(variable)) if kind == ENVIRONMENT => {
                let by = if written == key { "set by" } else { "beside" };
                format!("`{key}`, {by} {variable}, {what}")
            }
            _ => format!("`{key}` {what}"),
        };
        match &self.file {
            Some(path) if kind == FILE => {
                let mut fault = Fault::new(path, what, mend);
                fault.line = self.lines.get(written).copied();
                fault
            }
            None if kind == FILE => Fault::new("defaults", what, mend),
            _ => Fault::new(kind, what, mend),
        }
    }

    /// The key, or else the nearest that it stands in, that has a value, and its layer's tag.
    fn nearest<'a>(&self, key: &'a str) -> (&'a str, Option<Tag>) {
        let mut written = key;
        loop {
            if let Some(value) = find(&self.values, written) {
                return (written, Some(value.tag()));
            }
            match written.rsplit_once('.') {
                Some((outer, _)) => written = outer,
                None => return (written, None),
            }
        }
    }

    /// Whether a key's value came as text, from a variable or the command line.
    fn is_text(&self, key: &str) -> bool {
        let (_, tag) = self.nearest(key);
        tag.and_then(|tag| self.figment.get_metadata(tag))
            .is_some_and(|metadata| metadata.name != FILE)
    }

    /// Whether a section, or anything in it, has a fault.
    pub(super) fn has_fault_in(&self, section: &str) -> bool {
        self.faulty.iter().any(|key| within(key, section))
    }
}

/// The value at a dotted key; figment's own search does not enter lists.
fn find<'a>(values: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(values, |value, part| match value {
        Value::Dict(_, table) => table.get(part),
        Value::Array(_, items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Whether a dotted key is `outer` or stands in it.
fn within(key: &str, outer: &str) -> bool {
    key.strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Reads all that fits, and gives a fault for all that does not.
pub(super) fn extract(places: &mut Places) -> (Raw, Vec<Fault>) {
    let mut values = places.values.clone();
    let mut faults = Vec::new();
    loop {
        let error = match Raw::deserialize(&values) {
            Ok(raw) => return (raw, faults),
            Err(error) => error,
        };
        let key = error.path.join(".");
        if let Kind::InvalidType(Actual::Str(text), expected) = &error.kind
            && places.is_text(&key)
            && let Some(value) = retype(text, expected)
            && replace(&mut values, &error.path, Some(value))
        {
            continue;
        }
        let (what, mend) = describe(&error.kind, &key);
        faults.extend(places.fault(&key, &what, &mend));
        if !take_out(&mut values, &error.path) {
            return (Raw::default(), faults);
        }
    }
}

/// Takes the value at `path` out of the way; whether there was one.
fn take_out(values: &mut Value, path: &[String]) -> bool {
    // The other elements of a list keep their numbers: an empty table, which fits where tables are
    // wanted, stands in for one of them. Where even that does not fit, the list goes.
    let is_table = matches!(find(values, &path.join(".")), Some(Value::Dict(..)));
    replace(values, path, None)
        || (!is_table && replace(values, path, Some(Value::from(Dict::new()))))
        || path
            .split_last()
            .is_some_and(|(_, list)| replace(values, list, None))
}

/// Text from a variable as what its key wants.
fn retype(text: &str, expected: &str) -> Option<Value> {
    let value = Value::from(text.trim());
    if expected == "a boolean" {
        value.to_bool_lossy().map(Value::from)
    } else if expected == "f64" {
        text.trim().parse::<f64>().ok().map(Value::from)
    } else {
        text.trim().parse::<u64>().ok().map(Value::from)
    }
}

/// Puts `new` in the place of the value at `path`, or takes that out; whether there was one.
fn replace(values: &mut Value, path: &[String], new: Option<Value>) -> bool {
    let Some((head, rest)) = path.split_first() else {
        return new.map(|new| *values = new).is_some();
    };
    match values {
        Value::Dict(_, table) if rest.is_empty() && new.is_none() => table.remove(head).is_some(),
        Value::Dict(_, table) => table
            .get_mut(head)
            .is_some_and(|inner| replace(inner, rest, new)),
        Value::Array(_, items) => head
            .parse::<usize>()
            .ok()
            .and_then(|index| items.get_mut(index))
            .is_some_and(|inner| replace(inner, rest, new)),
        _ => false,
    }
}

/// What is wrong at a key, and the mend. Values are left out: they may be secret.
fn describe(kind: &Kind, key: &str) -> (String, String) {
    match kind {
        Kind::UnknownField(name, siblings) => (
            "is not a known key".to_owned(),
            nearest_key(name, key, siblings),
        ),
        Kind::InvalidType(Actual::Map, expected) if expected == "a sequence" => (
            "is a table, expected a list of them".to_owned(),
            format!("write `[[{key}]]` in the file, and count variables from 0: `…__0__…`"),
        ),
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => (
            format!("is {}, expected {}", found(actual), wanted(expected)),
            example(key),
        ),
        Kind::Message(message) => (format!("does not fit: {message}"), example(key)),
        other => (format!("does not fit: {other}"), example(key)),
    }
}

fn found(actual: &Actual) -> String {
    match actual {
        Actual::Bool(switch) => format!("`{switch}`"),
        Actual::Unsigned(number) => format!("the number {number}"),
        Actual::Signed(number) => format!("the number {number}"),
        Actual::Float(number) => format!("the number {number}"),
        Actual::Map => "a table".to_owned(),
        Actual::Seq => "a list".to_owned(),
        Actual::Str(_) => "text".to_owned(),
        other => other.to_string(),
    }
}

/// serde's name of an expected type in an operator's words.
fn wanted(expected: &str) -> &str {
    match expected {
        "u64" => "a whole number, 0 or more",
        "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a string" => "text in quotes",
        "a sequence" => "a list",
        struct_name if struct_name.starts_with("struct ") => "a table",
        other => other,
    }
}

/// The known key that was meant: one here that is a letter away, of the same name in another section,
/// or else the most alike here.
fn nearest_key(name: &str, key: &str, siblings: &[&str]) -> String {
    let slips = |sibling: &&&str| strsim::levenshtein(name, sibling) == 1;
    if let Some(sibling) = siblings.iter().find(slips) {
        return format!("did you mean `{sibling}`?");
    }
    let in_list = key.split('.').any(is_index);
    let keys = known_keys();
    let elsewhere = keys
        .iter()
        .find(|known| !in_list && known.rsplit('.').next() == Some(name));
    if let Some(known) = elsewhere {
        return format!("did you mean `{known}`?");
    }
    match nearest(name, siblings.iter().copied()) {
        Some(sibling) => format!("did you mean `{sibling}`?"),
        None => format!("known here: {}", siblings.join(", ")),
    }
}

/// The candidate that is most like `name`, if one is alike enough to be meant.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// How a key is written, by its default.
pub(super) fn example(key: &str) -> String {
    let table = example_table();
    let path: Vec<_> = key.split('.').collect();
    match (key.rsplit('.').next(), example_at(&table, &path)) {
        (Some(last), Some(value)) if is_index(last) => format!("write it as in `[{value}]`"),
        (Some(name), Some(value)) => format!("write it as in `{name} = {value}`"),
        _ => "see conf/yychat.toml for how it is written".to_owned(),
    }
}

/// The value at `path`; of a list, the first element that has one stands for all.
fn example_at<'a>(value: &'a toml::Value, path: &[&str]) -> Option<&'a toml::Value> {
    let Some((head, rest)) = path.split_first() else {
        return Some(value);
    };
    match value {
        toml::Value::Array(items) => items.iter().find_map(|item| example_at(item, rest)),
        other => example_at(other.get(head)?, rest),
    }
}

fn is_index(part: &str) -> bool {
    part.parse::<usize>().is_ok()
}

fn example_table() -> toml::Value {
    toml::Value::try_from(Raw::example()).unwrap_or(toml::Value::Boolean(false))
}

/// Every key there is, dotted; a list's first element stands for all of them.
pub(super) fn known_keys() -> Vec<String> {
    fn walk(prefix: &str, value: &toml::Value, keys: &mut Vec<String>) {
        let is_secret = |table: &toml::Table| table.contains_key("env");
        match value {
            toml::Value::Table(table) if !is_secret(table) => {
                for (name, inner) in table {
                    let dot = if prefix.is_empty() { "" } else { "." };
                    walk(&format!("{prefix}{dot}{name}"), inner, keys);
                }
            }
            toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
                for (index, inner) in items.iter().enumerate() {
                    walk(&format!("{prefix}.{index}"), inner, keys);
                }
            }
            _ => keys.push(prefix.to_owned()),
        }
    }
    let mut keys = Vec::new();
    walk("", &example_table(), &mut keys);
    keys
}
