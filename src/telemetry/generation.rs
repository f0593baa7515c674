//! The generation in force, and what keeps others from it.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::registry::{counters, gauge};

/// What is shown of it.
pub struct Generation {
    /// `yychat_config_generation`
    pub number: IntGauge,
    reloads: IntCounterVec,
    /// `yychat_config_last_good`
    pub last_good: IntGauge,
    /// `yychat_config_unwatched_folders`
    pub unwatched: IntGauge,
    /// `yychat_personalities_broken`
    pub personalities_broken: IntGauge,
    /// `yychat_insecure_no_auth`
    pub open_to_all: IntGauge,
}

impl Generation {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            number: gauge(
                registry,
                "yychat_config_generation",
                "The generation of configuration, personalities and plugins in force",
            ),
            reloads: counters(
                registry,
                "yychat_config_reload_total",
                "Reloads tried, by outcome",
                &["outcome"],
            ),
            last_good: gauge(
                registry,
                "yychat_config_last_good",
                "1 when the files on disk are in force, 0 when older ones serve",
            ),
            unwatched: gauge(
                registry,
                "yychat_config_unwatched_folders",
                "Folders of files in force that cannot be watched, and are only looked at",
            ),
            personalities_broken: gauge(
                registry,
                "yychat_personalities_broken",
                "Faults of personality files: of each the last good version serves, or none",
            ),
            open_to_all: gauge(
                registry,
                "yychat_insecure_no_auth",
                "1 when a non-loopback listener serves without keys",
            ),
        }
    }

    /// Counts a reload.
    pub fn reloaded(&self, outcome: &'static str) {
        self.reloads.with_label_values(&[outcome]).inc();
    }
}
