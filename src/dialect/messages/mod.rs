//! Messages: `POST /v1/messages`.
//!
//! Shapes: <https://docs.anthropic.com/en/api/messages>.

mod block;
mod edit;
mod error;
mod leg;
mod place;
mod read;
mod recast;
mod request;
mod restore;
mod round;
mod tool;

pub use edit::Editor;
pub use error::error;
pub use place::compose;
pub use read::Reader;
pub use recast::{gathered, streamed};
pub use request::{Places, read};
pub use restore::call_ids;
pub use round::follow_up;
pub use tool::tool;
