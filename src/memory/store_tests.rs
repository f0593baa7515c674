//! What every store does alike. Each store's own tests run these on it with [`store_tests`].

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use super::embedding::vector::Vector;
use super::record::{MAX_TEXT_BYTES, Reason, Record, Source};
use super::scope::Scope;
use super::store::{Audit, Backlog, Change, Changed, MemoryStore, Pending, SET_ASIDE, Selection};

/// Makes a test of each function of this module; `open` gives a store and what it needs to live.
macro_rules! store_tests {
    ($open:path) => {
        $crate::memory::store_tests::store_tests!($open:
            what_was_put_is_loaded_and_sound
            lists_page_from_the_newest_and_deletes_take_only_what_is_selected
            versions_rise_by_one_with_what_changes_and_with_nothing_else
            the_last_of_several_changes_of_a_record_holds
            any_text_comes_back_as_it_was
            scopes_that_look_alike_stay_apart
            vectors_stay_with_their_records
            a_scan_gives_everything_once
            a_queued_exchange_is_claimed_by_one_at_a_time_and_finished_once
            an_exchange_whose_record_is_gone_changes_nothing
        );
    };
    ($open:path: $($name:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (store, _alive) = $open();
                $crate::memory::store_tests::$name(&store).await;
            }
        )+
    };
}
pub(in crate::memory) use store_tests;

pub fn scope(user: &str) -> Scope {
    Scope::of("tenant", Some(user), None).unwrap()
}

pub fn record(user: &str, n: usize) -> Record {
    let text = format!(
        "record {n} of {user}: {}",
        "some words to fill a page ".repeat(n % 7)
    );
    let mut record = Record::new(&scope(user), "user", text, Source::Api, n as i64);
    record.conversation = Some(format!("c{}", n % 3).into());
    record
}

pub async fn put(store: &impl MemoryStore, records: &[Record]) -> Vec<Changed> {
    let changes = records.iter().cloned().map(Change::Put).collect();
    store.apply(changes).await.unwrap()
}

fn version(user: &str, version: u64) -> Vec<Changed> {
    let scope = scope(user);
    vec![Changed { scope, version }]
}

pub async fn what_was_put_is_loaded_and_sound(store: &impl MemoryStore) {
    assert_eq!(store.load(&scope("ann")).await.unwrap().version, 0);
    let mut records: Vec<_> = (0..50).map(|n| record("ann", n)).collect();
    records[3].replace_text("another text".into(), Reason::Edited, 77);
    records[4].request_id = Some("r-1".into());
    records[4].generation = u64::MAX;
    records[5].conversation = None;
    records[6].source = Source::Extraction;
    records[6].derived_from = vec![records[4].id, records[5].id];
    assert_eq!(put(store, &records).await, version("ann", 1));
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.records, records);
    assert_eq!(loaded.version, 1);
    assert_eq!(store.count().await.unwrap(), 50);
    let found = store.get("tenant", records[4].id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&records[4]));
    assert_eq!(store.get("other", records[4].id).await.unwrap(), None);
    let audit = store.audit().await.unwrap();
    let clean = Audit {
        records: 50,
        scopes: 1,
        tenants: 1,
        text_bytes: records.iter().map(|r| r.text.len() as u64).sum(),
        ..Audit::default()
    };
    assert_eq!(audit, clean);
    assert_eq!(store.corrupt(), 0);
}

