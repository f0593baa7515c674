//! What is damage and what is not: only what is proven is set aside, and nothing else is touched.

use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

use redb::{ReadableTable, TableDefinition};

use super::failure::Failure;
use super::tables::{Definition, SCOPES};
use super::tests::aside;
use super::*;
use crate::memory::store_tests::{put, record, scope};

/// A folder with the file of a store of two scopes.
async fn stored() -> (tempfile::TempDir, Vec<Record>) {
    let folder = tempfile::tempdir().unwrap();
    let user = |n| if n % 2 == 0 { "ann" } else { "bob" };
    let records: Vec<_> = (0..20).map(|n| record(user(n), n)).collect();
    put(&Embedded::open(folder.path()).unwrap(), &records).await;
    (folder, records)
}

fn refusal(folder: &Path) -> Fault {
    let fault = Embedded::open(folder).err().expect("a refusal");
    assert!(!fault.mend.is_empty(), "{fault}");
    assert_eq!(aside(folder), 0, "{fault}");
    fault
}

#[test]
fn a_file_of_another_kind_refuses_the_start_and_stays_as_it_is() {
    let long = b"0123456789 and so on".repeat(5000);
    let kinds = [
        &b"x"[..],
        b"red",
        b"rec",
        b"not a database at all",
        b"SQLite format 3\0and what follows",
        b"{\"text\":\"My cat is called Pixel.\"}\n",
        &[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3],
        &long,
    ];
    for bytes in kinds {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        std::fs::write(&file, bytes).unwrap();
        if bytes == b"red" {
            // As far as it goes, it is one.
            assert!(Embedded::open(folder.path()).is_ok());
            continue;
        }
        let fault = refusal(folder.path());
        assert!(fault.what.contains("no store of yychat's"), "{fault}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }
}

#[test]
fn what_is_no_file_refuses_the_start_and_is_not_waited_for() {
    let make: [fn(&Path); 4] = [
        |path| std::fs::create_dir(path).unwrap(),
        |path| {
            let made = Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        },
        |path| drop(UnixListener::bind(path).unwrap()),
        |path| std::os::unix::fs::symlink("/dev/null", path).unwrap(),
    ];
    for (make, is) in make
        .into_iter()
        .zip(["a folder", "a pipe", "a socket", "a device"])
    {
        let folder = tempfile::tempdir().unwrap();
        make(&folder.path().join(FILE));
        let fault = refusal(folder.path());
        assert!(fault.what.contains(is), "{fault}");
    }
}

#[tokio::test]
async fn a_file_of_another_version_refuses_the_start_and_is_read_by_the_one_that_knows_it() {
    for (places, version) in [
        (&[64, 192][..], 4),
        (&[64], 9),
        (&[192], 2),
        (&[64, 192], 1),
    ] {
        let (folder, records) = stored().await;
        let path = folder.path().join(FILE);
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let write = |version: u8| {
            for at in places {
                file.write_all_at(&[version], *at).unwrap();
            }
        };
        write(version);
        let before = std::fs::read(&path).unwrap();
        let fault = refusal(folder.path());
        assert!(
            fault.what.contains(&format!("version {version}")),
            "{fault}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), before);
        write(3);
        let store = Embedded::open(folder.path()).unwrap();
        assert_eq!(store.count().await.unwrap(), records.len() as u64);
    }
}

/// Does something to the tables of a file that is closed.
fn alter(folder: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::create(folder.join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_store_of_a_later_format_or_of_another_program_refuses_the_start() {
    let (folder, _) = stored().await;
    let about: Definition = TableDefinition::new("about");
    alter(folder.path(), |transaction| {
        let mut about = transaction.open_table(about).unwrap();
        about
            .insert(&b"format"[..], &7u32.to_be_bytes()[..])
            .unwrap();
    });
    let fault = refusal(folder.path());
    assert!(fault.what.contains("format 7"), "{fault}");

    let folder = tempfile::tempdir().unwrap();
    let numbers: TableDefinition<'_, u64, u64> = TableDefinition::new("numbers");
    alter(folder.path(), |transaction| {
        drop(transaction.open_table(numbers).unwrap())
    });
    let fault = refusal(folder.path());
    assert!(fault.what.contains("another program"), "{fault}");

    let folder = tempfile::tempdir().unwrap();
    let records: TableDefinition<'_, u64, u64> = TableDefinition::new("records");
    alter(folder.path(), |transaction| {
        drop(transaction.open_table(records).unwrap())
    });
    let fault = refusal(folder.path());
    assert!(fault.what.contains("records"), "{fault}");
}

/// A disk on which opening the file fails.
fn failing(error: impl Fn() -> redb::DatabaseError + Send + Sync + 'static) -> Disk {
    Disk {
        open: Box::new(move |_, _| Err(error())),
        ..Disk::default()
    }
}

#[tokio::test]
async fn an_error_of_the_disk_or_the_system_refuses_the_start_and_says_what_to_do() {
    let kinds = [
        (ErrorKind::PermissionDenied, "let this user"),
        (ErrorKind::ReadOnlyFilesystem, "for writing"),
        (ErrorKind::StorageFull, "make room"),
        (ErrorKind::Other, "look at the disk"),
    ];
    for (kind, mend) in kinds {
        let (folder, records) = stored().await;
        let disk = failing(move || redb::StorageError::Io(kind.into()).into());
        let fault = Embedded::open_with(folder.path(), true, disk)
            .err()
            .unwrap();
        assert!(fault.mend.contains(mend), "{fault}");
        assert_eq!(aside(folder.path()), 0);
        let store = Embedded::open(folder.path()).unwrap();
        assert_eq!(store.count().await.unwrap(), records.len() as u64);
    }
    let (folder, _) = stored().await;
    let disk = failing(|| redb::StorageError::Backend("a driver's own".into()).into());
    let fault = Embedded::open_with(folder.path(), true, disk)
        .err()
        .unwrap();
    assert!(fault.what.contains("a driver's own"), "{fault}");
    assert_eq!(aside(folder.path()), 0);
}

#[tokio::test]
async fn a_head_that_is_nearly_right_or_all_zeros_is_damage() {
    let mut damages: Vec<(usize, u8)> = (0..9).map(|at| (at, 1 << (at % 8))).collect();
    damages.extend([(3, 0xFF), (4, 0x0F)]);
    for (at, bits) in damages {
        let (folder, _) = stored().await;
        let path = folder.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= bits;
        std::fs::write(&path, bytes).unwrap();
        let store = Embedded::open(folder.path()).unwrap();
        assert_eq!((aside(folder.path()), store.corrupt()), (1, 1), "{at}");
        put(&store, &[record("ann", 1)]).await;
    }
    for length in [1, 400, 70_000] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), vec![0; length]).unwrap();
        put(&Embedded::open(folder.path()).unwrap(), &[record("ann", 1)]).await;
        assert_eq!(aside(folder.path()), 1, "{length}");
    }
}

#[tokio::test]
async fn a_panic_within_a_call_fails_that_call_and_no_other() {
    let (folder, records) = stored().await;
    let store = Embedded::open(folder.path()).unwrap();
    for access in [Access::Read, Access::Write, Access::Read, Access::Write] {
        let panics = |database: &Database| -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            let _tables = Tables::open(&transaction, &|_| {})?;
            panic!("a fault of ours")
        };
        let failed = store.hold.run(access, panics);
        let told = "a fault of ours".to_owned();
        assert_eq!(failed, Err(StoreError::Internal(told)));
        assert_eq!(store.count().await.unwrap(), records.len() as u64);
        put(&store, &records[..1]).await;
    }
    assert_eq!((aside(folder.path()), store.corrupt()), (0, 0));
}

/// A store whose openings are counted.
fn counted(folder: &Path) -> (Embedded, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let openings = count.clone();
    let open = Disk::default().open;
    let disk = Disk {
        open: Box::new(move |builder, file| {
            openings.fetch_add(1, Ordering::SeqCst);
            open(builder, file)
        }),
        ..Disk::default()
    };
    (Embedded::open_with(folder, true, disk).unwrap(), count)
}

fn corrupted<T>() -> Result<T, redb::Error> {
    Err(redb::Error::Corrupted("so it seems".into()))
}

#[tokio::test]
async fn what_seems_damaged_and_is_not_is_read_again_and_never_set_aside() {
    let (folder, records) = stored().await;
    let (store, openings) = counted(folder.path());
    let tries = AtomicU32::new(0);
    let once = |database: &Database| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => corrupted(),
        _ => read::count(database),
    };
    let count = store.hold.run(Access::Read, once).unwrap();
    assert_eq!(count, records.len() as u64);
    assert_eq!(
        openings.load(Ordering::SeqCst),
        2,
        "it was looked at in whole"
    );
    for _ in 0..3 {
        let failed = store.hold.run(Access::Read, |_| corrupted::<()>());
        assert!(matches!(failed, Err(StoreError::Internal(_))), "{failed:?}");
    }
    assert_eq!(openings.load(Ordering::SeqCst), 2, "not at each call");
    assert_eq!((aside(folder.path()), store.corrupt()), (0, 0));
    put(&store, &records[..1]).await;
}

