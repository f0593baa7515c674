//! Taking a file's TOML apart, with the line of every key.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::{Dict, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Fault;
use crate::reading::{NoToml, line_at};

/// What a TOML file holds.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) values: Dict,
    /// Line, counted from 1, of each dotted key; list elements by number (`upstreams.0.name`).
    pub(super) lines: BTreeMap<String, usize>,
    /// Every syntax error; `values` then holds what could still be read.
    pub(super) faults: Vec<Fault>,
}

/// Takes TOML text apart; syntax errors are collected, and reading goes on behind each.
pub(super) fn parse(path: &Path, text: &str) -> Parsed {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut parsed = Parsed::default();
    for error in errors {
        let NoToml { at, what, mend } = NoToml::new(&error, text);
        let fault = Fault::new(path, what, mend).at_line(line_at(text.as_bytes(), at));
        parsed.faults.push(fault);
    }
    parsed.values = table_values(table.get_ref(), "", &mut |key, offset| {
        parsed.lines.insert(key, line_at(text.as_bytes(), offset));
    });
    parsed
}

/// The values of a TOML table; `seen` is told each dotted key and its byte offset.
fn table_values(table: &DeTable<'_>, prefix: &str, seen: &mut impl FnMut(String, usize)) -> Dict {
    table
        .iter()
        .map(|(key, item)| {
            let path = format!("{prefix}{}", key.get_ref());
            seen(path.clone(), key.span().start);
            (key.get_ref().to_string(), value(item, &path, seen))
        })
        .collect()
}

/// One TOML value as figment has it.
pub(super) fn value(
    item: &Spanned<DeValue<'_>>,
    path: &str,
    seen: &mut impl FnMut(String, usize),
) -> Value {
    match item.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::from(number.to_string()), Value::from),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map_or_else(|_| Value::from(number.to_string()), Value::from),
        DeValue::Boolean(switch) => Value::from(*switch),
        DeValue::Datetime(moment) => Value::from(moment.to_string()),
        DeValue::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let path = format!("{path}.{index}");
                seen(path.clone(), item.span().start);
                value(item, &path, seen)
            })
            .collect::<Vec<_>>()
            .into(),
        DeValue::Table(table) => Value::from(table_values(table, &format!("{path}."), seen)),
    }
}