pub async fn lists_page_from_the_newest_and_deletes_take_only_what_is_selected(
    store: &impl MemoryStore,
) {
    let ann: Vec<_> = (0..9).map(|n| record("ann", n)).collect();
    let bob: Vec<_> = (0..9).map(|n| record("bob", n)).collect();
    put(store, &ann).await;
    put(store, &bob).await;

    let of_ann = Selection::Scope(scope("ann"));
    let first = store.list("tenant", &of_ann, None, 5).await.unwrap();
    assert_eq!((first.records.len(), first.total, first.more), (5, 9, true));
    assert_eq!(first.records[0], ann[8]);
    let rest = store
        .list("tenant", &of_ann, Some(first.records[4].id), 5)
        .await
        .unwrap();
    assert_eq!((rest.records.len(), rest.more), (4, false));
    assert_eq!(rest.records[3], ann[0]);

    let conversation = |user: Option<&str>| Selection::Conversation {
        id: "c1".into(),
        user: user.map(str::to_owned),
    };
    let count = async |s| {
        let page = store.list("tenant", &s, None, 100).await.unwrap();
        assert_eq!(page.records.len() as u64, page.total);
        page.total
    };
    assert_eq!(count(conversation(None)).await, 6);
    assert_eq!(count(conversation(Some("ann"))).await, 3);
    assert_eq!(count(Selection::All).await, 18);

    let (removed, changed) = store
        .delete("tenant", &conversation(Some("ann")))
        .await
        .unwrap();
    assert_eq!((removed, changed), (3, version("ann", 2)));
    assert_eq!(count(conversation(None)).await, 3);
    assert_eq!(store.delete("other", &Selection::All).await.unwrap().0, 0);
    assert_eq!(store.delete("tenant", &of_ann).await.unwrap().0, 6);
    assert_eq!(store.count().await.unwrap(), 9);
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.records, audit.orphans, audit.miscounted), (9, 0, 0));
    assert_eq!(store.delete("tenant", &Selection::All).await.unwrap().0, 9);
}

pub async fn versions_rise_by_one_with_what_changes_and_with_nothing_else(
    store: &impl MemoryStore,
) {
    let remove = |user: &str, id| Change::Remove {
        scope: scope(user),
        id,
    };
    let one = record("ann", 1);
    assert_eq!(
        put(store, std::slice::from_ref(&one)).await,
        version("ann", 1)
    );
    assert_eq!(
        put(store, std::slice::from_ref(&one)).await,
        version("ann", 2)
    );
    let nothing = vec![remove("ann", Uuid::now_v7()), remove("eve", one.id)];
    assert_eq!(store.apply(nothing).await.unwrap(), []);
    assert_eq!(store.load(&scope("ann")).await.unwrap().version, 2);
    assert_eq!(store.load(&scope("eve")).await.unwrap().version, 0);
    let removed = store.apply(vec![remove("ann", one.id)]).await.unwrap();
    assert_eq!(removed, version("ann", 3));
    // One that is empty is not one that is new.
    assert_eq!(store.load(&scope("ann")).await.unwrap().version, 3);
    assert_eq!(put(store, &[one]).await, version("ann", 4));
    assert_eq!(store.apply(Vec::new()).await.unwrap(), []);
    assert_eq!(store.count().await.unwrap(), 1);
}

pub async fn the_last_of_several_changes_of_a_record_holds(store: &impl MemoryStore) {
    let (first, second) = (record("ann", 1), record("ann", 2));
    let mut later = first.clone();
    later.replace_text("said again".into(), Reason::NearDuplicate, 5);
    let remove = |record: &Record| Change::Remove {
        scope: record.scope.clone(),
        id: record.id,
    };
    let changes = vec![
        Change::Put(first.clone()),
        Change::Put(second.clone()),
        Change::Put(later.clone()),
        remove(&second),
    ];
    assert_eq!(store.apply(changes).await.unwrap(), version("ann", 1));
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.records, [later]);
    let changes = vec![remove(&first), Change::Put(first.clone())];
    assert_eq!(store.apply(changes).await.unwrap(), version("ann", 2));
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.records, [first]);
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.records, audit.orphans, audit.miscounted), (1, 0, 0));
}

pub async fn any_text_comes_back_as_it_was(store: &impl MemoryStore) {
    let texts = [
        "\0",
        "\0\u{1A}\u{1A}0\u{1A}1\0\u{0}1",
        "\\0 \\u0000 ' \" $1 %s \r\n\t",
        "你好，世界 👩‍👩‍👧 e\u{301}",
        "\u{FFFF}\u{10FFFF}\u{E000}",
    ];
    let longest = "长".repeat(MAX_TEXT_BYTES / 3);
    let mut runner = TestRunner::deterministic();
    let random: Vec<String> = (0..64)
        .map(|_| any::<String>().new_tree(&mut runner).unwrap().current())
        .collect();
    let texts = texts.into_iter().chain([longest.as_str()]);
    let texts = texts.chain(random.iter().map(String::as_str));
    let mut records = Vec::new();
    for (n, text) in texts.enumerate() {
        let mut record = record("ann", n);
        record.replace_text(text.into(), Reason::Superseded, 9);
        record.replace_text(text.into(), Reason::Edited, 10);
        record.role = text.chars().take(20).collect::<String>().into();
        record.conversation = Some(text.chars().take(20).collect::<String>().into());
        record.request_id = Some(text.into());
        records.push(record);
    }
    put(store, &records).await;
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.records, records);
    let of = Selection::Conversation {
        id: records[1].conversation.as_deref().unwrap().into(),
        user: None,
    };
    let page = store.list("tenant", &of, None, 10).await.unwrap();
    assert_eq!(page.records, [records[1].clone()]);
    assert_eq!(store.corrupt(), 0);
}

