//! What a request asks of the gateway, in its body's fields and in its headers.

use http::HeaderMap;

use crate::chat::ChatRequest;
use crate::error::ApiError;

/// The extensions of one request; a header wins over the body's field.
#[derive(Debug, PartialEq, Eq)]
pub struct Ask {
    /// `X-YYChat-Personality`, else `personality_id`.
    pub personality: Option<String>,
}

impl Ask {
    /// Reads the extensions. An empty value counts as absent.
    ///
    /// # Errors
    ///
    /// 400 for a header that is not UTF-8.
    pub fn read(headers: &HeaderMap, request: &ChatRequest) -> Result<Self, ApiError> {
        let personality = header(headers, "x-yychat-personality")?
            .map(percent_decoded)
            .or_else(|| request.personality_id().map(Into::into));
        Ok(Self {
            personality: personality.filter(|id| !id.is_empty()),
        })
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| {
        ApiError::bad_request(format!(
            "The header {name} is not UTF-8. Send it as UTF-8 or percent-encoded."
        ))
        .param(name)
    })?;
    Ok(Some(text.trim()))
}

/// Clients that cannot put other scripts into a header percent-encode them.
fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map_or_else(|_| text.to_owned(), Into::into)
}
