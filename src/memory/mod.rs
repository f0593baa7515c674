//! Long-term memory: what users and assistants said, kept, and found again in about a millisecond.
//!
//! ```text
//! recall  Memory::recall → cache (a scope's index) → index (BM25) → recall (ranking) → block
//! save    Memory::save → writer (queue, duplicates, one sync for many) → store → cache (in place)
//! ```
//!
//! [`scope`] says whose a record is, [`record`] what it is, [`store`] what is asked of a store,
//! [`embedded`] the one that needs nothing installed. Nothing above a store takes itself for its
//! only user.

pub mod block;
mod cache;
mod embedded;
mod index;
mod recall;
pub mod record;
pub mod scope;
mod similar;
mod stats;
pub mod store;
mod transfer;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

pub use embedded::Embedded;
pub use recall::{Outcome, Recall, RecallQuery, Recalled};
pub use record::{Line, Record, Source};
pub use scope::{Scope, valid_id};
pub use stats::Stats;
pub use store::{Audit, MemoryStore, Page, Selection, StoreError};
pub use transfer::ImportError;
pub use writer::Turn;

use crate::config::model;
use crate::error::{ApiError, Fault};
use cache::Scopes;
use index::Query;
use recall::{CacheKey, Ranking};
use stats::Counters;
use writer::{Edit, Job, Writer};

/// Turns and writes that may wait for the store.
const QUEUE: usize = 8192;

/// How long a caller of the API waits for its write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Memory, as the rest of the program sees it. It has a runtime of its own, so that neither a
/// store that hangs nor the end of another runtime harms it.
pub struct Memory {
    store: Arc<dyn MemoryStore>,
    scopes: Scopes,
    /// `None` when the configuration turns the recall cache off.
    rankings: Option<Cache<CacheKey, Arc<Ranking>>>,
    jobs: mpsc::Sender<Job>,
    counters: Arc<Counters>,
    corrupt: Option<Embedded>,
    /// Taken when dropped.
    runtime: Option<Runtime>,
}

impl Memory {
    /// Opens the store that the configuration names. No runtime is needed.
    ///
    /// # Errors
    ///
    /// A fault when the store cannot be opened.
    pub fn open(config: &model::Memory) -> Result<Self, Fault> {
        match &config.store {
            model::Store::Embedded { path } => {
                let store = Embedded::open(path)?;
                let mut memory = Self::with_store(Arc::new(store.clone()), config)?;
                memory.corrupt = Some(store);
                Ok(memory)
            }
            model::Store::Postgres { .. } => Err(Fault::new(
                "memory.store",
                "memory.store = \"postgres\" is not supported yet",
                "set memory.store = \"embedded\"",
            )),
        }
    }

