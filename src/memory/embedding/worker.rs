//! Embeds what was saved, in the background, and what has no vector yet.
//!
//! The store is the queue: a record without an up-to-date vector is to be embedded. What is told
//! here only saves looking for it, so that nothing is lost with the process.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::sleep;
use uuid::Uuid;

use super::circuit::PAUSES;
use super::vector::Vector;
use super::{EmbedError, Embeddings, Kind, passage};
use crate::memory::bill::Bill;
use crate::memory::cache::Scopes;
use crate::memory::record::Record;
use crate::memory::scope::Scope;
use crate::memory::stats::{Counters, Embedding};
use crate::memory::store::{MemoryStore, Position, StoreError};

/// Texts embedded at once.
const BATCH: usize = 32;

/// Records that the sweep looks at in one go.
const SWEEP: usize = 1000;

/// New records that may wait; beyond that the sweep finds them.
const QUEUE: usize = 4096;

/// A record that may need a vector.
struct Wanting {
    scope: Scope,
    id: Uuid,
    text: String,
}

impl From<&Record> for Wanting {
    fn from(record: &Record) -> Self {
        Self {
            scope: record.scope.clone(),
            id: record.id,
            text: passage(record),
        }
    }
}

/// Tells the worker of records that were saved.
#[derive(Clone)]
pub struct Fresh(mpsc::Sender<Wanting>);

impl Fresh {
    /// Never waits: what has no room is found by a sweep.
    pub fn saved<'a>(&self, records: impl Iterator<Item = &'a Record>) {
        for record in records {
            if self.0.try_send(record.into()).is_err() {
                return;
            }
        }
    }
}

pub struct Worker {
    pub embeddings: Embeddings,
    pub store: Arc<dyn MemoryStore>,
    pub scopes: Scopes,
    pub counters: Arc<Counters>,
    fresh: mpsc::Receiver<Wanting>,
}

impl Worker {
    pub fn new(
        embeddings: Embeddings,
        store: Arc<dyn MemoryStore>,
        scopes: Scopes,
        counters: Arc<Counters>,
    ) -> (Fresh, Self) {
        let (sender, fresh) = mpsc::channel(QUEUE);
        let worker = Self {
            embeddings,
            store,
            scopes,
            counters,
            fresh,
        };
        (Fresh(sender), worker)
    }

    /// Works until nobody can tell it of more.
    pub async fn run(mut self) {
        self.sweep().await;
        let mut batch = Vec::with_capacity(BATCH);
        while self.fresh.recv_many(&mut batch, BATCH).await > 0 {
            // With the queue full, some were not told.
            let overflown = self.fresh.len() + batch.len() >= QUEUE;
            self.embed(std::mem::take(&mut batch)).await;
            if overflown {
                while self.fresh.try_recv().is_ok() {}
                self.sweep().await;
            }
        }
    }

    /// Embeds every record of the store that has no vector of this space and of its text.
    async fn sweep(&self) {
        let mut after: Option<Position> = None;
        loop {
            let space = self.embeddings.space;
            match self.store.unembedded(space, after.clone(), SWEEP).await {
                Ok((records, next)) => {
                    for records in records.chunks(BATCH) {
                        self.embed(records.iter().map(Wanting::from).collect())
                            .await;
                    }
                    after = next;
                    if after.is_none() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "records without a vector cannot be looked for");
                    sleep(PAUSES[1]).await;
                }
            }
        }
    }

    /// Embeds and stores, again and again until both are done. A record that the embedder refuses
    /// is left without a vector.
    async fn embed(&self, wanting: Vec<Wanting>) {
        let vectors = loop {
            if let Some(pause) = self.embeddings.circuit.pause() {
                sleep(pause).await;
            }
            let bill = Bill::default();
            let vectors = self.try_embed(&wanting, &bill).await;
            let shares = wanting.iter().map(|w| (w.scope.tenant(), w.text.len()));
            bill.settle(self.counters.payer(), &shares.collect::<Vec<_>>());
            match vectors {
                Some(vectors) => break vectors,
                None => self
                    .counters
                    .embedding(Embedding::RecordFailed, wanting.len()),
            }
        };
        let vectors: Vec<_> = wanting
            .into_iter()
            .zip(vectors)
            .filter_map(|(wanting, vector)| Some((wanting.scope, wanting.id, vector?)))
            .collect();
        let mut told = false;
        while let Err(error) = self.keep(&vectors).await {
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(%error, "vectors not stored yet; tried again until they are");
            }
            sleep(PAUSES[0]).await;
        }
    }

    /// A vector for each, or none where that one is refused; `None` where the embedder is down.
    async fn try_embed(&self, wanting: &[Wanting], bill: &Bill) -> Option<Vec<Option<Vector>>> {
        let texts: Vec<String> = wanting.iter().map(|w| w.text.clone()).collect();
        match self.embeddings.embed(Kind::Passage, &texts, bill).await {
            Ok(vectors) => return Some(vectors.into_iter().map(Some).collect()),
            Err(EmbedError::Down(_)) => return None,
            Err(EmbedError::Refused(_)) => {}
        }
        let mut vectors = Vec::with_capacity(texts.len());
        let mut refused = 0;
        for text in &texts {
            match self.embeddings.embed_one(Kind::Passage, text, bill).await {
                Ok(vector) => vectors.push(Some(vector)),
                Err(EmbedError::Down(_)) => return None,
                Err(error @ EmbedError::Refused(_)) => {
                    vectors.push(None);
                    refused += 1;
                    // What it has against every one of several texts, it has against all texts.
                    if refused == texts.len() && refused > 1 {
                        self.embeddings.circuit.failed(&error.to_string());
                    }
                }
            }
        }
        self.counters.embedding(Embedding::RecordRefused, refused);
        Some(vectors)
    }

    async fn keep(&self, vectors: &[(Scope, Uuid, Vector)]) -> Result<(), StoreError> {
        self.store.put_vectors(vectors.to_vec()).await?;
        for of_scope in vectors.chunk_by(|a, b| a.0 == b.0) {
            self.scopes.embedded(of_scope).await;
        }
        self.counters
            .embedding(Embedding::RecordEmbedded, vectors.len());
        Ok(())
    }
}
