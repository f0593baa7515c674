//! Responses: `POST /v1/responses`.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/responses>.
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
