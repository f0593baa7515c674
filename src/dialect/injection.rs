//! What is added to a request.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::calls::Round;
use crate::wire::json::Span;
use crate::wire::{Escaped, splice};

/// A body ready to be sent.
pub type Composed = splice::Spliced<Source>;

/// A run of bytes that the client did not send there.
pub type Insertion = splice::Insertion<Source>;

/// Everything that one request gains or loses on its way to an upstream.
#[derive(Debug, Clone, Default)]
pub struct Injection {
    /// Who the assistant is.
    pub persona: Option<Persona>,
    /// What is remembered.
    pub memory: Option<MemoryText>,
    /// Blocks of memory that stand where earlier requests had them, each before the user message of
    /// that index.
    pub earlier: Vec<(usize, Escaped)>,
    /// Instructions that stand after the conversation.
    pub post_history: Option<Escaped>,
    /// The gateway's tools.
    pub tools: ToolOffer,
    /// Whole items of the conversation, as JSON, that follow all others: the rounds of a tool loop.
    pub follow_up: Vec<Bytes>,
    /// The chat template takes one system message, at the head. Instructions then join the
    /// client's, and memory at the tail joins the last user message.
    pub strict_roles: bool,
    /// What the gateway's tools gave in turns that the client tells its own part of.
    pub restored: Vec<Restored>,
    /// The response that the request goes on from, as the upstream knows it, where the client was
    /// told another id.
    pub goes_on_from: Option<String>,
    /// A stream is to tell what it costs, where the client does not ask for that.
    pub usage: bool,
    /// What of the model's name is the gateway's and is taken out.
    pub model_suffix: Option<Span>,
}

/// A personality's text and its place.
#[derive(Debug, Clone)]
pub struct Persona {
    /// Read one after the other, with nothing between.
    pub fragments: Vec<Fragment>,
    /// Its place against the client's leading system and developer messages.
    pub mode: PersonaMode,
}

/// A run of a persona's text.
#[derive(Debug, Clone)]
pub enum Fragment {
    /// The persona's own text.
    Text(Escaped),
    /// An entry of its lore book.
    Book(Escaped),
    /// The text of the client's leading system messages, which then stands here alone.
    Original,
}

/// Where a persona stands against the client's own leading system messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonaMode {
    /// Before them.
    Prepend,
    /// After them.
    Append,
    /// In their place.
    Replace,
}

/// Recalled memory and its place.
#[derive(Debug, Clone)]
pub struct MemoryText {
    /// The whole block, delimiters included.
    pub text: Escaped,
    /// Where it goes.
    pub placement: Placement,
}

/// Where memory stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Just before the last user message, or at the end where there is none.
    Tail,
    /// At the end of the leading system message: the persona's, else the client's, else its own.
    Head,
}

/// What becomes of a request's tools.
#[derive(Debug, Clone, Default)]
pub enum ToolOffer {
    /// They stay as the client sent them.
    #[default]
    Keep,
    /// These entries, as JSON, follow the client's own. Names that the client uses too are the
    /// caller's to leave out ([`super::request::Options::tool_names`]).
    Add(Vec<Bytes>),
    /// The same, but none may be called any more: what was called needs its tools to be there.
    Close(Vec<Bytes>),
}

/// The gateway's part of a turn in which both sides had calls.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The message that the client tells of the turn.
    pub at: usize,
    /// Items that stand before it.
    pub before: Vec<Bytes>,
    pub round: Round,
    /// What the gateway's calls gave, in their order.
    pub results: Vec<String>,
}

impl Restored {
    /// In place of a message's index: the turn is the upstream's to tell, and lacks results alone.
    pub const UPSTREAM: usize = usize::MAX;
}

/// A tool of the gateway's, in no API's words.
#[derive(Debug, Clone, Copy)]
pub struct ToolSpec<'a> {
    pub name: &'a str,
    pub description: &'a str,
    /// A JSON Schema.
    pub parameters: &'a RawValue,
}

/// Where inserted bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Persona,
    /// The persona's lore book.
    Book,
    /// The client's own system text, moved into the persona.
    Original,
    Memory,
    PostHistory,
    /// Schemas of the gateway's tools.
    Tools,
    /// A message of the tool loop.
    ToolTurn,
    /// That a stream tells its usage, which a budget needs.
    Usage,
}
