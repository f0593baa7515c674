//! Responses: `POST /v1/responses`.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/responses>.

mod edit;
mod ending;
mod error;
mod item;
mod leg;
mod offer;
mod place;
mod read;
mod recast;
mod request;
mod restore;
mod round;
pub mod socket;
mod tool;
mod undecided;
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
