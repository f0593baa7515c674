//! One generation of everything that is hot-reloaded: configuration, personalities, plugins.
//!
//! A generation is made whole, beside the one in force, and put in its place by one swap, or not
//! at all. A request takes the generation in force once and keeps it to its end.

mod admin_key;
mod build;
mod credential;
mod finder;
mod keys;
mod status;
mod store;
mod watch;

pub use admin_key::{AdminKey, PARAM as ADMIN_KEY};
pub use credential::{PROTOCOL_KEY, prove};
pub use finder::KeyFinder;
pub use keys::{Caller, KeyRing, Unproven};
pub use status::Status;
pub use store::{Outcome, Store};
pub use watch::Watcher;

use crate::config::model::{Config, Upstream};
use crate::config::prices::Prices;
use crate::error::Faults;
use crate::personality::Personalities;
use crate::purpose::Rules;
use crate::tools::Toolbox;

/// A generation.
pub struct Snapshot {
    /// Counts from 1; each applied reload is one more.
    pub generation: u64,
    pub config: Config,
    pub personalities: Personalities,
    pub keys: KeyRing,
    /// Opens what the admin listener does not show or do for everyone.
    pub admin_key: AdminKey,
    /// Finds the gateway's own keys in what would leave it.
    pub finder: KeyFinder,
    pub tools: Toolbox,
    /// Of `prices.toml`.
    pub prices: Prices,
    /// Of `auxiliary.toml`, and those that are shipped.
    pub purposes: Rules,
}

impl Snapshot {
    /// Whether others than this machine reach the API, and need no key.
    pub fn is_open_to_all(&self) -> bool {
        self.config.server.is_exposed() && self.keys.lets_all_in()
    }

    /// The upstreams that serve `model`, in the order in which they are tried. A request that
    /// names no model may go to any.
    pub fn upstreams_for(&self, model: Option<&str>) -> impl Iterator<Item = &Upstream> {
        self.config
            .upstreams
            .iter()
            .filter(move |upstream| model.is_none_or(|model| upstream.models.is_match(model)))
    }

    /// Whether an upstream or a price names the model in full, so that it may be a label.
    pub fn is_model_named(&self, model: &str) -> bool {
        let mut upstreams = self.config.upstreams.iter();
        upstreams.any(|it| it.model_patterns.iter().any(|named| named == model))
            || self.prices.names(model)
    }

    /// What is wrong with single personalities.
    pub fn broken(&self) -> Faults {
        let broken = self.personalities.broken().iter();
        Faults(
            broken
                .flat_map(|broken| broken.faults.0.iter().cloned())
                .collect(),
        )
    }
}
