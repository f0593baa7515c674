//! What the rest of memory asks of a store. One store may serve many gateways: nothing above it
//! may take itself for the only writer.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::embedding::vector::Vector;
use super::erasure::{Begun, Erased};
use super::record::Record;
use super::scope::Scope;
use super::usage::{Day, Row};

/// Why a store could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk or the server behind the store refuses: full, broken, out of reach. Asking again
    /// later may help.
    #[error("the memory store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored cannot be read; it has been set aside, and asking again finds a fresh store.
    #[error("the memory store was corrupt and has been set aside: {0}")]
    Corrupt(String),
    /// A fault of the program's own, which this call met. Asking again meets it again.
    #[error("memory failed by a fault of yychat's own, please report it: {0}")]
    Internal(String),
}

/// One change to a scope.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a set has a thousand at most, and lives for a moment"
)]
pub enum Change {
    /// Adds the record, or puts it in place of the one with its id.
    Put(Record),
    /// Puts the record in place of the one with its id; where that is gone, which another gateway
    /// may have seen to, the other one is put, if there is one.
    Update {
        record: Record,
        otherwise: Option<Record>,
    },
    Remove {
        scope: Scope,
        id: Uuid,
    },
    /// Queues an exchange, or puts it in place of the queued one that it shares its name with.
    /// That alone gives the scope no new version.
    Extract(Pending),
    /// The change, unless what it belongs to was erased after it began.
    Begun(Begun, Box<Self>),
}

impl Change {
    pub fn scope(&self) -> &Scope {
        match self {
            Self::Put(record) | Self::Update { record, .. } => &record.scope,
            Self::Remove { scope, .. } => scope,
            Self::Extract(pending) => &pending.scope,
            Self::Begun(_, change) => change.scope(),
        }
    }

    /// The change itself, and since when it has been on its way.
    pub fn begun(&self) -> (&Self, Option<&Begun>) {
        match self {
            Self::Begun(begun, change) => (change.begun().0, Some(begun)),
            change => (change, None),
        }
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was carried out, be it that there was nothing to do.
    Done,
    /// The other record was put.
    Otherwise,
    /// What was to be updated is gone.
    Gone,
    /// It was not carried out, since it began before an erasure.
    Erased,
}

/// What came of a set of changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The scopes in which something changed.
    pub changed: Vec<Changed>,
    /// Of each change, in their order.
    pub fates: Vec<Fate>,
}

/// [`Pending::due`] of an exchange that is not tried again.
pub const SET_ASIDE: i64 = i64::MAX;

/// A finished exchange whose facts are still to be extracted. It holds no text: its records do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub scope: Scope,
    /// What was said, in that order: one record at least.
    pub records: Vec<Uuid>,
    /// Unix milliseconds from which it may be claimed. A claim moves it into the future, so that
    /// what a gateway leaves undone comes back by itself.
    pub due: i64,
    /// Tries that failed.
    pub failures: u32,
}

impl Pending {
    /// Its first record's id, which names it within its scope.
    pub fn id(&self) -> Uuid {
        self.records.first().copied().unwrap_or_default()
    }
}

/// How much waits to be extracted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Claimed ones among them.
    pub waiting: u64,
    pub set_aside: u64,
}

/// A scope's number after a change. It rises by one with each set of changes that touches the
/// scope, whoever makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub scope: Scope,
    pub version: u64,
}

/// All records of a scope.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// 0 for a scope that never had a record.
    pub version: u64,
    /// By `created_at`, then id.
    pub records: Vec<Record>,
    /// Those that were stored, in any order, be they up to date or not.
    pub vectors: Vec<(Uuid, Vector)>,
}

/// Which records of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    All,
    Scope(Scope),
    /// Of a conversation, by whomever, or by one user only.
    Conversation {
        id: String,
        user: Option<String>,
    },
}

/// A page of a list, the newest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub records: Vec<Record>,
    /// Records in all, this page's and the others'.
    pub total: u64,
    /// More follow after the last one here.
    pub more: bool,
}

/// What a thorough look at the whole store found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Audit {
    pub records: u64,
    pub scopes: u64,
    pub tenants: u64,
    /// Bytes of text.
    pub text_bytes: u64,
    /// Records whose checksum is wrong. They are never shown.
    pub corrupt: u64,
    /// Entries of a lookup table without their record, or records without their entry.
    pub orphans: u64,
    /// Scopes whose count is not the number of their records.
    pub miscounted: u64,
    /// Records that say the same as another of their scope.
    pub duplicates: u64,
}

/// Where a scan of everything goes on; opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(pub(super) Vec<u8>);

/// Somebody else changed what is stored.
#[derive(Debug, Clone)]
pub enum Elsewhere {
    Scope(Scope),
    /// Anything may have changed.
    Everything,
}

