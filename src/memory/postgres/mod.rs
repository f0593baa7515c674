//! The store that many gateways share: PostgreSQL.
//!
//! Rows are there, indexes of scopes here: recall asks the database for a scope's records once,
//! and a notification tells when another gateway has changed them. One connection, the [`link`],
//! is always held; the work is done on others, out of a bounded pool.
//!
//! A database that cannot be reached makes every call fail at once, until the link has it back.

mod audit;
mod erasures;
mod failure;
mod link;
#[cfg(test)]
mod network_tests;
mod pool;
mod queue;
mod read;
mod row;
mod schema;
mod server;
mod target;
#[cfg(test)]
mod tests;
mod usage;
mod write;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Client, Pool};
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::embedding::vector::Vector;
use super::erasure::Erased;
use super::record::Record;
use super::scope::Scope;
use super::store::{
    Applied, Audit, Backlog, Change, Elsewhere, Loaded, MemoryStore, Page, Pending, Position,
    Selection, StoreError,
};
use super::usage::{Day, Row};
use crate::error::Fault;
use failure::Failure;
use link::{Link, State};
use pool::Lease;
use read::Selected;
use target::{CONNECT, Target};

/// How long a call may take, be it that the server is slow or that another holds a lock.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a look at everything may take.
const AUDIT: Duration = Duration::from_secs(3600);

/// The store in PostgreSQL. Its clones are the same store.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
    runtime: Handle,
}

struct Inner {
    pool: Pool,
    link: Arc<Link>,
    alarm: Arc<Alarm>,
    /// Ends with the store.
    _keeper: AbortOnDropHandle<()>,
}

impl Postgres {
    /// Opens the store. `runtime` does all of its work. A database that cannot be reached now is
    /// no fault: it is tried for until it can be.
    ///
    /// # Errors
    ///
    /// A fault for a URL that cannot be read, and for a database that is unfit: it has a newer
    /// schema, or is not encoded in UTF-8.
    pub fn open(url: &SecretString, runtime: Handle) -> Result<Self, Fault> {
        let target = Target::parse(url.expose_secret())?;
        let link = Arc::new(Link::new());
        let pool = pool::pool(&target, &link)
            .map_err(|error| Fault::new("memory", format!("no pool: {error}"), ""))?;
        let (first, reached) = mpsc::channel();
        let keeper = runtime.spawn(link.clone().keep(target, first));
        // Where it takes longer, it is out of reach for the time being.
        if let Ok(Err(Failure::Unfit(fault))) = reached.recv_timeout(2 * CONNECT) {
            keeper.abort();
            return Err(fault);
        }
        let inner = Inner {
            pool,
            link,
            alarm: Arc::default(),
            _keeper: AbortOnDropHandle::new(keeper),
        };
        Ok(Self {
            inner: Arc::new(inner),
            runtime,
        })
    }

