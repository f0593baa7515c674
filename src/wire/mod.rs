//! JSON and framing, as pure values: bytes in, bytes out, no async and no I/O. What the bytes mean to
//! a language model's API is not known here; that is [`crate::dialect`]'s.
//!
//! [`json`] reads a text once, validating all of it, and gives offsets; [`splice`] puts text in and
//! takes text out at offsets, all else staying as it was; [`frame`] cuts a byte stream into events.

mod escaped;
pub mod frame;
pub mod json;
pub mod object;
pub mod splice;
#[cfg(test)]
pub(crate) mod tests;

pub use escaped::Escaped;
pub use splice::coalesce;
