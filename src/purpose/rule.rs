//! One rule: what makes a request auxiliary.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use serde::Serialize;

use super::Subject;
use super::transcript::Transcript;
use crate::wire::json::Literal;

/// What makes a request auxiliary: all of its conditions together. An empty list is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rule {
    /// Also a label of metrics.
    pub name: Arc<str>,
    /// Whose requests they are, for people.
    pub client: String,
    /// Whether it comes with the gateway.
    pub is_shipped: bool,
    /// A text of the last user message, or of the system messages before the first and after the last of
    /// the others, begins with one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) begins: Vec<String>,
    /// One of the last user message does …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) user_begins: Vec<String>,
    /// … or ends so …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) user_ends: Vec<String>,
    /// … and one holds one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) user_contains: Vec<String>,
    /// The last user message is one of these, in small letters and without what ends a sentence …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) user_is: Vec<String>,
    /// … or has so many bytes at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_at_most: Option<u64>,
    /// The same of the system messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) system_begins: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) system_contains: Vec<String>,
    /// One of these fields is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) header: Vec<Field>,
    /// Whether the answer has to fit a schema; `None`: either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answer_schema: Option<bool>,
    /// What the answer has to have is among these alone, in small letters and digits: the members of its
    /// schema, or of the arguments of the one tool that the client brings and that has to be called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) answer_members: Vec<String>,
    /// Nothing has been answered before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) without_history: bool,
    /// Whether the client brings tools; `None`: either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tools: Option<bool>,
    /// Whether the answer is streamed; one that does not say fits neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream: Option<bool>,
    /// The answer may have so many tokens at most, and the request says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_at_most: Option<u64>,
    /// One of these stands in what the request says of itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) metadata: Vec<Datum>,
    /// The last user message tells a conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transcript: Option<Transcript>,
    /// In small letters: of each list a word stands in one sentence of what is asked for, of the last in
    /// that or beside it. Asked for is it by the last user message, by system messages behind it, and, where
    /// the model has not answered and has no tools, by those before …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) words: Vec<List>,
    /// … by the last user message alone …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) user_words: Vec<List>,
    /// … or by system messages alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) system_words: Vec<List>,
    /// In a sentence with one of these those words are something else.
    #[serde(skip_serializing_if = "List::is_empty")]
    pub(super) unless: List,
}

/// Words of which one is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct List {
    /// In small letters.
    pub(super) words: Vec<String>,
    /// As the rule has them, lists by their names.
    pub(super) written: Vec<String>,
}

/// A member of a request's `metadata`, or of what Codex calls its turn's, with that value or with any
/// other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Datum {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) is_other: bool,
}

/// A header field with any value but an empty one, or with that value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: HeaderName,
    pub(super) value: Option<String>,
    /// Whether that is what the value begins with.
    pub(super) is_beginning: bool,
}

impl Rule {
    /// All but what is told [at a glance](super::glance), and what words and whole texts have to be read for.
    /// `user` and `system` are what of all that rules look for the texts begin with.
    pub(super) fn holds(&self, subject: &Subject<'_>, user: &[&str], system: &[&str]) -> bool {
        (self.header.is_empty() || self.header.iter().any(|it| it.holds(subject.headers)))
            && self
                .output_at_most
                .is_none_or(|most| subject.output_limit.is_some_and(|limit| limit <= most))
            && (begins(user, &self.begins) || begins(system, &self.begins))
            && begins(user, &self.user_begins)
            && begins(system, &self.system_begins)
            && (self.user_is.is_empty() || subject.user_is(&self.user_is))
            && self.user_at_most.is_none_or(|most| subject.user_has(most))
            && ends(&subject.user, &self.user_ends)
            && (self.metadata.is_empty() || self.metadata.iter().any(|it| it.holds(subject)))
            && (self.answer_members.is_empty() || self.fits(&(subject.answer_members)()))
            && contains(subject.user.iter(), &self.user_contains)
            && contains(subject.system(), &self.system_contains)
    }

