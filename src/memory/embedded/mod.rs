//! The store that needs nothing installed: one redb file, synced before a write is acknowledged.
//!
//! What cannot be read is set aside and the gateway goes on: a single record that fails its
//! checksum is left out and counted, a file that redb cannot make sense of is renamed to
//! `*.corrupt-<time>` and a fresh one begun.

mod read;
mod tables;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use jiff::Timestamp;
use redb::{Builder, Database, Durability};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::record::Record;
use super::scope::Scope;
use super::store::{
    Audit, Change, Changed, Elsewhere, Loaded, MemoryStore, Page, Position, Selection, StoreError,
};
use crate::error::Fault;
use tables::{CONVERSATIONS, IDS, RECORDS, SCOPES, Tables};

/// Name of the file within `memory.path`.
pub const FILE: &str = "memory.redb";

/// Bytes of pages that redb keeps in memory. The indexes above hold what is used often.
const CACHE_BYTES: usize = 32 << 20;

/// The embedded store. Its clones are the same store.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    file: PathBuf,
    /// `None` after an I/O error, until it can be opened again.
    database: RwLock<Option<Database>>,
    corrupt: AtomicU64,
    elsewhere: broadcast::Sender<Elsewhere>,
}

impl Embedded {
    /// Opens or begins the store in the folder `path`, and verifies every page of it.
    ///
    /// # Errors
    ///
    /// A fault when the folder or file cannot be written, or when another process has it open.
    /// A corrupt file is not one: it is set aside.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let fault = |what: String, mend: &str| {
            Fault::new(path, format!("memory.path cannot be used: {what}"), mend)
        };
        std::fs::create_dir_all(path).map_err(|e| {
            fault(
                e.to_string(),
                "name a folder that this user may write, or set memory.enabled = false",
            )
        })?;
        let inner = Inner {
            file: path.join(FILE),
            database: RwLock::new(None),
            corrupt: AtomicU64::new(0),
            elsewhere: broadcast::channel(1024).0,
        };
        match inner.open_database() {
            Ok(()) => {}
            Err(Failure::Corrupt(why)) => {
                inner.set_aside(&why);
                inner
                    .open_database()
                    .map_err(|e| fault(e.to_string(), "free the disk or name another folder"))?;
            }
            Err(Failure::InUse) => {
                return Err(fault(
                    "another process has the store open".into(),
                    "stop it first, or name another folder",
                ));
            }
            Err(e @ Failure::Io(_)) => {
                return Err(fault(
                    e.to_string(),
                    "check the disk and the file's permissions",
                ));
            }
        }
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Records and files that were found corrupt since the start.
    pub fn corrupt(&self) -> u64 {
        self.inner.corrupt.load(Ordering::Relaxed)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|e| Err(StoreError::Unavailable(e.to_string())))
    }
}

/// Why redb could not do something.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("another process has it open")]
    InUse,
    #[error("{0}")]
    Io(String),
    #[error("{0}")]
    Corrupt(String),
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::Io(ref e) if !matches!(e.kind(), InvalidData | UnexpectedEof) => {
                Self::Io(error.to_string())
            }
            // The error before this one has closed the file until it is opened again.
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Io(error.to_string()),
            error => Self::Corrupt(error.to_string()),
        }
    }
}

/// redb may panic on a file that was altered under it; whoever holds its locks then is done with.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Failure> {
    // Nothing of ours is left half done: a transaction that panics is never committed, and the
    // database is dropped and its file set aside.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Failure::from),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::Corrupt(text.unwrap_or("panic").to_owned()))
        }
    }
}

