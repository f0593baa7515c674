//! The store that needs nothing installed: one redb file, synced before a write is acknowledged.
//!
//! What is provably damaged is set aside and the gateway goes on: a single record that fails its
//! checksum is left out and counted, a file that a look at every page finds broken is renamed to
//! `*.corrupt-<time>` and a fresh one begun. Whatever else keeps the file from being opened
//! refuses the start, or the call, and leaves the file as it is.
//!
//! While the disk refuses writes, none is acknowledged, each tries the disk anew, and reads go on
//! from what was committed before.
//!
//! [`file`] knows the file and its folder, [`hold`] has it open, [`tables`], [`queue`] and
//! [`read`] know what is in it.

mod about;
#[cfg(test)]
mod damage_tests;
mod disk;
mod erasures;
mod failure;
#[cfg(test)]
mod fault_tests;
mod file;
mod frozen;
mod head;
mod hold;
mod queue;
mod read;
mod scrub;
mod tables;
#[cfg(test)]
mod tests;
mod usage;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use redb::{Database, Durability};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::embedding::vector::Vector;
use super::erasure::{self, Erased, Erasures};
use super::record::Record;
use super::scope::Scope;
use super::store::{
    Applied, Audit, Backlog, Change, Changed, Elsewhere, Fate, Loaded, MemoryStore, Page, Pending,
    Position, Selection, StoreError,
};
use super::usage::{Day, Row};
use crate::error::Fault;
use disk::Disk;
pub use file::FILE;
use hold::{Access, Hold};
use read::Range;
use tables::Tables;

/// The embedded store. Its clones are the same store.
#[derive(Clone)]
pub struct Embedded {
    hold: Arc<Hold>,
}

impl Embedded {
    /// Opens or begins the store in the folder `path`, and verifies every page of it.
    ///
    /// # Errors
    ///
    /// A fault for whatever keeps the file from being opened, such as another process that has it
    /// open, or one of another version. A damaged file is none: it is set aside.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        Self::open_with(path, true, Disk::default())
    }

    /// Whether a store is there.
    ///
    /// # Errors
    ///
    /// A fault where none is: who only looks begins none.
    pub fn found(path: &Path) -> Result<(), Fault> {
        let file = path.join(FILE);
        match file.try_exists() {
            Ok(false) => {
                let mend =
                    "run this where the gateway runs, or name its configuration with --config";
                Err(Fault::new(file, "there is no memory here", mend))
            }
            // What else is amiss, opening it says.
            _ => Ok(()),
        }
    }

    /// Opens a store that another process has verified and just closed, without going through all
    /// of it again: nobody has it until this returns.
    ///
    /// # Errors
    ///
    /// As [`Embedded::open`].
    pub fn take_over(path: &Path) -> Result<Self, Fault> {
        Self::open_with(path, false, Disk::default())
    }

    fn open_with(path: &Path, verify: bool, disk: Disk) -> Result<Self, Fault> {
        let hold = Hold::open(path, verify, disk).map_err(|failure| {
            let what = format!("memory.path cannot be used: {failure}");
            let mend = format!("{}; or set memory.enabled = false", failure.mend());
            Fault::new(path.join(FILE), what, mend)
        })?;
        let hold = Arc::new(hold);
        Ok(Self { hold })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Hold) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let hold = self.hold.clone();
        tokio::task::spawn_blocking(move || work(&hold))
            .await
            .unwrap_or_else(|error| Err(StoreError::Internal(error.to_string())))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&Database, read::Alarm<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.blocking(move |hold| hold.run(Access::Read, |db| work(db, &|what| hold.alarm(what))))
            .await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<(T, Vec<Changed>), StoreError> {
        self.blocking(move |hold| write(hold, work)).await
    }
}

