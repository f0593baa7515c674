//! One request and its answer, between the two sides.

pub mod fail;
pub mod finish;
pub mod headers;
pub mod leg;
pub mod pass_through;
pub mod relay;
pub mod run;
pub mod tee;
pub mod tool_loop;
