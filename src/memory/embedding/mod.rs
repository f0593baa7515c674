//! Records and queries as vectors, so that what says the same in other words is found.
//!
//! ```text
//! save    writer → worker (in the background, batched) → Embedder → store, scope index
//! recall  Embeddings::query → Embedder, raced against the deadline → scope index
//! ```
//!
//! Without a vector a record is found by its words alone; an embedder that is down costs nothing
//! but that.

mod http;
#[cfg(test)]
mod tests;
pub mod vector;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

pub use http::{HttpEmbedder, Settings};
use vector::Vector;
pub use worker::{Fresh, Worker};

/// Query vectors that are kept.
const QUERIES: u64 = 4096;

/// Bytes of a text that are embedded: more than models look at, less than they refuse.
const MAX_BYTES: usize = 6000;

/// Pauses of an embedder that fails: after the first failure, and at most.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

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

    /// One vector a text, in the same order, all of the same length.
    async fn embed(&self, kind: Kind, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError>;
}

/// Why texts could not be embedded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("embedding failed: {0}")]
pub struct EmbedError(pub String);

/// An embedder with what keeps it off the path of those who cannot wait.
#[derive(Clone)]
pub struct Embeddings {
    embedder: Arc<dyn Embedder>,
    /// Hash of the embedder's space.
    pub space: u64,
    queries: Cache<u128, Arc<Vector>>,
    circuit: Arc<Mutex<Circuit>>,
    runtime: Handle,
}

/// Failures in a row, and until when nobody asks.
#[derive(Debug, Default)]
struct Circuit {
    failures: u32,
    open_until: Option<Instant>,
}

impl Embeddings {
    pub fn new(embedder: Arc<dyn Embedder>, runtime: Handle) -> Self {
        Self {
            space: xxh3_64(embedder.space().as_bytes()),
            embedder,
            queries: Cache::new(QUERIES),
            circuit: Arc::default(),
            runtime,
        }
    }

    /// The query's vector, if it comes within the time given. One that comes later is there for
    /// the next who asks the same.
    pub async fn query(
        &self,
        text: &str,
        context: &[String],
        within: Duration,
    ) -> Option<Arc<Vector>> {
        let text = query_text(text, context);
        let key = xxh3_128(text.as_bytes());
        if let Some(known) = self.queries.get(&key).await {
            return Some(known);
        }
        let this = self.clone();
        let embedding = self.runtime.spawn(async move {
            let texts = [text];
            let first = async {
                let mut vectors = this.embed(Kind::Query, &texts).await?;
                vectors.pop().ok_or_else(nothing).map(Arc::new)
            };
            this.queries.try_get_with(key, first).await
        });
        match timeout(within, embedding).await {
            Ok(Ok(Ok(vector))) => Some(vector),
            Ok(Ok(Err(error))) => {
                tracing::debug!(%error, "query not embedded");
                None
            }
            _ => None,
        }
    }

    /// Embeds texts unless the embedder has failed a moment ago.
    async fn embed(&self, kind: Kind, texts: &[String]) -> Result<Vec<Vector>, EmbedError> {
        if self.pause().is_some() {
            return Err(EmbedError(
                "it failed a moment ago and is left alone".into(),
            ));
        }
        let result = self.embedder.embed(kind, texts).await.and_then(|vectors| {
            let vectors: Option<Vec<Vector>> = vectors
                .iter()
                .zip(texts)
                .map(|(values, text)| Vector::new(self.space, text, values))
                .collect();
            match vectors {
                Some(vectors) if vectors.len() == texts.len() => Ok(vectors),
                _ => Err(EmbedError("the answer has no vector for each text".into())),
            }
        });
        let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(_) => *circuit = Circuit::default(),
            Err(error) => {
                let pause = (PAUSES[0] * 2u32.pow(circuit.failures.min(6))).min(PAUSES[1]);
                circuit.failures += 1;
                circuit.open_until = Some(Instant::now() + pause);
                tracing::warn!(%error, failures = circuit.failures, ?pause, "embedder left alone");
            }
        }
        result
    }

    /// How long the embedder is still left alone.
    fn pause(&self) -> Option<Duration> {
        let circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        let left = circuit
            .open_until?
            .saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

fn nothing() -> EmbedError {
    EmbedError("the answer is empty".into())
}

/// What of a query is embedded: the turns that led up to it, then itself, so that where there is
/// too much the oldest is cut.
fn query_text(text: &str, context: &[String]) -> String {
    let turns = context.iter().take(CONTEXT_TURNS).rev().map(String::as_str);
    let whole = turns.chain([text]).collect::<Vec<_>>().join("\n");
    let from = whole.ceil_char_boundary(whole.len().saturating_sub(MAX_BYTES));
    whole[from..].to_owned()
}

/// Turns before the query that are embedded with it.
const CONTEXT_TURNS: usize = 2;

/// What of a record is embedded.
pub(super) fn passage_text(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_BYTES)].to_owned()
}
