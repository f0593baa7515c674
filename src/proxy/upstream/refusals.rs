//! What upstreams were seen to refuse: models, requests because of what the gateway put in (its tools, or that
//! a stream tells its usage); upstreams, sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;

/// How long that is not put in after the first refusal, which may have been about that one request …
const FIRST: Duration = Duration::from_secs(60);
/// … and, since each that is confirmed anew doubles it, the longest. A server may be started anew with
/// other options meanwhile.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How long an upstream is asked for no sockets.
const SOCKETLESS: Duration = Duration::from_secs(60 * 60);
/// Models that are remembered; a client can make up names without end.
const MOST: u64 = 1024;

/// A model of an upstream as a tenant asks it, under one generation of the configuration: what an
/// operator changed is tried again at once, and what one tenant's requests bring about is his alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Model {
    pub tenant: Arc<str>,
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
    models: Cache<Model, Refused>,
    sockets: Cache<Socketless, ()>,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
    until: Instant,
    wait: Duration,
}

impl Default for Refusals {
    fn default() -> Self {
        let remembered = Cache::builder().max_capacity(MOST);
        Self {
            // For longer than it holds, so that the next one is known not to be the first.
            models: remembered.time_to_live(2 * LONGEST).build(),
            sockets: Cache::builder()
                .max_capacity(MOST)
                .time_to_live(SOCKETLESS)
                .build(),
        }
    }
}

impl Refusals {
    /// Whether the model refused before, and is not to be tried again yet.
    pub fn has(&self, model: &Model) -> bool {
        self.has_at(model, Instant::now())
    }

    fn has_at(&self, model: &Model, now: Instant) -> bool {
        // Nearly every gateway remembers none.
        self.models.entry_count() > 0 && self.models.get(model).is_some_and(|it| now < it.until)
    }

    /// Remembers that it does, and was seen to do without; tells for how long.
    pub fn remember(&self, model: Model) -> Duration {
        self.remember_at(model, Instant::now())
    }

    fn remember_at(&self, model: Model, now: Instant) -> Duration {
        let wait = match self.models.get(&model) {
            // Another request of the same moment says nothing new.
            Some(known) if now < known.until => return known.until - now,
            Some(known) => (known.wait * 2).min(LONGEST),
            None => FIRST,
        };
        let until = now + wait;
        self.models.insert(model, Refused { until, wait });
        // So that it counts at once.
        self.models.run_pending_tasks();
        wait
    }

    /// It took what it was thought to refuse.
    pub fn forget(&self, model: impl FnOnce() -> Model) {
        // Of most there is nothing to forget.
        if self.models.entry_count() > 0 {
            self.models.invalidate(&model());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_for_a_minute_and_twice_as_long_each_time_that_it_is_confirmed() {
        let refusals = Refusals::default();
        let of = |tenant: &str| Model {
            tenant: tenant.into(),
            upstream: "u".into(),
            name: None,
            generation: 1,
        };
        let mut now = Instant::now();
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = Duration::from_secs(minutes * 60);
            assert_eq!(refusals.remember_at(of("a"), now), wait);
            // One that was under way says nothing new.
            assert_eq!(refusals.remember_at(of("a"), now), wait);
            assert!(!refusals.has_at(&of("b"), now), "another tenant's");
            now += wait;
            assert!(refusals.has_at(&of("a"), now - Duration::from_millis(1)));
            assert!(!refusals.has_at(&of("a"), now));
        }
        refusals.forget(|| of("a"));
        assert_eq!(refusals.remember_at(of("a"), now), FIRST);
    }
}
