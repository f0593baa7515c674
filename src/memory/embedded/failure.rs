//! What redb's errors and panics mean to the store.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why redb could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    InUse(&'static str),
    /// The disk, or what stands before it, refuses. The file is to be opened again.
    #[error("{what}")]
    Io { what: String, kind: ErrorKind },
    /// Nobody here may touch the file: it is none of ours, or of another version.
    #[error("{what}")]
    Foreign { what: String, mend: &'static str },
    /// It looks like damage. Only a look at every page tells.
    #[error("{0}")]
    Doubtful(Doubt),
    /// A look at every page has proven it.
    #[error("{0}")]
    Damaged(String),
    /// A fault of the program's own.
    #[error("{0}")]
    Bug(String),
}

/// What made the file doubtful.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Doubt {
    pub what: String,
    /// redb may panic on a file that was altered under it, and so may we by a fault of our own.
    pub panicked: bool,
}

/// What is said of a file that is locked.
pub const ELSEWHERE: &str = "another process has the store open";

impl Doubt {
    /// After a look at every page.
    pub fn proven(self) -> Failure {
        match self.panicked {
            true => Failure::Bug(self.what),
            false => Failure::Damaged(self.what),
        }
    }
}

impl Failure {
    pub fn io(what: impl Into<String>) -> Self {
        Self::Io {
            what: what.into(),
            kind: ErrorKind::Other,
        }
    }

    pub fn doubtful(what: impl Into<String>) -> Self {
        Self::Doubtful(Doubt {
            what: what.into(),
            panicked: false,
        })
    }

    /// What whoever runs the gateway can do.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::InUse(_) => "stop it first, or name another folder as memory.path",
            Self::Io { kind, .. } => match kind {
                ErrorKind::PermissionDenied => {
                    "let this user read and write the folder of memory.path and its files"
                }
                ErrorKind::ReadOnlyFilesystem => "mount it for writing, or name another folder",
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on its disk",
                ErrorKind::NotFound => "mend the link, or take it away",
                ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                    "name a folder as memory.path: a file is in its way"
                }
                _ => "look at the disk, its space, and the file's permissions",
            },
            Self::Foreign { mend, .. } => mend,
            Self::Doubtful(_) | Self::Damaged(_) => {
                "move the file away, and import the last export"
            }
            Self::Bug(_) => {
                "report it, and start without the file until it is mended: move it away"
            }
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io {
            what: error.to_string(),
            kind: error.kind(),
        }
    }
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        use redb::Error;
        let what = error.to_string();
        match error {
            Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => Self::InUse(ELSEWHERE),
            Error::Corrupted(_) => Self::doubtful(what),
            Error::Io(error) => match error.kind() {
                // A page that the file does not reach, and a file whose head is not redb's.
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Self::doubtful(what),
                kind => Self::Io { what, kind },
            },
            Error::Backend(_)
            | Error::Unsupported
            | Error::RepairAborted
            // An error before this one has closed the file until it is opened again.
            | Error::PreviousIo
            | Error::DatabaseClosed
            | Error::LockPoisoned(_) => Self::io(what),
            Error::UpgradeRequired(_)
            | Error::TableTypeMismatch { .. }
            | Error::TypeDefinitionChanged { .. }
            | Error::TableIsMultimap(_)
            | Error::TableIsNotMultimap(_) => Self::Foreign {
                what,
                mend: OTHER_VERSION,
            },
            _ => Self::Bug(what),
        }
    }
}

/// The mend of a file that another version wrote.
pub const OTHER_VERSION: &str = "run the yychat that wrote it, or a later one; or export it there, \
    name another folder as memory.path, and import it here";

/// Runs `work`, and takes a panic for a doubt: whoever holds redb's locks then is done with.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Failure> {
    // Nothing of ours is left half done: a transaction that panics is never committed.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Failure::from),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::Doubtful(Doubt {
                what: text.unwrap_or("a panic without a text").to_owned(),
                panicked: true,
            }))
        }
    }
}
