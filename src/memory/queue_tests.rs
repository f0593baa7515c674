//! Turns that come faster than the store takes them, and a turn that it fails at.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, broadcast};
use uuid::Uuid;

use super::erasure::Erased;
use super::store::{Applied, Backlog, Change, Elsewhere, Loaded, Pending, Position};
use super::store_tests::scope;
use super::tests::{Refusing, config, texts, turn};
use super::writer::Job;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A turn of four megabytes, of which little is to be stored: what is tried is the queue.
fn large(n: usize) -> Turn {
    let asked = format!("{}? {}", "x".repeat(4 << 20), "y".repeat(100));
    Turn {
        asked: Some(asked),
        ..turn(&scope(&format!("user {n}")), "c", &format!("fact {n}"), "")
    }
}

/// A store that writes as often as it is let.
struct Slow {
    store: Embedded,
    writes: Semaphore,
    /// Texts with this in them are its undoing.
    poison: &'static str,
}

#[async_trait]
impl MemoryStore for Slow {
    async fn load(&self, scope: &Scope) -> Result<Loaded, StoreError> {
        self.store.load(scope).await
    }
    async fn apply(&self, changes: Vec<Change>) -> Result<Applied, StoreError> {
        self.writes.acquire().await.unwrap().forget();
        let holds = |change: &Change| match change.begun().0 {
            Change::Put(record) => record.text.contains(self.poison),
            _ => false,
        };
        if changes.iter().any(holds) {
            return Err(StoreError::Internal("a fault of ours".into()));
        }
        self.store.apply(changes).await
    }
    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<Record>, StoreError> {
        self.store.get(tenant, id).await
    }
    async fn list(
        &self,
        tenant: &str,
        selection: &Selection,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.store.list(tenant, selection, before, limit).await
    }
    async fn erase(&self, tenant: &str, selection: &Selection) -> Result<Erased, StoreError> {
        self.store.erase(tenant, selection).await
    }
    async fn scan(
        &self,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        self.store.scan(after, limit).await
    }
    async fn claim(&self, now: i64, until: i64) -> Result<Option<Pending>, StoreError> {
        self.store.claim(now, until).await
    }
    async fn finish(
        &self,
        claimed: &Pending,
        changes: Vec<Change>,
    ) -> Result<Option<Applied>, StoreError> {
        self.store.finish(claimed, changes).await
    }
    async fn postpone(&self, claimed: &Pending, due: i64) -> Result<(), StoreError> {
        self.store.postpone(claimed, due).await
    }
    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.store.backlog().await
    }
    async fn count(&self) -> Result<u64, StoreError> {
        self.store.count().await
    }
    async fn audit(&self) -> Result<Audit, StoreError> {
        self.store.audit().await
    }
    async fn scrub(&self) -> Result<(), StoreError> {
        self.store.scrub().await
    }
    fn elsewhere(&self) -> broadcast::Receiver<Elsewhere> {
        self.store.elsewhere()
    }
}

fn slow(writes: usize, poison: &'static str) -> (Arc<Memory>, Arc<Slow>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Slow {
        store: Embedded::open(folder.path()).unwrap(),
        writes: Semaphore::new(writes),
        poison,
    });
    let memory = Memory::with_store(store.clone(), &config(folder.path()), None).unwrap();
    (Arc::new(memory), store, folder)
}

#[tokio::test]
async fn whoever_has_more_than_the_store_can_take_waits_and_loses_nothing() {
    let (memory, store, _folder) = slow(0, "nothing");
    let saving: Vec<_> = (0..40)
        .map(|n| {
            let memory = memory.clone();
            tokio::spawn(async move { memory.save_in_time(large(n)).await })
        })
        .collect();
    while memory.stats().queue < 15 {
        tokio::task::yield_now().await;
    }
    // Of 64 MiB, so many have room; the others wait until these are written.
    assert!(memory.stats().queue_bytes <= queue::BYTES as u64);
    assert!(saving.iter().any(|it| !it.is_finished()));
    store.writes.add_permits(1000);
    for it in saving {
        it.await.unwrap();
    }
    assert!(memory.drain(MINUTE).await);
    let stats = memory.stats();
    assert_eq!(
        (stats.overflow, stats.saved, stats.queue, stats.queue_bytes),
        (0, 40, 0, 0)
    );
}

#[tokio::test]
async fn while_the_store_writes_nothing_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Refusing {
        store: Embedded::open(folder.path()).unwrap(),
        refuses: true.into(),
    });
    let memory = Memory::with_store(store.clone(), &config(folder.path()), None).unwrap();
    for n in 0..40 {
        memory.save_in_time(large(n)).await;
    }
    assert!(!memory.drain(MINUTE).await);
    let stats = memory.stats();
    // Half of the room is for what the store refuses; the oldest are given up.
    assert!(stats.held > 0 && stats.held <= 8, "{stats:?}");
    assert_eq!(
        stats.held + stats.save_failed + stats.overflow,
        40,
        "{stats:?}"
    );
    store.refuses.store(false, Ordering::SeqCst);
    assert!(memory.drain(MINUTE).await);
    assert_eq!(memory.stats().saved, stats.held);
    assert_eq!(memory.stats().queue_bytes, 0);
}

#[tokio::test]
async fn a_turn_that_the_store_fails_at_is_given_up_alone() {
    let (memory, _store, _folder) = slow(1000, "poison");
    for n in 0..20 {
        let text = match n {
            7 => "This is poison to it.".to_owned(),
            n => format!("My number {n} is a good one."),
        };
        memory.save(turn(&scope("ann"), "c", &text, ""));
    }
    assert!(memory.drain(MINUTE).await, "nothing is held for ever");
    let stats = memory.stats();
    assert_eq!((stats.saved, stats.save_failed, stats.held), (19, 1, 0));
    assert_eq!(texts(&memory, &scope("ann")).await.len(), 19);
}

#[tokio::test]
async fn jobs_come_out_in_the_order_in_which_they_went_in() {
    let (jobs, mut queue) = queue::queue();
    let say = |n: u32| assert!(jobs.try_send(turn(&scope("ann"), "c", &n.to_string(), "")));
    let mut batch = Vec::new();
    say(0);
    // Turns are gathered for a while, and a wait that is given up loses none.
    assert!(queue.recv_many(&mut batch, 2).now_or_never().is_none());
    say(1);
    let (flush, _done) = oneshot::channel();
    assert!(jobs.send(Job::Flush(flush)).await.is_ok());
    (2..7).for_each(say);
    drop(jobs);
    let mut came = Vec::new();
    while queue.recv_many(&mut batch, 2).await > 0 {
        came.extend(batch.drain(..).map(|waiting| match waiting.job {
            Job::Turn(turn) => turn.user_text,
            _ => "flush".into(),
        }));
    }
    assert_eq!(came, ["0", "1", "flush", "2", "3", "4", "5", "6"]);
}
