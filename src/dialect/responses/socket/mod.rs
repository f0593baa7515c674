//! Responses over a WebSocket: a frame of the client's is a request, one of the server's an event.
//!
//! Shapes: <https://developers.openai.com/api/docs/guides/websocket-mode>.
//!
//! What a socket remembers is told to upstreams as any other request tells it, all of it
//! ([`History`]), so that it does not matter how an upstream is spoken to; where that is a socket too,
//! what the upstream heard on it before is left out again ([`Lineage`]).

mod event;
mod frame;
mod history;
mod lineage;

pub use event::{Heard, HttpError, error_event, http_error, in_lane, own_error, prewarmed};
pub use frame::{Create, Said, read};
pub use history::History;
pub use lineage::Lineage;

use bytes::Bytes;
use serde_json::value::RawValue;

/// What a request tells: the response that it goes on from, and the items behind that.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// JSON of an id that nobody here knows.
    pub base: Option<Bytes>,
    pub items: Vec<Bytes>,
    /// Whether the upstream is to forget the answer.
    pub is_forgotten: bool,
}

/// Whether an item can be told again: thinking that its upstream forgets comes back encrypted or not
/// at all.
fn can_be_told(item: &[u8], is_forgotten: bool) -> bool {
    #[derive(serde::Deserialize)]
    struct Thinking<'a> {
        r#type: Option<String>,
        #[serde(borrow)]
        encrypted_content: Option<&'a RawValue>,
    }
    let thinking = match is_forgotten {
        true => serde_json::from_slice::<Thinking<'_>>(item).ok(),
        false => None,
    };
    thinking.is_none_or(|item| {
        item.r#type.as_deref() != Some("reasoning") || item.encrypted_content.is_some()
    })
}
