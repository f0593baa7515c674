//! The APIs of language models that clients speak, as pure values: bytes in, bytes out, no async and
//! no I/O. What a client speaks its upstream speaks too; nothing is translated.
//!
//! A body's journey:
//!
//! 1. [`Dialect::read`] reads the client's bytes once. It validates all of them, since what was
//!    checked is what is sent, and keeps offsets ([`crate::wire::json`]) instead of values.
//! 2. The personality, memory and tools modules prepare what is to be added as an [`Injection`]:
//!    texts already [`Escaped`](crate::wire::Escaped), tools already in the dialect's words
//!    ([`Dialect::tool`]).
//! 3. [`compose`] splices them between slices of the client's bytes. Key order, white space,
//!    number spelling and escapes of everything else stay as they were. [`Composed`] tells which
//!    ranges were inserted or cut and why, so a preview can explain it and a test can undo it.
//! 4. The answer goes to the client as the upstream sent it. A [`Reader`] watches a copy and gives an
//!    [`Answer`]: what was said, how it ended, what it cost.
//! 5. Where the gateway offered tools, an [`Editor`] keeps the model's calls of them back, and
//!    [`Dialect::follow_up`] tells the model what came of them.
//!
//! Neutral for reading, native for writing: conversations, options, costs and texts are the same for
//! all; events and what a next leg repeats are each dialect's own, since what an upstream signed or
//! encrypted must go back as it was. Each dialect is a folder of the same files; the enums here only
//! hand on to them.

mod answer;
mod body;
mod calls;
mod chat;
mod conversation;
mod editor;
mod injection;
mod mark;
mod messages;
mod names;
mod reader;
mod recast;
mod request;
mod responses;
mod tools;
mod unasked;
mod usage;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use crate::config::model::Dialect;
use crate::error::ApiError;

pub use answer::{Answer, Usage, Wanted, believed};
pub use calls::{Call, Edit, Leg, Owners, Round};
pub use conversation::{Begins, Content, Conversation, Message, Role};
pub use editor::{Editor, SseEditor};
pub use injection::{
    Composed, Fragment, Injection, Insertion, MemoryText, Persona, PersonaMode, Placement,
    Restored, Source, ToolOffer, ToolSpec,
};
pub use reader::{Reader, SseReader};
pub use recast::Odd;
pub use request::{MemoryUse, Options, Request, Withheld};
pub use responses::socket;

pub use unasked::Unasked;

use request::Places;

impl Dialect {
    pub const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    /// As metrics and the configuration name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    /// The path that requests are made to.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    /// The dialect of a path, or of one under it: whoever asks there reads its errors so.
    pub fn of_path(path: &str) -> Option<Self> {
        let is_under = |dialect: &Self| {
            let rest = path.strip_prefix(dialect.path());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        Self::ALL.into_iter().find(is_under)
    }

    /// Checks a body and finds what matters in it. JSON may nest `depth` deep.
    ///
    /// # Errors
    ///
    /// 400 that says what is wrong and where.
    pub fn read(self, body: Bytes, depth: usize) -> Result<Request, ApiError> {
        match self {
            Self::Chat => chat::read(body, depth),
            Self::Responses => responses::read(body, depth),
            Self::Messages => messages::read(body, depth),
        }
    }

    /// A tool of the gateway's in the API's words.
    pub fn tool(self, spec: &ToolSpec<'_>) -> Bytes {
        match self {
            Self::Chat => chat::tool(spec),
            Self::Responses => responses::tool(spec),
            Self::Messages => messages::tool(spec),
        }
    }

    /// What the next leg is told of a round: what the model said, then what each call gave.
    pub fn follow_up(self, round: &Round, results: &[String]) -> Vec<Bytes> {
        match self {
            Self::Chat => chat::follow_up(round, results),
            Self::Responses => responses::follow_up(round, results),
            Self::Messages => messages::follow_up(round, results),
        }
    }

    /// The body of an error of ours. `request_id` is told where the API has a place for it.
    pub fn error(self, error: &ApiError, request_id: &str) -> Bytes {
        match self {
            Self::Chat => chat::error(error, request_id),
            Self::Responses => responses::error(error, request_id),
            Self::Messages => messages::error(error, request_id),
        }
    }
}

/// The body to send for `request` with `injection`, YYChat's own fields taken out.
///
/// With nothing to put in or take out, the one piece is the client's `Bytes`.
pub fn compose(request: &Request, injection: &Injection) -> Composed {
    match &request.places {
        Places::Chat(places) => chat::compose(request, places, injection),
        Places::Responses(places) => responses::compose(request, places, injection),
        Places::Messages(places) => messages::compose(request, places, injection),
    }
}
