//! A large scope is answered in time, and holds nobody up.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::doubles::Hanging;
use super::find::LARGE;
use super::store_tests::scope;
use super::tests::{NOW, config, query};
use super::*;

/// So many records of everybody; all of them at once come only where it `loads`.
fn large(records: usize, loads: bool) -> Memory {
    let said = (0..records).map(|n| {
        let at = NOW + n as i64 * 60_000;
        let text = format!("Cabinet {n} is of oak.");
        Record::new(&scope("ann"), "user", text, Source::Chat, at)
    });
    let said: Vec<_> = said.collect();
    let store = Hanging {
        loaded: loads.then(|| said.clone()),
        listed: Some(said),
        ..Hanging::default()
    };
    let config = model::Memory {
        cache_capacity: 0,
        ..config("".as_ref())
    };
    Memory::with_store(Arc::new(store), &config, None).unwrap()
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
        let memory = large(records, true);
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
    let memory = large(5000, false);
    let mut asked = query("What are cabinet 4990 and cabinet 17 of?");
    asked.deadline = Duration::from_secs(8);
    let found = memory.recall(&scope("ann"), &asked).await.records;
    assert_eq!(found[0].record.text, "Cabinet 4990 is of oak.");
    assert!(found.iter().all(|it| !it.record.text.contains(" 17 ")));
}
