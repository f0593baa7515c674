//! Erasures and what is on its way to the store meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::doubles::{Behind, Refuses};
use super::store_tests::scope;
use super::tests::{config, texts, turn};
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn open() -> (Memory, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Memory::open(&config(folder.path()), None).unwrap(), folder)
}

fn said(user: &str, conversation: &str, text: &str) -> Turn {
    Turn {
        began: erasure::now(),
        ..turn(&scope(user), conversation, text, "I shall keep it in mind.")
    }
}

#[tokio::test]
async fn a_turn_that_began_before_its_user_was_erased_is_not_saved_after_it() {
    let (memory, _folder) = open();
    let live = said("ann", "c1", "My cat is called Pixel.");
    let other = said("bob", "c1", "My dog is called Rex.");
    let erased = memory.erase("tenant", Selection::Scope(scope("ann")));
    let erased = erased.await.unwrap();
    assert_eq!(erased.records, 0, "nothing was there yet");
    memory.save(live);
    memory.save(other);
    assert!(memory.drain(MINUTE).await);
    assert_eq!(texts(&memory, &scope("ann")).await, [] as [&str; 0]);
    assert_eq!(texts(&memory, &scope("bob")).await.len(), 2);
    assert_eq!((memory.stats().erased, memory.stats().saved), (2, 2));

    let next = said("ann", "c1", "My cat is called Pixel.");
    assert!(next.began > erased.at);
    memory.save(next);
    assert!(memory.drain(MINUTE).await);
    assert_eq!(texts(&memory, &scope("ann")).await.len(), 2);
}

#[tokio::test]
async fn a_turn_in_a_conversation_or_a_tenant_that_was_erased_is_not_saved_either() {
    let (memory, _folder) = open();
    let of_conversation = Selection::Conversation {
        id: "c1".into(),
        user: None,
    };
    for (selection, left) in [(of_conversation, 2), (Selection::All, 0)] {
        let live = ["c1", "c2"].map(|it| said("ann", it, "My cat is called Pixel."));
        memory.erase("tenant", selection).await.unwrap();
        live.into_iter().for_each(|turn| memory.save(turn));
        assert!(memory.drain(MINUTE).await);
        assert_eq!(texts(&memory, &scope("ann")).await.len(), left);
    }
}

#[tokio::test]
async fn a_turn_that_the_store_refused_is_not_saved_after_an_erasure() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Behind {
        store: Embedded::open(folder.path()).unwrap(),
        gate: Refuses::from(true),
    });
    let memory = Memory::with_store(store.clone(), &config(folder.path()), None).unwrap();
    memory.save(said("ann", "c1", "My cat is called Pixel."));
    memory.save(said("bob", "c1", "My dog is called Rex."));
    assert!(!memory.drain(MINUTE).await);
    memory
        .erase("tenant", Selection::Scope(scope("ann")))
        .await
        .unwrap();
    store.gate.store(false, Ordering::SeqCst);
    assert!(memory.drain(MINUTE).await);
    assert_eq!(texts(&memory, &scope("ann")).await, [] as [&str; 0]);
    assert_eq!(texts(&memory, &scope("bob")).await.len(), 2);
    assert_eq!(memory.stats().held, 0);
}

#[tokio::test]
async fn a_turn_that_was_handed_over_is_not_saved_after_an_erasure() {
    let folder = tempfile::tempdir().unwrap();
    let old = Memory::open(&config(folder.path()), None).unwrap();
    let mut turns = old.hand_over().await.unwrap();
    let new = Memory::take_over(&config(folder.path()), None).unwrap();
    old.save(said("ann", "c1", "My cat is called Pixel."));
    let turn = turns.recv().await.unwrap();
    let turn = serde_json::to_vec(&turn).unwrap();
    new.erase("tenant", Selection::Scope(scope("ann")))
        .await
        .unwrap();
    new.save(serde_json::from_slice(&turn).unwrap());
    assert!(new.drain(MINUTE).await);
    assert_eq!(texts(&new, &scope("ann")).await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_record_that_was_on_its_way_when_its_memory_was_erased_is_told_so() {
    let (memory, _folder) = open();
    let record = Record::new(&scope("ann"), "user", "I like tea.".into(), Source::Api, 1);
    let begun = erasure::Begun {
        at: erasure::now(),
        conversation: None,
    };
    memory
        .erase("tenant", Selection::Scope(scope("ann")))
        .await
        .unwrap();
    let (reply, created) = oneshot::channel();
    let job = Job::Create(record.clone().into(), begun, reply);
    memory.jobs.send(job).await.ok().unwrap();
    assert_eq!(created.await.unwrap(), Ok(None));
    assert_eq!(memory.create(record).await.unwrap().text, "I like tea.");
}
