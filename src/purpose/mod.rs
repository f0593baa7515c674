//! What a request is for: a chat, or an errand that a front end runs for itself.
//!
//! Front ends ask the model for titles, tags, search queries and summaries, agents send others of
//! their kind, all in the user's name and with nothing that marks them. Rules know them by what
//! their templates begin with, by the system prompts of title generators, by headers that name a
//! sub-agent; and where the words are others, by what such a request looks like: it tells a
//! conversation, says what is wanted of it and how short, brings no tools and has no history. They are
//! data: those that are shipped, and an operator's own before them.
//!
//! A rule looks at what the user said last alone, so that one who happens to write such words loses
//! one turn of memory and no more.

mod beginnings;
mod first_words;
mod load;
mod signs;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use serde::Serialize;

use beginnings::Beginnings;
use first_words::{FirstWords, Instructions};
pub use load::BY_REQUEST;

use crate::error::Faults;
use crate::reading::Reading;
use crate::wire::json::Literal;

/// The rules that come with the gateway.
const SHIPPED: &str = include_str!("shipped.toml");

/// The rules in force, in the order in which they are tried.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    /// What a message may have to begin with, for whatever rule.
    beginnings: Beginnings,
    /// The header fields that rules look for.
    fields: Vec<HeaderName>,
    /// The first lists of words, of the user's and of the system's.
    first_words: [FirstWords; 2],
}

/// What makes a request auxiliary: all of its conditions together. An empty list is none.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rule {
    /// Also a label of metrics.
    pub name: Arc<str>,
    /// Whose requests they are, for people.
    pub client: String,
    /// Whether it comes with the gateway.
    pub is_shipped: bool,
    /// A text of the last user message begins with one of these …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user_begins: Vec<String>,
    /// … and one holds one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user_contains: Vec<String>,
    /// The same of the system messages before the first and after the last of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system_begins: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system_contains: Vec<String>,
    /// One of these fields is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    header: Vec<Field>,
    /// Whether the answer has to fit a schema; `None`: either.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_schema: Option<bool>,
    /// Nothing has been answered before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    without_history: bool,
    /// Whether the client brings tools; `None`: either.
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<bool>,
    /// Whether the answer is streamed; one that does not say fits neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    /// The answer may have so many tokens at most, and the request says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_at_most: Option<u64>,
    /// One of these stands in what the request says of itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metadata: Vec<Datum>,
    /// The last user message tells a conversation.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    transcript: bool,
    /// In small letters: of each list one stands in one sentence of what the last user message asks for,
    /// of the last in that or beside it …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user_words: Vec<Vec<String>>,
    /// … or where the system messages do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system_words: Vec<Vec<String>>,
}

/// A member of a request's `metadata`, or of what Codex calls its turn's, with that value or with any
/// other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Datum {
    name: String,
    value: String,
    is_other: bool,
}

/// A header field with any value but an empty one, or with that value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: HeaderName,
    value: Option<String>,
    /// Whether that is what the value begins with.
    is_beginning: bool,
}

/// A request as rules look at it.
pub struct Subject<'a> {
    pub headers: &'a HeaderMap,
    /// The texts of the last user message.
    pub user: Vec<Literal<'a>>,
    /// The texts of the system messages before the first and after the last of the others.
    pub system: Vec<Literal<'a>>,
    /// Whether the model has answered before.
    pub has_history: bool,
    /// Whether the answer has to fit a schema.
    pub has_answer_schema: bool,
    /// Whether the client brings tools of its own.
    pub brings_tools: bool,
    /// Whether the answer is to be streamed, where it says so.
    pub stream: Option<bool>,
    /// How many tokens it may have, where it says so.
    pub output_limit: Option<u64>,
    /// A text in what it says of itself, by name.
    pub metadata: &'a dyn Fn(&str) -> Option<String>,
    pub seen: Seen,
}

/// What is made of a request's texts when a rule asks for it.
#[derive(Default)]
pub struct Seen {
    user: OnceCell<Instructions>,
    system: OnceCell<Instructions>,
    transcript: OnceCell<bool>,
}

/// Whose texts.
#[derive(Clone, Copy)]
enum Of {
    User,
    System,
}

impl Subject<'_> {
    /// Whether the user, or the system, asks in these words, which are those of the rule of that place.
    fn asks(&self, of: Of, at: usize, words: &[Vec<String>], first: &FirstWords) -> bool {
        let (seen, texts) = match of {
            Of::User => (&self.seen.user, &self.user),
            Of::System => (&self.seen.system, &self.system),
        };
        words.is_empty() || seen.get_or_init(|| first.read(texts)).has(at, words)
    }

    fn tells_conversation(&self) -> bool {
        *self.seen.transcript.get_or_init(|| {
            let mut texts = self.user.iter();
            texts.any(|text| signs::tells_conversation(&text.decode()))
        })
    }
}

impl Rules {
    /// The rules of `file`, where there is one, before those that are shipped. One that has a
    /// shipped rule's name takes its place.
    ///
    /// # Errors
    ///
    /// Every fault of the file, with its line.
    pub fn load(file: &Path, reading: &Reading) -> Result<Self, Faults> {
        let text = reading.optional(file);
        let text = text.map_err(|unread| unread.fault(file))?;
        Self::read(file, &text.unwrap_or_default())
    }

