use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;
use crate::memory::record::Source;
use crate::memory::store::SET_ASIDE;

fn scope(user: &str) -> Scope {
    Scope::of("tenant", Some(user), None).unwrap()
}

fn record(user: &str, n: usize) -> Record {
    let text = format!(
        "record {n} of {user}: {}",
        "some words to fill a page ".repeat(n % 7)
    );
    let mut record = Record::new(&scope(user), "user", text, Source::Api, n as i64);
    record.conversation = Some(format!("c{}", n % 3).into());
    record
}

async fn put(store: &Embedded, records: &[Record]) -> Vec<Changed> {
    let changes = records.iter().cloned().map(Change::Put).collect();
    store.apply(changes).await.unwrap()
}

fn aside(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap();
    names
        .filter(|e| {
            e.as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains(".corrupt-")
        })
        .count()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_copy_taken_without_closing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(folder.path()).unwrap();
    let records: Vec<_> = (0..50).map(|n| record("ann", n)).collect();
    put(&store, &records).await;
    // The file as a killed process leaves it: nothing flushed, nothing closed.
    let other = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join(FILE), other.path().join(FILE)).unwrap();
    let reopened = Embedded::open(other.path()).unwrap();
    let loaded = reopened.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.records, records);
    assert_eq!(loaded.version, 1);
    let audit = reopened.audit().await.unwrap();
    let clean = Audit {
        records: 50,
        scopes: 1,
        tenants: 1,
        text_bytes: audit.text_bytes,
        ..Audit::default()
    };
    assert_eq!(audit, clean);
}

#[tokio::test]
async fn lists_page_from_the_newest_and_deletes_take_only_what_is_selected() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(folder.path()).unwrap();
    let ann: Vec<_> = (0..9).map(|n| record("ann", n)).collect();
    let bob: Vec<_> = (0..9).map(|n| record("bob", n)).collect();
    put(&store, &ann).await;
    put(&store, &bob).await;

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
    let count = async |s| store.list("tenant", &s, None, 100).await.unwrap().total;
    assert_eq!(count(conversation(None)).await, 6);
    assert_eq!(count(conversation(Some("ann"))).await, 3);
    assert_eq!(count(Selection::All).await, 18);

    let (removed, changed) = store
        .delete("tenant", &conversation(Some("ann")))
        .await
        .unwrap();
    assert_eq!(removed, 3);
    assert_eq!(
        changed,
        [Changed {
            scope: scope("ann"),
            version: 2
        }]
    );
    assert_eq!(count(conversation(None)).await, 3);
    assert_eq!(store.delete("other", &Selection::All).await.unwrap().0, 0);
    assert_eq!(store.delete("tenant", &of_ann).await.unwrap().0, 6);
    assert_eq!(store.count().await.unwrap(), 9);
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.records, audit.orphans, audit.miscounted), (9, 0, 0));
}

#[tokio::test]
async fn a_file_that_is_no_store_is_set_aside_and_a_fresh_one_begun() {
    for damage in [&b"not a database at all"[..], &[0; 70_000]] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), damage).unwrap();
        let store = Embedded::open(folder.path()).unwrap();
        put(&store, &[record("ann", 1)]).await;
        assert_eq!(store.count().await.unwrap(), 1);
        assert_eq!(aside(folder.path()), 1);
        assert_eq!(store.corrupt(), 1);
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_a_fault_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let fault = Embedded::open(&file).err().unwrap();
    assert!(fault.what.contains("memory.path"), "{fault}");
    let store = Embedded::open(folder.path()).unwrap();
    let fault = Embedded::open(folder.path()).err().unwrap();
    assert!(fault.what.contains("another process"), "{fault}");
    drop(store);
}

/// The file of a store of two scopes.
fn written() -> (Vec<u8>, Vec<Record>) {
    static WRITTEN: std::sync::OnceLock<(Vec<u8>, Vec<Record>)> = std::sync::OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<_> = (0..60)
            .map(|n| record(if n % 2 == 0 { "ann" } else { "bob" }, n))
            .collect();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let store = Embedded::open(folder.path()).unwrap();
        runtime.block_on(put(&store, &records));
        drop(store);
        (std::fs::read(folder.path().join(FILE)).unwrap(), records)
    };
    WRITTEN.get_or_init(make).clone()
}

/// Everything that can be read is what was written, or nothing; and writing goes on.
fn check_damaged(store: &Embedded, records: &[Record]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for user in ["ann", "bob"] {
            if let Ok(loaded) = store.load(&scope(user)).await {
                for found in loaded.records {
                    assert_eq!(found.scope, scope(user));
                    assert!(records.contains(&found));
                }
            }
            let selection = Selection::Conversation {
                id: "c1".into(),
                user: Some(user.into()),
            };
            if let Ok(page) = store.list("tenant", &selection, None, 100).await {
                assert!(page.records.iter().all(|r| records.contains(r)));
            }
        }
        for record in records {
            if let Ok(Some(found)) = store.get("tenant", record.id).await {
                assert_eq!(found, *record);
            }
        }
        let new = super::tests::record("eve", 7);
        put(store, std::slice::from_ref(&new)).await;
        assert_eq!(store.get("tenant", new.id).await.unwrap(), Some(new));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_flipped_bit_at_rest_is_found_at_the_start(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (mut bytes, records) = written();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), bytes).unwrap();
        check_damaged(&Embedded::open(folder.path()).unwrap(), &records);
    }

    #[test]
    fn a_bit_flipped_while_open_gives_no_wrong_data(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (bytes, records) = written();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, &bytes).unwrap();
        let store = Embedded::open(folder.path()).unwrap();
        let at = at.index(bytes.len());
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_at(&[bytes[at] ^ (1 << bit)], at as u64).unwrap();
        check_damaged(&store, &records);
    }

    #[test]
    fn a_file_cut_short_gives_no_wrong_data(length in any::<prop::sample::Index>()) {
        let (mut bytes, records) = written();
        bytes.truncate(length.index(bytes.len()));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), bytes).unwrap();
        check_damaged(&Embedded::open(folder.path()).unwrap(), &records);
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

#[tokio::test]
async fn a_queued_exchange_is_claimed_by_one_at_a_time_and_finished_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(folder.path()).unwrap();
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
    drop(store);
    let store = Embedded::open(folder.path()).unwrap();
    let set_aside = Backlog {
        waiting: 0,
        set_aside: 1,
    };
    assert_eq!(store.backlog().await.unwrap(), set_aside);
}

#[tokio::test]
async fn an_exchange_whose_record_is_gone_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(folder.path()).unwrap();
    let (asked, answered) = (record("ann", 1), record("ann", 2));
    put(&store, &[asked.clone(), answered.clone()]).await;
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
}
