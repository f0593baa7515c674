//! Memory passes from one process to the next: there is one writer at any time.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::embedding::Embedder;
use super::kept::Turn;
use super::writer::Job;
use super::{Embedded, Memory};
use crate::config::model;
use crate::error::Fault;

impl Memory {
    /// Opens the store that another process has handed over.
    ///
    /// # Errors
    ///
    /// As [`Memory::open`].
    pub fn take_over(
        config: &model::Memory,
        embedder: Option<Arc<dyn Embedder>>,
    ) -> Result<Self, Fault> {
        Self::open_by(Embedded::take_over, config, embedder)
    }

    /// Saves what is queued and lets go of the store, for another process to open. Turns that end
    /// from then on come out of the receiver, for that process to save; recall answers from what
    /// is in memory or with an error, and the API with 503.
    ///
    /// `None` from a store that processes share: this one goes on saving to it.
    pub async fn hand_over(&self) -> Option<mpsc::UnboundedReceiver<Turn>> {
        let (reply, turns) = oneshot::channel();
        // Without a writer there is nothing to hand over.
        self.jobs.send(Job::HandOver(reply)).await.ok()?;
        turns.await.ok()?
    }

    /// Undoes [`Memory::hand_over`], and saves `turns` that came out of it. One that was saved
    /// already is found as a duplicate.
    pub async fn take_back(&self, turns: Vec<Turn>) {
        let count = turns.len();
        if self.jobs.send(Job::TakeBack(turns)).await.is_err() {
            tracing::error!(turns = count, "memory has stopped, turns not saved");
        }
    }
}
