//! What upstreams were seen to refuse: models, requests because of what the gateway put in (its tools, or that
//! a stream tells its usage); upstreams, sockets.

use std::time::Duration;

use moka::sync::Cache;

/// How long that is not put in. A server may be started anew with other options meanwhile.
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

/// An upstream that takes no sockets, under one generation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Socketless {
    pub upstream: String,
    pub generation: u64,
}

/// Those that refuse.
#[derive(Debug)]
pub struct Refusals {
    tools: Cache<Model, ()>,
    sockets: Cache<Socketless, ()>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            tools: Cache::builder()
                .max_capacity(MOST)
                .time_to_live(FOR)
                .build(),
            sockets: Cache::builder()
                .max_capacity(MOST)
                .time_to_live(FOR)
                .build(),
        }
    }
}

impl Refusals {
    /// Whether the model refused before.
    pub fn has(&self, model: &Model) -> bool {
        // Nearly every gateway remembers none.
        self.tools.entry_count() > 0 && self.tools.contains_key(model)
    }

    /// Remembers that it does.
    pub fn remember(&self, model: Model) {
        self.tools.insert(model, ());
        // So that it counts at once.
        self.tools.run_pending_tasks();
    }

    /// Whether the upstream refused a socket before.
    pub fn is_socketless(&self, upstream: &Socketless) -> bool {
        self.sockets.contains_key(upstream)
    }

    /// Remembers that it does.
    pub fn remember_socketless(&self, upstream: Socketless) {
        self.sockets.insert(upstream, ());
    }
}
