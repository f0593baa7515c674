//! Chat Completions: `POST /v1/chat/completions`.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/chat>.

pub(super) mod completion;
pub(super) mod place;
pub(super) mod read;
pub(super) mod request;
pub(super) mod tool_calls;