    /// Memory on a store that is already open.
    ///
    /// # Errors
    ///
    /// A fault when the system grants no threads.
    pub fn with_store(store: Arc<dyn MemoryStore>, config: &model::Memory) -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("memory")
            .enable_all()
            .build()
            .map_err(|e| {
                let what = format!("memory cannot start its threads: {e}");
                Fault::new("memory", what, "raise the limit of processes")
            })?;
        let scopes = Scopes::new(store.clone(), runtime.handle().clone());
        let counters = Arc::new(Counters::default());
        let (jobs, queue) = mpsc::channel(QUEUE);
        let writer = Writer {
            store: store.clone(),
            scopes: scopes.clone(),
            counters: counters.clone(),
            save: config.save,
        };
        runtime.spawn(writer.run(queue));
        let rankings = (config.cache_capacity > 0).then(|| {
            Cache::builder()
                .max_capacity(config.cache_capacity)
                .time_to_live(config.cache_ttl)
                .build()
        });
        Ok(Self {
            store,
            scopes,
            rankings,
            jobs,
            counters,
            corrupt: None,
            runtime: Some(runtime),
        })
    }

    /// Finds what the scope remembers of the query. It answers by the deadline, whatever the
    /// store does.
    pub async fn recall(&self, scope: &Scope, query: &RecallQuery) -> Recall {
        let nothing = |outcome| Recall {
            outcome,
            cached: false,
            records: Vec::new(),
        };
        let recall = match timeout(query.deadline, self.find(scope, query)).await {
            Err(_) => nothing(Outcome::Timeout),
            Ok(Err(error)) => {
                tracing::warn!(%error, "recall failed");
                nothing(Outcome::Error)
            }
            Ok(Ok((records, cached))) => Recall {
                outcome: if records.is_empty() {
                    Outcome::Miss
                } else {
                    Outcome::Hit
                },
                cached,
                records,
            },
        };
        self.counters.recalled(recall.outcome);
        if matches!(recall.outcome, Outcome::Hit | Outcome::Miss) {
            self.counters.cache(recall.cached);
        }
        recall
    }

    async fn find(
        &self,
        scope: &Scope,
        query: &RecallQuery,
    ) -> Result<(Vec<Recalled>, bool), StoreError> {
        let entry = self.scopes.get(scope).await?;
        let analysed = Query::new(&query.text, &query.context);
        let answer = |ranking: &Ranking| {
            entry
                .read()
                .answer(ranking, query.limit, &query.already_sent)
        };
        let Some(rankings) = &self.rankings else {
            let ranking = entry.read().rank(&analysed, query.limit);
            return Ok((answer(&ranking), false));
        };
        let key = CacheKey::new(scope, &analysed);
        let found = rankings
            .entry(key.clone())
            .or_insert_with(async { Arc::new(entry.read().rank(&analysed, query.limit)) })
            .await;
        if found.is_fresh() {
            return Ok((answer(found.value()), false));
        }
        let old = found.into_value();
        let refreshed = entry.read().refresh(&old, &analysed, query.limit);
        let cached = refreshed.is_some();
        let ranking =
            refreshed.unwrap_or_else(|| Arc::new(entry.read().rank(&analysed, query.limit)));
        if !Arc::ptr_eq(&old, &ranking) {
            rankings.insert(key, ranking.clone()).await;
        }
        Ok((answer(&ranking), cached))
    }

    /// Queues a finished exchange to be saved. It never waits: when the queue is full the turn is
    /// dropped, counted and logged.
    pub fn save(&self, turn: Turn) {
        if self.jobs.try_send(Job::Turn(Box::new(turn))).is_err() {
            self.counters.overflow();
            tracing::warn!(queue = QUEUE, "save queue is full, turn dropped");
        }
    }

    /// Waits until everything that was queued is on disk; `false` if that takes longer.
    pub async fn drain(&self, at_most: Duration) -> bool {
        let flush = async {
            let (done, flushed) = oneshot::channel();
            self.jobs.send(Job::Flush(done)).await.is_ok() && flushed.await.is_ok()
        };
        timeout(at_most, flush).await.unwrap_or(false)
    }

    /// The numbers as they stand; how many records there are, [`Memory::count`] asks the store.
    pub fn stats(&self) -> Stats {
        Stats {
            queue: (self.jobs.max_capacity() - self.jobs.capacity()) as u64,
            corrupt: self.corrupt.as_ref().map_or(0, Embedded::corrupt),
            ..self.counters.stats()
        }
    }

    /// Adds a record and gives it back once it is on disk; the same text of the same role and
    /// conversation gives the record that is already there.
    ///
    /// # Errors
    ///
    /// 400 or 413 for a bad text, 503 when the store refuses.
    pub async fn create(&self, record: Record) -> Result<Record, ApiError> {
        record::check_text(&record.text)?;
        self.write(|reply| Job::Create(Box::new(record), reply))
            .await
    }

    /// The record of this id, if it is the tenant's, and the user's where one is given.
    ///
    /// # Errors
    ///
    /// 404 for no such record, or another's.
    pub async fn get(
        &self,
        tenant: &str,
        user: Option<&str>,
        id: &str,
    ) -> Result<Record, ApiError> {
        let found = match Uuid::parse_str(id) {
            Ok(id) => self.read(self.store.get(tenant, id)).await?,
            Err(_) => None,
        };
        found
            .filter(|r| user.is_none() || r.scope.user().map(|u| &**u) == user)
            .ok_or_else(not_found)
    }

    /// Gives a record another text; the old one stays in its history.
    ///
    /// # Errors
    ///
    /// As [`Memory::get`] and [`Memory::create`].
    pub async fn update(
        &self,
        tenant: &str,
        user: Option<&str>,
        (id, text): (&str, String),
    ) -> Result<Record, ApiError> {
        record::check_text(&text)?;
        let id = self.get(tenant, user, id).await?.id;
        let edit = Edit {
            tenant: tenant.to_owned(),
            id,
            text,
            now: jiff::Timestamp::now().as_millisecond(),
        };
        self.write(|reply| Job::Edit(edit, reply))
            .await?
            .ok_or_else(not_found)
    }

    /// Removes a record.
    ///
    /// # Errors
    ///
    /// As [`Memory::get`]; 503 when the store refuses.
    pub async fn delete(&self, tenant: &str, user: Option<&str>, id: &str) -> Result<(), ApiError> {
        let record = self.get(tenant, user, id).await?;
        self.write(|reply| Job::Remove(record.scope, record.id, reply))
            .await
    }

    /// Removes all that is selected; how many records that were.
    ///
    /// # Errors
    ///
    /// 503 when the store refuses.
    pub async fn delete_all(&self, tenant: &str, selection: Selection) -> Result<u64, ApiError> {
        let tenant = tenant.to_owned();
        self.write(|reply| Job::Delete(tenant, selection, reply))
            .await
    }

    /// A page of a tenant's records, the newest first, after the one that `cursor` (an id) names.
    ///
    /// # Errors
    ///
    /// 400 for a bad cursor, 503 when the store fails.
    pub async fn list(
        &self,
        tenant: &str,
        selection: &Selection,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page, ApiError> {
        let before = cursor.map(Uuid::parse_str).transpose().map_err(|_| {
            let message = "cursor is not one that a list gave: leave it out to begin anew";
            ApiError::bad_request(message).param("cursor")
        })?;
        self.read(self.store.list(tenant, selection, before, limit))
            .await
    }

    /// Records in all.
    ///
    /// # Errors
    ///
    /// 503 when the store fails.
    pub async fn count(&self) -> Result<u64, ApiError> {
        self.read(self.store.count()).await
    }

    /// Looks at every record, checksum and entry.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn audit(&self) -> Result<Audit, StoreError> {
        self.store.audit().await
    }

    async fn read<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, ApiError> {
        match timeout(WRITE_TIMEOUT, answer).await {
            Ok(result) => result.map_err(refused),
            Err(_) => Err(too_late()),
        }
    }

    async fn write<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let written = async {
            let gone = || StoreError::Unavailable("memory has stopped".into());
            self.jobs.send(job(reply)).await.map_err(|_| gone())?;
            answer.await.unwrap_or_else(|_| Err(gone()))
        };
        match timeout(WRITE_TIMEOUT, written).await {
            Ok(result) => result.map_err(refused),
            Err(_) => Err(too_late()),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A plain drop waits for the store, and panics within another runtime.
            runtime.shutdown_background();
        }
    }
}

fn not_found() -> ApiError {
    ApiError::not_found("no such memory: list them with GET /v1/memories").code("memory_not_found")
}

fn refused(error: StoreError) -> ApiError {
    unavailable(format!("{error}; nothing was written: try again later"))
}

fn too_late() -> ApiError {
    unavailable("the memory store does not answer; whether it wrote is not known: try again later")
}

fn unavailable(message: impl Into<String>) -> ApiError {
    let mut error =
        ApiError::new(http::StatusCode::SERVICE_UNAVAILABLE, message).code("memory_unavailable");
    error.retry_after = Some(1);
    error
}
