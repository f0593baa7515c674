//! What a request asks of the gateway, in its body's fields and in its headers.

use http::{HeaderMap, HeaderName};

use crate::dialect::{MemoryUse, Request};
use crate::error::ApiError;
use crate::memory::valid_id;

/// The extensions of one request; a header wins over the body's field.
#[derive(Debug, PartialEq, Eq)]
pub struct Ask {
    /// `X-YYChat-Personality`, else `personality_id`.
    pub personality: Option<String>,
    /// Whose memory; believed only inside the tenant that the key proves.
    pub user: Option<String>,
    /// Which conversation the turn belongs to.
    pub conversation: Option<String>,
    /// `X-YYChat-Memory`, else `memory`, else full use.
    pub memory: MemoryUse,
    /// `X-YYChat-Use-Tools`, else `use_tools`; `None` leaves it to the configuration.
    pub use_tools: Option<bool>,
}

// Names and not texts, which would be parsed each time.
static PERSONALITY: [HeaderName; 1] = [HeaderName::from_static("x-yychat-personality")];
static MEMORY: [HeaderName; 1] = [HeaderName::from_static("x-yychat-memory")];
static USE_TOOLS: [HeaderName; 1] = [HeaderName::from_static("x-yychat-use-tools")];
static USER: [HeaderName; 1] = [HeaderName::from_static("x-yychat-user-id")];
static CONVERSATION: [HeaderName; 1] = [HeaderName::from_static("x-yychat-conversation-id")];
/// The headers that other memory layers and front ends name a user by, in the order in which they
/// are believed …
static USER_ALIASES: [HeaderName; 4] = [
    HeaderName::from_static("x-openwebui-user-id"),
    HeaderName::from_static("x-sm-user-id"),
    HeaderName::from_static("x-resource-id"),
    HeaderName::from_static("x-session-id"),
];
/// … and those by which they name a conversation.
static CONVERSATION_ALIASES: [HeaderName; 4] = [
    HeaderName::from_static("x-openwebui-chat-id"),
    HeaderName::from_static("x-sm-conversation-id"),
    HeaderName::from_static("x-thread-id"),
    HeaderName::from_static("x-conversation-id"),
];

impl Ask {
    /// Reads the extensions. An empty value counts as absent.
    ///
    /// # Errors
    ///
    /// 400 for a header that is not UTF-8, an id that no scope can have, or an unknown word.
    pub fn read(headers: &HeaderMap, request: &Request) -> Result<Self, ApiError> {
        let named = Named {
            headers,
            any: headers.keys().any(|name| name.as_str().starts_with("x-")),
        };
        let personality = named
            .first(&PERSONALITY)?
            .or_else(|| request.personality_id().map(Into::into));
        let user = match named.first(&USER)?.or_else(|| owned(request.user())) {
            Some(user) => Some(user),
            None => named
                .first(&USER_ALIASES)?
                .or_else(|| owned(request.metadata_user_id())),
        };
        let conversation = match named
            .first(&CONVERSATION)?
            .or_else(|| owned(request.conversation_id()))
        {
            Some(conversation) => Some(conversation),
            None => named.first(&CONVERSATION_ALIASES)?,
        };
        for (what, id) in [("user", &user), ("conversation_id", &conversation)] {
            if let Some(id) = id {
                valid_id(what, id.as_bytes())?;
            }
        }
        let memory = match named.first(&MEMORY)? {
            Some(word) => MemoryUse::parse(&word).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "X-YYChat-Memory is `{word}`. Send `full`, `readonly` or `off`."
                ))
                .param("X-YYChat-Memory")
            })?,
            None => request.memory().unwrap_or(MemoryUse::Full),
        };
        let use_tools = match named.first(&USE_TOOLS)? {
            Some(word) => Some(switch(&word)?),
            None => request.use_tools(),
        };
        Ok(Self {
            personality: personality.filter(|id| !id.is_empty()),
            user,
            conversation,
            memory,
            use_tools,
        })
    }
}

fn switch(word: &str) -> Result<bool, ApiError> {
    match word {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(ApiError::bad_request(format!(
            "X-YYChat-Use-Tools is `{word}`. Send `true` or `false`."
        ))
        .param("X-YYChat-Use-Tools")),
    }
}

fn owned(text: Option<std::borrow::Cow<'_, str>>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(Into::into)
}

struct Named<'a> {
    headers: &'a HeaderMap,
    /// Whether there is any that could be one of those asked for: all of them begin with `x-`.
    any: bool,
}

impl Named<'_> {
    /// The first of these headers that is there and not empty. Clients that cannot put other
    /// scripts into a header percent-encode them.
    fn first(&self, names: &'static [HeaderName]) -> Result<Option<String>, ApiError> {
        for name in names.iter().filter(|_| self.any) {
            let Some(value) = self.headers.get(name) else {
                continue;
            };
            let decoded = percent_encoding::percent_decode(value.as_bytes().trim_ascii());
            let text = decoded.decode_utf8().map_err(|_| {
                ApiError::bad_request(format!(
                    "The header {name} is not UTF-8. Send it as UTF-8 or percent-encoded."
                ))
                .param(name.as_str())
            })?;
            if !text.is_empty() {
                return Ok(Some(text.into_owned()));
            }
        }
        Ok(None)
    }
}
