//! The upstreams' side: where they are, how they are reached, and which are well.
//!
//! ```text
//! addresses   a name's addresses, the last good one first
//! dialer      an idle connection, or a new one to whichever address answers first
//! connection  one connection and what is known of it
//! refusals    models that take none of the gateway's tools
//! health      a breaker for each upstream, and the order in which a request tries them
//! ```

pub mod addresses;
pub mod coding;
pub mod connection;
pub mod dialer;
pub mod error;
pub mod health;
pub mod refusals;
pub mod trust;
