//! What a request asks of the gateway, in its body's fields and in its headers.

use http::HeaderMap;

use crate::chat::{ChatRequest, MemoryUse};
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

/// The headers that other memory layers and front ends name a user and a conversation by, in
/// the order in which they are believed.
const ALIASES: [(&str, &str); 4] = [
    ("x-openwebui-user-id", "x-openwebui-chat-id"),
    ("x-sm-user-id", "x-sm-conversation-id"),
    ("x-resource-id", "x-thread-id"),
    ("x-session-id", "x-conversation-id"),
];

impl Ask {
    /// Reads the extensions. An empty value counts as absent.
    ///
    /// # Errors
    ///
    /// 400 for a header that is not UTF-8, an id that no scope can have, or an unknown word.
    pub fn read(headers: &HeaderMap, request: &ChatRequest) -> Result<Self, ApiError> {
        let named = Named {
            headers,
            any: headers.keys().any(|name| name.as_str().starts_with("x-")),
        };
        let personality = named
            .first(["x-yychat-personality"])?
            .or_else(|| request.personality_id().map(Into::into));
        let user = match named
            .first(["x-yychat-user-id"])?
            .or_else(|| owned(request.user()))
        {
            Some(user) => Some(user),
            None => named
                .first(ALIASES.map(|(user, _)| user))?
                .or_else(|| owned(request.metadata_user_id())),
        };
        let conversation = match named
            .first(["x-yychat-conversation-id"])?
            .or_else(|| owned(request.conversation_id()))
        {
            Some(conversation) => Some(conversation),
            None => named.first(ALIASES.map(|(_, conversation)| conversation))?,
        };
        for (what, id) in [("user", &user), ("conversation_id", &conversation)] {
            if let Some(id) = id {
                valid_id(what, id.as_bytes())?;
            }
        }
        let memory = match named.first(["x-yychat-memory"])? {
            Some(word) => MemoryUse::parse(&word).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "X-YYChat-Memory is `{word}`. Send `full`, `readonly` or `off`."
                ))
                .param("X-YYChat-Memory")
            })?,
            None => request.memory().unwrap_or(MemoryUse::Full),
        };
        let use_tools = match named.first(["x-yychat-use-tools"])? {
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
    fn first<const N: usize>(&self, names: [&str; N]) -> Result<Option<String>, ApiError> {
        for name in names.into_iter().filter(|_| self.any) {
            let Some(value) = self.headers.get(name) else {
                continue;
            };
            let decoded = percent_encoding::percent_decode(value.as_bytes().trim_ascii());
            let text = decoded.decode_utf8().map_err(|_| {
                ApiError::bad_request(format!(
                    "The header {name} is not UTF-8. Send it as UTF-8 or percent-encoded."
                ))
                .param(name)
            })?;
            if !text.is_empty() {
                return Ok(Some(text.into_owned()));
            }
        }
        Ok(None)
    }
}
