//! Rules as they are written.
//!
//! ```toml
//! [[rules]]
//! name = "my-front-end-title"
//! client = "My front end"
//! user_begins = ["Name this chat:"]
//! history = "none"
//!
//! [words]
//! title = ["otsikko"]
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::HeaderName;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::rule::{Datum, Field, List, Rule, squeezed};
use super::transcript::Transcript;
use crate::error::{Fault, Faults};
use crate::reading::NoToml;

/// Bytes of a rule's name at most.
const MAX_NAME: usize = 64;

/// The name that stands for a request that says so itself.
pub const BY_REQUEST: &str = "request";

const KEYS: &str = "known here: name, client, enabled, begins, user_begins, user_ends, user_contains, \
                    user_is, user_at_most, system_begins, system_contains, header, answer_schema, \
                    answer_members, history, tools, stream, output_at_most, metadata, transcript, words, \
                    user_words, system_words, unless";

/// Lists of words by their names.
pub(super) type Lists = BTreeMap<String, Vec<String>>;

/// A file of rules.
pub(super) struct Document<'a> {
    file: &'a Path,
    text: &'a str,
    table: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    /// What is written in `text`, which is `file`'s, its words added to `lists`.
    pub(super) fn parse(file: &'a Path, text: &'a str, lists: &mut Lists) -> Result<Self, Faults> {
        let mut reader = Reader::new(file, text, lists.clone());
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let NoToml { at, what, mend } = NoToml::new(&error, text);
            reader.fault(at, what, mend);
        }
        reader.named(table.get_ref());
        *lists = reader.lists;
        reader.faults.or(Self { file, text, table })
    }

    /// Its rules, in their order, which may name any of `lists`.
    pub(super) fn rules(&self, lists: &Lists) -> Result<Vec<Rule>, Faults> {
        let mut reader = Reader::new(self.file, self.text, lists.clone());
        let rules = reader.rules(self.table.get_ref());
        reader.faults.or(rules)
    }
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    lists: Lists,
    faults: Faults,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl<'a> Reader<'a> {
    fn new(file: &'a Path, text: &'a str, lists: Lists) -> Self {
        Self {
            file,
            text,
            lists,
            faults: Faults::default(),
        }
    }

    fn fault(&mut self, at: usize, what: impl Into<String>, mend: impl Into<String>) {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let fault = Fault::new(self.file, what, mend).at_line(line);
        self.faults.push(fault);
    }

    /// What a table `[words]` has is added to the lists of those names.
    fn named(&mut self, table: &DeTable<'_>) {
        let Some(DeValue::Table(named)) = table.get("words").map(Spanned::get_ref) else {
            return;
        };
        for (name, value) in named {
            let list = self.list_of_words("words", value);
            let known = self.lists.entry(name.get_ref().to_string()).or_default();
            known.extend(list.words);
        }
    }

    fn rules(&mut self, table: &DeTable<'_>) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        for (key, value) in table {
            let at = key.span().start;
            let list = match value.get_ref() {
                DeValue::Array(list) if key.get_ref() == "rules" => list,
                DeValue::Table(_) if key.get_ref() == "words" => continue,
                _ => {
                    let what = format!("`{}` is not known here", key.get_ref());
                    self.fault(at, what, "write each rule under a line `[[rules]]`");
                    continue;
                }
            };
            for entry in list.iter() {
                let Some(rule) = self.rule(entry) else {
                    continue;
                };
                if rules.iter().any(|other| other.name == rule.name) {
                    let what = format!("another rule is named `{}` too", rule.name);
                    self.fault(entry.span().start, what, "give each a name of its own");
                }
                rules.push(rule);
            }
        }
        rules
    }

    fn rule(&mut self, entry: &Value<'_>) -> Option<Rule> {
        let at = entry.span().start;
        let DeValue::Table(table) = entry.get_ref() else {
            self.fault(
                at,
                "a rule is no table",
                "write it under a line `[[rules]]`",
            );
            return None;
        };
        let mut rule = Rule::default();
        let mut enabled = true;
        for (key, value) in table {
            match &**key.get_ref() {
                "name" => rule.name = self.name(value),
                "client" => rule.client = self.text("client", value).unwrap_or_default(),
                "enabled" => enabled = self.switch("enabled", value).unwrap_or(true),
                "begins" => rule.begins = self.texts("begins", value),
                "user_begins" => rule.user_begins = self.texts("user_begins", value),
                "user_ends" => rule.user_ends = self.texts("user_ends", value),
                "user_is" => rule.user_is = self.texts("user_is", value),
                "user_at_most" => rule.user_at_most = self.count("user_at_most", value),
                "user_contains" => rule.user_contains = self.texts("user_contains", value),
                "system_begins" => rule.system_begins = self.texts("system_begins", value),
                "system_contains" => rule.system_contains = self.texts("system_contains", value),
                "header" => rule.header = self.fields(value),
                "answer_schema" => rule.answer_schema = self.switch("answer_schema", value),
                "answer_members" => rule.answer_members = self.texts("answer_members", value),
                "history" => rule.without_history = self.history(value),
                "tools" => rule.tools = self.switch("tools", value),
                "stream" => rule.stream = self.switch("stream", value),
                "output_at_most" => rule.output_at_most = self.count("output_at_most", value),
                "metadata" => rule.metadata = self.metadata(value),
                "transcript" => match Transcript::parse(value.get_ref()) {
                    Ok(transcript) => rule.transcript = transcript,
                    Err(()) => {
                        let mend = "write true, \"alone\" or \"impersonal\"";
                        self.fault(value.span().start, "`transcript` is no switch", mend);
                    }
                },
                "words" => rule.words = self.words("words", value),
                "user_words" => rule.user_words = self.words("user_words", value),
                "system_words" => rule.system_words = self.words("system_words", value),
                "unless" => rule.unless = self.list_of_words("unless", value),
                unknown => {
                    let what = format!("`{unknown}` is not known in a rule");
                    self.fault(key.span().start, what, KEYS);
                }
            }
        }
        if !table.keys().any(|key| key.get_ref() == "name") {
            self.fault(
                at,
                "a rule has no `name`",
                "name it, as in name = \"my-title\"",
            );
        }
        if !enabled {
            let name = rule.name;
            return Some(Rule {
                name,
                ..Rule::default()
            });
        }
        if rule.is_empty() && self.faults.0.is_empty() {
            let what = format!(
                "`{}` has no condition, so that all would be auxiliary",
                rule.name
            );
            self.fault(
                at,
                what,
                "add one, such as user_begins, or write enabled = false",
            );
        }
        Some(rule)
    }

    /// A name goes into a header and a label.
    fn name(&mut self, value: &Value<'_>) -> Arc<str> {
        let name = self.text("name", value).unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let what = match &*name {
            BY_REQUEST => "`name` is that of requests that say it themselves",
            name if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) => {
                "`name` is no name for a rule"
            }
            _ => return name.into(),
        };
        let mend = format!("give 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`");
        self.fault(value.span().start, what, mend);
        name.into()
    }

    fn text(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            _ => {
                let what = format!("`{key}` is no text");
                self.fault(value.span().start, what, "put it in quotes");
                None
            }
        }
    }

    fn switch(&mut self, key: &str, value: &Value<'_>) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(switch) => Some(*switch),
            _ => {
                let what = format!("`{key}` is no switch");
                self.fault(value.span().start, what, "write true or false");
                None
            }
        }
    }

    fn count(&mut self, key: &str, value: &Value<'_>) -> Option<u64> {
        let count = match value.get_ref() {
            DeValue::Integer(digits) => digits.as_str().parse().ok(),
            _ => None,
        };
        if count.is_none() {
            let what = format!("`{key}` is no count");
            self.fault(value.span().start, what, "write a number, as in 1000");
        }
        count
    }

    /// Lists of words, or one alone.
    fn words(&mut self, key: &str, value: &Value<'_>) -> Vec<List> {
        let is_list = |value: &Value<'_>| matches!(value.get_ref(), DeValue::Array(_));
        match value.get_ref() {
            DeValue::Array(lists) if lists.iter().any(is_list) => {
                let lists = lists.iter();
                lists.map(|list| self.list_of_words(key, list)).collect()
            }
            _ => vec![self.list_of_words(key, value)],
        }
    }

    /// Words in small letters, and those of the lists that it names as `@name`.
    fn list_of_words(&mut self, key: &str, value: &Value<'_>) -> List {
        let mut list = List::default();
        for (at, text) in self.list(key, value) {
            if let Some(name) = text.strip_prefix('@') {
                match self.lists.get(name) {
                    Some(words) => list.words.extend_from_slice(words),
                    None => {
                        let what = format!("`{key}` names the list {name:?}, which is not there");
                        let known: Vec<_> = self.lists.keys().map(String::as_str).collect();
                        let mend =
                            format!("write it under `[words]`; there are {}", known.join(", "));
                        self.fault(at, what, mend);
                    }
                }
            } else {
                let word = self.filled(key, at, &text).to_lowercase();
                // Of a word that is meant whole.
                let blank = if text.ends_with(' ') { " " } else { "" };
                list.words.push(word + blank);
            }
            list.written.push(text);
        }
        list
    }

    fn metadata(&mut self, value: &Value<'_>) -> Vec<Datum> {
        let mut data = Vec::new();
        for (at, text) in self.list("metadata", value) {
            let Some((name, value)) = text.split_once(':') else {
                let what = format!("`metadata` has {text:?}, which names no value");
                self.fault(
                    at,
                    what,
                    "write \"name: value\", or \"name: !value\" for any other",
                );
                continue;
            };
            let (value, is_other) = match value.trim().strip_prefix('!') {
                Some(value) => (value.trim(), true),
                None => (value.trim(), false),
            };
            data.push(Datum {
                name: name.trim().to_owned(),
                value: value.to_owned(),
                is_other,
            });
        }
        data
    }

    fn history(&mut self, value: &Value<'_>) -> bool {
        let is_none = matches!(value.get_ref(), DeValue::String(text) if text == "none");
        if !is_none {
            let at = value.span().start;
            self.fault(
                at,
                "`history` is not \"none\"",
                "write \"none\", or leave it out",
            );
        }
        is_none
    }

    /// A list of texts, or one alone.
    fn list(&mut self, key: &str, value: &Value<'_>) -> Vec<(usize, String)> {
        let one = std::slice::from_ref(value);
        let values = match value.get_ref() {
            DeValue::Array(list) => &list[..],
            _ => one,
        };
        if values.is_empty() {
            let what = format!("`{key}` is an empty list");
            self.fault(value.span().start, what, "give a text, or leave it out");
        }
        let mut texts = Vec::with_capacity(values.len());
        for value in values {
            let text = self.text(key, value);
            texts.extend(text.map(|text| (value.span().start, text)));
        }
        texts
    }

    fn texts(&mut self, key: &str, value: &Value<'_>) -> Vec<String> {
        let texts = self.list(key, value).into_iter();
        texts
            .map(|(at, text)| self.filled(key, at, &text))
            .collect()
    }

    fn filled(&mut self, key: &str, at: usize, text: &str) -> String {
        let text = squeezed(text);
        if text.is_empty() {
            let what = format!("`{key}` has an empty text, which everything has");
            self.fault(at, what, "give some words, or leave it out");
        }
        text
    }

    fn fields(&mut self, value: &Value<'_>) -> Vec<Field> {
        let mut fields = Vec::new();
        for (at, text) in self.list("header", value) {
            let (name, value) = match text.split_once(':') {
                Some((name, value)) => (name, Some(value.trim())),
                None => (&*text, None),
            };
            let beginning = value.and_then(|value| value.strip_suffix('*'));
            match HeaderName::try_from(name.trim()) {
                Ok(name) => fields.push(Field {
                    name,
                    value: beginning.or(value).map(str::to_owned),
                    is_beginning: beginning.is_some(),
                }),
                Err(_) => {
                    let what = format!("`header` has {name:?}, which is no field's name");
                    self.fault(at, what, "write \"x-name\" or \"x-name: value\"");
                }
            }
        }
        fields
    }
}