impl Inner {
    /// Opens the file unless it is open.
    fn open_database(&self) -> Result<(), Failure> {
        let mut slot = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(guarded(|| {
                let database = Builder::new()
                    .set_cache_size(CACHE_BYTES)
                    .set_check_integrity_on_open(true)
                    .create(&self.file)?;
                let transaction = database.begin_write()?;
                for table in [RECORDS, IDS, CONVERSATIONS, SCOPES] {
                    transaction.open_table(table)?;
                }
                transaction.commit()?;
                Ok(database)
            })?);
        }
        Ok(())
    }

    fn opened(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the database, opening it again if an I/O error has closed it.
    fn run<T>(&self, work: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        if self.opened().is_none() {
            self.open_database().map_err(|e| self.failed(e))?;
        }
        let result = match &*self.opened() {
            Some(database) => guarded(|| work(database)),
            None => Err(Failure::Io("the file is closed".into())),
        };
        result.map_err(|e| self.failed(e))
    }

    /// Does what a failure asks for, and says what the caller may know.
    fn failed(&self, failure: Failure) -> StoreError {
        match failure {
            Failure::Corrupt(why) => {
                self.set_aside(&why);
                StoreError::Corrupt(why)
            }
            Failure::Io(_) | Failure::InUse => {
                tracing::error!(file = %self.file.display(), error = %failure, "memory store failed");
                self.close();
                StoreError::Unavailable(failure.to_string())
            }
        }
    }

    fn close(&self) {
        let mut slot = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let database = slot.take();
        // Closing writes to the file, which may be what just failed.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }

    fn set_aside(&self, why: &str) {
        self.close();
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        let time = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3f");
        let mut aside = self.file.clone().into_os_string();
        aside.push(format!(".corrupt-{time}"));
        let renamed = std::fs::rename(&self.file, &aside);
        tracing::error!(
            file = %self.file.display(),
            aside = %aside.display(),
            error = why,
            rename_error = renamed.err().map(|e| e.to_string()),
            "memory store corrupt, set aside; a fresh one is begun"
        );
        // Nobody listening is fine.
        let _ = self.elsewhere.send(Elsewhere::Everything);
    }

    fn alarm(&self, what: &'static str) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            file = %self.file.display(),
            what,
            "memory fails its checksum and is left out; see `yychat memory audit`"
        );
    }

    /// One durable transaction.
    fn write<T>(
        &self,
        work: impl Fn(&mut Tables<'_>) -> Result<T, redb::Error>,
    ) -> Result<(T, Vec<Changed>), StoreError> {
        let once = || {
            self.run(|database| {
                let mut transaction = database.begin_write()?;
                transaction.set_durability(Durability::Immediate)?;
                let mut tables = Tables::open(&transaction)?;
                let value = work(&mut tables)?;
                let changed = tables.finish()?;
                transaction.commit()?;
                Ok((value, changed))
            })
        };
        match once() {
            // What was to be written is not lost with the file that was set aside.
            Err(StoreError::Corrupt(_)) => once(),
            result => result,
        }
    }
}

#[async_trait]
impl MemoryStore for Embedded {
    async fn load(&self, scope: &Scope) -> Result<Loaded, StoreError> {
        let scope = scope.clone();
        self.blocking(move |inner| inner.run(|db| read::load(db, &scope, &|w| inner.alarm(w))))
            .await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Changed>, StoreError> {
        self.blocking(move |inner| {
            let ((), changed) = inner
                .write(|tables| changes.iter().try_for_each(|change| tables.change(change)))?;
            Ok(changed)
        })
        .await
    }

    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<Record>, StoreError> {
        let tenant = tenant.to_owned();
        self.blocking(move |inner| inner.run(|db| read::get(db, &tenant, id, &|w| inner.alarm(w))))
            .await
    }

    async fn list(
        &self,
        tenant: &str,
        selection: &Selection,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (tenant, selection) = (tenant.to_owned(), selection.clone());
        self.blocking(move |inner| {
            inner.run(|db| {
                read::list(db, &tenant, &selection, (before, limit), &|w| {
                    inner.alarm(w)
                })
            })
        })
        .await
    }

    async fn delete(
        &self,
        tenant: &str,
        selection: &Selection,
    ) -> Result<(u64, Vec<Changed>), StoreError> {
        let (tenant, selection) = (tenant.to_owned(), selection.clone());
        self.blocking(move |inner| {
            inner.write(|tables| {
                let mut removed = 0;
                for (scope, id) in tables.selected(&tenant, &selection)? {
                    removed += u64::from(tables.remove(&scope, id)?);
                }
                Ok(removed)
            })
        })
        .await
    }

    async fn scan(
        &self,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        self.blocking(move |inner| {
            inner.run(|db| read::scan(db, (after.clone(), limit), &|w| inner.alarm(w)))
        })
        .await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.blocking(|inner| inner.run(read::count)).await
    }

    async fn audit(&self) -> Result<Audit, StoreError> {
        self.blocking(|inner| inner.run(read::audit)).await
    }

    fn elsewhere(&self) -> broadcast::Receiver<Elsewhere> {
        self.inner.elsewhere.subscribe()
    }
}
