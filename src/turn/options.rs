//! What a request asks of the gateway, in its body's fields and in its headers.

use http::{HeaderMap, HeaderName};

use super::identity::{Identity, Sources, Trust};
use crate::dialect::{MemoryUse, Request};
use crate::error::ApiError;

/// The extensions of one request; a header wins over the body's field.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// `X-YYChat-Personality`, else `personality_id`.
    pub personality: Option<String>,
    /// Whose memory, and which conversation the turn belongs to.
    pub identity: Identity,
    /// `X-YYChat-Memory`, else `memory`; `None` leaves it to the key.
    pub memory: Option<MemoryUse>,
    /// `X-YYChat-Use-Tools`, else `use_tools`; `None` leaves it to the configuration.
    pub use_tools: Option<bool>,
}

// Names and not texts, which would be parsed each time.
static PERSONALITY: HeaderName = HeaderName::from_static("x-yychat-personality");
static MEMORY: HeaderName = HeaderName::from_static("x-yychat-memory");
static USE_TOOLS: HeaderName = HeaderName::from_static("x-yychat-use-tools");

impl Options {
    /// Reads the extensions. An empty value counts as absent.
    ///
    /// # Errors
    ///
    /// 400 for a header that is not UTF-8, or an unknown word.
    pub fn read(
        headers: &HeaderMap,
        request: &Request,
        trust: Trust<'_>,
    ) -> Result<Self, ApiError> {
        let personality = match header(headers, &PERSONALITY)? {
            Some(id) => Some(id),
            None => request.personality_id().map(Into::into),
        };
        let memory = match header(headers, &MEMORY)? {
            Some(word) => Some(MemoryUse::parse(&word).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "X-YYChat-Memory is `{word}`. Send `full`, `readonly` or `off`."
                ))
                .param("X-YYChat-Memory")
            })?),
            None => request.memory(),
        };
        let use_tools = match header(headers, &USE_TOOLS)? {
            Some(word) => Some(switch(&word)?),
            None => request.use_tools(),
        };
        let sources = Sources {
            headers,
            member: &|name| request.member(name),
        };
        Ok(Self {
            personality: personality.filter(|id| !id.is_empty()),
            identity: Identity::read(sources, trust),
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

/// A header of ours that is there and not empty. Clients that cannot put other scripts into one
/// percent-encode them.
fn header(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let decoded = percent_encoding::percent_decode(value.as_bytes().trim_ascii());
    let text = decoded.decode_utf8().map_err(|_| {
        ApiError::bad_request(format!(
            "The header {name} is not UTF-8. Send it as UTF-8 or percent-encoded."
        ))
        .param(name.as_str())
    })?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}
