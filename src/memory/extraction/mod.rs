//! Facts out of finished exchanges, by a model and in the background.
//!
//! ```text
//! writer   a turn's records and its place in the queue → store, in one transaction
//! Worker   store.claim → prompt → Model → what to add, update and retire
//! writer   learnt → store.finish: the facts, and the place in the queue, in one transaction
//! ```
//!
//! An exchange is tried at least once and its facts are stored once. It leads nowhere but to facts
//! of its own scope, whatever it says: the model reads it as quoted data, its answer can touch no
//! record but the facts that it was shown, and what was said stays as it is.

mod http;
pub(super) mod learnt;
mod prompt;
mod replay;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use crate::config::model::Config;
use crate::error::Fault;
use crate::memory::bill::Bill;
pub use http::HttpModel;
pub use prompt::Prompt;
pub use worker::Worker;

/// The role of a record that was extracted.
pub const ROLE: &str = "fact";

/// Who is asked for facts, and within which bounds.
#[derive(Clone)]
pub struct Extraction {
    pub model: Arc<dyn Model>,
    /// Exchanges begun in a minute at most, evenly spread.
    pub per_minute: u32,
    /// Of one exchange; then it counts as failed.
    pub timeout: Duration,
    /// New facts of one exchange at most, and as many that are updated.
    pub max_facts: usize,
}

/// What the configuration asks for; `None` where extraction is off.
///
/// # Errors
///
/// A fault when no client can be made for the upstream.
pub fn open(config: &Config) -> Result<Option<Extraction>, Fault> {
    let extraction = &config.memory.extraction;
    let mut upstreams = config.upstreams.iter();
    let named = upstreams.find(|upstream| upstream.name == extraction.upstream);
    let Some(upstream) = named.filter(|_| extraction.enabled) else {
        return Ok(None);
    };
    Ok(Some(Extraction {
        model: Arc::new(HttpModel::open(upstream, &extraction.model)?),
        per_minute: extraction.per_minute,
        timeout: extraction.timeout,
        max_facts: extraction.max_facts,
    }))
}

/// Answers prompts with JSON.
#[async_trait]
pub trait Model: Send + Sync + 'static {
    /// The text of a whole answer; what that costs is told on the bill, whatever comes of it.
    async fn answer(&self, prompt: &Prompt, bill: &Bill) -> Result<String, ModelError>;
}

/// Why there is no answer that could be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The upstream fails; it would fail others too.
    #[error("{0}")]
    Down(String),
    /// What came is no answer to this prompt.
    #[error("{0}")]
    Unusable(String),
}

/// What the writer and the worker know of each other.
#[derive(Clone)]
pub struct Feed {
    /// `None` while extraction is off: turns are not queued then, and what is queued stays.
    pub settings: watch::Receiver<Option<Extraction>>,
    /// Told when something was queued.
    pub queued: Arc<Notify>,
}
