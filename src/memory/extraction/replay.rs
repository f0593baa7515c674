//! Extraction from old turns, by the command.

use std::sync::Arc;

use uuid::Uuid;

use super::Extraction;
use super::worker::{Pace, Step};
use crate::memory::Memory;
use crate::memory::record::{Record, Source};
use crate::memory::scope::Scope;
use crate::memory::store::{Change, Pending, Selection, StoreError};

/// Exchanges that are queued at once.
const CHUNK: usize = 1000;

/// What of a record tells which exchange it belongs to. In their order records stand as they were
/// said, conversation by conversation.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    scope: Scope,
    conversation: Option<Arc<str>>,
    at: i64,
    id: Uuid,
    by_user: bool,
}

impl Said {
    fn of(record: &Record) -> Option<Self> {
        let by_user = match &*record.role {
            "user" => true,
            "assistant" => false,
            _ => return None,
        };
        (record.source != Source::Extraction).then(|| Self {
            scope: record.scope.clone(),
            conversation: record.conversation.clone(),
            at: record.created_at,
            id: record.id,
            by_user,
        })
    }

    fn answers(&self, asked: &Self) -> bool {
        asked.by_user
            && !self.by_user
            && (&self.scope, &self.conversation) == (&asked.scope, &asked.conversation)
    }
}

impl Memory {
    /// Queues stored turns to be extracted (again): all, or a tenant's selection. What the user
    /// said is an exchange, with the answer that follows it. How many.
    ///
    /// # Errors
    ///
    /// The store's. What was queued before is queued.
    pub async fn queue_again(&self, of: Option<(&str, &Selection)>) -> Result<u64, StoreError> {
        let mut said = Vec::new();
        let mut parts = self.parts(of);
        while let Some(records) = self.next_part(&mut parts).await? {
            said.extend(records.iter().filter_map(Said::of));
        }
        said.sort();
        let mut exchanges: Vec<Pending> = Vec::new();
        for (at, this) in said.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|before| said.get(before));
            if before.is_some_and(|before| this.answers(before)) {
                if let Some(exchange) = exchanges.last_mut() {
                    exchange.records.push(this.id);
                }
            } else if this.by_user {
                exchanges.push(Pending {
                    scope: this.scope.clone(),
                    records: vec![this.id],
                    // The first said is the first to be due.
                    due: this.at,
                    failures: 0,
                });
            }
        }
        for chunk in exchanges.chunks(CHUNK) {
            let changes = chunk.iter().cloned().map(Change::Extract).collect();
            self.store.apply(changes).await?;
        }
        Ok(exchanges.len() as u64)
    }

    /// Works off what is queued and due, within the budget.
    ///
    /// # Errors
    ///
    /// Says why the upstream fails; the rest stays queued.
    pub async fn extract_due(&self, extraction: &Extraction) -> Result<(), String> {
        let mut pace = Pace::new();
        loop {
            match pace.step(&self.worker, extraction).await {
                Step::Idle => return Ok(()),
                Step::Down(why) => return Err(why),
                Step::Skipped | Step::Asked => {}
            }
        }
    }
}
