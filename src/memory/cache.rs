//! Scopes' indexes, kept by weight, and how they stay true to the store.
//!
//! An index is built on first touch, by one builder at a time, and what this process writes is
//! then put into it in place. Whatever else may have changed a scope moves the scope's epoch: an
//! index that was begun under another epoch is not used again.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use moka::future::Cache;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::embedding::vector::Vector;
use super::record::Record;
use super::scope::Scope;
use super::scope_index::ScopeIndex;
use super::store::{Changed, Elsewhere, Loaded, MemoryStore, Selection, StoreError};

/// Bytes of indexes and their records that are kept.
const BYTES: u64 = 96 << 20;

/// Epochs are shared by scopes of the same hash, which costs a rebuild now and then.
const EPOCHS: usize = 4096;

/// Indexes that may wait for the store at once: a store that hangs must not gather waiters.
const LOADS: usize = 256;

/// The indexes of all scopes in use. Its clones are the same.
#[derive(Clone)]
pub struct Scopes {
    store: Arc<dyn MemoryStore>,
    entries: Cache<Scope, Arc<Entry>>,
    epochs: Arc<[AtomicU64]>,
    hasher: std::hash::RandomState,
    loads: Arc<Semaphore>,
    runtime: Handle,
}

/// One scope's index.
pub struct Entry {
    epoch: u64,
    index: RwLock<ScopeIndex>,
    /// Whoever has it may work long on this scope.
    turn: Arc<Semaphore>,
}

impl Entry {
    fn new(epoch: u64, index: ScopeIndex) -> Self {
        Self {
            epoch,
            index: RwLock::new(index),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, ScopeIndex> {
        // A writer that panicked has left a version that the next change will not follow.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scopes {
    /// `runtime` does the loading and listens to the store's news of changes made elsewhere.
    pub fn new(store: Arc<dyn MemoryStore>, runtime: Handle) -> Self {
        let scopes = Self {
            store,
            entries: Cache::builder()
                .max_capacity(BYTES)
                .weigher(|_, entry: &Arc<Entry>| {
                    u32::try_from(entry.read().weight() + 512).unwrap_or(u32::MAX)
                })
                .build(),
            epochs: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect(),
            hasher: std::hash::RandomState::new(),
            loads: Arc::new(Semaphore::new(LOADS)),
            runtime,
        };
        scopes.runtime.spawn(scopes.clone().listen());
        scopes
    }

    /// The scope's index, built if need be. Cancelling the wait does not cancel the building.
    pub async fn get(&self, scope: &Scope) -> Result<Arc<Entry>, StoreError> {
        if let Some(entry) = self.cached(scope).await {
            return Ok(entry);
        }
        let permit = self.loads.clone().try_acquire_owned().map_err(|_| {
            StoreError::Unavailable(format!("{LOADS} scopes already wait for the store"))
        })?;
        let (this, scope) = (self.clone(), scope.clone());
        let load = self.runtime.spawn(async move {
            let _permit = permit;
            this.load(scope).await
        });
        load.await
            .unwrap_or_else(|e| Err(StoreError::Unavailable(e.to_string())))
    }

    /// The scope's index, if that is in memory and true to the store.
    pub async fn cached(&self, scope: &Scope) -> Option<Arc<Entry>> {
        let entry = self.entries.get(scope).await?;
        (entry.epoch == self.epoch(scope).load(Ordering::Acquire)).then_some(entry)
    }

    async fn load(&self, scope: Scope) -> Result<Arc<Entry>, StoreError> {
        if self.cached(&scope).await.is_none() {
            self.entries.invalidate(&scope).await;
        }
        let build = async {
            let epoch = self.epoch(&scope).load(Ordering::Acquire);
            let loaded = self.store.load(&scope).await?;
            let index = self.blocking(|| ScopeIndex::build(loaded)).await?;
            Ok(Arc::new(Entry::new(epoch, index)))
        };
        self.entries
            .try_get_with(scope.clone(), build)
            .await
            .map_err(|e: Arc<StoreError>| (*e).clone())
    }

    /// An index of what was said last in a scope, so many records at most.
    pub async fn lately(&self, scope: &Scope, records: usize) -> Result<Arc<Entry>, StoreError> {
        let selection = Selection::Scope(scope.clone());
        let part = self.store.part(scope.tenant(), &selection, None, records);
        let (mut records, _) = part.await?;
        records.sort_by_key(|record| (record.created_at, record.id));
        let loaded = Loaded {
            version: 0,
            records,
            vectors: Vec::new(),
        };
        let index = self.blocking(|| ScopeIndex::build(loaded)).await?;
        Ok(Arc::new(Entry::new(0, index)))
    }

    /// Does what takes long on a scope, once at a time.
    pub async fn aside<T: Send + 'static>(
        &self,
        entry: &Entry,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = |e: tokio::sync::AcquireError| StoreError::Unavailable(e.to_string());
        let turn = entry.turn.clone().acquire_owned().await.map_err(gone)?;
        let work = move || {
            let _turn = turn;
            work()
        };
        self.blocking(work).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = self.runtime.spawn_blocking(work).await;
        done.map_err(|e| StoreError::Unavailable(e.to_string()))
    }

    /// Takes up what this process has put into the store. `records` are all of the scope that the
    /// change set put; `None` where it also removed some.
    pub async fn changed(&self, changed: &Changed, records: Option<Vec<Record>>) {
        let taken_up = match (self.entries.get(&changed.scope).await, records) {
            (Some(entry), Some(records)) => {
                let mut index = entry.index.write().unwrap_or_else(PoisonError::into_inner);
                let taken_up = index.put(changed.version, records);
                drop(index);
                taken_up.then_some(entry)
            }
            _ => None,
        };
        match taken_up {
            // Weighed again, since it has grown.
            Some(entry) => self.entries.insert(changed.scope.clone(), entry).await,
            None => self.outdate(&changed.scope),
        }
    }

    /// Puts vectors of one scope into its index, if that is in memory.
    pub async fn embedded(&self, vectors: &[(Scope, Uuid, Vector)]) {
        let Some((scope, ..)) = vectors.first() else {
            return;
        };
        if let Some(entry) = self.entries.get(scope).await {
            {
                let mut index = entry.index.write().unwrap_or_else(PoisonError::into_inner);
                index.put_vectors(vectors.iter().map(|(_, id, vector)| (*id, vector)));
            }
            self.entries.insert(scope.clone(), entry).await;
        } else {
            // One that is being built may have been read before the vectors were there.
            self.outdate(scope);
        }
    }

    /// Has the scope's index built again at its next use.
    pub fn outdate(&self, scope: &Scope) {
        self.epoch(scope).fetch_add(1, Ordering::AcqRel);
    }

    fn epoch(&self, scope: &Scope) -> &AtomicU64 {
        &self.epochs[self.hasher.hash_one(scope) as usize % EPOCHS]
    }

    async fn listen(self) {
        let mut elsewhere = self.store.elsewhere();
        loop {
            match elsewhere.recv().await {
                Ok(Elsewhere::Scope(scope)) => self.outdate(&scope),
                Ok(Elsewhere::Everything) | Err(RecvError::Lagged(_)) => {
                    for epoch in self.epochs.iter() {
                        epoch.fetch_add(1, Ordering::AcqRel);
                    }
                }
                Err(RecvError::Closed) => return,
            }
        }
    }
}
