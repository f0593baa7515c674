//! Leaves an embedder that fails alone for a while, longer each time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After the first failure, and at most.
pub(super) const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

#[derive(Default)]
pub(super) struct Circuit(Mutex<State>);

/// Failures in a row, and until when nobody asks.
#[derive(Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl State {
    fn left(&self) -> Option<Duration> {
        let left = self.open_until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

impl Circuit {
    /// How long the embedder is still left alone.
    pub fn pause(&self) -> Option<Duration> {
        self.state().left()
    }

    /// Logs that it is back, if it was away.
    pub fn succeeded(&self) {
        let before = std::mem::take(&mut *self.state());
        if before.failures > 0 {
            tracing::info!(failures = before.failures, "embedder is back");
        }
    }

    /// Logs the first of failures in a row.
    pub fn failed(&self, why: &str) {
        let mut state = self.state();
        // Those that were under way together fail together, and count as one.
        if state.left().is_some() {
            return;
        }
        if state.failures == 0 {
            tracing::warn!(why, "embedder is down; memory goes on by words alone");
        }
        let pause = (PAUSES[0] * 2u32.pow(state.failures.min(6))).min(PAUSES[1]);
        state.failures = state.failures.saturating_add(1);
        state.open_until = Some(Instant::now() + pause);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
