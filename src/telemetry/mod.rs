//! What the gateway says about itself: the phase ledger, the metrics, the log and traces.

mod extraction;
mod filing;
mod gen_ai;
mod generation;
pub mod logs;
pub mod metrics;
pub mod phases;
mod quota;
mod registry;
pub mod ring;
mod tally;
mod tool_calls;
pub mod traces;
mod upstreams;

pub use filing::Filing;
pub use metrics::Metrics;
pub use phases::{Ledger, Phase};
