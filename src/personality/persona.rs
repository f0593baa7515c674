//! A compiled persona, and what a request makes of it.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::book::{Book, BookHit, History};
use super::layout::{Layout, PostHistory};
use crate::dialect::Fragment;
use crate::wire::Escaped;

/// One persona, compiled.
#[derive(Debug)]
pub struct Persona {
    /// Unique in its folder; 1 to 128 bytes without control characters and slashes.
    pub id: String,
    /// For showing.
    pub name: String,
    /// The file that it came from, for faults that show only later, such as an unknown tool.
    pub origin: PathBuf,
    /// Which kind of file that is.
    pub format: Format,
    /// `None`: every tool. Empty: none. A card has them in `extensions.yychat.allowed_tools`.
    pub allowed_tools: Option<Vec<AllowedTool>>,
    /// The file's own object (a card's `data`), unknown keys included.
    pub(super) source: Map<String, Value>,
    pub(super) prompt: Layout,
    pub(super) post_history: PostHistory,
    pub(super) book: Option<Book>,
}

/// The format of a persona's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// YYChat's JSON, or TOML of the same shape.
    Yychat,
    /// Character Card V2.
    CharaCardV2,
    /// Character Card V3.
    CharaCardV3,
}

/// One entry of `allowed_tools`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AllowedTool {
    /// The tool's name; whether there is such a tool is for the loader of tools to say.
    pub tool_name: String,
    /// What the persona is told of it; may be empty.
    pub description: String,
}

/// What a request tells a persona.
pub struct AssembleContext<'a> {
    /// Stands in the place of `{{user}}`; without one it is `User`.
    pub user_name: Option<&'a str>,
    /// The conversation so far. Only a persona with a book reads it.
    pub history: &'a dyn History,
}

/// What is spliced into a request for a persona.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// The persona's text; [`Fragment::Original`] stands where a card writes `{{original}}`.
    pub fragments: Vec<Fragment>,
    /// What a card wants after the conversation.
    pub post_history: Option<Escaped>,
    /// The book's entries in it, by their insertion order.
    pub book: Vec<BookHit>,
}

impl Persona {
    /// The persona's text for one request. Where it neither names a user nor has a matching book
    /// entry, this only clones what is ready.
    pub fn assemble(&self, context: &AssembleContext<'_>) -> Assembled {
        let user_name = context.user_name.filter(|name| !name.is_empty());
        let hits = match &self.book {
            Some(book) => book.scan(context.history),
            None => Vec::new(),
        };
        Assembled {
            fragments: self.prompt.assemble(user_name, &hits),
            post_history: self.post_history.assemble(user_name, &hits),
            book: hits.iter().map(BookHit::from).collect(),
        }
    }

    /// What `GET /v1/personalities` shows: `{id, object, name, format, allowed_tools}`, the last
    /// null where every tool is allowed.
    pub fn summary(&self) -> Value {
        Value::Object(self.summary_fields())
    }

    /// What `GET /v1/personalities/{id}` shows: the file's own keys (of a card those in `data`, its
    /// greetings among them) under those of [`Persona::summary`].
    pub fn detail(&self) -> Value {
        let mut detail = self.source.clone();
        detail.extend(self.summary_fields());
        Value::Object(detail)
    }

    fn summary_fields(&self) -> Map<String, Value> {
        Map::from_iter([
            ("id".to_owned(), json!(self.id)),
            ("object".to_owned(), json!("personality")),
            ("name".to_owned(), json!(self.name)),
            ("format".to_owned(), json!(self.format)),
            ("allowed_tools".to_owned(), json!(self.allowed_tools)),
        ])
    }
}
