//! A request: the client's bytes, checked, with the places in them that matter.

use std::borrow::Cow;

use bytes::Bytes;

use super::conversation::{Conversation, Message, Role};
use super::injection::Source;
use super::{Dialect, chat, messages, responses};
use crate::wire::json::{Span, Text};
use crate::wire::splice::Splice;

/// The body of a request to a model, valid JSON throughout.
///
/// It holds offsets; a text is decoded when it is asked for. What was said and what is asked for is
/// the same for every dialect; where something can be put is each dialect's own.
#[derive(Debug, Clone)]
pub struct Request {
    body: Bytes,
    /// Every top-level member that the gateway knows, in the body's order.
    members: Vec<Member>,
    conversation: Conversation,
    options: Options,
    pub(super) places: Places,
}

/// Where in the body something can go.
#[derive(Debug, Clone)]
pub enum Places {
    Chat(chat::Places),
    Responses(responses::Places),
    Messages(messages::Places),
}

/// What a body asks for beside the conversation; absent and null are the same.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub model: Option<Text>,
    pub stream: Option<bool>,
    pub personality_id: Option<Text>,
    pub use_tools: Option<bool>,
    pub memory: Option<MemoryUse>,
    /// The names of the client's own tools, in whatever list.
    pub tool_names: Vec<String>,
    /// How many tools the client brings.
    pub tools: usize,
    /// Why tools of the gateway's have no place in it.
    pub withheld: Option<Withheld>,
}

/// Why a request is offered none of the gateway's tools, as `x-yychat-tools` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// It says so itself.
    Request,
    /// Neither it, nor its key, nor the configuration asks for any.
    Disabled,
    /// Its personality allows none.
    Personality,
    /// A call of the client's choice is forced.
    ForcedChoice,
    /// The answer must fit a schema.
    AnswerSchema,
    /// It wants several answers at once, which cannot go on in one stream.
    Several,
    /// It speaks of `functions`, which upstreams do not take beside `tools`.
    Functions,
    /// It runs where nobody waits for it, under the upstream's own numbers.
    Background,
    /// It is a front end's own errand.
    Auxiliary,
    /// With the client's there would be more than an upstream takes.
    Limit,
    /// The upstream's models cannot call tools.
    Upstream,
    /// The upstream refused the model with them before.
    Refused,
}

impl Withheld {
    /// Every reason, for making metrics beforehand.
    pub const ALL: [Self; 12] = [
        Self::Request,
        Self::Disabled,
        Self::Personality,
        Self::ForcedChoice,
        Self::AnswerSchema,
        Self::Several,
        Self::Functions,
        Self::Background,
        Self::Auxiliary,
        Self::Limit,
        Self::Upstream,
        Self::Refused,
    ];

    /// As headers and metrics say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Disabled => "disabled",
            Self::Personality => "personality",
            Self::ForcedChoice => "forced-choice",
            Self::AnswerSchema => "answer-schema",
            Self::Several => "several-answers",
            Self::Functions => "functions",
            Self::Background => "background",
            Self::Auxiliary => "auxiliary",
            Self::Limit => "limit",
            Self::Upstream => "upstream",
            Self::Refused => "refused",
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
        match text.trim().to_ascii_lowercase().as_str() {
            "full" | "on" | "true" => Some(Self::Full),
            "readonly" | "read-only" | "read_only" => Some(Self::Readonly),
            "off" | "false" => Some(Self::Off),
            _ => None,
        }
    }

    /// Where it is switched on or off.
    pub fn switched(on: bool) -> Self {
        if on { Self::Full } else { Self::Off }
    }
}

