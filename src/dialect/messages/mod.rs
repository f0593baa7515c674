//! Messages: `POST /v1/messages`.
//!
//! Shapes: <https://docs.anthropic.com/en/api/messages>.
//!
//! Not read yet ([`Dialect::is_read`](super::Dialect::is_read)): requests and answers pass through.

mod edit;
mod error;
mod place;
mod read;
mod request;
mod round;
mod tool;

pub use edit::Editor;
pub use error::error;
pub use place::compose;
pub use read::Reader;
pub use request::{Places, call_ids, read};
pub use round::follow_up;
pub use tool::tool;
