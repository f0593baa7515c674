//! The upstreams' side: where they are, how they are reached, and which are well.

pub mod dialer;
pub mod health;
pub mod trust;
