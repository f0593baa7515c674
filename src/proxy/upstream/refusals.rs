//! Models that were seen to refuse requests because of the gateway's tools.

use std::time::Duration;

use moka::sync::Cache;

/// How long one is offered none. A server may be started anew with other options meanwhile.
const FOR: Duration = Duration::from_secs(60 * 60);
/// Models that are remembered; a client can make up names without end.
const MOST: u64 = 1024;

/// A model of an upstream, under one generation of the configuration: what an operator changed is
/// tried again at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Model {
    pub upstream: String,
    /// Absent where requests name none.
    pub name: Option<String>,
    pub generation: u64,
}

/// The models that refuse.
#[derive(Debug)]
pub struct Refusals(Cache<Model, ()>);

impl Default for Refusals {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(MOST).time_to_live(FOR);
        Self(cache.build())
    }
}

impl Refusals {
    /// Whether the model refused tools of the gateway's before.
    pub fn has(&self, model: &Model) -> bool {
        // Nearly every gateway remembers none.
        self.0.entry_count() > 0 && self.0.contains_key(model)
    }

    /// Remembers that it does.
    pub fn remember(&self, model: Model) {
        self.0.insert(model, ());
        // So that it counts at once.
        self.0.run_pending_tasks();
    }
}
