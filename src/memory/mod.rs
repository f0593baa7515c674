//! Long-term memory: what users and assistants said, kept, and found again in about a millisecond.
//!
//! ```text
//! recall  Memory::recall → cache (a scope's index) → index (BM25) → recall (ranking) → block
//! stand   Memory::standing → standing (blocks of earlier requests) → index (all there still?)
//! save    Memory::save → writer (queue, duplicates, one sync for many) → store → cache (in place)
//! extract store's queue → extraction (prompt, model) → writer → store; off by default
//! ```
//!
//! [`said`] tells what was said from what was put around it,
//! [`scope`] says whose a record is, [`record`] what it is, [`store`] what is asked of a store,
//! [`embedded`] the one that needs nothing installed, [`postgres`] the one that many gateways
//! share. Nothing above a store takes itself for its only user.

mod access;
mod background;
mod beside;
pub mod bill;
pub mod block;
mod cache;
mod doctor;
mod embedded;
pub mod embedding;
mod erasure;
mod export;
pub mod extraction;
mod find;
mod handover;
mod import;
mod index;
mod kept;
mod known;
mod left;
mod line;
mod moment;
mod plan;
mod postgres;
mod question;
mod queue;
mod ranking;
mod recall;
pub mod record;
mod said;
pub mod scope;
mod scope_index;
mod similar;
mod standing;
mod stats;
pub mod store;
mod tries;
mod unsaved;
pub mod usage;
mod writer;

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod doctor_tests;
#[cfg(test)]
mod doubles;
#[cfg(test)]
mod erasure_tests;
#[cfg(test)]
mod find_tests;
#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod standing_tests;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transfer_tests;
#[cfg(test)]
mod turn_tests;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;

pub use beside::Beside;
pub use doctor::{Doctor, Finding, Ill};
pub use embedded::Embedded;
pub use export::{ExportError, Parts, lines};
pub use import::{Import, ImportError, Imported};
pub use index::Clock;
pub use kept::Turn;
pub use known::Known;
pub use line::Line;
pub use postgres::Postgres;
pub use question::Question;
pub use recall::{Outcome, Recall, RecallQuery, Recalled};
pub use record::{Record, Source};
pub use said::{answer_words, is_progress, user_words};
pub use scope::{Scope, valid_id};
pub use standing::Place;
pub use stats::{Embedding, Extracted, Fact, Stats};
pub use store::{Audit, Backlog, MemoryStore, Page, Selection, StoreError};
pub use tries::History;

use crate::config::model;
use crate::error::Fault;
use crate::shared::Notes;
use background::Background;
use cache::Scopes;
use embedding::{Embedder, Embeddings, Worker};
use extraction::{Extraction, Feed};
use question::CacheKey;
use queue::Jobs;
use ranking::Ranking;
use standing::Standing;
use stats::Counters;
use tries::Tries;
use writer::{Job, Writer};

/// Memory, as the rest of the program sees it. It has runtimes of its own, so that neither a
/// store that hangs, nor an embedder, nor the end of another runtime harms it.
pub struct Memory {
    store: Arc<dyn MemoryStore>,
    scopes: Scopes,
    /// `None` when the configuration turns the recall cache off.
    rankings: Option<Cache<CacheKey, Arc<Ranking>>>,
    standing: Standing,
    known: Known,
    tries: Tries,
    jobs: Jobs,
    counters: Arc<Counters>,
    embeddings: Option<Embeddings>,
    extraction: watch::Sender<Option<Extraction>>,
    /// Its clone works in the background.
    worker: extraction::Worker,
    /// Whether other gateways have the same store.
    is_shared: bool,
    /// What they leave for each other.
    notes: OnceLock<Notes>,
    /// The store's, and the embedder's.
    _runtimes: (Background, Option<Background>),
}

impl Memory {
    /// Opens the store that the configuration names. No runtime is needed. With an embedder,
    /// records are also found by meaning.
    ///
    /// # Errors
    ///
    /// A fault when the store cannot be opened.
    pub fn open(
        config: &model::Memory,
        embedder: Option<Arc<dyn Embedder>>,
    ) -> Result<Self, Fault> {
        Self::open_by(Embedded::open, config, embedder)
    }

    /// Opens a store that is there: who only looks at one, or takes something out, begins none.
    ///
    /// # Errors
    ///
    /// A fault when there is no store, or when it cannot be opened.
    pub fn open_existing(
        config: &model::Memory,
        embedder: Option<Arc<dyn Embedder>>,
    ) -> Result<Self, Fault> {
        if let model::Store::Embedded { path } = &config.store {
            Embedded::found(path)?;
        }
        Self::open(config, embedder)
    }

    /// Whether a store is there, as far as that can be told without opening it.
    pub fn is_begun(config: &model::Memory) -> bool {
        match &config.store {
            model::Store::Embedded { path } => Embedded::found(path).is_ok(),
            model::Store::Postgres { .. } => true,
        }
    }

