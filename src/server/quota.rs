//! The desk of budgets and rates, and what goes on behind it.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::config::model::{Config, SharedStore};
use crate::memory::Memory;
use crate::quota::{Ledger, Quota};
use crate::telemetry::Metrics;

/// Opens the desk; `runtime` does what no request waits for.
pub fn start(
    config: &Config,
    memory: Option<Arc<Memory>>,
    metrics: &Arc<Metrics>,
    runtime: &Handle,
) -> Arc<Quota> {
    let budgeted = config.auth.keys.iter().any(|key| !key.budgets.is_empty());
    if memory.is_none() && budgeted {
        tracing::warn!(
            "memory is off, and with it the store of usage: budgets begin anew at each start"
        );
    }
    let ledger = Arc::new(Ledger::new(memory));
    runtime.spawn(ledger.clone().keep());
    let quota = Quota::new(ledger, metrics.clone(), runtime.clone());
    let SharedStore::Valkey { url } = &config.shared.store else {
        return Arc::new(quota);
    };
    let shared = &config.shared;
    let quota = Arc::new(quota.through(url.clone(), shared.deadline, shared.on_failure));
    let keeping = quota.clone();
    runtime.spawn(async move {
        keeping.greet().await;
        keeping.keep().await;
    });
    quota
}
