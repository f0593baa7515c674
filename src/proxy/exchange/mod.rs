//! One request and its answer, between the two sides.
//!
//! ```text
//! run      a chat: read → prepare → leg → relay, or tool_loop
//! plain    everything else: look → choose → leg → relay; models and upgrade beside it
//! leg      compose → connect → send → wait; upload where the body streams; watch whether the
//!          client leaves
//! relay    the answer, as it comes; reader reads a copy
//! fail     what went wrong, said to the client; finish: what is known, filed
//! ```

pub mod ask;
pub mod credentials;
pub mod fail;
pub mod finish;
mod form;
pub mod headers;
pub mod incoming;
pub mod leg;
pub mod location;
pub mod models;
pub mod plain;
pub mod quota;
mod refused;
pub mod relay;
pub mod run;
pub mod send;
pub mod tee;
pub mod tool_loop;
pub mod upgrade;
pub mod upload;
pub mod watch;
