//! Which upstream a request is for.
//!
//! ```text
//! endpoint   what the path says: what is asked, in which dialect, where the model is named
//! body       what the body says, looked at while it comes: JSON or a form
//! choice     the upstreams that may serve it, in the order in which they are tried
//! origins    which upstream an id is from, learnt from answers
//! pair       `MODEL@PERSONALITY` in a path or a query
//! ```

pub mod body;
pub mod choice;
pub mod endpoint;
mod form;
mod json;
pub mod origins;
pub mod pair;
mod pairs;
