//! The store that needs nothing installed: one redb file, synced before a write is acknowledged.
//!
//! What cannot be read is set aside and the gateway goes on: a single record that fails its
//! checksum is left out and counted, a file that redb cannot make sense of is renamed to
//! `*.corrupt-<time>` and a fresh one begun.
//!
//! While the disk refuses writes, none is acknowledged, each tries the disk anew, and reads go on
//! from what was committed before.

mod failure;
#[cfg(test)]
mod fault_tests;
mod frozen;
mod queue;
mod read;
mod tables;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use jiff::Timestamp;
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, Durability, ReadableDatabase};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::embedding::vector::Vector;
use super::record::Record;
use super::scope::Scope;
use super::store::{
    Audit, Backlog, Change, Changed, Elsewhere, Loaded, MemoryStore, Page, Pending, Position,
    Selection, StoreError,
};
use crate::error::Fault;
use failure::{Failure, guarded};
use frozen::Frozen;
use tables::{TABLES, Tables};

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
    path: PathBuf,
    /// How redb takes the file; tests put faults between.
    opener: Opener,
    database: RwLock<Slot>,
    /// Held while opening: one at a time, and readers need not wait for it. Whether the file is
    /// another process's, and must not be opened.
    opening: Mutex<bool>,
    corrupt: AtomicU64,
    elsewhere: broadcast::Sender<Elsewhere>,
}

type Opener = Box<dyn Fn(&Builder, File) -> Result<Database, DatabaseError> + Send + Sync>;

enum Slot {
    /// At the start, and after an I/O error.
    Closed,
    Open(Database),
    /// The disk takes no writes: what this one is given stays in memory and is lost.
    Frozen(Database),
}