/// One durable transaction.
fn write<T>(
    hold: &Hold,
    work: impl Fn(&mut Tables<'_>) -> Result<T, redb::Error>,
) -> Result<(T, Vec<Changed>), StoreError> {
    let once = || {
        hold.run(Access::Write, |database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let alarm = |what| hold.alarm(what);
            let mut tables = Tables::open(&transaction, &alarm)?;
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

fn carry_out(tables: &mut Tables<'_>, changes: &[Change]) -> Result<Vec<Fate>, redb::Error> {
    let begun = changes.iter().filter_map(|it| it.begun().1);
    let erasures = match begun.map(|begun| begun.at).min() {
        Some(since) => tables.erasures.newer(since, erasure::now(), tables.alarm)?,
        None => Erasures::default(),
    };
    let carry_out = |change| tables.change(change, &erasures);
    changes.iter().map(carry_out).collect()
}

#[async_trait]
impl MemoryStore for Embedded {
    async fn load(&self, scope: &Scope) -> Result<Loaded, StoreError> {
        let scope = scope.clone();
        self.read(move |db, alarm| read::load(db, &scope, alarm))
            .await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Applied, StoreError> {
        let apply = move |tables: &mut Tables<'_>| carry_out(tables, &changes);
        let (fates, changed) = self.write(apply).await?;
        Ok(Applied { changed, fates })
    }

    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<Record>, StoreError> {
        let tenant = tenant.to_owned();
        self.read(move |db, alarm| read::get(db, &tenant, id, alarm))
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
        let range = Range {
            before,
            limit,
            counted: true,
        };
        self.read(move |db, alarm| read::list(db, &tenant, &selection, range, alarm))
            .await
    }

    async fn users(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let (tenant, after) = (tenant.to_owned(), after.map(str::to_owned));
        self.read(move |db, _| read::users(db, &tenant, (after.as_deref(), limit)))
            .await
    }

    async fn part(
        &self,
        tenant: &str,
        selection: &Selection,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<Record>, bool), StoreError> {
        let (tenant, selection) = (tenant.to_owned(), selection.clone());
        let range = Range {
            before,
            limit,
            counted: false,
        };
        let page = self.read(move |db, alarm| read::list(db, &tenant, &selection, range, alarm));
        let page = page.await?;
        Ok((page.records, page.more))
    }

    async fn erase(&self, tenant: &str, selection: &Selection) -> Result<Erased, StoreError> {
        let (tenant, selection) = (tenant.to_owned(), selection.clone());
        let erase = move |tables: &mut Tables<'_>| {
            let at = erasure::now();
            tables.erasures.note(&tenant, &selection, at)?;
            Ok((tables.erase(&tenant, &selection)?, at))
        };
        let ((records, at), changed) = self.write(erase).await?;
        Ok(Erased {
            records,
            changed,
            at,
        })
    }

    async fn scan(
        &self,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        self.read(move |db, alarm| read::scan(db, (after.clone(), limit), alarm))
            .await
    }

    async fn put_vectors(&self, vectors: Vec<(Scope, Uuid, Vector)>) -> Result<(), StoreError> {
        let put = move |tables: &mut Tables<'_>| {
            let mut each = vectors.iter();
            each.try_for_each(|(scope, id, vector)| tables.put_vector(scope, *id, vector))
        };
        self.write(put).await.map(|_| ())
    }

    async fn unembedded(
        &self,
        space: u64,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        self.read(move |db, alarm| read::unembedded(db, space, (after.clone(), limit), alarm))
            .await
    }

    async fn claim(&self, now: i64, until: i64) -> Result<Option<Pending>, StoreError> {
        self.blocking(move |hold| {
            // Whoever finds nothing has not waited for a sync.
            if !hold.run(Access::Read, |db| queue::is_due(db, now))? {
                return Ok(None);
            }
            let alarm = |what| hold.alarm(what);
            write(hold, |tables| tables.queue.claim(now, until, &alarm)).map(|(claimed, _)| claimed)
        })
        .await
    }

    async fn finish(
        &self,
        claimed: &Pending,
        changes: Vec<Change>,
    ) -> Result<Option<Applied>, StoreError> {
        let claimed = claimed.clone();
        let finish = move |tables: &mut Tables<'_>| {
            let holds = tables.queue.release(&claimed)?
                && tables.has_all(&claimed.scope, &claimed.records)?;
            holds.then(|| carry_out(tables, &changes)).transpose()
        };
        let (fates, changed) = self.write(finish).await?;
        Ok(fates.map(|fates| Applied { changed, fates }))
    }

    async fn postpone(&self, claimed: &Pending, due: i64) -> Result<(), StoreError> {
        let claimed = claimed.clone();
        self.write(move |tables| tables.queue.postpone(&claimed, due))
            .await
            .map(|_| ())
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.read(|db, _| queue::backlog(db)).await
    }

    async fn add_usage(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        let add = move |database: &Database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            usage::add(&transaction, &rows)?;
            Ok(transaction.commit()?)
        };
        self.blocking(|hold| hold.run(Access::Write, add)).await
    }

    async fn usage(&self, tenant: Option<&str>, days: (Day, Day)) -> Result<Vec<Row>, StoreError> {
        let tenant = tenant.map(str::to_owned);
        self.read(move |db, alarm| usage::read(db, tenant.as_deref(), days, alarm))
            .await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.read(|db, _| read::count(db)).await
    }

    async fn audit(&self) -> Result<Audit, StoreError> {
        self.read(|db, _| read::audit(db)).await
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        self.blocking(Hold::scrub).await
    }

    fn set_aside(&self) -> Vec<PathBuf> {
        scrub::set_aside(self.hold.folder()).unwrap_or_default()
    }

    async fn destroy(&self, file: &Path) -> Result<(), StoreError> {
        let file = file.to_owned();
        self.blocking(move |_| {
            scrub::destroy(&file)
                .map_err(|error| StoreError::Unavailable(format!("{}: {error}", file.display())))
        })
        .await
    }

    fn elsewhere(&self) -> broadcast::Receiver<Elsewhere> {
        self.hold.elsewhere.subscribe()
    }

    async fn release(&self) -> bool {
        let closed = self.blocking(|hold| {
            hold.leave(true);
            Ok(())
        });
        closed.await.is_ok()
    }

    async fn reclaim(&self) {
        let taken_back = self.blocking(|hold| {
            hold.leave(false);
            // What the other process wrote is not in any index here.
            let _ = hold.elsewhere.send(Elsewhere::Everything);
            Ok(())
        });
        if let Err(error) = taken_back.await {
            tracing::error!(%error, "memory store not taken back");
        }
    }

    fn corrupt(&self) -> u64 {
        self.hold.corrupt()
    }
}
