//! A large scope is answered in time, and holds nobody up.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use tokio::sync::broadcast;
use uuid::Uuid;

use super::erasure::Erased;
use super::find::LARGE;
use super::store::{Applied, Backlog, Change, Elsewhere, Loaded, Pending, Position};
use super::store_tests::scope;
use super::tests::{NOW, config, query};
use super::*;

/// Has so many records of everybody; all of them at once come only where `loads`.
struct Large {
    records: usize,
    loads: bool,
    news: broadcast::Sender<Elsewhere>,
}

impl Large {
    fn memory(records: usize, loads: bool) -> Memory {
        let store = Self {
            records,
            loads,
            news: broadcast::channel(1).0,
        };
        let config = model::Memory {
            cache_capacity: 0,
            ..config("".as_ref())
        };
        Memory::with_store(Arc::new(store), &config, None).unwrap()
    }

    /// The newest, in the order of time.
    fn newest(&self, limit: usize) -> Vec<Record> {
        let said = (self.records.saturating_sub(limit)..self.records).map(|n| {
            let at = NOW + n as i64 * 60_000;
            let text = format!("Cabinet {n} is of oak.");
            Record::new(&scope("ann"), "user", text, Source::Chat, at)
        });
        said.collect()
    }
}

#[async_trait::async_trait]
impl MemoryStore for Large {
    async fn load(&self, _: &Scope) -> Result<Loaded, StoreError> {
        if !self.loads {
            std::future::pending::<()>().await;
        }
        Ok(Loaded {
            version: 1,
            records: self.newest(self.records),
            vectors: Vec::new(),
        })
    }
    async fn list(
        &self,
        _: &str,
        _: &Selection,
        _: Option<Uuid>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let mut records = self.newest(limit);
        records.reverse();
        Ok(Page {
            records,
            total: self.records as u64,
            more: true,
        })
    }
    async fn apply(&self, _: Vec<Change>) -> Result<Applied, StoreError> {
        std::future::pending().await
    }
    async fn get(&self, _: &str, _: Uuid) -> Result<Option<Record>, StoreError> {
        std::future::pending().await
    }
    async fn erase(&self, _: &str, _: &Selection) -> Result<Erased, StoreError> {
        std::future::pending().await
    }
    async fn scan(
        &self,
        _: Option<Position>,
        _: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        std::future::pending().await
    }
    async fn claim(&self, _: i64, _: i64) -> Result<Option<Pending>, StoreError> {
        std::future::pending().await
    }
    async fn finish(&self, _: &Pending, _: Vec<Change>) -> Result<Option<Applied>, StoreError> {
        std::future::pending().await
    }
    async fn postpone(&self, _: &Pending, _: i64) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn backlog(&self) -> Result<Backlog, StoreError> {
        std::future::pending().await
    }
    async fn count(&self) -> Result<u64, StoreError> {
        std::future::pending().await
    }
    async fn scrub(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
    async fn audit(&self) -> Result<Audit, StoreError> {
        std::future::pending().await
    }
    fn elsewhere(&self) -> broadcast::Receiver<Elsewhere> {
        self.news.subscribe()
    }
}

/// Whether the very first look at a recall finds it done.
fn is_done_at_once(recall: impl Future<Output = Recall>) -> bool {
    let mut recall = pin!(recall);
    let mut context = Context::from_waker(Waker::noop());
    recall.as_mut().poll(&mut context).is_ready()
}

#[tokio::test]
async fn a_large_scope_is_ranked_elsewhere_than_on_the_thread_that_asks() {
    for (records, at_once) in [(100, true), (LARGE, false)] {
        let memory = Large::memory(records, true);
        let asked = query("Which cabinet is of oak?");
        // The first touch makes the index.
        assert_eq!(
            memory.recall(&scope("ann"), &asked).await.outcome,
            Outcome::Hit
        );
        assert_eq!(
            is_done_at_once(memory.recall(&scope("ann"), &asked)),
            at_once
        );
        let found = memory.recall(&scope("ann"), &asked).await;
        assert_eq!(found.records.len(), 5);
    }
}

#[tokio::test]
async fn while_an_index_is_made_what_was_said_last_answers() {
    let memory = Large::memory(5000, false);
    let mut asked = query("What are cabinet 4990 and cabinet 17 of?");
    asked.deadline = Duration::from_secs(8);
    let found = memory.recall(&scope("ann"), &asked).await.records;
    assert_eq!(found[0].record.text, "Cabinet 4990 is of oak.");
    assert!(found.iter().all(|it| !it.record.text.contains(" 17 ")));
}