/// What an operation needs of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl Embedded {
    /// Opens or begins the store in the folder `path`, and verifies every page of it.
    ///
    /// # Errors
    ///
    /// A fault when the folder or file cannot be written, or when another process has it open.
    /// A corrupt file is not one: it is set aside.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        Self::open_with(path, true, from_file)
    }

    /// Opens a store that another process has verified and just closed, without going through all
    /// of it again: nobody has it until this returns.
    ///
    /// # Errors
    ///
    /// As [`Embedded::open`].
    pub fn take_over(path: &Path) -> Result<Self, Fault> {
        Self::open_with(path, false, from_file)
    }

    fn open_with(
        path: &Path,
        verify: bool,
        opener: impl Fn(&Builder, File) -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self, Fault> {
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
            path: path.join(FILE),
            opener: Box::new(opener),
            database: RwLock::new(Slot::Closed),
            opening: Mutex::new(false),
            corrupt: AtomicU64::new(0),
            elsewhere: broadcast::channel(1024).0,
        };
        let opened = inner.open_file(verify).or_else(|failure| match failure {
            Failure::Corrupt(why) => {
                inner.set_aside(&why);
                inner.open_file(true)
            }
            failure => Err(failure),
        });
        let database = opened.map_err(|e| match e {
            Failure::InUse => fault(
                "another process has the store open".into(),
                "stop it first, or name another folder",
            ),
            e => fault(
                e.to_string(),
                "check the disk, its free space and the file's permissions",
            ),
        })?;
        inner.fill(Slot::Open(database));
        Ok(Self {
            inner: Arc::new(inner),
        })
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

fn from_file(builder: &Builder, file: File) -> Result<Database, DatabaseError> {
    builder.create_with_backend(FileBackend::new(file)?)
}

impl Inner {
    /// Opens or begins the file; `verify` has redb look at every page of it.
    fn open_file(&self, verify: bool) -> Result<Database, Failure> {
        guarded(|| {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&self.path)?;
            let mut builder = Builder::new();
            builder
                .set_cache_size(CACHE_BYTES)
                .set_check_integrity_on_open(verify);
            let database = (self.opener)(&builder, file)?;
            // A store that has its tables is opened without a write of ours.
            let tables = database.begin_read()?.list_tables()?.count();
            if tables < TABLES.len() {
                let transaction = database.begin_write()?;
                for table in TABLES {
                    transaction.open_table(table)?;
                }
                transaction.commit()?;
            }
            Ok(database)
        })
    }

    fn open_frozen(&self) -> Result<Database, Failure> {
        guarded(|| {
            Ok(Builder::new()
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(Frozen::new(File::open(&self.path)?)?)?)
        })
    }

    fn fill(&self, slot: Slot) {
        let old = std::mem::replace(
            &mut *self
                .database
                .write()
                .unwrap_or_else(PoisonError::into_inner),
            slot,
        );
        // Closing writes to the file, which may be what just failed.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
    }

    /// Runs `work` on the database where it serves that access.
    fn attempt<T>(
        &self,
        access: Access,
        work: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Option<Result<T, StoreError>> {
        let slot = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = match (&*slot, access) {
            (Slot::Open(database), _) | (Slot::Frozen(database), Access::Read) => database,
            _ => return None,
        };
        let result = guarded(|| work(database));
        drop(slot);
        Some(result.map_err(|failure| {
            if !matches!(failure, Failure::Corrupt(_)) {
                self.fill(Slot::Closed);
            }
            self.failed(failure)
        }))
    }

    /// Runs `work` on the database, opening it again if an I/O error has closed it.
    fn run<T>(
        &self,
        access: Access,
        work: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        if let Some(result) = self.attempt(access, &work) {
            return result;
        }
        let opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever held the lock before may have opened it.
        if let Some(result) = self.attempt(access, &work) {
            return result;
        }
        if *opening {
            let why = "another process of this gateway has it now";
            return Err(StoreError::Unavailable(why.into()));
        }
        match (self.open_file(false), access) {
            (Ok(database), _) => self.fill(Slot::Open(database)),
            (Err(Failure::Io(_)), Access::Read) => {
                let database = self.open_frozen().map_err(|e| self.failed(e))?;
                self.fill(Slot::Frozen(database));
            }
            (Err(failure), _) => return Err(self.failed(failure)),
        }
        drop(opening);
        self.attempt(access, &work)
            .unwrap_or_else(|| Err(StoreError::Unavailable("the file was closed".into())))
    }

    /// Does what a failure asks for, and says what the caller may know.
    fn failed(&self, failure: Failure) -> StoreError {
        match failure {
            Failure::Corrupt(why) => {
                self.set_aside(&why);
                StoreError::Corrupt(why)
            }
            Failure::Io(_) | Failure::InUse => {
                tracing::error!(file = %self.path.display(), error = %failure, "memory store failed");
                StoreError::Unavailable(failure.to_string())
            }
        }
    }

    /// Closes the file and leaves it to another process, or takes it back, to be opened at its
    /// next use.
    fn leave(&self, to_another: bool) {
        let mut left = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        *left = to_another;
        self.fill(Slot::Closed);
    }

    fn set_aside(&self, why: &str) {
        self.fill(Slot::Closed);
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        let time = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3f");
        let mut aside = self.path.clone().into_os_string();
        aside.push(format!(".corrupt-{time}"));
        let renamed = std::fs::rename(&self.path, &aside);
        tracing::error!(
            file = %self.path.display(),
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
            file = %self.path.display(),
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
            self.run(Access::Write, |database| {
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
        self.blocking(move |inner| {
            inner.run(Access::Read, |db| {
                read::load(db, &scope, &|w| inner.alarm(w))
            })
        })
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
        self.blocking(move |inner| {
            inner.run(Access::Read, |db| {
                read::get(db, &tenant, id, &|w| inner.alarm(w))
            })
        })
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
            inner.run(Access::Read, |db| {
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
            inner.run(Access::Read, |db| {
                read::scan(db, (after.clone(), limit), &|w| inner.alarm(w))
            })
        })
        .await
    }

    async fn put_vectors(&self, vectors: Vec<(Scope, Uuid, Vector)>) -> Result<(), StoreError> {
        self.blocking(move |inner| {
            let put = |tables: &mut Tables<'_>| {
                let mut each = vectors.iter();
                each.try_for_each(|(scope, id, vector)| tables.put_vector(scope, *id, vector))
            };
            inner.write(put).map(|_| ())
        })
        .await
    }

    async fn unembedded(
        &self,
        space: u64,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        self.blocking(move |inner| {
            inner.run(Access::Read, |db| {
                read::unembedded(db, space, (after.clone(), limit), &|w| inner.alarm(w))
            })
        })
        .await
    }

    async fn claim(&self, now: i64, until: i64) -> Result<Option<Pending>, StoreError> {
        self.blocking(move |inner| {
            // Whoever finds nothing has not waited for a sync.
            if !inner.run(Access::Read, |db| queue::is_due(db, now))? {
                return Ok(None);
            }
            let alarm = |what| inner.alarm(what);
            inner
                .write(|tables| tables.queue.claim(now, until, &alarm))
                .map(|(claimed, _)| claimed)
        })
        .await
    }

    async fn finish(
        &self,
        claimed: &Pending,
        changes: Vec<Change>,
    ) -> Result<Option<Vec<Changed>>, StoreError> {
        let claimed = claimed.clone();
        self.blocking(move |inner| {
            let (done, changed) = inner.write(|tables| {
                let holds = tables.queue.release(&claimed)?
                    && tables.has_all(&claimed.scope, &claimed.records)?;
                if holds {
                    changes
                        .iter()
                        .try_for_each(|change| tables.change(change))?;
                }
                Ok(holds)
            })?;
            Ok(done.then_some(changed))
        })
        .await
    }

    async fn postpone(&self, claimed: &Pending, due: i64) -> Result<(), StoreError> {
        let claimed = claimed.clone();
        self.blocking(move |inner| {
            let postpone = |tables: &mut Tables<'_>| tables.queue.postpone(&claimed, due);
            inner.write(postpone).map(|_| ())
        })
        .await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.blocking(|inner| inner.run(Access::Read, queue::backlog))
            .await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.blocking(|inner| inner.run(Access::Read, read::count))
            .await
    }

    async fn audit(&self) -> Result<Audit, StoreError> {
        self.blocking(|inner| inner.run(Access::Read, read::audit))
            .await
    }

    fn elsewhere(&self) -> broadcast::Receiver<Elsewhere> {
        self.inner.elsewhere.subscribe()
    }

    async fn release(&self) -> bool {
        let closed = self.blocking(|inner| {
            inner.leave(true);
            Ok(())
        });
        closed.await.is_ok()
    }

    async fn reclaim(&self) {
        let taken_back = self.blocking(|inner| {
            inner.leave(false);
            // What the other process wrote is not in any index here.
            let _ = inner.elsewhere.send(Elsewhere::Everything);
            Ok(())
        });
        if let Err(error) = taken_back.await {
            tracing::error!(%error, "memory store not taken back");
        }
    }

    fn corrupt(&self) -> u64 {
        self.inner.corrupt.load(Ordering::Relaxed)
    }
}
