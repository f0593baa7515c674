//! Chat Completions: `POST /v1/chat/completions`.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/chat>, and what the many servers make of
//! them that offer the same: what an upstream leaves out or says in its own way is put up with.

mod calls;
mod completion;
mod edit;
mod editing;
mod ending;
mod error;
mod fragment;
mod place;
mod read;
mod recast;
mod request;
mod restore;
mod round;
mod said;
mod shape;
mod tool;
mod usage;
mod whole;

pub use edit::Editor;
pub use error::error;
pub use place::compose;
pub use read::Reader;
pub use recast::{gathered, streamed};
pub use request::{Places, read};
pub use restore::call_ids;
pub use round::follow_up;
pub use tool::tool;
pub use usage::{Asking, without as without_usage};
