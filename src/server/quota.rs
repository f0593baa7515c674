//! The desk of budgets and rates, what goes on behind it, and the store that gateways share.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::runtime::Runtime;

use crate::config::model::{Config, SharedStore};
use crate::error::Fault;
use crate::memory::Memory;
use crate::quota::{Ledger, Quota};
use crate::shared::{Notes, Refusal, Store};
use crate::telemetry::Metrics;

/// Opens the desk, and finds what other gateways leave notes in; `runtime` does what no request waits
/// for.
///
/// # Errors
///
/// A fault where the shared store is there and will not do what is asked of it: its counts would
/// hold nowhere. One that is out of reach may yet come.
pub fn start(
    config: &Config,
    memory: Option<Arc<Memory>>,
    metrics: &Arc<Metrics>,
    runtime: &Runtime,
) -> Result<(Arc<Quota>, Notes), Fault> {
    let budgeted = config.auth.keys.iter().any(|key| !key.budgets.is_empty());
    if memory.is_none() && budgeted {
        tracing::warn!(
            "memory is off, and with it the store of usage: budgets begin anew at each start"
        );
    }
    let ledger = Arc::new(Ledger::new(memory));
    runtime.spawn(ledger.clone().keep());
    let quota = Quota::new(ledger, metrics.clone(), runtime.handle().clone());
    let SharedStore::Valkey { url } = &config.shared.store else {
        return Ok((Arc::new(quota), Notes::default()));
    };
    let (store, quota) = through(config, url, quota, metrics)?;
    runtime.block_on(quota.greet()).map_err(refused)?;
    runtime.spawn(quota.clone().keep());
    Ok((quota, Notes::of(store)))
}

/// Looks once whether the shared store, where one is configured, can be used; what stands in the way
/// that may yet go is a warning.
///
/// # Errors
///
/// As [`start`].
pub fn look(config: &Config) -> Result<Option<Fault>, Fault> {
    let SharedStore::Valkey { url } = &config.shared.store else {
        return Ok(None);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::new("check", format!("no runtime can be made: {error}"), ""))?;
    let metrics = Arc::new(Metrics::new());
    let ledger = Arc::new(Ledger::new(None));
    let quota = Quota::new(ledger, metrics.clone(), runtime.handle().clone());
    let (store, quota) = through(config, url, quota, &metrics)?;
    runtime.block_on(quota.greet()).map_err(refused)?;
    Ok((!store.is_up()).then(|| {
        Fault::new(
            "shared.url",
            "leads to a store that is out of reach from here",
            "start it, or see that its name and port are right; a gateway starts without it and does \
             as shared.on_failure says",
        )
    }))
}

/// What gateways leave for each other, for a command that takes some of it away.
///
/// # Errors
///
/// A URL that cannot be read.
pub fn notes(config: &Config) -> Result<Notes, Fault> {
    let SharedStore::Valkey { url } = &config.shared.store else {
        return Ok(Notes::default());
    };
    Ok(Notes::of(open(config, url, &Arc::new(Metrics::new()))?))
}

fn open(config: &Config, url: &SecretString, metrics: &Arc<Metrics>) -> Result<Arc<Store>, Fault> {
    let store = Store::new(url, config.shared.deadline, metrics.clone());
    // What the client has against the URL may quote it.
    let store = store.map_err(|_| refused(Refusal("its URL cannot be read".into())))?;
    Ok(Arc::new(store))
}

fn through(
    config: &Config,
    url: &SecretString,
    quota: Quota,
    metrics: &Arc<Metrics>,
) -> Result<(Arc<Store>, Arc<Quota>), Fault> {
    let store = open(config, url, metrics)?;
    let quota = Arc::new(quota.through(store.clone(), config.shared.on_failure));
    Ok((store, quota))
}

fn refused(why: Refusal) -> Fault {
    Fault::new(
        "shared.url",
        format!("leads to a store that cannot be used: {}", why.0),
        "check the user, its password and its rights: it needs EVALSHA, EVAL, SCRIPT LOAD, TIME, and \
         reading and writing keys that begin with `yychat:`",
    )
}
