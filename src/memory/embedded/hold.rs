//! The file while this process has it: opened at its first use and after a failure, looked at in
//! whole where it is in doubt, left to another process, set aside.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use redb::{Builder, Database};
use tokio::sync::broadcast;

use super::about::{self, FORMAT, Kind};
use super::disk::Disk;
use super::failure::{Doubt, Failure, OTHER_VERSION, guarded};
use super::file::{self, FILE, Identity};
use super::frozen::Frozen;
use super::scrub;

use crate::memory::store::{Elsewhere, StoreError};

/// Bytes of pages that redb keeps in memory. The indexes above hold what is used often.
const CACHE_BYTES: usize = 32 << 20;

/// How long it counts that every page was found sound: what is in doubt again before that is a
/// fault of ours, and looking at all of it each time would stop everybody else.
const SOUND_FOR: Duration = Duration::from_secs(600);

/// What is said of a file that was left to another process.
const LEFT: &str = "another process of this gateway has it now";

/// One file, and whether it is open.
pub struct Hold {
    folder: PathBuf,
    path: PathBuf,
    disk: Disk,
    database: RwLock<Numbered>,
    /// Held while opening: one at a time, and readers need not wait for it.
    opening: Mutex<Opening>,
    corrupt: AtomicU64,
    pub elsewhere: broadcast::Sender<Elsewhere>,
}

/// What is open, and its number: another one after each opening and closing.
struct Numbered {
    number: u64,
    slot: Slot,
}

enum Slot {
    /// At the start, and after a failure.
    Closed,
    Open(Database),
    /// The disk takes no writes: what this one is given stays in memory and is lost.
    Frozen(Database),
}

#[derive(Default)]
struct Opening {
    /// The file is another process's, and must not be opened.
    left: bool,
    /// The file that was opened last.
    file: Option<Identity>,
    /// When every page was looked at and found sound.
    sound: Option<Instant>,
    /// Number of the database whose file was set aside last, and why.
    damaged: Option<(u64, String)>,
}

/// What an operation needs of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// What came of an operation; a failure with the number of the database that it happened in.
type Tried<T> = Result<T, (u64, Failure)>;

impl Hold {
    /// Opens or begins the file; `verify` has redb look at every page of it. One that is damaged
    /// is set aside, and another begun.
    pub fn open(folder: &Path, verify: bool, disk: Disk) -> Result<Self, Failure> {
        file::make_folder(folder)?;
        let hold = Self {
            folder: folder.into(),
            path: folder.join(FILE),
            disk,
            database: RwLock::new(Numbered {
                number: 0,
                slot: Slot::Closed,
            }),
            opening: Mutex::default(),
            corrupt: AtomicU64::new(0),
            elsewhere: broadcast::channel(1024).0,
        };
        let mut opening = hold.opening();
        let database = match hold.open_proven(&mut opening, verify) {
            Err(Failure::Damaged(why)) => {
                hold.set_aside(&mut opening, (0, &why))?;
                hold.open_proven(&mut opening, verify)?
            }
            opened => opened?,
        };
        drop(opening);
        hold.fill(Slot::Open(database));
        Ok(hold)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Records and files that were found damaged.
    pub fn corrupt(&self) -> u64 {
        self.corrupt.load(Ordering::Relaxed)
    }

    /// Counts and tells what fails its check and harms nothing else.
    pub fn alarm(&self, what: &'static str) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            file = %self.path.display(),
            what,
            "memory fails its checksum and is left out; see `yychat memory audit`"
        );
    }

    /// Runs `work` on the database, opening it again if a failure has closed it.
    pub fn run<T>(
        &self,
        access: Access,
        work: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        match self.tried(access, &work) {
            Ok(value) => return Ok(value),
            Err((number, Failure::Doubtful(doubt))) => self.examine(number, &doubt)?,
            Err((_, failure)) => return Err(self.refused(&failure)),
        }
        // Every page is sound: what was read amiss may have been so that once.
        self.tried(access, &work)
            .map_err(|(_, failure)| self.refused(&failure))
    }