#[tokio::test]
async fn readers_of_one_bad_page_set_the_file_aside_once() {
    const READERS: usize = 8;
    let (folder, _) = stored().await;
    let path = folder.path().join(FILE);
    let store = Embedded::open(folder.path()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.write_all_at(&vec![0xA5; (length - 4096) as usize], 4096)
        .unwrap();
    let all = Barrier::new(READERS);
    let read = |_: &Database| {
        all.wait();
        corrupted::<()>()
    };
    let results: Vec<_> = std::thread::scope(|threads| {
        let reading = || threads.spawn(|| store.hold.run(Access::Read, read));
        let readers: Vec<_> = (0..READERS).map(|_| reading()).collect();
        readers.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for result in results {
        assert!(matches!(result, Err(StoreError::Corrupt(_))), "{result:?}");
    }
    assert_eq!((aside(folder.path()), store.corrupt()), (1, 1));
    let new = record("eve", 1);
    put(&store, std::slice::from_ref(&new)).await;
    assert_eq!(store.load(&scope("eve")).await.unwrap().records, [new]);
    assert_eq!(aside(folder.path()), 1, "the fresh one stays");
}

#[tokio::test]
async fn a_file_that_is_another_by_now_or_in_use_is_not_put_out_of_the_way() {
    let (folder, _) = stored().await;
    let path = folder.path().join(FILE);
    let damaged = file::open(&path).unwrap().identity;
    let other = file::set_aside(&path, (damaged.0, damaged.1 + 1));
    assert!(matches!(other, Err(Failure::InUse(_))), "{other:?}");
    let store = Embedded::open(folder.path()).unwrap();
    let used = file::set_aside(&path, damaged);
    assert!(matches!(used, Err(Failure::InUse(_))), "{used:?}");
    drop(store);
    assert_eq!(aside(folder.path()), 0);
    let first = file::set_aside(&path, damaged).unwrap();
    assert!(first.exists() && !path.exists());
}

#[tokio::test]
async fn a_scopes_bad_head_is_that_scopes_alone_and_its_next_write_mends_it() {
    let (folder, records) = stored().await;
    alter(folder.path(), |transaction| {
        let mut scopes = transaction.open_table(SCOPES).unwrap();
        let key = scope("ann").key();
        let mut head = scopes.get(&key[..]).unwrap().unwrap().value().to_vec();
        head[9] ^= 1;
        scopes.insert(&key[..], &head[..]).unwrap();
    });
    let store = Embedded::open(folder.path()).unwrap();
    let of = |user: &str| {
        let mine = records.iter().filter(|it| it.scope == scope(user));
        mine.cloned().collect::<Vec<_>>()
    };
    assert_eq!(store.load(&scope("bob")).await.unwrap().records, of("bob"));
    assert_eq!(store.corrupt(), 0);
    let before = store.load(&scope("ann")).await.unwrap();
    assert_eq!(before.records, of("ann"), "its records are sound");
    assert_eq!(store.corrupt(), 1);
    assert_eq!(store.audit().await.unwrap().miscounted, 1);

    let new = record("ann", 99);
    let changed = put(&store, std::slice::from_ref(&new)).await;
    assert_ne!(changed[0].version, before.version + 1);
    let after = store.load(&scope("ann")).await.unwrap();
    assert_eq!(after.records, [of("ann"), vec![new]].concat());
    assert_eq!(after.version, changed[0].version);
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.records, audit.miscounted, audit.orphans), (21, 0, 0));
    assert_eq!(aside(folder.path()), 0);
}

#[tokio::test]
async fn the_folder_is_synced_where_the_file_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("a/b");
    let synced = Arc::new(AtomicU32::new(0));
    let disk = || {
        let synced = synced.clone();
        Disk {
            sync_folder: Box::new(move |path| {
                assert!(path.join(FILE).exists());
                synced.fetch_add(1, Ordering::SeqCst);
                file::sync_folder(path)
            }),
            ..Disk::default()
        }
    };
    for times in [1, 1] {
        let store = Embedded::open_with(&folder, true, disk()).unwrap();
        put(&store, &[record("ann", 1)]).await;
        assert_eq!(
            synced.load(Ordering::SeqCst),
            times,
            "an old file has its name"
        );
    }
    std::fs::remove_file(folder.join(FILE)).unwrap();
    let refuses = Disk {
        sync_folder: Box::new(|_| Err(ErrorKind::Other.into())),
        ..Disk::default()
    };
    assert!(Embedded::open_with(&folder, true, refuses).is_err());
}
