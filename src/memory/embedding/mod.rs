//! Records and queries as vectors, so that what says the same in other words is found.
//!
//! ```text
//! save    writer → worker (in the background, batched) → Embedder → store, scope index
//! recall  Embeddings::query → Embedder, raced against the deadline → scope index
//! ```
//!
//! Without a vector a record is found by its words alone; an embedder that is down costs nothing
//! but that.

mod circuit;
mod http;
#[cfg(feature = "local-embedding")]
mod local;
#[cfg(test)]
mod tests;
pub mod vector;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::bill::Bill;
use super::question::Question;
use super::record::Record;
use super::stats::{Counters, Embedding};
use crate::config::model;
use crate::error::Fault;
use circuit::Circuit;
pub use http::HttpEmbedder;
#[cfg(feature = "local-embedding")]
pub use local::LocalEmbedder;
pub use model::EmbeddingUpstream as Settings;
use vector::Vector;
pub use worker::{Fresh, Worker};

/// Query vectors that are kept.
const QUERIES: u64 = 4096;

/// Bytes of a text that are embedded: more than models look at, less than they refuse.
const MAX_BYTES: usize = 6000;

/// Bytes of a text that is refused below which its length is not the reason.
const SHORTEST: usize = 256;

/// What a text is, which some models embed differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Query,
    /// A record.
    Passage,
}

/// Turns texts into vectors.
#[async_trait]
pub trait Embedder: Send + Sync + 'static {
    /// Names the model and the number of dimensions: vectors of different spaces do not compare,
    /// and a record whose vector is of another space is embedded anew.
    fn space(&self) -> String;

    /// One vector a text, in the same order, all of the same length; what that costs is told on the
    /// bill.
    async fn embed(
        &self,
        kind: Kind,
        texts: &[String],
        bill: &Bill,
    ) -> Result<Vec<Vec<f32>>, EmbedError>;

    /// Queries that may be under way at once. More would only wait for each other until all of
    /// them are late, so they are not embedded.
    fn queries_at_once(&self) -> usize {
        64
    }
}

/// Why texts could not be embedded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// It may go better later.
    #[error("{0}")]
    Down(String),
    /// It will not take one of these texts, now or later.
    #[error("a text was refused: {0}")]
    Refused(String),
}

/// The embedder that the configuration names, if any.
///
/// # Errors
///
/// A fault when a model's folder cannot be used, or the system has no certificate authorities.
pub fn open(config: &model::Memory) -> Result<Option<Arc<dyn Embedder>>, Fault> {
    Ok(match &config.embedding {
        None => None,
        Some(model::Embedding::Upstream(settings)) => Some(Arc::new(HttpEmbedder::open(settings)?)),
        Some(model::Embedding::Folder(settings)) => Some(open_folder(settings)?),
    })
}

#[cfg(feature = "local-embedding")]
fn open_folder(settings: &model::EmbeddingFolder) -> Result<Arc<dyn Embedder>, Fault> {
    Ok(Arc::new(LocalEmbedder::open(settings)?))
}

#[cfg(not(feature = "local-embedding"))]
fn open_folder(settings: &model::EmbeddingFolder) -> Result<Arc<dyn Embedder>, Fault> {
    Err(Fault::new(
        &settings.model_dir,
        "memory.embedding.model_dir names a model that runs in this process, and this binary was \
         built without that",
        "take a released binary or build one with the feature `local-embedding`, as `cargo build \
         --release` does; or name an upstream by memory.embedding.base_url",
    ))
}

/// An embedder with what keeps it off the path of those who cannot wait.
#[derive(Clone)]
pub struct Embeddings {
    embedder: Arc<dyn Embedder>,
    /// Hash of the embedder's space.
    pub space: u64,
    queries: Cache<u128, Arc<Vector>>,
    under_way: Arc<Semaphore>,
    circuit: Arc<Circuit>,
    counters: Arc<Counters>,
    runtime: Handle,
}

impl Embeddings {
    /// `runtime` does the asking. It is not the store's: names are resolved on threads of it,
    /// which a name server that hangs keeps busy.
    pub fn new(embedder: Arc<dyn Embedder>, counters: Arc<Counters>, runtime: Handle) -> Self {
        Self {
            space: xxh3_64(embedder.space().as_bytes()),
            under_way: Arc::new(Semaphore::new(embedder.queries_at_once())),
            embedder,
            queries: Cache::new(QUERIES),
            circuit: Arc::default(),
            counters,
            runtime,
        }
    }

