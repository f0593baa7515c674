//! The connections that the work is done on.

use std::sync::Arc;

use deadpool_postgres::{
    BuildError, Client, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};

use super::link::Link;
use super::target::{CONNECT, Target};

/// Connections at most, beside the link's.
const CONNECTIONS: usize = 8;

/// Of each connection: how long a statement may take.
pub const TIMEOUT: &str = "SET statement_timeout = '30s'";

/// Of each connection, whatever the server's defaults: a statement sees what was committed before
/// it, and a commit is acknowledged once it is on disk.
const SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; \
    SET idle_in_transaction_session_timeout = '30s'; \
    SELECT set_config('synchronous_commit', 'on', false) \
        WHERE current_setting('synchronous_commit') = 'off'";

pub fn pool(target: &Target, link: &Arc<Link>) -> Result<Pool, BuildError> {
    let recycling_method = RecyclingMethod::Fast;
    let manager = Manager::from_config(
        target.config.clone(),
        target.tls.clone(),
        ManagerConfig { recycling_method },
    );
    let made = link.clone();
    let settings = Hook::async_fn(move |client, _| {
        let link = made.clone();
        Box::pin(async move {
            let set = client
                .batch_execute(&format!("{TIMEOUT}; {SETTINGS}"))
                .await;
            set.map_err(HookError::Backend)?;
            // What is read and written elsewhere than where the link hears would be missed.
            match link.is_with(client).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(HookError::message("it leads to another server")),
                Err(failure) => Err(HookError::message(failure.to_string())),
            }
        })
    });
    let used = link.clone();
    let current = Hook::sync_fn(
        move |_, metrics| match used.is_later_than(metrics.created) {
            true => Err(HookError::message("it was made before the link was")),
            false => Ok(()),
        },
    );
    Pool::builder(manager)
        .max_size(CONNECTIONS)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(CONNECT))
        .create_timeout(Some(CONNECT))
        .recycle_timeout(Some(CONNECT))
        .post_create(settings)
        .pre_recycle(current)
        .build()
}

/// A connection that is closed when it is dropped: whoever had it did not come to an end with it.
/// Taken out, it goes back to the pool.
pub struct Lease(pub Option<Client>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.take().map(Client::take);
    }
}
