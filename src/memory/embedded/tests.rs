use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;
use crate::memory::store_tests::{first_version, is_carried_over, put, record, scope, store_tests};

fn open() -> (Embedded, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Embedded::open(folder.path()).unwrap(), folder)
}

store_tests!(open);

/// Files that were set aside.
pub fn aside(folder: &Path) -> usize {
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
    assert_eq!((audit.records, audit.orphans, audit.miscounted), (50, 0, 0));
}

#[tokio::test]
async fn the_first_versions_store_is_carried_over() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(first_version("first.redb"), folder.path().join(FILE)).unwrap();
    is_carried_over(&Embedded::open(folder.path()).unwrap()).await;
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
        for known in records {
            if let Ok(Some(found)) = store.get("tenant", known.id).await {
                assert_eq!(found, *known);
            }
        }
        let new = record("eve", 7);
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
        match Embedded::open(folder.path()) {
            Ok(store) => check_damaged(&store, &records),
            // Its version may be another's.
            Err(fault) => assert!(fault.what.contains("redb's format"), "{fault}"),
        }
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

/// Whether any file of a folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let holds = |path: &Path| {
        let file = std::fs::read(path).unwrap();
        memchr::memmem::find(&file, bytes).is_some()
    };
    let files = std::fs::read_dir(folder).unwrap();
    let mut paths = files.map(|entry| entry.unwrap().path());
    paths.any(|path| holds(&path))
}

#[tokio::test]
async fn what_was_erased_is_on_the_disk_until_it_is_scrubbed_and_nothing_else_is_lost() {
    const SECRET: &str = "xyzzy-7731-plugh";
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(folder.path()).unwrap();
    // Damaged long ago, with the same in it.
    let aside = folder
        .path()
        .join("memory.redb.corrupt-20260101T000000.000");
    std::fs::write(&aside, format!("torn pages and {SECRET} among them")).unwrap();
    // Enough that trees have branches, and texts of several pages.
    let mut records: Vec<_> = (0..2000).map(|n| record("bob", n)).collect();
    for n in 0..60 {
        let mut secret = record("ann", n);
        secret.text = format!("{n} {SECRET} {}", "and so on ".repeat(n * 20));
        secret.replace_text(
            format!("{SECRET} again"),
            crate::memory::record::Reason::Edited,
            5,
        );
        records.insert(n * 30, secret);
    }
    let vector = Vector::new(1, &records[0].text, &[0.5; 8]).unwrap();
    put(&store, &records).await;
    store
        .put_vectors(vec![(scope("ann"), records[0].id, vector)])
        .await
        .unwrap();
    let before = erasure::now();
    let of_ann = Selection::Scope(scope("ann"));
    assert_eq!(store.erase("tenant", &of_ann).await.unwrap().records, 60);
    assert!(
        holds(folder.path(), SECRET.as_bytes()),
        "or there is nothing to scrub"
    );

    store.scrub().await.unwrap();
    assert_eq!(store.set_aside(), std::slice::from_ref(&aside));
    store.destroy(&aside).await.unwrap();
    assert!(!holds(folder.path(), SECRET.as_bytes()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // The store goes on, and mends a scrub that was broken off.
    std::fs::write(folder.path().join("memory.redb.new"), SECRET).unwrap();
    put(&store, &[record("eve", 1)]).await;
    store.scrub().await.unwrap();
    assert!(!holds(folder.path(), SECRET.as_bytes()));
    records.retain(|it| it.scope == scope("bob"));
    let mut loaded = store.load(&scope("bob")).await.unwrap();
    loaded.records.sort_by_key(|it| it.id);
    records.sort_by_key(|it| it.id);
    assert!(loaded.records == records);
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.records, audit.corrupt, audit.orphans), (2001, 0, 0));
    drop(store);
    let store = Embedded::open(folder.path()).unwrap();
    assert_eq!((store.count().await.unwrap(), store.corrupt()), (2001, 0));
    // What began before the erasure is still not saved.
    let late = crate::memory::store_tests::begun(&record("ann", 1), before);
    let fates = store.apply(vec![late]).await.unwrap().fates;
    assert_eq!(fates, [crate::memory::store::Fate::Erased]);
}
