//! The members of a request that the gateway knows by name.

/// The top-level members that the gateway reads, adds to or removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect::chat) enum Field {
    Messages,
    Model,
    Stream,
    Tools,
    ToolChoice,
    ParallelToolCalls,
    Functions,
    User,
    SafetyIdentifier,
    Metadata,
    ClientMetadata,
    PromptCacheKey,
    ResponseFormat,
    PersonalityId,
    ConversationId,
    UseTools,
    Memory,
    Choices,
    EnableVoice,
    MessageId,
    ClientId,
}

impl Field {
    const NAMES: [(&str, Self); 21] = [
        ("messages", Self::Messages),
        ("model", Self::Model),
        ("stream", Self::Stream),
        ("tools", Self::Tools),
        ("tool_choice", Self::ToolChoice),
        ("parallel_tool_calls", Self::ParallelToolCalls),
        ("functions", Self::Functions),
        ("user", Self::User),
        ("safety_identifier", Self::SafetyIdentifier),
        ("metadata", Self::Metadata),
        ("client_metadata", Self::ClientMetadata),
        ("prompt_cache_key", Self::PromptCacheKey),
        ("response_format", Self::ResponseFormat),
        ("personality_id", Self::PersonalityId),
        ("conversation_id", Self::ConversationId),
        ("use_tools", Self::UseTools),
        ("memory", Self::Memory),
        ("n", Self::Choices),
        ("enable_voice", Self::EnableVoice),
        ("message_id", Self::MessageId),
        ("client_id", Self::ClientId),
    ];

    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        let mut names = Self::NAMES.iter();
        let found = names.find(|(known, _)| known.as_bytes() == name);
        found.map(|&(_, field)| field)
    }

    pub(super) fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|&&(_, field)| field == self);
        found.map_or("", |&(name, _)| name)
    }

    /// Whether it is YYChat's own and never forwarded.
    pub fn is_extension(self) -> bool {
        matches!(
            self,
            Self::PersonalityId
                | Self::ConversationId
                | Self::UseTools
                | Self::Memory
                | Self::EnableVoice
                | Self::MessageId
                | Self::ClientId
        )
    }

    /// Whether it may be anything, and be there twice: it is only looked at, to tell who speaks and
    /// to what purpose, and what it must be is the upstream's to say.
    pub fn is_noted(self) -> bool {
        matches!(
            self,
            Self::User
                | Self::SafetyIdentifier
                | Self::Metadata
                | Self::ClientMetadata
                | Self::PromptCacheKey
                | Self::ResponseFormat
                | Self::ConversationId
        )
    }

    /// Whether an upstream refuses it in a request that offers no tools, or offers them by it.
    pub fn offers_tools(self) -> bool {
        matches!(
            self,
            Self::Tools | Self::ToolChoice | Self::ParallelToolCalls
        )
    }
}