pub async fn scopes_that_look_alike_stay_apart(store: &impl MemoryStore) {
    let ids = [
        "a", "A", "a\0", "a\u{1A}0", "\u{1A}", "a/b", "a:b", "a b", "é", "e\u{301}", "а", "%00", "",
    ];
    let mut scopes = Vec::new();
    for tenant in ids {
        for id in ids {
            scopes.extend(Scope::of(tenant, Some(id), None));
            scopes.extend(Scope::of(tenant, None, Some(id)));
        }
    }
    let new = |scope: &Scope| Record::new(scope, "user", format!("{scope:?}"), Source::Api, 1);
    let records: Vec<_> = scopes.iter().map(new).collect();
    let changed = put(store, &records).await;
    assert_eq!(changed.len(), scopes.len());
    for (scope, record) in scopes.iter().zip(&records) {
        let loaded = store.load(scope).await.unwrap();
        assert_eq!(loaded.records, std::slice::from_ref(record));
        let found = store.get(scope.tenant(), record.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(record));
    }
    let audit = store.audit().await.unwrap();
    assert_eq!(audit.scopes, scopes.len() as u64);
    assert_eq!(audit.tenants, ids.len() as u64);
    let (gone, _) = store.delete("a\0", &Selection::All).await.unwrap();
    assert_eq!(gone, 2 * ids.len() as u64);
    let left = store.count().await.unwrap();
    assert_eq!(left, (scopes.len() - 2 * ids.len()) as u64);
}

pub async fn vectors_stay_with_their_records(store: &impl MemoryStore) {
    const SPACE: u64 = u64::MAX - 7;
    let (first, second) = (record("ann", 1), record("bob", 2));
    put(store, &[first.clone(), second.clone()]).await;
    let vector = |record: &Record, x| {
        let text = super::embedding::passage(record);
        Vector::new(SPACE, &text, &[x, 1.0, 0.0]).unwrap()
    };
    let of = |record: &Record, x| (record.scope.clone(), record.id, vector(record, x));
    let gone = record("ann", 3);
    let vectors = vec![of(&first, 0.1), of(&gone, 0.2), of(&first, 0.3)];
    store.put_vectors(vectors).await.unwrap();
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.version, 1, "vectors are no change");
    assert_eq!(loaded.vectors, [(first.id, vector(&first, 0.3))]);

    let (wanting, next) = store.unembedded(SPACE, None, 10).await.unwrap();
    assert_eq!((wanting, next), (vec![second.clone()], None));
    let (wanting, _) = store.unembedded(SPACE + 1, None, 10).await.unwrap();
    assert_eq!(wanting.len(), 2);
    let mut edited = first.clone();
    edited.replace_text("something else".into(), Reason::Edited, 9);
    put(store, &[edited.clone()]).await;
    let (wanting, _) = store.unembedded(SPACE, None, 10).await.unwrap();
    assert_eq!(wanting.len(), 2, "it stands for another text");

    let remove = Change::Remove {
        scope: scope("ann"),
        id: first.id,
    };
    store.apply(vec![remove]).await.unwrap();
    put(store, &[first]).await;
    assert_eq!(store.load(&scope("ann")).await.unwrap().vectors, []);
}

pub async fn a_scan_gives_everything_once(store: &impl MemoryStore) {
    let users = ["ann", "bob", "eve"];
    let records: Vec<_> = (0..60).map(|n| record(users[n % 3], n)).collect();
    put(store, &records).await;
    for limit in [1, 7, 60, 100] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let (part, next) = store.scan(after, limit).await.unwrap();
            assert!(part.len() <= limit);
            found.extend(part);
            after = next;
            if after.is_none() {
                break;
            }
        }
        let mut ids: Vec<_> = found.iter().map(|r| r.id).collect();
        let scopes: Vec<_> = found.iter().map(|r| r.scope.clone()).collect();
        assert_eq!(scopes.chunk_by(|a, b| a == b).count(), 3, "scope by scope");
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), found.len()), (60, 60));
    }
}