    /// Does `work` on the store's runtime with a connection of its own, as long as the link holds
    /// and within `bound`.
    async fn run<T, W>(&self, bound: Duration, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Client, &'c Arc<Alarm>) -> BoxFuture<'c, Result<T, Failure>>
            + Send
            + 'static,
    {
        let inner = self.inner.clone();
        let working = self.runtime.spawn(async move {
            let mut state = inner.link.state.subscribe();
            let leased = async {
                let mut lease = Lease(Some(inner.pool.get().await?));
                let Some(client) = lease.0.as_mut() else {
                    return Err(Failure::Unavailable("no connection".into()));
                };
                let value = work(client, &inner.alarm).await?;
                drop(lease.0.take());
                Ok(value)
            };
            let late = || Failure::Unavailable("the database does not answer in time".into());
            let result = tokio::select! {
                biased;
                why = down(&mut state) => Err(Failure::Unavailable(why)),
                result = timeout(bound, leased) => result.unwrap_or_else(|_| Err(late())),
            };
            if result.is_err() {
                inner.link.suspect.notify_one();
            }
            result
        });
        match working.await {
            Ok(result) => result.map_err(|failure| StoreError::Unavailable(failure.to_string())),
            Err(error) if error.is_panic() => {
                tracing::error!(
                    %error,
                    "memory store call failed by a fault of yychat's own, please report it"
                );
                Err(StoreError::Internal(error.to_string()))
            }
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    }
}

/// Waits until the database cannot be reached; why.
async fn down(state: &mut watch::Receiver<State>) -> String {
    match state.wait_for(|state| *state != State::Up).await.as_deref() {
        Ok(State::Down(why)) => why.clone(),
        _ => "the store is closed".into(),
    }
}

/// Counts what is found corrupt.
#[derive(Debug, Default)]
struct Alarm(AtomicU64);

impl Alarm {
    fn raise(&self, what: &'static str) {
        self.0.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            what,
            "memory fails its checksum and is left out; see `yychat memory audit`"
        );
    }
}

#[async_trait]
impl MemoryStore for Postgres {
    async fn load(&self, scope: &Scope) -> Result<Loaded, StoreError> {
        let scope = scope.clone();
        self.run(ANSWER, move |client, alarm| {
            Box::pin(read::load(client, scope, alarm))
        })
        .await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Applied, StoreError> {
        let link = self.inner.link.clone();
        self.run(ANSWER, move |client, _| {
            Box::pin(async move { write::apply(client, &link, &changes).await })
        })
        .await
    }

    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<Record>, StoreError> {
        let tenant = tenant.to_owned();
        self.run(ANSWER, move |client, alarm| {
            Box::pin(async move { read::get(client, &tenant, id, alarm).await })
        })
        .await
    }

    async fn holders(
        &self,
        tenant: &str,
        ids: Vec<Uuid>,
    ) -> Result<Vec<(Uuid, Scope)>, StoreError> {
        let tenant = tenant.to_owned();
        self.run(ANSWER, move |client, _| {
            Box::pin(async move { read::holders(client, &tenant, &ids).await })
        })
        .await
    }

    async fn list(
        &self,
        tenant: &str,
        selection: &Selection,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let selected = Selected::new(tenant, selection);
        self.run(ANSWER, move |client, alarm| {
            Box::pin(async move { read::list(client, &selected, (before, limit), alarm).await })
        })
        .await
    }

    async fn users(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let (tenant, after) = (tenant.to_owned(), after.unwrap_or_default().to_owned());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run(ANSWER, move |client, _| {
            Box::pin(async move { read::users(client, (&tenant, &after), limit).await })
        })
        .await
    }

    async fn part(
        &self,
        tenant: &str,
        selection: &Selection,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<Record>, bool), StoreError> {
        let selected = Selected::new(tenant, selection);
        self.run(ANSWER, move |client, alarm| {
            Box::pin(async move {
                let page = read::listed(client, &selected, (before, limit), alarm).await?;
                Ok((page.records, page.more))
            })
        })
        .await
    }

    async fn erase(&self, tenant: &str, selection: &Selection) -> Result<Erased, StoreError> {
        let (tenant, selection) = (tenant.to_owned(), selection.clone());
        let link = self.inner.link.clone();
        self.run(ANSWER, move |client, _| {
            Box::pin(async move { erasures::erase(client, &link, (&tenant, &selection)).await })
        })
        .await
    }

    async fn scan(
        &self,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        self.run(ANSWER, move |client, alarm| {
            Box::pin(read::scan(client, (after, limit), alarm))
        })
        .await
    }

    async fn put_vectors(&self, vectors: Vec<(Scope, Uuid, Vector)>) -> Result<(), StoreError> {
        let link = self.inner.link.clone();
        self.run(ANSWER, move |client, _| {
            Box::pin(async move { write::put_vectors(client, &link, &vectors).await })
        })
        .await
    }

    async fn unembedded(
        &self,
        space: u64,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        self.run(ANSWER, move |client, alarm| {
            Box::pin(read::unembedded(client, space, (after, limit), alarm))
        })
        .await
    }

    async fn claim(&self, now: i64, until: i64) -> Result<Option<Pending>, StoreError> {
        self.run(ANSWER, move |client, _| {
            Box::pin(queue::claim(client, now, until))
        })
        .await
    }

    async fn finish(
        &self,
        claimed: &Pending,
        changes: Vec<Change>,
    ) -> Result<Option<Applied>, StoreError> {
        let (link, claimed) = (self.inner.link.clone(), claimed.clone());
        self.run(ANSWER, move |client, _| {
            Box::pin(async move { queue::finish(client, &link, &claimed, &changes).await })
        })
        .await
    }

    async fn postpone(&self, claimed: &Pending, due: i64) -> Result<(), StoreError> {
        let claimed = claimed.clone();
        self.run(ANSWER, move |client, _| {
            Box::pin(async move { queue::postpone(client, &claimed, due).await })
        })
        .await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.run(ANSWER, |client, _| Box::pin(queue::backlog(client)))
            .await
    }

    async fn add_usage(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        self.run(ANSWER, move |client, _| {
            Box::pin(async move { usage::add(client, &rows).await })
        })
        .await
    }

    async fn usage(&self, tenant: Option<&str>, days: (Day, Day)) -> Result<Vec<Row>, StoreError> {
        let tenant = tenant.map(str::to_owned);
        self.run(ANSWER, move |client, _| {
            Box::pin(async move { usage::read(client, tenant.as_deref(), days).await })
        })
        .await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.run(ANSWER, |client, _| Box::pin(read::count(client)))
            .await
    }

    async fn audit(&self) -> Result<Audit, StoreError> {
        self.run(AUDIT, |client, _| Box::pin(audit::audit(client)))
            .await
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        self.run(AUDIT, |client, _| Box::pin(erasures::scrub(client)))
            .await
    }

    fn elsewhere(&self) -> broadcast::Receiver<Elsewhere> {
        self.inner.link.elsewhere.subscribe()
    }

    fn corrupt(&self) -> u64 {
        self.inner.alarm.0.load(Ordering::Relaxed)
    }

    fn trouble(&self) -> Option<String> {
        self.inner.link.trouble()
    }
}
