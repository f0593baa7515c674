//! Byte streams as events.

pub mod sse;