    fn open_by(
        open: fn(&Path) -> Result<Embedded, Fault>,
        config: &model::Memory,
        embedder: Option<Arc<dyn Embedder>>,
    ) -> Result<Self, Fault> {
        let runtime = Background::start("memory")?;
        let store: Arc<dyn MemoryStore> = match &config.store {
            model::Store::Embedded { path } => Arc::new(open(path)?),
            model::Store::Postgres { url } => {
                Arc::new(Postgres::open(url, runtime.handle().clone())?)
            }
        };
        Self::assembled((store, runtime), config, embedder)
    }

    /// Memory on a store that is already open.
    ///
    /// # Errors
    ///
    /// A fault when the system grants no threads.
    pub fn with_store(
        store: Arc<dyn MemoryStore>,
        config: &model::Memory,
        embedder: Option<Arc<dyn Embedder>>,
    ) -> Result<Self, Fault> {
        Self::assembled((store, Background::start("memory")?), config, embedder)
    }

    fn assembled(
        (store, runtime): (Arc<dyn MemoryStore>, Background),
        config: &model::Memory,
        embedder: Option<Arc<dyn Embedder>>,
    ) -> Result<Self, Fault> {
        let embedding = embedder.is_some().then(|| Background::start("embedding"));
        let embedding = embedding.transpose()?;
        let scopes = Scopes::new(store.clone(), runtime.handle().clone());
        let counters = Arc::new(Counters::default());
        let (jobs, queue) = queue::queue();
        let embeddings = embedder.zip(embedding.as_ref()).map(|(embedder, runtime)| {
            Embeddings::new(embedder, counters.clone(), runtime.handle().clone())
        });
        let fresh = embeddings
            .clone()
            .zip(embedding.as_ref())
            .map(|(embeddings, runtime)| {
                let (fresh, worker) =
                    Worker::new(embeddings, store.clone(), scopes.clone(), counters.clone());
                runtime.spawn(worker.run());
                fresh
            });
        let (extraction, settings) = watch::channel(None);
        let feed = Feed {
            settings,
            queued: Arc::new(Notify::new()),
        };
        let worker = extraction::Worker {
            store: store.clone(),
            scopes: scopes.clone(),
            counters: counters.clone(),
            jobs: jobs.downgrade(),
        };
        runtime.spawn(worker.clone().run(feed.clone()));
        let tries = Tries::default();
        let feeds = (feed, tries.clone());
        let writer = Writer::new(
            store.clone(),
            scopes.clone(),
            counters.clone(),
            fresh,
            feeds,
        );
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
            standing: Standing::default(),
            known: Known::default(),
            tries,
            jobs,
            counters,
            embeddings,
            extraction,
            worker,
            notes: OnceLock::new(),
            is_shared: matches!(config.store, model::Store::Postgres { .. }),
            _runtimes: (runtime, embedding),
        })
    }

    /// What was worked out of texts lately.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Queues a finished exchange to be saved. It never waits: where the queue has no room for it,
    /// the turn is dropped, counted and logged.
    pub fn save(&self, turn: Turn) {
        if !self.jobs.try_send(turn) {
            self.dropped();
        }
    }

    /// The same, and waits for room as long as the store gets on, so that whoever asks for more
    /// than it can take is slowed down. While it writes nothing, turns are dropped at once.
    pub async fn save_in_time(&self, turn: Turn) {
        if !self.jobs.send_in_time(turn).await {
            self.dropped();
        }
    }

    fn dropped(&self) {
        self.counters.overflow();
        let (turns, bytes) = (self.jobs.waiting(), queue::BYTES);
        tracing::warn!(turns, bytes, "save queue is full, turn dropped");
    }

    /// Waits until everything that was queued is on disk; `false` if that takes longer, or if the
    /// store refuses some of it.
    pub async fn drain(&self, at_most: Duration) -> bool {
        let flush = async {
            let (done, flushed) = oneshot::channel();
            self.jobs.send(Job::Flush(done)).await.is_ok() && flushed.await.unwrap_or(false)
        };
        timeout(at_most, flush).await.unwrap_or(false)
    }

    /// Whether records are also found by meaning.
    pub fn embeds(&self) -> bool {
        self.embeddings.is_some()
    }

    /// Extracts facts so from now on, in the background; `None` stops it, and what is queued
    /// stays.
    pub fn extract_with(&self, extraction: Option<Extraction>) {
        self.extraction.send_replace(extraction);
    }

    /// The numbers as they stand; how many records there are, [`Memory::count`] asks the store.
    pub fn stats(&self) -> Stats {
        Stats {
            queue: self.jobs.waiting() as u64,
            queue_bytes: self.jobs.bytes() as u64,
            corrupt: self.store.corrupt(),
            ..self.counters.stats()
        }
    }
}
