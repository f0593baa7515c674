//! What becomes of writes and reads when the disk fails, with faults put between redb and a file.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::*;
use crate::memory::record::Source;

/// How the disk fails at present.
#[derive(Debug, Default)]
struct Faults {
    /// The file cannot grow.
    full: AtomicBool,
    /// Writes are refused.
    broken: AtomicBool,
    /// Syncs fail.
    unsynced: AtomicBool,
}

impl Faults {
    fn faults(&self) -> [&AtomicBool; 3] {
        [&self.full, &self.broken, &self.unsynced]
    }

    fn mend(&self) {
        self.faults()
            .iter()
            .for_each(|fault| fault.store(false, Ordering::SeqCst));
    }
}

#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    disk: Arc<Faults>,
}

fn refuse(fault: &AtomicBool, kind: io::ErrorKind) -> io::Result<()> {
    match fault.load(Ordering::SeqCst) {
        true => Err(io::Error::from(kind)),
        false => Ok(()),
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > self.file.len()? {
            refuse(&self.disk.full, io::ErrorKind::StorageFull)?;
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        refuse(&self.disk.unsynced, io::ErrorKind::Other)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        refuse(&self.disk.broken, io::ErrorKind::Other)?;
        self.file.write(offset, data)
    }
}

fn open(folder: &Path, disk: &Arc<Faults>) -> Embedded {
    let faults = disk.clone();
    let open = move |builder: &redb::Builder, file| {
        builder.create_with_backend(Faulty {
            file: FileBackend::new(file)?,
            disk: faults.clone(),
        })
    };
    let disk = Disk {
        open: Box::new(open),
        ..Disk::default()
    };
    Embedded::open_with(folder, true, disk).unwrap()
}

fn scope() -> Scope {
    Scope::of("tenant", Some("ann"), None).unwrap()
}

fn record(n: usize, bytes: usize) -> Record {
    let text = format!("record {n} {}", "x".repeat(bytes));
    Record::new(&scope(), "user", text, Source::Api, n as i64)
}

async fn put(store: &Embedded, record: &Record) -> Result<Applied, StoreError> {
    store.apply(vec![Change::Put(record.clone())]).await
}

async fn ids(store: &Embedded) -> Vec<Uuid> {
    let loaded = store.load(&scope()).await.unwrap();
    loaded.records.iter().map(|r| r.id).collect()
}

#[tokio::test]
async fn a_write_that_the_disk_refuses_is_not_acknowledged_and_the_store_goes_on() {
    for fault in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Faults::default());
        let store = open(folder.path(), &disk);
        let before = record(1, 10);
        put(&store, &before).await.unwrap();

        disk.faults()[fault].store(true, Ordering::SeqCst);
        // Large enough that the file has to grow.
        let refused = record(2, 8 << 20);
        for _ in 0..3 {
            let result = put(&store, &refused).await;
            assert!(
                matches!(result, Err(StoreError::Unavailable(_))),
                "{fault}: {result:?}"
            );
            let found = store.get("tenant", before.id).await.unwrap();
            assert_eq!(found.as_ref(), Some(&before), "{fault}");
        }
        assert!(ids(&store).await.contains(&before.id));

        disk.mend();
        let after = record(3, 10);
        put(&store, &after).await.unwrap();
        put(&store, &refused).await.unwrap();
        let all = [before.id, refused.id, after.id];
        assert_eq!(ids(&store).await, all, "{fault}");
        drop(store);
        let store = open(folder.path(), &disk);
        assert_eq!(ids(&store).await, all, "{fault}");
        let audit = store.audit().await.unwrap();
        assert_eq!((audit.records, audit.orphans, audit.miscounted), (3, 0, 0));
        assert_eq!(store.corrupt(), 0, "a failing disk is no corrupt store");
    }
}

#[tokio::test]
async fn a_store_opened_after_a_failure_without_closing_has_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faults::default());
    let store = open(folder.path(), &disk);
    let before = record(1, 10);
    put(&store, &before).await.unwrap();
    disk.unsynced.store(true, Ordering::SeqCst);
    put(&store, &record(2, 10)).await.unwrap_err();
    let other = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join(FILE), other.path().join(FILE)).unwrap();
    let reopened = Embedded::open(other.path()).unwrap();
    assert!(ids(&reopened).await.contains(&before.id));
    assert_eq!(reopened.audit().await.unwrap().corrupt, 0);
}
