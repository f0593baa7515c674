//! A model that runs in this process, on threads of its own: never on an async runtime, and
//! queries never behind records.

mod model;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

use async_trait::async_trait;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use super::{EmbedError, Embedder, Kind};
use crate::config::model::EmbeddingFolder;
use crate::error::Fault;
use crate::memory::bill::Bill;
use model::{Model, Side};

/// An embedder that reads its model from a folder and asks nobody.
pub struct LocalEmbedder {
    model: Arc<Model>,
    settings: EmbeddingFolder,
    /// Half of the cores.
    queries: ThreadPool,
    /// One core: records can wait.
    passages: ThreadPool,
}

impl LocalEmbedder {
    /// Reads the model and embeds a word with it, so that what is amiss shows now.
    ///
    /// # Errors
    ///
    /// A fault that names the file which cannot be used.
    pub fn open(settings: &EmbeddingFolder) -> Result<Self, Fault> {
        let cores = available_parallelism().map_or(1, usize::from);
        Ok(Self {
            model: Arc::new(Model::load(&settings.model_dir)?),
            queries: pool(&settings.model_dir, "embed-queries", cores.div_ceil(2))?,
            passages: pool(&settings.model_dir, "embed-records", 1)?,
            settings: settings.clone(),
        })
    }
}

fn pool(model_dir: &Path, name: &'static str, threads: usize) -> Result<ThreadPool, Fault> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(move |number| format!("{name}-{number}"))
        // rayon would end the process; here whoever waits is told, since the sender is gone.
        .panic_handler(|_| {})
        .build()
        .map_err(|error| {
            let what = format!("the model cannot have its threads: {error}");
            Fault::new(model_dir, what, "raise the limit of processes")
        })
}

#[async_trait]
impl Embedder for LocalEmbedder {
    fn space(&self) -> String {
        format!("{}\n{}", self.model.digest, self.settings.passage_prefix)
    }

    fn queries_at_once(&self) -> usize {
        // One that runs on each thread, and the next.
        2 * self.queries.current_num_threads()
    }

    async fn embed(
        &self,
        kind: Kind,
        texts: &[String],
        _: &Bill,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        // What stands nearest to the end of a query is what is asked.
        let (pool, prefix, kept) = match kind {
            Kind::Query => (&self.queries, &self.settings.query_prefix, Side::End),
            Kind::Passage => (
                &self.passages,
                &self.settings.passage_prefix,
                Side::Beginning,
            ),
        };
        let texts: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let (done, embedded) = oneshot::channel();
        let model = self.model.clone();
        pool.spawn(move || {
            let each = texts.iter().map(|text| model.embed(text, kept));
            // Nobody waits any more where the gateway stops.
            let _ = done.send(each.collect());
        });
        embedded
            .await
            .unwrap_or_else(|_| Err(EmbedError::Down("the model's thread panicked".into())))
    }
}
