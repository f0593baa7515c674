//! What was said so far, in whatever API it is told.

use crate::wire::json::{Container, Span, Text};

/// A request's history.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// In order.
    pub messages: Vec<Message>,
    pub begins: Begins,
}

/// Where a conversation's beginning is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Begins {
    /// The request tells all of it.
    #[default]
    Here,
    /// The upstream keeps it, and the request only goes on with it.
    AtUpstream,
}

/// One entry of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The whole entry.
    pub span: Span,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// Whether it asks for tool calls.
    pub has_tool_calls: bool,
}

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    /// It brings what a tool gave.
    Tool,
    /// The older form of the same.
    Function,
    /// One that the gateway does not know.
    Other,
}

impl Role {
    /// From its spelling, which all APIs share.
    pub fn parse(name: &[u8]) -> Self {
        match name {
            b"system" => Self::System,
            b"developer" => Self::Developer,
            b"user" => Self::User,
            b"assistant" => Self::Assistant,
            b"tool" => Self::Tool,
            b"function" => Self::Function,
            _ => Self::Other,
        }
    }

    /// Whether it gives instructions: what OpenAI calls `developer` in newer models is `system`.
    pub fn is_system(self) -> bool {
        matches!(self, Self::System | Self::Developer)
    }
}

/// `content` of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// No such member.
    Absent,
    /// The span of the `null`.
    Null(Span),
    /// A string.
    Text(Text),
    /// An array of parts: text, images, audio.
    Parts {
        /// The array.
        array: Container,
        /// The `text` of each part that has one.
        texts: Vec<Text>,
    },
}

impl Content {
    /// The string literals that hold its text.
    pub fn texts(&self) -> &[Text] {
        match self {
            Self::Absent | Self::Null(_) => &[],
            Self::Text(text) => std::slice::from_ref(text),
            Self::Parts { texts, .. } => texts,
        }
    }
}
