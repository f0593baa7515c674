//! Reading a file and taking its TOML apart, with the line of every key.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use figment::value::{Dict, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Fault;

/// Bytes of a configuration or secret file at most: far more than either needs, and a bound for
/// a path that names a device.
const MAX_BYTES: u64 = 1 << 20;

/// What a TOML file holds.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) values: Dict,
    /// Line, counted from 1, of each dotted key; list elements by number (`upstreams.0.name`).
    pub(super) lines: BTreeMap<String, usize>,
    /// Every syntax error; `values` then holds what could still be read.
    pub(super) faults: Vec<Fault>,
}

/// Reads a text file; the mark that some editors put in front of UTF-8 is dropped.
///
/// # Errors
///
/// Says whether it is absent, a directory, unreadable, too large or not UTF-8.
pub(super) fn read(path: &Path) -> Result<String, Fault> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Fault::new(
            path,
            "there is no such file",
            "check the path; a relative one starts at the working directory",
        ),
        io::ErrorKind::IsADirectory => {
            Fault::new(path, "is a directory", "name a file inside of it")
        }
        io::ErrorKind::PermissionDenied => Fault::new(
            path,
            "may not be read",
            "give the user that runs yychat the right to read it",
        ),
        _ => Fault::new(path, format!("cannot be read: {error}"), "check the file"),
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Fault::new(
            path,
            "is larger than 1 MiB",
            "check that the path names the right file",
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        Fault::new(
            path,
            format!("is not UTF-8 from byte {valid} on"),
            "save it as UTF-8",
        )
        .at_line(line_at(error.as_bytes(), valid))
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Takes TOML text apart; syntax errors are collected, and reading goes on behind each.
pub(super) fn parse(path: &Path, text: &str) -> Parsed {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut parsed = Parsed::default();
    for error in errors {
        let mut fault = Fault::new(
            path,
            format!("is not TOML: {}", error.message()),
            "see https://toml.io for how it is written",
        );
        fault.line = error
            .span()
            .map(|span| line_at(text.as_bytes(), span.start));
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

/// The line, counted from 1, in which byte `offset` stands.
fn line_at(text: &[u8], offset: usize) -> usize {
    text[..offset.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}