/// A top-level member that the gateway knows, and its neighbourhood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub name: &'static str,
    /// Whether it is YYChat's own and never forwarded.
    pub is_extension: bool,
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
    /// A request of which everything is read.
    pub fn new(
        body: Bytes,
        (members, options): (Vec<Member>, Options),
        conversation: Conversation,
        places: Places,
    ) -> Self {
        Self {
            body,
            members,
            conversation,
            options,
            places,
        }
    }

    /// The API that it is made to.
    pub fn dialect(&self) -> Dialect {
        match self.places {
            Places::Chat(_) => Dialect::Chat,
            Places::Responses(_) => Dialect::Responses,
            Places::Messages(_) => Dialect::Messages,
        }
    }

    /// Whether it is streamed, and its stream would not tell what it costs, though it could.
    pub fn leaves_usage_out(&self) -> bool {
        chat::Asking::of(self).is_some()
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// What was said so far.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// What it asks for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// `model`; `None` leaves the choice to the upstream.
    pub fn model(&self) -> Option<Cow<'_, str>> {
        self.decode(self.options.model)
    }

    /// Where `model` has what stands from its last `@` on.
    pub fn model_suffix(&self) -> Option<Span> {
        self.options.model?.last_at(&self.body)
    }

    /// `stream`, false where absent.
    pub fn stream(&self) -> bool {
        self.options.stream.unwrap_or(false)
    }

    /// The raw JSON of a top-level member that the gateway knows, such as `user`; the last one
    /// where there are several, as most readers of JSON have it.
    pub fn member(&self, name: &str) -> Option<&[u8]> {
        let found = self.known(name)?;
        Some(&self.body[found.value.range()])
    }

    /// `personality_id`.
    pub fn personality_id(&self) -> Option<Cow<'_, str>> {
        self.decode(self.options.personality_id)
    }

    /// `use_tools`; `None` leaves it to the configuration.
    pub fn use_tools(&self) -> Option<bool> {
        self.options.use_tools
    }

    /// `memory`; `None` means full use.
    pub fn memory(&self) -> Option<MemoryUse> {
        self.options.memory
    }

    /// What was said so far, in order.
    pub fn messages(&self) -> &[Message] {
        &self.conversation.messages
    }

    /// The text of a message of this request, parts joined by newlines; empty where it has none.
    pub fn text(&self, message: &Message) -> Cow<'_, str> {
        self.join(message.content.texts())
    }

    /// These texts of the request, joined by newlines.
    pub fn join(&self, texts: &[Text]) -> Cow<'_, str> {
        match texts {
            [] => Cow::Borrowed(""),
            [text] => text.decode(&self.body),
            texts => {
                let parts: Vec<_> = texts.iter().map(|text| text.decode(&self.body)).collect();
                Cow::Owned(parts.join("\n"))
            }
        }
    }

    /// The `name` that a message bears, where it is one that can be kept.
    pub fn name(&self, message: &Message) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Named {
            name: Option<serde_json::Value>,
        }
        let named = serde_json::from_slice(&self.body[message.span.range()]).ok();
        let name = named.and_then(|named: Named| Some(named.name?.as_str()?.trim().to_owned()))?;
        let is_kept = !name.is_empty() && name.len() <= 64 && !name.contains(char::is_control);
        is_kept.then_some(name)
    }

    /// Index of the last user message.
    pub fn last_user(&self) -> Option<usize> {
        let mut messages = self.messages().iter();
        messages.rposition(|message| message.role == Role::User)
    }

    /// The ids of the calls that the message of this index asks for, in order; empty texts where it
    /// gives none.
    pub fn call_ids(&self, at: usize) -> Vec<String> {
        match &self.places {
            Places::Chat(_) => chat::call_ids(self, at),
            Places::Responses(_) => responses::call_ids(self, at),
            Places::Messages(_) => messages::call_ids(self, at),
        }
    }

    /// How many system or developer messages the conversation begins with.
    pub fn leading_system(&self) -> usize {
        let is_system = |message: &&Message| message.role.is_system();
        self.messages().iter().take_while(is_system).count()
    }

    /// The top-level members that the gateway knows.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The last of those that has this name: what is read of is what is changed.
    pub(super) fn known(&self, name: &str) -> Option<&Member> {
        let mut members = self.members.iter().rev();
        members.find(|member| member.name == name)
    }

    /// Cuts the members that are the gateway's own, each with one of the commas beside it.
    pub(super) fn cut_extensions(&self, splice: &mut Splice<'_, Source>) {
        let unwanted = self.members.iter().filter(|member| member.is_extension);
        for (cut_before, member) in unwanted.enumerate() {
            let leads = member.index == cut_before;
            splice.cut(if leads {
                member.span.start..member.after
            } else {
                member.before..member.span.end
            });
        }
    }

    fn decode(&self, text: Option<Text>) -> Option<Cow<'_, str>> {
        text.map(|text| text.decode(&self.body))
    }
}