    /// The query's vector, if it comes within the time given. One that comes later is there for
    /// the next who asks the same. The tenant pays.
    pub async fn query(
        &self,
        tenant: &str,
        question: &Question,
        within: Duration,
    ) -> Option<Arc<Vector>> {
        let text = query_text(question.text(), question.context());
        let (outcome, vector) = self.ask(tenant, text, within).await;
        self.counters.embedding(outcome, 1);
        vector
    }

    async fn ask(
        &self,
        tenant: &str,
        text: String,
        within: Duration,
    ) -> (Embedding, Option<Arc<Vector>>) {
        let key = xxh3_128(text.as_bytes());
        if let Some(known) = self.queries.get(&key).await {
            return (Embedding::QueryCached, Some(known));
        }
        let permit = self.under_way.clone().try_acquire_owned();
        let (Ok(permit), None) = (permit, self.circuit.pause()) else {
            return (Embedding::QuerySkipped, None);
        };
        let (this, tenant) = (self.clone(), tenant.to_owned());
        let embedding = self.runtime.spawn(async move {
            let _permit = permit;
            let first = async {
                let bill = Bill::default();
                let vector = this.embed_one(Kind::Query, &text, &bill).await;
                bill.settle(this.counters.payer(), &[(&tenant, 1)]);
                vector.map(Arc::new)
            };
            this.queries.try_get_with(key, first).await
        });
        match timeout(within, embedding).await {
            Err(_) => (Embedding::QueryLate, None),
            Ok(Ok(Ok(vector))) => (Embedding::QueryEmbedded, Some(vector)),
            Ok(_) => (Embedding::QueryFailed, None),
        }
    }

    /// Embeds one text. Where it is refused, it may be too long: of a record the beginning is
    /// tried then, and of a query the end.
    async fn embed_one(&self, kind: Kind, text: &str, bill: &Bill) -> Result<Vector, EmbedError> {
        let mut part = text.to_owned();
        loop {
            match self.embed(kind, std::slice::from_ref(&part), bill).await {
                Err(EmbedError::Refused(_)) if part.len() > SHORTEST => {
                    let middle = part.floor_char_boundary(part.len() / 2);
                    match kind {
                        Kind::Query => part.drain(..middle),
                        Kind::Passage => part.drain(middle..),
                    };
                }
                vectors => {
                    let none = || EmbedError::Refused("it has no vector".into());
                    let vector = vectors?.pop().ok_or_else(none)?;
                    return Ok(vector.of(text));
                }
            }
        }
    }

    /// Embeds texts, and tells the circuit how that went.
    async fn embed(
        &self,
        kind: Kind,
        texts: &[String],
        bill: &Bill,
    ) -> Result<Vec<Vector>, EmbedError> {
        let embedded = self.embedder.embed(kind, texts, bill).await;
        let result = embedded.and_then(|vectors| {
            if vectors.len() != texts.len() {
                let why = format!("{} vectors came for {} texts", vectors.len(), texts.len());
                return Err(EmbedError::Down(why));
            }
            let of = |(values, text): (&Vec<f32>, &String)| {
                let none = || EmbedError::Refused("its vector has no direction".into());
                Vector::new(self.space, text, values).ok_or_else(none)
            };
            vectors.iter().zip(texts).map(of).collect()
        });
        match &result {
            Ok(_) => self.circuit.succeeded(),
            Err(EmbedError::Down(why)) => self.circuit.failed(why),
            Err(EmbedError::Refused(_)) => {}
        }
        result
    }
}

/// What of a query is embedded: the turns that led up to it, then itself, so that where there is
/// too much the oldest is cut.
fn query_text(text: &str, context: &[String]) -> String {
    let turns = context.iter().take(CONTEXT_TURNS).rev().map(String::as_str);
    let whole = turns.chain([text]).collect::<Vec<_>>().join("\n");
    let from = whole.ceil_char_boundary(whole.len().saturating_sub(MAX_BYTES));
    whole[from..].to_owned()
}

/// Turns before the query that are embedded with it, as many as count by their words.
const CONTEXT_TURNS: usize = 4;

/// What of a record is embedded: its text, with the name of whoever speaks, since a question says
/// "Ann" where Ann herself says "I".
pub(super) fn passage(record: &Record) -> String {
    let text = &record.text[..record.text.floor_char_boundary(MAX_BYTES)];
    match record.speaker() {
        Some(name) => format!("{name}: {text}"),
        None => text.to_owned(),
    }
}
