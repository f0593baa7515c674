//! Stores for tests: one that answers little or nothing, and one behind something that may refuse.

use async_trait::async_trait;
use tokio::sync::broadcast;
use uuid::Uuid;

use super::erasure::Erased;
use super::store::{
    Applied, Audit, Backlog, Change, Elsewhere, Loaded, MemoryStore, Page, Pending, Position,
    Selection, StoreError,
};
use super::{Embedded, Record, Scope};

/// Answers nothing, ever, but for what is given, whichever scope is meant.
pub struct Hanging {
    /// What a scope is loaded as.
    pub loaded: Option<Vec<Record>>,
    /// What is listed, the oldest first.
    pub listed: Option<Vec<Record>>,
    pub news: broadcast::Sender<Elsewhere>,
}

impl Default for Hanging {
    fn default() -> Self {
        Self {
            loaded: None,
            listed: None,
            news: broadcast::channel(1).0,
        }
    }
}

#[async_trait]
impl MemoryStore for Hanging {
    async fn load(&self, _: &Scope) -> Result<Loaded, StoreError> {
        match &self.loaded {
            Some(records) => Ok(Loaded {
                version: 1,
                records: records.clone(),
                vectors: Vec::new(),
            }),
            None => std::future::pending().await,
        }
    }
    async fn list(
        &self,
        _: &str,
        _: &Selection,
        _: Option<Uuid>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        match &self.listed {
            Some(records) => Ok(Page {
                records: records.iter().rev().take(limit).cloned().collect(),
                total: records.len() as u64,
                more: records.len() > limit,
            }),
            None => std::future::pending().await,
        }
    }
    async fn apply(&self, _: Vec<Change>) -> Result<Applied, StoreError> {
        std::future::pending().await
    }
    async fn get(&self, _: &str, _: Uuid) -> Result<Option<Record>, StoreError> {
        std::future::pending().await
    }
    async fn erase(&self, _: &str, _: &Selection) -> Result<Erased, StoreError> {
        std::future::pending().await
    }
    async fn scan(
        &self,
        _: Option<Position>,
        _: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        std::future::pending().await
    }
    async fn claim(&self, _: i64, _: i64) -> Result<Option<Pending>, StoreError> {
        std::future::pending().await
    }
    async fn finish(&self, _: &Pending, _: Vec<Change>) -> Result<Option<Applied>, StoreError> {
        std::future::pending().await
    }
    async fn postpone(&self, _: &Pending, _: i64) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn backlog(&self) -> Result<Backlog, StoreError> {
        std::future::pending().await
    }
    async fn count(&self) -> Result<u64, StoreError> {
        std::future::pending().await
    }
    async fn audit(&self) -> Result<Audit, StoreError> {
        std::future::pending().await
    }
    async fn scrub(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
    fn elsewhere(&self) -> broadcast::Receiver<Elsewhere> {
        self.news.subscribe()
    }
}

/// What changes have to pass on their way to a store.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    async fn pass(&self, changes: &[Change]) -> Result<(), StoreError>;
}

/// A store behind a gate.
pub struct Behind<G> {
    pub store: Embedded,
    pub gate: G,
}

#[async_trait]
impl<G: Gate> MemoryStore for Behind<G> {
    async fn load(&self, scope: &Scope) -> Result<Loaded, StoreError> {
        self.store.load(scope).await
    }
    async fn apply(&self, changes: Vec<Change>) -> Result<Applied, StoreError> {
        self.gate.pass(&changes).await?;
        self.store.apply(changes).await
    }
    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<Record>, StoreError> {
        self.store.get(tenant, id).await
    }
    async fn list(
        &self,
        tenant: &str,
        selection: &Selection,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.store.list(tenant, selection, before, limit).await
    }
    async fn erase(&self, tenant: &str, selection: &Selection) -> Result<Erased, StoreError> {
        self.store.erase(tenant, selection).await
    }
    async fn scan(
        &self,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        self.store.scan(after, limit).await
    }
    async fn claim(&self, now: i64, until: i64) -> Result<Option<Pending>, StoreError> {
        self.store.claim(now, until).await
    }
    async fn finish(
        &self,
        claimed: &Pending,
        changes: Vec<Change>,
    ) -> Result<Option<Applied>, StoreError> {
        self.store.finish(claimed, changes).await
    }
    async fn postpone(&self, claimed: &Pending, due: i64) -> Result<(), StoreError> {
        self.store.postpone(claimed, due).await
    }
    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.store.backlog().await
    }
    async fn count(&self) -> Result<u64, StoreError> {
        self.store.count().await
    }
    async fn audit(&self) -> Result<Audit, StoreError> {
        self.store.audit().await
    }
    async fn scrub(&self) -> Result<(), StoreError> {
        self.store.scrub().await
    }
    fn elsewhere(&self) -> broadcast::Receiver<Elsewhere> {
        self.store.elsewhere()
    }
}

/// Refuses all while it is true.
pub type Refuses = std::sync::atomic::AtomicBool;

#[async_trait]
impl Gate for Refuses {
    async fn pass(&self, _: &[Change]) -> Result<(), StoreError> {
        match self.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("disk full".into())),
            false => Ok(()),
        }
    }
}