    fn tried<T>(
        &self,
        access: Access,
        work: &impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Tried<T> {
        if let Some(result) = self.attempt(access, work) {
            return result;
        }
        let mut opening = self.opening();
        // Whoever held the lock before may have opened it.
        if let Some(result) = self.attempt(access, work) {
            return result;
        }
        if opening.left {
            return Err((0, Failure::InUse(LEFT)));
        }
        let slot = match (self.open_proven(&mut opening, false), access) {
            (Ok(database), _) => Ok(Slot::Open(database)),
            (Err(Failure::Io { .. }), Access::Read) => self.open_frozen().map(Slot::Frozen),
            (Err(Failure::Damaged(why)), _) => self
                .set_aside(&mut opening, (0, &why))
                .and(Err(Failure::Damaged(why))),
            (Err(failure), _) => Err(failure),
        };
        self.fill(slot.map_err(|failure| (0, failure))?);
        drop(opening);
        let closed = || Failure::io("the file was closed");
        self.attempt(access, work)
            .unwrap_or_else(|| Err((0, closed())))
    }

    /// Runs `work` where what is open serves that access.
    fn attempt<T>(
        &self,
        access: Access,
        work: &impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Option<Tried<T>> {
        let held = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = match (&held.slot, access) {
            (Slot::Open(database), _) | (Slot::Frozen(database), Access::Read) => database,
            _ => return None,
        };
        let number = held.number;
        let result = guarded(|| work(database));
        drop(held);
        Some(result.map_err(|failure| {
            if matches!(failure, Failure::Io { .. }) {
                self.close(number);
            }
            (number, failure)
        }))
    }

    /// Has redb look at every page, after something that looked like damage in the database of
    /// that number. The file is set aside only where that proves it.
    ///
    /// # Errors
    ///
    /// All but for a file that is sound.
    fn examine(&self, number: u64, doubt: &Doubt) -> Result<(), StoreError> {
        let mut opening = self.opening();
        if let Some((of, why)) = &opening.damaged
            && *of == number
        {
            return Err(StoreError::Corrupt(why.clone()));
        }
        // Unless another call has looked at it since.
        if self.number() == number {
            if opening.sound.is_some_and(|at| at.elapsed() < SOUND_FOR) {
                return Err(self.refused(&Failure::Bug(doubt.what.clone())));
            }
            self.fill(Slot::Closed);
            match self.open_file(&mut opening, true) {
                Ok(database) => self.fill(Slot::Open(database)),
                Err(Failure::Damaged(why)) => {
                    self.set_aside(&mut opening, (number, &why))
                        .map_err(|failure| self.refused(&failure))?;
                    return Err(StoreError::Corrupt(why));
                }
                Err(failure) => return Err(self.refused(&failure)),
            }
            opening.sound = Some(Instant::now());
        }
        Ok(())
    }

    /// What the caller may know of a failure.
    fn refused(&self, failure: &Failure) -> StoreError {
        let file = self.path.display();
        let mend = failure.mend();
        match failure {
            Failure::Damaged(why) => StoreError::Corrupt(why.clone()),
            Failure::Doubtful(_) | Failure::Bug(_) => {
                tracing::error!(
                    %file, error = %failure,
                    "memory store call failed by a fault of yychat's own, please report it"
                );
                StoreError::Internal(failure.to_string())
            }
            _ => {
                tracing::error!(%file, error = %failure, mend, "memory store failed");
                StoreError::Unavailable(format!("{failure}: {mend}"))
            }
        }
    }

    /// Opens or begins the file. What is in doubt is looked at in whole.
    fn open_proven(&self, opening: &mut Opening, verify: bool) -> Result<Database, Failure> {
        match self.open_file(opening, verify) {
            Err(Failure::Doubtful(_)) => self.open_file(opening, true),
            opened => opened,
        }
    }

    fn open_file(&self, opening: &mut Opening, verify: bool) -> Result<Database, Failure> {
        let opened = file::open(&self.path)?;
        opening.file = Some(opened.identity);
        let is_new = file::look(&opened.file)?;
        let prepared = guarded(|| {
            let mut builder = Builder::new();
            builder
                .set_cache_size(CACHE_BYTES)
                .set_check_integrity_on_open(verify);
            let database = (self.disk.open)(&builder, opened.file)?;
            let kind = about::prepare(&database)?;
            Ok((database, kind))
        });
        let (database, kind) = prepared.map_err(|failure| match failure {
            Failure::Doubtful(doubt) if verify => doubt.proven(),
            failure => failure,
        })?;
        let what = match kind {
            Kind::Ours => {
                if is_new {
                    (self.disk.sync_folder)(&self.folder)?;
                }
                return Ok(database);
            }
            Kind::Newer(format) => {
                format!("it has format {format}, and this yychat knows {FORMAT} at most")
            }
            Kind::Other => "it is a redb file of another program's".into(),
        };
        Err(Failure::Foreign {
            what,
            mend: OTHER_VERSION,
        })
    }

    fn open_frozen(&self) -> Result<Database, Failure> {
        let file = File::open(&self.path)?;
        file::look(&file)?;
        guarded(|| {
            Ok(Builder::new()
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(Frozen::new(file)?)?)
        })
    }

    /// Writes the file anew, so that nothing is left in it of what was erased.
    pub fn scrub(&self) -> Result<(), StoreError> {
        let mut opening = self.opening();
        if opening.left {
            return Err(self.refused(&Failure::InUse(LEFT)));
        }
        self.fill(Slot::Closed);
        let scrubbed = self.open_proven(&mut opening, true).and_then(|old| {
            let file = scrub::begin(&self.folder)?;
            let new = guarded(|| {
                let mut builder = Builder::new();
                builder.set_cache_size(CACHE_BYTES);
                let new = (self.disk.open)(&builder, file)?;
                scrub::copy(&old, &new)?;
                Ok(new)
            })?;
            drop(new);
            scrub::replace(&self.folder, || drop(old))
        });
        scrubbed.map_err(|failure| self.refused(&failure))
    }

    /// Closes the file and leaves it to another process, or takes it back, to be opened at its
    /// next use.
    pub fn leave(&self, to_another: bool) {
        let mut opening = self.opening();
        opening.left = to_another;
        self.fill(Slot::Closed);
    }

    fn set_aside(&self, opening: &mut Opening, (number, why): (u64, &str)) -> Result<(), Failure> {
        let file = self.path.display();
        let damaged = opening.file.ok_or(Failure::InUse(LEFT))?;
        let aside = file::set_aside(&self.path, damaged).inspect_err(|failure| {
            tracing::error!(%file, error = why, %failure, "memory store corrupt, and not set aside");
        })?;
        opening.damaged = Some((number, why.to_owned()));
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            %file, aside = %aside.display(), error = why,
            "memory store corrupt, set aside; a fresh one is begun"
        );
        // Nobody listening is fine.
        let _ = self.elsewhere.send(Elsewhere::Everything);
        Ok(())
    }

    fn opening(&self) -> MutexGuard<'_, Opening> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        let held = self.database.read().unwrap_or_else(PoisonError::into_inner);
        held.number
    }

    fn fill(&self, slot: Slot) {
        let held = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        replace(held, slot);
    }

    /// Closes the database of that number, if it is not closed yet.
    fn close(&self, number: u64) {
        let held = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if held.number == number {
            replace(held, Slot::Closed);
        }
    }
}

/// The file is locked until what was open is closed, so nobody may look before that.
fn replace(mut held: RwLockWriteGuard<'_, Numbered>, slot: Slot) {
    let old = std::mem::replace(&mut held.slot, Slot::Closed);
    // Closing writes to the file, which may be what just failed.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
    held.number += 1;
    held.slot = slot;
}
