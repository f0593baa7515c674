//! Reading a table key by key, so that one pass finds every fault, each with its line.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use secrecy::SecretString;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::Source;
use crate::reading::Unread;
use crate::tools::nearest;
use crate::tools::secrets::Secrets;

/// One table of a manifest. Each getter makes its key known; [`Section::finish`] then finds the
/// keys that nobody asked for.
pub(in crate::tools) struct Section<'a> {
    pub source: &'a Source<'a>,
    /// Where the table begins, in bytes.
    pub at: usize,
    name: String,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

/// A value and where it stands, in bytes.
pub(in crate::tools) struct At<T> {
    pub at: usize,
    pub value: T,
}

type Item<'a> = Spanned<DeValue<'a>>;

impl<'a> Section<'a> {
    pub fn root(source: &'a Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self::new(source, String::new(), 0, table)
    }

    fn new(source: &'a Source<'a>, name: String, at: usize, table: &'a DeTable<'a>) -> Self {
        Self {
            source,
            at,
            name,
            table,
            known: Vec::new(),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Item<'a>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// How a key of this table is named in a fault.
    fn path(&self, key: &str) -> String {
        match self.name.as_str() {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        }
    }

    /// A fault at a key, or at the table where the key is absent.
    pub fn fault(&self, key: &str, what: impl AsRef<str>, mend: impl Into<String>) {
        let at = self
            .table
            .get(key)
            .map_or(self.at, |item| item.span().start);
        let what = format!("`{}` {}", self.path(key), what.as_ref());
        self.source.fault(at, what, mend);
    }

    fn wrong_type(&self, key: &str, found: &DeValue<'_>, wanted: &str) {
        let found = match found.type_str() {
            "string" => "text",
            "array" => "a list",
            "table" => "a table",
            "boolean" => "a switch",
            _ => "a number or a date",
        };
        self.fault(key, format!("is {found}"), format!("give {wanted}"));
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        convert: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let item = self.take(key)?;
        let at = item.span().start;
        match convert(item.get_ref()) {
            Some(value) => Some(At { at, value }),
            None => {
                self.wrong_type(key, item.get_ref(), wanted);
                None
            }
        }
    }

    pub fn text(&mut self, key: &'static str) -> Option<At<&'a str>> {
        self.typed(key, "text in quotes", DeValue::as_str)
    }

    /// Text that may not be absent or empty; what stands in for it is empty.
    pub fn required(&mut self, key: &'static str, example: &str) -> At<&'a str> {
        let absent = self.table.get(key).is_none();
        let found = self.text(key);
        if absent || found.as_ref().is_some_and(|text| text.value.is_empty()) {
            self.fault(key, "is missing or empty", format!("such as {example}"));
        }
        found.unwrap_or(At {
            at: self.at,
            value: "",
        })
    }

    pub fn number(&mut self, key: &'static str, default: u32, bounds: RangeInclusive<u32>) -> u32 {
        let found = self.typed(key, "a whole number", |value| {
            let number = value.as_integer()?;
            u32::from_str_radix(number.as_str(), number.radix()).ok()
        });
        let number = found.map_or(default, |found| found.value);
        if !bounds.contains(&number) {
            let mend = format!("give {} to {}", bounds.start(), bounds.end());
            self.fault(key, format!("is {number}, out of range"), mend);
        }
        number
    }

    /// A list of texts; `None` where the key is absent.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let found = self.typed(key, "a list of texts, such as [\"a\", \"b\"]", |value| {
            let texts = value.as_array()?.iter();
            texts
                .map(|text| text.get_ref().as_str().map(str::to_owned))
                .collect()
        });
        found.map(|found| found.value)
    }

    /// One of a closed set of names.
    pub fn choice<T: Clone, const N: usize>(
        &mut self,
        key: &'static str,
        choices: [(&'static str, T); N],
    ) -> Option<T> {
        let names = choices.each_ref().map(|(name, _)| *name);
        let all = format!("one of \"{}\"", names.join("\", \""));
        let text = self.required(key, &all).value;
        let choice = choices.iter().find(|(name, _)| *name == text);
        if choice.is_none() && !text.is_empty() {
            let mend = match nearest(text, names.iter().copied()) {
                Some(name) => format!("did you mean \"{name}\"?"),
                None => format!("give {all}"),
            };
            self.fault(
                key,
                format!("is {text:?}, which is none of its choices"),
                mend,
            );
        }
        choice.map(|(_, choice)| choice.clone())
    }

    /// The tables of a list such as `[[tools]]`, which may not be absent or empty.
    pub fn required_tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let wanted = format!("a list of tables, such as [[{}]]", self.path(key));
        let Some(found) = self.typed(key, &wanted, DeValue::as_array) else {
            if self.table.get(key).is_none() {
                self.fault(key, "is missing", format!("give {wanted}"));
            }
            return Vec::new();
        };
        if found.value.is_empty() {
            self.fault(key, "is empty", format!("give {wanted}"));
        }
        let mut sections = Vec::new();
        for (index, item) in found.value.iter().enumerate() {
            match item.get_ref().as_table() {
                Some(table) => {
                    let name = format!("{}.{index}", self.path(key));
                    let at = item.span().start;
                    sections.push(Section::new(self.source, name, at, table));
                }
                None => self.wrong_type(key, item.get_ref(), &wanted),
            }
        }
        sections
    }

    /// The table at a key.
    pub fn table(&mut self, key: &'static str) -> Option<Section<'a>> {
        let wanted = format!("a table, such as [{}]", self.path(key));
        let found = self.typed(key, &wanted, DeValue::as_table)?;
        let name = self.path(key);
        Some(Section::new(self.source, name, found.at, found.value))
    }

    /// A table of texts with free names, such as headers.
    pub fn pairs(&mut self, key: &'static str) -> Vec<(&'a str, At<&'a str>)> {
        let Some(section) = self.table(key) else {
            return Vec::new();
        };
        let pairs = section.table.iter().filter_map(|(name, item)| {
            let name: &'a str = name.get_ref();
            match item.get_ref().as_str() {
                Some(value) => {
                    let at = item.span().start;
                    Some((name, At { at, value }))
                }
                None => {
                    section.wrong_type(name, item.get_ref(), "text in quotes");
                    None
                }
            }
        });
        pairs.collect()
    }

    /// A table of secrets, each `{ env = "NAME" }` or `{ file = "path" }`; what is missing is a
    /// fault where the plugin is enabled.
    pub fn secrets(&mut self, key: &'static str) -> Secrets {
        let Some(section) = self.table(key) else {
            return Secrets::default();
        };
        let mut secrets = BTreeMap::new();
        for (name, item) in section.table.iter() {
            let name = name.get_ref();
            let text = match secret(self.source, item.get_ref()) {
                Ok(text) => text,
                Err((what, mend)) => {
                    section.fault(name, what, mend);
                    continue;
                }
            };
            if text.is_none() && self.source.needs_secrets.get() {
                section.fault(
                    name,
                    "is not set or empty",
                    "set the secret where the key says, or write enabled = false",
                );
            }
            secrets.insert(
                name.to_string(),
                SecretString::from(text.unwrap_or_default()),
            );
        }
        secrets.into_iter().collect()
    }

    /// `enabled`: a switch, or `{ env = "NAME" }` for "when that variable is set". Gives whether
    /// it is on, and the variable that it waits for.
    pub fn enabled(&mut self) -> (bool, Option<String>) {
        let Some(item) = self.take("enabled") else {
            return (true, None);
        };
        let value = item.get_ref();
        if let Some(switch) = value.as_bool() {
            return (switch, None);
        }
        let variable = value.as_table().filter(|table| table.len() == 1);
        let variable = variable.and_then(|table| table.get("env")?.get_ref().as_str());
        match variable {
            Some(name) if self.source.variable(name).is_some() => (true, None),
            Some(name) => (false, Some(name.to_owned())),
            None => {
                let wanted = "true, false or { env = \"NAME\" }";
                self.wrong_type("enabled", value, wanted);
                (false, None)
            }
        }
    }

    /// Any value as JSON; a date becomes text.
    pub fn json(&mut self, key: &'static str) -> Option<At<Value>> {
        let item = self.take(key)?;
        Some(At {
            at: item.span().start,
            value: json(item.get_ref()),
        })
    }

    /// Gives a fault for each key that no getter asked for.
    pub fn finish(self) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let mend = match nearest(name, self.known.iter().copied()) {
                Some(known) => format!("did you mean `{}`?", self.path(known)),
                None if self.known.is_empty() => "take it out: nothing is known here".to_owned(),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let what = format!("`{}` is not a known key", self.path(name));
            self.source.fault(key.span().start, what, mend);
        }
    }
}

/// The text of a secret, `None` where it is missing or empty.
fn secret(source: &Source<'_>, value: &DeValue<'_>) -> Result<Option<String>, (String, String)> {
    let one_key = value.as_table().filter(|table| table.len() == 1);
    let text_at = |key: &str| one_key.and_then(|table| table.get(key)?.get_ref().as_str());
    let text = if let Some(name) = text_at("env") {
        source.variable(name).map(str::to_owned)
    } else if let Some(path) = text_at("file") {
        let text = match source.read(Path::new(path)) {
            // The secret is there, and only not whole yet: nothing waits for it.
            Err(Unread::Torn(torn)) => {
                let what = format!("names {path:?}, which {torn}");
                return Err((what, "write that file whole".to_owned()));
            }
            read => read.ok(),
        };
        source.note(text.as_deref().unwrap_or_default().as_bytes());
        text
    } else {
        return Err((
            "does not name one source".to_owned(),
            "write `{ env = \"NAME\" }` or `{ file = \"path\" }`".to_owned(),
        ));
    };
    let text = text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
    if text.iter().any(|text| text.contains(char::is_control)) {
        return Err((
            "holds control characters".to_owned(),
            "check the secret for stray line breaks".to_owned(),
        ));
    }
    Ok(text.filter(|text| !text.is_empty()))
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::from(number.as_str()), Value::from),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map_or_else(|_| Value::from(number.as_str()), Value::from),
        DeValue::Boolean(switch) => Value::from(*switch),
        DeValue::Datetime(moment) => Value::from(moment.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(object(table)),
    }
}

fn object(table: &DeTable<'_>) -> Map<String, Value> {
    let entries = table.iter();
    entries
        .map(|(key, item)| (key.get_ref().to_string(), json(item.get_ref())))
        .collect()
}
