//! What is added to a request.

use bytes::Bytes;
use serde::Serialize;

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
    /// Whole messages, as JSON, that follow all others: the turns of a tool loop.
    pub extra_messages: Vec<Bytes>,
    /// The chat template takes one system message, at the head. Instructions then join the
    /// client's, and memory at the tail joins the last user message.
    pub strict_roles: bool,
    /// Whole messages that the client left out of its history, each before the message of that
    /// index.
    pub restored: Vec<(usize, Bytes)>,
    /// Whether the client's `tool_choice` is taken out: one that asks for a call has had it, and
    /// would ask for another without end.
    pub free_choice: bool,
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
    /// caller's to leave out ([`super::Request::tool_names`]).
    Add(Vec<Bytes>),
    /// `tools`, `tool_choice` and `parallel_tool_calls` are taken out.
    Drop,
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
}