fn pending(record: &Record, due: i64) -> Pending {
    Pending {
        scope: record.scope.clone(),
        records: vec![record.id],
        due,
        failures: 0,
    }
}

pub async fn a_queued_exchange_is_claimed_by_one_at_a_time_and_finished_once(
    store: &impl MemoryStore,
) {
    let (ann, bob) = (record("ann", 1), record("bob", 2));
    // With the records that it is about, in one transaction.
    let changes = vec![
        Change::Put(ann.clone()),
        Change::Extract(pending(&ann, 20)),
        Change::Put(bob.clone()),
        Change::Extract(pending(&bob, 10)),
    ];
    store.apply(changes).await.unwrap();
    let claim = async |now, until| store.claim(now, until).await.unwrap();
    assert_eq!(claim(9, 100).await, None);
    let first = claim(20, 100).await.unwrap();
    assert_eq!((first.id(), first.due), (bob.id, 100));
    let late = claim(20, 100).await.unwrap();
    assert_eq!(late.id(), ann.id);
    assert_eq!(claim(99, 200).await, None);
    // Whoever claimed it first was too slow: another has it, and does it.
    let again = claim(100, 200).await.unwrap();
    let fact = record("ann", 3);
    let changes = || vec![Change::Put(fact.clone())];
    assert_eq!(again.id(), ann.id);
    assert_eq!(store.finish(&late, changes()).await.unwrap(), None);
    let changed = store.finish(&again, changes()).await.unwrap().unwrap();
    assert_eq!(changed[0].scope, ann.scope);
    assert_eq!(store.finish(&again, changes()).await.unwrap(), None);
    assert_eq!(store.get("tenant", fact.id).await.unwrap(), Some(fact));
    let waiting = Backlog {
        waiting: 1,
        set_aside: 0,
    };
    assert_eq!(store.backlog().await.unwrap(), waiting);

    // A failure counts once, and what was queued anew begins anew.
    store.postpone(&first, 150).await.unwrap();
    store.postpone(&first, 300).await.unwrap();
    let tried = claim(150, 400).await.unwrap();
    assert_eq!((tried.id(), tried.failures), (bob.id, 1));
    let requeued = Change::Extract(pending(&bob, 0));
    store.apply(vec![requeued]).await.unwrap();
    store.postpone(&tried, SET_ASIDE).await.unwrap();
    let fresh = claim(0, 500).await.unwrap();
    assert_eq!(fresh.failures, 0);
    store.postpone(&fresh, SET_ASIDE).await.unwrap();
    assert_eq!(claim(i64::MAX - 1, i64::MAX).await, None);
    let set_aside = Backlog {
        waiting: 0,
        set_aside: 1,
    };
    assert_eq!(store.backlog().await.unwrap(), set_aside);
}

pub async fn an_exchange_whose_record_is_gone_changes_nothing(store: &impl MemoryStore) {
    let (asked, answered) = (record("ann", 1), record("ann", 2));
    put(store, &[asked.clone(), answered.clone()]).await;
    let mut exchange = pending(&asked, 0);
    exchange.records.push(answered.id);
    let queue = async || {
        let queued = Change::Extract(exchange.clone());
        store.apply(vec![queued]).await.unwrap();
        store.claim(0, 100).await.unwrap().unwrap()
    };
    let remove = async |record: &Record| {
        let (scope, id) = (record.scope.clone(), record.id);
        store
            .apply(vec![Change::Remove { scope, id }])
            .await
            .unwrap();
    };
    let fact = record("ann", 3);
    let claimed = queue().await;
    remove(&answered).await;
    let finished = store
        .finish(&claimed, vec![Change::Put(fact.clone())])
        .await;
    assert_eq!(finished.unwrap(), None);
    assert_eq!(store.get("tenant", fact.id).await.unwrap(), None);
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());

    queue().await;
    remove(&asked).await;
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());

    let all = Selection::Scope(asked.scope.clone());
    put(store, &[asked]).await;
    queue().await;
    store.delete("tenant", &all).await.unwrap();
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());
}
