//! Commands that work on the store and not on requests.

pub mod explain;
pub mod memory;
