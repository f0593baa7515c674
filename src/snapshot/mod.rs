//! One generation of everything that is hot-reloaded: configuration, personalities, plugins.
//!
//! A generation is made whole, beside the one in force, and put in its place by one swap, or not
//! at all. A request takes the generation in force once and keeps it to its end.

mod credential;
mod finder;
mod keys;
mod store;
mod watch;

pub use credential::prove;
pub use finder::KeyFinder;
pub use keys::{Caller, KeyRing, Unproven};
pub use store::{Outcome, Status, Store};
pub use watch::Watcher;

use crate::config::model::{Config, Upstream};
use crate::personality::Personalities;
use crate::tools::Toolbox;

/// A generation.
pub struct Snapshot {
    /// Counts from 1; each applied reload is one more.
    pub generation: u64,
    pub config: Config,
    pub personalities: Personalities,
    pub keys: KeyRing,
    pub tools: Toolbox,
}

impl Snapshot {
    /// The upstreams that serve `model`, in the order in which they are tried. A request that
    /// names no model may go to any.
    pub fn upstreams_for(&self, model: Option<&str>) -> impl Iterator<Item = &Upstream> {
        self.config
            .upstreams
            .iter()
            .filter(move |upstream| model.is_none_or(|model| upstream.models.is_match(model)))
    }
}
