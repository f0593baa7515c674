//! A chat request: the client's bytes, checked, with the places in them that matter.

mod field;
mod read;

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) use self::field::Field;
use crate::error::ApiError;
use crate::wire::json::{Container, Span, Text};

/// The body of a `POST /v1/chat/completions`, valid JSON throughout.
///
/// It holds offsets; a text is decoded when it is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    body: Bytes,
    /// Every top-level member that the gateway knows, in the body's order.
    members: Vec<Member>,
    /// The `messages` array.
    pub(super) list: Container,
    messages: Vec<Message>,
    pub(super) fields: Fields,
}

/// The other top-level members that the gateway reads; absent and null are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    model: Option<Text>,
    stream: Option<bool>,
    pub tools: Tools,
    tool_choice: Option<Span>,
    functions: Option<Container>,
    personality_id: Option<Text>,
    use_tools: Option<bool>,
    memory: Option<MemoryUse>,
    choices: Option<Span>,
}

/// One entry of `messages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The object, braces included.
    pub span: Span,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// Whether it asks for tool calls (`tool_calls` with an entry, or the older `function_call`).
    pub has_tool_calls: bool,
}

/// `role` of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    Function,
    /// One that the gateway does not know.
    Other,
}

impl Role {
    fn parse(name: &[u8]) -> Self {
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

/// What a request may ask of memory: the `memory` field and the `X-YYChat-Memory` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryUse {
    /// Recall and save.
    Full,
    /// Recall only.
    Readonly,
    /// Neither.
    Off,
}

impl MemoryUse {
    /// From its spelling in a request; `None` for any other.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "full" => Some(Self::Full),
            "readonly" => Some(Self::Readonly),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

/// The `tools` member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tools {
    #[default]
    Absent,
    Null(Span),
    List(Container),
}

/// A top-level member that the gateway knows, and its neighbourhood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub field: Field,
    /// How many members stand before it, known or not.
    pub index: usize,
    /// End of the value before it, or of the opening brace.
    pub before: usize,
    /// From the key's opening quote to the end of the value.
    pub span: Span,
    pub value: Span,
    /// Start of the next key; of the last member, its own end.
    pub after: usize,
}

impl Request {
    /// Checks `body` and finds what matters in it. JSON may nest `max_depth` deep.
    ///
    /// # Errors
    ///
    /// 400 when the body is not one JSON object in UTF-8 with a `messages` array of objects; when
    /// a field that the gateway acts upon has the wrong type, is there twice (an upstream may read
    /// the other one), or is spelled in another case (an upstream may not mind, as Go's
    /// `encoding/json` does not). Every other field may be anything.
    pub fn parse(body: Bytes, max_depth: usize) -> Result<Self, ApiError> {
        read::read(body, max_depth).map_err(|error| *error)
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// `model`; `None` leaves the choice to the upstream.
    pub fn model(&self) -> Option<Cow<'_, str>> {
        self.decode(self.fields.model)
    }

    /// Where `model` has what stands from its last `@` on.
    pub fn model_suffix(&self) -> Option<Span> {
        self.fields.model?.last_at(&self.body)
    }

    /// `stream`, false where absent.
    pub fn stream(&self) -> bool {
        self.fields.stream.unwrap_or(false)
    }

    /// The raw JSON of a top-level member that the gateway knows, such as `user`; the last one
    /// where there are several, as most readers of JSON have it.
    pub fn member(&self, name: &str) -> Option<&[u8]> {
        let field = Field::parse(name.as_bytes())?;
        let mut members = self.members.iter().rev();
        let found = members.find(|member| member.field == field)?;
        Some(&self.body[found.value.range()])
    }

    /// `personality_id`.
    pub fn personality_id(&self) -> Option<Cow<'_, str>> {
        self.decode(self.fields.personality_id)
    }

    /// `use_tools`; `None` leaves it to the configuration.
    pub fn use_tools(&self) -> Option<bool> {
        self.fields.use_tools
    }

    /// `memory`; `None` means full use.
    pub fn memory(&self) -> Option<MemoryUse> {
        self.fields.memory
    }

    /// `messages`, in order.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The text of a message of this request, parts joined by newlines; empty where it has none.
    pub fn text(&self, message: &Message) -> Cow<'_, str> {
        match message.content.texts() {
            [] => Cow::Borrowed(""),
            [text] => text.decode(&self.body),
            texts => {
                let parts: Vec<_> = texts.iter().map(|text| text.decode(&self.body)).collect();
                Cow::Owned(parts.join("\n"))
            }
        }
    }

    /// Index of the last user message.
    pub fn last_user(&self) -> Option<usize> {
        self.messages.iter().rposition(|m| m.role == Role::User)
    }

    /// The calls that the request brings results of: the index of the assistant's message that
    /// asks for it, and the call's id. A result that follows no such message is left out.
    pub fn answered_calls(&self) -> Vec<(usize, String)> {
        #[derive(Deserialize)]
        struct ToolResult {
            tool_call_id: Option<String>,
        }
        let mut turn = None;
        let mut answered = Vec::new();
        for (index, message) in self.messages.iter().enumerate() {
            match message.role {
                Role::Assistant => turn = message.has_tool_calls.then_some(index),
                Role::Tool => {
                    let result = serde_json::from_slice(&self.body[message.span.range()]);
                    let id = result
                        .ok()
                        .and_then(|result: ToolResult| result.tool_call_id);
                    answered.extend(turn.zip(id));
                }
                _ => turn = None,
            }
        }
        answered
    }

    /// How many system or developer messages the request begins with.
    pub fn leading_system(&self) -> usize {
        let is_system = |message: &&Message| message.role.is_system();
        self.messages.iter().take_while(is_system).count()
    }

    /// The raw JSON of `tool_choice`, such as `"none"` with its quotes.
    pub fn tool_choice(&self) -> Option<&[u8]> {
        let span = self.fields.tool_choice?;
        Some(&self.body[span.range()])
    }

    /// Whether it asks for several answers at once (`n`).
    pub fn wants_several(&self) -> bool {
        let number = self.fields.choices.map(|span| &self.body[span.range()]);
        !matches!(number, None | Some(b"1" | b"null"))
    }

    /// Whether it uses `functions`, which `tools` took the place of.
    pub fn has_functions(&self) -> bool {
        self.fields.functions.is_some()
    }

    /// The names of the client's own tools, `tools` and the older `functions`.
    pub fn tool_names(&self) -> Vec<String> {
        let tools = match self.fields.tools {
            Tools::List(list) => Some(list),
            Tools::Absent | Tools::Null(_) => None,
        };
        let lists = [tools, self.fields.functions].into_iter().flatten();
        lists
            .flat_map(|list| names(&self.body[list.span.range()]))
            .collect()
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    fn decode(&self, text: Option<Text>) -> Option<Cow<'_, str>> {
        text.map(|text| text.decode(&self.body))
    }
}

/// The names in a list of tools or functions; an entry that has none is passed over, as it is the
/// upstream's to refuse.
fn names(list: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Tool {
        name: Option<String>,
        function: Option<Named>,
        custom: Option<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let entries: Vec<&RawValue> = serde_json::from_slice(list).unwrap_or_default();
    let tools = entries
        .iter()
        .filter_map(|entry| serde_json::from_str::<Tool>(entry.get()).ok());
    let named = tools.filter_map(|tool| {
        let inner = tool.function.or(tool.custom).map(|named| named.name);
        inner.or(tool.name)
    });
    named.collect()
}
