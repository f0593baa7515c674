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
mod glance;
mod load;
mod rule;
mod signs;
#[cfg(test)]
mod tests;
mod transcript;
mod words;

use std::cell::OnceCell;
use std::path::Path;

use http::{HeaderMap, HeaderName};

use beginnings::Beginnings;
use glance::Glance;
pub use load::BY_REQUEST;
use load::Document;
pub use rule::Rule;
use rule::squeezed;
use transcript::{Told, Transcript};
use words::{Asked, Lists, MOST_LISTS, Wanted, Words};

use crate::error::{Fault, Faults};
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
    /// The words that rules look for; and of each rule what it needs, and which of them.
    words: Words,
    wanted: Vec<(Glance, Asking)>,
}

/// The words that a rule looks for: of whoever asks, of the user and of the system.
#[derive(Debug, Clone, Default)]
struct Asking {
    any: Wanted,
    user: Wanted,
    system: Wanted,
}

/// A request as rules look at it.
pub struct Subject<'a> {
    pub headers: &'a HeaderMap,
    /// The texts of the last user message.
    pub user: Vec<Literal<'a>>,
    /// The texts of the system messages before the first of the others …
    pub leading: Vec<Literal<'a>>,
    /// … and of those after the last.
    pub trailing: Vec<Literal<'a>>,
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
    /// The members that its answer has to have, or the arguments of the one tool that it brings.
    pub answer_members: &'a dyn Fn() -> Vec<String>,
    pub seen: Seen,
}

/// What is made of a request's texts when a rule asks for it.
#[derive(Default)]
pub struct Seen {
    user: OnceCell<Asked>,
    leading: OnceCell<Asked>,
    trailing: OnceCell<Asked>,
    transcript: OnceCell<Told>,
}

impl<'a> Subject<'a> {
    fn system(&self) -> impl Iterator<Item = &Literal<'a>> {
        self.leading.iter().chain(&self.trailing)
    }

    /// Whether what a rule looks for is asked, by those that it looks at.
    fn asks(&self, words: &Words, asking: &Asking) -> bool {
        let seen = &self.seen;
        let user = || seen.user.get_or_init(|| words.read(&self.user));
        let leading = || seen.leading.get_or_init(|| words.read(&self.leading));
        let trailing = || seen.trailing.get_or_init(|| words.read(&self.trailing));
        // What stands before a conversation is for all of it, and an agent's speaks of much.
        let is_first = !self.has_history && !self.brings_tools;
        let Asking {
            any,
            user: by_user,
            system: by_system,
        } = asking;
        (by_user.is_empty() || user().has(by_user))
            && (by_system.is_empty() || leading().has(by_system) || trailing().has(by_system))
            && (any.is_empty()
                || user().has(any)
                || trailing().has(any)
                || (is_first && leading().has(any)))
    }

    /// Whether all that the user said is one of these.
    fn user_is(&self, wanted: &[String]) -> bool {
        let longest = wanted.iter().map(String::len).max().unwrap_or_default();
        // Ends of sentences and blanks come on top.
        self.user_has(longest as u64 + 8) && {
            let said: String = self.user.iter().map(Literal::decode).collect();
            let said = said.trim().to_lowercase();
            let words = said.trim_end_matches(['.', '!', '?', '。', '！', '？', ' ']);
            wanted.iter().any(|it| *it == said || it == words)
        }
    }

    /// Whether that has so many bytes at most.
    fn user_has(&self, at_most: u64) -> bool {
        let bytes: usize = self.user.iter().map(Literal::len).sum();
        bytes as u64 <= at_most
    }

    fn tells(&self, transcript: Transcript) -> bool {
        let told = || Told::of(self.user.iter().map(Literal::decode));
        transcript.holds(*self.seen.transcript.get_or_init(told))
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
        let mut lists = load::Lists::default();
        let shipped = Document::parse(Path::new("shipped.toml"), SHIPPED, &mut lists)?;
        let own = Document::parse(file, text, &mut lists)?;
        let mut rules = own.rules(&lists)?;
        let mut shipped = shipped.rules(&lists)?;
        shipped.retain(|rule| rules.iter().all(|own| own.name != rule.name));
        shipped.iter_mut().for_each(|rule| rule.is_shipped = true);
        rules.append(&mut shipped);
        rules.retain(|rule| !rule.is_empty());
        let mut lists = Lists::default();
        let wanted = rules.iter().map(|rule| {
            let asking = Asking {
                any: lists.wanted(&rule.words, &rule.unless),
                user: lists.wanted(&rule.user_words, &rule.unless),
                system: lists.wanted(&rule.system_words, &rule.unless),
            };
            (Glance::of_rule(rule), asking)
        });
        let wanted = wanted.collect();
        let words = lists.words().ok_or_else(|| {
            let what = format!("rules look for words of more than {MOST_LISTS} lists");
            let mend = "name lists under `[words]`, and let rules share them";
            Faults(vec![Fault::new(file, what, mend)])
        })?;
        let begins = rules.iter().flat_map(|rule| {
            let texts = rule.begins.iter().chain(&rule.user_begins);
            texts.chain(&rule.system_begins).cloned()
        });
        let fields = rules.iter().flat_map(|rule| &rule.header);
        Ok(Self {
            beginnings: Beginnings::new(begins),
            words,
            wanted,
            fields: fields.map(|field| field.name.clone()).collect(),
            rules,
        })
    }

    /// The first rule that holds for a request.
    pub fn judge(&self, subject: &Subject<'_>) -> Option<&Rule> {
        let user = self.beginnings.of(subject.user.iter());
        let system = self.beginnings.of(subject.system());
        let mut names = subject.headers.keys();
        let has_field = names.any(|name| self.fields.contains(name));
        let glance = Glance::of_request(subject, has_field, (&user, &system));
        let mut rules = self.wanted.iter().zip(&self.rules);
        let found = rules.find(|((needs, asking), rule)| {
            needs.is_in(glance)
                && rule.holds(subject, &user, &system)
                && subject.asks(&self.words, asking)
                // All of the text is read for it, so it comes last.
                && rule.transcript.is_none_or(|it| subject.tells(it))
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
