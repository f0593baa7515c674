//! Turns that come faster than the store takes them, and a turn that it fails at.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::doubles::{Behind, Gate, Refuses};
use super::store::Change;
use super::store_tests::scope;
use super::tests::{config, open, query, saved, texts, turn};
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

/// Lets a store write as often as there are permits.
struct Slow {
    writes: Semaphore,
    /// Texts with this in them are its undoing.
    poison: &'static str,
}

#[async_trait]
impl Gate for Slow {
    async fn pass(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.writes.acquire().await.unwrap().forget();
        let holds = |change: &Change| match change.begun().0 {
            Change::Put(record) => record.text.contains(self.poison),
            _ => false,
        };
        match changes.iter().any(holds) {
            true => Err(StoreError::Internal("a fault of ours".into())),
            false => Ok(()),
        }
    }
}

fn slow(
    writes: usize,
    poison: &'static str,
) -> (Arc<Memory>, Arc<Behind<Slow>>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Behind {
        store: Embedded::open(folder.path()).unwrap(),
        gate: Slow {
            writes: Semaphore::new(writes),
            poison,
        },
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
    store.gate.writes.add_permits(1000);
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
    let store = Arc::new(Behind {
        store: Embedded::open(folder.path()).unwrap(),
        gate: Refuses::from(true),
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
    store.gate.store(false, Ordering::SeqCst);
    assert!(memory.drain(MINUTE).await);
    assert_eq!(memory.stats().saved, stats.held);
    assert_eq!(memory.stats().queue_bytes, 0);
}

#[tokio::test]
async fn what_was_told_a_moment_ago_is_found_at_once() {
    let (memory, _folder) = open();
    let told = [
        ("ann", "My cat is called Pixel."),
        ("bob", "My cat is called Rex."),
    ];
    for (who, text) in told {
        memory.save(turn(&scope(who), "c1", text, ""));
        let asked = query("What is my cat called?");
        let found = memory.recall(&scope(who), &asked).await.records;
        let found: Vec<_> = found.iter().map(|it| &*it.record.text).collect();
        assert_eq!(found, [text]);
    }
}

#[tokio::test]
async fn nobody_waits_for_what_others_told_nor_for_what_he_sends_himself_nor_for_long() {
    let (memory, store, _folder) = slow(1, "nothing");
    let ann = scope("ann");
    saved(&memory, turn(&ann, "c1", "My cat is called Pixel.", "")).await;
    let newest = "My dog is called Rex.";
    memory.save(turn(&ann, "c1", newest, ""));
    let ask = |deadline| RecallQuery {
        deadline,
        ..query("What is my cat called?")
    };
    let asked = memory.recall(&scope("bob"), &ask(60 * MINUTE)).await;
    assert_eq!(asked.outcome, Outcome::Miss);
    let sent = RecallQuery {
        already_sent: vec![similar::fingerprint(newest)],
        ..ask(60 * MINUTE)
    };
    assert_eq!(memory.recall(&ann, &sent).await.outcome, Outcome::Hit);
    // What the store does not take in time is not there, and the rest is.
    let asked = memory.recall(&ann, &ask(Duration::from_secs(2))).await;
    assert_eq!(asked.outcome, Outcome::Hit);
    store.gate.writes.add_permits(10);
    assert!(memory.drain(MINUTE).await);
    let asked = memory.recall(&ann, &query("What is my dog called?")).await;
    assert_eq!(asked.records[0].record.text, newest);
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