/// Keeps records. Every method's work is done elsewhere than on the caller's thread.
#[async_trait]
pub trait MemoryStore: Send + Sync + 'static {
    /// All records of a scope with its version, as of one moment.
    async fn load(&self, scope: &Scope) -> Result<Loaded, StoreError>;

    /// Carries out all changes or none. They are on disk when this returns, with one sync for
    /// all. A removal of what is not there changes nothing.
    async fn apply(&self, changes: Vec<Change>) -> Result<Applied, StoreError>;

    /// A record of a tenant.
    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<Record>, StoreError>;

    /// Whose the records of these ids are, of those that the tenant has.
    async fn holders(
        &self,
        tenant: &str,
        ids: Vec<Uuid>,
    ) -> Result<Vec<(Uuid, Scope)>, StoreError> {
        let mut holders = Vec::new();
        for id in ids {
            let record = self.get(tenant, id).await?;
            holders.extend(record.map(|record| (id, record.scope)));
        }
        Ok(holders)
    }

    /// Records of a tenant that are older than `before`, the newest first, `limit` at most.
    async fn list(
        &self,
        tenant: &str,
        selection: &Selection,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// A tenant's users, each with the number of its records, in the order of their names: those after
    /// `after`, `limit` at most.
    async fn users(
        &self,
        _tenant: &str,
        _after: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        Ok(Vec::new())
    }

    /// As [`MemoryStore::list`], without counting; whether more follow.
    async fn part(
        &self,
        tenant: &str,
        selection: &Selection,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<Record>, bool), StoreError> {
        let page = self.list(tenant, selection, before, limit).await?;
        Ok((page.records, page.more))
    }

    /// Removes what is selected, and remembers for [`KEPT`](super::erasure::KEPT) that and when it did: no
    /// [`Change::Begun`] that began before that is carried out after it, by whomever.
    async fn erase(&self, tenant: &str, selection: &Selection) -> Result<Erased, StoreError>;

    /// Every record of every tenant, scope by scope, a part at a time; no position when there is
    /// no more.
    async fn scan(
        &self,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError>;

    /// Keeps vectors beside their records; one whose record is gone is dropped. They are derived,
    /// so this is no change of the scope, and a store that keeps none is one too.
    async fn put_vectors(&self, _vectors: Vec<(Scope, Uuid, Vector)>) -> Result<(), StoreError> {
        Ok(())
    }

    /// As [`MemoryStore::scan`], the records that have no up-to-date vector of `space` alone.
    async fn unembedded(
        &self,
        _space: u64,
        _after: Option<Position>,
        _limit: usize,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        Ok((Vec::new(), None))
    }

    /// Claims the queued exchange that has been due longest, if any is due at `now`: it is due
    /// again at `until`, both in Unix milliseconds, and no other caller gets it before.
    async fn claim(&self, now: i64, until: i64) -> Result<Option<Pending>, StoreError>;

    /// Carries out `changes`, all of the exchange's scope, and takes it out of the queue, as one.
    ///
    /// `None`, and nothing is carried out, unless it is queued just as it was claimed: it may have
    /// been claimed by another since, or queued anew. The same where one of its records is gone,
    /// though it leaves the queue then: what was deleted does not come back as a fact.
    async fn finish(
        &self,
        claimed: &Pending,
        changes: Vec<Change>,
    ) -> Result<Option<Applied>, StoreError>;

    /// Counts a failure of the exchange and makes it due at `due`, [`SET_ASIDE`] for never;
    /// nothing where it is not queued just as it was claimed.
    async fn postpone(&self, claimed: &Pending, due: i64) -> Result<(), StoreError>;

    /// How many exchanges are queued.
    async fn backlog(&self) -> Result<Backlog, StoreError>;

    /// Adds to the ledger of usage. A store that keeps none is one too.
    async fn add_usage(&self, _rows: Vec<Row>) -> Result<(), StoreError> {
        Ok(())
    }

    /// What was used from one day to another, both included, of one tenant or of all.
    async fn usage(
        &self,
        _tenant: Option<&str>,
        _days: (Day, Day),
    ) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }

    /// Records in all.
    async fn count(&self) -> Result<u64, StoreError>;

    /// Looks at everything.
    async fn audit(&self) -> Result<Audit, StoreError>;

    /// Rewrites what the store keeps its records in, so that nothing is left there of what was
    /// erased. It takes its time, and may hold up all else.
    async fn scrub(&self) -> Result<(), StoreError>;

    /// Files that were set aside as damaged. What was erased since is still in them.
    fn set_aside(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Overwrites one of those and removes it.
    async fn destroy(&self, _file: &Path) -> Result<(), StoreError> {
        Ok(())
    }

    /// Changes that did not come through [`MemoryStore::apply`] or [`MemoryStore::erase`] of
    /// this value.
    fn elsewhere(&self) -> broadcast::Receiver<Elsewhere>;

    /// Closes what only one process can have open, so that another may open it; from then on all
    /// is refused until [`MemoryStore::reclaim`]. `false` from a store that processes share, which
    /// goes on as it is.
    async fn release(&self) -> bool {
        false
    }

    /// Takes back what was released.
    async fn reclaim(&self) {}

    /// Records and files that were found corrupt since the start.
    fn corrupt(&self) -> u64 {
        0
    }

    /// Why the store cannot be used at present, as far as it knows without trying.
    fn trouble(&self) -> Option<String> {
        None
    }
}
