//! Commands beside the one that serves.

pub mod explain;
pub mod init;
pub mod memory;
pub mod usage;
