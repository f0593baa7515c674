//! What is added to a request, and the body that comes of it.

mod place;
mod splice;

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use super::escaped::Escaped;
use super::request::ChatRequest;

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
    /// caller's to leave out ([`ChatRequest::tool_names`]).
    Add(Vec<Bytes>),
    /// `tools`, `tool_choice` and `parallel_tool_calls` are taken out.
    Drop,
}

/// A body ready to be sent: pieces of the client's bytes, shared, and what was put between.
#[derive(Debug, Clone, Default)]
pub struct Composed {
    /// The body, in order. See [`coalesce`] for fewer and larger ones.
    pub pieces: Vec<Bytes>,
    /// Sum of the pieces' lengths: the exact `Content-Length`.
    pub length: usize,
    /// What was put in, in order, without overlap.
    pub insertions: Vec<Insertion>,
    /// What was taken out: ranges of the client's body, in order, without overlap.
    pub cuts: Vec<Range<usize>>,
}

impl Composed {
    /// The whole body in one piece; copies it unless it already is one.
    pub fn to_bytes(&self) -> Bytes {
        match &self.pieces[..] {
            [whole] => whole.clone(),
            pieces => pieces.concat().into(),
        }
    }
}

/// A run of bytes that the client did not send there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Insertion {
    /// Range of the composed body, with the JSON around the text where that is ours too.
    pub at: Range<usize>,
    /// Why it is there.
    pub source: Source,
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

/// The body to send for `request` with `injection`, YYChat's own fields taken out.
///
/// With nothing to put in or take out, the one piece is the client's `Bytes`.
pub fn compose(request: &ChatRequest, injection: &Injection) -> Composed {
    place::place(request, injection).finish()
}

/// Copies neighbouring pieces together until each holds `least` bytes or more, the last one
/// excepted; a piece that large by itself is passed on without a copy when nothing small is
/// waiting before it.
pub fn coalesce(pieces: impl IntoIterator<Item = Bytes>, least: usize) -> Vec<Bytes> {
    let pieces: Vec<_> = pieces.into_iter().collect();
    let small = pieces
        .iter()
        .map(Bytes::len)
        .filter(|&length| length < least);
    let mut waiting = BytesMut::with_capacity(small.sum::<usize>().min(2 * least));
    let mut joined = Vec::new();
    for piece in pieces {
        if piece.len() >= least {
            if !waiting.is_empty() {
                joined.push(waiting.split().freeze());
            }
            joined.push(piece);
            continue;
        }
        waiting.extend_from_slice(&piece);
        if waiting.len() >= least {
            joined.push(waiting.split().freeze());
        }
    }
    if !waiting.is_empty() {
        joined.push(waiting.freeze());
    }
    joined
}