    fn read(file: &Path, text: &str) -> Result<Self, Faults> {
        let mut rules = load::parse(file, text)?;
        let mut shipped = load::parse(Path::new("shipped.toml"), SHIPPED)?;
        shipped.retain(|rule| rules.iter().all(|own| own.name != rule.name));
        shipped.iter_mut().for_each(|rule| rule.is_shipped = true);
        rules.append(&mut shipped);
        rules.retain(|rule| !rule.is_empty());
        let begins = rules.iter().flat_map(|rule| {
            let texts = rule.user_begins.iter().chain(&rule.system_begins);
            texts.cloned()
        });
        let fields = rules.iter().flat_map(|rule| &rule.header);
        Ok(Self {
            beginnings: Beginnings::new(begins),
            first_words: [
                FirstWords::new(rules.iter().map(|rule| &*rule.user_words)),
                FirstWords::new(rules.iter().map(|rule| &*rule.system_words)),
            ],
            fields: fields.map(|field| field.name.clone()).collect(),
            rules,
        })
    }

    /// The first rule that holds for a request.
    pub fn judge(&self, subject: &Subject<'_>) -> Option<&Rule> {
        let user = self.beginnings.of(&subject.user);
        let system = self.beginnings.of(&subject.system);
        let mut names = subject.headers.keys();
        let has_field = names.any(|name| self.fields.contains(name));
        let rules = self.rules.iter().enumerate();
        let mut rules = rules.filter(|(_, it)| has_field || it.header.is_empty());
        let [first_user, first_system] = &self.first_words;
        let found = rules.find(|(at, rule)| {
            rule.holds(subject, &user, &system)
                && subject.asks(Of::User, *at, &rule.user_words, first_user)
                && subject.asks(Of::System, *at, &rule.system_words, first_system)
                // All of the text is read for it, so it comes last.
                && (!rule.transcript || subject.tells_conversation())
        });
        found.map(|(_, rule)| rule)
    }

    /// The first rule that a message of the user's holds by its words alone, whatever came with it.
    pub fn of_words(&self, text: &str) -> Option<&Rule> {
        let words = squeezed(text);
        let mut rules = self.rules.iter();
        rules.find(|rule| rule.is_held_by(&words))
    }

    /// All of them, in the order in which they are tried.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules.iter()
    }
}

impl Rule {
    /// All but what the whole texts have to be read for. `user` and `system` are what of all that rules
    /// look for the texts begin with.
    fn holds(&self, subject: &Subject<'_>, user: &[&str], system: &[&str]) -> bool {
        let schema = self.answer_schema;
        (self.header.is_empty() || self.header.iter().any(|it| it.holds(subject.headers)))
            && !(self.without_history && subject.has_history)
            && schema.is_none_or(|wanted| wanted == subject.has_answer_schema)
            && self
                .tools
                .is_none_or(|wanted| wanted == subject.brings_tools)
            && self
                .stream
                .is_none_or(|wanted| subject.stream == Some(wanted))
            && self
                .output_at_most
                .is_none_or(|most| subject.output_limit.is_some_and(|limit| limit <= most))
            && (self.metadata.is_empty() || self.metadata.iter().any(|it| it.holds(subject)))
            && begins(user, &self.user_begins)
            && begins(system, &self.system_begins)
            && contains(&subject.user, &self.user_contains)
            && contains(&subject.system, &self.system_contains)
    }

    /// Whether it asks for words of the user's alone, and these are such.
    fn is_held_by(&self, words: &str) -> bool {
        let (begins, contains) = (&self.user_begins, &self.user_contains);
        let asks_for_words = !begins.is_empty() || !contains.is_empty();
        let is_said = asks_for_words
            && (begins.is_empty() || begins.iter().any(|it| words.starts_with(it)))
            && (contains.is_empty() || contains.iter().any(|it| words.contains(it)));
        // Few come so far.
        is_said && {
            let rest = Self {
                user_begins: Vec::new(),
                user_contains: Vec::new(),
                ..self.clone()
            };
            rest.is_empty()
        }
    }

    /// Whether it has no condition, which puts it out of force.
    fn is_empty(&self) -> bool {
        self.user_begins.is_empty()
            && self.user_contains.is_empty()
            && self.system_begins.is_empty()
            && self.system_contains.is_empty()
            && self.header.is_empty()
            && self.answer_schema.is_none()
            && !self.without_history
            && self.tools.is_none()
            && self.stream.is_none()
            && self.output_at_most.is_none()
            && self.metadata.is_empty()
            && !self.transcript
            && self.user_words.is_empty()
            && self.system_words.is_empty()
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

fn contains(texts: &[Literal<'_>], wanted: &[String]) -> bool {
    wanted.is_empty() || {
        let mut texts = texts.iter();
        texts.any(|text| {
            let first = |wanted: &String| {
                let word = wanted.split(' ').next();
                word.is_some_and(|word| text.may_hold(word))
            };
            // Spares the reading of what is long.
            if !wanted.iter().any(first) {
                return false;
            }
            let text = squeezed(&text.decode());
            wanted.iter().any(|wanted| text.contains(wanted))
        })
    }
}

/// A text without white space in front, every other run of it being one blank: templates are edited,
/// and copied from one system to another.
fn squeezed(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !squeezed.is_empty() {
            squeezed.push(' ');
        }
        squeezed.push_str(word);
    }
    squeezed
}