    fn fits(&self, members: &[String]) -> bool {
        let plain = |name: &String| -> String {
            let letters = name.chars().filter(|c| c.is_alphanumeric());
            letters.flat_map(char::to_lowercase).collect()
        };
        let mut names = members.iter().map(plain);
        !members.is_empty() && names.all(|name| self.answer_members.contains(&name))
    }

    /// Whether it asks for words of the user's alone, and these are such.
    pub(super) fn is_held_by(&self, words: &str) -> bool {
        let begins = [&self.begins, &self.user_begins];
        let contains = &self.user_contains;
        let asks_for_words = begins.iter().any(|it| !it.is_empty()) || !contains.is_empty();
        let is_said = asks_for_words
            && begins
                .iter()
                .all(|begins| begins.is_empty() || begins.iter().any(|it| words.starts_with(it)))
            && (contains.is_empty() || contains.iter().any(|it| words.contains(it)));
        // Few come so far.
        is_said && {
            let rest = Self {
                begins: Vec::new(),
                user_begins: Vec::new(),
                user_contains: Vec::new(),
                ..self.clone()
            };
            rest.is_empty()
        }
    }

    /// Whether it has no condition, which puts it out of force.
    pub(super) fn is_empty(&self) -> bool {
        let none = Self {
            name: self.name.clone(),
            client: self.client.clone(),
            is_shipped: self.is_shipped,
            unless: self.unless.clone(),
            ..Self::default()
        };
        *self == none
    }
}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

impl Serialize for List {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

impl Field {
    fn holds(&self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(&self.name).iter();
        let mut values = values.map(|value| value.as_bytes().trim_ascii());
        values.any(|value| match &self.value {
            None => !value.is_empty(),
            Some(wanted) => match self.is_beginning {
                true => {
                    let value = value.get(..wanted.len());
                    value.is_some_and(|value| value.eq_ignore_ascii_case(wanted.as_bytes()))
                }
                false => value.eq_ignore_ascii_case(wanted.as_bytes()),
            },
        })
    }
}

impl Datum {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        let value = (subject.metadata)(&self.name);
        value.is_some_and(|value| (value == self.value) != self.is_other)
    }
}

impl Serialize for Datum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let not = if self.is_other { "!" } else { "" };
        serializer.collect_str(&format_args!("{}: {not}{}", self.name, self.value))
    }
}

impl Serialize for Field {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            None => serializer.serialize_str(self.name.as_str()),
            Some(value) => {
                let rest = if self.is_beginning { "*" } else { "" };
                serializer.collect_str(&format_args!("{}: {value}{rest}", self.name))
            }
        }
    }
}

fn begins(with: &[&str], wanted: &[String]) -> bool {
    wanted.is_empty() || with.iter().any(|text| wanted.iter().any(|it| it == text))
}

fn ends(texts: &[Literal<'_>], wanted: &[String]) -> bool {
    wanted.is_empty() || {
        let mut texts = texts.iter();
        texts.any(|text| {
            text.may_end_with(wanted) && {
                let text = text.decode();
                let text = text.trim_end();
                wanted.iter().any(|it| text.ends_with(it))
            }
        })
    }
}

fn contains<'a>(mut texts: impl Iterator<Item = &'a Literal<'a>>, wanted: &[String]) -> bool {
    wanted.is_empty()
        || texts.any(|text| {
            let words = wanted.iter().map(|it| it.split(' '));
            let longest = words.filter_map(|words| words.max_by_key(|word| word.len()));
            // Spares the reading of what is long.
            if !text.may_hold(longest) {
                return false;
            }
            let text = squeezed(&text.decode());
            wanted.iter().any(|wanted| text.contains(wanted))
        })
}

/// A text without white space in front, every other run of it being one blank: templates are edited,
/// and copied from one system to another.
pub(super) fn squeezed(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !squeezed.is_empty() {
            squeezed.push(' ');
        }
        squeezed.push_str(word);
    }
    squeezed
}
